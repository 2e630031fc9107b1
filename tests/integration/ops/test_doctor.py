"""The doctor on every server: what it finds, what it says to do, and that it changes nothing."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dev.proxy import ErrorReply, Fault, Proxy
from dev.server import HOST, Server, available
from reclaim.app import App
from reclaim.ops.checks import Check
from reclaim.ops.doctor import Checkup, _clock, doctor
from reclaim.ops.health import Health
from reclaim.ops.permissions import CONNECTING, OF_CLUSTER, OF_PATTERNS, QUESTIONS, TRANSACTIONS, _uses, whole_rule
from reclaim.settings import Target
from tests.support import (
    Client,
    Endpoint,
    HasPort,
    Held,
    State,
    a_target,
    env_for,
    given,
    held,
    lived_in,
    raw_client,
    settings_for,
    state,
    stored,
    tweet,
)

PACKAGE = Path(__file__).parents[3] / "reclaim"
DOCS = PACKAGE.parent / "docs"


async def findings(place: HasPort, **settings: str) -> list[Check]:
    return await doctor(env_for(place, **settings))


def of(found: list[Check], about: str) -> list[tuple[str, str, str]]:
    """What was found about one thing."""
    return [(one.health.value, one.what, one.todo) for one in found if one.about == about]


def wrong(found: list[Check]) -> list[tuple[str, str, str]]:
    """All that is not ok."""
    return [(one.about, one.what, one.todo) for one in found if one.health is not Health.OK]


# --- all is well -----------------------------------------------------------------------------------------------------


async def test_where_all_is_well(server: Endpoint, client: Client) -> None:
    """Every line is ok, and says what was found."""
    given(client, a_target(), *held(range(3)), Held(tweet(9), consumer=None))
    path = (
        "idle entries are found with a script, as this server has no XPENDING IDLE"
        if server.kind == "redis-6.0"
        else "idle entries are found with XPENDING IDLE, and above 50,000 pending with a script"
    )

    found = await findings(server)

    assert wrong(found) == []
    assert [one.about for one in found] == [
        *("settings", "connection", "TLS", "user", "server", "memory", "scripts", "clock"),
        *("s/g",) * 4,
    ]
    said = {one.about: one.what for one in found[:8]}
    assert re.fullmatch(rf"127\.0\.0\.1:{server.port} answers in [0-9.]+ ms", said["connection"])
    assert said["TLS"] == "off, and the server is on this machine"
    assert said["user"] == "default, without a password"
    name, version = server.kind.title().split("-") if server.proxy is None else ("Redis", "7.0")
    assert said["server"].startswith(f"{name} {version}.")
    assert said["memory"] == "maxmemory is not set, so nothing is evicted"
    assert re.fullmatch(r"within 0\.\d{3} s of ours", said["clock"])
    assert of(found, "s/g") == [
        ("ok", "the stream has 4 entries, the group 3 pending", ""),
        ("ok", path, ""),
        ("ok", "the newest entry, 4-0, would be stored at tweet:9", ""),
        ("ok", "the user may run every command that is needed", ""),
    ]


async def test_it_changes_nothing(server: Endpoint, client: Client) -> None:
    """Not a key, not a consumer, not an entry, and no connection is left in a transaction."""
    given(client, a_target(), *held(range(3)))

    def snapshot() -> list[object]:
        rows = client.execute_command("XPENDING", "s", "g", "-", "+", 10)
        asked = [("KEYS", "*"), ("XLEN", "s"), ("XPENDING", "s", "g")]
        return [*(client.execute_command(*command) for command in asked), [row[:2] + row[3:] for row in rows]]

    before = snapshot()
    names = {row[1] for row in client.execute_command("XINFO", "CONSUMERS", "s", "g")}

    await findings(server)

    assert snapshot() == before
    assert {row[1] for row in client.execute_command("XINFO", "CONSUMERS", "s", "g")} == names


# --- settings --------------------------------------------------------------------------------------------------------


async def test_bad_settings_are_all_found_and_nothing_is_connected_to(embedded_proxy: Proxy) -> None:
    """Each with its own line; secrets are not among them."""
    found = await findings(embedded_proxy, LANES="many", STREAM_NAME="", ALERT_WEBHOOK_URL="s3cret", REDIS_PASWORD="x")

    assert [one.health.value for one in found] == ["fail", "fail", "fail", "warn"]
    assert {one.about for one in found} == {"settings"}
    assert "LANES is 'many'" in str(found)
    assert "STREAM_NAME is missing" in str(found)
    assert "s3cret" not in str(found)
    assert found[-1] == Check(
        Health.WARN, "settings", "REDIS_PASWORD is no setting of ours", "if REDIS_PASSWORD is meant, call it that"
    )
    assert embedded_proxy.commands == []


async def test_settings_are_shown_with_secrets_masked() -> None:
    """What is set, and no more."""
    with Server("valkey-9", requirepass="pa55") as server:
        found = await findings(server, REDIS_PASSWORD="pa55", ALERT_WEBHOOK_URL="http://h/k3y", HASH_KEY="t:{id}")

    assert found[0].what == (
        "ALERT_WEBHOOK_URL=***, HASH_KEY=t:{id}, MIN_IDLE_TIME_SEC=10, PAGE_SIZE=500, "
        f"REDIS_HOST=127.0.0.1:{server.port}, REDIS_PASSWORD=***, REDIS_TLS=false, "
        "STREAM_CONSUMER_GROUP_NAME=g, STREAM_NAME=s"
    )
    assert "pa55" not in str(found)
    assert "k3y" not in str(found)
    assert of(found, "user") == [("ok", "default, with a password", "")]


async def test_a_handler_that_cannot_be_loaded(embedded: Endpoint, client: Client) -> None:
    """It is a setting that is wrong; the server is looked at all the same."""
    given(client, a_target())

    found = await findings(embedded, HANDLER="no_such_module:handle")

    assert [one[0] for one in wrong(found)] == ["settings"]
    assert "HANDLER is 'no_such_module:handle'" in wrong(found)[0][1]
    assert of(found, "server")[0][0] == "ok"


# --- connection ------------------------------------------------------------------------------------------------------


async def test_a_server_that_is_away(embedded_proxy: Proxy) -> None:
    """What to look at is said; nothing else is guessed."""
    embedded_proxy.refuse()

    found = await findings(embedded_proxy)

    ((about, what, todo),) = wrong(found)
    assert (about, "connection to 127.0.0.1" in what) == ("connection", True)
    assert "REDIS_HOST" in todo
    assert found[-1].about == "connection"


async def test_a_connection_that_breaks_half_way(client: Client, embedded_proxy: Proxy) -> None:
    """It is a finding, not an exception."""
    given(client, a_target())
    embedded_proxy.when("MULTI", Fault.CUT_BEFORE, times=None)

    found = await findings(embedded_proxy)

    assert [one[0] for one in wrong(found)] == ["connection"]


@pytest.mark.parametrize("kind", available())
async def test_credentials(kind: str) -> None:
    """A password that is wrong, missing, or right."""
    with Server(kind, requirepass="right") as server:
        bad = await findings(server, REDIS_PASSWORD="wr0ng")
        missing = await findings(server)
        with raw_client(server.port, password="right") as client:
            given(client, a_target())
        right = await findings(server, REDIS_PASSWORD="right")

    for found in (bad, missing):
        assert [(about, todo) for about, _, todo in wrong(found)] == [
            ("connection", "check REDIS_USERNAME and REDIS_PASSWORD")
        ]
    assert "wr0ng" not in str(bad)
    assert wrong(right) == []


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA, tmp_path: Path) -> Iterator[Server]:
    """A Redis that speaks TLS and nothing else."""
    if "redis-7.0" not in available():
        pytest.skip("the only server with TLS is not installed")
    pem = tmp_path / "server.pem"
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(pem))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with Server("redis-7.0", tls_pem=pem) as server:
        yield server


async def test_tls(tls_server: Server, tmp_path: Path) -> None:
    """Which version is spoken; a certificate that is not trusted; a client that does not speak TLS."""
    ca_file = str(tmp_path / "ca.pem")

    trusted = await findings(tls_server, REDIS_TLS="true", REDIS_CA_FILE=ca_file)
    untrusted = await findings(tls_server, REDIS_TLS="true")
    plain = await findings(tls_server)

    assert of(trusted, "TLS") == [("ok", "TLSv1.3, certificate and host name verified", "")]
    assert [(about, "REDIS_CA_FILE" in todo) for about, _, todo in wrong(untrusted)] == [("connection", True)]
    assert [(about, "REDIS_TLS" in todo) for about, _, todo in wrong(plain)] == [("connection", True)]


async def test_a_process_whose_ca_file_is_gone_is_warned_before_it_needs_it(tls_server: Server, tmp_path: Path) -> None:
    """Its connections go on with what was read; the next process would not even start."""
    ca_file = tmp_path / "ca.pem"
    app = App(settings_for(tls_server, tls=True, ca_file=str(ca_file)))
    try:
        before = of(await Checkup(app.server, app.settings).findings({}), "TLS")
        ca_file.unlink()
        (after,) = of(await Checkup(app.server, app.settings).findings({}), "TLS")
    finally:
        await app.aclose()

    assert before == [("ok", "TLSv1.3, certificate and host name verified", "")]
    assert after[:2] == (
        "warn",
        f"TLSv1.3, but REDIS_CA_FILE is '{ca_file}', which cannot be read any more: No such file or directory",
    )
    assert "put the file back" in after[2]


# --- server ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", available())
@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("allkeys-lru", "maxmemory-policy allkeys-lru, {used} of 100 MiB used: when it is full, the stream"),
        ("volatile-ttl", "maxmemory-policy volatile-ttl, {used} of 100 MiB used: when it is full, our lease"),
        ("noeviction", None),
    ],
)
async def test_a_server_that_may_evict(kind: str, policy: str, says: str | None) -> None:
    """Keys that are in use must not go because memory is short."""
    with Server(kind, maxmemory="100mb", maxmemory_policy=policy) as server, raw_client(server.port) as client:
        given(client, a_target())
        found = await findings(server)

    ((health, what, todo),) = of(found, "memory")
    assert health == ("warn" if says else "ok")
    assert re.match((says or "maxmemory-policy noeviction, {used} of 100 MiB used$").replace("{used}", r"\d+%"), what)
    assert todo == ("set maxmemory-policy noeviction" if says else "")


@pytest.mark.parametrize("kind", available())
async def test_a_server_that_is_full(kind: str) -> None:
    """What would fail is named, once for each error."""
    with Server(kind) as server, raw_client(server.port) as client:
        given(client, a_target())
        client.execute_command("CONFIG", "SET", "maxmemory", "1")
        found = await findings(server)

    assert [one[0] for one in of(found, "memory")] == ["warn"]
    assert any("would fail: OOM" in what for _, what, _ in of(found, "s/g"))


@pytest.mark.parametrize("kind", available())
async def test_a_replica(kind: str) -> None:
    """It takes no writes, so no run can work there."""
    with Server(kind) as primary, Server(kind) as replica:
        with raw_client(primary.port) as client:
            given(client, a_target())
        with raw_client(replica.port) as client:
            client.execute_command("REPLICAOF", HOST, primary.port)
            while b"master_link_status:up" not in client.execute_command("INFO", "replication"):
                time.sleep(0.01)  # noqa: ASYNC251  # nothing else is going on
        found = await findings(replica)

    assert (
        "fail",
        f"a replica of {HOST}:{primary.port}, which takes no writes",
        "let REDIS_HOST name the primary",
    ) in (of(found, "server"))
    assert any("READONLY" in what for _, what, _ in of(found, "s/g"))


@pytest.mark.parametrize(
    ("server_time", "health", "what"),
    [
        (1000.0, "ok", "within 0.100 s of ours"),
        (1001.0, "ok", "within 0.900 s of ours"),
        (999.0, "ok", "within 1.000 s of ours"),
        (1001.2, "warn", "the server's is 1.1 s ahead of ours"),
        (700.0, "warn", "the server's is 300.0 s behind ours"),
    ],
)
def test_clocks_that_are_apart(server_time: float, health: str, what: str) -> None:
    """More than a second is worth a look; how long the question took is not held against the server."""
    found = _clock(server_time, 1000.0, 1000.1)

    assert (found.health.value, found.what) == (health, what)


# --- permissions -----------------------------------------------------------------------------------------------------


async def test_a_user_who_may_not_do_all(server: Endpoint, client: Client) -> None:
    """What is missing is named, and following the advice to the letter makes it work."""
    target = a_target(hash_version_field="v")
    given(client, target, *held(range(3)))
    client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~s", "+@all", "-@dangerous", "-xclaim", "-hset")
    asked = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw", "HASH_VERSION_FIELD": "v"}
    try:
        found = await findings(server, **asked)
        ((_, what, todo),) = [one for one in of(found, "s/g") if one[0] == "fail"]
        rule = todo.removeprefix("add to the user's rules: ").split()
        client.execute_command("ACL", "SETUSER", "app", *rule)
        after = await findings(server, **asked)
    finally:
        client.execute_command("ACL", "DELUSER", "app")

    assert "run XCLAIM on s" in what
    assert "use keys like {s}:reclaim:g:*" in what
    assert rule == ["+xclaim", "+hset", "~s", "~{s}:reclaim:g:*", "~tweet:*"]
    assert [(about, what[:30]) for about, what, _ in wrong(after)] == [("server", "which server it is cannot be a")]


async def test_a_user_who_may_no_scripts_or_transactions(server: Endpoint, client: Client) -> None:
    """Without MULTI nothing is tried, so that nothing is run."""
    given(client, a_target(), *held(range(1)))
    client.execute_command("ACL", "SETUSER", "app", "on", ">pw", "~*", "+@all", "-eval", "-multi")
    before = client.execute_command("XPENDING", "s", "g")
    try:
        found = await findings(server, REDIS_USERNAME="app", REDIS_PASSWORD="pw")
    finally:
        client.execute_command("ACL", "DELUSER", "app")

    assert [(about, todo) for about, _, todo in wrong(found)] == [
        ("scripts", "allow the user +eval +evalsha"),
        ("s/g", f"add to the user's rules: {whole_rule(a_target(), b'tweet:1')}"),
    ]
    assert client.execute_command("XPENDING", "s", "g") == before
    assert client.execute_command("KEYS", "*") == [b"s"]


def documented() -> list[str]:
    """The commands in docs/operate.md's section about permissions, each once, as rules of an ACL name them."""
    section = (DOCS / "operate.md").read_text(encoding="utf-8").partition("## Permissions")[2].partition("\n## ")[0]
    words = [word for code in re.findall(r"`([A-Z| \n]+)`", section) for word in code.split()]
    return list(dict.fromkeys(words))


