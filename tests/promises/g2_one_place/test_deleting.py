"""DELETE_ACKNOWLEDGED: what is done leaves the stream at one stroke with its acknowledgement; nobody else loses it."""

from collections.abc import Callable

import pytest

from dev.proxy import Fault, Proxy
from dev.server import Server
from reclaim.entry import Entry
from reclaim.run.report import Outcome, RunReport
from reclaim.settings import Target
from reclaim.state.acknowledge import _ACKNOWLEDGE, BYTES_AT_ONCE, DELETED_AT_ONCE, Acknowledger
from reclaim.state.dead_letters import _PARK_AND_DELETE
from tests.faults import dead_letter
from tests.faults import script as is_script
from tests.promises.g9_settings.test_permissions import limit, run_as
from tests.support import Client, Endpoint, Held, State, a_target, given, held, lived_in, run, state, stored, tweet

pytestmark = pytest.mark.G2

BAD = [b"user", b"nobody"]
WIDE = [part for at in range(4_000) for part in (b"f%d" % at, b"")]  # more than a Lua script can pass on to a command
NO_FIELD = "MissingField: no field 'id' for 'tweet:{id}'"
GREATEST = b"18446744073709551615-18446744073709551615"


def deleting(**changes: object) -> Target:
    """A target whose acknowledged entries are to be deleted."""
    return a_target(delete_acknowledged=True, **changes)


def a_group(client: Client, name: str, *, reads: int, acknowledges: int = 0) -> None:
    """Another group of the stream that has read the first entries, and acknowledged the first ones of these."""
    client.execute_command("XGROUP", "CREATE", "s", name, "0")
    if reads:
        client.execute_command("XREADGROUP", "GROUP", name, "someone", "COUNT", reads, "STREAMS", "s", ">")
    for number in range(1, acknowledges + 1):
        client.execute_command("XACK", "s", name, b"%d-0" % number)


def ids(client: Client) -> list[bytes]:
    """What is left in the stream."""
    return [entry_id for entry_id, _ in client.execute_command("XRANGE", "s", "-", "+")]


def counts(report: RunReport) -> tuple[int, int, int, int]:
    return report.acknowledged, report.superseded, report.parked, report.not_deleted


def before(proxy: Proxy, script: str, act: Callable[[], object]) -> None:
    """Let something happen before a script is run."""
    proxy.when("EVAL", lambda: act() and None, args=is_script(script))


# --- what is deleted -------------------------------------------------------------------------------------------------


async def test_what_is_done_leaves_the_stream(server: Endpoint, client: Client) -> None:
    """Stored, superseded and parked entries are gone; what nobody has read stays."""
    target = deleting(hash_version_field="version")
    given(client, target, Held(tweet(1)), Held(tweet(2)), Held(BAD), Held(WIDE), Held(tweet(9), consumer=None))
    newer = {b"version": b"4-1"}
    client.execute_command("HSET", "tweet:2", "version", "4-1")

    report = await run(server, target)

    assert counts(report) == (2, 1, 2, 0)
    assert ids(client) == [b"5-0"]
    assert state(client, target) == State(
        hashes={b"tweet:1": stored(tweet(1))[b"tweet:1"] | {b"version": b"1-0"}, b"tweet:2": newer},
        length=1,
        dead=[dead_letter(number, fields, "bad_entry", NO_FIELD) for number, fields in ((3, BAD), (4, WIDE))],
    )


async def test_without_the_setting_everything_stays(server: Endpoint, client: Client) -> None:
    target = a_target()
    given(client, target, Held(tweet(1)), Held(BAD), Held(WIDE))

    report = await run(server, target)

    assert counts(report) == (1, 0, 2, 0)
    assert ids(client) == [b"1-0", b"2-0", b"3-0"]


async def test_what_another_group_has_finished_is_deleted(server: Endpoint, client: Client) -> None:
    """It has read more than we have, and holds only an entry that we do not."""
    target = deleting()
    given(client, target, *held(range(1, 4)), Held(tweet(4), consumer=None))
    a_group(client, "other", reads=4, acknowledges=3)

    report = await run(server, target)

    assert counts(report) == (3, 0, 0, 0)
    assert ids(client) == [b"4-0"]


