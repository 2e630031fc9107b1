"""Owns the overview: all targets in brief, worst first, beside one target in full. Pure functions.

A status of a hundred targets in full has some hundred kilobytes, and a page reads it every three seconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from reclaim.ops.health import SEVERITY, Health

SENTENCE_CHARS = 160


def overview(found: Mapping[str, Any], target: str | None) -> dict[str, Any]:
    """The status with all targets in brief, and in full only the one that is named; the worst one if none is.

    Of the doctor's findings those stay that are about the app or this target, and the others that are not well.
    """
    rows = worst_first(found["targets"])
    wanted = target or next((row["target"] for row in rows), None)
    others = {row["target"] for row in rows} - {wanted}
    findings = [
        one for one in found["doctor"]["findings"] if one["about"] not in others or one["health"] != Health.OK.value
    ]
    return {
        **found,
        "doctor": {**found["doctor"], "findings": findings},
        "overview": [brief(row) for row in rows],
        "targets": [row for row in rows if row["target"] == wanted],
    }


def worst_first(targets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The targets by health; of the same health by what waits: dead and lost entries, then what is pending."""

    def weight(row: Mapping[str, Any]) -> tuple[int, int, int]:
        lost, pending = row["lost"] or {}, row["pending"] or {}
        waits = (row["dead_letters"] or 0) + lost.get("count", 0)
        return SEVERITY[Health(row["health"])], -waits, -pending.get("total", 0)

    return sorted(targets, key=weight)  # which keeps the order of the settings among equals


def brief(row: Mapping[str, Any]) -> dict[str, Any]:
    """A target in one line; null is what could not be read."""
    pending, circuit, lost = row["pending"], row["circuit"], row["lost"]
    oldest = pending and pending["oldest"]
    sentence = row["sentence"]
    return {
        "target": row["target"],
        "health": row["health"],
        "sentence": sentence if len(sentence) <= SENTENCE_CHARS else f"{sentence[:SENTENCE_CHARS]}…",
        "pending": pending and pending["total"],
        "oldest_idle_ms": oldest and oldest["idle_ms"],
        "circuit": circuit and circuit["state"],
        "dead_letters": row["dead_letters"],
        "lost": lost and lost["count"],
        "last_tick_at": row["last_tick_at"],
    }
