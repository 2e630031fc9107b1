"""Owns the healing of a world: every fault ends, and runs go on until nothing changes any more."""

import time

from dev.soak import journal, traffic
from dev.soak.people import WHO
from dev.soak.plans import BUDGET_SEC, MIN_IDLE_SEC, Books, Made
from dev.soak.world import LATE_SEC, World
from reclaim.ops import letter_acts, operations
from reclaim.run.report import Outcome

ROUNDS = 300  # of runs after everything is healed; far more than it takes
QUIET_ROUNDS = 12  # so many runs in a row that change nothing, more than a plan may fail: the world is at rest
_AGE = """local aged = 0
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 10000)) do
    if #redis.call('XRANGE', KEYS[1], row[1], row[1]) > 0 then
        redis.call('XCLAIM', KEYS[1], ARGV[1], row[2], 0, row[1], 'IDLE', ARGV[2], 'JUSTID')
        aged = aged + 1
    end
end
return aged"""
_COOL_DOWN = """local until_ms = redis.call('HGET', KEYS[1], 'until_ms')
if until_ms and until_ms ~= '0' then redis.call('HSET', KEYS[1], 'until_ms', 1) end"""
LONG_MS = 3_600_000


def heal(world: World) -> None:
    """End every fault and every consumer, then let runs go on until nothing changes any more."""
    world.note("everything is healed")
    world.calm()
    journal.revive_endpoints()
    end_child_in_peace(world)
    world.collect(wait=True)
    world.is_calm = True
    for books in world.books:
        while any(unread(books)):
            traffic.read(world, books, "mallory", 500)
    for target in world.targets:  # a person may have opened one; any that failures open is to close by itself
        world.loop.begin(operations.close_circuit(world.app, "healed", WHO, target.name)).result(LATE_SEC)
    quiet = 0
    before: list[tuple[int, int, int]] = []
    for _ in range(ROUNDS):
        for target in world.targets:
            world.client.execute_command("EVAL", _AGE, 1, target.stream, target.group, LONG_MS)
            world.client.execute_command("DEL", target.keys.lease)  # what a run could not release, time would
            world.client.execute_command("EVAL", _COOL_DOWN, 1, target.keys.circuit)  # as time would
        world.count["healing rounds"] += 1
        let_producers_go_on(world)
        world.start_run()
        world.collect(wait=True)
        lend_a_hand(world)
        after = at_rest(world)
        is_open = any(report.outcome is Outcome.CIRCUIT_OPEN for report in world.last_reports.values())
        quiet = quiet + (not is_open) if after == before else 0
        if not any(pending for pending, _, _ in after) or quiet >= QUIET_ROUNDS:
            return
        if after == before:
            time.sleep(MIN_IDLE_SEC)  # for entries that nobody can age, because they are deleted
        before = after
    world.problems.append(f"the world does not come to rest in {ROUNDS} runs: {before}")


def end_child_in_peace(world: World) -> None:
    if world.child is not None:
        world.child.over.wait(BUDGET_SEC + 1)
    world.end_child()


def unread(books: Books) -> list[Made]:
    return [
        one
        for one in books.made.values()
        if one.epoch == books.epoch and not (one.is_read or one.is_removed or one.is_gone)
    ]


def at_rest(world: World) -> list[tuple[int, int, int]]:
    """How many are pending, dead and lost, of each target."""
    found = []
    for target in world.targets:
        (pending, *_) = world.client.execute_command("XPENDING", target.stream, target.group)
        dead, lost = (world.client.execute_command("XLEN", key) for key in (target.keys.dead, target.keys.lost))
        found.append((pending, dead, lost))
    return found


def let_producers_go_on(world: World) -> None:
    """Add a healthy entry where a run stored nothing: bad entries alone look like an outage that never ends."""
    for books, target in zip(world.books, world.targets, strict=True):
        report = world.last_reports.get(target.name)
        if report is None or books.plan.is_foreign:
            continue
        if report.outcome is Outcome.CIRCUIT_OPEN or (report.failed and not report.acknowledged):
            traffic.healthy(world, books)


def lend_a_hand(world: World) -> None:
    """What a person does when a run says that it needs one: make room for dead letters, let misfits be parked."""
    for books, target in zip(world.books, world.targets, strict=True):
        report = world.last_reports.get(target.name)
        if report is None:
            continue
        if report.outcome is Outcome.FAILED and "HASH_KEY" in report.reason:
            world.count["misfits parked by a person"] += 1
            world.note(f"a person has the misfits of {target.name} parked")
            asked = operations.run_now(world.app, target.name, park_misfits=WHO)
            (done,) = world.loop.begin(asked).result(BUDGET_SEC + LATE_SEC)
            world.note(f"a run of {target.name} ends: {done.outcome.value} {done.reason} {done.numbers()}")
            world.last_reports[target.name] = report = done
        if report.outcome is Outcome.DEAD_LETTERS_FULL:
            world.count["dead letters full, and discarded"] += 1
            letters = world.letters(books)
            for _, entry_id in letters:
                books.made[entry_id].is_dropped = True
            ids = [one for one, _ in letters]
            world.loop.begin(letter_acts.discard_dead_letters(world.app, ids, target.name)).result(LATE_SEC)
