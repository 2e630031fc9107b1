"""Owns the table of settings, each written once, here; and the values that an environment makes of the table.

A new setting is one row: a field of `Target` or `Settings` that `setting` makes. RECLAIM_TARGETS and the doctor follow
the row. Afterwards `python -m dev.settings_table` rewrites README.md and .env.example.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from reclaim import kinds
from reclaim.address import MAX_DB, Address
from reclaim.errors import SettingsError
from reclaim.forwarding import is_own, rings
from reclaim.globs import Glob
from reclaim.keys import Keys, Template
from reclaim.names import name_bytes, written
from reclaim.prefix import path_of
from reclaim.reading import REQUIRED, Reader, Setting, Warned, rows, setting
from reclaim.shards import WHOLE, Shard, is_ours
from reclaim.unused import look_for_unused

DEFAULT_SCHEDULE = "*/20 * * * * *"
WAITING_LANES = 32  # for a handler that waits for others most of the time
IN_REDIS = frozenset({"hash", "requeue", "forward"})  # the handlers that work in Redis alone
TLS_PORT, PLAIN_PORT = 6380, 6379
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


# --- one target ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """A stream and its group, and how their abandoned entries are to be handled. Times are in the unit of the name.

    The names of stream, group, consumer and version field are as `reclaim.names` writes them. Commands take the bytes
    that they stand for.
    """

    stream: str = setting("STREAM_NAME", REQUIRED, kinds.STREAM, "the stream's name", short="stream")
    group: str = setting(
        "STREAM_CONSUMER_GROUP_NAME", REQUIRED, kinds.NAME, "the name of its consumer group", short="group"
    )
    consumer: str = setting(
        "MONITORING_CONSUMER_NAME", "monitoring_app", kinds.NAME, "reclaim's own name in the group", short="consumer"
    )
    missing_ok: bool = setting(
        "MISSING_OK",
        False,
        kinds.BOOLEAN,
        "true: a stream or group that was never seen is no failure (deployed before it); one that is gone always is",
    )
    min_idle_ms: int = setting(
        "MIN_IDLE_TIME_SEC",
        10_000,
        kinds.milliseconds(0.001, 604_800),
        "only entries that have been idle this long are claimed",
    )
    hash_key: str = setting(
        "HASH_KEY",
        "tweet:{id}",
        kinds.TEMPLATE,
        "where an entry is stored: `{field}`, `{data->customer.id}` out of a field's JSON, `{@id}`; `{{` is a brace",
    )
    hash_version_field: str | None = setting(
        "HASH_VERSION_FIELD",
        None,
        kinds.NAME,
        "a hash field that keeps the ID of the entry stored, so that an older entry does not overwrite it",
    )
    hash_from: str | None = setting(
        "HASH_FROM",
        None,
        kinds.NAME,
        "a field whose JSON object's members become the hash, instead of the entry's fields",
    )
    hash_ttl_sec: int = setting(
        "HASH_TTL_SEC", 0, kinds.whole(0, 315_360_000), "how long a hash is kept after it was stored; 0: for ever"
    )
    handler: str = setting(
        "HANDLER",
        "hash",
        kinds.HANDLER,
        "what finishes an entry: `hash`; `requeue` (back to its group); `forward` (to another stream); `http` "
        "(to `HTTP_URL`); or `module:function`, a function of your own, or a context manager that yields one "
        "(docs/handlers.md)",
    )
    max_requeues: int = setting(
        "MAX_REQUEUES",
        3,
        kinds.whole(1, 1_000_000),
        "with `HANDLER=requeue`: how often an entry is given back to its group; then it becomes a dead letter",
    )
    forward_stream: str | None = setting(
        "FORWARD_STREAM", None, kinds.STREAM, "with `HANDLER=forward`: the stream that entries are forwarded to"
    )
    forward_maxlen: int = setting(
        "FORWARD_MAXLEN",
        0,
        kinds.whole(0, 1_000_000_000),
        "how many entries `FORWARD_STREAM` keeps, about, when reclaim adds one; 0: all",
    )
    http_url: str | None = setting(
        "HTTP_URL",
        None,
        kinds.secret(kinds.WEB_ADDRESS),
        "with `HANDLER=http`: where each entry is POSTed, as a CloudEvent",
    )
    http_headers: tuple[tuple[str, str], ...] | None = setting(
        "HTTP_HEADERS",
        None,
        kinds.secret(kinds.HEADERS),
        "with `HANDLER=http`: headers that each request has besides, as a JSON object",
    )
    http_audience: str | None = setting(
        "HTTP_AUDIENCE",
        None,
        kinds.AUDIENCE,
        "with `HANDLER=http`: the service's audience; each request then has a managed identity's token for it",
    )
    http_body: str | None = setting(
        "HTTP_BODY",
        None,
        kinds.NAME,
        "with `HANDLER=http`: the field whose bytes are the body; without it a JSON object of all fields is",
    )
    http_timeout_sec: float = setting(
        "HTTP_TIMEOUT_SEC", 30.0, kinds.number(0.001, 3600), "with `HANDLER=http`: how long one request may take"
    )
    order_key: str | None = setting(
        "ORDER_KEY",
        None,
        kinds.ORDER_TEMPLATE,
        "a template for the order key, with `HANDLER`; without `ORDER_KEY` it is `HASH_KEY`; `{@stream}`: one order "
        "for all",
    )
    page_size: int = setting(  # one XCLAIM of 2,000 was seen to take a server 10 to 13 ms; G7 allows 10
        "PAGE_SIZE", 500, kinds.whole(1, 1000), "how many entries are claimed at once, at most"
    )
    lanes: int = setting(
        "LANES",
        4,
        kinds.whole(1, 1024),
        f"how many lanes are handled at the same time; with a function or `http` the default is {WAITING_LANES}",
    )
    shards: int = setting(
        "SHARDS",
        1,
        kinds.whole(1, 64),
        "how many parts, by order key, of the target run at the same time (docs/scale.md)",
    )
    retry_attempts: int = setting(
        "RETRY_ATTEMPTS",
        4,
        kinds.whole(1, 100),
        "how often one run tries to store an entry while the error is transient",
    )
    retry_max_delay_sec: float = setting(
        "RETRY_MAX_DELAY_SEC", 2.0, kinds.number(0, 60), "the longest wait between two attempts of one run"
    )
    max_deliveries: int = setting(
        "MAX_DELIVERIES",
        5,
        kinds.whole(2, 1_000_000),
        "how many deliveries an entry may have, the first one to your consumer included; if the last one fails, the"
        " entry becomes a dead letter",
    )
    delivery_backoff_sec: float = setting(
        "DELIVERY_BACKOFF_SEC",
        90.0,
        kinds.number(0, 86_400),
        "how long an entry that failed waits before the next delivery; it doubles each time, up to 15 minutes; 0: no "
        "wait but `MIN_IDLE_TIME_SEC`",
    )
    retry_on: tuple[str, ...] | None = setting(
        "RETRY_ON",
        None,
        kinds.NAMES,
        "exception classes of your own that mean an outage, with commas between: `shop.errors.StoreDown`",
    )
    reject_on: tuple[str, ...] | None = setting(
        "REJECT_ON",
        None,
        kinds.NAMES,
        "exception classes that mean a bad entry: it becomes a dead letter at once",
    )
    retry_for_sec: float = setting(
        "RETRY_FOR_SEC",
        86_400.0,
        kinds.number(0, 31_536_000),
        "an entry that meets an outage for so long, while other entries are stored, becomes a dead letter; 0: never",
    )
    consumer_ttl_hours: float = setting(
        "CONSUMER_TTL_HOURS",
        24.0,
        kinds.number(0, 87_600),
        "consumers idle this long with nothing pending are removed; 0: never",
    )
    dead_letter_maxlen: int = setting(
        "DEAD_LETTER_MAXLEN",
        100_000,
        kinds.whole(1, 1_000_000_000),
        "how many dead letters there may be; then no more entries are parked, and none is ever pushed out",
    )
    delete_acknowledged: bool = setting(
        "DELETE_ACKNOWLEDGED",
        False,
        kinds.BOOLEAN,
        "for a stream used as a queue: an entry is deleted from the stream when reclaim acknowledges it (dead letters "
        "too), unless another group has not read it yet or holds it pending",
    )
    circuit_failures: int = setting(  # to count 2,000 at once takes a server 4 to 6 ms; G7 allows 10
        "CIRCUIT_FAILURES",
        100,
        kinds.whole(1, 2000),
        "how many failures within the window open the circuit, in all instances together",
    )
    circuit_window_sec: float = setting(
        "CIRCUIT_WINDOW_SEC", 30.0, kinds.number(0.001, 86_400), "the window for `CIRCUIT_FAILURES`"
    )
    circuit_cooldown_sec: float = setting(
        "CIRCUIT_COOLDOWN_SEC",
        60.0,
        kinds.number(0, 86_400),
        "an open circuit is probed by one run after this long; 0: only a person closes it",
    )
    circuit_share: float = setting(
        "CIRCUIT_SHARE",
        0.0,
        kinds.number(0, 1),
        "the failures must also be at least this share of the window's entries; 0: their number alone decides",
    )
    alert_backlog_sec: float = setting(
        "ALERT_BACKLOG_SEC", 0.0, kinds.number(0, 31_536_000), "an entry idle this long is an alert; 0: off"
    )
    shard: Shard = WHOLE

    @property
    def calls_a_function(self) -> bool:
        """Whether HANDLER names a function of the user's, or what yields one."""
        return ":" in self.handler

    @property
    def name(self) -> str:
        """``stream/group``, as logs and reports call the target."""
        return f"{self.stream}/{self.group}"

    @property
    def keys(self) -> Keys:
        """The Redis keys that belong to the target, or to the part of it that this is."""
        keys = Keys.of(name_bytes(self.stream), self.group_bytes)
        return keys if self.shard.is_whole else keys.of_shard(self.shard.index)

    @property
    def parts(self) -> "tuple[Target, ...]":
        """The target once for each of its shards."""
        return tuple(replace(self, shard=Shard(index, self.shards)) for index in range(self.shards))

    @property
    def group_bytes(self) -> bytes:
        """The group's name as Redis has it."""
        return name_bytes(self.group)

    @property
    def consumer_bytes(self) -> bytes:
        """The name of our consumer, or of this shard's, as Redis has it."""
        return name_bytes(self.shard.consumer(self.consumer))

    def is_ours(self, consumer: bytes) -> bool:
        """Whether a consumer is ours, in this shard or in any other."""
        return is_ours(consumer, name_bytes(self.consumer))

    @property
    def forward_stream_bytes(self) -> bytes:
        """The name of the stream that entries are forwarded to, as Redis has it."""
        return name_bytes(self.forward_stream or "")

    @property
    def hash_template(self) -> Template:
        """What makes the key of an entry's hash."""
        return Template(self.hash_key, self.keys.stream, self.group_bytes)

    @property
    def order_template(self) -> Template:
        """What makes the order key of an entry, where the handler itself needs none."""
        return Template(self.order_key or self.hash_key, self.keys.stream, self.group_bytes)

    @property
    def hash_from_bytes(self) -> bytes | None:
        """The name of the field whose JSON becomes the hash; None if the entry's fields do."""
        return None if self.hash_from is None else name_bytes(self.hash_from)

    @property
    def version_field_bytes(self) -> bytes | None:
        """The name of the hash field that keeps the version; None without one."""
        return None if self.hash_version_field is None else name_bytes(self.hash_version_field)


