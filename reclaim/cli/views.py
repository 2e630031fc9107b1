"""Owns how a person sees the status, the circuit, dead letters, lost entries and checks."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.console import RenderableType
from rich.text import Text

from reclaim.cli.tables import STYLES, cell, moment, pairs, table
from reclaim.counted import how_often, many
from reclaim.entry import readable
from reclaim.names import written
from reclaim.ops.health import Health, span
from reclaim.reasons import counts_in, top_reasons
from reclaim.run.report import MAIN_COUNTS
from reclaim.visible import for_a_terminal

if TYPE_CHECKING:
    from reclaim.ops.results import LetterGroup
    from reclaim.ops.survey import SurveyedGroup
    from reclaim.state.audit import AuditRecord
    from reclaim.state.dead_letters import DeadLetter
    from reclaim.state.lost import LostEntry

RUNS_SHOWN = 5
CONSUMERS_SHOWN = 10
BODY_CHARS = 200  # of an entry in a list
VALUE_CHARS = 2000  # how much of a field's value a person sees

SHORT_COUNTS = (*MAIN_COUNTS, "moved", "lost")
STATUS_COLUMNS = ("target", "health", "pending", "oldest idle", "circuit", "dead letters", "lost", "sentence")
LOST_COLUMNS = ("entry", "consumer", "deliveries", "idle ms", "found lost", "at most")
RUN_COLUMNS = ("started at", "outcome", *MAIN_COUNTS, "seconds", "reason", "run id")
LETTER_COLUMNS = ("id", "entry", "reason", "deliveries", "consumer", "at", "error")
SURVEY_COLUMNS = ("stream", "group", "entries", "pending", "oldest idle", "consumers", "look dead", "deleted")
PENDING_COLUMNS = ("entry", "consumer", "idle", "deliveries", "waiting", "why", "fields")
GROUP_COLUMNS = ("count", "reason", "error group", "first", "last", "example")
AUDIT_COLUMNS = ("id", "begun", "what", "who", "from", "outcome", "how many", "meant", "why")
CHECK_COLUMNS = ("health", "about", "what", "what to do")


def status_header(status: Mapping[str, Any]) -> Text:
    """The server's name, version and address, in one line."""
    server = status["server"]
    name = f"{server['kind'].title()} {server['version']}" if server["kind"] else "a server of unknown version"
    tls = "with TLS" if server["tls"] else "without TLS"
    return Text(
        f"reclaim {status['version']}, {for_a_terminal(name)} at {for_a_terminal(server['address'])} {tls}", style="dim"
    )


def status_checks(status: Mapping[str, Any]) -> Iterator[RenderableType]:
    """What the doctor found wrong, if anything."""
    bad = [one for one in status["doctor"]["findings"] if one["health"] != Health.OK.value]
    if bad:
        yield Text()
        yield check_view(bad)


def status_table(targets: Sequence[Mapping[str, Any]]) -> RenderableType:
    """All targets, a line for each; their sentences come below."""
    return table(STATUS_COLUMNS[:-1], [status_row(one)[:-1] for one in targets])


def status_row(target: Mapping[str, Any]) -> Sequence[Any]:
    """A target in one line, under STATUS_COLUMNS."""
    pending, circuit, lost = target["pending"], target["circuit"], target["lost"]
    oldest = pending and pending["oldest"]
    return (
        target["target"],
        target["health"],
        "?" if pending is None else pending["total"],
        "-" if not oldest else span(oldest["idle_ms"] / 1000),
        "?" if circuit is None else circuit["state"],
        "?" if target["dead_letters"] is None else target["dead_letters"],
        "?" if lost is None else lost["count"],
        target["sentence"],
    )


def status_view(target: Mapping[str, Any]) -> Iterator[RenderableType]:
    """A target in full, for a person."""
    yield Text()
    yield Text.assemble(cell(target["health"]), "  ", (for_a_terminal(target["target"]), "bold"))
    yield Text(for_a_terminal(target["sentence"]), style=STYLES[target["health"]])
    yield pairs(list(_facts(target)))


