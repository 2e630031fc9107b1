"""The Redis users of docs/security.md and of infra/: with exactly their rules everything works, on each server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import NoPermissionError

from dev.bicep import Reader, read
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.ops import letter_acts, letter_looks, operations
from reclaim.ops.doctor import doctor
from reclaim.ops.permissions import whole_rule
from reclaim.run.report import Outcome
from reclaim.settings import Target
from tests.integration.ops.test_permissions import monitored
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    age_all,
    env_for,
    given,
    held,
    raw_client,
    settings_for,
    tweet,
)

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
NAMED = {"stream": "tweets_stream", "group": "redisearch_app_group"}
USER, PASSWORD = "reclaim", "pw"
HANDLERS: dict[str, dict[str, Any]] = {
    "hash": {},
    "requeue": {"handler": "requeue"},
    "forward": {"handler": "forward", "forward_stream": "elsewhere"},
    "hash with a version": {"hash_version_field": "v", "hash_ttl_sec": 60},
    "deleting": {"delete_acknowledged": True},
}


def documented() -> str:
    """The rule in docs/security.md."""
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"^\+multi .*$", text, re.MULTILINE)
    return str(rule)


def test_the_documented_rule_is_the_one_that_the_doctor_prints() -> None:
    """For the first article's names."""
    assert documented() == whole_rule(Target(**NAMED), b"tweet:1")


async def everything(place: Any, client: Client, target: Target) -> list[str]:
    """The main paths as that user: what went wrong."""
    bad = Held([b"no", b"id"]) if target.handler == "hash" else Held(tweet(99))
    given(client, target, *held(range(3)), bad, *held(range(3, 6), deliveries=3))
    client.execute_command("HSET", target.keys.seen, f"stored under:{target.hash_key}", 1)
    # There is nothing to read, and the consumer is made; Redis 6.0 has no XGROUP CREATECONSUMER.
    client.execute_command("XREADGROUP", "GROUP", target.group, "long-gone", "STREAMS", target.stream, ">")
    client.execute_command("XDEL", target.stream, "5-0")
    client.execute_command(
        "XADD", target.keys.dead, "*", "id", "1-1", "reason", "failed", "error", "no", "field:id", "7"
    )
    app = App(settings_for(place, target, username=USER, password=PASSWORD))
    problems: list[str] = []
    try:
        for _ in range(2):
            (report,) = await app.reports()
            if report.outcome not in {Outcome.COMPLETED, Outcome.NOTHING_PENDING}:
                problems.append(f"run: {report.reason}")
            age_all(client, target)
        await operations.open_circuit(app, reason="a test", who="a test")
        await operations.close_circuit(app, reason="a test", who="a test")
        await letter_acts.replay_dead_letters(app, None)
        await letter_acts.discard_dead_letters(app, None)
        await letter_looks.list_dead_letters(app)
        await operations.list_lost(app)
        await operations.list_runs(app)
        status = await operations.read_status(app)
        problems += [] if status.found["error"] is None else [f"status: {status.found['error']}"]
    except Exception as exc:  # noqa: BLE001  # whatever goes wrong is what the test tells
        problems.append(repr(exc))
    finally:
        await app.aclose()
    return problems


@pytest.fixture
def limited(client: Client) -> Iterator[Client]:
    """The client; the user is gone afterwards."""
    yield client
    client.execute_command("ACL", "DELUSER", USER)


def let(client: Client, *rules: str) -> None:
    """Let the user do exactly this."""
    client.execute_command("ACL", "SETUSER", USER, "reset", "on", f">{PASSWORD}", *rules)


@pytest.mark.parametrize("handler", HANDLERS)
async def test_with_the_rule_that_the_doctor_prints_everything_works(
    server: Endpoint, limited: Client, handler: str
) -> None:
    """Runs, parking, replay, discarding, the circuit, lists and the status, on each server."""
    target = a_target(retry_attempts=1, **HANDLERS[handler])
    let(limited, *whole_rule(target, b"tweet:1").split())

    problems = await everything(server, limited, target)
    asked = {name.upper(): str(value) for name, value in HANDLERS[handler].items()}
    found = await doctor(env_for(server, target, REDIS_USERNAME=USER, REDIS_PASSWORD=PASSWORD, **asked))

    assert problems == []
    assert [one.what for one in found if one.health.value == "fail"] == []