_AUTO: int | str = "auto"
_AUTO_OR_COUNT: kinds.Kind[int | str] = kinds.either("auto", other=kinds.whole(0, 5))


@dataclass(frozen=True, slots=True)
class Pattern:
    """An object of RECLAIM_TARGETS with a star in `stream` or `group`: the targets that it matches are found anew.

    Attributes:
        stream: which streams.
        group: which of their groups.
        template: the settings of each target that it finds.
    """

    stream: Glob
    group: Glob
    template: Target

    @property
    def name(self) -> str:
        """What it is called: the two patterns as they were written, with a slash between them."""
        return f"{self.stream.text}/{self.group.text}"

    @property
    def weight(self) -> int:
        """How specific it is."""
        return self.stream.weight + self.group.weight

    def matches(self, stream: bytes, group: bytes) -> bool:
        """Whether it finds this target."""
        return self.stream.matches(stream) and self.group.matches(group)

    def target(self, stream: bytes, group: bytes) -> Target:
        """The target that it has found. That it is gone once is no failure unless entries were pending there."""
        return replace(self.template, stream=written(stream), group=written(group), missing_ok=True)


# --- the app ---------------------------------------------------------------------------------------------------------


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

    host: str  # empty for a Unix socket
    port: int
    targets: tuple[Target, ...]
    socket_path: str | None = None
    username: str | None = setting("REDIS_USERNAME", None, kinds.TEXT, "the user; without it the default user")
    password: str | None = setting("REDIS_PASSWORD", None, kinds.SECRET, "the user's password")
    auth: str = setting(
        "REDIS_AUTH",
        "password",
        kinds.AUTH,
        "`entra`: sign in with a managed identity's Microsoft Entra tokens, and no password",
    )
    entra_client_id: str | None = setting(
        "REDIS_ENTRA_CLIENT_ID",
        None,
        kinds.CLIENT_ID,
        "with `REDIS_AUTH=entra` or `HTTP_AUDIENCE`: the client ID of a user-assigned identity; without it the "
        "system-assigned one is used",
    )
    tls: bool = setting(
        "REDIS_TLS", True, kinds.BOOLEAN, "whether to use TLS: 1.2 or newer, certificate and host name verified"
    )
    db: int = setting("REDIS_DB", 0, kinds.whole(0, MAX_DB), "the number of the database")
    cluster: bool = setting(
        "REDIS_CLUSTER",
        False,
        kinds.BOOLEAN,
        "true for a Redis cluster whose nodes are spoken to: on Azure the OSS cluster policy",
    )
    store_replicas: int | str = setting(
        "STORE_REPLICAS",
        _AUTO,
        _AUTO_OR_COUNT,
        "how many replicas must have a hash, or an entry forwarded to another slot, before the entry is acknowledged; "
        "`auto`: with `REDIS_CLUSTER` 1 for each primary that has a replica, else 0",
    )
    ca_file: str | None = setting(
        "REDIS_CA_FILE", None, kinds.FILE, "a file with the certificate of a private CA, for TLS"
    )
    schedule: str = setting(
        "RECLAIM_SCHEDULE", DEFAULT_SCHEDULE, kinds.SCHEDULE, "when runs begin, in UTC: six-field NCRONTAB"
    )
    run_budget_sec: float = setting("RUN_BUDGET_SEC", 240.0, kinds.number(1, 3600), "how long one run may take")
    discover_sec: float = setting(
        "DISCOVER_SEC",
        300.0,
        kinds.number(1, 86_400),
        "how often the patterns in `RECLAIM_TARGETS` look for new streams and groups (docs/scale.md)",
    )
    fan_out: str | None = setting(
        "FAN_OUT",
        None,
        kinds.choice("queue"),
        "`queue`: the timer passes targets that have work on to other instances, through a storage queue "
        "(docs/scale.md)",
    )
    prefix: str | None = setting(
        "RECLAIM_PREFIX",
        None,
        kinds.PREFIX,
        "before the names and routes of our HTTP functions, where an app of your own has the same ones: with `reclaim` "
        "the status is at `/api/reclaim/status` (docs/handlers.md)",
    )
    alert_webhook_url: str | None = setting(  # a Logic App's address holds its key
        "ALERT_WEBHOOK_URL",
        None,
        kinds.secret(kinds.WEB_ADDRESS),
        "where alerts are POSTed as CloudEvents 1.0; without it they are in the log",
    )
    alert_webhook_key: str | None = setting(
        "ALERT_WEBHOOK_KEY",
        None,
        kinds.secret(kinds.HEADER),
        "a key that is sent with each alert, in the header `aeg-sas-key`",
    )
    alert_repeat_sec: float = setting(
        "ALERT_REPEAT_SEC", 900.0, kinds.number(1, 604_800), "the least time between two repeats of one alert"
    )
    log_format: str = setting(
        "LOG_FORMAT",
        "auto",
        kinds.choice("auto", "json", "text"),
        "how the plain program writes its log: `json`, an object a line; `text`, a readable line; `auto`: text at a "
        "terminal, JSON elsewhere. On Azure the host writes it",
    )
    patterns: tuple[Pattern, ...] = ()
    dashboard_url: str | None = None
    insights: Insights | None = None
    warnings: tuple[Warned, ...] = field(default=(), compare=False)

    @property
    def address(self) -> str:
        """Where the server is, as messages name it: ``host:port``, ``[::1]:6380`` or ``unix:///path``."""
        if self.socket_path is not None:
            return f"unix://{self.socket_path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_on_this_machine(self) -> bool:
        """Whether what is sent there does not leave this machine."""
        return self.socket_path is not None or self.host in LOOPBACK

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Settings":
        """Read the settings.

        Raises:
            SettingsError: naming each bad or missing setting, its value (masked if secret) and what is allowed.
        """
        reader = Reader(env)
        given = reader.read_all(cls)
        where = _where(reader, given)
        targets, patterns = _targets(reader, env)
        settings = cls(
            targets=targets,
            patterns=patterns,
            dashboard_url=_dashboard_url(reader, given["prefix"]),
            insights=_insights(reader),
            host=where.host,
            port=where.port or 0,
            socket_path=where.socket_path,
            **given | {"tls": where.tls, "username": where.username, "password": where.password, "db": where.db},
        )
        _check_cluster(reader, settings)
        _check_entra(reader, settings)
        unused = look_for_unused(env, None if reader.problems else where)
        problems = [*reader.problems, *unused.problems]
        warnings = (*reader.warnings, *unused.warnings)
        if problems:
            raise SettingsError(problems, warnings)
        return replace(settings, warnings=warnings)


