"""Owns the doctor's look at formats: whether a newer release has written what this one leaves alone."""

import json
from contextlib import suppress
from typing import Any

from reclaim.entry import by_name
from reclaim.ops.checks import Check, warn
from reclaim.settings import Target
from reclaim.state.ask import Ask, Command, Reply
from reclaim.state.connection import Server
from reclaim.state.formats import FIELD, FORMAT, of_newer_release
from reclaim.state.patience import patiently

TODO = "deploy the newer release everywhere; an old one beside it goes on working, and leaves this as it is"


async def examine_formats(server: Server, target: Target) -> list[Check]:
    """A warning for each thing kept whose format, or whose latest record's, is a newer release's.

    Raises:
        ServerError, redis.exceptions.RedisError: the server does not answer.
    """
    keys = target.keys
    asks: dict[str, Ask[bytes]] = {
        "the circuit": Ask.one(("HGET", keys.circuit, FIELD), _said),
        "what the last run saw": Ask.one(("HGETALL", keys.seen), lambda flat: _said(by_name(flat).get(FIELD))),
        "the latest dead letter": Ask.one(_latest(keys.dead), _of_record),
        "the latest lost entry": Ask.one(_latest(keys.lost), _of_record),
        "the latest record of the audit": Ask.one(_latest(keys.audit), _of_record),
        "the latest report of a run": Ask.one(_latest(keys.runs), _of_report),
    }
    found = await patiently(server, lambda: server.ask(*(ask.or_error() for ask in asks.values())))
    versions = zip(asks, found, strict=True)
    return [
        warn(target.name, of_newer_release(what, version), TODO)
        for what, version in versions
        if isinstance(version, bytes) and version != FORMAT
    ]


def _latest(key: bytes) -> Command:
    return ("XREVRANGE", key, "+", "-", "COUNT", 1)


def _said(version: bytes | None) -> bytes:
    return FORMAT if version is None else version


def _of_record(found: Reply) -> bytes:
    return _said(by_name(found[0][1]).get(FIELD)) if found else FORMAT


def _of_report(found: Reply) -> bytes:
    report: Any = None
    with suppress(ValueError, RecursionError, IndexError):  # none, or what somebody else has put there
        report = json.loads(found[0][1][1])
    version = report.get(FIELD.decode()) if isinstance(report, dict) else None
    return FORMAT if version is None else str(version).encode(errors="replace")
