"""Owns the settings: reads them from the environment, and names everything that is wrong with them at once."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from reclaim.errors import SettingsError
from reclaim.keys import Keys, Template

DEFAULT_SCHEDULE = "*/20 * * * * *"
HANDLER_LANES = 32  # a handler waits for others most of the time
TLS_PORT, PLAIN_PORT = 6380, 6379
MAX_PAGE_SIZE = 1000  # one XCLAIM of twice as many was seen to take a server 10 to 13 ms; G7 allows 10
MAX_CIRCUIT_FAILURES = 2000  # so many counted at once take a server 4 to 6 ms; G7 allows 10

_N = TypeVar("_N", int, float)
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON can name one alone; a byte that is not UTF-8 becomes one (PEP 383)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Target:
    """A stream and its group, and how their abandoned entries are to be handled. Times are in the unit of the name."""

    stream: str
    group: str
    consumer: str = "monitoring_app"
    min_idle_ms: int = 10_000
    hash_key: str = "tweet:{id}"
    hash_version_field: str | None = None
    handler: str | None = None
    order_key: str | None = None
    page_size: int = 500
    lanes: int = 4
    retry_attempts: int = 4
    retry_max_delay_sec: float = 2.0
    max_deliveries: int = 5
    consumer_ttl_hours: float = 24.0
    dead_letter_maxlen: int = 100_000
    circuit_failures: int = 100
    circuit_window_sec: float = 30.0
    circuit_cooldown_sec: float = 60.0
    alert_backlog_sec: float = 0.0

    @property
    def name(self) -> str:
        """``stream/group``, as logs and reports call the target."""
        return f"{self.stream}/{self.group}"

    @property
    def keys(self) -> Keys:
        """The Redis keys that belong to the target."""
        return Keys.of(self.stream, self.group)


@dataclass(frozen=True, slots=True)
class Insights:
    """Where telemetry goes: an Application Insights resource.

    Attributes:
        key: the resource's instrumentation key.
        endpoint: the web address that takes its telemetry, without a path.
        role: the app's name there; on Azure that of the function app.
        entra: whether the resource wants a token of the app's managed identity (Entra) beside the key.
        client_id: of a user-assigned identity; None for the system-assigned one.
        logs: whether the plain program's log lines go there too; on Azure the host sends them.
    """

    key: str = field(repr=False)
    endpoint: str
    role: str = "reclaim"
    entra: bool = False
    client_id: str | None = None
    logs: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of the app. Times are in the unit of the name."""

    host: str
    port: int
    targets: tuple[Target, ...]
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = True
    ca_file: str | None = None
    schedule: str = DEFAULT_SCHEDULE
    run_budget_sec: float = 240.0
    alert_webhook_url: str | None = field(default=None, repr=False)  # a Logic App's holds its key
    alert_webhook_key: str | None = field(default=None, repr=False)
    alert_repeat_sec: float = 900.0
    dashboard_url: str | None = None
    insights: Insights | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            SettingsError: naming each bad or missing setting, its value (masked if secret) and what is allowed.
        """
        reader, default = _Reader(env), _DEFAULTS
        tls = reader.boolean("REDIS_TLS", default=default.tls)
        reader.not_yet("REDIS_CLUSTER", "false")
        reader.not_yet("REDIS_AUTH", "password")
        host, port = reader.address("REDIS_HOST", TLS_PORT if tls else PLAIN_PORT)
        settings = cls(
            host=host,
            port=port,
            username=reader.text("REDIS_USERNAME"),
            password=reader.secret("REDIS_PASSWORD"),
            tls=tls,
            ca_file=reader.file("REDIS_CA_FILE"),
            schedule=reader.schedule("RECLAIM_SCHEDULE", default.schedule),
            run_budget_sec=reader.number("RUN_BUDGET_SEC", default.run_budget_sec, least=1, most=3600),
            alert_webhook_url=reader.webhook("ALERT_WEBHOOK_URL"),
            alert_webhook_key=reader.header("ALERT_WEBHOOK_KEY"),
            alert_repeat_sec=reader.number("ALERT_REPEAT_SEC", default.alert_repeat_sec, least=1, most=604_800),
            dashboard_url=_dashboard_url(reader),
            insights=_insights(reader),
            targets=_targets(reader),
        )
        if reader.problems:
            raise SettingsError(reader.problems)
        return settings


# Where every default is written, but that of LANES with HANDLER: in the classes themselves.
_DEFAULT_TARGET = Target(stream="", group="")
_DEFAULTS = Settings(host="", port=0, targets=(_DEFAULT_TARGET,))


def _dashboard_url(reader: "_Reader") -> str | None:
    """The dashboard's address on Azure, which says in WEBSITE_HOSTNAME where the app is; None elsewhere."""
    host = reader.text("WEBSITE_HOSTNAME")
    return host and f"https://{host}/api/dashboard"


