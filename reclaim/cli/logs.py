"""Owns how the plain program writes its log, to standard error: JSON for a program, sentences for a person; in UTC.

On Azure the host writes the log, in its own format.
"""

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from reclaim import trace
from reclaim.bounded import LINE_BYTES, NAME_CHARS, cut, cut_for_json, shortened
from reclaim.cli.output import is_terminal
from reclaim.cli.report_line import sentence
from reclaim.visible import for_a_terminal

TRACEBACK_BYTES = 5_000  # of a line of JSON
NAME_BYTES = 600  # of each name in it: of the target, the run, the entry, the logger
ROOM_BYTES = 200  # of such a line: its braces, names and commas
# What a person at a terminal does not read elsewhere: all other alerts say again what the line of the run says.
SHOWN_ALERTS = frozenset({"reclaim.backlog.stale"})


def begin(log_format: str, *, level: int = logging.WARNING, runs_are_told: bool = False) -> None:
    """Write the log from now on. If somebody has set a log up already, nothing is changed.

    Args:
        log_format: LOG_FORMAT: json, text or auto.
        level: from which level on lines of other packages are written; ours are from INFO on.
        runs_are_told: whether the person at the terminal reads the reports on standard output.
    """
    root = logging.getLogger()
    if root.handlers:
        return
    at_terminal = is_terminal(sys.stderr)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Readable() if log_format == "text" or (log_format == "auto" and at_terminal) else _Json())
    if at_terminal:
        handler.addFilter(_told_nowhere_else if runs_are_told else _told_by_no_run)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("reclaim").setLevel(logging.INFO)


def is_for_a_program() -> bool:
    """Whether the log is written as JSON."""
    return any(isinstance(handler.formatter, _Json) for handler in logging.getLogger().handlers)


def _told_by_no_run(record: logging.LogRecord) -> bool:
    """Whether a person learns something new: the command's result says what is audited, and a run's line its alerts."""
    match getattr(record, "reclaim_kind", ""):
        case trace.ALERT:
            return record.__dict__["reclaim_value"].get("type") in SHOWN_ALERTS
        case kind:
            return kind != trace.AUDIT


def _told_nowhere_else(record: logging.LogRecord) -> bool:
    return _told_by_no_run(record) and getattr(record, "reclaim_kind", "") != trace.RUN


class _Json(logging.Formatter):
    """Each record as one line of JSON, in ASCII, of at most LINE_BYTES."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        about = {"time": at, "level": record.levelname, "logger": cut_for_json(record.name, NAME_BYTES)}
        kind = getattr(record, "reclaim_kind", None)
        if kind == trace.RUN and isinstance(record.args, tuple):  # its report is bounded, and JSON already
            (report,) = record.args
            return f'{json.dumps(about | {"message": "reclaim run"})[:-1]}, "run": {report}}}'
        if kind is not None:
            value = json.dumps(record.__dict__["reclaim_value"])
            return f'{json.dumps(about | {"message": f"reclaim {kind}"})[:-1]}, "{kind}": {value}}}'
        about |= {name: cut_for_json(value, NAME_BYTES) for name, value in _names(record)}
        traceback = _traceback(record)
        if traceback:
            about["traceback"] = cut_for_json(traceback[::-1], TRACEBACK_BYTES)[::-1]  # its end says most
        room = LINE_BYTES - ROOM_BYTES - len(json.dumps(about))
        return json.dumps({**about, "message": cut_for_json(_text(record), room)})


class _Readable(logging.Formatter):
    """Each record as a sentence; below it its traceback. No character can steer a terminal.

    A line takes at most LINE_BYTES, also where most of its characters had to be told by escapes.
    """

    def format(self, record: logging.LogRecord) -> str:
        at = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%d %H:%M:%SZ}"
        lines = [*_said(record).splitlines(), *_traceback(record).splitlines()]
        lines = [f"{at} {record.levelname} {lines[0] if lines else ''}", *lines[1:]]
        return "\n".join(cut(for_a_terminal(line), LINE_BYTES) for line in lines)


def _said(record: logging.LogRecord) -> str:
    value: Any = getattr(record, "reclaim_value", {})
    match getattr(record, "reclaim_kind", None):
        case trace.RUN:
            return sentence(value)
        case trace.ALERT:
            return f"alert {value['type']}: {value['text']}"
        case trace.AUDIT:
            return _act(value)
        case _:
            names = [one for name, one in _names(record) if name != "operation_id"]
            return f"{_text(record)} [{', '.join(names)}]" if names else _text(record)


def _act(value: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name}={count}" for name, count in (value.get("counts") or {}).items() if count)
    how = ": ".join(part for part in (value["outcome"], value.get("error", ""), counts) if part)
    return f"{value['target']}: {value['what']} by {value['who']} ({value['door']}): {how}"


def _names(record: logging.LogRecord) -> Iterator[tuple[str, str]]:
    """The target, the run and so on that a record belongs to."""
    named = {
        "target": getattr(record, "reclaim_target", ""),
        "run_id": getattr(record, "reclaim_run", ""),
        "entry": getattr(record, "reclaim_entry", ""),
        "operation_id": getattr(record, "operation_id", ""),
    }
    yield from ((name, shortened(value, NAME_CHARS)) for name, value in named.items() if value)


def _text(record: logging.LogRecord) -> str:
    """The message without the names, which are beside it."""
    said: str = getattr(record, "reclaim_text", None) or record.getMessage()
    return said


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_text:  # cut already, where a line of ours would be too long with it
        return record.exc_text
    return logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
