"""Owns the doctor's look at the services that entries are POSTed to: it sends none, only OPTIONS."""

from reclaim import handlers
from reclaim.errors import NotAccepted, NoToken, SettingsError, describe
from reclaim.handlers.http import HttpHandler, Look
from reclaim.ops.checks import Check, fail, ok, warn
from reclaim.settings import Target
from reclaim.state.connection import Server

MOST_SEC = 10.0  # for an answer


async def examine_service(server: Server, target: Target) -> list[Check]:
    """Whether the service of HTTP_URL answers; nothing where the target has none."""
    if target.handler != "http":
        return []
    try:
        handler = handlers.make(server, target)
    except SettingsError:  # a finding of its own
        return []
    assert isinstance(handler, HttpHandler)  # noqa: S101  # what HANDLER=http makes
    try:
        return [_judged(target, await handler.look(min(target.http_timeout_sec, MOST_SEC)))]
    except Exception as exc:  # noqa: BLE001  # a client may raise anything, and the doctor goes on
        return [fail(target.name, *_unreached(exc))]


def _unreached(exc: Exception) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    if isinstance(exc, NoToken):
        return str(exc), "check HTTP_AUDIENCE, and whether the identity may call that application"
    if isinstance(exc, NotAccepted):
        return str(exc), "use a certificate that is trusted here"
    return (
        f"the service of HTTP_URL cannot be reached: {describe(exc)}",
        "check HTTP_URL, the firewall, and the service",
    )


def _judged(target: Target, look: Look) -> Check:
    """What the answer means. To OPTIONS a service may say that it takes POST alone, which is well."""
    about, what = target.name, f"{look.shown} answers {look.status} to OPTIONS"
    if 300 <= look.status < 400:
        to = f", and leads to {look.leads_to}" if look.leads_to else ""
        return fail(about, f"{what}{to}", "let HTTP_URL be the address itself: no redirect is followed")
    if look.status in {401, 403}:
        who = "HTTP_AUDIENCE and what the identity may do there" if target.http_audience else "HTTP_HEADERS"
        return warn(about, what, f"check {who}: if a POST is answered so too, runs fail")
    if look.status == 404:
        return warn(about, what, "check the path of HTTP_URL: if a POST is answered so too, entries fail")
    if look.status >= 500 and look.status != 501:
        return warn(about, what, "see whether the service is well")
    return ok(about, what)