def _insights(reader: "_Reader") -> Insights | None:
    """Where telemetry goes; None without a connection string. The first two settings are Azure Functions' own."""
    resource = reader.connection_string("APPLICATIONINSIGHTS_CONNECTION_STRING")
    identity = reader.pairs("APPLICATIONINSIGHTS_AUTHENTICATION_STRING")
    if identity and identity.get("authorization", "").lower() != "aad":
        reader.problem("APPLICATIONINSIGHTS_AUTHENTICATION_STRING", "***", "[ClientId=<GUID>;]Authorization=AAD")
    logs = reader.boolean("APPLICATIONINSIGHTS_LOGS", default=False)
    role = reader.text("WEBSITE_SITE_NAME") or "reclaim"
    return resource and Insights(*resource, role, bool(identity), identity.get("clientid"), logs)


def _targets(reader: "_Reader") -> tuple[Target, ...]:
    """The one target of STREAM_NAME, or those that RECLAIM_TARGETS lists."""
    listed = reader.target_list("RECLAIM_TARGETS", allowed=_TARGET_SETTINGS)
    if listed is None:
        return (_target(reader),)
    targets = tuple(_target(reader.within(f"RECLAIM_TARGETS[{at}]", one)) for at, one in enumerate(listed))
    names = [target.name for target in targets if target.stream and target.group]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.problem("RECLAIM_TARGETS", name, "each stream and group once")
    if len({target.keys.lease for target in targets}) < len(set(names)):
        reader.problem("RECLAIM_TARGETS", ", ".join(names), "streams that differ by more than braces")
    return targets


def _target(reader: "_Reader") -> Target:
    handler, default = reader.text("HANDLER"), _DEFAULT_TARGET
    hash_key = reader.template("HASH_KEY", default.hash_key)
    if handler is not None and not re.fullmatch(r"[\w.]+:\w+", handler):
        reader.problem("HANDLER", handler, "module:function, as in my_handlers:handle")
    return Target(
        stream=reader.stream("STREAM_NAME"),
        group=reader.required("STREAM_CONSUMER_GROUP_NAME"),
        consumer=reader.text("MONITORING_CONSUMER_NAME") or default.consumer,
        min_idle_ms=round(
            1000 * reader.number("MIN_IDLE_TIME_SEC", default.min_idle_ms / 1000, least=0.001, most=604_800)
        ),
        hash_key=hash_key,
        hash_version_field=reader.text("HASH_VERSION_FIELD") or default.hash_version_field,
        handler=handler,
        order_key=reader.template("ORDER_KEY", hash_key),
        page_size=reader.integer("PAGE_SIZE", default.page_size, least=1, most=MAX_PAGE_SIZE),
        lanes=reader.integer("LANES", default.lanes if handler is None else HANDLER_LANES, least=1, most=1024),
        retry_attempts=reader.integer("RETRY_ATTEMPTS", default.retry_attempts, least=1, most=100),
        retry_max_delay_sec=reader.number("RETRY_MAX_DELAY_SEC", default.retry_max_delay_sec, least=0, most=60),
        max_deliveries=reader.integer("MAX_DELIVERIES", default.max_deliveries, least=2, most=1_000_000),
        consumer_ttl_hours=reader.number("CONSUMER_TTL_HOURS", default.consumer_ttl_hours, least=0, most=87_600),
        dead_letter_maxlen=reader.integer(
            "DEAD_LETTER_MAXLEN", default.dead_letter_maxlen, least=1, most=1_000_000_000
        ),
        circuit_failures=reader.integer(
            "CIRCUIT_FAILURES", default.circuit_failures, least=1, most=MAX_CIRCUIT_FAILURES
        ),
        circuit_window_sec=reader.number("CIRCUIT_WINDOW_SEC", default.circuit_window_sec, least=0.001, most=86_400),
        circuit_cooldown_sec=reader.number("CIRCUIT_COOLDOWN_SEC", default.circuit_cooldown_sec, least=0, most=86_400),
        alert_backlog_sec=reader.number("ALERT_BACKLOG_SEC", default.alert_backlog_sec, least=0, most=31_536_000),
    )


