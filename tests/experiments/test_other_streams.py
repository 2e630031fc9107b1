"""Each claim about other people's streams fails where what was found does not bear it out."""

from dataclasses import replace

import pytest

from experiments.other_streams import HANDLERS, Found, claims, java_text, streams

GOOD = [Found(one.framework, handler, 3, 3, 0, "completed") for one in streams(3) for handler in HANDLERS]


def test_all_hold_where_all_is_well() -> None:
    assert [claim.holds for claim in claims(GOOD)] == [True] * len(HANDLERS)


@pytest.mark.parametrize("handler", HANDLERS)
@pytest.mark.parametrize("change", [{"right": 2}, {"pending": 1}, {"outcome": "failed"}], ids=str)
def test_a_claim_fails_where_one_framework_does(handler: str, change: dict[str, object]) -> None:
    some = [replace(one, **change) if (one.framework, one.handler) == ("Dapr", handler) else one for one in GOOD]
    assert [(claim.text.split("`")[1], claim.found) for claim in claims(some) if not claim.holds] == [
        (handler, "7 of 8 frameworks; not Dapr.")
    ]


def test_a_text_is_as_java_serialises_it() -> None:
    """The magic number, the version, TC_STRING, two bytes of length, and the text."""
    assert java_text("orders") == b"\xac\xed\x00\x05t\x00\x06orders"
