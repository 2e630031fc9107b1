"""`reclaim try`: what would become of one entry, and nothing changes; what has to be called is called once."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reclaim import Entry, RejectEntry, RetryEntry, batch
from reclaim.ops.saved import line_of
from reclaim.state.dead_letters import DeadLetter
from tests.integration.cli.program import PROGRAM, ROOT, Ended, env_of, given_dead, in_pipe, in_terminal, lines
from tests.support import Client, Endpoint, Held, a_target, given, tweet

TARGET = a_target()
HELD = Held(tweet(1), deliveries=2)


def everything(client: Client) -> dict[bytes, bytes]:
    """Every key with all that it holds, consumers and pending lists too."""
    return {key: client.execute_command("DUMP", key) for key in client.execute_command("KEYS", "*")}


def said(ended: Ended) -> dict[str, str]:
    """What is printed: names and values."""
    return dict(line for line in lines(ended.out) if len(line) == 2)


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of a user's, with a function that keeps the entries that it gets, and raises what it is told to."""
    module: Any = ModuleType("a_module_of_a_user")
    module.got, module.error, module.opened = [], None, []

    def take(entry: Entry) -> None:
        module.got.append(entry)
        if module.error is not None:
            raise module.error

    async def handle(entry: Entry) -> None:
        take(entry)

    @batch(most=10)
    async def handle_many(entries: Sequence[Entry]) -> None:
        for entry in entries:
            take(entry)

    @asynccontextmanager
    async def resource() -> AsyncIterator[Callable[[Entry], None]]:
        module.opened.append("entered")
        yield take
        module.opened.append("left")

    @asynccontextmanager
    async def broken() -> AsyncIterator[Callable[[Entry], None]]:
        raise ValueError("no such database")
        yield take

    module.handle, module.handle_many, module.resource, module.broken = handle, handle_many, resource, broken
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


class Service:
    """A service on loopback, in a thread."""

    def __init__(self) -> None:
        self.got: list[tuple[str, bytes]] = []
        self.status = 200
        service = self

        class Answers(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # it is called by this name
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.got.append((self.headers["ce-id"], body))
                self.send_response(service.status)
                self.send_header("Content-Length", "7")
                self.end_headers()
                self.wfile.write(b"because")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server.server_port}/orders?code=secret"