def policy_of_infra(target: Target) -> list[str]:
    """The access policy that infra/ makes for an Azure Cache for Redis, for this target."""
    file = ROOT / "infra" / "redis-existing-classic.bicep"
    text = file.read_text(encoding="utf-8")
    known = {"${streamName}": target.stream, "${forwardStream}": target.forward_stream or "none"}
    for name, value in {**known, "${first(split(hashKey, '{'))}": "tweet:"}.items():
        text = text.replace(name, value)
    bicep = read(file)
    commands = Reader(bicep).value(bicep.variables["commands"][0])
    patterns = re.findall(r"'(~[^']+)'", text)
    assert len(patterns) == 5
    return [*(f"+{command}" for command in commands), *patterns]


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("stream", ["tweets_stream", "tweets{eu}"])
async def test_with_the_policy_that_infra_makes_everything_works(
    server: Endpoint, limited: Client, handler: str, stream: str
) -> None:
    """What it allows is enough for every handler; on Azure such a cache is a Redis 6.0."""
    target = a_target(stream=stream, retry_attempts=1, **HANDLERS[handler])
    let(limited, *policy_of_infra(target))

    assert await everything(server, limited, target) == []


FORBIDDEN = {
    "ACL": ("ACL", "SETUSER", USER, "+@all"),
    "CLUSTER": ("CLUSTER", "RESET"),
    "XGROUP": ("XGROUP", "DESTROY", NAMED["stream"], NAMED["group"]),
    "CONFIG": ("CONFIG", "GET", "*"),
    "FLUSHALL": ("FLUSHALL",),
    "SCAN": ("SCAN", "0"),
    "GET": ("GET", "somebody-elses"),
    "XLEN": ("XLEN", f"{NAMED['stream']}_of_somebody_else"),
}


RULES = {"of docs": lambda: documented().split(), "of infra": lambda: policy_of_infra(a_target(**NAMED))}


@pytest.mark.parametrize("command", FORBIDDEN)
@pytest.mark.parametrize("rule", RULES)
def test_neither_rule_allows_anything_else(server: Endpoint, limited: Client, rule: str, command: str) -> None:
    """No right can be taken with it, no group destroyed, and no key of somebody else read."""
    let(limited, *RULES[rule]())
    with (
        raw_client(server.port, username=USER, password=PASSWORD) as theirs,
        pytest.raises(NoPermissionError),
    ):
        theirs.execute_command(*FORBIDDEN[command])


async def fails(entry: Entry) -> None:
    """A handler that opens the circuit."""
    raise ValueError(entry.id)


FAILING = {"handler": f"{__name__}:fails", "circuit_failures": 1, "circuit_share": 0.01, "circuit_cooldown_sec": 0.001}


async def test_every_command_of_the_rule_is_sent(limited: Client, embedded: Endpoint) -> None:
    """None is on it for nothing."""
    plain = a_target(**NAMED, retry_attempts=1, consumer_ttl_hours=1e-9)
    failing = a_target(**NAMED, retry_attempts=1, **FAILING)
    rule = whole_rule(plain, b"tweet:1").split()
    let(limited, *rule)
    with monitored(embedded, limited) as got:
        await everything(embedded, limited, plain)
        await everything(embedded, limited, failing)
        await rare_paths(embedded, limited, plain)

    sent = {command.lower().replace(" ", "|") for commands in got.values() for command in commands}
    assert {word[1:] for word in rule if word.startswith("+")} - sent == set()


async def rare_paths(place: Any, client: Client, target: Target) -> None:
    """A lease that another run has; and a group that vanishes with pending entries, and is made anew."""
    app = App(settings_for(place, target, username=USER, password=PASSWORD))
    try:
        client.execute_command("SET", target.keys.lease, "another run", "PX", 60_000)
        await app.reports()
        client.execute_command("DEL", target.keys.lease)
        given(client, target, *held(range(2), idle_ms=0))
        await app.reports()
        client.execute_command("HSET", target.keys.tries, "1-0", "1 1 1 1 2 fail - why")
        client.execute_command("DEL", target.stream)
        given(client, target, *held(range(1)))
        await app.reports()
    finally:
        await app.aclose()
