"""Owns where the server is: reads a host, a URL or a connection string, and says how much of a bad one may be shown."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import TypeVar
from urllib.parse import unquote

T = TypeVar("T")

HOST_FORM = "host or host:port, an IPv6 address in brackets as in [::1]:6380, or the path of a Unix socket"
URL_FORM = (
    "redis://, rediss:// or unix://, as in rediss://user:password@host:6380/0, or the connection string that the Azure "
    "portal shows, as in host:6380,password=…,ssl=True"
)
PARTS = "its parts go to REDIS_HOST, REDIS_USERNAME, REDIS_PASSWORD, REDIS_TLS and REDIS_DB"
MAX_DB = 2**31 - 1


class BadValue(ValueError):
    """A text that is refused. The reason tells nothing of the text, so that it may be shown for a secret too."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is, and what a URL says of how to speak to it.

    Attributes:
        host: a name or an IP address without brackets; empty for a Unix socket.
        port: None where the text names none.
        socket_path: a Unix socket; None for TCP.
        tls: whether to use TLS; None where the text does not say.
        username, password: None for none.
        db: the number of the database.
        unused: options of the text that change nothing here, by name; what is no plain name is told by its place.
    """

    host: str = ""
    port: int | None = None
    socket_path: str | None = None
    tls: bool | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    unused: tuple[str, ...] = ()


def read_host(text: str) -> Address:
    """What REDIS_HOST holds: a host, perhaps with its port, or the path of a Unix socket.

    Raises:
        BadValue: it is something else; the reason says where it belongs, if that can be told.
    """
    if text.startswith("/"):
        return Address(socket_path=text, tls=False)
    if "://" in text or "," in text or "=" in text or "@" in text:
        raise BadValue(f"REDIS_URL takes a URL or a connection string as it is; or {PARTS}")
    if "%" not in text:  # what comes after it may be anything
        _refuse_bare_ipv6(text)
    return Address(*_host_and_port(text))


def _refuse_bare_ipv6(text: str) -> None:
    """Say how an IPv6 address is written that has no brackets; what follows its last colon may be a port."""
    host, _, port = text.rpartition(":")
    if re.fullmatch(_BARE_PORT, port, re.ASCII) and _is_ipv6(host):
        raise BadValue(f"write it as [{host}]:{port}" + (f", or without a port as [{text}]" if _is_ipv6(text) else ""))
    if _is_ipv6(text):
        raise BadValue(f"write it as [{text}], or with a port as [{text}]:6380")


def read_url(text: str) -> Address:
    """What REDIS_URL holds: a URL, or the connection string of StackExchange.Redis that Azure's portal shows.

    Raises:
        BadValue: it is something else, or asks for what we cannot do.
    """
    scheme, has_scheme, rest = text.partition("://")
    if not has_scheme and "," in text:
        return _of_connection_string(text)
    match scheme.lower() if has_scheme else "":
        case "redis":
            return _of_tcp_url(rest, tls=False)
        case "rediss":
            return _of_tcp_url(rest, tls=True)
        case "unix":
            return _of_unix_url(rest)
    raise BadValue("a host alone goes to REDIS_HOST" if not has_scheme else "the scheme is none of these")


def certain(text: str) -> str:
    """A refused or secret text, of which only what is certainly a host and its port is shown.

    People paste whole URLs and connection strings, with the password anywhere in them.
    """
    found = _IN_URL.match(text) or _AT_FIRST.match(text)
    if found is None or "@" in text[found.end() :]:
        return "***"
    start, end = found.span("place")
    return f"{'***' if start else ''}{found['place']}{'***' if end < len(text) else ''}"


def shown_host(text: str) -> str:
    """What may be shown of REDIS_HOST: all of it where it is good."""
    try:
        read_host(text)
    except ValueError:
        return certain(text)
    return text


_HOST = r"[\w.\-]+|\[[0-9a-fA-F:.]+\]"
_PORT = r"[1-9]\d{0,4}"
_BARE_PORT = r"[1-9]\d{3,4}"  # shorter ones are rather the end of an address
# A host in a URL is certain where no character before it or after it can belong to a password that was not encoded.
_IN_URL = re.compile(
    rf"(?:rediss?|https?|tcp)://(?:[^@/?#\s]*@)?(?P<place>(?:{_HOST})(?::{_PORT})?)(?=$|[/?#])",
    re.IGNORECASE | re.ASCII,
)
_AT_FIRST = re.compile(rf"(?P<place>(?:{_HOST}):{_PORT})(?=[,;/?\s])", re.ASCII)


# --- hosts -----------------------------------------------------------------------------------------------------------


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Host and port; None where the text names no port."""
    found = re.fullmatch(rf"(?P<host>{_HOST})(?::(?P<port>{_PORT}))?", text)
    if found is None or int(found["port"] or 0) >= 65_536:
        raise BadValue
    return found["host"].strip("[]"), int(found["port"]) if found["port"] else None


# --- URLs ------------------------------------------------------------------------------------------------------------


def _of_tcp_url(text: str, *, tls: bool) -> Address:
    rest, _, query = text.partition("?")
    login, has_login, place = rest.rpartition("@")
    if set("/#") & set(login) or "#" in rest or "@" in query:
        raise BadValue("a password is percent-encoded: / is %2F, ? is %3F, # is %23, @ is %40")
    place, _, path = place.partition("/")
    options = _Options(_of_query(query))
    host, port = _host_and_port(place)
    username, password = _login(login) if has_login else (None, None)
    return options.address(Address(host, port, None, tls, username, password, _db(path) if path else 0))


