"""Questions for a server: what each is told, what an error does to it, and that all of them are one round trip."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.exceptions import ResponseError

from dev.proxy import Fault, Proxy
from reclaim.errors import AccessDenied, Unreachable
from reclaim.settings import Settings
from reclaim.state.ask import Ask, Reply, plain
from reclaim.state.connection import Server, connect
from reclaim.state.patience import patiently
from tests.support import Client, Endpoint, a_target, settings_for


@pytest.fixture
async def asked(embedded: Endpoint) -> AsyncIterator[Server]:
    """The embedded server: what is asked here does not depend on the kind."""
    made = connect(settings_for(embedded))
    yield made
    await made.aclose()


def sizes(*keys: str) -> Ask[list[int]]:
    """A question of several commands."""

    def read(replies: Sequence[Reply]) -> list[int]:
        return [int(reply) for reply in replies]

    return Ask(tuple(("STRLEN", key) for key in keys), read)


async def test_each_question_gets_the_replies_to_its_own_commands(asked: Server, client: Client) -> None:
    """However many commands the questions before it have, and if it has none."""
    client.execute_command("SET", "a", "1")
    client.execute_command("SET", "b", "22")

    answers = await asked.ask(sizes("a", "b"), Ask((), len), Ask.one(("GET", "b"), int), sizes("b"))

    assert answers == ([1, 2], 0, 22, [2])


async def test_questions_without_a_command_cost_no_round_trip() -> None:
    """The answer is known without the server, which need not be there."""
    nowhere = connect(Settings("127.0.0.1", 1, (a_target(),), tls=False))

    assert await nowhere.ask(Ask((), len), Ask((), len)) == (0, 0)


async def test_an_error_of_a_command_is_raised_or_is_the_answer(asked: Server, client: Client) -> None:
    """Which of the two, each question says; what cannot be read is an error as much as what the server refuses."""
    client.execute_command("SET", "text", "no number")
    refused, unreadable, fine = plain("LPUSH", "text", "1"), Ask.one(("GET", "text"), int), plain("GET", "text")

    answers = await asked.ask(refused.or_error(), unreadable.or_error(), fine.or_error())

    assert [type(answer) for answer in answers] == [ResponseError, ValueError, bytes]
    with pytest.raises(ResponseError, match="wrong kind"):
        await asked.ask(fine, refused)
    with pytest.raises(ValueError, match="no number"):
        await asked.ask(unreadable)


async def test_a_key_that_holds_something_else_is_named(asked: Server, client: Client) -> None:
    """The server says only that it does: not which of the keys."""
    client.execute_command("SET", "{s}:lease", "x")

    with pytest.raises(ResponseError, match=r"WRONGTYPE .* \(XLEN on '{s}:lease'\)"):
        await asked.ask(plain("GET", "{s}:lease"), plain("XLEN", "{s}:lease"))
    (answer,) = await asked.ask(plain("EVAL", "return redis.call('XLEN', KEYS[1])", 1, "{s}:lease").or_error())

    assert str(answer).endswith("(EVAL on '{s}:lease')")


async def test_a_command_that_the_user_may_not_run_is_told_by_its_name_and_key(
    embedded: Endpoint, client: Client
) -> None:
    """Where the question does not take an error for an answer."""
    client.execute_command("ACL", "SETUSER", "limited", "on", ">secret", "~*", "+@all", "-strlen")
    settings = settings_for(embedded, username="limited", password="secret")
    limited = connect(settings)
    try:
        with pytest.raises(AccessDenied, match="does not let this user run STRLEN on 'b'"):
            await limited.ask(plain("GET", "a"), Ask.one(("STRLEN", "b"), int))
        found, size = await limited.ask(plain("GET", "a"), Ask.one(("STRLEN", "b"), int).or_error())
    finally:
        await limited.aclose()
        client.execute_command("ACL", "DELUSER", "limited")

    assert found is None
    assert isinstance(size, ResponseError)


async def test_a_patient_question_is_asked_again_where_its_connection_was_dead(
    embedded_proxy: Proxy, client: Client
) -> None:
    """Once is enough; a server that breaks every connection does not answer."""
    client.execute_command("SET", "a", "1")
    server = connect(settings_for(embedded_proxy))
    try:
        embedded_proxy.when("GET", Fault.CUT_BEFORE)
        answers = await patiently(server, lambda: server.ask(plain("GET", "a")))
        embedded_proxy.when("GET", Fault.CUT_BEFORE, times=None)
        with pytest.raises(Unreachable, match="does not answer"):
            await asyncio.wait_for(patiently(server, lambda: server.ask(plain("GET", "a"))), 10)
    finally:
        await server.aclose()

    assert answers == (b"1",)
