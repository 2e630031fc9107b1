"""Where a cluster's nodes are, as they announce it."""

from typing import Any

import pytest

from reclaim.state.topology import Place, _place

BY = Place("cache.example.net", 10000)


@pytest.mark.parametrize(
    ("about", "place"),
    [
        ([b"10.0.0.4", 8501, b"id"], Place("10.0.0.4", 8501)),
        ([b"10.0.0.4", 8501, b"id", []], Place("10.0.0.4", 8501)),
        ([b"node.example.net", 8501, b"id", [b"ip", b"10.0.0.4"]], Place("node.example.net", 8501)),
        ([None, 8501, b"id", [b"ip", b"10.0.0.4"]], Place("cache.example.net", 8501)),
        ([b"", 8501, b"id", []], Place("cache.example.net", 8501)),
        ([b"?", 8501, b"id", [b"ip", b"10.0.0.4"]], Place("10.0.0.4", 8501)),
        ([b"?", 8501, b"id"], Place("cache.example.net", 8501)),
    ],
)
def test_a_node_is_where_it_says_or_where_it_was_asked(about: list[Any], place: Place) -> None:
    """No address: the client keeps its own. A host name that is not known: the IP that is said beside."""
    assert _place(about, BY) == place


def test_a_place_is_written_as_addresses_are() -> None:
    """IPv6 in brackets."""
    assert [str(Place("10.0.0.4", 1)), str(Place("::1", 2))] == ["10.0.0.4:1", "[::1]:2"]