def _of_unix_url(text: str) -> Address:
    rest, _, query = text.partition("?")
    login, has_login, path = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    if not path.startswith("/"):
        raise BadValue("after unix:// comes the path of the socket, as in unix:///run/redis.sock?db=0")
    username, password = _login(login) if has_login else (None, None)
    return _Options(_of_query(query)).address(
        Address(socket_path=_decoded(path), tls=False, username=username, password=password)
    )


def _login(text: str) -> tuple[str | None, str | None]:
    """User and password of ``user:password``; a part that is empty is none."""
    username, _, password = text.partition(":")
    return _decoded(username) or None, _decoded(password) or None


def _of_query(text: str) -> Iterator[tuple[str, str]]:
    for option in filter(None, text.split("&")):
        name, _, value = option.partition("=")
        yield _decoded(name), _decoded(value)


def _decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadValue("what is percent-encoded is not UTF-8") from None


# --- connection strings ----------------------------------------------------------------------------------------------


def _of_connection_string(text: str) -> Address:
    """https://stackexchange.github.io/StackExchange.Redis/Configuration.html says what the string may hold."""
    parts = [part.strip() for part in text.split(",")]
    places = [part for part in parts if part and "=" not in part]
    if len(places) != 1 or not parts[0] or "=" in parts[0]:
        raise BadValue(f"one host comes first, then options with =; a password cannot hold a comma there: {PARTS}")
    options = _Options((name.strip(), value.strip()) for name, _, value in (part.partition("=") for part in parts[1:]))
    host, port = _host_and_port(places[0])
    return options.address(Address(host, port))


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise BadValue("ssl is True or False")
    return text.lower() == "true"


def _db(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_DB):
        raise BadValue("the database is a whole number")
    return int(text)


class _Options:
    """What the options of a URL or connection string say, each by its name in lower case."""

    def __init__(self, options: Iterator[tuple[str, str]] | Iterator[tuple[str, ...]]) -> None:
        self._given: dict[str, str] = {}
        self._names: dict[str, str] = {}
        for name, value in options:
            if not name and not value:
                continue
            if name.lower() in self._given:
                raise BadValue("an option stands twice")
            self._given[name.lower()], self._names[name.lower()] = value, name

    def address(self, said: Address) -> Address:
        """The address with what the options add to it."""
        for name, reason in _CANNOT.items():
            if name in self._given and self._given[name].lower() not in _HARMLESS_VALUES.get(name, ()):
                raise BadValue(reason)
        if self._given.get("sslhost", said.host) != said.host:
            raise BadValue("sslHost has to be the host: the certificate is verified for that name")
        username = self._one_of(("user", "username"), said.username, str)
        password = self._one_of(("password",), said.password, str)
        db = self._one_of(("defaultdatabase", "db"), said.db or None, _db)
        tls = self._one_of(("ssl",), said.tls, _boolean)
        known = {*_USED, *_CANNOT, *_HARMLESS}
        unused = [
            self._names[name] if re.fullmatch("[A-Za-z_]{2,32}", name) and self._given[name] else f"number {at}"
            for at, name in enumerate(self._given, 1)
            if name not in known
        ]
        return Address(
            said.host, said.port, said.socket_path, tls, username or None, password or None, db or 0, tuple(unused)
        )

    def _one_of(self, names: tuple[str, ...], said: T | None, read: Callable[[str], T]) -> T | None:
        """What one of these options says, or what was said before them; saying it twice has to be the same."""
        values = [said] if said is not None else []
        values += [read(self._given[name]) for name in names if name in self._given]
        if any(value != values[0] for value in values):
            raise BadValue("it says two different things of the user, the password, the database or TLS")
        return values[0] if values else None


_USED = {"user", "username", "password", "defaultdatabase", "db", "ssl", "sslhost"}
# Options that would have us speak to another server, or in another way, and that we do not know how to follow.
_CANNOT = {
    "servicename": "serviceName asks a Sentinel, which we do not: name the primary",
    "proxy": "proxy is not supported",
    "tunnel": "tunnel is not supported",
    "ssl_cert_reqs": "ssl_cert_reqs: the certificate is always verified; REDIS_CA_FILE takes a private CA",
    "ssl_check_hostname": "ssl_check_hostname: the host name is always verified",
    "ssl_ca_certs": "ssl_ca_certs is REDIS_CA_FILE here",
    "ssl_certfile": "ssl_certfile: client certificates are not supported",
    "ssl_keyfile": "ssl_keyfile: client certificates are not supported",
}
_HARMLESS_VALUES = {"ssl_cert_reqs": {"required"}, "ssl_check_hostname": {"true", "1", "yes"}, "proxy": {"none"}}
_HARMLESS = set(  # options that change neither where we go nor how we speak there
    """abortconnect allowadmin asynctimeout channelprefix checkcertificaterevocation configchannel configcheckseconds
    connectretry connecttimeout defaultversion heartbeatconsistencychecks heartbeatinterval highintegrity
    highprioritysocketthreads includedetailinexceptions includeperformancecountersinexceptions keepalive libraryname
    loggerfactory name preserveasyncorder protocol resolvedns responsetimeout setlib sslprotocols synctimeout tiebreaker
    version writebuffer client_name decode_responses encoding encoding_errors health_check_interval max_connections
    retry_on_timeout socket_connect_timeout socket_keepalive socket_timeout timeout""".split()  # noqa: SIM905 # to be read
)
