"""Owns the log lines that wait for the next export: the last thousand."""

import logging
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime

from reclaim.bounded import RECORD_BYTES, cut_for_json
from reclaim.observe.measures import Line, dimensions

MAX_LINES = 1_000


class LogBuffer(logging.Handler):
    """Keeps log lines, each with the names that `trace` has added to it, until they are drained."""

    def __init__(self, on_overflow: Callable[[], None]) -> None:
        """Make it; `on_overflow` is called whenever a line pushes the oldest one out."""
        super().__init__()
        self._on_overflow = on_overflow
        self._kept: deque[Line] = deque(maxlen=MAX_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        named = {name: getattr(record, name, "") for name in ("operation_id", "parent_id", "target", "run_id")}
        common = dimensions(named["target"]) | {"run_id": named["run_id"], "logger": record.name}
        at = datetime.fromtimestamp(record.created, UTC)
        if len(self._kept) == MAX_LINES:
            self._on_overflow()
        text = cut_for_json(self.format(record), RECORD_BYTES)
        self._kept.append(Line(named["operation_id"], named["parent_id"], at, record.levelno, text, common))

    def drain(self) -> list[Line]:
        """The lines kept; from then on they are kept no longer."""
        return [self._kept.popleft() for _ in range(len(self._kept))]
