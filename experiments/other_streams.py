"""Other people's streams: entries as other frameworks write them, each finished in each way that fits."""

import base64
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dev.server import HOST, Server
from experiments import entry_keeper
from experiments.result import Claim, Result, Size, Table
from experiments.stage import client_of, environment
from reclaim.app import App
from reclaim.names import name_bytes, written
from reclaim.run.report import RunReport

TITLE = "Other people's streams"
GROUP = "workers"
FORWARDED = "dropped"
HANDLERS = ("hash", "requeue", "forward", "http", "function")

TEXT = """\
A consumer reads each framework's entries, and dies. Then reclaim finishes them in each way: as hashes, back to the
group, into another stream, POSTed to a service, and by a Python function. What arrives is compared with what was added,
byte for byte. `HASH_KEY` is the template in the table."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Entries as a framework writes them.

    Attributes:
        framework: who writes them.
        name: the stream's name, as settings write it.
        template: a HASH_KEY that fits.
        entries: names and values in turn, of each entry.
        keys: the hashes that the template makes of them; empty where they are made of the entries' IDs.
    """

    framework: str
    name: str
    template: str
    entries: Sequence[Sequence[bytes]]
    keys: Sequence[str] = ()


def java_text(text: str) -> bytes:
    """A text as Java serialises it (https://docs.oracle.com/javase/8/docs/platform/serialization/spec/protocol.html)."""
    said = text.encode()
    return b"\xac\xed\x00\x05t" + len(said).to_bytes(2, "big") + said


Order = Mapping[str, Any]


