"""Owns the doctor's look at one target: stream, group, how idle entries are found, and permissions."""

from collections.abc import Iterator, Mapping
from typing import Any

from redis.exceptions import RedisError, ResponseError

from reclaim import handlers
from reclaim.counted import many
from reclaim.entry import Entry, by_name, id_number, readable
from reclaim.errors import MissingField, ServerError, said
from reclaim.names import written
from reclaim.ops.checks import Check, fail, ok, warn
from reclaim.ops.format_checks import examine_formats
from reclaim.ops.group_checks import examine_groups
from reclaim.ops.permissions import Refusal, refusals, rule, whole_rule
from reclaim.run.fit import FIRST, Fit
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply, plain
from reclaim.state.connection import Server
from reclaim.state.find import NATIVE_UP_TO, Finder
from reclaim.state.patience import patiently
from reclaim.state.refunds import Refunds
from reclaim.state.seen import Seen
from reclaim.state.unsuitable import why_unsuitable
from reclaim.verdicts import error_code


async def examine(server: Server, target: Target) -> list[Check]:
    """All checks of one target.

    Raises:
        ServerError, redis.exceptions.RedisError: the server does not answer.
    """
    stream, group = target.keys.stream, target.group_bytes
    about_stream, summary, idle = await patiently(
        server,
        lambda: server.ask(
            Ask.one(("XINFO", "STREAM", stream), by_name).or_error(),
            plain("XPENDING", stream, group).or_error(),
            plain("XPENDING", stream, group, "IDLE", 0, "-", "+", 1).or_error(),
        ),
    )
    facts = {} if isinstance(about_stream, Exception) else about_stream
    newest = facts.get(b"last-entry")
    return [
        *_stream_and_group(target, about_stream, summary),
        *_trimmed(target, facts.get(b"first-entry"), summary),
        *_path(target, idle),
        *await _misfit(server, target, summary),
        *_hash_key(target, newest),
        *_names(target, newest),
        *await examine_groups(server, target),
        *await _destination(server, target),
        *await examine_formats(server, target),
        *await _permissions(server, target, newest),
    ]


def _stream_and_group(target: Target, stream: Mapping[bytes, Any] | Exception, summary: Reply) -> Iterator[Check]:
    about = target.name
    if isinstance(stream, ResponseError) and "no such key" in str(stream):
        todo = f"check STREAM_NAME; or make it: XGROUP CREATE {target.stream} {target.group} 0 MKSTREAM"
        yield _missing(target, f"the stream {target.stream} is not there", todo)
    elif isinstance(stream, ResponseError) and error_code(stream) == "WRONGTYPE":
        yield fail(about, f"the key {target.stream} is not a stream", "check STREAM_NAME")
    elif isinstance(summary, ResponseError) and error_code(summary) == "NOGROUP":
        todo = f"check STREAM_CONSUMER_GROUP_NAME, or XGROUP CREATE {target.stream} {target.group} 0"
        yield _missing(target, f"the stream is there, but not its group {target.group}", todo)
    elif isinstance(stream, Exception) or isinstance(summary, Exception):
        error = stream if isinstance(stream, Exception) else summary
        if error_code(error) != "NOPERM":  # permissions are a finding of their own
            yield fail(about, f"the stream cannot be looked at: {said(error)}", _todo(error))
    else:
        yield ok(about, f"the stream has {many(stream[b'length'], 'entry')}, the group {summary[0]:,} pending")


def _missing(target: Target, what: str, todo: str) -> Check:
    """With MISSING_OK it may only not be there yet; runs tell where it was there once."""
    return warn(target.name, what, todo) if target.missing_ok else fail(target.name, what, todo)


def _trimmed(target: Target, first: Reply, summary: Reply) -> Iterator[Check]:
    """Whether entries are pending that are no longer in the stream."""
    if isinstance(summary, Exception) or not summary[0]:
        return
    if not first or id_number(summary[1]) < id_number(first[0]):
        todo = "let what trims the stream (MAXLEN, MINID) keep more: they will be recorded as lost"
        yield warn(target.name, f"entries from {readable(summary[1])} on are pending but trimmed or deleted", todo)


def _path(target: Target, idle: Reply) -> Iterator[Check]:
    if not isinstance(idle, Exception) or error_code(idle) == "NOGROUP":
        what = f"idle entries are found with XPENDING IDLE, and above {NATIVE_UP_TO:,} pending with a script"
        yield ok(target.name, what)
    elif "syntax error" in str(idle):
        yield ok(target.name, "idle entries are found with a script, as this server has no XPENDING IDLE")


async def _misfit(server: Server, target: Target, summary: Reply) -> list[Check]:
    """Whether the setting fits none of the pending entries, so that runs fail."""
    handler = handlers.make(server, target) if target.handler == "hash" else None
    if handler is None or handler.needs is None or isinstance(summary, Exception) or not summary[0]:
        return []
    try:
        facts = await server.call("HGETALL", target.keys.seen)
        if handler.needs.text in Seen.read(by_name(facts)).stored_under:
            return []
        finder = Finder(server, target, Refunds(server, target))
        misfit = await Fit(handler, finder).misfit(await finder.spread(FIRST))
    except (ServerError, RedisError):  # permissions are a finding of their own
        return []
    if misfit is None:
        return []
    todo = f"correct {misfit.setting}: until then runs fail and change nothing; or reclaim run --park-misfits"
    return [fail(target.name, str(misfit), todo)]