def listed(target: Target) -> set[str]:
    """The commands that the doctor knows of, a subcommand after a space."""
    used = {str(command[0]) for _, _, many in _uses(target, b"h") for command in many}
    return used | {*TRANSACTIONS, *QUESTIONS, *CONNECTING, *OF_CLUSTER, *OF_PATTERNS}


def test_the_documented_permissions_are_those_of_the_code() -> None:
    """Whoever writes the rules of a user by the documentation has neither too few commands nor too many."""
    everything = a_target(hash_version_field="v", hash_ttl_sec=60, delete_acknowledged=True)
    assert set(documented()) == {command.replace(" ", "|") for command in listed(everything)}


@pytest.mark.parametrize("without", [set(), {"DISCARD", "ACL|WHOAMI"}], ids=["all", "less"])
async def test_a_user_with_the_documented_permissions_may_do_all(
    server: Endpoint, client: Client, without: set[str]
) -> None:
    """Nothing is missing, neither for a run nor for the doctor; and two are not missed, as it is written there."""
    target, entries = a_target(), held(range(3))
    given(client, target, *entries)
    rules = ["~s", "~{s}:reclaim:g:*", "~tweet:*", *(f"+{one.lower()}" for one in documented() if one not in without)]
    client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    app = App(settings_for(server, target, username="app", password="pw"))
    try:
        found = await findings(server, REDIS_USERNAME="app", REDIS_PASSWORD="pw")
        await app.run()
    finally:
        await app.aclose()
        client.execute_command("ACL", "DELUSER", "app")

    assert wrong(found) == []
    assert state(client, target) == State(hashes=stored(*entries), length=3)


