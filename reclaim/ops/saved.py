"""Owns the format in which dead letters are saved in a file: JSON Lines, one object for each dead letter.

Whatever saves dead letters, reads them back or tries one out uses this module: so a saved file fits everywhere, and its
entries come back byte for byte. The names are those of `DeadLetter.to_dict`. Each name and each value of a field is
``{"text": …}`` where it is UTF-8, else ``{"base64": …}``. What `dead list --json` and the HTTP API print of a dead
letter has both, and can be read too: there base64 counts. Names that this release does not know are ignored; ``format``
says the version where it is not 1.
"""

import base64
import binascii
import csv
import io
import json
from collections.abc import Iterable, Mapping
from typing import Any

from reclaim.entry import Entry, check_id
from reclaim.errors import BadRequest, said, shown
from reclaim.names import name_bytes, written
from reclaim.state.dead_letters import DeadLetter
from reclaim.state.formats import FIELD, FORMAT, of_newer_release

_WORDS = ("reason", "error", "at", "traceback")


def line_of(letter: DeadLetter) -> str:
    """The dead letter as one line of ASCII, without its end.

    Raises:
        ValueError: a newer release has written it, so that nobody knows here what all of it means.
    """
    if letter.is_foreign:
        raise ValueError(letter.error)
    parts = list(map(part_of, letter.entry.fields))
    pairs = zip(parts[::2], parts[1::2], strict=True)
    made = {
        "id": letter.id.decode(),
        "entry_id": letter.entry.id.decode(),
        "reason": letter.reason,
        "error": letter.error,
        "traceback": letter.traceback,
        "consumer": written(letter.entry.consumer),
        "deliveries": letter.entry.deliveries,
        "at": letter.at,
        "fields": [{"name": name, "value": value} for name, value in pairs],
    }
    return json.dumps(made)


CSV_COLUMNS = ("id", "entry_id", "at", "reason", "error", "consumer", "deliveries", "fields")


def csv_of(letters: Iterable[DeadLetter], *, header: bool = True) -> str:
    """Dead letters as lines of CSV, for a person's spreadsheet: it cannot be read back, JSON Lines can.

    A cell that a spreadsheet would take for a formula begins with an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out)
    if header:
        writer.writerow(CSV_COLUMNS)
    for letter in letters:
        parts = list(map(part_of, letter.entry.fields))
        pairs = zip(parts[::2], parts[1::2], strict=True)
        fields = json.dumps([{"name": name, "value": value} for name, value in pairs])
        words = (letter.at, letter.reason, letter.error, written(letter.entry.consumer))
        writer.writerow(
            [letter.id.decode(), letter.entry.id.decode(), *map(_cell, words), letter.entry.deliveries, fields]
        )
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def letter_of(line: str | bytes, where: str) -> DeadLetter:
    """The dead letter that a line holds. What is not needed to handle its entry may be missing.

    Args:
        line: of a saved file.
        where: what messages call the line.

    Raises:
        BadRequest: it is no dead letter, or one of a newer release; the message says what is wrong.
    """
    found = parsed(line, where)
    version = str(found.get(FIELD.decode(), FORMAT.decode()))
    if version.encode() != FORMAT:
        raise BadRequest(of_newer_release(where, version.encode()), "a file that this release has saved")
    if not is_letter(found):
        raise BadRequest(f"{where} is no dead letter", "an object with entry_id and a list of fields")
    entry_id = _id(found["entry_id"], f"{where}: entry_id")
    fields = [part for pair in found["fields"] for part in _pair(pair, where)]
    entry = Entry(entry_id, fields, _consumer(found, where), 0, _deliveries(found, where))
    words = (_text(found.get(name, ""), f"{where}: {name}") for name in _WORDS)
    reason, error, at, traceback = words
    return DeadLetter(_id(found.get("id", "0-0"), f"{where}: id"), entry, reason, error, at, traceback)


def parsed(text: str | bytes, where: str) -> dict[str, Any]:
    """The JSON object that a text holds. Its numbers are text, spelt as they are there.

    Raises:
        BadRequest: it holds something else.
    """
    try:
        found = json.loads(text, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as exc:
        raise BadRequest(f"{where} is no JSON ({said(exc)})", "a JSON object") from exc
    if not isinstance(found, dict):
        raise BadRequest(f"{where} holds {shown(found)}", "a JSON object")
    return found


def is_letter(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a dead letter, and not an entry's fields: there no value is a list of objects."""
    return "entry_id" in found and isinstance(found.get("fields"), list)


def part_of(part: bytes) -> dict[str, str]:
    """A name or a value, as it stands in the file."""
    try:
        return {"text": part.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(part).decode()}


def _pair(pair: Any, where: str) -> tuple[bytes, bytes]:
    if not isinstance(pair, dict):
        raise BadRequest(f"{where}: a field is {shown(pair)}", "an object with name and value")
    return _part(pair.get("name"), f"{where}: a field's name"), _part(pair.get("value"), f"{where}: a field's value")


def _part(part: Any, what: str) -> bytes:
    if isinstance(part, dict) and isinstance(part.get("base64"), str):
        try:
            return base64.b64decode(part["base64"], validate=True)
        except (binascii.Error, ValueError) as exc:
            raise BadRequest(f"{what} is no base64: {shown(part['base64'])}", "base64") from exc
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return to_bytes(part["text"], what)
    raise BadRequest(f"{what} is {shown(part)}", "an object with text or base64")


def to_bytes(text: str, what: str) -> bytes:
    """The bytes of a text in UTF-8.

    Raises:
        BadRequest: it has half a surrogate pair.
    """
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise BadRequest(f"{what} is {shown(text)}, which has half a surrogate pair", "text") from exc


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{what} is {shown(value)}", "text")
    to_bytes(value, what)
    return value


def _id(value: Any, what: str) -> bytes:
    try:
        return check_id(to_bytes(_text(value, what), what))
    except ValueError as exc:
        raise BadRequest(f"{what} is {shown(value)}", "an entry ID, as in 1700000000000-0") from exc


def _consumer(found: Mapping[str, Any], where: str) -> bytes:
    text = _text(found.get("consumer", ""), f"{where}: consumer")
    try:
        return name_bytes(text)
    except ValueError as exc:
        raise BadRequest(
            f"{where}: consumer is {shown(text)} ({said(exc)})", "a name, as dead letters show it"
        ) from exc


def _deliveries(found: Mapping[str, Any], where: str) -> int:
    text = found.get("deliveries", "0")
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) <= 18):
        raise BadRequest(f"{where}: deliveries is {shown(text)}", "a whole number")
    return int(text)