@pytest.fixture
def service() -> Iterator[Service]:
    service = Service()
    thread = threading.Thread(target=service.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield service
    service.server.shutdown()
    thread.join()
    service.server.server_close()


# --- nothing is written ----------------------------------------------------------------------------------------------

IN_REDIS = {
    "hash": {"HANDLER": "hash", "HASH_TTL_SEC": "60", "HASH_VERSION_FIELD": "v"},
    "requeue": {"HANDLER": "requeue"},
    "forward": {"HANDLER": "forward", "FORWARD_STREAM": "other"},
}
WRITTEN = {
    "hash": {"would be": "stored as a hash", "key": "tweet:1", "expires after": "60 s", "field v": "1-0"},
    "requeue": {"would be": "added to the end of a stream", "stream": "s", "field reclaim:requeues": "1"},
    "forward": {"would be": "added to the end of a stream", "stream": "other", "field reclaim:id": "1-0"},
}


@pytest.mark.parametrize("kind", IN_REDIS)
def test_what_would_be_written_is_shown_and_nothing_is_changed(server: Endpoint, client: Client, kind: str) -> None:
    """Of a pending entry."""
    given(client, TARGET, HELD, Held(tweet(2), consumer=None))
    before = everything(client)

    ended = in_pipe(env_of(server, TARGET, **IN_REDIS[kind]), "try", "1-0")

    found = said(ended)
    assert (ended.code, everything(client)) == (0, before)
    assert found["entry"].startswith("1-0, pending with worker, idle for 3,6")
    assert found["entry"].endswith(" s, delivered 2 times")
    assert WRITTEN[kind].items() <= found.items()
    assert (found["field id"], found["field user"]) == ("1", "user_1")
    assert found["so"] == f"it would be {'stored' if kind == 'hash' else 'moved'}, and acknowledged"


@pytest.mark.parametrize("kind", IN_REDIS)
def test_a_dead_letter_is_tried_as_a_replay_would(embedded: Endpoint, client: Client, kind: str) -> None:
    """By its own ID or by its entry's."""
    (letter_id,) = given_dead(client, embedded, TARGET, tweet(1))
    before = everything(client)
    env = env_of(embedded, TARGET, **IN_REDIS[kind])

    by_letter, by_entry = in_pipe(env, "try", letter_id), in_pipe(env, "try", "1-0")

    assert (by_letter.code, by_letter.out, everything(client)) == (0, by_entry.out, before)
    assert said(by_letter)["entry"] == f"1-0, the dead letter {letter_id} (failed)"
    assert said(by_letter)["so"].endswith(", and removed from the dead letters")


def test_an_entry_that_nobody_has_read_may_be_tried(embedded: Endpoint, client: Client) -> None:
    given(client, TARGET, Held(tweet(1), consumer=None))
    before = everything(client)

    ended = in_pipe(env_of(embedded, TARGET), "try", "1-0")

    assert (ended.code, said(ended)["entry"], everything(client)) == (0, "1-0, in the stream, and not pending", before)


def test_an_entry_that_is_nowhere_ends_with_1(embedded: Endpoint, client: Client) -> None:
    """One that is pending and gone from its stream too: it is said to be lost."""
    given(client, TARGET, HELD)
    client.execute_command("XDEL", "s", "1-0")
    env = env_of(embedded, TARGET)

    lost, never = in_pipe(env, "try", "1-0"), in_pipe(env, "try", "5-0")

    assert [(one.code, one.out) for one in (lost, never)] == [(1, ""), (1, "")]
    assert "5-0 is neither in the stream nor among the dead letters of s/g." in never.err
    assert "It is pending, and its entry is gone from the stream: a run records it as lost." in lost.err


def test_a_user_who_may_not_ask_what_a_key_holds_is_told_the_rest(embedded: Endpoint, client: Client) -> None:
    """No run needs TYPE of a hash's key."""
    given(client, TARGET, HELD)
    client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", "-type")
    try:
        ended = in_pipe(env_of(embedded, TARGET, REDIS_USERNAME="limited", REDIS_PASSWORD="pw"), "try", "1-0")
    finally:
        client.execute_command("ACL", "DELUSER", "limited")

    assert (ended.code, said(ended)["so"]) == (0, "it would be stored, and acknowledged")


def arrange_another_type(client: Client) -> dict[str, str]:
    client.execute_command("SET", "tweet:1", "x")
    return {}


def arrange_another_type_with_versions(client: Client) -> dict[str, str]:
    return arrange_another_type(client) | {"HASH_VERSION_FIELD": "v"}


def arrange_a_newer_one(client: Client) -> dict[str, str]:
    given(client, TARGET, Held(tweet(1), consumer=None))
    client.execute_command("HSET", "tweet:1", "v", "2-0")
    return {"HASH_VERSION_FIELD": "v"}


def arrange_a_newer_one_that_is_not_there(client: Client) -> dict[str, str]:
    client.execute_command("HSET", "tweet:1", "v", "99-0")
    return {"HASH_VERSION_FIELD": "v"}


def arrange_no_json(_: Client) -> dict[str, str]:
    return {"HASH_FROM": "text"}


def arrange_no_such_field(_: Client) -> dict[str, str]:
    return {"HASH_KEY": "x:{nothing}"}


def arrange_a_stream_that_is_none(client: Client) -> dict[str, str]:
    client.execute_command("SET", "other", "x")
    return {"HANDLER": "forward", "FORWARD_STREAM": "other"}


BAD = [
    (arrange_another_type, "park", "it would become a dead letter (bad_entry)"),
    (arrange_another_type_with_versions, "park", "it would become a dead letter (bad_entry)"),
    (arrange_a_newer_one, "done", "its hash holds what a newer entry stored: it would not be stored, and"),
    (arrange_a_newer_one_that_is_not_there, "park", "it would become a dead letter (ids_began_again)"),
    (arrange_no_json, "park", "it would become a dead letter (bad_entry)"),
    (arrange_no_such_field, "park", "it would become a dead letter (bad_entry)"),
    (arrange_a_stream_that_is_none, "stop", "the run would fail, unless it finishes other entries"),
]


@pytest.mark.parametrize(("arrange", "verdict", "sentence"), BAD, ids=[one.__name__ for one, _, _ in BAD])
def test_why_an_entry_would_not_be_written_is_told_and_is_what_a_run_does(
    embedded: Endpoint, client: Client, arrange: Callable[[Client], dict[str, str]], verdict: str, sentence: str
) -> None:
    """Exit code 1 if it would not be done."""
    given(client, TARGET, HELD)
    env = env_of(embedded, TARGET, **arrange(client))
    client.execute_command("HSET", TARGET.keys.seen, f"stored under:{env.get('HASH_KEY', 'tweet:{id}')}", 1)
    before = everything(client)

    ended = in_pipe(env, "try", "1-0", "--json")

    found = json.loads(ended.out)
    assert (ended.code, found["verdict"], found["sentence"][: len(sentence)]) == (verdict != "done", verdict, sentence)
    assert everything(client) == before
    report = json.loads(in_pipe(env, "run", "--park-misfits", "--json").out)
    assert _verdict_of(report) == verdict


def _verdict_of(report: dict[str, Any]) -> str:
    """What became of the only entry of a run."""
    if report["outcome"] == "failed":
        return "stop"
    counted = {"acknowledged": "done", "parked": "park", "retried": "retry", "failed": "fail"}
    (verdict,) = {verdict for name, verdict in counted.items() if report[name]}
    return verdict


def test_requeued_too_often_it_would_be_a_dead_letter(embedded: Endpoint, client: Client) -> None:
    """A dead letter is requeued all the same."""
    given(client, TARGET, Held([*tweet(1), b"reclaim:requeues", b"3"]))
    given_dead(client, embedded, TARGET, [*tweet(2), b"reclaim:requeues", b"3"])
    env = env_of(embedded, TARGET, HANDLER="requeue")

    pending, letter = in_pipe(env, "try", "1-0"), in_pipe(env, "try", "2-0")

    assert (pending.code, said(pending)["so"]) == (1, "it would become a dead letter (max_requeues)")
    assert (letter.code, said(letter)["field reclaim:requeues"]) == (0, "1")


# --- what has to be called is called once ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["handle", "handle_many", "resource"])
def test_a_function_is_called_once_and_nothing_is_changed(
    embedded: Endpoint, client: Client, handler: Any, name: str
) -> None:
    """It gets the entry as a run would give it. What it works with is entered before, and left then."""
    given(client, TARGET, HELD)
    before = everything(client)

    ended = in_pipe(env_of(embedded, TARGET, HANDLER=f"a_module_of_a_user:{name}"), "try", "1-0", "--yes")

    (entry,) = handler.got
    assert (ended.code, everything(client)) == (0, before)
    assert (entry.id, entry.text("user"), entry.deliveries) == (b"1-0", "user_1", 3)
    assert (entry.stream, entry.group, entry.is_last_delivery) == ("s", "g", False)
    assert handler.opened == (["entered", "left"] if name == "resource" else [])
    found = said(ended)
    assert found["was"] == f"given to HANDLER a_module_of_a_user:{name}"
    assert found["so"] == "it would be stored, and acknowledged"


ERRORS = [
    (None, {}, 0, "done", "it would be stored, and acknowledged"),
    (RejectEntry("no text"), {}, 1, "park", "it would become a dead letter (bad_entry)"),
    (ValueError("no"), {}, 1, "fail", "charged with failure 1 of 4, and be tried again after 90 s at the earliest"),
    (ValueError("no"), {"MAX_DELIVERIES": "2"}, 1, "park", "it would become a dead letter (failed)"),
    (RetryEntry("busy"), {}, 1, "retry", "it would stay pending and be tried again: an outage, so the delivery would"),
    (ConnectionRefusedError("away"), {}, 1, "retry", "be refunded"),
    (RetryEntry("busy", after_sec=30), {}, 1, "retry", "and be tried again after 30 s, as was asked for"),
    (LookupError("x"), {"REJECT_ON": "LookupError"}, 1, "park", "it would become a dead letter (bad_entry)"),
]


@pytest.mark.parametrize(("error", "settings", "code", "verdict", "sentence"), ERRORS)
def test_what_would_become_of_an_entry_is_what_a_run_makes_of_it(
    embedded: Endpoint,
    client: Client,
    handler: Any,
    error: Exception | None,
    settings: dict[str, str],
    code: int,
    verdict: str,
    sentence: str,
) -> None:
    """The function is called once, whatever it raises; where it is ours to show, with the end of its traceback."""
    given(client, TARGET, Held(tweet(1)))
    handler.error = error
    env = env_of(embedded, TARGET, HANDLER="a_module_of_a_user:handle", **settings)

    ended = in_pipe(env, "try", "1-0", "--json", "--yes")

    found = json.loads(ended.out)
    assert (ended.code, found["verdict"], len(handler.got), found["called"]) == (code, verdict, 1, True)
    assert sentence in found["sentence"]
    if error is not None:
        assert found["error"] == f"{type(error).__name__}: {error}"
        assert "in take\n    raise module.error" in found["traceback"]
    assert _verdict_of(json.loads(in_pipe(env, "run", "--json").out)) == verdict


def test_a_failed_trial_of_a_dead_letter_leaves_it_as_it_is(embedded: Endpoint, client: Client, handler: Any) -> None:
    given_dead(client, embedded, TARGET, tweet(1))
    before = everything(client)
    handler.error = ValueError("no")

    ended = in_pipe(env_of(embedded, TARGET, HANDLER="a_module_of_a_user:handle"), "try", "1-0", "--yes")

    assert (ended.code, everything(client)) == (1, before)
    assert said(ended)["so"] == "it would stay a dead letter, with this error"
    assert said(ended)["because"] == "ValueError: no"


def test_a_resource_that_cannot_be_entered_is_told(embedded: Endpoint, client: Client, handler: Any) -> None:
    given(client, TARGET, HELD)

    ended = in_pipe(env_of(embedded, TARGET, HANDLER="a_module_of_a_user:broken"), "try", "1-0", "--yes")

    assert (ended.code, ended.out, handler.got) == (1, "", [])
    assert "HANDLER a_module_of_a_user:broken could not be entered: ValueError: no such database" in ended.err


def test_an_entry_that_is_not_handled_any_more_is_not_given_to_the_function(
    embedded: Endpoint, client: Client, handler: Any
) -> None:
    """So nobody is asked: it had all its tries."""
    given(client, TARGET, Held(tweet(1), consumer=TARGET.consumer, deliveries=7))

    ended = in_pipe(env_of(embedded, TARGET, HANDLER="a_module_of_a_user:handle"), "try", "1-0")

    assert (ended.code, handler.got) == (1, [])
    assert said(ended)["so"] == "it would become a dead letter (max_deliveries)"
    assert said(ended)["because"] == "delivered 8 times; MAX_DELIVERIES is 5"


def test_why_no_run_tries_it_yet_is_told(embedded: Endpoint, client: Client, handler: Any) -> None:
    """It must be idle for longer; or an earlier one of its order key is not done."""
    given(client, TARGET, *(Held(tweet(number, user=b"ada")) for number in range(1, 3)))
    handler.error = ValueError("no")
    env = env_of(embedded, TARGET, HANDLER="a_module_of_a_user:handle", ORDER_KEY="{user}")
    in_pipe(env, "run")

    first, second = (in_pipe(env, "try", f"{number}-0", "--yes") for number in (1, 2))

    notes = [[value for name, value in lines(one.out) if name == "note"] for one in (first, second)]
    assert notes[0] == ["no run tries it yet: it must be idle for 90 s"]
    assert notes[1] == ["a run lets it wait for 1-0, of the same order key, as long as that is pending"]


STATUSES = [(200, "done"), (400, "park"), (401, "stop"), (500, "fail"), (503, "retry")]


@pytest.mark.parametrize(("status", "verdict"), STATUSES)
def test_a_service_sees_exactly_one_request(
    embedded: Endpoint, client: Client, service: Service, status: int, verdict: str
) -> None:
    """And no secret is shown."""
    given(client, TARGET, Held([b"text", b"hello"]))
    service.status, before = status, everything(client)
    headers = {"HTTP_HEADERS": '{"x-functions-key": "a key"}'}
    env = env_of(embedded, TARGET, HANDLER="http", HTTP_URL=service.url, RETRY_FOR_SEC="0", **headers)

    ended = in_pipe(env, "try", "1-0", "--yes", "--json")

    found = json.loads(ended.out)
    assert (found["verdict"], ended.code) == (verdict, 0 if status == 200 else 1)
    assert service.got == [("1-0", b'{"text": "hello"}')]
    assert everything(client) == before
    assert found["body"] == {"text": '{"text": "hello"}'}
    assert {"name": "x-functions-key", "value": "…"} in found["about"]
    assert found["would_be"] == f"POSTed to {service.url.partition('?')[0]}"
    assert not [secret for secret in ("secret", "a key") if secret in ended.out + ended.err]


# --- asking ----------------------------------------------------------------------------------------------------------


def test_where_nobody_can_be_asked_nothing_is_called(embedded: Endpoint, client: Client, service: Service) -> None:
    """Exit code 2, and it says what would be called, and how to."""
    given(client, TARGET, HELD)

    ended = in_pipe(env_of(embedded, TARGET, HANDLER="http", HTTP_URL=service.url), "try", "1-0")

    assert (ended.code, ended.out, service.got) == (2, "", [])
    assert "the entry is really POSTed to" in ended.err
    assert "say --yes" in " ".join(ended.err.replace("│", "").split())


@pytest.mark.parametrize(("answer", "code"), [("n\n", 1), ("y\n", 0), ("\x03", 130)], ids=["no", "yes", "Ctrl-C"])
def test_a_person_is_asked_first(embedded: Endpoint, client: Client, service: Service, answer: str, code: int) -> None:
    given(client, TARGET, HELD)
    env = env_of(embedded, TARGET, HANDLER="http", HTTP_URL=service.url)

    ended = in_terminal(env, "try", "1-0", answer=answer)

    assert ended.code == code
    assert "The entry 1-0 is now really POSTed to http://127.0.0.1:" in ended.out
    assert len(service.got) == (code == 0)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_trial_can_be_interrupted(embedded: Endpoint, client: Client, number: signal.Signals, code: int) -> None:
    """While it waits for what the function works with."""
    given(client, TARGET, HELD)
    before = everything(client)
    env = env_of(embedded, TARGET, HANDLER="tests.integration.cli.slow:never_open")
    program = subprocess.Popen(
        [*PROGRAM, "try", "1-0", "--yes"], env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stderr is not None
    while "handling" not in program.stderr.readline():
        pass

    program.send_signal(number)
    out, err = program.communicate(timeout=60)

    assert (program.returncode, out, "Traceback" in err) == (code, "", False)
    assert everything(client) == before


# --- files -----------------------------------------------------------------------------------------------------------


def a_letter(number: int, fields: Sequence[bytes]) -> DeadLetter:
    entry = Entry(b"%d-0" % number, fields, b"worker", 0, 3)
    return DeadLetter(b"%d-1" % (100 + number), entry, "failed", "ValueError: no", "2026-11-22T08:00:00.000+00:00")


def test_an_entry_in_a_file_may_be_tried(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """A JSON object of its fields, on one line or on many; numbers as they are spelt."""
    file = tmp_path / "entry.json"
    file.write_text('{\n  "id": 1.50,\n  "text": "ü"\n}\n')
    env = env_of(embedded, TARGET)

    ended, named = in_pipe(env, "try", "--file", str(file)), in_pipe(env, "try", "7-0", "--file", str(file))

    found = said(ended)
    assert (ended.code, found["entry"], found["key"]) == (0, f"1-0, in {file}", "tweet:1.50")
    assert found["field text"] == "ü"
    assert said(named)["entry"] == f"7-0, in {file}"
    assert everything(client) == {}


def test_a_saved_dead_letter_may_be_tried(embedded: Endpoint, client: Client, tmp_path: Path) -> None:
    """Byte for byte; one of many by its ID or its entry's."""
    file = tmp_path / "dead.jsonl"
    letters = [a_letter(number, [*tweet(number), b"raw", b"\xff"]) for number in (1, 2)]
    file.write_text("".join(line_of(letter) + "\n" for letter in letters))
    env = env_of(embedded, TARGET)

    by_entry, by_letter = (in_pipe(env, "try", one, "--file", str(file), "--json") for one in ("2-0", "102-1"))

    found = json.loads(by_entry.out)
    assert (by_entry.code, by_letter.out) == (0, by_entry.out)
    assert (found["entry_id"], found["found"]) == ("2-0", f"a dead letter in {file} (failed)")
    assert found["fields"][-1] == {"name": {"text": "raw"}, "value": {"base64": "/w=="}}
    assert everything(client) == {}


@pytest.mark.parametrize(
    ("content", "arguments", "wrong"),
    [
        ("", [], "is no JSON"),
        ("[1]", [], "allowed: a JSON object"),
        ('{"a": {"b": 1}}', [], 'the field "a" is {"b": "1"}; allowed: text or a number'),
        ('{"a": "\\ud800"}', [], "half a surrogate pair"),
        ("two", [], "holds 2 dead letters; allowed: one; or say the ID of one of them"),
        ("two", ["9-9"], "has no dead letter 9-9"),
        ("two", ["x"], "'x' is not an entry ID"),
        (None, [], "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_holds_no_entry_ends_with_2(
    embedded: Endpoint, tmp_path: Path, content: str | None, arguments: list[str], wrong: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        two = "\n".join(line_of(a_letter(number, tweet(number))) for number in (1, 2))
        file.write_text(two if content == "two" else content)

    ended = in_pipe(env_of(embedded, TARGET), "try", *arguments, "--file", str(file))

    assert (ended.code, ended.out) == (2, "")
    assert wrong in " ".join(ended.err.replace("│", "").split())


def test_without_an_id_or_a_file_it_ends_with_2(embedded: Endpoint) -> None:
    ended = in_pipe(env_of(embedded, TARGET), "try")

    assert (ended.code, "give an ID, or --file" in ended.err) == (2, True)