async def test_who_removes_no_consumers_need_not_be_allowed_to(server: Endpoint, client: Client) -> None:
    """As the documentation says of CONSUMER_TTL_HOURS=0."""
    given(client, a_target(), *held(range(3)))
    rules = ("~*", "+@all", "-xgroup", "-xinfo", "+xinfo|stream", "+xinfo|groups")
    client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    user = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw"}
    try:
        removing = await findings(server, **user)
        keeping = await findings(server, **user, CONSUMER_TTL_HOURS="0")
    finally:
        client.execute_command("ACL", "DELUSER", "app")

    ((_, what, _),) = wrong(removing)
    assert what == "the user may not run XINFO CONSUMERS on s, nor run XGROUP DELCONSUMER on s"
    assert wrong(keeping) == []


def test_every_command_that_is_sent_is_on_the_list(client: Client) -> None:
    """Also those inside scripts."""
    first_words = {command.partition(" ")[0] for command in listed(a_target(hash_version_field="v", hash_ttl_sec=60))}
    sent: set[str] = set()
    for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.lua")]:
        if path.stem != "permissions":
            text = path.read_text(encoding="utf-8")
            sent |= set(re.findall(r"redis\.p?call\('([A-Z]+)'", text))
            sent |= set(re.findall(r"local call = \{'([A-Z]+)'", text))
            sent |= set(re.findall(r"""\bcall\(\s*"([A-Z]+)\"""", text))
            sent |= set(re.findall(r"""\(\s*"([A-Z]{3,})",""", text))

    assert {"XCLAIM", "XACK", "ZADD", "HSET", "EVAL", "XDEL", "PEXPIRE", "DISCARD", "INFO", "ACL"} <= sent
    sent &= {row[0].decode().upper() for row in client.execute_command("COMMAND")}
    assert sent - first_words == {"AUTH", "CLIENT"}, "everybody may send AUTH, and CLIENT SETINFO may be refused"