def _facts(target: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if target["pending"] is not None:
        yield "pending", _pending(target["pending"])
        if target["pending"]["by_consumer"]:
            yield "", _consumers(target["pending"])
    if target["circuit"] is not None:
        yield "circuit", circuit_sentence(target["circuit"])
    if target["lease"]:
        yield "at work", target["lease"]
    if target["dead_letters"] is not None:
        yield "dead letters", f"{target['dead_letters']:,} of at most {target['dead_letter_maxlen']:,}"
    if target["lost"] is not None:
        yield "lost", _lost(target["lost"])
    if target["runs"]:
        yield "last runs", _runs(target["runs"][:RUNS_SHOWN])
        why = next((why for run in target["runs"] if (why := _top(run))), "")
        if why:
            yield "why", why


def _lost(lost: Mapping[str, Any]) -> str:
    count = f"{lost['count']:,}" + (" (the record is full: earlier ones are no longer on it)" if lost["full"] else "")
    if not lost["latest"]:
        return count
    latest = lost["latest"][0]
    if latest["at_most"]:
        what = f"at most {latest['at_most']:,} from {latest['id']} on, gone with their stream or group"
        return f"{count}, the latest {what}, seen at {moment(latest['at'])}"
    return f"{count}, the latest {latest['id']} of {latest['consumer']}, seen missing at {moment(latest['at'])}"


def _pending(pending: Mapping[str, Any]) -> str:
    oldest = pending["oldest"]
    if not oldest:
        return f"{pending['total']:,}"
    often = how_often(oldest["deliveries"])
    idle = span(oldest["idle_ms"] / 1000)
    return (
        f"{pending['total']:,}, the oldest {oldest['id']} of {oldest['consumer']}: idle for {idle}, delivered {often}"
    )


def _consumers(pending: Mapping[str, Any]) -> RenderableType:
    shown = pending["by_consumer"][:CONSUMERS_SHOWN]
    rows = [
        (one["consumer"], one["pending"], "?" if one["idle_ms"] is None else span(one["idle_ms"] / 1000))
        for one in shown
    ]
    others = pending["consumers"] - len(shown)
    if others:
        rows.append((f"and {others:,} more", pending["total"] - sum(one["pending"] for one in shown), ""))
    return table(("consumer", "pending", "idle"), rows)


def _runs(runs: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Runs, a line for each, without the reasons, which the target's sentence names as far as they matter."""
    return table(None, [(run.get("started_at", "?"), _in_short(run)) for run in runs])


def _in_short(run: Mapping[str, Any]) -> str:
    """How a run ended, what it did that is not nothing, and how long it took."""
    counts = [f"{run[name]:,} {name.replace('_', ' ')}" for name in SHORT_COUNTS if run.get(name)]
    seconds = [f"{run['seconds']:.2f} s"] if "seconds" in run else []
    return ", ".join([str(run.get("outcome", "?")).replace("_", " "), *counts, *seconds])


def run_row(run: Mapping[str, Any]) -> Sequence[Any]:
    """A run in one line, under RUN_COLUMNS. A question mark stands for what its report does not say.

    The reason is why the run ended so, then the three most frequent reasons why entries were not stored.
    """
    row = [run.get(name.replace(" ", "_"), "?") for name in RUN_COLUMNS[:-2]]
    why = "; ".join(str(part) for part in (run.get("reason", "?"), _top(run)) if part)
    return [*row, why, run.get("run_id", "?")]


def _top(run: Mapping[str, Any]) -> str:
    return top_reasons(counts_in(run.get("reasons")))


def lost_row(entry: "LostEntry") -> Sequence[Any]:
    """A lost entry in one line, under LOST_COLUMNS."""
    at_most = "" if entry.at_most is None else entry.at_most
    return entry.id, entry.consumer, entry.deliveries, entry.idle_ms, entry.at, at_most


def circuit_sentence(circuit: Mapping[str, Any]) -> str:
    """The circuit in one sentence, and whether a service has asked to wait."""
    sentence = _state_of_circuit(circuit)
    if not circuit["wait_sec"]:
        return sentence
    wait = f"nothing is tried for {span(circuit['wait_sec'])}, as a service has asked"
    return f"{sentence}; {wait} ({circuit['wait_reason']})"


def _state_of_circuit(circuit: Mapping[str, Any]) -> str:
    window = (
        f"{many(circuit['failures'], 'failure')} in the last {circuit['window_sec']:g} s, {circuit['limit']} open it"
    )
    if circuit["since"] is None:
        return f"{circuit['state']}; {window}"
    state = circuit["state"].replace("_", " ")
    why = circuit["reason"] or "no reason given"
    how = f"{state} since {moment(circuit['since'])}, by {circuit['by']} ({circuit['who']}): {why}"
    if circuit["state"] == "closed":
        return f"{how}; {window}"
    left = circuit["seconds_left"]
    return f"{how}; {'only a person closes it' if left is None else f'tried again in {span(left)}'}"


def letter_row(letter: "DeadLetter") -> Sequence[Any]:
    """A dead letter in one line, under LETTER_COLUMNS."""
    entry = letter.entry
    ids = (readable(letter.id), readable(entry.id))
    return (*ids, letter.reason, entry.deliveries, written(entry.consumer), letter.at, letter.error)


def survey_row(one: "SurveyedGroup") -> Sequence[Any]:
    """A group of a surveyed server in one line, under SURVEY_COLUMNS."""
    idle = span(one.oldest_idle_ms / 1000) if one.sampled else "-"
    dead = f"{one.dead_consumers:,} with {many(one.held_by_dead, 'entry')}" if one.dead_consumers else "-"
    dead = "too many to look at" if one.dead_consumers is None else dead
    deleted = f"{one.deleted} of {one.sampled} looked at" if one.deleted else "-"
    return one.stream, one.group, one.length, one.pending, idle, one.consumers, dead, deleted


def pending_row(entry: Mapping[str, Any]) -> Sequence[Any]:
    """A pending entry in one line, under PENDING_COLUMNS."""
    waiting = entry["waiting"].replace("_", " ")
    if entry["due_in_ms"]:
        until = datetime.now(UTC) + timedelta(milliseconds=entry["due_in_ms"])
        waiting = f"{waiting} for {span(entry['due_in_ms'] / 1000)}, until {until:%H:%M:%SZ}"
    if entry["behind"]:
        waiting = f"{waiting} behind {entry['behind']}"
    body = " ".join(f"{one['name']}={one['value']}" for one in entry["fields"])
    body = body if len(body) <= BODY_CHARS else f"{body[:BODY_CHARS]}…"
    idle = span(max(0, entry["idle_ms"]) / 1000)
    return entry["id"], entry["consumer"], idle, entry["deliveries"], waiting, entry["reason"], body


def group_row(group: "LetterGroup") -> Sequence[Any]:
    """Dead letters that have failed in the same way in one line, under GROUP_COLUMNS."""
    return group.count, group.reason, group.error_group, group.first, group.last, group.example


def audit_row(one: "AuditRecord") -> Sequence[Any]:
    """What a person did in one line, under AUDIT_COLUMNS."""
    place = f"{one.door} {one.place}".rstrip()
    counts = _in_words({name: n for name, n in (one.counts or {}).items() if n not in (0, {})})
    outcome = f"{one.outcome}: {one.error}" if one.error else one.outcome
    return one.id, one.begun_at, one.what, one.who, place, outcome, counts, _in_words(one.meant), one.why


def _in_words(facts: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in facts.items())


def letter_pairs(letter: "DeadLetter") -> list[tuple[str, Any]]:
    """A whole dead letter: what is known about it, then its fields."""
    about = list(zip(LETTER_COLUMNS, letter_row(letter), strict=True))
    frames = [("traceback" if at == 0 else "", line) for at, line in enumerate(letter.traceback.splitlines())]
    fields = letter.entry.fields
    return [*about, *frames] + [
        (f"field {for_a_terminal(name)}", value) for name, value in zip(fields[::2], fields[1::2], strict=True)
    ]


def shortened(value: Any) -> str:
    """A value, shortened if it is too long for a person."""
    if not isinstance(value, bytes):
        return str(value)
    text = for_a_terminal(value)
    return text if len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}… ({len(value):,} bytes)"


def check_row(check: Mapping[str, str]) -> Sequence[str]:
    """A check in one line, under CHECK_COLUMNS."""
    return check["health"], check["about"], check["what"], check["todo"]


def check_line(check: Mapping[str, str]) -> str:
    """A check in one sentence, for standard error."""
    return f"{check['health']}: {check['about']}: {_found(check)}"


def check_view(checks: Sequence[Mapping[str, str]]) -> RenderableType:
    """Checks for a person, each with what to do about it."""
    return table(None, [(one["health"], one["about"], _found(one)) for one in checks])


def _found(check: Mapping[str, str]) -> str:
    """What was found and what to do about it, with one full stop between them."""
    if not check["todo"]:
        return check["what"]
    return f"{check['what'].rstrip('.')}. To do: {check['todo']}."
