"""Owns the doctor: looks at settings, server and targets, and says what is wrong and what to do about it."""

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from itertools import chain

from redis.exceptions import RedisError

from reclaim import handlers
from reclaim.counted import many
from reclaim.entry import readable
from reclaim.errors import (
    AccessDenied,
    NotTrusted,
    ServerError,
    SettingsError,
    UnknownTarget,
    Unsuitable,
    describe,
    said,
)
from reclaim.kinds import FILE
from reclaim.ops.checks import Check, fail, ok, warn
from reclaim.ops.cluster_checks import examine_cluster
from reclaim.ops.health import Health
from reclaim.ops.pattern_checks import examine_patterns
from reclaim.ops.permissions import OF_CLUSTER, allowing, whole_rule
from reclaim.ops.server_info import info, kind_and_version
from reclaim.ops.service_checks import examine_service
from reclaim.ops.target_checks import examine
from reclaim.settings import TABLE, Settings, Target
from reclaim.state.ask import Ask, Reply, plain
from reclaim.state.connection import Server, connect
from reclaim.state.patience import patiently
from reclaim.state.server_time import TIME, unix_ms
from reclaim.state.unsuitable import is_a_sentinel, why_unsuitable
from reclaim.verdicts import error_code

OLDEST_VERSION = (6, 0)
MAX_CLOCK_DIFFERENCE_SEC = 1.0
FULL = 0.9  # of maxmemory
KEPT_SEC, BAD_KEPT_SEC = 60.0, 10.0  # findings of which none failed; of which one did
_NAMES_OF_USER = "REDIS_USERNAME and REDIS_PASSWORD"
SETTINGS = "settings"  # what a finding about the settings is about


async def doctor(env: Mapping[str, str]) -> list[Check]:
    """Everything that can be found out without changing anything; it does not raise for what is wrong."""
    try:
        settings = Settings.from_env(env)
    except SettingsError as exc:
        found = [fail(SETTINGS, problem, "set it and start again") for problem in exc.problems]
        return [*found, *_warned(env, exc.warnings)]
    server = connect(settings)
    try:
        handlers_found = [finding for target in settings.targets for finding in _handler(server, target)]
        services = await asyncio.gather(*(examine_service(server, target) for target in settings.targets))
        return [*_given(env, settings), *handlers_found, *chain(*services), *await _look(server, settings)]
    finally:
        await server.aclose()


def without_others(checks: Sequence[Check], target: str, env: Mapping[str, str]) -> list[Check]:
    """Those of the checks that are not about other targets than this one; all of them where the settings are bad.

    Raises:
        UnknownTarget: the settings name no such target.
    """
    try:
        configured = [one.name for one in Settings.from_env(env).targets]
    except SettingsError:
        return list(checks)
    if target not in configured:
        raise UnknownTarget(target, configured)
    return [one for one in checks if one.about == target or one.about not in configured]


