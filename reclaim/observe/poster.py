"""Owns the thread that posts telemetry, so that neither a run nor the event loop waits for opencensus."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING

from reclaim.errors import describe
from reclaim.observe.measures import Item, Sent
from reclaim.settings import Insights

if TYPE_CHECKING:
    from reclaim.observe.app_insights import Sender


class Poster:
    """Posts items in a thread of its own. For a pool's thread, the end of the loop or of the process would wait."""

    def __init__(self, insights: Insights, redis: str, timeout_sec: float) -> None:
        """Make it; nothing is imported yet.

        Args:
            insights: where to post.
            redis: ``host:port``, named as what pages depend on.
            timeout_sec: for connecting, for each wait for a part of an answer, and for beginning the last post.
        """
        self._insights = insights
        self._redis = redis
        self._timeout_sec = timeout_sec
        self._sender: Sender | None = None  # made by the first thread; at most one runs at a time

    def start(self, items: Sequence[Item]) -> Future[Sent]:
        """Begin to post items.

        Raises:
            RuntimeError: the process can have no further thread.
        """
        outcome: Future[Sent] = Future()
        threading.Thread(target=self._run, args=(items, outcome), name="reclaim telemetry", daemon=True).start()
        return outcome

    def _run(self, items: Sequence[Item], outcome: Future[Sent]) -> None:
        try:
            outcome.set_result(self._sender_now().send(items, time.monotonic() + self._timeout_sec))
        except BaseException as exc:  # noqa: BLE001  # only the outcome can say what went wrong here
            outcome.set_result(Sent(len(items), describe(exc)))

    def _sender_now(self) -> "Sender":
        if self._sender is None:
            from reclaim.observe.app_insights import Sender  # noqa: PLC0415  # 0.2 s, in this thread, after the run

            self._sender = Sender(self._insights, self._redis, self._timeout_sec)
        return self._sender
