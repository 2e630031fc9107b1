"""Bodies that are asked for in an order of the caller's own."""

from reclaim.state.dead_letters import DeadLetters
from tests.support import Client, Endpoint, a_runner, a_target


async def test_dead_letters_are_shown_in_any_order_and_as_often_as_asked_for(
    embedded: Endpoint, client: Client
) -> None:
    """The order is the caller's, as is the way in which IDs are written."""
    target = a_target()
    for number in range(1, 41):
        client.execute_command("XADD", target.keys.dead, f"{number}-0", "id", number)
    asked = [*(b"%d-0" % number for number in range(40, 0, -1)), b"007-0", b"99-0", b"40-0"]

    async with a_runner(embedded, target) as runner:
        letters = await DeadLetters(runner.server, target).show(asked)

    assert [None if one is None else one.id for one in letters] == [*asked[:41], None, b"40-0"]
