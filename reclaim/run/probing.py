"""Owns what a probe takes: few entries that tell the most about whether work succeeds again. Pure functions on values.

An entry that cannot be stored must not keep the circuit open for the others (G4). So a probe takes first what was not
tried since the circuit opened, of as many order keys as it can, from everywhere in the pending list.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from reclaim.state.pending import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Candidate:
    """The first entry of an order key.

    Attributes:
        row: the entry.
        tried_ms: when we tried it last, Unix ms; 0: never.
    """

    row: Row
    tried_ms: int = 0


def choose(candidates: Sequence[Candidate], opened_ms: int, count: int) -> list[Row]:
    """The entries to probe with, in the order of the candidates: at most so many.

    Half of them, or more, were never tried. The others were not tried since the circuit opened, at `opened_ms`; where
    there are too few of both, those come next whose last try is the longest ago.
    """
    never = [one for one in candidates if not one.tried_ms]
    before = [one for one in candidates if 0 < one.tried_ms < opened_ms]
    since = sorted((one for one in candidates if one.tried_ms >= max(opened_ms, 1)), key=lambda one: one.tried_ms)
    from_never = min(len(never), max((count + 1) // 2, count - len(before)))
    chosen = [*spread(never, from_never), *spread(before, count - from_never)]
    chosen += since[: count - len(chosen)]
    ids = {one.row.id for one in chosen}
    return [one.row for one in candidates if one.row.id in ids]


def spread(values: Sequence[T], count: int) -> list[T]:
    """So many of the values, at equal distances; the first and the last are among them."""
    if count >= len(values):
        return list(values)
    if count <= 1:
        return list(values[-1:]) if count == 1 else []
    return [values[at * (len(values) - 1) // (count - 1)] for at in range(count)]