async def test_who_deletes_needs_more_than_who_does_not(server: Endpoint, client: Client) -> None:
    """As the documentation says of DELETE_ACKNOWLEDGED."""
    given(client, a_target(), *held(range(3)))
    rules = ("~*", "+@all", "-xdel", "-xinfo", "+xinfo|stream", "+xinfo|consumers")
    client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", *rules)
    user = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw"}
    try:
        deleting = await findings(server, **user, DELETE_ACKNOWLEDGED="true")
    finally:
        client.execute_command("ACL", "DELUSER", "app")

    ((_, what, _),) = wrong(deleting)
    assert "run XINFO GROUPS on s" in what
    assert "run XDEL on s" in what


# --- other groups ----------------------------------------------------------------------------------------------------

QUEUE = {"DELETE_ACKNOWLEDGED": "true"}


async def test_a_queue_with_one_group(server: Endpoint, client: Client) -> None:
    given(client, a_target(), *held(range(3)))

    found = await findings(server, **QUEUE)

    assert wrong(found) == []
    what = "DELETE_ACKNOWLEDGED: no other group reads the stream, so nothing keeps entries in it"
    assert ("ok", what, "") in of(found, "s/g")


async def test_groups_that_keep_entries_in_a_queue_are_named(server: Endpoint, client: Client) -> None:
    """One was never read, one is behind, one holds entries; one keeps nothing and is not named."""
    given(client, a_target(), *held(range(3)))
    for group, reads in (("never", 0), ("behind", 1), ("holder", 3), ("done", 3)):
        client.execute_command("XGROUP", "CREATE", "s", group, "0")
        if reads:
            client.execute_command("XREADGROUP", "GROUP", group, "c", "COUNT", reads, "STREAMS", "s", ">")
    client.execute_command("XACK", "s", "behind", "1-0")
    client.execute_command("XACK", "s", "done", "1-0", "2-0", "3-0")

    found = await findings(server, **QUEUE)
    without = await findings(server)

    ((about, what, todo),) = wrong(found)
    named = {"never (it has never read)", "behind (it has read up to 1-0)", "holder (it holds 3 pending)"}
    assert about == "s/g"
    assert what.startswith("DELETE_ACKNOWLEDGED: entries stay in the stream for 3 other groups: ")
    assert set(what.rpartition(": ")[2].split(", ")) == named
    assert "XGROUP DESTROY s" in todo
    assert wrong(without) == []


