"""Owns the recording of what a person does: a record before the act, its outcome after it, and a line of the log."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, TypeVar

from redis.exceptions import RedisError

from reclaim.app import App, Unit
from reclaim.bounded import json_within
from reclaim.errors import ReclaimError, describe
from reclaim.retry import Retries
from reclaim.state.audit import Actor, Audit, Begun
from reclaim.state.letter_filter import LetterFilter
from reclaim.times import Deadline
from reclaim.trace import AUDIT, holding

logger = logging.getLogger("reclaim")

T = TypeVar("T")

SOMEBODY = Actor("somebody")
LINE_BYTES = 4_000
ATTEMPTS, LONGEST_DELAY_SEC = 3, 0.5
RECORD_SEC = 10.0  # how long writing a record may take
_UNRECORDED = (ReclaimError, RedisError, TimeoutError, OSError)
MAX_IDS = 20  # in a record; it says how many there were


class Act:
    """What a person does; `counts` says how many, as far as it is known."""

    def __init__(self) -> None:
        self.counts: Mapping[str, Any] = {}


@asynccontextmanager
async def audited(
    app: App,
    unit: Unit,
    what: str,
    by: Actor,
    *,
    why: str = "",
    meant: Mapping[str, Any] | None = None,
    must_record: bool = True,
) -> AsyncIterator[Act]:
    """Record that the block is begun, and how it ended; an error passes on.

    Args:
        app: what the block works with.
        unit: of the target that the block works on.
        what: what is done.
        by: who asks for it.
        why: the reason that the person gives.
        meant: to what it is done.
        must_record: whether the block is not run where that cannot be recorded.

    Raises:
        ServerError, redis.exceptions.RedisError, TimeoutError: it cannot be recorded.
    """
    audit, act = Audit(app.server, unit.target), Act()
    about = {"target": unit.target.name, "what": what, **asdict(by), "why": why, "meant": meant or {}}
    begun = None
    try:
        begun = await _recorded(lambda: audit.begin(what, by, why, meant or {}))
    except _UNRECORDED:
        if must_record:
            raise
    _log({**about, "outcome": "begun"})
    outcome, error = "failed", ""
    try:
        yield act
        outcome = "done"
    except asyncio.CancelledError:
        outcome = "interrupted"
        raise
    except BaseException as exc:
        error = describe(exc)
        raise
    finally:
        _log({**about, "outcome": outcome, "error": error, "counts": act.counts})
        if begun is not None:
            await _end(audit, begun, outcome, act, error)


async def _recorded(write: Callable[[], Awaitable[T]]) -> T:
    """Write a record, again while the error is transient: after a failover the first attempt may meet a replica.

    If a reply was lost, a record may be there twice, one of them only begun.
    """
    return await Retries(ATTEMPTS, LONGEST_DELAY_SEC).call(Deadline(RECORD_SEC, time.monotonic), write)


async def _end(audit: Audit, begun: Begun, outcome: str, act: Act, error: str) -> None:
    """Record the outcome; where that fails, the record stays as it was begun."""
    try:
        await _recorded(lambda: audit.end(begun, outcome, act.counts, error))
    except _UNRECORDED as exc:
        logger.warning("reclaim: the outcome of what a person did could not be recorded: %s", describe(exc))


def meant_letters(
    ids: list[bytes] | None, wanted: LetterFilter, upto: bytes | None = None, **more: Any
) -> dict[str, Any]:
    """Which dead letters are meant, for a record."""
    filters = {name: value for name, value in asdict(wanted).items() if value is not None}
    if "entry_ids" in filters:
        filters["entry_ids"] = sorted(one.decode() for one in filters["entry_ids"])[:MAX_IDS]
    if ids is None:
        chosen: dict[str, Any] = {"ids": "all", **({"upto": upto.decode()} if upto else {})}
    else:
        chosen = {"ids": [one.decode() for one in ids[:MAX_IDS]], "count": len(ids)}
    return {**chosen, **filters, **{name: value for name, value in more.items() if value is not None}}


def _log(said: Mapping[str, Any]) -> None:
    bounded = json.loads(json_within(said, LINE_BYTES))
    logger.info("reclaim audit: %s", bounded, extra=holding(AUDIT, bounded))
