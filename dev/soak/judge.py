"""Owns the judgement of a world that has come to rest: every entry ever added is accounted for.

G1: an entry that is acknowledged, and in no other place, was stored: the journal says so, or its hash holds it.
G2: each entry is in exactly one place; what is gone with its group after a run had seen it is counted in the ledger.
G3: no entry is begun while an earlier one of its order key was begun by a run before, and is not done.
G4: once everything is healed nothing stays pending without a reason.
G5: what is dead was charged by us as often as it takes; what is a bad entry is one.
G8: with a version field nothing is superseded but by a newer entry of the same stream.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from dev.soak import journal
from dev.soak.plans import VERSION, Books, Made
from dev.soak.world import World
from reclaim.settings import Target

_OVER = {"stored", "replay-stored", "rejected"}
LATE_FAULTS = ("reply lost", "hang", "cut before", "cut after")  # after them a store that was given up may still arrive


@dataclass
class Found:
    """What there is on the server of one target.

    Attributes:
        pending: the IDs of pending entries.
        letters: by entry ID, its dead letters.
        lost: by entry ID, its lines in the ledger.
        at_most: how many entries that cannot be named the ledger says are gone.
        stream: the IDs of the entries in the stream.
    """

    pending: set[str]
    letters: dict[str, list[dict[bytes, bytes]]] = field(default_factory=dict)
    lost: dict[str, list[dict[bytes, bytes]]] = field(default_factory=dict)
    at_most: int = 0
    stream: set[str] = field(default_factory=set)


def judge(world: World) -> list[str]:
    """What is not as promised; and count where each entry is."""
    lines = journal.read()
    world.count["happened: entry met a dead endpoint"] += sum(line.word == journal.DEAD_ENDPOINT for line in lines)
    problems = [*world.problems, *world.lines.problems]
    for books, target in zip(world.books, world.targets, strict=True):
        found = _look(world, target)
        mine = [line for line in lines if line.target == books.plan.number or line.word == "killed"]
        problems += (f"{target.name}: {problem}" for problem in _Account(world, books, target, found, mine).problems())
    return problems


def _look(world: World, target: Target) -> Found:
    call = world.client.execute_command
    rows = call("XPENDING", target.stream, target.group, "-", "+", 100_000)
    found = Found({row[0].decode() for row in rows})
    for _, flat in call("XRANGE", target.keys.dead, "-", "+"):
        letter = dict(zip(flat[::2], flat[1::2], strict=True))
        found.letters.setdefault(letter[b"id"].decode(), []).append(letter)
    for _, flat in call("XRANGE", target.keys.lost, "-", "+"):
        line = dict(zip(flat[::2], flat[1::2], strict=True))
        if b"at_most" in line:
            found.at_most += int(line[b"at_most"])
        else:
            found.lost.setdefault(line[b"id"].decode(), []).append(line)
    found.stream = {entry_id.decode() for entry_id, _ in call("XRANGE", target.stream, "-", "+")}
    return found


class _Account:
    """The account of one target."""

    def __init__(self, world: World, books: Books, target: Target, found: Found, lines: list[journal.Line]) -> None:
        self._world = world
        self._books = books
        self._plan = books.plan
        self._target = target
        self._found = found
        self._lines = lines
        self._stored = {line.entry for line in lines if line.word in {"stored", "replay-stored"}}
        self._replayed = {line.entry for line in lines if line.word == "replay-begin"}
        self._charges = _charges(lines)
        self._was_made_anew = any(line.word == "anew" for line in lines)

    def problems(self) -> Iterator[str]:
        gone = 0
        for made in self._books.made.values():
            place = self._place(made)
            gone += place == "gone with its group"
            self._world.count[f"end: {place}"] += 1
            yield from self._once(made)
            if place == "nowhere":
                yield f"G1, G2: {made.id} ({made.kind}, key {made.key!r}) is acknowledged, and nowhere"
            if place == "pending" and (why := self._not_allowed(made)):
                yield why
            for letter in self._found.letters.get(made.id, []):
                yield from self._letter(made, letter)
        owed = self._world.owed_gone[self._plan.number]
        counted = self._found.at_most + len(self._found.lost)
        if min(owed, gone) > counted:
            yield f"G2: {min(owed, gone)} are gone with their group after a run saw them, {counted} are in the ledger"
        yield from self._order()

    def _place(self, made: Made) -> str:  # noqa: PLR0911  # the places, each with its name
        if made.id in self._found.pending:
            return "pending"
        if letters := self._found.letters.get(made.id):
            return f"dead letter: {letters[-1][b'reason'].decode()}"
        if made.id in self._found.lost:
            return "lost, and in the ledger"
        if made.id in self._books.acked:
            return "acknowledged by its consumer"
        if self._is_stored(made):
            return "acknowledged and stored"
        if made.is_dropped:
            return "discarded by a person"
        if made.is_gone:
            return "gone with its group" if made.is_read else "gone with its group, unread"
        if made.is_removed and not made.is_read:
            return "deleted before anybody read it"
        return "nowhere"

    def _is_stored(self, made: Made) -> bool:
        if self._plan.mode == "function":
            return made.id in self._stored
        if made.is_bad:
            return False
        fields = dict(zip(made.fields[::2], made.fields[1::2], strict=True))
        name = f"h{self._plan.number}:".encode() + fields[b"n" if self._plan.mode == "unique" else b"key"]
        flat = self._world.client.execute_command("HGETALL", name)
        held = dict(zip(flat[::2], flat[1::2], strict=True))
        if not held:
            return False
        if self._plan.mode == "unique":
            return held == fields
        if self._plan.mode == "versioned":
            version = held[VERSION.encode()].decode()
            return _number(version) >= _number(made.id) and self._books.made[version].epoch >= made.epoch
        number = int(held[b"n"].rpartition(b".")[2])
        return number >= int(fields[b"n"].rpartition(b".")[2]) or self._may_be_late()

    def _may_be_late(self) -> bool:
        """Whether something may have been stored late, or again, so that a hash need not end with its newest entry."""
        count = self._world.count
        return bool(
            count["kills"]
            or count["person: replay"]
            or any(count[f"fault: {name}"] for name in LATE_FAULTS)
            or any(name.startswith(("fault: link", "fault: server", "fault: failover")) for name in count)
        )

    def _once(self, made: Made) -> Iterator[str]:
        dead, lost = len(self._found.letters.get(made.id, [])), len(self._found.lost.get(made.id, []))
        pending = made.id in self._found.pending
        if lost and self._was_made_anew:  # what was under way as the group vanished is told by what we last knew of it
            lost = 1
        if dead + lost + pending > 1:
            yield f"G2: {made.id} is in several places: pending {pending:d}, dead {dead}, lost {lost}"
        if lost and made.id in self._found.stream and not self._was_made_anew:
            yield f"G2: {made.id} is in the ledger and in the stream"

    def _not_allowed(self, made: Made) -> str:
        """Why it must not be pending now; empty if it may."""
        backs_off = float(str(self._plan.settings.get("delivery_backoff_sec", 0))) > 10
        deleted = [self._books.made[one] for one in self._found.pending - self._found.stream]
        if backs_off and any(one.key == made.key and _number(one.id) <= _number(made.id) for one in deleted):
            return ""  # a deleted entry waits for its back-off, and holds its order key; nobody can age it
        last = self._world.last_reports.get(self._target.name)
        why = f"{last.outcome.value} {last.reason[:200]} {dict(last.reasons)}" if last else "no run"
        return f"G4: {made.id} ({made.kind}) is pending though all is well; the last run: {why}"

    def _letter(self, made: Made, letter: dict[bytes, bytes]) -> Iterator[str]:
        """G5: nothing is dead but for a reason, and its bytes are as they were."""
        fields = [part for name, value in _pairs(letter) for part in (name, value)]
        if dict(zip(fields[::2], fields[1::2], strict=True)) != dict(
            zip(made.fields[::2], made.fields[1::2], strict=True)
        ):
            yield f"G2: the dead letter of {made.id} has other fields than the entry"
        why = self._undeserved(made, letter)
        if why:
            yield f"{why} ({made.kind}): {letter[b'reason'].decode()}, {letter[b'error'][:300]!r}"

    def _undeserved(self, made: Made, letter: dict[bytes, bytes]) -> str:
        """What is wrong with the reason; empty if nothing is."""
        settings, count = self._plan.settings, self._world.count
        match letter[b"reason"].decode():
            case "bad_entry":
                is_rejected = any(line.word.endswith("rejected") and line.entry == made.id for line in self._lines)
                return "" if made.is_bad or is_rejected else f"G5: {made.id} is no bad entry, and dead as one"
            case "failed" | "max_deliveries" if self._plan.mode == "function":
                charges, most = self._charges[made.id], self._plan.max_deliveries
                return "" if charges >= most - 1 else f"G5: {made.id} is dead after {charges} charges of {most}"
            case "failed" | "max_deliveries":
                is_deserved = count["fault: odd error"] or self._charges[made.id]
                return "" if is_deserved else f"G5: {made.id} is dead, and nothing was its fault"
            case "retried_too_long":
                is_deserved = settings.get("retry_for_sec") == 1
                return "" if is_deserved else f"G5: {made.id} is dead, and was retried for seconds only"
            case "ids_began_again":
                is_deserved = made.epoch and self._plan.mode == "versioned"
                return "" if is_deserved else f"G8: {made.id} is dead as if IDs had begun again"
            case _:
                return f"G2: {made.id} is dead for a reason that is not known"

    def _order(self) -> Iterator[str]:
        """G3, for entries that a handler of ours got; of hashes the state machine judges the order."""
        if self._plan.mode != "function":
            return
        begun: dict[str, set[str]] = {}  # by order key: begun by a run, and not done
        away: set[str] = set()  # acknowledged by a consumer, or deleted
        charges = _Charges()
        for line in self._lines:
            charges.note(line)
            if line.word == "anew":
                begun.clear()
            elif line.word == "begin" and line.about:
                open_ones = begun.setdefault(line.about, set())
                if over := self._overtaken(line, open_ones):
                    yield f"G3: {line.entry} was begun while {over} of its order key {line.about!r} were not done"
                    open_ones.difference_update(over)  # said once
                open_ones.update({line.entry} - away)
            elif line.word in {"acked", "removed"}:  # perhaps after a run claimed it, and before its handler began
                away.add(line.entry)
            is_last = charges.of[line.entry] >= self._plan.max_deliveries - 1  # it is to become a dead letter
            if line.word in _OVER or line.entry in away or is_last:
                _close(begun, line.entry)

    def _overtaken(self, line: journal.Line, open_ones: set[str]) -> list[str]:
        """The entries that should have been done before this one was begun."""
        earlier = [one for one in open_ones if _number(one) < _number(line.entry)]
        return [one for one in earlier if not self._was_dead(one, line.at_ms)]

    def _was_dead(self, one: str, at_ms: float) -> bool:
        """Whether it was a dead letter then, or may have been one that a person has discarded or replayed since."""
        if self._books.made[one].is_dropped or one in self._replayed:
            return True
        return any(_ms_of(letter) <= at_ms for letter in self._found.letters.get(one, []))


def _ms_of(letter: dict[bytes, bytes]) -> float:
    return 1000 * datetime.fromisoformat(letter[b"at"].decode()).timestamp()


def _close(begun: dict[str, set[str]], entry: str) -> None:
    for ids in begun.values():
        ids.discard(entry)


class _Charges:
    """How many tries of ours may have been charged: those that failed, and those during which a process was killed.

    An entry that a killed process had claimed is charged, whether its handler was begun, had ended, or neither.

    Attributes:
        of: by entry.
    """

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()
        self._read: set[str] = set()

    def note(self, line: journal.Line) -> None:
        """Take in the next line of the journal."""
        if line.word == "read":
            self._read.add(line.entry)
        elif line.word in {"failed", "cancelled"}:
            self.of[line.entry] += 1
        elif line.word == "killed":
            self.of.update(self._read)


def _charges(lines: list[journal.Line]) -> Counter[str]:
    charges = _Charges()
    for line in lines:
        charges.note(line)
    return charges.of


def _pairs(letter: dict[bytes, bytes]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in letter.items():
        if name.startswith(b"field:"):
            yield name[6:], value


def _number(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
