"""No line of the log and no record grows with what others name, raise or leave behind (G7)."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from reclaim.app import App
from reclaim.entry import Entry
from reclaim.ops.operations import read_status
from reclaim.run.report import Outcome
from tests.integration.observe.collector import Envelope, a_collector
from tests.support import Client, Endpoint, Held, a_target, as_dict, given, settings_for, tweet

pytestmark = pytest.mark.G7

LINE_BYTES, RECORD_BYTES = 8_000, 16_000
STATUS_BYTES = 250_000  # fifty consumers and twenty runs, at their longest
GONE_CONSUMERS = 5_000

# What people name things by, and what drivers say: plain, wide, steering a terminal, of many lines, no text at all.
TEXTS = {
    "plain": "x",
    "wide": "😀",
    "quoted": '"\\',
    "steering": "\x00\x1b[31m",
    "lines": "\n",
    "half a character": "\ud83d",
}


class _Huge(Exception):
    """An error of a megabyte."""


_text = "x"


async def handle(entry: Entry) -> None:
    """Fail in sixty ways, each with a megabyte of text."""
    number = int(entry.get("id") or b"0")
    name = f"Huge{'abcdefghij'[number % 10]}" + (_text * 10_000 if _text.isprintable() else "")
    raise type(name, (_Huge,), {})(chr(65 + number // 10) + _text * 2**20)


@pytest.mark.parametrize("kind", TEXTS)
async def test_every_line_and_every_record_is_bounded_whatever_others_name_and_raise(
    kind: str, embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(globals(), "_text", TEXTS[kind])
    name = TEXTS[kind].encode(errors="surrogateescape" if TEXTS[kind] < "\ud800" else "surrogatepass")
    target = a_target(
        stream="s" + TEXTS[kind] * 4_000 if kind in {"plain", "wide", "quoted"} else "s",
        handler=f"{__name__}:handle",
        max_deliveries=2,
        consumer_ttl_hours=1e-9,
        min_idle_ms=1,
        alert_backlog_sec=1.0,
    )
    abandon(client, target, name)
    with a_collector() as collector, caplog.at_level(logging.INFO):
        app = App(settings_for(embedded, target, insights=replace(collector.insights, logs=True)))
        assert app.exporter is not None
        app.exporter.send_log_if_asked()
        try:
            statuses = [json.dumps((await read_status(app)).found)]
            reports = [await app.reports(), await app.reports()]
            statuses.append(json.dumps((await read_status(app)).found))
        finally:
            await app.aclose()

    (first,), (second,) = reports
    assert (first.outcome, first.parked, first.lost) == (Outcome.COMPLETED, 60, 1)
    assert second.outcome is Outcome.NOTHING_PENDING
    assert len(first.consumers_removed) >= GONE_CONSUMERS

    formatter = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    lines = [formatter.format(record) for record in caplog.records if record.name == "reclaim"]
    assert sum("Traceback" in line for line in lines) >= 20
    assert max(map(size, lines)) <= LINE_BYTES
    assert max(map(size, records(client, target))) <= RECORD_BYTES
    assert max(map(size, texts_of(collector.envelopes))) <= RECORD_BYTES
    assert max(map(size, statuses)) <= STATUS_BYTES


def abandon(client: Client, target: Any, name: bytes) -> None:
    """Leave sixty entries and one that is deleted with consumers of long names, and five thousand consumers."""
    given(client, target, *(Held(tweet(number)) for number in range(61)))
    for number in range(1, 62):
        consumer = b"%d" % number + name * 5_000
        client.execute_command("XCLAIM", target.stream, target.group, consumer, 0, f"{number}-0", "JUSTID")
    with client.pipeline(transaction=False) as pipeline:
        for number in range(GONE_CONSUMERS):
            consumer = b"gone-%d" % number + name * 20
            pipeline.execute_command("XREADGROUP", "GROUP", target.group, consumer, "STREAMS", target.stream, ">")
        pipeline.execute()
    age_consumers(client, target)
    client.execute_command("XDEL", target.stream, "61-0")


def age_consumers(client: Client, target: Any) -> None:
    """All that is pending has been idle for long, each with its consumer."""
    for number in range(1, 62):
        rows = client.execute_command("XPENDING", target.stream, target.group, f"{number}-0", f"{number}-0", 1)
        for entry_id, consumer, *_ in rows:
            to = (target.stream, target.group, consumer, 0, entry_id)
            client.execute_command("XCLAIM", *to, "IDLE", 3_600_000, "RETRYCOUNT", 1, "JUSTID")


def size(text: str | bytes) -> int:
    return len(text.encode(errors="surrogatepass") if isinstance(text, str) else text)


def records(client: Client, target: Any) -> Iterator[bytes]:
    """What is kept in Redis, without what is the entries' own."""
    for key in (target.keys.runs, target.keys.dead, target.keys.lost):
        for _, flat in client.execute_command("XRANGE", key, "-", "+"):
            yield b"".join(name + value for name, value in as_dict(flat).items() if not name.startswith(b"field:"))


def texts_of(envelopes: list[Envelope]) -> Iterator[str]:
    """Every text in telemetry as it is sent, escapes and all."""
    for envelope in envelopes:
        base = envelope["data"]["baseData"]
        for value in [*base.values(), *base.get("properties", {}).values()]:
            if isinstance(value, str):
                yield json.dumps(value)
