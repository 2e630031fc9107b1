"""How alerts are told: once, over all instances, as CloudEvents, and never at anybody's cost."""

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler

import pytest

from dev.proxy import Proxy
from reclaim.observe import webhook as webhook_module
from reclaim.observe.alerts import alert_of, alerts_of
from reclaim.run.report import Outcome
from reclaim.state import told as told_module
from reclaim.state.circuit import Change, Effect
from reclaim.state.told import TELLING_MS
from tests.integration.observe.webhook import TARGET, Webhook, a_report, an_alerter, fail_and_tell, tell, tell_run
from tests.integration.state.circuits import PROCESSES_OF_THEIR_OWN, instances
from tests.support import Client, Endpoint, a_target

OPENED = Change(Effect.OPENED, "ab12", 1_800_000_000_000, "failures", "run x", "100 failures within 30 s", None, 107)
MARK = TARGET.keys.alerts


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing leaves loopback, whatever the environment says of proxies."""
    monkeypatch.setenv("NO_PROXY", "*")


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    with Webhook() as webhook:
        yield webhook


def markers(client: Client) -> dict[str, bytes]:
    """What is marked as told, or as being told."""
    keys = client.execute_command("KEYS", MARK.replace(b"{", rb"\{") + b"*")
    return {key.removeprefix(MARK).decode(): client.execute_command("GET", key) for key in sorted(keys)}


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# --- the event -------------------------------------------------------------------------------------------------------


async def test_an_event_is_received_whole(embedded: Endpoint, webhook: Webhook) -> None:
    extra = {"alert_webhook_key": "k3y", "dashboard_url": "https://app.example/api/dashboard"}
    async with an_alerter(embedded, webhook.url, **extra) as alerter:
        report = a_report(lost=2)
        await tell(alerter, *alerts_of(report, TARGET))

    (request,) = webhook.received
    assert request.path == "/hook?code=s3cret"
    assert request.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert request.headers["aeg-sas-key"] == "k3y"
    assert request.event == {
        "specversion": "1.0",
        "id": f"{report.run_id}-entries.lost",
        "source": "/reclaim/s%20p/g",
        "type": "reclaim.entries.lost",
        "subject": "s p/g",
        "time": "2026-11-22T10:00:01.500000Z",
        "datacontenttype": "application/json",
        "text": (
            "reclaim s p/g: 2 entries were trimmed or deleted from the stream while pending"
            " https://app.example/api/dashboard#target=s%20p/g"
        ),
        "data": {
            "target": "s p/g",
            "why": "2 entries were trimmed or deleted from the stream while pending",
            "run": report.run_id,
            "lost": 2,
            "lost_at_most": 0,
            "dashboard": "https://app.example/api/dashboard#target=s%20p/g",
        },
    }


async def test_without_a_key_or_a_dashboard_there_is_none(embedded: Endpoint, webhook: Webhook) -> None:
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)

    (request,) = webhook.received
    assert "aeg-sas-key" not in request.headers
    assert "dashboard" not in request.event["data"]


async def test_every_kind_is_a_valid_event(embedded: Endpoint, webhook: Webhook) -> None:
    counts = {"parked": 1, "clock_went_back_ms": 5000, "lost": 1, "longest_idle_ms": 10**9, "reasons": {"ünd 🔥": 1}}
    closed = replace(OPENED, effect=Effect.CLOSED, id="cd34")
    async with an_alerter(embedded, webhook.url) as alerter:
        failed = a_report(Outcome.FAILED, "it broke", circuit_changes=(OPENED, closed), **counts)
        await tell(alerter, *alerts_of(failed, TARGET))
        await tell_run(alerter, Outcome.DEAD_LETTERS_FULL)
        await tell_run(alerter, Outcome.GROUP_MISSING)
        await tell_run(alerter)

    assert webhook.types == [
        "backlog.stale",
        "circuit.closed",
        "circuit.opened",
        "clock.went_back",
        "dead_letters.full",
        "entries.dead_lettered",
        "entries.lost",
        "group.found",
        "group.missing",
        "run.failed",
        "run.recovered",
    ]


# --- once ------------------------------------------------------------------------------------------------------------


async def test_a_condition_is_told_once_per_alert_repeat_sec_over_all_instances(
    server: Endpoint, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(server, webhook.url) as one, an_alerter(server, webhook.url) as two:
        for alerter in (one, two, one):
            await tell_run(alerter, parked=1, lost=1)
        assert webhook.types == ["entries.dead_lettered", "entries.lost"]
        marker = MARK + b":reclaim.entries.lost"
        assert 890_000 < client.execute_command("PTTL", marker) <= 900_000

        client.execute_command("PEXPIRE", marker, 0)
        await tell_run(two, parked=1, lost=1)
    assert webhook.types == ["entries.dead_lettered", "entries.lost", "entries.lost"]


async def test_targets_are_told_apart(embedded: Endpoint, webhook: Webhook) -> None:
    other = a_target(stream="other")
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
        await tell(alerter, *alerts_of(a_report(lost=1), other))
    assert [event["subject"] for event in webhook.events] == ["s p/g", "other/g"]


async def test_instances_that_find_the_same_at_once_tell_it_once(server: Endpoint, webhook: Webhook) -> None:
    async with an_alerter(server, webhook.url) as one, an_alerter(server, webhook.url) as two:
        await asyncio.gather(*(tell_run(alerter, lost=1) for alerter in (one, two) * 10))
    assert webhook.types == ["entries.lost"]


async def test_each_change_of_the_circuit_is_told_once_however_many_runs_it_refuses(
    server: Endpoint, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(server, webhook.url) as one, an_alerter(server, webhook.url) as two:
        for change in (OPENED, replace(OPENED, effect=Effect.CLOSED, id="cd34"), replace(OPENED, id="ef56")):
            for alerter in (one, two, one):
                alert = alert_of(change, TARGET)
                assert alert is not None
                await tell(alerter, alert)
    assert [event["id"] for event in webhook.events] == ["circuit-ab12", "circuit-cd34", "circuit-ef56"]
    assert client.execute_command("PTTL", MARK + b":reclaim.circuit.opened:circuit-ab12") > 29 * 86_400_000


def test_eight_processes_that_open_one_circuit_send_one_event(embedded: Endpoint, webhook: Webhook) -> None:
    target = a_target()
    with ProcessPoolExecutor(8, mp_context=PROCESSES_OF_THEIR_OWN) as pool:
        jobs = [pool.submit(fail_and_tell, embedded.port, webhook.url, target, number, 30) for number in range(8)]
        told = sum((job.result() for job in jobs), start=jobs[0].result().__class__())

    assert told == {"is_closed": 99, "opened": 1, "is_open": 140}
    (event,) = webhook.events
    assert (event["type"], event["data"]["failures"]) == ("reclaim.circuit.opened", 100)


async def test_an_opening_that_could_not_be_told_is_told_by_a_run_that_it_refuses(
    embedded: Endpoint, webhook: Webhook
) -> None:
    async with instances(embedded, TARGET) as (one,), an_alerter(embedded, webhook.url) as alerter:
        webhook.always = 500
        await tell(alerter, *alerts_of(a_report(circuit_changes=(await one.fails(100),)), TARGET))
        webhook.always, before = 200, len(webhook.received)

        opening = (await one.enters()).opening
        assert opening is not None
        await tell(alerter, *alerts_of(a_report(Outcome.LEASE_HELD, circuit_changes=(opening,)), TARGET))

    assert len(webhook.received) == before + 1
    assert len({event["id"] for event in webhook.events}) == 1


async def test_runs_that_fail_are_told_once_and_so_is_the_first_that_does_well(
    server: Endpoint, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(server, webhook.url) as one, an_alerter(server, webhook.url) as two:
        for _ in range(2):
            for alerter in (one, two, one):
                await tell_run(alerter, Outcome.FAILED)
            assert markers(client) == {":reclaim.run.failed": b"told"}
            await tell_run(two, Outcome.LEASE_HELD)
            for alerter in (two, one, two):
                await tell_run(alerter)
            assert markers(client) == {}
    assert webhook.types == ["run.failed", "run.failed", "run.recovered", "run.recovered"]


async def test_a_recovery_that_could_not_be_told_is_told_later(
    embedded: Endpoint, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, Outcome.FAILED)
        webhook.always = 403
        await tell_run(alerter)
        webhook.always = 200
        await tell_run(alerter)
    assert [event["type"] for event in webhook.events] == ["reclaim.run.failed"] + ["reclaim.run.recovered"] * 2
    assert markers(client) == {}


async def test_a_shard_that_does_well_does_not_end_what_goes_wrong_with_another(
    server: Endpoint, client: Client, webhook: Webhook
) -> None:
    """Else each tick would tell of a failure, and of a recovery. All may fail at once, which is told once."""
    first, second = a_target(stream="s p", shards=2).parts
    async with an_alerter(server, webhook.url) as one, an_alerter(server, webhook.url) as two:
        for _ in range(3):
            await tell(one, *alerts_of(a_report(Outcome.FAILED), second))
            await tell(two, *alerts_of(a_report(), first))
        assert (webhook.types, markers(client)) == (["run.failed"], {":reclaim.run.failed": b"told:1"})
        await tell(two, *alerts_of(a_report(Outcome.FAILED), first))
        await tell(one, *alerts_of(a_report(), second))

    assert webhook.types == ["run.failed", "run.recovered"]
    assert markers(client) == {}


@pytest.mark.parametrize(
    ("told", "part", "ended"),
    [(b"told:3", 0, True), (b"told:3", 1, False), (b"told:1", 0, False), (b"told", 1, True), (b"told:x", 1, True)],
)
async def test_the_first_shard_ends_what_went_wrong_with_one_that_is_no_more(
    embedded: Endpoint, client: Client, webhook: Webhook, told: bytes, part: int, *, ended: bool
) -> None:
    """There are fewer shards now. What a release without shards' marks has told, any of them ends."""
    client.execute_command("SET", MARK + b":reclaim.run.failed", told)
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell(alerter, *alerts_of(a_report(), a_target(stream="s p", shards=2).parts[part]))

    assert webhook.types == ["run.recovered"] * ended
    assert bool(markers(client)) is not ended


