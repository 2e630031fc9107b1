"""Owns the message by which the timer passes a target on to another instance (FAN_OUT=queue).

A message only says: look at this target. What there is to do, and whether anybody may do it, the run that takes it up
asks Redis. So a message that is lost, late, old, doubled or out of order does no harm.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

QUEUE = "reclaim-targets"  # in the app's own storage account
CONNECTION = "AzureWebJobsStorage"  # the app setting, or the beginning of its settings, that names the account
MOST_MESSAGES = 500  # of one tick of the timer

_VERSION = 1


def fans_out(env: Mapping[str, str]) -> bool:
    """Whether FAN_OUT asks for the queue. It is asked at import too, where a bad value must not keep the app away."""
    return env.get("FAN_OUT", "").strip().lower() == "queue"


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the queue.

    Attributes:
        target: the target's name, ``stream/group``.
        shard: the number of its shard, from 0 on; 0 where it has none.
        mark: what the mark in Redis holds that says that this message is waiting.
    """

    target: str
    shard: int
    mark: str

    @property
    def text(self) -> str:
        """The message as it is enqueued: JSON."""
        return json.dumps({"version": _VERSION, "target": self.target, "shard": self.shard, "mark": self.mark})

    @classmethod
    def of(cls, text: str | bytes) -> Self:
        """Read a message; members that it does not know are left alone.

        Raises:
            ValueError: it is none, or one of a newer release that cannot be read; the text says which.
        """
        try:
            read = json.loads(text)
        except ValueError as exc:
            raise ValueError("it is no JSON") from exc
        match read:
            case {"version": 1, "target": str(target), "shard": int(shard), "mark": str(mark)} if shard >= 0:
                return cls(target, shard, mark)
        raise ValueError(f"it is no message of version {_VERSION}")
