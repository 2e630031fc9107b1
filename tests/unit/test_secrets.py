"""Secrets: whatever was pasted wherever, nothing that is said holds a piece of it."""

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.exceptions import RedisError

from reclaim.app import App
from reclaim.errors import ReclaimError, SettingsError, describe
from reclaim.ops.doctor import doctor
from reclaim.settings import OF_TARGET, TABLE, Settings

CANARY = "c4n4ry7"
NOWHERE = "127.0.0.1:1"  # nobody listens there
LEAST = {"REDIS_HOST": NOWHERE, "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
SECRETS = [row.name for row in TABLE if row.kind.is_secret]
NO_SECRETS = [row.name for row in TABLE if not row.kind.is_secret]

# A secret in all the places where people put one, between any characters that mean something there.
PASTED = st.sampled_from(
    [
        "redis://:{}@%s/0",
        "redis://u:{}@%s/one",
        "redis://%s/0?password={}",
        "redis://%s?ssl_cert_reqs={}",
        "redis://u:p@%s/{}",
        "unix://:{}@/nowhere/redis.sock",
        "unix:///nowhere/redis.sock?password={}",
        "http://u:{}@%s/",
        "%s,password={},ssl=False,abortConnect=False",
        "%s,ssl=False,{}=1",
        "%s password={}",
        "%s, password={}",
        "u:{}@%s",
        "password={}",
        '{{"password": "{}"}}',
        "AccountEndpoint=https://h/;AccountKey={}",
        "SharedAccessSignature sig={}",
        "redis-cli -h %s -a {}",
        "AUTH {}",
        "requirepass {}",
        "pw={}",
        "redis://:{}",
        "redis://%s#{}",
    ]
)
AROUND = st.text(st.sampled_from("@/?#&,;=: %\\\"'{}xX1.-\n"), max_size=4)


@st.composite
def pasted(draw: st.DrawFn) -> str:
    """A text with the secret in it."""
    template = draw(PASTED).replace("%s", NOWHERE)
    before, after = template.replace("{{", "\0").replace("}}", "\1").split("{}")
    text = f"{before}{draw(AROUND)}{CANARY}{draw(AROUND)}{after}"
    return text.replace("\0", "{").replace("\1", "}")


@contextmanager
def logged() -> Iterator[list[str]]:
    """What is logged meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("reclaim")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


async def said(env: dict[str, str]) -> str:
    """All that is said of an environment: by the settings, by an app that is started, and by the doctor."""
    texts = [str(one) for one in await doctor(env)]
    with logged() as lines:
        try:
            made = Settings.from_env(env)
            texts += [repr(made), str(made.warnings)]
            app = App(made)
            await app.server.call("PING")
        except (ReclaimError, RedisError) as exc:
            texts.append(describe(exc))
    return "\n".join(texts + lines)


@pytest.mark.G9
@settings(max_examples=150, deadline=None)
@given(st.sampled_from([*SECRETS, "REDIS_HOST", "REDIS_CONNECTION_STRING", "REDIS_PASS", "REDIS_PORT"]), pasted())
def test_a_secret_is_said_nowhere(name: str, value: str) -> None:
    """Whichever of these settings holds it, in whichever form, and whether the value is good or not."""
    env = LEAST | {"REDIS_TLS": "false", "RETRY_ATTEMPTS": "1", name: value}
    if name == "REDIS_URL":
        del env["REDIS_HOST"], env["REDIS_TLS"]

    assert CANARY not in asyncio.run(said(env))


@pytest.mark.G9
@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NO_SECRETS), listed=st.booleans(), value=pasted())
def test_a_url_or_a_connection_string_in_the_wrong_setting_is_not_shown(*, name: str, listed: bool, value: str) -> None:
    """Where it is refused. Of a name, say, it is a good value, and shown as one."""
    keys = {row.name: row.key for row in OF_TARGET}
    env = LEAST | {name: value}
    if listed and name in keys:
        env = LEAST | {"RECLAIM_TARGETS": json.dumps([{"stream": "s", "group": "g", keys[name]: value}])}
    refused = ""
    try:
        Settings.from_env(env)
    except SettingsError as exc:
        refused = str(exc)

    assert CANARY not in refused


@pytest.mark.G9
@pytest.mark.parametrize(
    "text",
    [
        f'[{{"stream": "s", "group": "g", "handler": {CANARY}}}]',
        f'[{{"stream": "s", "group": "g", "{CANARY}": 1}}]',
        f'[{{"stream": "s", "group": "g", "lanes": {{"password": "{CANARY}"}}}}]',
        f'"{CANARY}"',
        CANARY,
    ],
)
def test_the_list_of_targets_is_never_shown_whole(text: str) -> None:
    """Only a place in it, and of a value that is no secret the value."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"RECLAIM_TARGETS": text})

    (problem,) = caught.value.problems
    assert problem.startswith("RECLAIM_TARGETS")
    assert CANARY not in problem


@pytest.mark.G9
@pytest.mark.parametrize(
    "text",
    [
        f"redis-cli -h h -a {CANARY}",
        f"--pass {CANARY}",
        f"AUTH {CANARY}",
        f"requirepass {CANARY}",
        f"pw={CANARY}",
        f"redis://:{CANARY}",
        f"redis://h/{CANARY}",
        f"https://h/#{CANARY}",
    ],
)
def test_a_command_or_half_a_url_in_the_wrong_setting_is_not_shown(text: str) -> None:
    """And what is nothing of that kind is shown, because it helps."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"LANES": text, "REDIS_TLS": "ture", "PAGE_SIZE": "-5"})

    assert [one.partition(";")[0] for one in caught.value.problems] == [
        "REDIS_TLS is 'ture'",
        "PAGE_SIZE is '-5'",
        "LANES is '***'",
    ]


def test_what_comes_after_an_ipv6_address_is_not_shown() -> None:
    """A zone can be any text, and so a password."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"REDIS_HOST": f"fe80::1%{CANARY}"})

    (problem,) = caught.value.problems
    assert problem.startswith("REDIS_HOST is '***'; allowed: host or host:port")
    assert CANARY not in problem


def test_a_password_in_redis_auth_is_not_shown() -> None:
    """Other programs take it there."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"REDIS_AUTH": CANARY})

    assert caught.value.problems == ["REDIS_AUTH is '***'; allowed: password or entra"]


def test_json_that_cannot_be_read_is_told_of_by_its_place() -> None:
    """Which is all that helps, and holds no secret."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"RECLAIM_TARGETS": '[{"stream": "s",\n "group" "g"}]'})

    (problem,) = caught.value.problems
    assert problem.startswith("RECLAIM_TARGETS is '***'; allowed: a JSON list of at least one object ")
    assert problem.endswith("(Expecting ':' delimiter in line 2, column 10)")


def test_a_bad_setting_that_targets_share_is_told_of_once_and_by_its_own_name() -> None:
    """It stands in no object of the list."""
    listed = '[{"stream": "a", "group": "g"}, {"stream": "b", "group": "g", "lanes": "0"}]'
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"LANES": "many", "PAGE_SIZE": "many", "RECLAIM_TARGETS": listed})

    assert [problem.partition(";")[0] for problem in caught.value.problems] == [
        "PAGE_SIZE is 'many'",
        "LANES is 'many'",
        "RECLAIM_TARGETS[1].lanes is '0'",
    ]