# --- what stays ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reads", "acknowledges", "left"),
    [
        (0, 0, [b"1-0", b"2-0", b"3-0", b"4-0"]),  # it was never read
        (1, 1, [b"2-0", b"3-0", b"4-0"]),  # it is behind
        (4, 0, [b"1-0", b"2-0", b"3-0", b"4-0"]),  # it holds all of them
        (4, 2, [b"3-0", b"4-0"]),  # it holds some
        (3, 2, [b"3-0", b"4-0"]),  # it holds one, and is behind
    ],
)
async def test_what_another_group_needs_stays_and_is_counted(
    server: Endpoint, client: Client, reads: int, acknowledges: int, left: list[bytes]
) -> None:
    """It has not read the entry yet, or has not acknowledged it. Dead letters are made all the same."""
    target = deleting()
    given(client, target, *held(range(1, 4)), Held(BAD))
    a_group(client, "finished", reads=4, acknowledges=4)
    a_group(client, "other", reads=reads, acknowledges=acknowledges)
    theirs = client.execute_command("XPENDING", "s", "other", "-", "+", 10)

    report = await run(server, target)

    assert counts(report) == (3, 0, 1, len(left))
    assert ids(client) == left
    assert [row[:2] for row in client.execute_command("XPENDING", "s", "other", "-", "+", 10)] == [
        row[:2] for row in theirs
    ]
    assert state(client, target) == State(
        hashes=stored(*held(range(1, 4))), length=len(left), dead=[dead_letter(4, BAD, "bad_entry", NO_FIELD)]
    )


async def test_a_wide_entry_that_another_group_needs_stays(server: Endpoint, client: Client) -> None:
    target = deleting()
    lived_in(client, target)
    given(client, target, Held(WIDE))
    a_group(client, "other", reads=1)

    report = await run(server, target)

    assert counts(report) == (0, 0, 1, 1)
    assert state(client, target) == State(length=1, dead=[dead_letter(1, WIDE, "bad_entry", NO_FIELD)])


async def test_many_entries_among_which_another_group_holds_every_second_one(server: Endpoint, client: Client) -> None:
    """More looks at its pending list than one script makes: the entries that are left come with the next one."""
    target = deleting(page_size=1000)
    given(client, target, *held(range(1200)))
    for name in ("other", "third"):
        a_group(client, name, reads=1200)
        client.execute_command("XACK", "s", name, *(b"%d-0" % number for number in range(1, 1201, 2)))

    report = await run(server, target)

    assert counts(report) == (1200, 0, 0, 600)
    assert ids(client) == [b"%d-0" % number for number in range(2, 1201, 2)]
    assert state(client, target) == State(hashes=stored(*held(range(1200))), length=600)


