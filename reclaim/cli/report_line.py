"""Owns what a person reads of a run: one line, on standard output or in the log."""

from collections.abc import Iterator

from reclaim.bounded import NAME_CHARS, shortened
from reclaim.reasons import top_reasons
from reclaim.run.report import MAIN_COUNTS, Outcome, RunReport

_TOLD = frozenset({*MAIN_COUNTS, "given_back", "lost", "duplicate_fields", "not_deleted", "moved"})


def sentence(report: RunReport) -> str:
    """What a run did, in one line, why it ended so, and the three most frequent reasons why entries were not stored."""
    what = f"{shortened(report.target, NAME_CHARS)}: {report.outcome.value.replace('_', ' ')}"
    if not report.outcome.looked_at_nothing:
        what = ", ".join([what, *_counts(report), f"{report.seconds:.2f} s"])
    if report.clock_went_back_ms:
        what = f"{what}, the server's clock went back by {report.clock_went_back_ms / 1000:g} s"
    whys = [why for why in (report.reason, top_reasons(report.reasons)) if why]
    return f"{what}: {'; '.join(whys)}" if whys else what


def _counts(report: RunReport) -> Iterator[str]:
    """What became of entries. A run without any says ``nothing idle``, but only if it has looked at the whole list."""
    told = {name: count for name, count in report.numbers().items() if count and name in _TOLD}
    yield from (f"{count:,} {name.replace('_', ' ')}" for name, count in told.items())
    if report.lost_at_most:
        yield f"at most {report.lost_at_most:,} more lost"
    if report.outcome is Outcome.COMPLETED and not told and not report.lost_at_most:
        yield "nothing idle"
