"""Owns the check that a setting fits what a run meets (G9): before anything is claimed, and only until it has fitted.

A template that no entry fits would make a dead letter of every entry. So the first run under a template looks at
entries before it claims any: at the first 20, and if none of them fits, at up to 200 more, spread over the whole
pending list. If none fits, the run fails and nothing is changed. If any fits, the entries that do not are bad entries.
Once anything was stored under the template, which is remembered, no run looks again.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reclaim.entry import Entry, readable
from reclaim.errors import FitsNothing, MissingField, NameTaken, NoObject
from reclaim.handlers.outcomes import Handler, Needs
from reclaim.names import written
from reclaim.state.ask import Ask, Reply
from reclaim.state.bodies import Body
from reclaim.state.find import Finder
from reclaim.state.pending import Row
from reclaim.state.seen import SeenGroup

logger = logging.getLogger("reclaim")

FIRST, SPREAD = 20, 200  # entries that are looked at
MAX_FIELDS, MAX_FIELD_CHARS = 10, 60  # field names that the error shows


@dataclass(frozen=True, slots=True)
class Misfit:
    """A setting that fits no entry that was looked at.

    Attributes:
        setting: its name.
        looked_at: how many entries were looked at.
        first: the first of them.
        why: why the first one does not fit.
    """

    setting: str
    looked_at: int
    first: Entry
    why: str

    def __str__(self) -> str:
        names = [written(name)[:MAX_FIELD_CHARS] for name in dict.fromkeys(self.first.fields[::2])]
        shown = ", ".join(f"'{name}'" for name in names[:MAX_FIELDS])
        more = f" and {len(names) - MAX_FIELDS:,} more" if len(names) > MAX_FIELDS else ""
        return (
            f"{self.setting} fits no entry that was looked at ({self.looked_at} were): {self.why};"
            f" entry {readable(self.first.id)} has the fields {shown}{more}"
        )


class Fit:
    """Whether a handler's setting fits what is pending."""

    def __init__(self, handler: Handler, finder: Finder) -> None:
        self._handler = handler
        self._finder = finder

    def fits(self, entry: Entry) -> bool:
        """Whether the setting fits this entry."""
        return self._why_not(entry) is None

    async def misfit(self, first: Sequence[Row]) -> Misfit | None:
        """What does not fit: None where any entry looked at fits, or none could be looked at.

        Args:
            first: pending entries to begin with.
        """
        needs = self._handler.needs
        if needs is None:
            return None
        found: Misfit | None = None
        known = set[bytes]()
        for rows in (first, None):
            some = await self._finder.spread(SPREAD) if rows is None else rows
            async for entry in self._finder.read([row for row in some if row.id not in known]):
                why = self._why_not(entry)
                if why is None:
                    return None
                found = found or Misfit(_setting(needs, why), 0, entry, str(why))
                found = replace(found, looked_at=found.looked_at + 1)
            known.update(row.id for row in some)
        return found

    def _why_not(self, entry: Entry) -> MissingField | None:
        try:
            self._handler.order_key(entry)
        except MissingField as exc:
            return exc
        return None


def _setting(needs: Needs, why: MissingField) -> str:
    match why:
        case NameTaken():
            return "HASH_VERSION_FIELD"
        case NoObject():
            return "HASH_FROM"
        case _:
            return needs.setting


class FitCheck:
    """The check of one run."""

    def __init__(self, fit: Fit, needs: Needs | None, seen: SeenGroup) -> None:
        self._fit = fit
        self._needs = needs
        self._seen = seen
        self._is_due = self._is_unmarked = needs is not None

    def begin(self, stored_under: frozenset[str], park_misfits: str | None, name: str) -> None:
        """See whether a look is due: not where something was stored once, nor where a person wants misfits parked."""
        if self._needs is None or self._needs.text in stored_under:
            self._is_due = self._is_unmarked = False
        elif park_misfits is not None:
            self._is_due = False
            what = "reclaim %s: entries that %s does not fit become dead letters, because %s asked for that"
            logger.warning(what, name, self._needs.setting, park_misfits)

    async def check(self, found: Sequence[Row], bodies: Sequence[Body]) -> None:
        """Look at entries that were found and read, if they are the first of the run that are in the stream.

        Raises:
            FitsNothing: the setting fits none.
        """
        if not (self._is_due and found):
            return
        there = [(row, body) for row, body in zip(found, bodies, strict=True) if body is not None]
        if not there:  # all are gone, which says nothing: the next ones tell
            return
        if any(self._fit.fits(Entry(row.id, body)) for row, body in there):
            self._is_due = False
            return
        misfit = await self._fit.misfit([row for row, _ in there[:FIRST]])
        if misfit is not None:
            todo = f"correct {misfit.setting}, or have them parked: reclaim run --park-misfits"
            raise FitsNothing(f"{misfit}; nothing was claimed or changed; {todo}")
        self._is_due = False

    def mark(self) -> Ask[Reply]:
        """Remember that something was stored under the setting, now that it is; asked for once in a run, if at all."""
        if self._needs is None or not self._is_unmarked:
            return Ask((), lambda _: None)
        self._is_unmarked = False
        return self._seen.mark(self._needs.text).or_error()
