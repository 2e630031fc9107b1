"""The search among many dead letters: each answer looks at some of them, and together the answers find them all."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dev.many import ERRORS, FIRST_MS, letters
from reclaim.app import App
from reclaim.ops import letter_acts, letter_looks, searching
from reclaim.ops.results import LetterGroups, Letters
from reclaim.state.letter_filter import LetterFilter
from tests.support import Client, Endpoint, a_target, given, settings_for

TARGET = a_target()
COUNT = 3_000
NUMBERS = range(COUNT)


@asynccontextmanager
async def the_app(place: Endpoint) -> AsyncIterator[App]:
    app = App(settings_for(place, TARGET))
    try:
        yield app
    finally:
        await app.aclose()


@pytest.fixture
def many(client: Client) -> range:
    """So many dead letters of four kinds; number n has the ID FIRST_MS + n."""
    with client.pipeline(transaction=False) as pipeline:
        for command in letters(TARGET.keys, COUNT):
            pipeline.execute_command(*command)
        pipeline.execute()
    return NUMBERS


def numbers(found: Letters) -> list[int]:
    return [int(letter.id.split(b"-")[0]) - FIRST_MS for letter in found.letters]


FILTERS = [
    (LetterFilter(), lambda _: True),
    (LetterFilter(reason="bad_entry"), lambda n: n % 4 == 2),
    (LetterFilter(error="ORDER 12"), lambda n: n % 4 == 1 and str(n).startswith("12")),
    (LetterFilter(error_group="ValueError: no stock of '…' (order #)"), lambda n: n % 4 == 1),
    (LetterFilter(consumer="worker-3"), lambda n: n % 7 == 3),
    (LetterFilter(since_ms=FIRST_MS + 100, until_ms=FIRST_MS + 109), lambda n: 100 <= n < 110),
    (LetterFilter(text="Number 2999,"), lambda n: n == 2999),
    (LetterFilter(entry_ids={b"%d-0" % (FIRST_MS - 60_000 + 7)}), lambda n: n == 7),
    (
        LetterFilter(reason="failed", consumer="worker-0", text="user-1"),
        lambda n: n % 7 == 0 and n % 4 < 2 and n % 1000 in {1, *range(10, 20), *range(100, 200)},
    ),
    (LetterFilter(text="nobody has written this"), lambda _: False),
]


@pytest.mark.parametrize(("wanted", "fits"), FILTERS)
@pytest.mark.parametrize("newest_first", [False, True])
async def test_every_dead_letter_that_fits_is_found_and_no_other(
    embedded: Endpoint,
    many: range,
    wanted: LetterFilter,
    fits: Any,
    *,
    newest_first: bool,
) -> None:
    """In pages, in the order asked for; replay and discard mean the same ones."""
    expected = [n for n in many if fits(n)]
    async with the_app(embedded) as app:
        found = await letter_looks.list_many_dead_letters(app, wanted=wanted, newest_first=newest_first, limit=COUNT)
        would = await letter_acts.replay_dead_letters(app, None, wanted=wanted, dry_run=True)
        gone = await letter_acts.discard_dead_letters(app, None, wanted=wanted)
        left = await letter_looks.count_dead_letters(app)

    assert numbers(found) == (expected[::-1] if newest_first else expected)
    assert (would.report.chosen, gone.discarded, left[1]) == (len(expected), len(expected), COUNT - len(expected))


@pytest.mark.G7
async def test_an_answer_ends_after_so_many_and_says_how_far_it_has_looked(
    embedded: Endpoint, many: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have found nothing: whoever asks goes on, and adds up."""
    monkeypatch.setattr(searching, "LOOK_AT", 1000)
    wanted = LetterFilter(text=f"number {COUNT - 1},")
    pages: list[Letters] = []
    async with the_app(embedded) as app:
        while not pages or pages[-1].next is not None:
            after = pages[-1].next.encode() if pages and pages[-1].next else None
            pages.append(await letter_looks.list_dead_letters(app, wanted=wanted, after=after))

    assert [page.looked for page in pages][:2] == [1000, 1000]
    assert sum(page.looked for page in pages) == len(many)
    assert [numbers(page) for page in pages if page.letters] == [[COUNT - 1]]