async def test_a_failure_that_is_still_being_told_has_no_recovery_yet(
    embedded: Endpoint, client: Client, webhook: Webhook
) -> None:
    client.execute_command("SET", MARK + b":reclaim.run.failed", "telling")
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter)
    assert webhook.received == []


async def test_runs_that_do_well_ask_redis_once_a_minute_at_most(proxy: Proxy, webhook: Webhook) -> None:
    async with an_alerter(proxy, webhook.url) as alerter:
        for _ in range(10):
            await tell_run(alerter)
    assert ([command[0] for command in proxy.commands if command[0] != b"CLIENT"], webhook.received) == (
        [b"GET"] * 2,
        [],
    )


# --- Redis cannot be reached -----------------------------------------------------------------------------------------


async def test_without_redis_a_process_tells_once_that_runs_fail_and_that_they_do_well_again(
    proxy: Proxy, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(proxy, webhook.url) as alerter:
        proxy.refuse()
        for _ in range(3):
            await tell_run(alerter, Outcome.FAILED, reason="Unreachable")
        assert webhook.types == ["run.failed"]

        proxy.accept()
        await tell_run(alerter, Outcome.FAILED, reason="something else")
        assert (webhook.types, markers(client)) == (["run.failed"], {":reclaim.run.failed": b"told"})

        await tell_run(alerter)
        await tell_run(alerter)
    assert webhook.types == ["run.failed", "run.recovered"]
    assert markers(client) == {}


async def test_a_recovery_is_told_where_redis_was_away_only_for_the_failures(
    proxy: Proxy, client: Client, webhook: Webhook
) -> None:
    async with an_alerter(proxy, webhook.url) as alerter:
        proxy.refuse()
        await tell_run(alerter, Outcome.FAILED)
        proxy.accept()
        for _ in range(3):
            await tell_run(alerter)
    assert webhook.types == ["run.failed", "run.recovered"]
    assert markers(client) == {}


async def test_a_silent_redis_costs_two_seconds_at_most(
    proxy: Proxy, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not as long as an answer may take elsewhere, which is for ever here."""
    monkeypatch.setattr(told_module, "ANSWER_SEC", 0.05)
    async with an_alerter(proxy, webhook.url, timeout_sec=600) as alerter:
        await tell_run(alerter, Outcome.COMPLETED)
        proxy.mute()
        await tell_run(alerter, Outcome.FAILED)
    assert webhook.types == ["run.failed"]


# --- a webhook that does not take it ---------------------------------------------------------------------------------


async def test_an_event_is_tried_again_as_the_same_event(embedded: Endpoint, client: Client, webhook: Webhook) -> None:
    webhook.answers = [500, 429, lambda handler: handler.connection.close()]
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)

    assert len(webhook.received) == 4
    assert len({request.body for request in webhook.received}) == 1
    assert markers(client) == {":reclaim.entries.lost": b"told"}


@pytest.mark.parametrize(
    ("status", "attempts"), [(500, 4), (503, 4), (408, 4), (400, 2), (415, 2), (401, 1), (404, 1), (413, 1)]
)
async def test_an_event_that_is_not_taken_is_in_the_log_and_told_by_the_next_run(
    embedded: Endpoint,
    client: Client,
    webhook: Webhook,
    caplog: pytest.LogCaptureFixture,
    status: int,
    attempts: int,
) -> None:
    webhook.always = status
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
        assert (len(webhook.received), markers(client)) == (attempts, {})
        (line,) = errors(caplog)
        words, _, event = line.partition(": ")
        assert words == f"reclaim alert not sent, the webhook answered {status}"
        assert json.loads(event) == webhook.events[0]

        webhook.always = 200
        await tell_run(alerter, lost=1)
    assert markers(client) == {":reclaim.entries.lost": b"told"}


async def test_a_chat_that_wants_a_text_and_plain_json_takes_an_event(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    """As Slack's incoming webhooks do. What it wants is remembered."""
    webhook.always = lambda handler: chat(webhook, handler)
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
        await tell_run(alerter, parked=1, parked_reasons={"KeyError: 'sku'": 1})

    assert errors(caplog) == []
    assert [request.headers["content-type"] for request in webhook.received] == [
        "application/cloudevents+json; charset=utf-8",
        "application/json",
        "application/json",
    ]
    assert [json.loads(request.body)["text"] for request in webhook.received[1:]] == [
        "reclaim s p/g: 1 entry was trimmed or deleted from the stream while pending",
        "reclaim s p/g: 1 entry became a dead letter: KeyError: 'sku' (1)",
    ]


def chat(webhook: Webhook, handler: BaseHTTPRequestHandler) -> None:
    """Answer as a chat that knows JSON by its plain name alone."""
    request = webhook.received[-1]
    if request.headers["content-type"] != "application/json":
        answered(handler, 400, b"invalid_payload")
    elif not json.loads(request.body).get("text"):
        answered(handler, 400, b"no_text")
    else:
        answered(handler, 200, b"ok")


def answered(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    handler.send_response(status)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"no_text", ": no_text"),
        (b"", ""),
        (b"<p>\r\n  no\x1b[31m such\xff team</p>", ": <p> no\\x1b[31m such\\xff team</p>"),
        (b"no hook at /hook?code=s3cret for k3y-of-the-topic, code s3cret", ": no hook at … for …, code …"),
        (b"x" * 10**6, ": " + "x" * 199 + "…"),
    ],
)
async def test_the_beginning_of_what_the_webhook_answers_is_in_the_log_and_no_secret(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture, body: bytes, shown: str
) -> None:
    webhook.always = lambda handler: answered(handler, 403, body)
    async with an_alerter(embedded, webhook.url, alert_webhook_key="k3y-of-the-topic") as alerter:
        await tell_run(alerter, lost=1)

    (line,) = errors(caplog)
    words, _, event = line.partition(': {"')
    assert words.replace("\\\\", "\\") == f"reclaim alert not sent, the webhook answered 403{shown}"
    assert json.loads('{"' + event) == webhook.events[0]


