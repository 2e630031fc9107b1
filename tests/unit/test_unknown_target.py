"""What a person reads who names no target, or one that is not there."""

from reclaim.errors import UnknownTarget

MANY = [f"orders:{number:03}/billing" for number in range(100)]


def test_of_few_targets_all_are_named() -> None:
    assert str(UnknownTarget("x/y", ["s/g", "s2/g"])) == 'target is "x/y"; allowed: s/g, s2/g'


def test_of_many_targets_those_that_are_like_the_name_are_named() -> None:
    said = str(UnknownTarget("order:042/billing", MANY))
    assert said.startswith('target is "order:042/billing"; allowed: orders:042/billing, ')
    assert said.endswith(" and 97 more")


def test_of_many_targets_the_first_are_named_where_none_is_like_it() -> None:
    for name in (None, "zzz"):
        assert UnknownTarget(name, MANY).choices == f"{', '.join(MANY[:10])} and 90 more"