async def test_other_groups_of_a_queue_that_keep_nothing(server: Endpoint, client: Client) -> None:
    """A person is told of them all the same: what all have read is gone for good."""
    given(client, a_target(), *held(range(3)))
    client.execute_command("XGROUP", "CREATE", "s", "late", "$")

    found = await findings(server, **QUEUE)

    ((_, what, todo),) = wrong(found)
    assert what == "DELETE_ACKNOWLEDGED: the stream is also read by another group: late"
    assert "XGROUP SETID" in todo


async def test_groups_that_would_see_requeued_entries_twice_are_named(server: Endpoint, client: Client) -> None:
    """With DELETE_ACKNOWLEDGED too; a group that is alone has nothing to fear."""
    given(client, a_target(), *held(range(3)))
    alone = await findings(server, HANDLER="requeue")
    client.execute_command("XGROUP", "CREATE", "s", "other", "0")

    beside = await findings(server, HANDLER="requeue")
    deleting = await findings(server, HANDLER="requeue", **QUEUE)

    assert wrong(alone) == []
    ((about, what, _),) = wrong(beside)
    assert about == "s/g"
    assert what == "HANDLER=requeue: the stream is also read by another group, and sees requeued entries twice: other"
    assert what in {told for _, told, _ in wrong(deleting)}


