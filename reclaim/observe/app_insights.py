"""Owns the way to Application Insights: turns spans, metrics and log lines into envelopes, and posts them.

No other module imports opencensus, and only `poster` imports this one, when it has something to send for the first
time. Of opencensus it uses the envelopes and the transport, but no exporter: each exporter starts a thread of its own,
sends the last values of a metric again and again, and does not say what came of a post.
"""

import logging
import os
import platform
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from opencensus.ext.azure.common.protocol import (
    Data,
    DataPoint,
    Envelope,
    Message,
    MetricData,
    RemoteDependency,
    Request,
)
from opencensus.ext.azure.common.transport import _MAX_CONSECUTIVE_REDIRECTS, TransportMixin, TransportStatusCode

from reclaim import __version__
from reclaim.observe.measures import Item, Line, Metric, Sent, Span
from reclaim.settings import Insights

# Without this opencensus sends statistics about itself to Microsoft, and asks the machine's metadata address
# (169.254.169.254) what it runs on. It reads the variable when an exporter is made, and at every post.
os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"

AT_ONCE = 500  # envelopes in one post: some 400 kB


class Sender(TransportMixin):  # type: ignore[misc]  # opencensus has no types
    """Sends items, one call at a time; it blocks, keeps nothing, and has no thread."""

    def __init__(self, insights: Insights, redis: str, timeout_sec: float) -> None:
        """Make it; nothing is sent yet.

        Args:
            insights: where to send.
            redis: ``host:port``, named as what pages depend on.
            timeout_sec: for connecting, and for each wait for a part of the answer.
        """
        # The transport reads these. opencensus' own Options also read the environment, and they refuse the semicolon
        # that ends many connection strings.
        self.options = SimpleNamespace(
            endpoint=insights.endpoint, timeout=timeout_sec, proxies="{}", credential=_credential(insights)
        )
        self.storage = self  # the transport calls its `put` with envelopes that it would send again later
        self._endpoint = insights.endpoint
        self._key = insights.key
        self._redis = redis
        self._rejected = 0
        self._tags = {
            "ai.cloud.role": insights.role,
            "ai.cloud.roleInstance": platform.node(),
            "ai.application.ver": __version__,
            "ai.internal.sdkVersion": f"reclaim:{__version__}",
        }

    def send(self, items: Sequence[Item], until: float) -> Sent:
        """Send items, 500 in a post. Items that do not arrive are dropped, never sent again.

        Args:
            items: what to send.
            until: when to begin no further post, in monotonic seconds.
        """
        dropped, why = 0, ""
        for first in range(0, len(items), AT_ONCE):
            some = items[first : first + AT_ONCE]
            if first and time.monotonic() >= until:
                return Sent(dropped + len(items) - first, why or "no time left")
            outcome = self._post(some)
            dropped, why = dropped + outcome.dropped, why or outcome.why
        return Sent(dropped, why)

    def put(self, envelopes: Sequence[Any], *_: object) -> None:
        """Count envelopes that were refused for now. The transport calls it; they are not sent again."""
        self._rejected += len(envelopes)

    def _post(self, items: Sequence[Item]) -> Sent:
        self._rejected = 0
        self.options.endpoint = self._endpoint
        # A redirect would send the items, and the bearer token with them, to any host that it names, now and later. The
        # transport follows none once it has counted this many.
        self._consecutive_redirects = _MAX_CONSECUTIVE_REDIRECTS
        said: list[str] = []
        token = _said.set(said)
        try:
            status = self._transmit([self._envelope(item) for item in items])
        finally:
            _said.reset(token)
        if status == TransportStatusCode.SUCCESS:
            return Sent(0)
        # After a partial success (206) the transport calls `put` with envelopes that it may send again, and logs a line
        # for each other one that was refused.
        rejected = self._rejected + sum(line.startswith("Data drop") for line in said)
        return Sent(rejected or len(items), said[0][:200] if said else "refused")

    def _envelope(self, item: Item) -> Envelope:
        operation = {"ai.operation.id": item.trace_id, "ai.operation.parentId": item.parent_id}
        tags = self._tags | {name: value for name, value in operation.items() if value}
        match item:
            case Span(is_page=False):
                tags["ai.operation.name"] = item.name
                return self._wrap("Request", item.began, tags, _request(item), "RequestData")
            case Span():
                data = _dependency(item, self._redis)
                return self._wrap("RemoteDependency", item.began, tags, data, "RemoteDependencyData")
            case Metric():
                return self._wrap("Metric", item.at, tags, _metric(item), "MetricData")
            case Line():
                return self._wrap("Message", item.at, tags, _message(item), "MessageData")

    def _wrap(self, name: str, at: datetime, tags: Mapping[str, str], data: object, kind: str) -> Envelope:
        return Envelope(
            name=f"Microsoft.ApplicationInsights.{name}",
            time=at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            iKey=self._key,
            tags=dict(tags),
            data=Data(baseData=data, baseType=kind),
        )


def _request(span: Span) -> Request:
    return Request(
        id=span.id,
        name=span.name,
        duration=_duration(span.seconds),
        responseCode=span.result,
        success=span.ok,
        properties=dict(span.dimensions),
        measurements=dict(span.counts),
    )


def _dependency(span: Span, redis: str) -> RemoteDependency:
    return RemoteDependency(
        id=span.id,
        name=span.name,
        type="Redis",
        target=redis,
        data=span.dimensions["target"],
        duration=_duration(span.seconds),
        resultCode=span.result,
        success=span.ok,
        properties=dict(span.dimensions),
        measurements=dict(span.counts),
    )


def _metric(metric: Metric) -> MetricData:
    # Of several points in one envelope Application Insights keeps the first.
    return MetricData(metrics=[DataPoint(name=metric.name, value=metric.value)], properties=dict(metric.dimensions))


def _message(line: Line) -> Message:
    severity = min(max(line.level, 10) // 10 - 1, 4)  # 0 verbose, 1 information, 2 warning, 3 error, 4 critical
    return Message(message=line.text, severityLevel=severity, properties=dict(line.dimensions))


def _duration(seconds: float) -> str:
    """As the schema wants it: ``days.hours:minutes:seconds.microseconds``."""
    micros = round(seconds * 1_000_000)
    minutes, micros = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}.{hours:02}:{minutes:02}:{micros // 1_000_000:02}.{micros % 1_000_000:06}"


def _credential(insights: Insights) -> object:
    """The managed identity, which gives tokens, if the resource wants any."""
    if not insights.entra:
        return None
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415  # it costs most of the import

    return ManagedIdentityCredential(client_id=insights.client_id)


# What opencensus' transport logs while we send goes into our own line about the failure, and nowhere else: it announces
# retries that never come.
_said: ContextVar[list[str] | None] = ContextVar("reclaim_transport_said", default=None)


def _overhear(record: logging.LogRecord) -> bool:
    said = _said.get()
    if said is not None:
        said.append(record.getMessage())
    return said is None


logging.getLogger("opencensus.ext.azure.common.transport").addFilter(_overhear)
