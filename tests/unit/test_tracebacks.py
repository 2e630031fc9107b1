"""A traceback is shown from the user's own code on, and is bounded whatever was raised."""

import asyncio
import traceback
from collections.abc import Callable

import pytest

from reclaim.entry import Entry, check_id
from reclaim.errors import describe, said
from reclaim.handlers.function import FunctionHandler
from reclaim.handlers.loading import examined
from reclaim.handlers.outcomes import Failed
from reclaim.keys import Template
from reclaim.tracebacks import last_frames, whole


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as exc:  # noqa: BLE001  # whatever it is
        return exc


def raised_by(call: Callable[..., object], *args: object) -> Exception:
    """What a handler's function raises, as it comes to us."""

    async def handle(_: Entry) -> None:
        call(*args)

    (outcome,) = asyncio.run(FunctionHandler(examined(handle), Template("{id}")).store([(b"", Entry(b"1-0", ()))]))
    assert isinstance(outcome, Failed)
    return outcome.error


def deep(levels: int) -> None:
    if not levels:
        raise ValueError("deep")
    deep(levels - 1)


def no_price() -> None:
    try:
        raise KeyError("sku")
    except KeyError as cause:
        raise RuntimeError("no price") from cause


def test_the_last_frames_are_those_of_the_users_code() -> None:
    lines = last_frames(raised_by(deep, 1)).split("\n")

    assert [line.strip() for line in lines if not line.lstrip().startswith(("File", "^", "~"))] == [
        "call(*args)",
        "deep(levels - 1)",
        'raise ValueError("deep")',
    ]


def test_what_caused_the_error_is_named() -> None:
    assert last_frames(raised_by(no_price)).endswith("\nbecause of KeyError: 'sku'")


def exits() -> None:
    raise SystemExit(3)


def test_a_handler_that_exits_is_told_where() -> None:
    assert last_frames(raised_by(exits)).endswith("raise SystemExit(3)")


def test_an_error_that_does_not_come_from_the_users_function_has_no_frames_of_it() -> None:
    """As one of Redis' client, below our own hash handler."""
    with pytest.raises(ValueError, match="is not an entry ID") as caught:
        check_id(b"x")

    assert last_frames(caught.value) == ""
    assert "check_id" in whole(caught.value, caught.tb)


class Mute(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError


def _deep_cause() -> BaseException:
    error: BaseException = ValueError("the first")
    for number in range(300):
        error = raised(error)
        later = RuntimeError(f"{number} " + "x" * 1_000)
        later.__cause__ = error
        error = later
    return raised(error)


ODD = {
    "long": raised(ValueError("x" * 2**20)),
    "many lines": raised(ValueError("\n" * 2**20)),
    "half a character": raised(ValueError("😀\ud83d" * 2**18)),
    "bytes": raised(ValueError(b"\xff" * 2**18)),
    "a long class": raised(type("E" * 2**18, (Exception,), {})()),
    "mute": raised(Mute()),
    "empty": raised(TimeoutError()),
    "a group": raised(ExceptionGroup("several", [ValueError("y" * 1_000)] * 5_000)),
    "many causes": _deep_cause(),
    "never raised": ValueError("never raised"),
}


@pytest.mark.parametrize("name", ODD)
def test_every_error_is_told_within_bounds(name: str) -> None:
    error = ODD[name]

    assert len(last_frames(error).encode()) <= 2_000
    assert len(whole(error, error.__traceback__).encode()) <= 4_000
    assert 0 < len(said(error)) <= len(describe(error)) <= 1_300
    assert not describe(error).endswith((":", " "))


def test_an_endless_recursion_is_told_in_its_last_frames() -> None:
    frames = last_frames(raised_by(deep, 10**6))

    assert len(frames.encode()) <= 2_000
    assert "deep(levels - 1)" in frames


@pytest.mark.parametrize(
    ("error", "described", "text"),
    [
        (TimeoutError(), "TimeoutError", "TimeoutError"),
        (ValueError("  "), "ValueError", "ValueError"),
        (ValueError("no connection to h: "), "ValueError: no connection to h", "no connection to h"),
        (KeyError("sku"), "KeyError: 'sku'", "'sku'"),
    ],
)
def test_no_error_is_told_with_a_colon_after_which_nothing_follows(error: Exception, described: str, text: str) -> None:
    assert (describe(error), said(error)) == (described, text)


def test_a_short_traceback_is_told_as_python_tells_it() -> None:
    error = raised_by(no_price)

    assert whole(error, error.__traceback__) == "".join(traceback.format_exception(error)).rstrip("\n")
