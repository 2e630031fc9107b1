"""The release before and this one on the same server at the same time, as while an upgrade is under way.

Each history is told three times: by this release alone, and by both in turn, either of them first. Whatever one has
left in Redis, the other goes on with, so all three end in the same state.
"""

from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import pytest

from tests.conftest import EMBEDDED, Servers
from tests.e2e.upgrade.releases import ROOT, Release, release_before
from tests.support import (
    Client,
    Endpoint,
    Held,
    a_target,
    age_all,
    as_dict,
    env_for,
    given,
    held,
    lived_in,
    raw_client,
    state,
    stored,
    tweet,
)

TARGET = a_target()
BY_FUNCTION = {"HANDLER": "upgrade_handler:handle", "HASH_KEY": "tweet:{id}", "DELIVERY_BACKOFF_SEC": "0"}
QUICK = {"RETRY_ATTEMPTS": "1", "MIN_IDLE_TIME_SEC": "10"}
TIMES = {b"since_ms", b"until_ms", b"server_ms", b"probe_until_ms", b"cooldown_ms"}
NAMES = {b"change", b"who", b"reason", b"unsettled_run", b"unsettled_since_ms", b"unsettled_before_ms"}

Turns = Iterator[Release]
History = Callable[[Turns, Client], list[Any]]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The release before, at work."""
    with Release(release_before(tmp_path_factory.mktemp("before"))) as release:
        yield release


@pytest.fixture(scope="module")
def this() -> Iterator[Release]:
    """This release, at work."""
    with Release(ROOT) as release:
        yield release


def whole(client: Client) -> dict[str, Any]:
    """All that is in Redis, but for times, and names that are made up anew each time."""
    keys = TARGET.keys
    tries = as_dict(client.execute_command("HGETALL", keys.tries))
    circuit, seen = (as_dict(client.execute_command("HGETALL", key)) for key in (keys.circuit, keys.seen))
    return {
        "state": state(client, TARGET),
        "tries": {entry_id: _without_times(record) for entry_id, record in tries.items()},
        "circuit": {name: value for name, value in circuit.items() if name not in TIMES | NAMES},
        "failures": client.execute_command("ZCARD", keys.failures),
        "seen": {name: value for name, value in seen.items() if name not in TIMES},
        "audit": [_without_times_of_audit(flat) for _, flat in client.execute_command("XRANGE", keys.audit, "-", "+")],
    }


def _without_times(record: bytes) -> list[bytes]:
    version, charged, _, _, *rest = record.split(b" ", 7)
    return [version, charged, *rest]


def _without_times_of_audit(flat: list[bytes]) -> dict[bytes, bytes]:
    return {name: value for name, value in as_dict(flat).items() if name not in {b"begun_ms", b"ended_ms"}}


def run(turns: Turns) -> Any:
    """The next release's turn to run."""
    return next(turns).ask("run")


def is_over(client: Client, *names: str) -> None:
    """A time that the circuit keeps is over; a circuit that a person opened has none."""
    if client.execute_command("HGET", TARGET.keys.circuit, "by") == b"failures":
        for name in names:
            client.execute_command("HSET", TARGET.keys.circuit, name, 1)


# --- histories -------------------------------------------------------------------------------------------------------


def entries_of_all_kinds(turns: Turns, client: Client) -> list[Any]:
    """Good ones, one that has no key, one whose key has another type, one that is deleted, and a group made anew."""
    lived_in(client, TARGET)
    client.execute_command("SET", "tweet:3", "a string")
    given(client, TARGET, *held(range(1, 6)), Held([b"user", b"nobody"]))
    client.execute_command("XDEL", "s", "1-0")
    said = [run(turns), run(turns)]
    given(client, TARGET, *held(range(7, 10)))
    said += [run(turns), next(turns).ask("lost"), next(turns).ask("lost")]
    given(client, TARGET, *held(range(10, 13), idle_ms=0))
    said.append(run(turns))
    client.execute_command("DEL", "s")
    given(client, TARGET, *held(range(1, 3), idle_ms=0))
    said += [run(turns), run(turns), next(turns).ask("lost"), next(turns).ask("runs")]
    return said


def dead_letters_read_by_the_other(turns: Turns, client: Client) -> list[Any]:
    """Parked by one, listed and replayed in vain by the other, and again; then replayed."""
    lived_in(client, TARGET)
    for number in range(1, 4):
        client.execute_command("SET", f"tweet:{number}", "a string")
    given(client, TARGET, *held(range(1, 5)), Held([b"user", b"\xff\x00"]))
    said = [run(turns), next(turns).ask("letters"), next(turns).ask("replay"), next(turns).ask("letters")]
    client.execute_command("DEL", "tweet:1", "tweet:2")
    said += [next(turns).ask("replay"), next(turns).ask("letters")]
    client.execute_command("DEL", "tweet:3")
    return [*said, next(turns).ask("replay"), next(turns).ask("letters")]


def tries_counted_together(turns: Turns, client: Client) -> list[Any]:
    """Three tries are all that an entry has, whoever makes them; and one key's later entries wait for it."""
    texts = [b"bad", b"good", b"good", b"bad"]
    given(client, TARGET, *(Held(tweet(number % 3, text=text)) for number, text in enumerate(texts)))
    said = []
    for _ in range(5):
        said.append(run(turns))
        age_all(client, TARGET)
    return said