# --- settings that are no field of their own -------------------------------------------------------------------------

_HOST = Setting(
    "REDIS_HOST",
    REQUIRED,
    kinds.HOST,
    "`host` or `host:port` (without it 6380 with TLS, 6379 without), or a Unix socket's path; not with `REDIS_URL`",
)
_URL = Setting(
    "REDIS_URL",
    None,
    kinds.URL,
    "instead of `REDIS_HOST`: `redis://`, `rediss://`, `unix://`, or the connection string that the Azure portal "
    "shows; it decides TLS, user, password and database",
)
_TARGETS: Setting[Any] = Setting(
    "RECLAIM_TARGETS",
    None,
    kinds.TARGETS,
    "several streams: a JSON list of objects with `stream`, `group` and any setting of one target, in lower case: "
    '`[{"stream": "a", "group": "g"}, {"stream": "b", "group": "g", "hash_key": "b:{id}"}]`; `stream` and `group` may '
    r"be patterns, as in `orders:*` (`\*` is a plain star)",
)
_RESOURCE: Setting[tuple[str, str] | None] = Setting(
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    None,
    kinds.RESOURCE,
    "an Application Insights resource; turns telemetry on",
)
_IDENTITY: Setting[dict[str, str] | None] = Setting(
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    None,
    kinds.IDENTITY,
    "`Authorization=AAD` for resources that take Entra tokens only",
)
_LOGS = Setting(
    "APPLICATIONINSIGHTS_LOGS",
    False,
    kinds.BOOLEAN,
    "whether the plain program's log lines go to Application Insights too",
)
_SITE_HOST: Setting[str | None] = Setting(
    "WEBSITE_HOSTNAME", None, kinds.TEXT, "the app's host name on Azure", is_listed=False
)
_SITE_NAME: Setting[str] = Setting(
    "WEBSITE_SITE_NAME", "reclaim", kinds.TEXT, "the app's name on Azure", is_listed=False
)

