"""Which alerts were told, as a process remembers it by itself: without a server, or while Redis does not answer."""

from reclaim.state.told import ToldAlerts


async def test_without_a_server_the_process_alone_remembers() -> None:
    told = ToldAlerts(None, lambda: 0.0)

    assert await told.claim(b"lost")
    await told.remember(b"lost", 900_000)
    assert not await told.claim(b"lost")
    assert await told.is_told(b"lost")

    await told.forget(b"lost")
    assert not await told.is_told(b"lost")
    assert await told.claim(b"lost")


async def test_what_is_remembered_runs_out_and_takes_no_memory_for_ever() -> None:
    now = 0.0
    told = ToldAlerts(None, lambda: now)

    for now in range(1000):
        await told.remember(b"change %d" % now, 60_000)

    assert len(told._only_here) == 60
    assert not await told.claim(b"change 940")
    assert await told.claim(b"change 939")
