"""The message by which the timer passes a target on."""

import json

import pytest

from reclaim.fan_out import Message, fans_out


def test_a_message_is_read_as_it_was_written() -> None:
    """Whatever the target is called."""
    message = Message('orders{eu}/"g" é', 3, "a1")

    assert Message.of(message.text) == message
    assert Message.of(message.text.encode()) == message


def test_what_a_newer_release_adds_to_a_message_is_left_alone() -> None:
    """Two releases share the queue while one replaces the other."""
    text = json.dumps({"version": 1, "target": "s/g", "shard": 0, "mark": "a1", "more": [1]})

    assert Message.of(text) == Message("s/g", 0, "a1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no JSON"),
        ("s/g", "no JSON"),
        (b"\xff", "no JSON"),
        ("[]", "no message of version 1"),
        ('{"target": "s/g", "mark": ""}', "no message of version 1"),
        ('{"version": 2, "target": "s/g", "mark": ""}', "no message of version 1"),
        ('{"version": 1, "target": 7, "mark": ""}', "no message of version 1"),
        ('{"version": 1, "target": "s/g"}', "no message of version 1"),
        ('{"version": 1, "target": "s/g", "shard": -1, "mark": ""}', "no message of version 1"),
    ],
)
def test_what_is_no_message_is_told(text: str | bytes, why: str) -> None:
    """It may be somebody else's."""
    with pytest.raises(ValueError, match=why):
        Message.of(text)


@pytest.mark.parametrize(("setting", "on"), [("queue", True), (" Queue ", True), ("", False), ("yes", False)])
def test_the_queue_is_asked_for_by_its_name(setting: str, *, on: bool) -> None:
    """Any other value is refused with the settings, not at import."""
    assert fans_out({"FAN_OUT": setting}) is on
