"""A HASH_KEY that fits none of the entries is an error that a person sees, and no dead letter (G9)."""

import json
import logging
import re

import pytest

from reclaim.errors import FitsNothing
from reclaim.ops.doctor import doctor
from reclaim.ops.health import Health
from reclaim.run.fit import FIRST, SPREAD
from reclaim.run.replay import Replay
from reclaim.run.report import Outcome
from reclaim.settings import Target
from tests.faults import dead_letter, pending
from tests.integration.cli.program import in_pipe
from tests.support import (
    Client,
    Endpoint,
    Held,
    State,
    a_runner,
    a_target,
    drop_lease,
    env_for,
    given,
    held,
    lived_in,
    run,
    state,
    stored,
    tweet,
)

pytestmark = pytest.mark.G9

FOREIGN = [b"data", b'{"id": 7}', b"kind", b"order"]
NO_FIELD = "MissingField: no field 'id' for 'tweet:{id}'"


async def test_a_hash_key_that_fits_nothing_fails_the_run_and_changes_nothing(server: Endpoint, client: Client) -> None:
    """Nothing is claimed, so no delivery is counted; the error names the setting and the fields that there are."""
    target = a_target()
    given(client, target, *[Held(FOREIGN)] * 30)

    report = await run(server, target)

    assert (report.outcome, report.claimed) == (Outcome.FAILED, 0)
    assert isinstance(report.error, FitsNothing)
    assert str(report.error).startswith(
        "HASH_KEY fits no entry that was looked at (30 were): no field 'id' for 'tweet:{id}';"
        " entry 1-0 has the fields 'data', 'kind'; "
    )
    assert state(client, target) == State(length=30, pending=pending(*range(1, 31)))


@pytest.mark.parametrize("at", [1, 20, 31, 350, 400])
async def test_one_entry_that_fits_makes_bad_entries_of_the_others(embedded: Endpoint, client: Client, at: int) -> None:
    """Among the first 20, or among the 200 that are spread over the list: here every second one of 400 is looked at."""
    target = a_target()
    fits = {at, 400 if at > 20 else at, *(range(300, 401) if at > 300 else ())}
    given(client, target, *(Held(tweet(number) if number in fits else FOREIGN) for number in range(1, 401)))

    report = await run(embedded, target)

    assert (report.outcome, report.acknowledged, report.parked) == (Outcome.COMPLETED, len(fits), 400 - len(fits))


async def test_a_few_bad_entries_are_a_misfit_too_where_nothing_was_ever_stored(
    embedded: Endpoint, client: Client
) -> None:
    """All that is pending is looked at where that is less than twenty."""
    target = a_target()
    given(client, target, Held(FOREIGN))

    report = await run(embedded, target)

    assert report.outcome is Outcome.FAILED
    assert "HASH_KEY fits no entry that was looked at (1 were)" in report.reason


async def test_once_something_was_stored_misfits_are_bad_entries(server: Endpoint, client: Client) -> None:
    """The run that stores remembers it, by the template's text: the next one looks at nothing beforehand."""
    target = a_target()
    given(client, target, Held(tweet(1)))
    await run(server, target)
    given(client, target, *[Held(FOREIGN)] * 2)

    report = await run(server, target)

    letters = [dead_letter(number, FOREIGN, "bad_entry", NO_FIELD) for number in (2, 3)]
    assert report.parked == 2
    assert state(client, target) == State(hashes=stored(tweet(1)), length=3, dead=letters)


async def test_another_template_is_looked_at_anew_and_an_old_one_is_remembered(
    embedded: Endpoint, client: Client
) -> None:
    """Something was stored under each template, or it was not."""
    ours, other = a_target(), a_target(hash_key="order:{number}")
    given(client, ours, Held(tweet(1)))
    await run(embedded, ours)
    given(client, ours, Held(FOREIGN))

    failed = await run(embedded, other)
    parked = await run(embedded, ours)

    assert (failed.outcome, failed.claimed) == (Outcome.FAILED, 0)
    assert (parked.outcome, parked.parked) == (Outcome.COMPLETED, 1)


async def test_what_a_replay_stores_counts_as_stored(embedded: Endpoint, client: Client) -> None:
    """Entries that were parked under a wrong key are replayed under the right one; then a misfit is a bad entry."""
    target = a_target()
    given_dead_letter(client, target, tweet(1))
    given(client, target, Held(FOREIGN))
    async with a_runner(embedded, target) as runner:
        done = await Replay(target, runner.server, runner.handler).run()
        report = await runner.run(30)

    assert (done.replayed, report.outcome, report.parked) == (1, Outcome.COMPLETED, 1)


