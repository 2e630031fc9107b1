"""Many processes at one circuit at once: each change is made by exactly one of them, whatever their clocks say."""

import os
import signal
from concurrent.futures import ProcessPoolExecutor

import pytest

from reclaim.state.circuit import State
from tests.conftest import on_newest_and_oldest
from tests.integration.state.circuits import (
    PROCESSES_OF_THEIR_OWN,
    await_word,
    end_cooldown,
    end_probe,
    hammer,
    instances,
    on_server,
    probe_and_hang,
    shoot,
    total,
)
from tests.support import Client, Endpoint, a_target

PROCESSES = 8


def hammered(server: Endpoint, client: Client, calls: int, do: str) -> dict[str, int]:
    """What 8 processes with wrong clocks are told together; each makes so many calls, 4 at a time."""
    with ProcessPoolExecutor(PROCESSES, mp_context=PROCESSES_OF_THEIR_OWN) as pool:
        jobs = [
            pool.submit(hammer, server.port, a_target(), number, calls, do)
            for number in range(-PROCESSES // 2, PROCESSES // 2)
        ]
        shoot(client, PROCESSES)
        return total([job.result() for job in jobs])


@on_newest_and_oldest
def test_of_eight_processes_exactly_one_opens_the_circuit(server: Endpoint, client: Client) -> None:
    told = hammered(server, client, 400, "fail")

    assert told == {"is_closed": 99, "opened": 1, "is_open": 3_100}
    assert on_server(client, a_target())["failures"] == 100


@pytest.mark.parametrize(("do", "did", "does_not"), [("open", "opened", "is_open"), ("close", "closed", "is_closed")])
def test_of_eight_processes_exactly_one_opens_or_closes_it_for_a_person(
    embedded: Endpoint, client: Client, do: str, did: str, does_not: str
) -> None:
    if do == "close":
        client.execute_command("HSET", a_target().keys.circuit, "state", "open")
    assert hammered(embedded, client, 100, do) == {did: 1, does_not: 799}


async def test_a_probe_whose_process_is_killed_is_taken_over_after_its_time(embedded: Endpoint, client: Client) -> None:
    target = a_target()
    async with instances(embedded, target, "next") as (one,):
        await one.fails(100)
        end_cooldown(client, target)
        process = PROCESSES_OF_THEIR_OWN.Process(target=probe_and_hang, args=(embedded.port, target), daemon=True)
        process.start()
        said = await_word(client)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        process.close()

        assert said == "probing"
        assert not (await one.enters()).go
        end_probe(client, target)
        assert (await one.enters()).probing
        await one.succeeds()
        assert (await one.circuit.show()).state is State.CLOSED