async def test_groups_add_up_over_answers(embedded: Endpoint, many: range, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its count, its first and its last."""
    monkeypatch.setattr(searching, "LOOK_AT", 1000)
    answers: list[LetterGroups] = []
    async with the_app(embedded) as app:
        while not answers or answers[-1].next is not None:
            after = answers[-1].next.encode() if answers and answers[-1].next else None
            answers.append(await letter_looks.group_dead_letters(app, newest_first=True, after=after))

    counts: Counter[str] = Counter()
    for answer in answers:
        counts.update({group.error_group: group.count for group in answer.groups})
    assert counts == {
        "KeyError: 'sku'": COUNT // 4,
        "ValueError: no stock of '…' (order #)": COUNT // 4,
        "no field '…' for '…'": COUNT // 4,
        "delivered # times without an end": COUNT // 4,
    }
    assert (sum(answer.looked for answer in answers), len(ERRORS)) == (len(many), len(answers[0].groups))
    assert answers[0].groups[0].last > answers[0].groups[0].first > answers[1].groups[0].last
    assert answers[0].others == 0


async def test_more_groups_than_are_shown_are_counted(embedded: Endpoint, client: Client) -> None:
    """Where every error is of another kind, the answer stays small."""
    for n in range(searching.GROUPS_SHOWN + 30):
        kind = "".join(chr(97 + int(digit)) for digit in str(n))
        client.execute_command("XADD", TARGET.keys.dead, "*", "id", "1-0", "reason", "failed", "error", f"no {kind}")
    async with the_app(embedded) as app:
        found = await letter_looks.group_dead_letters(app)

    assert (len(found.groups), found.others, found.matched) == (searching.GROUPS_SHOWN, 30, 130)


async def test_chosen_ones_that_do_not_fit_are_left_alone(embedded: Endpoint, many: range) -> None:
    """Both say which are meant: the IDs, and what they must be like."""
    ids = [b"%d-0" % (FIRST_MS + n) for n in many[:8]]
    async with the_app(embedded) as app:
        would = await letter_acts.replay_dead_letters(app, ids, wanted=LetterFilter(reason="failed"), dry_run=True)
        gone = await letter_acts.discard_dead_letters(app, ids, wanted=LetterFilter(reason="failed"))

    assert (would.report.chosen, gone.discarded) == (4, 4)


async def test_two_people_who_discard_at_once_remove_each_once(embedded: Endpoint, many: range) -> None:
    """What one has removed, the other does not count, and nothing else goes."""
    wanted = LetterFilter(reason="bad_entry")
    async with the_app(embedded) as one, the_app(embedded) as other:
        gone = await asyncio.gather(
            letter_acts.discard_dead_letters(one, None, wanted=wanted),
            letter_acts.discard_dead_letters(other, None, wanted=wanted),
        )
        left = await letter_looks.count_dead_letters(one)

    assert sum(one.discarded for one in gone) == COUNT // 4
    assert left[1] == len(many) - COUNT // 4


@pytest.mark.G7
@pytest.mark.parametrize("newest_first", [False, True])
async def test_a_walk_takes_few_large_ones_by_one_command(
    embedded: Endpoint,
    client: Client,
    *,
    newest_first: bool,
) -> None:
    """As many as come to 256 kB: no command keeps the server long."""
    given(client, TARGET)
    for n in range(5):
        client.execute_command("XADD", TARGET.keys.dead, f"{n + 1}-0", "id", "1-0", "field:x", b"x" * 300_000)
    async with the_app(embedded) as app:
        walk = app.units[TARGET.name].dead_letters.walk(newest_first=newest_first)
        found = [[letter.id for letter in some] async for some in walk]

    expected = [[b"%d-0" % (n + 1)] for n in range(5)]
    assert found == (expected[::-1] if newest_first else expected)


async def test_no_task_goes_on_after_the_answer_of_a_replay(embedded: Endpoint, client: Client, many: range) -> None:
    """On Azure nobody keeps it alive: what was not begun is told, and the lease is free."""
    async with the_app(embedded) as app:
        before = asyncio.all_tasks()
        done = await letter_acts.replay_dead_letters(app, None, per_second=200, budget_sec=1)
        left = asyncio.all_tasks() - before

    assert done.report.chosen == len(many) == done.report.replayed + done.report.left
    assert done.report.left > 0
    assert left == set()
    assert client.execute_command("EXISTS", TARGET.keys.lease) == 0


@pytest.mark.G7
async def test_which_ids_are_dead_letters_is_asked_without_their_bodies(embedded: Endpoint, client: Client) -> None:
    """A thousand IDs may be named at once, and each letter may be large."""
    given(client, TARGET)
    for n in range(20):
        client.execute_command("XADD", TARGET.keys.dead, f"{n + 1}-0", "id", f"{n + 101}-0", "field:x", b"x" * 200_000)
    before = sent_bytes(client)
    async with the_app(embedded) as app:
        letters = app.units[TARGET.name].dead_letters
        there = await letters.are_there([b"1-0", b"20-0", b"20-1", b"101-0"])
        named = await letter_looks.named(letters, [b"1-0", b"102-0", b"9-9", b"1-0", b"9-9"])

    assert there == [True, True, False, False]
    assert (named.letter_ids, named.missing) == ([b"1-0", b"2-0"], [b"9-9"])
    assert sent_bytes(client) - before < 100_000


def sent_bytes(client: Client) -> int:
    """How many bytes the server has sent so far."""
    stats = client.execute_command("INFO", "stats")
    text = stats if isinstance(stats, bytes) else b"\n".join(b"%s:%s" % pair for pair in stats.items())
    return int(text.partition(b"total_net_output_bytes:")[2].split()[0])