@pytest.mark.parametrize("is_held", [False, True])
async def test_the_greatest_id_there_is(server: Endpoint, client: Client, *, is_held: bool) -> None:
    target = deleting()
    client.execute_command("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
    client.execute_command("XADD", "s", GREATEST, *tweet(1))
    client.execute_command("XREADGROUP", "GROUP", "g", "worker", "STREAMS", "s", ">")
    a_group(client, "other", reads=1)
    client.execute_command("XCLAIM", "s", "g", "worker", 0, GREATEST, "IDLE", 3_600_000, "JUSTID")
    if not is_held:
        client.execute_command("XACK", "s", "other", GREATEST)

    report = await run(server, target)

    assert counts(report) == (1, 0, 0, int(is_held))
    assert ids(client) == [GREATEST] * is_held


# --- what happens meanwhile ------------------------------------------------------------------------------------------


async def test_what_its_consumer_acknowledged_meanwhile_is_left_to_it(client: Client, proxy: Proxy) -> None:
    """It may still want to read the entry, or delete it itself."""
    target = deleting()
    given(client, target, *held(range(1, 4)), Held(BAD))
    before(proxy, _ACKNOWLEDGE, lambda: client.execute_command("XACK", "s", "g", "2-0"))
    before(proxy, _PARK_AND_DELETE, lambda: client.execute_command("XACK", "s", "g", "4-0"))

    report = await run(proxy, target)

    assert (report.acknowledged, report.not_deleted) == (3, 0)
    assert ids(client) == [b"2-0", b"4-0"]
    assert state(client, target) == State(hashes=stored(*held(range(1, 4))), length=2)


async def test_what_another_consumer_took_meanwhile_is_left_to_it(client: Client, proxy: Proxy) -> None:
    """It is stored, so it is acknowledged as always; but who took it may be reading it now."""
    target = deleting()
    given(client, target, *held(range(1, 4)))
    before(proxy, _ACKNOWLEDGE, lambda: client.execute_command("XCLAIM", "s", "g", "bob", 0, "2-0"))

    report = await run(proxy, target)

    assert (report.acknowledged, report.not_deleted) == (3, 0)
    assert ids(client) == [b"2-0"]
    assert state(client, target).pending == {}


@pytest.mark.parametrize("fault", [Fault.CUT_BEFORE, Fault.CUT_AFTER, Fault.DROP_REPLY])
async def test_a_script_that_is_sent_again_says_the_same(client: Client, proxy: Proxy, fault: Fault) -> None:
    """Whether or not it took effect the first time: nothing more is deleted, and what stays is counted once."""
    target = deleting()
    given(client, target, *held(range(1, 4)), Held(BAD))
    a_group(client, "other", reads=4, acknowledges=2)
    faults = [proxy.when("EVAL", fault, args=is_script(one)) for one in (_ACKNOWLEDGE, _PARK_AND_DELETE)]

    report = await run(proxy, target, timeout_sec=0.5)

    assert report.outcome is Outcome.COMPLETED
    assert [one.hits for one in faults] == [1, 1]
    assert counts(report) == (3, 0, 1, 2)
    assert ids(client) == [b"3-0", b"4-0"]
    assert state(client, target) == State(
        hashes=stored(*held(range(1, 4))), length=2, dead=[dead_letter(4, BAD, "bad_entry", NO_FIELD)]
    )


async def test_a_stream_that_vanishes_meanwhile_is_no_error_of_the_script(client: Client, proxy: Proxy) -> None:
    """As with XACK, there is nothing to acknowledge."""
    target = deleting()
    given(client, target, *held(range(1, 4)))
    before(proxy, _ACKNOWLEDGE, lambda: client.execute_command("DEL", "s"))

    report = await run(proxy, target)

    assert (report.acknowledged, report.not_deleted) == (3, 0)
    assert client.execute_command("EXISTS", "s") == 0


@pytest.mark.parametrize("command", ["xdel", "xinfo"])
async def test_without_the_permission_nothing_is_acknowledged(own: Server, direct: Client, command: str) -> None:
    """Stored and given back, run after run; no dead letter is made, and nothing is half done."""
    target = deleting(max_deliveries=2)
    given(direct, target, *held(range(1, 4)), Held(BAD))
    limit(direct, f"-{command}")

    reports = [await run_as(own, target) for _ in range(3)]

    assert {report.outcome for report in reports} == {Outcome.FAILED}
    after = state(direct, target)
    assert {row[1:] for row in after.pending.values()} == {(1, "idle")}
    assert (len(after.pending), after.length, after.dead, after.lost) == (4, 4, [], [])


# --- what it costs ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("server")
async def test_one_script_looks_so_many_times_at_other_groups(client: Client) -> None:
    """It comes to fewer entries then, and leaves the others as they are; but always to one."""
    given(client, deleting(), *held(range(20)))
    a_group(client, "other", reads=20)
    client.execute_command("XACK", "s", "other", *(b"%d-0" % number for number in range(1, 21, 2)))
    asked = [b"%d-0" % number for number in range(1, 20, 2)]

    def call(looks: int, *ids: bytes) -> tuple[list[int], list[bytes]]:
        said = client.execute_command("EVAL", _ACKNOWLEDGE, 1, "s", "g", "worker", looks, *ids)
        left = [row[0] for row in client.execute_command("XPENDING", "s", "g", "-", "+", 30)]
        return said, [one for one in asked if one in left]

    assert call(3, *asked) == ([3, 0, 3], asked[3:])
    assert call(0, *asked[3:]) == ([1, 0, 1], asked[4:])
    assert call(100, *asked[4:]) == ([6, 0, 6], [])
    assert ids(client) == [b"%d-0" % number for number in range(2, 21, 2)]


def test_one_script_deletes_so_many_entries_and_so_many_bytes() -> None:
    """They are in ID order, as the script needs them."""
    small = [Entry(b"%d-0" % number, [b"id", b"1"]) for number in range(2 * DELETED_AT_ONCE + 1, 0, -1)]
    large = [Entry(b"%d-0" % number, [b"id", b"x" * (BYTES_AT_ONCE // 2)]) for number in range(1, 6)]

    def sent(entries: list[Entry]) -> list[list[bytes]]:
        return [[*command[7:]] for command in Acknowledger(deleting()).ask(entries).commands]

    assert list(map(len, sent(small))) == [DELETED_AT_ONCE, DELETED_AT_ONCE, 1]
    assert [one for part in sent(small) for one in part] == [entry.id for entry in reversed(small)]
    assert list(map(len, sent(large))) == [2, 2, 1]
