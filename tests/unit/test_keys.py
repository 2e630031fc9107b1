"""The names of keys: all of a target's in its stream's hash slot, and templates for those of entries."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from reclaim.entry import Entry
from reclaim.errors import MissingField, SettingsError
from reclaim.keys import Keys, Template
from reclaim.settings import Settings

LEAST = {"REDIS_HOST": "cache.example.net", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
GROUPS = ["g", "redisearch_app_group", "a:b", "{x}", "}", "{"]


def slots(stream: str, group: str = "g") -> set[int]:
    return {key_slot(key) for key in astuple(Keys.of(stream.encode(), group.encode()))}


@pytest.mark.G9
@pytest.mark.parametrize(
    "stream",
    ["s", "tweets_stream", "tweets:2024", "{t}weets", "twe{e}ts", "tweets{1}", "{a}{b}", "{a}b}", "ütf-8 😀", "{{a}b"],
)
def test_all_keys_of_a_target_share_its_streams_slot(stream: str) -> None:
    """With a hash tag and without; whatever the group is called."""
    for group in GROUPS:
        assert slots(stream, group) == {key_slot(stream.encode())}, f"group {group!r}"


@given(
    st.text(st.characters(exclude_characters="{}", exclude_categories=["Cs"]), min_size=1), st.text("g:{}", min_size=1)
)
def test_any_name_without_braces_gives_its_slot_to_all_keys(stream: str, group: str) -> None:
    """Its whole name is the tag."""
    assert slots(stream, group) == {key_slot(stream.encode())}


def test_keys_are_named_for_the_stream_the_group_and_what_they_hold() -> None:
    """As docs/operate.md lists them. Another group has other keys."""
    keys = Keys.of(b"tweets_stream", b"redisearch_app_group")

    assert keys.stream == b"tweets_stream"
    assert keys.lease == b"{tweets_stream}:reclaim:redisearch_app_group:lease"
    assert keys.dead == b"{tweets_stream}:reclaim:redisearch_app_group:dead"
    assert Keys.of(b"{t}weets", b"g").lost == b"{t}weets:reclaim:g:lost"
    names = astuple(keys) + astuple(Keys.of(b"tweets_stream", b"other"))[1:]
    assert len(set(names)) == len(names) == 27


@pytest.mark.parametrize("name", ["a}b", "{}x", "x{}", "}", "}{"])
def test_a_stream_with_braces_that_are_no_hash_tag_is_refused(name: str) -> None:
    """Our own keys could not be put in its slot."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {"STREAM_NAME": name})

    (problem,) = caught.value.problems
    assert problem.startswith(f"STREAM_NAME is {name!r}; allowed: ")


def test_a_stream_of_the_list_with_braces_that_are_no_hash_tag_is_refused() -> None:
    """By its place."""
    env = {"REDIS_HOST": "cache", "RECLAIM_TARGETS": '[{"stream": "s", "group": "g"}, {"stream": "{}x", "group": "g"}]'}
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(env)

    (problem,) = caught.value.problems
    assert problem.startswith("RECLAIM_TARGETS[1].stream is '{}x'")


@pytest.mark.parametrize("name", ["{t}weets", "tweets{1}", "{a}{b}", "{a}b}"])
def test_a_stream_with_a_hash_tag_is_taken(name: str) -> None:
    """As on a cluster."""
    (target,) = Settings.from_env(LEAST | {"STREAM_NAME": name}).targets

    assert (target.stream, target.keys.stream) == (name, name.encode())


@given(st.text(st.sampled_from("ab{}"), min_size=1, max_size=8))
def test_a_stream_is_refused_or_gives_its_slot_to_all_keys(name: str) -> None:
    """Whatever its braces."""
    try:
        Settings.from_env(LEAST | {"STREAM_NAME": name})
    except SettingsError:
        return

    assert slots(name) == {key_slot(name.encode())}


# --- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("tweet:{id}", b"tweet:7"),
        ("{user}/{id}", b"\xff\x00/7"),
        ("{{{id}}}", b"{7}"),
        ("{id}{id}", b"77"),
        ("ü{id}", "ü7".encode()),
    ],
)
def test_a_template_takes_the_entrys_bytes(template: str, key: bytes) -> None:
    """As they are."""
    assert Template(template).render(Entry(b"1-0", (b"id", b"7", b"user", b"\xff\x00"))) == key


def test_a_template_whose_field_is_missing_says_which() -> None:
    """One with an empty value makes no key either: all entries without a value would share it."""
    with pytest.raises(MissingField, match=r"an empty field 'id' for 't:\{user\}:\{id\}'"):
        Template("t:{user}:{id}").render(Entry(b"1-0", (b"id", b"", b"user", b"x")))
    with pytest.raises(MissingField, match=r"no field 'id' for 't:\{id\}'"):
        Template("t:{id}").render(Entry(b"1-0", (b"user", b"x")))