async def test_an_answer_that_never_comes_to_its_end_is_told_by_its_status(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.always = lambda handler: half_answered(webhook, handler)
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)

    (line,) = errors(caplog)
    assert line.startswith("reclaim alert not sent, the webhook answered 403: half: {")


def half_answered(webhook: Webhook, handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(403)
    handler.send_header("content-length", "100")
    handler.end_headers()
    handler.wfile.write(b"half")
    webhook.hang(handler)


@pytest.mark.G7
async def test_an_event_is_bounded_whatever_is_in_it(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    target = replace(TARGET, stream="😀" * 100_000)
    reasons = {f"{at}" + "\x00😀" * 10**5: at for at in range(1, 200)}
    report = a_report(Outcome.FAILED, "ü" * 10**6, parked=9, parked_reasons=reasons, lost=1)
    webhook.always = 403
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell(alerter, *alerts_of(report, target))

    assert len(webhook.events) == 3
    assert max(len(request.body) for request in webhook.received) <= 6_500
    assert max(len(line.encode()) for line in errors(caplog)) <= 8_000


async def test_a_redirection_is_not_followed(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    def to_elsewhere(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("location", elsewhere.url)
        handler.send_header("content-length", "0")
        handler.end_headers()

    with Webhook() as elsewhere:
        webhook.always = to_elsewhere
        async with an_alerter(embedded, webhook.url, alert_webhook_key="k3y") as alerter:
            await tell_run(alerter, lost=1)
        assert elsewhere.received == []
    assert len(webhook.received) == 1
    assert errors(caplog)[0].startswith("reclaim alert not sent, the webhook answered 307: {")


async def test_a_webhook_that_is_down_is_in_the_log(embedded: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    with Webhook() as gone:
        url = gone.url
    async with an_alerter(embedded, url) as alerter:
        await tell_run(alerter, lost=1)
    (line,) = errors(caplog)
    assert line.startswith("reclaim alert not sent, ConnectError")


async def test_a_webhook_that_hangs_costs_no_more_than_the_budget(
    embedded: Endpoint,
    client: Client,
    webhook: Webhook,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook_module, "ATTEMPT_SEC", 0.2)
    webhook.answers = [webhook.hang]
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
        assert (len(webhook.received), errors(caplog)) == (2, [])

        monkeypatch.setattr(webhook_module, "ATTEMPT_SEC", 300.0)
        webhook.always = webhook.hang
        await tell(alerter, *alerts_of(a_report(parked=1, clock_went_back_ms=5000), TARGET), budget_sec=0.5)
    assert len(errors(caplog)) == 2
    assert markers(client) == {":reclaim.entries.lost": b"told"}


async def test_an_answer_that_drips_in_is_given_up(
    embedded: Endpoint, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_module, "ATTEMPT_SEC", 0.2)
    webhook.answers = [webhook.drip]
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
    assert len(webhook.received) == 2


async def test_an_answer_without_an_end_is_not_read(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.always = webhook.trickle
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
    assert errors(caplog)[0].startswith("reclaim alert not sent, the webhook answered 500")


async def test_an_answer_that_is_no_http_is_in_the_log(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    webhook.always = lambda handler: handler.wfile.write(b"what?\r\n\r\n") and None
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell_run(alerter, lost=1)
    assert errors(caplog)[0].startswith("reclaim alert not sent, RemoteProtocolError")


async def test_with_no_time_left_it_is_in_the_log(
    embedded: Endpoint, client: Client, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    async with an_alerter(embedded, webhook.url) as alerter:
        await tell(alerter, *alerts_of(a_report(lost=1), TARGET), budget_sec=0)
    assert errors(caplog)[0].startswith("reclaim alert not sent, TimeoutError: {")
    assert markers(client) == {}


async def test_a_cancelled_run_is_cancelled_and_its_alert_told_before_long(
    embedded: Endpoint, client: Client, webhook: Webhook
) -> None:
    webhook.always = webhook.hang
    async with an_alerter(embedded, webhook.url) as alerter:
        task = asyncio.create_task(tell_run(alerter, lost=1))
        while not webhook.received:  # noqa: ASYNC110  # it comes from another thread
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert markers(client) == {":reclaim.entries.lost": b"telling"}
    assert 0 < client.execute_command("PTTL", MARK + b":reclaim.entries.lost") <= TELLING_MS


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_no_secret_is_logged(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG)
    webhook.always = status
    async with an_alerter(embedded, webhook.url, alert_webhook_key="k3y") as alerter:
        await tell_run(alerter, lost=1)
    assert "s3cret" not in caplog.text
    assert "k3y" not in caplog.text


async def test_a_key_that_no_header_can_hold_is_not_logged(
    embedded: Endpoint, webhook: Webhook, caplog: pytest.LogCaptureFixture
) -> None:
    async with an_alerter(embedded, webhook.url, alert_webhook_key="k3y\n") as alerter:
        await tell_run(alerter, lost=1)
    assert errors(caplog)[0].startswith("reclaim alert not sent, LocalProtocolError: {")
    assert "k3y" not in caplog.text


# --- without a webhook -----------------------------------------------------------------------------------------------


async def test_without_a_webhook_alerts_are_in_the_log_once_and_redis_is_not_asked(
    proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    async with an_alerter(proxy, None) as alerter:
        for _ in range(3):
            await tell_run(alerter, Outcome.FAILED, lost=1)
        for _ in range(3):
            await tell_run(alerter)
    lines = [record.getMessage().partition(": ") for record in caplog.records]
    assert {line[0] for line in lines} == {"reclaim alert, ALERT_WEBHOOK_URL is not set"}
    types = [json.loads(line[2])["type"] for line in lines]
    assert types == ["reclaim.entries.lost", "reclaim.run.failed", "reclaim.run.recovered"]
    assert proxy.round_trips == 0


def test_what_only_an_alert_needs_is_imported_only_then() -> None:
    code = "import sys, reclaim.app; print('httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