def text(value: object) -> bytes:
    """A value as compact JSON."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _dapr(order: Order) -> list[bytes]:
    """A CloudEvent in the field ``data``."""
    about = {"specversion": "1.0", "type": "com.dapr.event.sent", "source": "shop", "topic": "orders"}
    return [b"data", text({**about, "id": f"e-{order['id']}", "datacontenttype": "application/json", "data": order})]


def _celery(order: Order) -> list[bytes]:
    """A message of Celery's protocol 2, its body in base64."""
    body = [[order], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    about = {"content-encoding": "utf-8", "content-type": "application/json", "properties": {}}
    headers = {"lang": "py", "task": "shop.tasks.bill", "id": f"t-{order['id']}", "retries": 0}
    message = {**about, "body": base64.b64encode(text(body)).decode(), "headers": headers}
    return [b"uuid", str(order["id"]).encode(), b"payload", text(message)]


def _taskiq(order: Order) -> list[bytes]:
    """A message in the field ``data``."""
    about = {"task_id": f"t-{order['id']}", "task_name": "shop.tasks:bill", "labels": {}, "labels_types": {}}
    return [b"data", text({**about, "args": [order], "kwargs": {}})]


def _faststream(order: Order) -> list[bytes]:
    """FastStream's own format: a magic number, where headers and data begin, the headers, the data."""
    head = b"\x00\x0ccontent-type\x00\x10application/json"
    return [b"__data__", b"\x89BIN\x0d\x0a\x1a\x0a\x00\x01" + len(head).to_bytes(4, "big") + head + text(order)]


def _symfony(order: Order) -> list[bytes]:
    """An envelope in the field ``message``."""
    headers = {"type": "App\\Message\\Order", "Content-Type": "application/json"}
    return [b"message", text({"body": text(order).decode(), "headers": headers})]


def _benthos(order: Order) -> list[bytes]:
    """The body beside its metadata, of which one is empty."""
    return [b"body", text(order), b"kafka_key", b"", b"kafka_offset", str(order["id"]).encode()]


def _spring(order: Order) -> list[bytes]:
    """An ObjectRecord with a JSON serialiser."""
    return [b"_class", b"com.example.shop.Order", b"payload", text(order)]


def _java(order: Order) -> list[bytes]:
    """A MapRecord with Spring's default, Java's serialisation."""
    return [java_text("id"), java_text(str(order["id"])), java_text("total"), java_text("9.5")]


def streams(count: int) -> list[Stream]:
    """So many entries of each framework."""
    orders = [
        {"id": f"o-{n}", "customer": {"name": "Zoë"}, "total": 9.5, "lines": [{"sku": f"s{n}"}]}
        for n in range(1, count + 1)
    ]

    def stream(
        framework: str, name: str, template: str, write: Callable[[Order], list[bytes]], prefix: str = ""
    ) -> Stream:
        keys = [f"{prefix}{order['id']}" for order in orders] if prefix else []
        return Stream(framework, name, template, [write(order) for order in orders], keys)

    return [
        stream("Spring, JSON", "spring-json", "order:{payload->id}", _spring, "order:"),
        stream("Spring, Java serialisation", written(java_text("orders")), "order:{@id}", _java),
        stream("Dapr", "orders-topic", "order:{data->data.id}", _dapr, "order:"),
        stream("Celery", "celery", "task:{payload->headers.id}", _celery, "task:t-"),
        stream("taskiq", "taskiq", "task:{data->task_id}", _taskiq, "task:t-"),
        stream("FastStream", "faststream", "order:{@id}", _faststream),
        stream("Symfony Messenger", "messages", "message:{@id}", _symfony),
        stream("Benthos", "benthos", "order:{body->id}", _benthos, "order:"),
    ]


@dataclass(slots=True)
class Found:
    """What became of one framework's entries in one way.

    Attributes:
        framework: whose entries they were.
        handler: how they were finished.
        added: how many there were.
        right: how many arrived with exactly what was added.
        pending: how many are pending for the consumer that died, or for reclaim.
        outcome: how the run ended.
    """

    framework: str
    handler: str
    added: int
    right: int
    pending: int
    outcome: str


async def experiment(size: Size) -> Result:
    """Each framework's entries, in each way."""
    count = 5 if size is Size.QUICK else 200
    found = []
    with Server() as server:
        client = client_of(server)
        for stream in streams(count):
            for handler in HANDLERS:
                client.flushall()
                found.append(await _one(server, client, stream, handler))
    by = {(one.framework, one.handler): one for one in found}
    rows = [
        [stream.framework, f"`{stream.template}`", *(_cell(by[stream.framework, handler]) for handler in HANDLERS)]
        for stream in streams(1)
    ]
    table = Table("Entries that arrived as they were added", ["framework", "HASH_KEY", *HANDLERS], rows)
    return Result(TEXT, claims(found), [table], [])


def _cell(one: Found) -> str:
    return f"{one.right} of {one.added}"


def claims(found: Sequence[Found]) -> list[Claim]:
    """What was to be shown, for each way to finish an entry."""
    made = []
    for handler in HANDLERS:
        some = [one for one in found if one.handler == handler]
        wrong = [one.framework for one in some if one.right != one.added or one.pending or one.outcome != "completed"]
        but = f"; not {', '.join(wrong)}" if wrong else ""
        said = f"{len(some) - len(wrong)} of {len(some)} frameworks{but}."
        made.append(
            Claim(f"`{handler}` finishes every framework's entries, byte for byte.", bool(some) and not wrong, said)
        )
    return made


async def _one(server: Server, client: Any, stream: Stream, handler: str) -> Found:
    name = name_bytes(stream.name)
    client.xgroup_create(name, GROUP, id="0", mkstream=True)
    for fields in stream.entries:
        client.execute_command("XADD", name, "*", *fields)
    ids = [row[0] for row in client.xreadgroup(GROUP, "died", {name: ">"}, count=len(stream.entries))[0][1]]
    client.xclaim(name, GROUP, "died", 0, ids, idle=3_600_000, justid=True)
    service = _Service()
    settings = {"HASH_KEY": stream.template, "HANDLER": handler, "FORWARD_STREAM": FORWARDED}
    if handler == "http":
        settings["HTTP_URL"] = service.url
    if handler == "function":
        settings["HANDLER"] = "experiments.entry_keeper:keep"
    if handler != "forward":
        del settings["FORWARD_STREAM"]
    entry_keeper.kept.clear()
    try:
        report = await _run(environment(server, stream.name, GROUP, **settings))
    finally:
        service.close()
    pending = {one["name"]: one["pending"] for one in client.xpending(name, GROUP)["consumers"]}
    arrived = _arrived(client, stream, name, handler, ids, service)
    wanted = [list(fields) for fields in stream.entries]
    right = sum(one == other for one, other in zip(arrived, wanted, strict=False))
    left = sum(count for consumer, count in pending.items() if consumer != b"live")
    return Found(stream.framework, handler, len(wanted), right, left, report.outcome.value)


async def _run(env: Mapping[str, str]) -> RunReport:
    app = App.from_env(env)
    try:
        (report,) = await app.reports()
        return report
    finally:
        await app.aclose()


def _arrived(
    client: Any, stream: Stream, name: bytes, handler: str, ids: Sequence[bytes], service: "_Service"
) -> list[list[bytes]]:
    """Names and values of each entry as they are where the handler was to bring them, in the order of the stream."""
    if handler == "hash":
        keys = stream.keys or [f"{stream.template.removesuffix('{@id}')}{one.decode()}" for one in ids]
        return [_flat(client.hgetall(key)) for key in keys]
    if handler == "requeue":
        read = client.xreadgroup(GROUP, "live", {name: ">"}, count=2 * len(ids))
        return [_flat(fields)[:-2] for _, fields in read[0][1]] if read else []
    if handler == "forward":
        return [
            _flat({k: v for k, v in fields.items() if not k.startswith(b"reclaim:")})
            for _, fields in client.xrange(FORWARDED)
        ]
    if handler == "http":
        return [service.got.get(one.decode(), []) for one in ids]
    return [list(entry_keeper.kept.get(one, ())) for one in ids]


def _flat(fields: Mapping[bytes, bytes]) -> list[bytes]:
    return [part for pair in fields.items() for part in pair]


class _Service:
    """A service that takes entries as CloudEvents, and reads their fields back into bytes."""

    def __init__(self) -> None:
        self.got: dict[str, list[bytes]] = {}
        got = self.got

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                got[self.headers["ce-id"]] = _from_json(body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{HOST}:{self._server.server_port}/entries"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


def _from_json(body: Mapping[str, str]) -> list[bytes]:
    """The fields of a body: text, or base64 where the name says so; names are written as settings write them."""
    fields = []
    for name, value in body.items():
        bare = name.removesuffix("_base64")
        fields += [name_bytes(bare), base64.b64decode(value) if bare != name else value.encode()]
    return fields
