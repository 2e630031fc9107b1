"""Prints what the state machine did."""

from typing import Any

import pytest

pytest.register_assert_rewrite("tests.promises.model.judge", "tests.promises.model.machine")

from tests.promises.model.place import STATISTICS  # noqa: E402  # after the rewriting is asked for


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """What happened, and how often, on each kind of server."""
    for kind, count in STATISTICS.items():
        terminalreporter.section(f"state machine on {kind}")
        for what, times in sorted(count.items()):
            terminalreporter.write_line(f"{times:>9,}  {what}")