def given_dead_letter(client: Client, target: Target, body: list[bytes]) -> None:
    fields = [part for name, value in zip(body[::2], body[1::2], strict=True) for part in (b"field:" + name, value)]
    client.execute_command("XADD", target.keys.dead, "*", "id", "1-0", "reason", "bad_entry", *fields)


async def test_a_person_can_have_misfits_parked(
    embedded: Endpoint, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says who asked for it."""
    target = a_target()
    given(client, target, *[Held(FOREIGN)] * 3)
    caplog.set_level(logging.WARNING)

    async with a_runner(embedded, target) as runner:
        report = await runner.run(30, park_misfits="ann@laptop")

    assert (report.outcome, report.parked) == (Outcome.COMPLETED, 3)
    what = "reclaim s/g: entries that HASH_KEY does not fit become dead letters, because ann@laptop asked for that"
    assert [line.startswith(what) for line in caplog.messages] == [True]


def test_the_command_line_parks_misfits_when_asked(embedded: Endpoint, client: Client) -> None:
    """Without the option the run fails; with it each entry is a dead letter, and --strict says so by the exit code."""
    env = env_for(embedded)
    given(client, a_target(), *[Held(FOREIGN)] * 3)

    failed = in_pipe(env, "run")
    drop_lease(client, a_target())
    parked = in_pipe(env, "run", "--park-misfits", "--strict", "--json")

    assert failed.code == 1
    assert "reclaim run --park-misfits" in failed.err
    assert (parked.code, json.loads(parked.out)["parked"]) == (1, 3)
    assert "s/g: 3 dead letters were made" in parked.err
    assert in_pipe(env, "run", "--watch", "--park-misfits").code == 2


async def test_the_doctor_fails_on_a_setting_that_fits_nothing(embedded: Endpoint, client: Client) -> None:
    """As runs do; once something was stored it only warns."""
    given(client, a_target(), *[Held(FOREIGN)] * 3)

    found = await doctor(env_for(embedded))
    lived_in(client, a_target())
    afterwards = await doctor(env_for(embedded))

    (failed,) = [one for one in found if one.health is Health.FAIL]
    assert failed.what.startswith("HASH_KEY fits no entry that was looked at (3 were)")
    assert [one.what for one in afterwards if one.health is Health.FAIL] == []


async def test_an_empty_field_is_no_key(server: Endpoint, client: Client) -> None:
    """Else all entries without a value would overwrite each other at `tweet:`."""
    target = a_target()
    empty = tweet(2, id=b"")
    given(client, target, Held(tweet(1)), Held(empty))

    await run(server, target)

    error = "MissingField: an empty field 'id' for 'tweet:{id}'"
    letters = [dead_letter(2, empty, "bad_entry", error)]
    assert state(client, target) == State(hashes=stored(tweet(1)), length=2, dead=letters)


async def test_the_first_look_reads_nothing_more_where_an_entry_fits(embedded: Endpoint, client: Client) -> None:
    """It costs as many reads as a run of a target that has stored before, which does not look."""
    reads = []
    for target, is_new in ((a_target(stream="new"), True), (a_target(stream="old"), False)):
        given(client, target, *held(range(50)))
        if not is_new:
            lived_in(client, target)
        client.execute_command("CONFIG", "RESETSTAT")

        await run(embedded, target)

        stats = client.execute_command("INFO", "commandstats").decode()
        reads.append(re.search(r"cmdstat_xrange:calls=(\d+),", stats)[1])

    assert reads[0] == reads[1]


async def test_entries_that_are_gone_from_the_stream_say_nothing(embedded: Endpoint, client: Client) -> None:
    """The first page is gone, and so is all that a look over the whole list meets: the first body read tells."""
    target = a_target()
    ids = given(client, target, *[Held(FOREIGN)] * 1_000)
    async with a_runner(embedded, target) as runner:
        met = {row.id for row in await runner.finder.spread(SPREAD)}
        left = [one for one in ids[FIRST:] if one not in met][:3]
        for at in range(0, 1_000, 500):
            client.execute_command("XDEL", "s", *(one for one in ids[at : at + 500] if one not in left))

        report = await runner.run(30)

    assert (report.outcome, report.parked) == (Outcome.FAILED, 0)
    assert isinstance(report.error, FitsNothing)
    assert set(left) <= state(client, target).pending.keys()
