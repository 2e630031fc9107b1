"""Owns the CloudEvent that an entry is sent as (https://github.com/cloudevents/spec, HTTP binding, binary mode)."""

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from urllib.parse import quote

from reclaim.entry import Entry
from reclaim.errors import MissingField
from reclaim.names import written

TYPE = "reclaim.entry"
_TO_ENCODE = re.compile(r'[^\x21-\x7e]|["%]')
_JSON = json.JSONEncoder(ensure_ascii=False)


class Events:
    """Makes the headers and the bodies of one target's requests."""

    def __init__(
        self, stream: bytes, group: bytes, body_field: bytes | None, more: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Make it.

        Args:
            stream: the target's stream.
            group: its group.
            body_field: the field whose bytes are the body; None: a JSON object of all fields is.
            more: headers that each request has besides; they take the place of those of the same name.
        """
        source = f"/reclaim/{quote(stream, safe='')}/{quote(group, safe='')}"
        kind = "application/json" if body_field is None else "application/octet-stream"
        fixed = {"Content-Type": kind, "ce-specversion": "1.0", "ce-type": TYPE}
        fixed["ce-source"] = _TO_ENCODE.sub(_percent, source)
        given = {name.lower() for name, _ in more}
        self._fixed = {name: value for name, value in fixed.items() if name.lower() not in given} | dict(more)
        self._named = [name for name in ("ce-id", "Idempotency-Key") if name.lower() not in given]
        self._body_field = body_field
        self._names: Sequence[bytes] = ()  # of the entry before: neighbours nearly always have the same
        self._texts: Sequence[str] = ()  # and as they are written

    def headers(self, entry: Entry) -> dict[str, str]:
        """The headers of an entry."""
        return self._fixed | dict.fromkeys(self._named, entry.id.decode())

    def body(self, entry: Entry) -> bytes:
        """The body: the bytes of one field, or a JSON object of all.

        Raises:
            MissingField: the entry has no field that is to be the body.
        """
        if self._body_field is None:
            return _JSON.encode(self._as_object(entry)).encode()
        value = entry.get(self._body_field)
        if value is None:
            raise MissingField(f"no field '{written(self._body_field)}' for HTTP_BODY")
        return value

    def _as_object(self, entry: Entry) -> dict[str, str] | dict[str, str | list[str]]:
        """The fields as text, if all of them are UTF-8 and no name is there twice; else as `_with_base64` has them."""
        names = entry.fields[::2]
        if names != self._names:
            self._names, self._texts = names, [written(name) for name in names]
        try:
            made = dict(zip(self._texts, [value.decode() for value in entry.fields[1::2]], strict=True))
        except UnicodeDecodeError:
            return _with_base64(entry)
        return made if len(made) == len(names) else _with_base64(entry)


def _with_base64(entry: Entry) -> dict[str, str | list[str]]:
    """The fields: as text where they are UTF-8, else as base64 under ``<name>_base64``; with two values as a list."""
    found: dict[str, list[str]] = {}
    for name, value in zip(entry.fields[::2], entry.fields[1::2], strict=True):
        try:
            shown, text = written(name), value.decode()
        except UnicodeDecodeError:
            shown, text = f"{written(name)}_base64", b64encode(value).decode()
        found.setdefault(shown, []).append(text)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _percent(found: "re.Match[str]") -> str:
    """As CloudEvents wants it in a header (HTTP binding, 3.1.3.2)."""
    return "".join(f"%{byte:02X}" for byte in found[0].encode())