OF_TARGET: tuple[Setting[Any], ...] = tuple(rows(Target).values())
OF_APP: tuple[Setting[Any], ...] = (
    *(_HOST, _URL, *rows(Settings).values()),
    *(_RESOURCE, _IDENTITY, _LOGS, _SITE_HOST, _SITE_NAME, _TARGETS),
)
TABLE = (*OF_APP, *OF_TARGET)


def _where(reader: Reader, given: Mapping[str, Any]) -> Address:
    """Where the server is and how it is spoken to: what REDIS_URL decides, or REDIS_HOST and the settings beside it."""
    decided = {name: given[name] for name in ("tls", "username", "password", "db")}
    if reader.is_set(_URL):
        said = reader.read(_URL) or Address()
        if reader.is_set(_HOST):
            reader.problem(_HOST.name, f"set, and so is {_URL.name}", "one of the two")
        by_url = {"username": said.username, "password": said.password, "db": said.db}
        by_url |= {} if said.tls is None else {"tls": said.tls}
        decided |= by_url
        for name in by_url if said != Address() else ():  # a bad URL decides nothing
            row = rows(Settings)[name]
            if reader.is_set(row) and _meaning(given[name]) != _meaning(by_url[name]):
                reader.problem(row.name, f"not what {_URL.name} says, which decides it", f"{_URL.name} alone")
        for option in said.unused:
            what = f"an option of {_URL.name} is not known: {option}"
            reader.warnings.append(Warned(what, "see whether it is one that has to be heeded"))
    else:
        said = reader.read(_HOST) or Address()
    if said.socket_path is not None:
        if reader.is_set(rows(Settings)["tls"]) and given["tls"]:
            reader.problem("REDIS_TLS", "'true'", "false for a Unix socket")
        return Address(socket_path=said.socket_path, **decided | {"tls": False})
    return Address(said.host, said.port or (TLS_PORT if decided["tls"] else PLAIN_PORT), **decided)


