"""Owns the doctor's look at a stream's groups: which keep entries in it, read what is requeued, or are huge."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reclaim.counted import many
from reclaim.entry import by_name, id_number, readable
from reclaim.names import written
from reclaim.ops.checks import Check, ok, warn
from reclaim.settings import Target
from reclaim.state.ask import Ask, Reply
from reclaim.state.connection import Server
from reclaim.state.consumers import MAX_LISTED
from reclaim.state.patience import patiently

MOST_NAMED = 5
_NEVER_READ = b"0-0"


async def examine_groups(server: Server, target: Target) -> list[Check]:
    """Which groups keep entries in the stream, or see requeued ones twice; and whether ours has too many consumers.

    Raises:
        ServerError, redis.exceptions.RedisError: the server does not answer.
    """
    ask = Ask.one(("XINFO", "GROUPS", target.keys.stream), _groups).or_error()
    (groups,) = await patiently(server, lambda: server.ask(ask))
    if isinstance(groups, Exception):
        return []
    kept = _checks(target, groups) if target.delete_acknowledged else ()
    requeued = _requeued(target, groups) if target.handler == "requeue" else ()
    return [*kept, *requeued, *_consumers(target, groups)]


def _groups(reply: Reply) -> list[dict[bytes, Any]]:
    return [by_name(flat) for flat in reply]


def _checks(target: Target, groups: Sequence[Mapping[bytes, Any]]) -> Iterator[Check]:
    ours = next((one for one in groups if one[b"name"] == target.group_bytes), None)
    if ours is None:
        return  # another check says so
    others = [one for one in groups if one is not ours]
    keepers = [(one, why) for one in others if (why := _why_it_keeps(one, ours))]
    if keepers:
        named = ", ".join(f"{written(one[b'name'])} ({why})" for one, why in keepers[:MOST_NAMED])
        todo = f"see to its consumers; if nobody uses it any more: XGROUP DESTROY {target.stream} and its name"
        yield warn(target.name, f"DELETE_ACKNOWLEDGED: entries stay in the stream for {_many(keepers)}: {named}", todo)
    elif others:
        named = ", ".join(written(one[b"name"]) for one in others[:MOST_NAMED])
        what = f"DELETE_ACKNOWLEDGED: the stream is also read by {_many(others)}: {named}"
        todo = "be sure that none of them is ever set back (XGROUP SETID): what all have read is deleted"
        yield warn(target.name, what, todo)
    else:
        yield ok(target.name, "DELETE_ACKNOWLEDGED: no other group reads the stream, so nothing keeps entries in it")


def _consumers(target: Target, groups: Sequence[Mapping[bytes, Any]]) -> Iterator[Check]:
    count = next((int(one[b"consumers"]) for one in groups if one[b"name"] == target.group_bytes), 0)
    if count > MAX_LISTED:
        what = (
            f"the group has {many(count, 'consumer')}: a list of more than {MAX_LISTED:,} would block Redis, so reclaim"
        )
        what += " asks for none. It removes no idle ones, and does not tell which are alive"
        todo = "remove by hand those that are gone (XGROUP DELCONSUMER), and never one that has anything pending"
        yield warn(target.name, what, todo)


def _requeued(target: Target, groups: Sequence[Mapping[bytes, Any]]) -> Iterator[Check]:
    """What is requeued is a new entry of the stream, and so every group reads it."""
    others = [one for one in groups if one[b"name"] != target.group_bytes]
    if others:
        named = ", ".join(written(one[b"name"]) for one in others[:MOST_NAMED])
        what = f"HANDLER=requeue: the stream is also read by {_many(others)}, and sees requeued entries twice: {named}"
        yield warn(target.name, what, "be sure that its consumers can bear that, or let HANDLER be another")


def _why_it_keeps(group: Mapping[bytes, Any], ours: Mapping[bytes, Any]) -> str:
    """Why entries that our group is done with stay in the stream for this one; empty if they do not."""
    last, pending = group[b"last-delivered-id"], group[b"pending"]
    if last == _NEVER_READ:
        return "it has never read"
    reasons = []
    if id_number(last) < id_number(ours[b"last-delivered-id"]):
        reasons.append(f"it has read up to {readable(last)}")
    if pending:
        reasons.append(f"it holds {pending:,} pending")
    return " and ".join(reasons)


def _many(groups: Sequence[object]) -> str:
    return "another group" if len(groups) == 1 else many(len(groups), "other group")