def circuit_opened_probed_closed(turns: Turns, client: Client) -> list[Any]:
    """Opened by failures, a probe fails, a probe settles something; then a person opens and closes it."""
    given(client, TARGET, *held(range(8)))
    said = []
    for step in ("outage", "", "", "store is back", "", "open", "", "open", "close", "close", ""):
        match step:
            case "outage" | "store is back":
                for release in (next(turns), next(turns)):
                    release.ask("outage", on=step == "outage")
            case "open" | "close":
                said.append(next(turns).ask(step))
                given(client, TARGET, *held(range(20, 22)))
        said += [run(turns), next(turns).ask("circuit")]
        if step not in {"open", "close"}:
            is_over(client, "until_ms")
        age_all(client, TARGET)
    return said


def two_runs_that_settle_nothing(turns: Turns, client: Client) -> list[Any]:
    """An error that no table knows: the second run in a row, of whichever release, opens the circuit and refunds."""
    given(client, TARGET, *(Held(tweet(number, text=b"odd")) for number in range(6)))
    said = []
    for _ in range(3):
        said += [run(turns), next(turns).ask("circuit")]
        age_all(client, TARGET)
    return said


def what_people_did(turns: Turns, client: Client) -> list[Any]:
    """Each acts in turn, and reads what both have done; then an act that did not end, and one of a newer release."""
    lived_in(client, TARGET)
    for number in range(1, 4):
        client.execute_command("SET", f"tweet:{number}", "a string")
    given(client, TARGET, *held(range(1, 5)))
    said = [run(turns)]
    for act in ("open", "close", "replay", "discard"):
        said += [next(turns).ask(act), next(turns).ask("audit")]
    begun = ["what", "import", "who", "her", "door", "cli", "place", "", "why", "", "meant", "{}", "begun_ms", 1]
    client.execute_command("XADD", TARGET.keys.audit, "*", *begun)
    client.execute_command("XADD", TARGET.keys.audit, "*", "format", "99", "what", "discard")
    said += [next(turns).ask("audit"), next(turns).ask("open"), next(turns).ask("audit"), next(turns).ask("audit")]
    return said


HISTORIES: dict[History, dict[str, str]] = {
    entries_of_all_kinds: {},
    dead_letters_read_by_the_other: {},
    tries_counted_together: BY_FUNCTION | {"MAX_DELIVERIES": "3"},
    circuit_opened_probed_closed: BY_FUNCTION | {"CIRCUIT_FAILURES": "5"},
    two_runs_that_settle_nothing: BY_FUNCTION,
    what_people_did: {},
}


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history.__name__)
def test_two_releases_in_turn_do_what_one_does(
    history: History, before: Release, this: Release, server: Endpoint, client: Client
) -> None:
    told = {}
    for name, releases in {"this": [this], "before, this": [before, this], "this, before": [this, before]}.items():
        client.execute_command("FLUSHALL")
        for release in releases:
            release.begin(env_for(server, TARGET, **QUICK, **HISTORIES[history]))
        told[name] = (history(cycle(releases), client), whole(client))

    assert told["before, this"] == told["this"]
    assert told["this, before"] == told["this"]


def test_the_histories_come_to_what_they_are_about(this: Release, embedded: Endpoint, client: Client) -> None:
    """Else three equal states would prove little."""
    said = {}
    for history, settings in HISTORIES.items():
        client.execute_command("FLUSHALL")
        this.begin(env_for(embedded, TARGET, **QUICK, **settings))
        said[history.__name__] = str(history(cycle([this]), client))

    expected = {
        "entries_of_all_kinds": ["'parked': 2", "'lost': 1", "'lost_at_most': 3"],
        "dead_letters_read_by_the_other": ["'replayed': 2", "'failed': 4", "'replayed': 1"],
        "tries_counted_together": ["'failed': 1, 'held': 1", "'parked': 1, 'failed': 1, 'held': 1"],
        "circuit_opened_probed_closed": [
            "circuit_open",
            "'its probe succeeded'",
            "['open', 'person'",
            "['closed', 'person'",
        ],
        "two_runs_that_settle_nothing": ["'failed': 6", "'retried': 6", "two runs in a row settled nothing"],
        "what_people_did": [
            "['open_circuit', 'me', ",
            "['close_circuit', 'me', ",
            "['replay', ",
            "['discard', 'me', ",
            "['import', 'her', 'cli', '', {}, 'begun', '', None]",
        ],
    }
    missing = {name: [one for one in words if one not in said[name]] for name, words in expected.items()}
    assert not any(missing.values()), (missing, said)


@pytest.mark.G2
def test_two_releases_at_the_same_time_handle_every_entry(before: Release, this: Release, servers: Servers) -> None:
    """Both run without a pause while entries come and are abandoned; the lease lets one work at a time."""
    endpoint = servers.get(EMBEDDED)
    with raw_client(endpoint.server_port) as client:
        given(client, TARGET)
        for release in (before, this):
            release.begin(env_for(endpoint, TARGET, **QUICK, PAGE_SIZE="20"))
        count = 3_000
        for release in (before, this):
            release.tell("run_until", done=count)
        for first in range(1, count + 1, 100):
            given(client, TARGET, *held(range(first, first + 100)))
        did = [release.answer() for release in (before, this)]
        found = whole(client)

    assert found["state"].hashes == stored(*held(range(1, count + 1)))
    assert (found["state"].pending, found["state"].dead, found["state"].lost) == ({}, [], [])
    assert [one["failed"] for one in did] == [0, 0]
    assert sum(one["claimed"] for one in did) == count