# What an object of RECLAIM_TARGETS may hold: the per-target settings in lower case, and short names for three of them.
_SHORT_NAMES = {"stream": "STREAM_NAME", "group": "STREAM_CONSUMER_GROUP_NAME", "consumer": "MONITORING_CONSUMER_NAME"}
_TARGET_SETTINGS = _SHORT_NAMES | {
    name.lower(): name
    for name in (
        "MIN_IDLE_TIME_SEC",
        "HASH_KEY",
        "HASH_VERSION_FIELD",
        "HANDLER",
        "ORDER_KEY",
        "PAGE_SIZE",
        "LANES",
        "RETRY_ATTEMPTS",
        "RETRY_MAX_DELAY_SEC",
        "MAX_DELIVERIES",
        "CONSUMER_TTL_HOURS",
        "DEAD_LETTER_MAXLEN",
        "CIRCUIT_FAILURES",
        "CIRCUIT_WINDOW_SEC",
        "CIRCUIT_COOLDOWN_SEC",
        "ALERT_BACKLOG_SEC",
    )
}


class _Reader:
    """Reads one setting at a time and keeps a list of what is wrong, so that all of it can be told at once."""

    def __init__(self, env: Mapping[str, Any], problems: list[str] | None = None, where: str = "") -> None:
        self._env = env
        self._where = where
        self._told: set[str] = set()
        self.problems: list[str] = [] if problems is None else problems

    def within(self, where: str, values: Mapping[str, Any]) -> "_Reader":
        """A reader for one target: its own values over the shared ones; problems go to the same list."""
        shared = {name: value for name, value in self._env.items() if name not in _SHORT_NAMES.values()}
        return _Reader({**shared, **values}, self.problems, f"{where}.")

    def problem(self, name: str, value: Any, allowed: str) -> None:
        """Keep what is wrong; a value of RECLAIM_TARGETS that is no string is shown as JSON has it."""
        shown = repr(value) if isinstance(value, str) else json.dumps(value)
        self._told.add(name)
        self.problems.append(f"{self._where}{name} is {shown}; allowed: {allowed}")

    def text(self, name: str, shown: Callable[[str], str] = str) -> str | None:
        """A text without the space around it; `shown` makes of one that is refused what may be seen of it."""
        return self._encodable(name, shown).strip() or None

    def secret(self, name: str) -> str | None:
        return self._encodable(name, _masked) or None

    def _encodable(self, name: str, shown: Callable[[str], str]) -> str:
        """The value as it is; empty where it is not set, or no text that could be sent to anybody."""
        value = self._env.get(name, "")
        if not isinstance(value, str):
            self.problem(name, value, "a string")
        elif _SURROGATE.search(value):
            self.problem(name, shown(value), "text that can be encoded in UTF-8")
        else:
            return value
        return ""

    def header(self, name: str) -> str | None:
        """A secret that can be sent in an HTTP header."""
        value = self.text(name, _masked)
        if value is not None and not (value.isascii() and value.isprintable()):
            self.problem(name, "***", "printable ASCII characters, as an HTTP header takes them")
            return None
        return value

    def webhook(self, name: str) -> str | None:
        """A web address, which may hold a secret."""
        text = self.text(name, _masked)
        if text is None:
            return None
        valid = _is_web_address(text)
        if not valid:
            self.problem(name, "***", "a web address, as in https://host/path")
        return text if valid else None

    def pairs(self, name: str) -> dict[str, str]:
        """The values of ``Name=value;Name=value``, which may be secrets, by their names in lower case."""
        parts = [part.partition("=") for part in (self.text(name, _masked) or "").split(";")]
        return {key.strip().lower(): value.strip() for key, _, value in parts if key.strip()}

    def connection_string(self, name: str) -> tuple[str, str] | None:
        """The instrumentation key and the address in a connection string of Application Insights.

        https://learn.microsoft.com/azure/azure-monitor/app/connection-strings says what it may hold.
        """
        pairs = self.pairs(name)
        if not pairs:
            return None
        key = pairs.get("instrumentationkey", "").lower()
        location = f"{pairs['location']}." if "location" in pairs else ""
        suffix = pairs.get("endpointsuffix", "services.visualstudio.com")
        endpoint = pairs.get("ingestionendpoint", f"https://{location}dc.{suffix}").rstrip("/")
        if not _GUID.fullmatch(key) or not _is_web_address(endpoint):
            self.problem(
                name, "***", "InstrumentationKey=<GUID>;IngestionEndpoint=<web address>, as the portal shows it"
            )
            return None
        return key, endpoint

    def required(self, name: str, shown: Callable[[str], str] = str) -> str:
        value = self.text(name, shown)
        if value is None and name not in self._told:
            self.problems.append(f"{self._where}{name} is missing")
        return value or ""

    def stream(self, name: str) -> str:
        """A stream's name; one with braces must have a hash tag, else our own keys could not share its slot."""
        value = self.required(name)
        if ("{" in value or "}" in value) and not re.match(r"[^{]*\{[^}]+\}", value):
            self.problem(name, value, "a name without braces, or with a hash tag as in a{tag}")
        return value

    def not_yet(self, name: str, allowed: str) -> None:
        """A setting of which only one value works so far."""
        value = self.text(name)
        if value is not None and value.lower() != allowed:
            self.problem(name, value, f"{allowed}; anything else is not supported yet")

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.text(name)
        if value is None:
            return default
        if value.lower() not in _BOOLEANS:
            self.problem(name, value, "true or false")
            return default
        return _BOOLEANS[value.lower()]

    def integer(self, name: str, default: int, *, least: int, most: int) -> int:
        return self._within_bounds(name, default, int, f"a whole number from {least} to {most}", least, most)

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        return self._within_bounds(name, default, float, f"a number from {least:g} to {most:g}", least, most)

    def _within_bounds(
        self, name: str, default: _N, parse: Callable[[str], _N], allowed: str, least: float, most: float
    ) -> _N:
        given = self._env.get(name, "")
        text = self.text(name) if isinstance(given, str) else json.dumps(given)
        if text is None:
            return default
        try:
            value = parse(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= most:  # not-a-number fails the comparison too
            self.problem(name, text, allowed)
            return default
        return value

    def address(self, name: str, default_port: int) -> tuple[str, int]:
        text = self.required(name, _without_secrets)
        host, colon, port = text.rpartition(":")
        if not colon or text.endswith("]"):
            host, port = text, str(default_port)
        valid = re.fullmatch(r"[\w.\-]+|\[[0-9a-fA-F:.]+\]", host) and port.isdecimal() and 0 < int(port) < 65_536
        if text and not valid:
            self.problem(name, _without_secrets(text), "host or host:port, without scheme, user or options")
            return "", default_port
        return host.strip("[]"), int(port) if text else default_port

    def file(self, name: str) -> str | None:
        path = self.text(name)
        if path is not None:
            try:
                Path(path).read_bytes()
            except OSError as exc:
                self.problem(name, path, f"a file that can be read ({exc.strerror})")
        return path

    def template(self, name: str, default: str) -> str:
        text = self.text(name)
        if text is None:
            return default
        try:
            Template(text)
        except ValueError as exc:
            self.problem(name, text, f"text with fields in braces, as in tweet:{{id}} ({exc})")
        return text

    def schedule(self, name: str, default: str) -> str:
        text = self.text(name)
        if text is None:
            return default
        from reclaim.schedule import FORM, chosen  # noqa: PLC0415  # every cold start would pay for it

        try:
            chosen(text)
        except ValueError as exc:
            self.problem(name, text, f"{FORM} ({exc})")
        return text

    def target_list(self, name: str, allowed: Mapping[str, str]) -> list[dict[str, Any]] | None:
        """The objects of a JSON list, their names turned into those of the settings; None without the setting."""
        text = self.text(name)
        if text is None:
            return [] if name in self._told else None
        try:
            listed = json.loads(text)
        except ValueError as exc:
            self.problem(name, text, f"a JSON list of objects ({exc})")
            return []
        if not isinstance(listed, list) or not listed or not all(isinstance(one, dict) for one in listed):
            self.problem(name, text, "a JSON list of at least one object")
            return []
        for at, one in enumerate(listed):
            for key in one.keys() - allowed.keys():
                self.problem(f"{name}[{at}]", key, ", ".join(sorted(allowed)))
        return [{allowed[key]: value for key, value in one.items() if key in allowed} for one in listed]


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0 and text.isprintable()
    except ValueError:
        return False


def _masked(_: str) -> str:
    return "***"


def _without_secrets(text: str) -> str:
    """What may be shown of an address: somebody's whole connection string may hold a password."""
    return re.sub(r",.*|.*@", "***", text)
