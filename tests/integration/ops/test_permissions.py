"""The list of commands that a user needs: compared with what servers really get, key by key, scripts included."""

import re
import socket
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dev.server import HOST, Server, available
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.ops import letter_acts, letter_looks, operations
from reclaim.ops.doctor import doctor
from reclaim.ops.permissions import CONNECTING, QUESTIONS, TRANSACTIONS, _uses
from reclaim.settings import Target
from tests.support import Client, Held, a_target, age_all, env_for, given, held, raw_client, settings_for, tweet

_WORD = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf"\[\d+ (\S+)\] {_WORD}((?: {_WORD})*)")
_AFTER_SCRIPT = re.compile(rf'" "(\d+)"((?: {_WORD})*)$')  # Valkey 8.1 escapes no quotation mark of a script
OF_CONNECTIONS = {"AUTH", "CLIENT"}  # everybody may send AUTH; CLIENT SETINFO may be refused


@contextmanager
def monitored(server: Server, but: Client) -> Iterator[dict[str, set[str]]]:
    """The commands that the server runs meanwhile, those in scripts too, by their keys; filled at the end.

    Those of the client `but` are the test's own, and left out.
    """
    got: dict[str, set[str]] = defaultdict(set)
    ours = re.search(
        rb"^id=%d addr=(\S+)" % but.execute_command("CLIENT", "ID"), but.execute_command("CLIENT", "LIST"), re.MULTILINE
    )
    assert ours
    with socket.create_connection((HOST, server.port)) as monitor:
        monitor.sendall(b"MONITOR\r\n")
        lines = monitor.makefile("r", encoding="latin-1")
        assert lines.readline() == "+OK\n"
        yield got
        but.execute_command("ECHO", "the-end")
        for line in lines:
            if '"the-end"' in line:
                break
            for key, command in _keys_and_command(line) if ours[1].decode() not in line else ():
                got[key].add(command)


def _keys_and_command(line: str) -> Iterator[tuple[str, str]]:
    found = _LINE.search(line)
    assert found, line
    name, words = found[2].upper(), re.findall(_WORD, found[3])
    if name in {"XINFO", "XGROUP"}:
        name, words = f"{name} {words[0].upper()}", words[1:]
    if name == "ACL":
        yield "", f"{name} {words[0].upper()}"
    elif name in {"EVAL", "EVALSHA"}:
        after = _AFTER_SCRIPT.search(line)
        assert after, line
        keys = re.findall(_WORD, after[2])[: int(after[1])]
        yield from ((key, name) for key in keys or [""])
    elif name in {*TRANSACTIONS, *QUESTIONS, *CONNECTING, *OF_CONNECTIONS, "TIME"}:
        yield "", name
    else:
        yield words[0], name


def allowed(target: Target, key: str) -> set[str]:
    """What the list has for a key; for none, what needs no key. A script may have any of the keys."""
    if not key:
        return {*TRANSACTIONS, *QUESTIONS, *CONNECTING, *OF_CONNECTIONS, "TIME", "EVAL"}
    by_key: dict[str, set[str]] = defaultdict(set)
    for known, _, many in _uses(target, b"tweet:1"):
        by_key[known.decode()] |= {str(command[0]) for command in many}
    alerts = target.keys.alerts.decode()
    alike = "tweet:1" if key.startswith("tweet:") else alerts if key.startswith(alerts) else key
    return by_key[alike] | {"EVAL", *QUESTIONS} if alike in by_key else set()


async def play(server: Server, client: Client, target: Target) -> None:
    """The main paths: entries that are stored, bad, lost, superseded or failing; the circuit; what people ask for."""
    app = App(settings_for(server, target, alert_repeat_sec=1))
    try:
        entries = [*held(range(4)), Held([b"no", b"id"]), Held(tweet(9), deliveries=4), Held(tweet(10))]
        ids = given(client, target, *entries)
        client.execute_command("SET", "tweet:9", "no hash")
        client.execute_command("XDEL", target.stream, ids[-1])
        reading = ("XREADGROUP", "GROUP", target.group, "gone", "STREAMS", target.stream, ">")
        client.execute_command(*reading)  # there is nothing to read, and the consumer is made
        time.sleep(0.01)  # noqa: ASYNC251  # until it has been idle for long enough
        for _ in range(3):
            await app.reports()
            age_all(client, target)
        letters = await letter_looks.list_dead_letters(app)
        await letter_looks.show_dead_letters(app, [letter.id for letter in letters.letters[:1]])
        await letter_looks.count_dead_letters(app)
        await letter_acts.replay_dead_letters(app, None, even_if_open=True)
        await letter_acts.discard_dead_letters(app, None)
        await operations.open_circuit(app, "a test", "me")
        await app.reports()
        await operations.show_circuits(app)
        await operations.close_circuit(app, "a test", "me")
        await operations.list_runs(app)
        await operations.list_lost(app)
        await operations.read_status(app)
    finally:
        await app.aclose()
    await doctor(env_for(server, target))


async def failing(entry: Entry) -> None:
    """A handler that opens the circuit."""
    raise ValueError(entry.id)


FAILING = {
    "handler": f"{__name__}:failing",
    "order_key": "{text}",
    "circuit_failures": 1,
    "circuit_cooldown_sec": 0.001,
}


@pytest.mark.parametrize("kind", available())
@pytest.mark.parametrize(
    ("changes", "among_them"),
    [
        ({}, {"XCLAIM", "XACK", "XGROUP DELCONSUMER", "XDEL", "HSET", "SET", "XREVRANGE"}),
        ({"hash_version_field": "v"}, {"EVALSHA", "HGET"}),
        (FAILING, {"ZADD", "ZCOUNT", "HINCRBY"}),
        ({"handler": "requeue", "delete_acknowledged": True}, {"XREVRANGE", "XADD", "XDEL"}),
        ({"handler": "forward", "forward_stream": "elsewhere"}, {"XREVRANGE", "XADD"}),
    ],
    ids=["hashes", "newer hashes", "failing", "requeued", "forwarded"],
)
async def test_nothing_is_sent_that_is_not_on_the_list(
    kind: str, changes: dict[str, Any], among_them: set[str]
) -> None:
    """By a run, by the doctor, or because a person asks."""
    target = a_target(alert_backlog_sec=1.0, consumer_ttl_hours=0.000_001, **changes)
    with Server(kind) as server, raw_client(server.port) as client, monitored(server, but=client) as got:
        await play(server, client, target)

    assert {key: missing for key, commands in got.items() if (missing := commands - allowed(target, key))} == {}
    assert among_them <= {command for commands in got.values() for command in commands}
