"""Owns the question: commands for the server, together with the function that reads their replies."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from redis.exceptions import RedisError

Command = tuple[bytes | str | int, ...]
Reply = Any  # what a command answers: int, bytes, list, None; or the exception that it answered with

T = TypeVar("T")

_UNREADABLE = (RedisError, ValueError, TypeError, LookupError)  # what reading a reply that is not as expected may raise


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """A question for the server, which `Server.ask` answers, alone or in one round trip with others.

    Attributes:
        commands: what is sent. It may be none: then the answer is known without the server.
        read: makes the answer from the commands' replies, one reply for each command. If a reply is an error that the
            answer cannot express, `read` raises it.
    """

    commands: tuple[Command, ...]
    read: Callable[[Sequence[Reply]], T]

    @classmethod
    def one(cls, command: Command, read: Callable[[Reply], T]) -> "Ask[T]":
        """A question of one command, whose error is always raised; `read` gets the reply itself."""
        return cls((command,), lambda replies: read(checked(replies[0])))

    def or_error(self) -> "Ask[T | Exception]":
        """The same question, but the answer may be an error: what the server replied, or why its reply is unreadable.

        For a caller that asks several things and can do without some of them. Errors of the connection still raise.
        """
        read = self.read

        def answer(replies: Sequence[Reply]) -> T | Exception:
            try:
                return read(replies)
            except _UNREADABLE as exc:
                return exc

        return Ask(self.commands, answer)


def plain(*command: bytes | str | int) -> Ask[Reply]:
    """A question of one command whose answer is its reply as it is."""
    return Ask.one(command, lambda reply: reply)


def checked(reply: Reply) -> Reply:
    """The same reply; raised if it is an error."""
    if isinstance(reply, Exception):
        raise reply
    return reply


def raised(replies: Sequence[Reply]) -> list[Reply]:
    """The same replies; the first that is an error is raised."""
    return [checked(reply) for reply in replies]
