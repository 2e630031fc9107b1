"""Owns the names by which the logs and traces of one invocation find each other: its operation, run and target."""

import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

_TRACE_PARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True, slots=True)
class Operation:
    """What an invocation is part of.

    Attributes:
        trace_id: of the whole operation; 32 hexadecimal digits.
        parent_id: of the span that called for the invocation; None where nobody said.
    """

    trace_id: str
    parent_id: str | None = None

    @classmethod
    def of(cls, trace_parent: str | None = None) -> "Operation":
        """The one that a traceparent names (https://www.w3.org/TR/trace-context/#traceparent-header), or a new one."""
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


def under_way() -> Operation | None:
    """The operation that this code runs in; None outside of any."""
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


def span_id(run_id: str, page: int = 0) -> str:
    """The span of a run, or of one of its pages: 16 hexadecimal digits that begin with the run's ID."""
    return f"{run_id}{page:04x}"


RUN_LINE = "reclaim run %s"  # the run's own line; its JSON has the names in it, and is to stay JSON to the end


def name_in_log_lines() -> None:
    """Have every line of this package name its run, target and operation; to call it again changes nothing."""
    logging.getLogger("reclaim").addFilter(_name)


def _name(record: logging.LogRecord) -> bool:
    """Add the names to a line: to its text, which is all that Azure's host passes on, and as attributes."""
    operation, run = _operation.get(), _run.get()
    record.operation_id = operation.trace_id if operation else ""
    record.parent_id = (operation and operation.parent_id) or ""
    record.target, record.run_id = target, run_id = run or ("", "")
    if run:
        record.parent_id = span_id(run_id)
    if run and record.msg != RUN_LINE:
        names = f"[target={target} run={run_id} operation={operation.trace_id if operation else ''}]"
        with suppress(Exception):  # a message that cannot be formatted is for the handler to report
            record.msg, record.args = f"{record.getMessage()} {names}", None
    return True