# --- what comes with a secret ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "used", "is_said"),
    [
        ("pass", "pass", False),
        ("pass\n", "pass", True),
        ("pass\r\n", "pass", True),
        ("pass\n\n", "pass\n", True),
        ("pass\r", "pass\r", False),
        (" pass ", " pass ", False),
    ],
)
def test_a_secret_loses_one_line_break_at_its_end_and_that_is_said(*, given: str, used: str, is_said: bool) -> None:
    """``echo secret | base64`` makes one, which nobody sees."""
    made = Settings.from_env(LEAST | {"REDIS_PASSWORD": given})

    assert made.password == used
    assert [what for what, _ in made.warnings] == (
        ["REDIS_PASSWORD ends with a line break, which was taken for no part of it"] if is_said else []
    )


@pytest.mark.G9
@pytest.mark.parametrize("name", [row.name for row in TABLE])
def test_a_reference_to_a_key_vault_that_was_not_resolved_is_named_as_such(name: str) -> None:
    """Azure hands over the reference itself where it could not read the vault."""
    beside = {"REDIS_HOST": ""} if name == "REDIS_URL" else {}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | beside | {name: "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"})

    (problem,) = caught.value.problems
    assert problem.startswith(f"{name} is a Key Vault reference that was not resolved; allowed: a reference that the ")


@pytest.mark.parametrize(
    ("key", "value"),
    [("stream", "@Microsoft.KeyVault(VaultName=v;SecretName=s)"), ("lanes", {"x": "@microsoft.keyvault(VaultName=v)"})],
)
def test_a_reference_in_a_target_is_named_by_its_place(key: str, value: object) -> None:
    """Also where it is a part of a value, as of one header among several."""
    listed = [{"stream": "s", "group": "g", key: value}]
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"RECLAIM_TARGETS": json.dumps(listed)})

    (problem,) = caught.value.problems
    assert problem.startswith(f"RECLAIM_TARGETS[0].{key} is a Key Vault reference that was not resolved; ")