def _hash_key(target: Target, newest: Reply) -> Iterator[Check]:
    if not newest:
        return
    if target.handler == "requeue":  # order ends there anyway
        return
    if target.handler != "hash":
        yield from _order_key(target, newest)
        return
    try:
        key = target.hash_template.render(Entry(*newest))
    except MissingField as exc:
        todo = "correct HASH_KEY: entries that it does not fit become dead letters"
        yield warn(target.name, f"the newest entry, {readable(newest[0])}, has {said(exc)}", todo)
    else:
        yield ok(target.name, f"the newest entry, {readable(newest[0])}, would be stored at {written(key)}")


async def _destination(server: Server, target: Target) -> list[Check]:
    """Whether the stream that entries are forwarded to is one, or may become one."""
    if target.handler != "forward":
        return []
    to = written(target.forward_stream_bytes)
    ask = plain("XINFO", "STREAM", target.forward_stream_bytes).or_error()
    (about,) = await patiently(server, lambda: server.ask(ask))
    if not isinstance(about, Exception):
        return [ok(target.name, f"entries are forwarded to the stream {to}")]
    if "no such key" in str(about):
        what = f"the stream {to} is not there yet; the first entry that is forwarded makes it, without a group"
        return [warn(target.name, what, "check FORWARD_STREAM, and make the group of its consumers from ID 0")]
    if error_code(about) == "WRONGTYPE":
        return [fail(target.name, f"the key {to} is not a stream", "check FORWARD_STREAM")]
    return []  # permissions are a finding of their own


def _names(target: Target, newest: Reply) -> Iterator[Check]:
    """Whether a hash would lose a value of the newest entry, because it has each name once."""
    if target.handler != "hash" or not newest:
        return
    entry = Entry(*newest)
    version, duplicate = target.version_field_bytes, entry.duplicate_name()
    if version is not None and entry.get(version) is not None:
        what = f"the newest entry, {readable(entry.id)}, has a field called {written(version)}, like HASH_VERSION_FIELD"
        yield fail(target.name, what, "choose another name: such entries become dead letters")
    if duplicate is not None:
        what = f"the newest entry, {readable(entry.id)}, has the field {written(duplicate)} more than once"
        todo = "the hash keeps its last value only; a handler of your own sees all of them"
        yield warn(target.name, what, todo)


def _order_key(target: Target, newest: Reply) -> Iterator[Check]:
    """A handler's entries without the order key's fields are handled in no order."""
    setting = "ORDER_KEY" if target.order_key else "HASH_KEY"
    try:
        target.order_template.render(Entry(*newest))
    except MissingField as exc:
        todo = "set ORDER_KEY to a field that entries of one order share, if their order matters"
        yield warn(
            target.name, f"the newest entry, {readable(newest[0])}, has {said(exc)} ({setting}): it has no order", todo
        )


async def _permissions(server: Server, target: Target, newest: Reply) -> list[Check]:
    hash_key = _a_hash_key(target, newest)
    try:
        refused = await refusals(server, target, hash_key)
    except ResponseError as exc:
        if error_code(exc) != "NOPERM":
            return [fail(target.name, f"MULTI is refused: {said(exc)}", _todo(exc))]
        what = f"the user may not run MULTI, so that what else it may not cannot be asked: {said(exc)}"
        return [fail(target.name, what, f"add to the user's rules: {whole_rule(target, hash_key)}")]
    others = {one.why: one for one in refused if not (one.of_command or one.of_key or one.is_of_scripts)}
    found = [fail(target.name, f"{_named(one)} would fail: {why}", _todo(one.error)) for why, one in others.items()]
    denied = [one for one in refused if one.of_command or one.of_key]
    if denied:
        commands = (f"run {_named(one)}" for one in denied if one.of_command)
        keys = (f"use keys like {one.pattern}" for one in denied if one.of_key)
        what = f"the user may not {', nor '.join(dict.fromkeys((*commands, *keys)))}"
        found.append(fail(target.name, what, f"add to the user's rules: {rule(denied)}"))
    return found or [ok(target.name, "the user may run every command that is needed")]


def _todo(error: Exception) -> str:
    """What to do about an error."""
    unsuitable = why_unsuitable(("",), error, b"", "")
    return (
        _TODO.get(error_code(error), "mend what the server names; its log says more")
        if unsuitable is None
        else unsuitable.todo
    )


_TODO = {
    "READONLY": "let REDIS_HOST name the primary",
    "OOM": "give the server more memory, or trim the stream",
    "MISCONF": "see why the server cannot write its snapshots",
}


def _named(refused: Refusal) -> str:
    return f"{refused.command} on {written(refused.key)}"


def _a_hash_key(target: Target, newest: Reply) -> bytes:
    """A key like those of the hashes that entries are stored in: the newest entry's, or that of a made-up entry."""
    template = target.hash_template
    try:
        return template.render(Entry(*newest)) if newest else template.example
    except MissingField:
        return template.example
