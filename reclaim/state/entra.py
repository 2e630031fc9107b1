"""Owns the Entra tokens of our identity: when one is asked for, which is used meanwhile, and what is said without one.

A token is asked for in a thread, because azure-identity blocks, and once at a time. At 60 % of its life a new one is
asked for, and the old one is used until the new one is there, also while the endpoint that gives tokens is down. Only
where there is no valid token does anybody wait. azure-identity is imported in a thread too, once, before the first
question (`Tokens.prepare`): on a busy machine that takes longer than one attempt may.
"""

import asyncio
import base64
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from typing import Any, Self, TypeVar

from reclaim.errors import NoToken, describe

logger = logging.getLogger("reclaim")

REDIS_SCOPE = "https://redis.azure.com/.default"  # of Azure Cache for Redis and Azure Managed Redis
REFRESH_AT = 0.6  # of a token's life
AGAIN = 0.02  # of a token's life, until it is tried again after a failure
LEAST_AGAIN_SEC, MOST_AGAIN_SEC = 0.2, 30.0
CONNECT_SEC, READ_SEC = 2, 3  # of one question

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Token:
    """A token.

    Attributes:
        secret: the token itself.
        asked_at: when it was asked for, Unix seconds.
        expires_at: when it expires, Unix seconds.
    """

    secret: str = field(repr=False)
    asked_at: float
    expires_at: float

    @property
    def life_sec(self) -> float:
        """How long it was to live when it was given."""
        return max(self.expires_at - self.asked_at, 0.0)

    @property
    def user(self) -> str:
        """The object ID of the identity, which is the name of its user in Redis: the claim ``oid``.

        Raises:
            NoToken: the token is no JWT, or has no such claim. Its signature is the server's to check.
        """
        try:
            claims = self.secret.split(".")[1]
            oid = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["oid"]
        except (ValueError, LookupError, TypeError) as exc:
            raise NoToken("the Entra token has no claim 'oid', which is the name of the user in Redis") from exc
        return str(oid)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose tokens are asked for, and for what.

    Attributes:
        client_id: of a user-assigned identity; None for the system-assigned one.
        scope: what the token is for.
    """

    client_id: str | None
    scope: str = REDIS_SCOPE

    @classmethod
    def for_audience(cls, audience: str, client_id: str | None) -> Self:
        """The same for a service of one's own, by its audience (an application ID URI, or an application's ID).

        The URI is taken as it is: of one that ends with a slash, the token's audience has it too.
        """
        return cls(client_id, f"{audience}/.default")

    def __str__(self) -> str:
        who = "the system-assigned identity" if self.client_id is None else f"the identity {self.client_id}"
        return f"{who}, {self.scope}, from {endpoint_kind(os.environ)}"

    def load(self) -> None:
        """Import what asks: blocks for 0.2 s or many seconds, so it is called in a thread."""
        import_module("azure.identity")

    def ask(self) -> Token:
        """Ask for a token: blocks, so it is called in a thread. It raises whatever azure-identity raises.

        A credential keeps its token until shortly before it expires, so each question has a credential of its own. It
        is not to try again by itself: it would wait as long as the endpoint says, and no other question be asked.
        """
        from azure.identity import DefaultAzureCredential, ManagedIdentityCredential  # noqa: PLC0415  # 0.2 s

        limits: dict[str, Any] = {"connection_timeout": CONNECT_SEC, "read_timeout": READ_SEC, "retry_total": 0}
        asked_at = time.time()
        credential: Any
        if _has_identity_endpoint(os.environ):
            credential = ManagedIdentityCredential(client_id=self.client_id, **limits)
        else:  # a workload identity, a virtual machine's, or a developer's login
            credential = DefaultAzureCredential(managed_identity_client_id=self.client_id, **limits)
        with credential:
            given = credential.get_token(self.scope)
        return Token(given.token, asked_at, float(given.expires_on))


class Tokens:
    """The tokens of one identity, on one event loop."""

    def __init__(
        self, identity: Identity, ask: Callable[[], Token] | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """Make it; nothing is asked yet.

        Args:
            identity: whose tokens.
            ask: gives a token, in a thread; by default `Identity.ask`.
            clock: Unix seconds.
        """
        self.identity = identity
        self._ask = ask or identity.ask
        self._is_loaded = ask is not None
        self._loading = asyncio.Lock()
        self._clock = clock
        self._token: Token | None = None
        self._due_at = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._error: Exception | None = None

    async def prepare(self) -> None:
        """See to it that what asks for tokens is imported; it takes as long as it takes, but once.

        It does not raise: what cannot be imported is told by `current`.
        """
        if self._is_loaded:
            return
        async with self._loading:
            if not self._is_loaded:
                with suppress(Exception):  # the question will meet the same error
                    await _in_thread(self.identity.load)
                self._is_loaded = True

    async def current(self, within_sec: float) -> Token:
        """A valid token; where there is none, it is waited for.

        Raises:
            NoToken: there was none within so many seconds; the text says whose, for what, from where, and why.
        """
        now = self._clock()
        if now >= self._due_at:
            self._begin()
        if self._token is not None and now < self._token.expires_at:
            return self._token
        asking = self._asking or self._begin()
        await asyncio.wait({asking}, timeout=within_sec)
        if self._token is not None and self._clock() < self._token.expires_at:
            return self._token
        why = f"no answer within {within_sec:g} s" if not asking.done() else _said(self._error)
        raise NoToken(f"no Entra token could be had ({self.identity}): {why}") from self._error

    def refuse(self) -> None:
        """Note that the token was refused: the next question asks for another one, and waits for it."""
        if self._token is not None:
            self._token = replace(self._token, expires_at=0.0)
        self._due_at = min(self._due_at, 0.0) if self._asking is None or self._asking.done() else self._due_at

    def _begin(self) -> asyncio.Task[None]:
        """Ask for a token, unless one is asked for already."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._renew())
        return self._asking

    async def _renew(self) -> None:
        self._due_at = float("inf")  # until this question is answered, none is begun
        try:
            token = await _in_thread(self._ask)
        except Exception as exc:  # noqa: BLE001  # whatever it is, the token that we have is used on
            self._failed(exc)
            return
        except BaseException:  # the loop is being closed, or this question was cancelled: the next one asks anew
            self._due_at = 0.0
            raise
        self._error = None
        wait_sec = max(REFRESH_AT * token.life_sec, LEAST_AGAIN_SEC)  # the platform may have given the same one again
        self._token, self._due_at = token, token.asked_at + wait_sec

    def _failed(self, exc: Exception) -> None:
        if self._error is None and self._token is not None:
            left_sec = self._token.expires_at - self._clock()
            what = "reclaim: no new Entra token (%s): %s; the old one is good for %.0f s"
            logger.warning(what, self.identity, _said(exc), left_sec)
        self._error = exc
        self._due_at = self._clock() + self._again_sec(self._token)

    def _again_sec(self, token: Token | None) -> float:
        life_sec = 0.0 if token is None else token.life_sec
        return min(max(AGAIN * life_sec, LEAST_AGAIN_SEC), MOST_AGAIN_SEC)


async def _in_thread(call: Callable[[], T]) -> T:
    """What the call returns, made in a thread that keeps no process from ending."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not answer.done():
            set_it()

    def work() -> None:
        try:
            set_it = partial(answer.set_result, call())
        except Exception as exc:  # noqa: BLE001  # whatever it is, it is the answer
            set_it = partial(answer.set_exception, exc)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, set_it)

    threading.Thread(target=work, name="reclaim.entra", daemon=True).start()
    return await answer


def endpoint_kind(env: Mapping[str, str]) -> str:
    """What gives tokens here, in words."""
    if _has_identity_endpoint(env):
        return "the identity endpoint of App Service"
    if env.get("AZURE_FEDERATED_TOKEN_FILE"):
        return "the workload identity"
    return "DefaultAzureCredential: the machine's identity endpoint (IMDS), or a developer's login"


def _has_identity_endpoint(env: Mapping[str, str]) -> bool:
    return bool(env.get("IDENTITY_ENDPOINT") or env.get("MSI_ENDPOINT"))


def _said(exc: Exception | None) -> str:
    """What the error says, in one line: DefaultAzureCredential has a line for each way that it tried."""
    return "" if exc is None else " ".join(describe(exc).split())
