"""Where the server is: REDIS_HOST and REDIS_URL, what they decide, and what is said where they cannot be read."""

from typing import Any

import pytest

from reclaim.address import Address, certain
from reclaim.errors import SettingsError
from reclaim.settings import Settings

NAMES = {"STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
SOCKET = Address("", 0, "/run/redis.sock", tls=False, db=1)
AZURE = "shop.redis.cache.windows.net:6380,password=abc+/DEF=,ssl=True,abortConnect=False"


def settings(**env: str) -> Settings:
    return Settings.from_env(NAMES | env)


def problems(**env: str) -> list[str]:
    """What is wrong with an environment."""
    with pytest.raises(SettingsError) as caught:
        settings(**env)
    return caught.value.problems


def used(found: Settings) -> Address:
    """Where the settings lead, and as whom."""
    return Address(found.host, found.port, found.socket_path, found.tls, found.username, found.password, found.db)


def on_h(port: int, **more: Any) -> Address:
    return Address("h", port, **more)


# --- REDIS_URL -------------------------------------------------------------------------------------------------------


@pytest.mark.G9
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://cache", Address("cache", 6379, tls=False)),
        ("rediss://cache", Address("cache", 6380, tls=True)),
        ("REDISS://cache:1234/", Address("cache", 1234, tls=True)),
        ("redis://cache/7", Address("cache", 6379, tls=False, db=7)),
        ("redis://cache?db=7", Address("cache", 6379, tls=False, db=7)),
        ("redis://[::1]:7000/1", Address("::1", 7000, tls=False, db=1)),
        ("redis://:pw@cache", Address("cache", 6379, tls=False, password="pw")),
        ("redis://user@cache", Address("cache", 6379, tls=False, username="user")),
        (
            "rediss://u%3A:p%40%2F%3F%23%25:@h:1/2",
            Address("h", 1, None, tls=True, username="u:", password="p@/?#%:", db=2),
        ),
        ("redis://u:p@ss@h", Address("h", 6379, None, tls=False, username="u", password="p@ss")),
        (
            "redis://h?username=u&password=p%26w&socket_timeout=5",
            Address("h", 6379, None, tls=False, username="u", password="p&w"),
        ),
        ("rediss://h?ssl_cert_reqs=required", Address("h", 6380, tls=True)),
        ("unix:///run/redis.sock", Address("", 0, "/run/redis.sock", tls=False)),
        ("unix:///run/a%20b@c.sock?db=3", Address("", 0, "/run/a b@c.sock", tls=False, db=3)),
        ("unix://u:p@/run/redis.sock", Address("", 0, "/run/redis.sock", tls=False, username="u", password="p")),
        (AZURE, Address("shop.redis.cache.windows.net", 6380, None, tls=True, username=None, password="abc+/DEF=")),
        (
            "h, user = u ,PASSWORD=p,Ssl=false,defaultDatabase=2",
            Address("h", 6379, None, tls=False, username="u", password="p", db=2),
        ),
        ("h,password=p", Address("h", 6380, None, tls=True, username=None, password="p")),
    ],
)
def test_a_url_decides_tls_user_password_and_database(url: str, expected: Address) -> None:
    """A URL, or the connection string that Azure's portal shows. Where that does not say ssl, REDIS_TLS does."""
    assert used(settings(REDIS_URL=url)) == expected


@pytest.mark.G9
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("cache", "(a host alone goes to REDIS_HOST)"),
        ("http://cache", "(the scheme is none of these)"),
        ("redis://", None),
        ("redis://cache:0", None),
        ("redis://cache:99999", None),
        ("redis://cache/one", "(the database is a whole number)"),
        ("redis://cache/1?db=2", "(it says two different things of the user, the password, the database or TLS)"),
        ("redis://:p/w@cache", "(a password is percent-encoded: / is %2F, ? is %3F, # is %23, @ is %40)"),
        ("redis://:p#w@cache", "(a password is percent-encoded: / is %2F, ? is %3F, # is %23, @ is %40)"),
        ("redis://:p%FFw@cache", "(what is percent-encoded is not UTF-8)"),
        ("rediss://cache?ssl_cert_reqs=none", "always verified"),
        ("unix://run/redis.sock", "(after unix:// comes the path of the socket"),
        ("a:1,b:2,password=p", "(one host comes first"),
        ("password=p,h:1", "(one host comes first"),
        ("h:1,password=p,w", "(one host comes first"),
        ("h:1,serviceName=mymaster", "(serviceName asks a Sentinel, which we do not: name the primary)"),
        ("h:1,ssl=perhaps", "(ssl is True or False)"),
        ("h:1,sslHost=other", "(sslHost has to be the host"),
        ("h:1,password=p,password=q", "(an option stands twice)"),
    ],
)
def test_a_url_that_cannot_be_followed_is_refused_with_the_reason(url: str, reason: str | None) -> None:
    """In words that hold nothing of it."""
    (problem,) = problems(REDIS_URL=url)

    assert problem.startswith("REDIS_URL is '")
    assert "allowed: redis://, rediss:// or unix://, as in rediss://user:password@host:6380/0, or the conn" in problem
    assert reason is None or reason in problem


