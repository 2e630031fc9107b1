"""A cluster is served as a single server is: every path, with targets and hashes on all its nodes."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from dev.cluster import Cluster
from dev.server import HOST, available
from reclaim.app import App
from reclaim.entry import Entry
from reclaim.errors import AccessDenied, NotTrusted, RejectEntry, Unreachable, Unsuitable
from reclaim.ops import letter_acts, letter_looks, operations
from reclaim.ops.doctor import doctor
from reclaim.ops.health import Health
from reclaim.ops.permissions import _uses, _whole
from reclaim.run.report import Outcome
from reclaim.state import cluster as module
from reclaim.state.connection import connect
from reclaim.state.slots import key_of, keys_of, slot_of
from reclaim.state.topology import Place
from tests.cluster_support import given_on, name_on, pending_on, settings_of, stored_on, targets_on_each
from tests.integration.ops.test_doctor import documented
from tests.support import Endpoint, Held, a_target, env_for, held, lived_in, settings_for, stored, tweet

pytestmark = pytest.mark.anyio

KIND = "redis-7.0" if "redis-7.0" in available() else "valkey-9"
IN_CI = bool(os.environ.get("CI"))

WIDE = [part for at in range(5000) for part in (b"f%d" % at, b"v")]


async def failing(entry: Entry) -> None:
    """A handler that rejects every entry."""
    raise RejectEntry(entry.id)


async def test_targets_on_every_node_are_reclaimed(cluster: Cluster) -> None:
    """Streams and hashes are on all three."""
    targets = targets_on_each()
    for at, target in enumerate(targets):
        given_on(cluster, target, *held(range(100 * at, 100 * at + 40)))
    app = App(settings_of(cluster, *targets))

    reports = await app.run()
    await app.aclose()

    assert [(one.outcome, one.acknowledged) for one in reports] == [(Outcome.COMPLETED, 40)] * 3
    assert [pending_on(cluster, target) for target in targets] == [0, 0, 0]
    numbers = [*range(40), *range(100, 140), *range(200, 240)]
    assert stored_on(cluster) == stored(*(tweet(number) for number in numbers))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hash_version_field": "v"},
        {"delete_acknowledged": True},
        {"handler": "requeue"},
        {"handler": "forward", "forward_stream": name_on(1, "to")},
        {"handler": "forward", "forward_stream": name_on(0, "to"), "delete_acknowledged": True},
        {"handler": f"{__name__}:failing"},
    ],
    ids=lambda changes: "-".join(map(str, changes.values())).rpartition(":")[2] or "hash",
)
async def test_every_path_keeps_to_the_slots(
    cluster: Cluster, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run over good, bad, lost, spent and wide entries, and all that a person asks for. No key is in a wrong slot."""
    sent: list[Any] = []
    refused: list[Exception] = []
    note_what_is_sent(monkeypatch, sent, refused)
    target = a_target(stream=name_on(0), consumer_ttl_hours=0.000_001, alert_backlog_sec=1.0, **changes)
    entries = [
        *held(range(4)),
        Held([b"no", b"id"]),
        Held([*tweet(8), *WIDE]),
        Held(tweet(9), deliveries=9),
        Held(tweet(10)),
    ]
    ids = given_on(cluster, target, *entries)
    with cluster.client(cluster.node_of(target.stream)) as client:
        lived_in(client, target)
        client.execute_command("XDEL", target.stream, ids[-1])
    app = App(settings_of(cluster, target))

    reports = [one for _ in range(2) for one in await app.reports()]
    letters = await letter_looks.list_dead_letters(app)
    await letter_looks.show_dead_letters(app, [letter.id for letter in letters.letters[:1]])
    await letter_acts.replay_dead_letters(app, None, even_if_open=True)
    await letter_acts.discard_dead_letters(app, None)
    await operations.open_circuit(app, "a test", "me")
    await app.reports()
    await operations.close_circuit(app, "a test", "me")
    await operations.list_runs(app)
    await operations.list_lost(app)
    status = await operations.read_status(app)
    await app.aclose()
    found = await doctor(
        env_for(cluster, target, REDIS_CLUSTER="true", HASH_VERSION_FIELD=target.hash_version_field or "")
    )

    assert [one.outcome for one in reports] != []
    assert {one.error for one in reports} == {None}
    assert reports[0].lost == 1
    assert status.found["error"] is None
    assert [one for one in found if one.health is Health.FAIL] == []
    wide = [command[:2] for command in sent if len({slot_of(key) for key in keys_of(command)}) > 1]
    assert {command[0] for command in wide} <= ({"EVAL"} if "forward_stream" in changes else set())
    assert [str(error) for error in refused] == []


