"""Owns the looks at dead letters: lists, groups, single ones and how many; in bounded answers, and in whole ones.

Each takes the target's name; None means the only target that is configured. Each may raise `UnknownTarget`, and
`ServerError` or `redis.exceptions.RedisError` if it cannot use Redis.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from reclaim.app import App
from reclaim.ops.results import Chosen, LetterGroup, LetterGroups, Letters, Named
from reclaim.ops.searching import count_groups, search
from reclaim.ops.targets import the_unit
from reclaim.state.dead_letters import LETTERS_AT_ONCE, DeadLetter, DeadLetters
from reclaim.state.letter_filter import EVERY_LETTER, LetterFilter, chosen_ids


async def list_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    limit: int = 50,
    after: bytes | None = None,
) -> Letters:
    """At most `limit` dead letters that fit, from the one after `after`; fewer where one answer can look at no more."""
    unit = the_unit(app, target)
    count, last = await unit.dead_letters.count(), await unit.dead_letters.last()
    found = await search(unit.dead_letters, wanted, newest_first=newest_first, after=after, limit=limit)
    return Letters(unit.target.name, count, found.letters, found.looked, _text(found.next), _text(last))


async def each_page(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    after: bytes | None = None,
    limit: int | None = None,
) -> AsyncIterator[Letters]:
    """Answers about all dead letters that fit, from the one after `after`, or about `limit` of them.

    The last answer has no `next` if the list ends there.
    """
    left = limit
    while True:
        at_once = LETTERS_AT_ONCE if left is None else left
        page = await list_dead_letters(
            app, target, wanted=wanted, newest_first=newest_first, limit=at_once, after=after
        )
        yield page
        left = None if left is None else left - len(page.letters)
        if page.next is None or left == 0:
            return
        after = page.next.encode()


async def list_many_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    limit: int = 50,
    after: bytes | None = None,
    progress: Callable[[int, int, int], None] = lambda *_: None,
) -> Letters:
    """List `limit` dead letters, from as many answers as that takes. `next` is None only if the list ends before.

    `progress` is told after each answer at how many it has looked, how many there are, and how many fit so far.
    """
    listing = each_page(app, target, wanted=wanted, newest_first=newest_first, after=after, limit=limit)
    letters: list[DeadLetter] = []
    looked = 0
    async for page in listing:
        letters += page.letters
        looked += page.looked
        progress(looked, page.count, len(letters))
    return replace(page, letters=letters, looked=looked)


async def group_dead_letters(
    app: App,
    target: str | None = None,
    *,
    wanted: LetterFilter = EVERY_LETTER,
    newest_first: bool = False,
    after: bytes | None = None,
) -> LetterGroups:
    """The groups among the dead letters from the one after `after`, as far as one answer can look."""
    unit = the_unit(app, target)
    count, last = await unit.dead_letters.count(), await unit.dead_letters.last()
    found = await count_groups(unit.dead_letters, wanted, newest_first=newest_first, after=after)
    groups = (found.groups, found.others)
    return LetterGroups(unit.target.name, count, found.looked, found.matched, *groups, _text(found.next), _text(last))


async def group_all_dead_letters(
    app: App, target: str | None = None, *, wanted: LetterFilter = EVERY_LETTER
) -> AsyncIterator[LetterGroups]:
    """The groups among all dead letters that fit: after each answer those that are known so far, the last one whole."""
    groups: dict[tuple[str, str], LetterGroup] = {}
    looked = matched = others = 0
    after = None
    while True:
        found = await group_dead_letters(app, target, wanted=wanted, after=after)
        looked, matched, others = looked + found.looked, matched + found.matched, others + found.others
        for one in found.groups:
            of = (one.reason, one.error_group)
            groups[of] = one if of not in groups else groups[of] + one
        ranked = sorted(groups.values(), key=lambda one: -one.count)
        yield replace(found, looked=looked, matched=matched, groups=ranked, others=others)
        if found.next is None:
            return
        after = found.next.encode()


async def named(letters: DeadLetters, ids: Sequence[bytes]) -> Named:
    """The dead letters that these IDs name. An ID that is no dead letter's own is looked for among their entries' IDs.

    Raises:
        ValueError: an ID is not one of a stream.
    """
    there = await letters.are_there(ids)
    others = frozenset(one for one, is_there in zip(ids, there, strict=True) if not is_there)
    by_entry = await letters.with_entries(others) if others else {}
    found = [letter_id for one in ids for letter_id in (by_entry.get(one, ()) if one in others else (one,))]
    missing = dict.fromkeys(one for one in ids if one in others and one not in by_entry)
    return Named(list(dict.fromkeys(found)), list(missing))


async def show_dead_letters(app: App, ids: Sequence[bytes], target: str | None = None) -> Chosen:
    """The dead letters that these IDs name: their own, or their entries'.

    Raises:
        ValueError: an ID is not one of a stream.
    """
    unit = the_unit(app, target)
    those = await named(unit.dead_letters, ids)
    found = await unit.dead_letters.show(those.letter_ids)
    letters = [letter for letter in found if letter is not None]
    gone = [letter_id for letter_id, letter in zip(those.letter_ids, found, strict=True) if letter is None]
    return Chosen(unit.target.name, letters, [*those.missing, *gone])


async def count_dead_letters(
    app: App, target: str | None = None, *, wanted: LetterFilter = EVERY_LETTER
) -> tuple[str, int]:
    """The target's name, and how many dead letters that fit it has."""
    unit = the_unit(app, target)
    if wanted == EVERY_LETTER:
        return unit.target.name, await unit.dead_letters.count()
    return unit.target.name, sum([len(some) async for some in chosen_ids(unit.dead_letters, wanted)])


async def last_dead_letter(app: App, target: str | None = None) -> bytes | None:
    """The ID of the target's newest dead letter; None if there are none."""
    return await the_unit(app, target).dead_letters.last()


def _text(entry_id: bytes | None) -> str | None:
    return None if entry_id is None else entry_id.decode()