async def test_the_stream_to_forward_to(server: Endpoint, client: Client) -> None:
    """There, not there yet, or no stream at all."""
    given(client, a_target(), *held(range(3)))
    forward = {"HANDLER": "forward", "FORWARD_STREAM": "f"}

    missing = await findings(server, **forward)
    client.execute_command("XADD", "f", "*", "a", "1")
    there = await findings(server, **forward)
    client.execute_command("DEL", "f")
    client.execute_command("SET", "f", "a string")
    string = await findings(server, **forward)

    ((_, what, _),) = wrong(missing)
    assert what.startswith("the stream f is not there yet")
    assert wrong(there) == []
    assert ("ok", "entries are forwarded to the stream f", "") in of(there, "s/g")
    assert [what for _, what, _ in wrong(string)] == ["the key f is not a stream"]


async def test_names_that_a_hash_would_lose(server: Endpoint, client: Client) -> None:
    """Of the newest entry: a name that occurs twice, and one that HASH_VERSION_FIELD would overwrite."""
    lived_in(client, a_target())
    given(client, a_target(), Held([*tweet(1), b"\xac\xed", b"", b"tag", b"1", b"tag", b"2"]))

    found = await findings(server, HASH_VERSION_FIELD=r"\xac\xed")

    assert [(one.health.value, one.what) for one in found if one.health is not Health.OK] == [
        ("fail", r"the newest entry, 1-0, has a field called \xac\xed, like HASH_VERSION_FIELD"),
        ("warn", "the newest entry, 1-0, has the field tag more than once"),
    ]


# --- targets ---------------------------------------------------------------------------------------------------------


async def test_streams_and_groups_that_are_not_there(server: Endpoint, client: Client) -> None:
    """Each target has its own lines; what to type is said."""
    given(client, a_target())
    client.execute_command("SET", "text", "x")
    targets = '[{"stream": "none", "group": "g"}, {"stream": "s", "group": "late"}, {"stream": "text", "group": "g"}]'

    found = await findings(server, RECLAIM_TARGETS=targets)

    assert wrong(found) == [
        ("none/g", "the stream none is not there", "check STREAM_NAME; or make it: XGROUP CREATE none g 0 MKSTREAM"),
        (
            "s/late",
            "the stream is there, but not its group late",
            "check STREAM_CONSUMER_GROUP_NAME, or XGROUP CREATE s late 0",
        ),
        ("text/g", "the key text is not a stream", "check STREAM_NAME"),
    ]


async def test_entries_that_were_trimmed_while_pending(server: Endpoint, client: Client) -> None:
    """They are lost already, and the next run will say so."""
    given(client, a_target(), *held(range(5)))
    client.execute_command("XTRIM", "s", "MAXLEN", 2)

    found = await findings(server)

    ((about, what, todo),) = wrong(found)
    assert (about, what) == ("s/g", "entries from 1-0 on are pending but trimmed or deleted")
    assert "MAXLEN" in todo


@pytest.mark.G9
async def test_a_hash_key_that_does_not_fit(server: Endpoint, client: Client) -> None:
    """What would become a dead letter is seen before it does."""
    given(client, a_target(), *held(range(2)))

    found = await findings(server, HASH_KEY="tweet:{uid}")

    (_, pending, _), (about, what, todo) = wrong(found)
    assert pending.startswith("HASH_KEY fits no entry that was looked at (2 were): no field 'uid' for 'tweet:{uid}'; ")
    assert (about, what) == ("s/g", "the newest entry, 2-0, has no field 'uid' for 'tweet:{uid}'")
    assert "HASH_KEY" in todo