def note_what_is_sent(monkeypatch: pytest.MonkeyPatch, sent: list[Any], refused: list[Exception]) -> None:
    """Note every command that goes to a cluster, and every answer that it is about several slots."""
    send, transaction = module.Cluster.send, module.Cluster.transaction

    async def noted(self: module.Cluster, commands: Any, **more: Any) -> Any:
        sent.extend(commands)
        replies = await send(self, commands, **more)
        refused.extend(
            one for one in replies if isinstance(one, Exception) and "CROSSSLOT" in repr(one) and len(commands) > 1
        )
        return replies

    async def noted_too(self: module.Cluster, commands: Any) -> Any:
        sent.extend(commands)
        assert len({slot_of(key) for command in commands if (key := key_of(command))}) <= 1 or "XADD" in commands[0]
        return await transaction(self, commands)

    monkeypatch.setattr(module.Cluster, "send", noted)
    monkeypatch.setattr(module.Cluster, "transaction", noted_too)


async def test_a_plain_client_is_told_which_setting_to_set(cluster: Cluster) -> None:
    """Its stream is on another node."""
    target = a_target(stream=name_on(1))
    given_on(cluster, target, Held(tweet(1)))
    app = App(replace(settings_of(cluster, target), cluster=False))

    (report,) = await app.reports()
    await app.aclose()

    assert report.outcome is Outcome.FAILED
    assert isinstance(report.error, Unsuitable)
    assert "set REDIS_CLUSTER=true" in str(report.error)


async def test_a_server_that_is_no_cluster_is_told_with_the_setting(server: Endpoint) -> None:
    """As it is with the policies EnterpriseCluster and NoCluster."""
    app = App(settings_for(server, cluster=True))

    (report,) = await app.reports()
    await app.aclose()

    assert isinstance(report.error, Unsuitable)
    assert "leave REDIS_CLUSTER out" in str(report.error)


