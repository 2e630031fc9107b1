"""Owns how a number of things is said to a person: ``1 entry``, ``5,000 entries``; ``once``, ``3 times``."""

_IRREGULAR = {"entry": "entries"}  # by the last word


def many(count: int, one: str, more: str = "") -> str:
    """So many things, in words.

    Args:
        count: how many.
        one: what one of them is called: ``dead letter``, or with a verb, ``entry was``.
        more: what several are called, if that is not just another ending of the last word.
    """
    return f"{count:,} {one if count == 1 else more or _plural(one)}"


def are(count: int, one: str) -> str:
    """That there is, or are, so many things: ``is 1 dead letter``, ``are 5 dead letters``."""
    return f"{'is' if count == 1 else 'are'} {many(count, one)}"


def how_often(count: int) -> str:
    """So often, in words."""
    return "once" if count == 1 else f"{count:,} times"


def _plural(one: str) -> str:
    before, space, last = one.rpartition(" ")
    return before + space + _IRREGULAR.get(last, f"{last}s")