def _check_cluster(reader: Reader, settings: Settings) -> None:
    """A cluster has one database, and its nodes are reached by TCP."""
    if not settings.cluster:
        return
    place = _URL.name if reader.is_set(_URL) else _HOST.name
    if settings.db:
        reader.problem(
            "REDIS_DB" if reader.is_set(rows(Settings)["db"]) else place,
            f"database {settings.db}, and REDIS_CLUSTER is true",
            "database 0: a cluster has no other",
        )
    if settings.socket_path is not None:
        reader.problem(place, "a Unix socket, and REDIS_CLUSTER is true", "the host and port of one of the nodes")


def _check_entra(reader: Reader, settings: Settings) -> None:
    """Who signs in with a token has no password, and lets nobody listen."""
    if settings.auth != "entra":
        return
    for name in ("username", "password"):
        if getattr(settings, name):
            where = _URL.name if reader.is_set(_URL) else rows(Settings)[name].name
            what = "a user" if name == "username" else "a password"
            reader.problem(where, f"{what}, and REDIS_AUTH is entra", "none: the token says who signs in")
    if not settings.tls and not settings.is_on_this_machine:
        reader.problem("REDIS_AUTH", "'entra', without TLS", "entra with REDIS_TLS=true: a token is a password")


def _meaning(value: Any) -> Any:
    """The value for comparison: no user is the user called default."""
    return None if value in {"", "default"} else value


