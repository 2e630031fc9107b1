"""Owns the way to Application Insights: turns spans, metrics and log lines into its envelopes, and posts them.

It alone imports opencensus, and `exports` alone imports it, when there is something to send for the first time.
Of opencensus it uses the envelopes and the transport. Its exporters stay unused: each starts a thread of its own, sends
the last values of a metric again for ever, and keeps the outcome of a post to itself.
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

# Else opencensus reports about itself to Microsoft, and asks the machine's metadata address (169.254.169.254) what it
# runs on. It looks at this when an exporter is made, and at every post.
os.environ["APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL"] = "true"

AT_ONCE = 500  # envelopes in one post: some 400 kB


class Sender(TransportMixin):  # type: ignore[misc]  # opencensus has no types
    """Sends items, one call at a time; it blocks, keeps nothing, and has no thread."""

    def __init__(self, insights: Insights, redis: str, timeout_sec: float) -> None:
        """Make it; nothing is sent yet.

        Args:
            insights: where to send.
            redis: ``host:port``, as pages depend on it.
            timeout_sec: for connecting, and for each wait for a part of the answer.
        """
        # What opencensus' own Options would hold. Those read the environment too, and choke on the trailing semicolon
        # that many connection strings have.
        self.options = SimpleNamespace(
            endpoint=insights.endpoint, timeout=timeout_sec, proxies="{}", credential=_credential(insights)
        )
        self.storage = self  # where the transport puts what it would send again
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
        """Send items, in one post if they are no more than 500; what does not arrive is dropped, never sent again.

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
        """What the transport calls with envelopes that were refused for now: they are not kept, only counted."""
        self._rejected += len(envelopes)

    def _post(self, items: Sequence[Item]) -> Sent:
        self._rejected = 0
        self.options.endpoint = self._endpoint
        # A redirection would take the items, and a bearer token with them, to any host that it names, and there they
        # would go from then on. The transport takes none once it has counted so many.
        self._consecutive_redirects = _MAX_CONSECUTIVE_REDIRECTS
        said: list[str] = []
        token = _said.set(said)
        try:
            status = self._transmit([self._envelope(item) for item in items])
        finally:
            _said.reset(token)
        if status == TransportStatusCode.SUCCESS:
            return Sent(0)
        # Of a partial success (206) the transport puts back what may be sent again, and says a line for the rest.
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
    """What gives the tokens, if the resource wants any: the managed identity."""
    if not insights.entra:
        return None
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415  # it costs most of the import

    return ManagedIdentityCredential(client_id=insights.client_id)


# What opencensus' transport says while we send goes into our one line about it, and not into the log as well: it
# announces retries that there are not.
_said: ContextVar[list[str] | None] = ContextVar("reclaim_transport_said", default=None)


def _overhear(record: logging.LogRecord) -> bool:
    said = _said.get()
    if said is not None:
        said.append(record.getMessage())
    return said is None


logging.getLogger("opencensus.ext.azure.common.transport").addFilter(_overhear)
