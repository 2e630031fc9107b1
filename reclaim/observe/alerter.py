"""Owns the sending of alerts: each once for all instances, to the webhook, or to the log if there is no webhook."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from reclaim.errors import said
from reclaim.observe.alerts import Alert, Kind, marker_of
from reclaim.observe.webhook import NotTaken, Post, Webhook, cloud_event
from reclaim.settings import Settings, Target
from reclaim.shards import Shard
from reclaim.state.connection import Server
from reclaim.state.told import ToldAlerts
from reclaim.times import Deadline
from reclaim.trace import ALERT, holding

logger = logging.getLogger("reclaim")

SEND_BUDGET_SEC = 10.0  # how long telling one run's alerts may take in all
REMEMBER_CHANGE_MS = 30 * 24 * 3_600_000  # how long it is remembered that a change was told
RECHECK_SEC = 60.0  # how often runs that go well ask whether another instance has told of a failure


class Alerter:
    """Tells alerts: a change once, a condition once per ALERT_REPEAT_SEC.

    It fails no run. An alert that cannot be sent goes to the log, and the next run that finds the same may tell it.
    """

    def __init__(
        self,
        settings: Settings,
        server: Server,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        url = settings.alert_webhook_url
        self._webhook = Webhook(url, settings.alert_webhook_key, sleep) if url else None
        # Instances that share a webhook must agree on what was told, so they ask Redis. A log is each instance's own.
        self._told = ToldAlerts(server if url else None, clock)
        self._repeat_ms = round(1000 * settings.alert_repeat_sec)
        self._dashboard_url = settings.dashboard_url
        self._clock = clock
        self._recheck_at: dict[tuple[bytes, int], float] = {}  # by marker and shard

    async def send(self, alerts: Sequence[Alert], within_sec: float = SEND_BUDGET_SEC) -> None:
        """Tell the alerts that were not told yet."""
        deadline = Deadline(within_sec, self._clock)
        try:
            are_due = await asyncio.gather(*map(self._is_due, alerts))
            due = [alert for alert, is_due in zip(alerts, are_due, strict=True) if is_due]
            if self._webhook is None:
                await self._log(due)
            elif due:
                async with self._webhook.open() as post:
                    await asyncio.gather(*(self._send(post, alert, deadline) for alert in due))
        except Exception:  # a fault of the alerts fails no run (G6)
            logger.exception("reclaim alerts not sent: %s", ", ".join(alert.kind for alert in alerts))

    async def _is_due(self, alert: Alert) -> bool:
        """Whether the alert is ours to tell, now."""
        ended = alert.kind.ends
        if ended is not None and not await self._was_told(marker_of(ended, alert.target), alert.target.shard):
            return False
        self._recheck_at.pop((alert.marker, alert.target.shard.index), None)
        return await self._told.claim(alert.marker)

    async def _was_told(self, marker: bytes, shard: Shard) -> bool:
        """Whether what this marker is of was told of the shard: Redis is asked once per RECHECK_SEC at most."""
        place = marker, shard.index
        if self._clock() < self._recheck_at.get(place, 0.0):
            return False
        was_told = await self._told.is_told(marker, shard)
        if not was_told:
            self._recheck_at[place] = self._clock() + RECHECK_SEC
        return was_told

    async def end(self, kinds: Iterable[Kind], target: Target) -> None:
        """Note that these streaks are over, so that the next one is told anew."""
        markers = [marker_of(kind, target) for kind in kinds]
        if markers:
            await self._told.forget(*markers)

    async def _log(self, alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            event = cloud_event(alert, self._dashboard_url).decode()
            held = holding(ALERT, json.loads(event))
            logger.warning("reclaim alert, ALERT_WEBHOOK_URL is not set: %s", event, extra=held)
            await self._remember(alert)

    async def _send(self, post: Post, alert: Alert, deadline: Deadline) -> None:
        """Send one alert; log it if it does not arrive."""
        event = cloud_event(alert, self._dashboard_url)
        try:
            await post(event, deadline)
        except NotTaken as exc:
            # No traceback: errors of the HTTP client may hold the webhook's address, which may be a secret.
            logger.error("reclaim alert not sent, %s: %s", said(exc), event.decode())  # noqa: TRY400  # see above
            await self._told.forget(alert.marker)
        else:
            logger.info("reclaim alert sent: %s", alert.kind.value)
            await self._remember(alert)

    async def _remember(self, alert: Alert) -> None:
        """Note that the alert was told. A recovery ends the streak: the next failure is told anew."""
        if (ended := alert.kind.ends) is not None:
            await self._told.forget(marker_of(ended, alert.target), alert.marker)
        else:
            for_ms = self._repeat_ms if alert.kind.repeats else REMEMBER_CHANGE_MS
            await self._told.remember(alert.marker, for_ms, alert.target.shard)