@pytest.mark.G9
def test_host_and_url_are_not_both_taken() -> None:
    """Nobody could tell which one counts."""
    assert problems(REDIS_URL="redis://a", REDIS_HOST="b") == [
        "REDIS_HOST is set, and so is REDIS_URL; allowed: one of the two"
    ]


@pytest.mark.G9
@pytest.mark.parametrize(
    ("url", "name", "value"),
    [
        ("redis://h", "REDIS_TLS", "true"),
        ("rediss://h", "REDIS_TLS", "false"),
        ("redis://u:p@h", "REDIS_USERNAME", "other"),
        ("redis://u:p@h", "REDIS_PASSWORD", "other"),
        ("redis://h", "REDIS_PASSWORD", "other"),
        ("redis://h/1", "REDIS_DB", "0"),
        ("redis://h", "REDIS_DB", "1"),
    ],
)
def test_a_setting_that_says_something_else_than_the_url_is_refused(url: str, name: str, value: str) -> None:
    """Also where the URL says that there is none: it decides."""
    (problem,) = problems(REDIS_URL=url, **{name: value})

    assert problem == f"{name} is not what REDIS_URL says, which decides it; allowed: REDIS_URL alone"


def test_a_setting_that_says_the_same_as_the_url_is_no_matter() -> None:
    """No user is the user called default."""
    said = {"REDIS_TLS": "true", "REDIS_USERNAME": "default", "REDIS_PASSWORD": "p", "REDIS_DB": "2"}

    assert settings(REDIS_URL="rediss://:p@h/2", **said) == settings(REDIS_URL="rediss://:p@h/2")


def test_options_that_are_not_known_are_told_of() -> None:
    """By name where it is plainly one; else by place, for it may be a piece of a password."""
    found = settings(REDIS_URL="h:1,password=p,newOption=1,channelPrefix=x,s3-cret=")

    assert [what for what, _ in found.warnings] == [
        "an option of REDIS_URL is not known: newOption",
        "an option of REDIS_URL is not known: number 4",
    ]


# --- REDIS_HOST ------------------------------------------------------------------------------------------------------


@pytest.mark.G9
@pytest.mark.parametrize(
    ("value", "shown", "reason"),
    [
        ("redis://cache:6379", "***cache:6379", "REDIS_URL takes a URL or a connection string as it is"),
        ("redis://h/0?password=s3cret", "***h***", "REDIS_URL takes"),
        ("rediss://me:s3cret@cache:6380", "***cache:6380", "REDIS_URL takes"),
        (AZURE, "shop.redis.cache.windows.net:6380***", "or its parts go to REDIS_HOST, REDIS_USERNAME, REDIS_PASS"),
        ("h:6380 password=s3cret", "h:6380***", "REDIS_URL takes"),
        ("s3cret@cache:6380", "***", "REDIS_URL takes"),
        ("unix:///run/redis.sock", "***", "REDIS_URL takes"),
        ("::1", "***", "write it as [::1], or with a port as [::1]:6380"),
        ("2001:db8::7", "***", "write it as [2001:db8::7]"),
        ("::1:6380", "***", "write it as [::1]:6380, or without a port as [::1:6380]"),
        ("2001:db8::7:10000", "***", "write it as [2001:db8::7]:10000)"),
        ("cache:", "***", None),
        ("cache:99999", "***", None),
        ("two hosts", "***", None),
    ],
)
def test_a_bad_host_is_refused_with_where_it_belongs(value: str, shown: str, reason: str | None) -> None:
    """Of the value only what is certainly a host and its port is shown."""
    (problem,) = problems(REDIS_HOST=value)

    assert problem.startswith(
        f"REDIS_HOST is '{shown}'; allowed: host or host:port, an IPv6 address in brackets as in "
    )
    assert reason is None or reason in problem
    assert "s3cret" not in problem


@pytest.mark.parametrize(
    "text",
    [
        "redis://:s3cret/@@h:1",
        "redis://u:p@s3cret/w@h:1",
        "redis://h:6379/?password=p@s3cret:77",
        "redis://p@s3cret:9@h",
        "s3cret",
        "h:6380@s3cret:1",
        "password=s3cret,h:1",
    ],
)
def test_where_a_password_may_begin_or_end_anywhere_nothing_is_certain(text: str) -> None:
    assert "s3cret" not in certain(text)


def test_a_host_may_be_the_path_of_a_unix_socket() -> None:
    """There is no TLS on it."""
    assert used(settings(REDIS_HOST="/run/redis.sock", REDIS_DB="1")) == SOCKET
    assert problems(REDIS_HOST="/run/redis.sock", REDIS_TLS="true") == [
        "REDIS_TLS is 'true'; allowed: false for a Unix socket"
    ]


@pytest.mark.parametrize(
    ("env", "address"),
    [
        ({"REDIS_HOST": "cache"}, "cache:6380"),
        ({"REDIS_HOST": "[::1]:1"}, "[::1]:1"),
        ({"REDIS_URL": "unix:///run/redis.sock"}, "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_written_as_messages_name_it(env: dict[str, str], address: str) -> None:
    assert settings(**env).address == address


@pytest.mark.parametrize("value", ["-1", "one", "2147483648"])
def test_a_database_is_a_whole_number(value: str) -> None:
    (problem,) = problems(REDIS_HOST="h", REDIS_DB=value)

    assert problem == f"REDIS_DB is {value!r}; allowed: a whole number from 0 to 2147483647"
