"""Owns the names that join the log lines and the traces of one invocation: its operation, its runs, their targets.

Code deep inside a run logs without knowing them: context variables carry them, and a filter adds them to every line. It
also shortens lines that are too long.
"""

import logging
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from reclaim.bounded import LINE_BYTES, cut
from reclaim.tracebacks import whole

_TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Operation:
    """The operation that an invocation is part of: a trace, in the words of W3C Trace Context.

    Attributes:
        trace_id: the whole operation's ID; 32 hexadecimal digits.
        parent_id: the ID of the span that caused the invocation; None if it is not known.
    """

    trace_id: str
    parent_id: str | None = None

    @classmethod
    def of(cls, trace_parent: str | None = None) -> "Operation":
        """The operation that a traceparent names, or a new one if it names none.

        See https://www.w3.org/TR/trace-context/#traceparent-header.
        """
        named = _TRACE_PARENT.fullmatch(trace_parent or "")
        return cls(named[1], named[2]) if named else cls(secrets.token_hex(16))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Have log lines name this operation, in the block and in the tasks that are made in it."""
        token = _operation.set(self)
        try:
            yield
        finally:
            _operation.reset(token)


_operation: ContextVar[Operation | None] = ContextVar("reclaim_operation", default=None)


def current_operation() -> Operation | None:
    """The operation that this code runs in; None if it runs in none."""
    return _operation.get()


_run: ContextVar[tuple[str, str] | None] = ContextVar("reclaim_run", default=None)


@contextmanager
def run_under_way(target: str, run_id: str) -> Iterator[None]:
    """Have log lines name this run, in the block and in the tasks that are made in it."""
    token = _run.set((target, run_id))
    try:
        yield
    finally:
        _run.reset(token)


_entry: ContextVar[str] = ContextVar("reclaim_entry", default="")


@contextmanager
def entry_under_way(name: str) -> Iterator[None]:
    """Have log records name this entry, or these, in the block, and in tasks and threads that are begun in it."""
    token = _entry.set(name)
    try:
        yield
    finally:
        _entry.reset(token)


def span_id(run_id: str, page: int = 0) -> str:
    """The ID of a run's span, or of one of its pages': 16 hexadecimal digits that begin with the run's ID."""
    return f"{run_id}{page:04x}"


TARGET_BYTES = 400  # of a target's name in a line
PART_BYTES = 1_000  # of each text in a message that is too long: its own words are to be read all the same
ROOM_BYTES = 200  # of a line, for what a log puts before the message: the time, the level
# What a line of the log is about, beside its text, where it holds a value: a run's report, an event, an act.
RUN, ALERT, AUDIT = "run", "alert", "audit"
RUN_LINE = "reclaim run %s"  # the line with a run's report. We add no names to it: its JSON has them, and must end it


def holding(kind: str, value: Any) -> dict[str, Any]:
    """The `extra` of a line of the log that holds a value: a log that is no plain text shows it in its own way."""
    return {"reclaim_kind": kind, "reclaim_value": value}


def name_in_log_lines() -> None:
    """Let every log line of this package name its run, target and operation. A second call changes nothing."""
    logging.getLogger("reclaim").addFilter(_add_names)
    if not isinstance(logging.getLogRecordFactory(), _NamingRun):
        logging.setLogRecordFactory(_NamingRun(logging.getLogRecordFactory()))


class _NamingRun:
    """Makes log records that have the run and the entry as attributes: those of a handler's own loggers too."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self._make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self._make(*args, **kwargs)
        record.reclaim_target, record.reclaim_run = _run.get() or ("", "")
        record.reclaim_entry = _entry.get()
        return record


def _add_names(record: logging.LogRecord) -> bool:
    """Add the names to a log line: as attributes, and in its text, because Azure's host passes on only the text.

    Shorten the line if it is too long.
    """
    operation, run = _operation.get(), _run.get()
    record.operation_id = operation.trace_id if operation else ""
    record.parent_id = (operation and operation.parent_id) or ""
    target, run_id = run or ("", "")
    target = cut(target, TARGET_BYTES)
    record.target, record.run_id = target, run_id
    if run:
        record.parent_id = span_id(run_id)
    if record.msg != RUN_LINE:  # which is bounded, and would be no JSON if it were cut
        names = f" [target={target} run={run_id} operation={operation.trace_id if operation else ''}]" if run else ""
        with suppress(Exception):  # if the message cannot be formatted, the log's handler reports it
            _say(record, names)
    return True


def _say(record: logging.LogRecord, names: str) -> None:
    """Have the line end its message with the names, and take at most LINE_BYTES with its traceback."""
    _, error, frames = record.exc_info or (None, None, None)
    if error is not None:
        record.exc_text = whole(error, frames)  # which formatters take as it is, where it is there
    text = record.getMessage()
    taken = len(names.encode()) + len((record.exc_text or "").encode())
    room = LINE_BYTES - ROOM_BYTES - taken
    bounded = cut(text, room)
    if bounded != text and isinstance(record.args, tuple):
        bounded = cut(record.msg % _shortened(record.msg, record.args), room)
    record.reclaim_text = bounded
    if names or bounded != text:
        record.msg, record.args = f"{bounded}{names}", None


def _shortened(message: str, parts: tuple[Any, ...]) -> tuple[Any, ...]:
    """What goes into a message, each text cut but the one that ends it, which the end of the line cuts."""
    ends_with_a_part = message.endswith("%s")
    last = len(parts) - 1
    return tuple(
        cut(part, PART_BYTES) if isinstance(part, str) and not (ends_with_a_part and at == last) else part
        for at, part in enumerate(parts)
    )