def _dashboard_url(reader: Reader, prefix: str | None) -> str | None:
    """The dashboard's address on Azure; None elsewhere."""
    host = reader.read(_SITE_HOST)
    return host and f"https://{host}{path_of(prefix or '')}/dashboard"


def _insights(reader: Reader) -> Insights | None:
    """Where telemetry goes; None without a connection string."""
    resource, identity = reader.read(_RESOURCE), reader.read(_IDENTITY) or {}
    role, logs = reader.read(_SITE_NAME), reader.read(_LOGS)
    return resource and Insights(*resource, role, bool(identity), identity.get("clientid"), logs)


def _targets(reader: Reader, env: Mapping[str, str]) -> tuple[tuple[Target, ...], tuple[Pattern, ...]]:
    """The one target of STREAM_NAME, or those that RECLAIM_TARGETS lists, and its patterns."""
    if not reader.is_set(_TARGETS):
        one = (_target(reader),)
        _warn_of_places(reader, one)
        return one, ()
    shared = _shared(env)
    both = [
        _listed(reader, f"{_TARGETS.name}[{at}].", _own(reader, at, listed), shared)
        for at, listed in enumerate(reader.read(_TARGETS) or ())
    ]
    targets = tuple(one for one in both if isinstance(one, Target))
    patterns = tuple(one for one in both if isinstance(one, Pattern))
    for name, times in Counter(one.name for one in patterns).items():
        if times > 1:
            reader.problem(_TARGETS.name, repr(name), "each pattern once")
    complete = [target for target in targets if target.stream and target.group]
    names = [target.name for target in complete]
    for name in sorted({name for name in names if names.count(name) > 1}):
        reader.problem(_TARGETS.name, repr(name), "each stream and group once")
    if len({target.keys.lease for target in complete}) < len(set(names)):
        reader.problem(_TARGETS.name, repr(", ".join(names)), "streams that differ by more than braces")
    _warn_of_places(reader, (*targets, *(one.template for one in patterns)))
    return targets, patterns


def _listed(reader: Reader, place: str, own: dict[str, Any], shared: Mapping[str, Any]) -> Target | Pattern:
    """What one object of RECLAIM_TARGETS names: a target, or a pattern for targets."""
    stream, group = (_glob(own.get(rows(Target)[name].name)) for name in ("stream", "group"))
    if stream is None or group is None or (stream.is_name and group.is_name):
        # A star that was escaped is a plain one from here on.
        plain = {rows(Target)[name].name: written(one.literals[0]) for name, one in _known(stream, group)}
        return _target(reader.within(place, own | plain, shared))
    return Pattern(stream, group, _target(reader.within(place, own, shared)))