class Checkup:
    """The doctor's findings about an app at work, kept for a while: its status is asked for every few seconds."""

    def __init__(self, server: Server, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._settings = settings
        self._clock = clock
        self._due = -math.inf
        self._looking = asyncio.Lock()
        self._findings: list[Check] = []
        self.at = datetime.now(UTC)

    async def findings(self, env: Mapping[str, str]) -> list[Check]:
        """What was found, at the moment `at`; looked for again where that is too long ago. It does not raise."""
        async with self._looking:
            if self._clock() >= self._due:
                try:
                    found = [*_given(env, self._settings), *await _look(self._server, self._settings)]
                except Exception as exc:  # noqa: BLE001  # a fault of ours is a result too: the status goes on
                    found = [
                        fail("doctor", f"could not finish: {describe(exc)}", "report it, with python -m reclaim doctor")
                    ]
                self.at = datetime.now(UTC)
                is_bad = any(one.health is Health.FAIL for one in found)
                self._due = self._clock() + (BAD_KEPT_SEC if is_bad else KEPT_SEC)
                self._findings = found
        return self._findings


async def _look(server: Server, settings: Settings) -> list[Check]:
    """What is found out by asking the server: a number of round trips that does not depend on the backlog."""
    found: list[Check] = []
    try:
        found += await _connection(server, settings)
        found += await _server(server, settings.store_replicas)
        found += await examine_cluster(server, settings)
        found += await examine_patterns(server, settings)
        for some in await asyncio.gather(*(examine(server, target) for target in settings.targets)):
            found += some
    except NotTrusted as exc:
        todo = "let REDIS_CA_FILE name the CA's certificate, and REDIS_HOST be the name that the certificate is for"
        found.append(fail("connection", str(exc), todo))
    except AccessDenied as exc:
        found.append(fail("connection", str(exc), _todo_for_access(exc, settings)))
    except Unsuitable as exc:
        found.append(fail("connection", exc.what, exc.todo))
    except (ServerError, RedisError) as exc:
        todo = "check REDIS_HOST and its port, the firewall, and whether REDIS_TLS is right for that port"
        found.append(fail("connection", said(exc), todo))
    return found


def _todo_for_access(exc: AccessDenied, settings: Settings) -> str:
    """What to ask an administrator for, at once: where a connection cannot even begin, nothing else can be asked."""
    if exc.command is None:
        return f"check {'the identity, and its access policy' if settings.auth == 'entra' else _NAMES_OF_USER}"
    rules = [allowing(command) for command in OF_CLUSTER] if settings.cluster else []
    rules += [rule for target in settings.targets for rule in whole_rule(target, b"").split()]
    return f"add to the user's rules: {' '.join(dict.fromkeys([allowing(exc.command), *rules]))}"


# --- settings --------------------------------------------------------------------------------------------------------


def _shown(env: Mapping[str, str]) -> str:
    given = sorted((row for row in TABLE if env.get(row.name)), key=lambda row: row.name)
    return ", ".join(f"{row.name}={row.kind.show(env[row.name])}" for row in given)


def _given(env: Mapping[str, str], settings: Settings) -> list[Check]:
    return [ok(SETTINGS, _shown(env)), *_warned(env, settings.warnings)]


def _warned(env: Mapping[str, str], warnings: Sequence[tuple[str, str]]) -> Iterator[Check]:
    """What is odd about the settings, and names in the environment that are nearly those of settings."""
    for what, todo in warnings:
        yield warn(SETTINGS, what, todo)
    names = {row.name for row in TABLE}
    told = {what.partition(" ")[0] for what, _ in warnings}
    for name in sorted(env.keys() - names - told):
        for meant in get_close_matches(name, names - env.keys(), n=1, cutoff=0.88):
            yield warn(SETTINGS, f"{name} is no setting of ours", f"if {meant} is meant, call it that")


def _handler(server: Server, target: Target) -> Iterator[Check]:
    named = [("HANDLER", target.handler)] if target.handler != "hash" else []
    own = (("RETRY_ON", target.retry_on), ("REJECT_ON", target.reject_on))
    named += [(name, ", ".join(of)) for name, of in own if of]
    if not named:
        return
    problems: list[str] = []
    for load in (lambda: handlers.make(server, target), lambda: handlers.own_errors(target)):
        try:
            load()
        except SettingsError as exc:
            problems += exc.problems
    yield from (fail(SETTINGS, problem, "deploy the module, or correct the name") for problem in problems)
    if not problems:
        yield from (ok(target.name, f"{name} {value} can be loaded") for name, value in named)


# --- connection and server -------------------------------------------------------------------------------------------


async def _connection(server: Server, settings: Settings) -> list[Check]:
    """Whether it is reached, with which encryption, and as whom."""
    tls = await server.tls_version()
    began = time.perf_counter()
    (whoami,) = await patiently(server, lambda: server.ask(Ask.one(("ACL", "WHOAMI"), readable).or_error()))
    ms = 1000 * (time.perf_counter() - began)
    found = [ok("connection", f"{server.address} answers in {ms:.1f} ms")]
    is_local = settings.is_on_this_machine
    if tls:
        found.append(await asyncio.to_thread(_trust, tls, settings.ca_file))
    elif is_local:
        found.append(ok("TLS", "off, and the server is on this machine"))
    else:
        found.append(warn("TLS", "off: all that is sent can be read on its way", "set REDIS_TLS=true and the TLS port"))
    user = (settings.username or "default") if isinstance(whoami, Exception) else whoami
    if settings.auth == "entra":
        found.append(ok("user", f"{user}, with an Entra token"))
    elif settings.password or is_local:
        found.append(ok("user", f"{user}, {'with a password' if settings.password else 'without a password'}"))
    else:
        found.append(warn("user", f"{user}, without a password", "protect the server, and set REDIS_PASSWORD"))
    return found


def _trust(tls: str, ca_file: str | None) -> Check:
    """What is verified; and whether it still could be, were it read anew."""
    if ca_file is not None:
        try:
            FILE.read(ca_file)
        except ValueError as exc:
            what = f"{tls}, but REDIS_CA_FILE is {ca_file!r}, which cannot be read any more: {said(exc)}"
            todo = "put the file back: without it no connection is made once one has failed, or the process starts anew"
            return warn("TLS", what, todo)
    return ok("TLS", f"{tls}, certificate and host name verified")


async def _server(server: Server, wanted: int | str) -> list[Check]:
    before = time.time()
    facts, script, server_time = await patiently(
        server,
        lambda: server.ask(
            Ask.one(("INFO",), info).or_error(),
            plain("EVAL", "return 1", 0).or_error(),
            Ask.one(TIME, lambda reply: unix_ms(reply) / 1000).or_error(),
        ),
    )
    after = time.time()
    found = []
    if not isinstance(facts, Exception) and facts.get("redis_mode") == "sentinel":
        raise is_a_sentinel(server.address)
    if isinstance(facts, Exception):
        found.append(warn("server", f"which server it is cannot be asked: {facts}", "allow the user +info"))
    else:
        found += [*_version(facts), *_role(facts, is_cluster=server.cluster is not None), _memory(facts)]
        found += [] if server.cluster else _replicas(facts, wanted)
    found.append(_scripts(script, server.address))
    if not isinstance(server_time, Exception):
        found.append(_clock(server_time, before, after))
    return found


def _scripts(answer: Reply, address: str) -> Check:
    if not isinstance(answer, Exception):
        return ok("scripts", "allowed")
    unsuitable = why_unsuitable(("EVAL",), answer, b"", address)
    if unsuitable is not None:
        return fail("scripts", unsuitable.what, unsuitable.todo)
    if error_code(answer) == "NOPERM":
        return fail("scripts", f"not allowed: {answer}", "allow the user +eval +evalsha")
    return fail("scripts", f"they fail: {answer}", "mend what the server names; its log says more")


def _version(facts: Mapping[str, str]) -> Iterator[Check]:
    kind, version = kind_and_version(facts)
    name = f"{kind.title()} {version}"
    # Valkey's own count began at 7.2, so that the same comparison holds for both.
    if tuple(int(part) for part in version.split(".")[:2] if part.isdecimal()) < OLDEST_VERSION:
        yield fail("server", name, "use Redis 6.0 or newer, or Valkey")
    else:
        yield ok("server", name)


def _role(facts: Mapping[str, str], *, is_cluster: bool) -> Iterator[Check]:
    if facts.get("role") == "slave":
        what = f"a replica of {facts.get('master_host')}:{facts.get('master_port')}, which takes no writes"
        yield fail("server", what, "let REDIS_HOST name the primary")
    if facts.get("loading") == "1":
        yield warn("server", "it is still loading its data", "wait; runs try again by themselves")
    if facts.get("cluster_enabled") == "1" and not is_cluster:
        todo = "see that each target's keys are on this node, or set REDIS_CLUSTER=true"
        yield warn("server", "it is a node of a cluster", todo)


def _replicas(facts: Mapping[str, str], wanted: int | str) -> Iterator[Check]:
    """Whether there are as many replicas as STORE_REPLICAS asks for; a provider's proxy may not tell of them."""
    there = facts.get("connected_slaves", "")
    if isinstance(wanted, int) and there.isdecimal() and int(there) < wanted:
        replicas = many(int(there), "replica")
        what = f"STORE_REPLICAS={wanted}, and the server tells of {replicas}: nothing may be acknowledged"
        yield warn("replicas", what, "add replicas, or set STORE_REPLICAS=0")


def _memory(facts: Mapping[str, str]) -> Check:
    most, used = int(facts.get("maxmemory", 0)), int(facts.get("used_memory", 0))
    policy = facts.get("maxmemory_policy", "noeviction")
    if not most:
        return ok("memory", "maxmemory is not set, so nothing is evicted")
    what = f"maxmemory-policy {policy}, {used / most:.0%} of {most / 2**20:,.0f} MiB used"
    if policy.startswith("allkeys"):
        what += ": when it is full, the stream, hashes and dead letters may be evicted"
        return warn("memory", what, "set maxmemory-policy noeviction")
    if policy.startswith("volatile"):
        what += ": when it is full, our lease and circuit, which expire, may be evicted"
        return warn("memory", what, "set maxmemory-policy noeviction")
    if used > FULL * most:
        return warn("memory", what, "give it more memory, or trim the stream: writes fail when it is full")
    return ok("memory", what)


def _clock(server_time: float, before: float, after: float) -> Check:
    """How far the clocks are apart; the server's was read at some time between ours."""
    apart = max(before - server_time, server_time - after, 0.0)
    if apart <= MAX_CLOCK_DIFFERENCE_SEC:
        return ok("clock", f"within {max(apart, after - before, 0.001):.3f} s of ours")
    word = "ahead of" if server_time > after else "behind"
    todo = "set both by NTP: the times in reports and records mislead, though no decision depends on them"
    return warn("clock", f"the server's is {apart:.1f} s {word} ours", todo)