async def test_a_server_that_does_not_say_which_it_is(client: Client, embedded_proxy: Proxy) -> None:
    """Managed services forbid some questions; the answer is a warning, and the rest is looked at."""
    given(client, a_target())
    for name in ("INFO", "ACL"):
        embedded_proxy.when(name, ErrorReply(f"ERR unknown command '{name}'"), times=None)

    found = await findings(embedded_proxy)

    assert [one[0] for one in wrong(found)] == ["server"]
    assert of(found, "user") == [("ok", "default, without a password", "")]
    assert of(found, "s/g")[-1][0] == "ok"


# --- what is met there instead ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", available())
@pytest.mark.parametrize("lacks", ["-@all +@read +@write", "+@all -eval -multi", "+@all -select", "-@all"])
async def test_what_a_limited_user_lacks_is_named_at_once(kind: str, lacks: str) -> None:
    """Whoever asks an administrator wants to ask once: every command and every key that runs and doctor need."""
    target, entries = a_target(hash_version_field="v"), held(range(3))
    with Server(kind) as server, raw_client(server.port, db=1) as client:
        given(client, target, *entries)
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">pw", "~s", *lacks.split())
        asked = {"REDIS_USERNAME": "app", "REDIS_PASSWORD": "pw", "REDIS_DB": "1", "HASH_VERSION_FIELD": "v"}
        if lacks != "+@all -select":
            client.execute_command("ACL", "SETUSER", "app", "+select")
        found = await findings(server, **asked)
        rules = {word for one in found if one.health is Health.FAIL for word in one.todo.split() if word[0] in "+~"}
        client.execute_command("ACL", "SETUSER", "app", *rules)
        after = await findings(server, **asked)
        app = App(settings_for(server, target, username="app", password="pw", db=1))
        await app.run()
        await app.aclose()

        assert rules
        assert {one.what for one in after if one.health is Health.FAIL} == set()
        assert len(state(client, target).hashes) == 3


@pytest.mark.parametrize("kind", available())
async def test_a_server_without_scripts_is_not_taken_for_a_matter_of_permissions(kind: str) -> None:
    """No administrator of users can help."""
    with Server(kind, rename_command=("EVAL", "")) as server, raw_client(server.port) as client:
        given(client, a_target())
        found = await findings(server)

    ((about, what, todo),) = [one for one in wrong(found) if one[0] != "s/g" or "EVALSHA" not in one[1]]
    assert (about, "runs no scripts" in what) == ("scripts", True)
    assert todo == "choose a server that has EVAL: a provider may have renamed it or taken it away"


async def test_a_node_that_has_not_the_stream_is_told_with_the_setting(client: Client, embedded_proxy: Proxy) -> None:
    """As every command about the stream is answered there."""
    given(client, a_target())
    for name in ("XINFO", "XPENDING"):
        embedded_proxy.when(name, ErrorReply("MOVED 105 10.0.0.7:6379"), times=None)

    found = await findings(embedded_proxy)

    assert {(about, todo.partition(",")[0]) for about, _, todo in wrong(found)} == {("s/g", "set REDIS_CLUSTER=true")}


async def test_settings_that_are_odd_are_warned_of(embedded: Endpoint, client: Client) -> None:
    """Also where others are bad."""
    given(client, a_target())
    odd = {"REDIS_SENTINEL": "mymaster", "REDIS_SSL": "false"}

    good = await findings(embedded, **odd)
    bad = await findings(embedded, **odd, LANES="many")

    told = ["REDIS_SENTINEL is no setting of ours", "REDIS_SSL is no setting of ours"]
    assert [what for _, what, _ in wrong(good)] == told
    assert [what for _, what, _ in wrong(bad)][1:] == told


async def test_a_url_is_no_more_shown_than_a_password(embedded: Endpoint, client: Client) -> None:
    """The address alone, which the connection names."""
    given(client, a_target())
    url = f"redis://default:s3cret@{HOST}:{embedded.port}/0"

    found = await findings(embedded, REDIS_URL=url, REDIS_HOST="")

    assert f"REDIS_URL=***{HOST}:{embedded.port}***" in found[0].what
    assert "s3cret" not in str(found)