async def test_a_user_with_the_documented_permissions_may_do_all(cluster: Cluster) -> None:
    """A run and the doctor, also where a slot is on its way to another node."""
    target = a_target(stream=name_on(0), hash_version_field="v")
    given_on(cluster, target, *held(range(20)))
    with cluster.client(cluster.nodes[0]) as client:
        known = {row[0].decode() for row in client.execute_command("COMMAND")}
    rules = [f"+{one.lower()}" for one in documented() if one.partition("|")[0].lower() in known]
    keys = (f"~{target.stream}", f"~{{{target.stream}}}:reclaim:g:*", "~tweet:*")
    for node in cluster.nodes:
        cluster.ask(node, "ACL", "SETUSER", "app", "reset", "on", ">pw", *rules, *keys)
    login = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw", "REDIS_CLUSTER": "true", "HASH_VERSION_FIELD": "v"}
    slot, to = slot_of(b"tweet:3"), cluster.primaries[(slot_of(b"tweet:3") * 3 // 16_384 + 1) % 3]
    back = cluster.owner_of(slot)
    app = App(settings_of(cluster, target, username="app", password="pw"))
    try:
        await app.server.call("GET", target.keys.lease)
        cluster.begin_move(slot, to)
        found = await doctor(env_for(cluster, target, **login))
        (report,) = await app.run()
        asked = await app.server.call("HGET", b"tweet:3", b"id")
    finally:
        await app.aclose()
        cluster.carry(slot, to)
        cluster.end_move(slot, to)
        cluster.move_slot(slot, back)
        for node in cluster.nodes:
            cluster.ask(node, "ACL", "DELUSER", "app")

    assert [(one.about, one.what) for one in found if one.health is Health.FAIL] == []
    assert (report.acknowledged, asked) == (20, b"3")


@pytest.mark.parametrize("without", ["wait", "cluster"])
async def test_a_user_who_lacks_what_only_a_cluster_needs_is_told(cluster: Cluster, without: str) -> None:
    """By the run and by the doctor."""
    target = a_target(stream=name_on(0))
    given_on(cluster, target, *held(range(3)))
    for node in cluster.nodes:
        cluster.ask(node, "ACL", "SETUSER", "app", "reset", "on", ">pw", "~*", "+@all", f"-{without}")
    app = App(settings_of(cluster, target, username="app", password="pw"))
    try:
        (report,) = await app.reports()
        login = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw", "REDIS_CLUSTER": "true"}
        found = await doctor(env_for(cluster, target, **login))
    finally:
        await app.aclose()
        for node in cluster.nodes:
            cluster.ask(node, "ACL", "DELUSER", "app")

    assert isinstance(report.error, AccessDenied)
    assert report.error.command == without.upper()
    assert pending_on(cluster, target) == 3
    assert any(f"+{without}" in one.todo for one in found if one.health is Health.FAIL)


async def test_a_script_that_a_node_does_not_know_is_sent_whole(cluster: Cluster) -> None:
    """The script's text went to another node; as after a failover too, or SCRIPT FLUSH."""
    text = "return redis.call('HSET', KEYS[1], 'f', ARGV[1])"
    sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    names = [name_on(at) for at in (0, 1, 1, 2)]
    calls = [("EVAL", text, 1, names[0], 1), *(("EVALSHA", sha, 1, name, 1) for name in names[1:])]
    for node in cluster.primaries:
        cluster.ask(node, "SCRIPT", "FLUSH")
    server = connect(settings_of(cluster))

    replies = await server.batch(calls)
    await server.aclose()

    assert replies == [1, 1, 0, 1]


async def test_a_node_that_cannot_be_reached_is_named_with_what_announces_it(cluster: Cluster) -> None:
    """As behind a NAT: what is on the other nodes is served."""
    server = connect(settings_of(cluster))
    here, away = name_on(0).encode(), name_on(1).encode()
    await server.call("GET", here)
    topology = server.cluster._topology
    topology.places[slot_of(away)] = Place(HOST, 1)

    answer, error = await server.batch([("GET", here), ("GET", away)])
    topology.places[slot_of(away)] = Place(HOST, 1)
    topology._is_doubted = False
    with pytest.raises(Unreachable) as raised:
        await server.call("GET", away)
    await server.aclose()

    assert answer is None
    assert isinstance(error, Unreachable)
    assert f"the cluster at {HOST}:{cluster.port} announces this address" in str(raised.value)


@pytest.mark.skipif("redis-7.0" not in available() and not IN_CI, reason="only Debian's speaks TLS")
async def test_certificates_are_checked_against_the_name_that_was_given(tmp_path: Path) -> None:
    """As on Azure: nodes announce IP addresses, and their certificate has a name only."""
    authority, pem, ca_file = trustme.CA(), tmp_path / "server.pem", str(tmp_path / "ca.pem")
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(ca_file)
    targets = targets_on_each()
    with Cluster("redis-7.0", tls_pem=pem, ca_file=ca_file) as cluster:
        for at, target in enumerate(targets):
            given_on(cluster, target, *held(range(30 * at, 30 * at + 30)))
        app = App(settings_of(cluster, *targets, host="localhost", tls=True, ca_file=ca_file))
        reports = await app.run()
        await app.aclose()
        by_ip = App(settings_of(cluster, *targets, tls=True, ca_file=ca_file))
        (refused, *_) = await by_ip.reports()
        await by_ip.aclose()

        assert [report.acknowledged for report in reports] == [30, 30, 30]
        assert len(stored_on(cluster)) == 90
    assert isinstance(refused.error, NotTrusted)


@pytest.mark.parametrize("endpoint", ["unknown-endpoint", "hostname"])
async def test_a_node_without_an_address_is_where_the_answer_came_from(cluster: Cluster, endpoint: str) -> None:
    """What a node announces is a matter of its configuration."""
    for node in cluster.nodes:
        cluster.ask(node, "CONFIG", "SET", "cluster-preferred-endpoint-type", endpoint)
    try:
        target = a_target(stream=name_on(2))
        given_on(cluster, target, *held(range(30)))
        app = App(settings_of(cluster, target))
        (report,) = await app.run()
        await app.aclose()
    finally:
        for node in cluster.nodes:
            cluster.ask(node, "CONFIG", "SET", "cluster-preferred-endpoint-type", "ip")

    assert report.acknowledged == 30


def test_the_table_knows_every_slot_as_the_server_does(cluster: Cluster) -> None:
    """Tags, empty tags, braces in any order."""
    keys = [b"a", b"{a}b", b"b{a}", b"{}a", b"{{a}}", b"a}{b", b"a{b", b"{a}{b}", b"\xff\x00", b""]

    assert [slot_of(key) for key in keys] == [cluster.ask(cluster.nodes[0], "CLUSTER", "KEYSLOT", key) for key in keys]


def test_the_table_has_every_command_of_the_list_of_permissions() -> None:
    """Each key is found where the list puts it."""
    target = a_target(hash_version_field="v", delete_acknowledged=True, handler="forward", forward_stream="to")
    for key, _, many in _uses(target, b"tweet:1"):
        assert {key_of(_whole(command, key)) for command in many} <= {key, None}


async def test_the_doctor_tells_of_a_cluster_what_is_wrong_with_it() -> None:
    """A primary without a replica, and one that is away."""
    target = a_target(stream=name_on(0))
    with Cluster(KIND, replicas=0, cluster_require_full_coverage="no") as cluster:
        given_on(cluster, target)
        found = await doctor(env_for(cluster, target, REDIS_CLUSTER="true"))
        cluster.primaries[2].kill()
        after = await doctor(env_for(cluster, target, REDIS_CLUSTER="true"))

    assert any("3 primaries, 0 replicas" in one.what for one in found if one.health is Health.WARN)
    assert [one for one in found if one.health is Health.FAIL] == []
    assert any(f"{HOST}:{cluster.primaries[2].port}" in one.what for one in after if one.health is Health.FAIL)


def test_a_command_that_the_table_lacks_is_an_error() -> None:
    """Nobody knows where it would go."""
    with pytest.raises(LookupError, match="'LPUSH'"):
        key_of(("LPUSH", "a", "b"))
