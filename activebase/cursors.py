"""Cursors: a position in an order of rows, as text that only the order it came from takes back.

A cursor holds the values by which the rows are ordered. It is opaque, but it is no secret: anyone
can read the values, and with this file at hand make a cursor of their own. That moves the page to
another position and does nothing else, for the values only ever become bound parameters.

The text is URL-safe base64, without padding, of::

    1 byte    the version
    8 bytes   the order's fingerprint
    8 bytes   a checksum of all the rest
    the rest  the values, as a JSON array in UTF-8; what JSON lacks is an array [tag, text]
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any, NoReturn
from uuid import UUID

from .errors import InvalidLookupError

_VERSION = b"\x01"
_SIZE = 8  # bytes of a fingerprint, and of a checksum
_HEAD = len(_VERSION) + _SIZE
_TO_URL, _FROM_URL = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")

#: By type: the tag of what JSON lacks, how it becomes text, and how it is read again.
_TAGS: dict[type, tuple[str, Callable[[Any], str], Callable[[str], Any]]] = {
    datetime: ("datetime", datetime.isoformat, datetime.fromisoformat),
    date: ("date", date.isoformat, date.fromisoformat),
    time: ("time", time.isoformat, time.fromisoformat),
    timedelta: (
        "microseconds",
        lambda value: str(value // timedelta(microseconds=1)),
        lambda text: timedelta(microseconds=int(text)),
    ),
    Decimal: ("decimal", str, Decimal),
    UUID: ("uuid", str, UUID),
    bytes: (
        "bytes",
        lambda value: b64encode(value).decode(),
        lambda text: b64decode(text, validate=True),
    ),
}
_READERS = {tag: read for tag, _, read in _TAGS.values()}


def fingerprint(*parts: str) -> bytes:
    """Return what tells one order from others, the same in every process."""
    return blake2b("\0".join(parts).encode(), digest_size=_SIZE).digest()


def encode(order: bytes, values: Sequence[Any]) -> str:
    """Return the cursor of a position.

    Args:
        order: the order's `fingerprint`.
        values: what the row is ordered by, each from `held`; none: the edge of all rows.
    """
    head, payload = _VERSION + order, _to_json(values).encode()
    return _to_text(head + _checksum(head, payload) + payload).decode()


def decode(order: bytes, cursor: object) -> list[Any]:
    """Return the values in a cursor.

    Raises:
        InvalidLookupError: it is none, of another order or version, or not as it was given out.
    """
    raw = _bytes_of(cursor)
    head, checksum, payload = raw[:_HEAD], raw[_HEAD : _HEAD + _SIZE], raw[_HEAD + _SIZE :]
    if checksum != _checksum(head, payload):
        refuse("is not as it was given out")
    if head[:1] != _VERSION:
        refuse("is of another version")
    if head[1:] != order:
        refuse("belongs to a query of another model, or in another order")
    try:
        return [_from_json(value) for value in _array(payload.decode())]
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        refuse("can't be read", error)


def refuse(why: str, cause: Exception | None = None) -> NoReturn:
    """Raise InvalidLookupError for a cursor."""
    raise InvalidLookupError(
        f"The cursor {why}. Expected next_cursor or prev_cursor of a page of the same query, as "
        "it is. Give none to begin at the first page."
    ) from cause


def _to_text(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _bytes_of(cursor: object) -> bytes:
    if not isinstance(cursor, str):
        refuse("is no text")
    try:
        text = cursor.encode("ascii")
        raw = binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except ValueError as error:
        refuse("is no cursor", error)
    if _to_text(raw) != text:  # base64 reads over what it does not know
        refuse("is no cursor")
    return raw


def _checksum(head: bytes, payload: bytes) -> bytes:
    return blake2b(head + payload, digest_size=_SIZE).digest()


# -- values ----------------------------------------------------------------------------------


def held(value: Any) -> Any:
    """Return a value as a cursor holds it.

    Raises:
        TypeError: it is of a type that could not be read again.
    """
    if type(value) in _OF_JSON:
        return value
    for of in type(value).__mro__:
        if of in _TAGS:
            tag, write, _ = _TAGS[of]
            return [tag, write(value)]
        if of in _OF_JSON:
            return str.__str__(value) if of is str else of(value)
    raise TypeError(f"a cursor can't hold a value of type {type(value).__name__}")


_OF_JSON = {type(None), bool, int, float, str}
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_read_json = json.JSONDecoder().raw_decode


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        raise TypeError("no value is a JSON object")
    if isinstance(value, list):
        tag, text = value
        return _READERS[tag](_text(text))
    return _text(value) if isinstance(value, str) else value


def _array(text: str) -> list[Any]:
    found, end = _read_json(text)
    if not isinstance(found, list) or end != len(text):
        raise TypeError("the values are one JSON array")
    return found


def _text(text: Any) -> str:
    str.encode(text)  # neither anything else nor lone surrogates
    return str(text)
