"""Templates that look into JSON, name the entry, or hold any byte."""

import pytest

from reclaim.entry import Entry
from reclaim.errors import MissingField, SettingsError
from reclaim.json_path import members
from reclaim.keys import Keys, Template, is_ours
from reclaim.settings import Settings

LEAST = {"REDIS_HOST": "cache", "STREAM_NAME": "s", "STREAM_CONSUMER_GROUP_NAME": "g"}
ORDER = (
    b'{"id": "ord-7", "n": 1.0, "big": 12345678901234567890123, "e": 1e5, "yes": true, "none": null, "empty": "",'
    b' "items": [{"sku": "a"}, {"sku": "\\u00fc"}], "a.b": {"c->d": 4}, "@": "at", "half": "\\ud800"}'
)


def entry(*fields: bytes) -> Entry:
    return Entry(b"5-1", fields)


@pytest.mark.parametrize(
    ("template", "key"),
    [
        ("o:{data->id}", b"o:ord-7"),
        ("o:{data->n}", b"o:1.0"),
        ("o:{data->big}", b"o:12345678901234567890123"),
        ("o:{data->e}", b"o:1e5"),
        ("o:{data->yes}", b"o:true"),
        ("o:{data->items.1.sku}", "o:ü".encode()),
        (r"o:{data->a\x2eb.c\x2d\x3ed}", b"o:4"),
        ("o:{data->@}", b"o:at"),
        ("o:{@id}", b"o:5-1"),
        ("{@stream}/{@group}/{@id}", b"s/g/5-1"),
        (r"o:{\x40id}", b"o:a field"),
        (r"o:{a\x2d\x3eb}", b"o:no path"),
        (r"o:{a\x7db}{a\x5cb}", b"o:12"),
    ],
)
def test_a_template_takes_what_its_braces_name(template: str, key: bytes) -> None:
    """Numbers as they are spelt."""
    given = entry(b"data", ORDER, b"@id", b"a field", b"a->b", b"no path", b"a}b", b"1", b"a\\b", b"2")

    assert Template(template, b"s", b"g").render(given) == key


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{data->none}", "null at 'data->none'"),
        ("{data->empty}", "an empty text at 'data->empty'"),
        ("{data->items}", "a list at 'data->items'"),
        ("{data->items.0}", "an object at 'data->items.0'"),
        ("{data->items.2.sku}", "no '2' at 'data->items.2.sku'"),
        ("{data->items.first}", "no 'first' at 'data->items.first'"),
        ("{data->id.x}", "no 'x' at 'data->id.x'"),
        ("{data->half}", "text that is no Unicode at 'data->half'"),
        ("{text->id}", "no JSON in the field 'text'"),
        ("{deep->id}", "no JSON in the field 'deep'"),
        ("{nan->id}", "no JSON in the field 'nan'"),
        ("{gone->id}", "no field 'gone'"),
    ],
)
def test_an_entry_without_a_value_at_the_path_is_bad(template: str, why: str) -> None:
    """All entries without a value would share one key. The error says what is there instead, and for which template."""
    fields = (b"data", ORDER, b"text", b"\xff\x00", b"deep", b"[" * 100_000, b"nan", b'{"id": NaN}')
    with pytest.raises(MissingField) as caught:
        Template(template).render(entry(*fields))

    assert str(caught.value) == f"{why} for '{template}'"


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("HASH_KEY", "order", "names no field"),
        ("HASH_KEY", "order:{@stream}", "not {@id}"),
        ("HASH_KEY", "order:{@ID}", "the words with @ are {@id}, {@stream} and {@group}"),
        ("HASH_KEY", "order:{data->}", "part without a name"),
        ("HASH_KEY", "order:{->id}", "part without a name"),
        ("HASH_KEY", "order:{data->a..b}", "part without a name"),
        ("HASH_KEY", "order:{}", "between braces"),
        ("HASH_KEY", "order:{id!r}", "between braces"),
        ("HASH_KEY", r"order:{a\x9}", "two hexadecimal digits"),
        ("ORDER_KEY", "all", "names no field"),
    ],
)
@pytest.mark.G9
def test_a_template_that_cannot_work_is_refused_when_settings_are_read(name: str, value: str, why: str) -> None:
    """By its setting, with the reason."""
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(LEAST | {name: value})

    (problem,) = caught.value.problems
    assert problem.startswith(f"{name} is {'***' if '@' in value else value!r}; allowed: ")  # it may hold a login
    assert why in problem


def test_an_order_key_may_be_one_for_all_entries() -> None:
    """Then each waits for the one before."""
    (target,) = Settings.from_env(LEAST | {"HANDLER": "m:f", "ORDER_KEY": "{@stream}"}).targets

    assert target.order_template.render(entry()) == b"s"


@pytest.mark.parametrize("name", ["lease", "circuit", "failures", "seen", "tries", "dead", "lost", "runs"])
@pytest.mark.parametrize("stream", [b"s", b"a{tag}b"])
def test_a_key_of_ours_is_known_as_one(name: str, stream: bytes) -> None:
    """Of whatever target; a key that only looks like one at first is none."""
    assert is_ours(getattr(Keys.of(stream, b"g"), name))
    assert not is_ours(b"order:reclaim:7")
    assert not is_ours(b"{order}:reclaim:7")


def test_an_object_becomes_fields_with_its_numbers_as_they_are_spelt() -> None:
    """Nested values are compact JSON; what is null is left out."""
    flat = members(
        entry(b"data", b'{"a": 1.50, "b": {"c": [1e2, "\xc3\xbc", null]}, "d": null, "e": false, "": ""}'), b"data"
    )

    assert flat == [b"a", b"1.50", b"b", '{"c":[1e2,"ü",null]}'.encode(), b"e", b"false", b"", b""]


def test_a_name_that_an_object_has_twice_is_not_lost() -> None:
    """It comes twice, as in an entry, and so do names of nested objects."""
    flat = members(
        entry(b"data", b'{"a": 1, "b": {"x": 1, "x": [{"y": 2, "y": 3}]}, "a": 2, "c": 1, "c": null}'), b"data"
    )

    assert flat == [b"a", b"1", b"b", b'{"x":1,"x":[{"y":2,"y":3}]}', b"a", b"2", b"c", b"1"]
