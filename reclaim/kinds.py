"""Owns the kinds of settings: how each kind reads a text, what it allows, and how much of it may be shown."""

import json
import re
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from reclaim import prefix
from reclaim.address import HOST_FORM, URL_FORM, Address, BadValue, certain, read_host, read_url, shown_host
from reclaim.keys import Template
from reclaim.names import name_bytes, written

T = TypeVar("T")
N = TypeVar("N", int, float)
T_co = TypeVar("T_co", covariant=True)


def hide(_: str) -> str:
    """What people may see of a secret: nothing."""
    return "***"


def _written(value: Any) -> str:
    """A value as a person writes it into an environment variable."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, int | float) else str(value)


class Kind(NamedTuple, Generic[T_co]):
    """Which values a setting may have, and how they are read and shown.

    It is a named tuple, because every cold start makes many of them: a dataclass takes eight times as long.

    Attributes:
        read: makes the value from a text. For a bad text it raises ValueError, with a reason if `allowed` does not say
            enough.
        allowed: which texts are good; an error message quotes it.
        show: makes of a text, good or bad, what people may see of it.
        write: makes of a value the text that a person writes into an environment variable.
        strips: whether to ignore space around the text.
        takes_json: whether RECLAIM_TARGETS may hold a JSON number, boolean or object instead of a string.
        is_secret: whether a value may hold a secret. Why one is refused is then told in our own words (`BadValue`).
    """

    read: Callable[[str], T_co]
    allowed: str
    show: Callable[[str], str] = str
    write: Callable[[Any], str] = _written
    strips: bool = True
    takes_json: bool = False
    is_secret: bool = False


def secret(kind: Kind[T]) -> Kind[T]:
    """The same kind, but its values are secrets."""
    return kind._replace(show=hide, is_secret=True)


# --- kinds of many settings ------------------------------------------------------------------------------------------


def whole(least: int, most: int) -> Kind[int]:
    """A whole number within bounds."""
    return Kind(_bounded(int, least, most), f"a whole number from {least} to {most}", takes_json=True)


def number(least: float, most: float) -> Kind[float]:
    """A number within bounds."""
    return Kind(_bounded(float, least, most), f"a number from {least:g} to {most:g}", takes_json=True)


def milliseconds(least_sec: float, most_sec: float) -> Kind[int]:
    """A number of seconds within bounds, kept as whole milliseconds."""
    seconds = number(least_sec, most_sec)

    def read(text: str) -> int:
        return round(1000 * seconds.read(text))

    return Kind(read, seconds.allowed, write=lambda ms: _written(ms / 1000), takes_json=True)


def choice(*words: str) -> Kind[str]:
    """One of these words, in upper or lower case."""
    return Kind(_one_of({word: word for word in words}), " or ".join(words))


def either(*words: str, other: Kind[T]) -> Kind[str | T]:
    """One of these words (for example ``auto``), or else a value that another kind reads."""

    def read(text: str) -> str | T:
        return text.lower() if text.lower() in words else other.read(text)

    return Kind(read, f"{', '.join(words)} or {other.allowed}", *other[2:])


def _bounded(parse: Callable[[str], N], least: float, most: float) -> Callable[[str], N]:
    def read(text: str) -> N:
        try:
            value = parse(text)
        except ValueError:
            raise ValueError from None
        if not least <= value <= most:  # a NaN fails this too
            raise ValueError
        return value

    return read


def _one_of(values: dict[str, T]) -> Callable[[str], T]:
    def read(text: str) -> T:
        if text.lower() not in values:
            raise ValueError
        return values[text.lower()]

    return read


def _matching(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return text

    return read


def _template(text: str) -> str:
    if not _made(text).names_one_entry:
        raise BadValue("it names no field and not {@id}, so that every entry would have the same key")
    return text


def _order_template(text: str) -> str:
    _made(text)
    return text


def _made(text: str) -> Template:
    """The template; its errors show nothing of the text."""
    try:
        return Template(text)
    except ValueError as exc:
        raise BadValue(*exc.args) from exc


def _name(text: str) -> str:
    """A name in the one way in which it is written."""
    return written(name_bytes(text))


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not all(re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name) for name in names):
        raise ValueError
    return names


def _json(text: str) -> Any:
    """What the JSON says. Of two values with one name Python would take the last, and nobody would know.

    Raises:
        BadValue: it is no JSON, or a name stands twice in an object; the words tell of the place alone.
        ValueError: a number in it is too long.
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except json.JSONDecodeError as exc:
        raise BadValue(f"{exc.msg} in line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise BadValue("its lists or objects are nested too deeply") from None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise BadValue("a name stands twice in one object")
    return found


def _object(text: str) -> dict[str, str]:
    value = _json(text)
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise ValueError
    return value


def _web_address(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in {"https", "http"} and parts.port != 0 and text.isprintable()
        is_good = is_good and _is_host(parts.hostname or "")
    except ValueError:  # its message quotes the address
        is_good = False
    if not is_good:
        raise ValueError
    return text


def _is_host(host: str) -> bool:
    """Whether a client can ask for the host at all: what it refuses, it would refuse for each entry and each alert."""
    if ":" in host:  # urlsplit has looked at it
        return True
    if re.fullmatch(r"[\d.]+", host):
        return bool(IPv4Address(host))
    return bool(host) and not re.search(r"[\s%*]", host) and bool(host.encode("idna"))


def _header(text: str) -> str:
    if not (text.isascii() and text.isprintable()):
        raise ValueError
    return text


def _headers(text: str) -> tuple[tuple[str, str], ...]:
    found = tuple(_object(text).items())
    if not all(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) for name, _ in found):
        raise ValueError
    names = [name.lower() for name, _ in found]
    if len(set(names)) < len(names):
        raise BadValue("a header stands twice: upper and lower case are the same")
    if _OF_THE_CLIENT & set(names):
        raise BadValue("the client itself says how long a request is and when a connection ends")
    return tuple((name, _header(value)) for name, value in found)


# With another value than the client's own a service would take a part of the entry, or nothing, for the whole of it.
_OF_THE_CLIENT = frozenset(
    {"connection", "content-length", "expect", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"}
)


def _guid(text: str) -> str:
    if not re.fullmatch(_GUID, text, re.IGNORECASE):
        raise ValueError
    return text.lower()


def _audience(text: str) -> str:
    """An application ID URI, or an application's ID; a scope of it names it too."""
    audience = text.removesuffix("/.default")
    if not re.fullmatch(rf"{_GUID}|[a-z][a-z0-9+.-]*://[\w.~:/-]+", audience, re.IGNORECASE | re.ASCII):
        raise ValueError
    return audience


def _only(kind: Kind[T]) -> Kind[T]:
    """The same kind; of a text that it refuses nothing is shown, because people paste a secret there."""

    def show(text: str) -> str:
        try:
            kind.read(text)
        except ValueError:
            return "***"
        return text

    return kind._replace(show=show)


def _file(path: str) -> str:
    try:
        Path(path).read_bytes()
    except OSError as exc:
        raise ValueError(exc.strerror) from exc
    return path


_GUID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

TEXT = Kind(str, "text")
NAME = Kind(_name, r"a name; \xNN stands for any byte, and \\ for a backslash")
SECRET = secret(Kind(str, "text", strips=False))
BOOLEAN = Kind(_one_of(_BOOLEANS), "true or false", takes_json=True)
TEMPLATE = Kind(
    _template, "text with fields in braces, as in tweet:{id} or order:{data->order.id}; {@id} is the entry's ID"
)
ORDER_TEMPLATE = Kind(_order_template, "text with fields in braces, as in {user} or {data->user.id}; or {@stream}")
PREFIX = Kind(_matching(prefix.ALLOWED), "at most 30 letters, digits, - and _, a letter first, as in reclaim")
FUNCTION = Kind(_matching(r"[\w.]+:\w+"), "module:function, as in my_handlers:handle")
HANDLER = either("hash", "requeue", "forward", "http", other=FUNCTION)
NAMES = Kind(_names, "dotted names with commas between them, as in asyncpg.CannotConnectNowError")
OBJECT = Kind(_object, 'a JSON object of strings, as in {"name": "value"}', takes_json=True)
HEADERS = Kind(_headers, 'a JSON object of header names and values, as in {"X-Key": "value"}', takes_json=True)
WEB_ADDRESS = Kind(_web_address, "a web address, as in https://host/path")
HEADER = Kind(_header, "printable ASCII characters, as an HTTP header takes them")
CLIENT_ID = _only(Kind(_guid, "a GUID: the identity's client ID, not its name, its resource ID or a secret"))
AUDIENCE = _only(
    Kind(_audience, "an application ID URI or an application's ID, as in api://orders, without user or query")
)
FILE = Kind(_file, "a file that can be read")


# --- kinds of one setting --------------------------------------------------------------------------------------------


def _stream(text: str) -> str:
    """A stream's name. If it has braces, they must make a hash tag: else our keys could not be in the stream's slot."""
    name = name_bytes(text)
    if (b"{" in name or b"}" in name) and not re.match(rb"[^{]*\{[^}]+\}", name, re.DOTALL):
        raise ValueError
    return written(name)


def _schedule(text: str) -> str:
    from reclaim.schedule import Schedule  # noqa: PLC0415  # every cold start would pay for it

    Schedule.of(text)
    return text


def _objects(text: str) -> list[dict[str, Any]]:
    listed = _json(text)
    if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
        raise ValueError
    return listed


def _pairs(text: str) -> dict[str, str]:
    """The values of ``Name=value;Name=value`` by their names in lower case."""
    parts = [part.partition("=") for part in text.split(";")]
    return {name.strip().lower(): value.strip() for name, _, value in parts if name.strip()}


def _resource(text: str) -> tuple[str, str]:
    """The instrumentation key and the web address in a connection string of Application Insights.

    https://learn.microsoft.com/azure/azure-monitor/app/connection-strings says what the string may hold.
    """
    pairs = _pairs(text)
    key = pairs.get("instrumentationkey", "").lower()
    location = f"{pairs['location']}." if "location" in pairs else ""
    suffix = pairs.get("endpointsuffix", "services.visualstudio.com")
    endpoint = pairs.get("ingestionendpoint", f"https://{location}dc.{suffix}").rstrip("/")
    if not re.fullmatch(_GUID, key):
        raise ValueError
    return key, _web_address(endpoint)


def _identity(text: str) -> dict[str, str]:
    pairs = _pairs(text)
    if pairs.get("authorization", "").lower() != "aad":
        raise ValueError
    return pairs


# Another word may be a secret: some put the password itself there.
AUTH = _only(choice("password", "entra"))
STREAM = Kind(_stream, r"a name without braces, or with a hash tag as in a{tag}; \xNN stands for any byte")
HOST: Kind[Address] = Kind(read_host, HOST_FORM, show=shown_host)
URL: Kind[Address] = Kind(read_url, URL_FORM, show=certain, is_secret=True)
SCHEDULE = Kind(_schedule, "six NCRONTAB fields (second minute hour day month weekday), as in */20 * * * * *")
TARGETS = secret(Kind(_objects, "a JSON list of at least one object"))
RESOURCE = secret(Kind(_resource, "InstrumentationKey=<GUID>;IngestionEndpoint=<web address>, as the portal shows it"))
IDENTITY = secret(Kind(_identity, "[ClientId=<GUID>;]Authorization=AAD"))