def _glob(text: Any) -> Glob | None:
    """The pattern that a text is; None where it is refused as a name."""
    try:
        return Glob.of(text.strip()) if isinstance(text, str) and text.strip() else None
    except ValueError:
        return None


def _known(stream: Glob | None, group: Glob | None) -> list[tuple[str, Glob]]:
    return [(name, one) for name, one in (("stream", stream), ("group", group)) if one is not None and one.is_name]


def _shared(env: Mapping[str, str]) -> dict[str, Any]:
    """The settings that hold for all targets of a list: all but the names, which each target has for itself."""
    names = {row.name for row in OF_TARGET if row.short}
    return {name: value for name, value in env.items() if name not in names}


def _own(reader: Reader, at: int, listed: Mapping[str, Any]) -> dict[str, Any]:
    """What one object of RECLAIM_TARGETS sets, by the names of the environment."""
    names = {row.key: row.name for row in OF_TARGET}
    for key in sorted(listed.keys() - names.keys()):
        shown = repr(key) if re.fullmatch("[a-z_]{1,40}", key) else "'***'"  # what is no name may be a secret
        reader.problem(f"{_TARGETS.name}[{at}]", shown, ", ".join(sorted(names)))
    return {names[key]: value for key, value in listed.items() if key in names}


def _warn_of_places(reader: Reader, targets: Sequence[Target]) -> None:
    """Warn of a place that nothing is sent to, and of rings."""
    forwarding = {one.stream: one.forward_stream for one in targets if one.handler == "forward" and one.forward_stream}
    row = rows(Target)["forward_stream"]
    if reader.is_set(row) and not any(one.handler == "forward" for one in targets):
        what = f"{row.name} is set, and no target has HANDLER=forward"
        reader.warnings.append(Warned(what, f"set HANDLER=forward, or remove {row.name}"))
    row = rows(Target)["http_url"]
    if reader.is_set(row) and not any(one.handler == "http" for one in targets):
        what = f"{row.name} is set, and no target has HANDLER=http"
        reader.warnings.append(Warned(what, f"set HANDLER=http, or remove {row.name}"))
    todo = "be sure that entries leave it: what nobody finishes there goes round for ever"
    reader.warnings += (Warned(f"entries are forwarded in a ring: {one}", todo) for one in rings(forwarding))


def _target(reader: Reader) -> Target:
    given = reader.read_all(Target)
    if given["handler"] == "forward":
        _check_destination(reader, given)
    if given["handler"] == "http" and not reader.is_set(rows(Target)["http_url"]):
        reader.problem(reader.name(rows(Target)["http_url"]), "missing, and HANDLER is http", "a web address")
    if given["http_audience"] and _says_who(given):
        name = reader.name(rows(Target)["http_headers"])
        reader.problem(name, "with Authorization, and HTTP_AUDIENCE is set", "one of the two: both say who is calling")
    parts = urlsplit(given["http_url"] or "")
    if parts.username is not None and (given["http_audience"] or _says_who(given)):
        other = "HTTP_AUDIENCE" if given["http_audience"] else "HTTP_HEADERS"
        name = reader.name(rows(Target)["http_url"])
        reader.problem(name, f"with a user, and {other} says who is calling", "one of the two")
    if given["http_audience"] and parts.scheme == "http" and parts.hostname not in LOOPBACK:
        name = reader.name(rows(Target)["http_url"])
        reader.problem(name, "without TLS, and HTTP_AUDIENCE is set", "an https:// address: a token is a password")
    if given["handler"] not in IN_REDIS and not reader.is_set(rows(Target)["lanes"]):
        given["lanes"] = WAITING_LANES
    return Target(**given)


def _says_who(given: Mapping[str, Any]) -> bool:
    return any(name.lower() == "authorization" for name, _ in given["http_headers"] or ())


def _check_destination(reader: Reader, given: Mapping[str, Any]) -> None:
    """A stream to forward to has to be named, and is none that the target works with itself."""
    row, to = rows(Target)["forward_stream"], given["forward_stream"]
    if to and given["stream"] and is_own(to, given["stream"], given["group"]):
        reader.problem(reader.name(row), f"{to!r}, which is the target's own", "another stream")
    elif not reader.is_set(row):
        reader.problem(reader.name(row), "missing, and HANDLER is forward", "the stream to forward to")
