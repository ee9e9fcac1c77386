"""What the columns of each type take in a lookup, and how text is read as that.

`read()` gives the value as it is bound, or raises `Unreadable` with words for the message. Values
that a column could not hold, 3.5 or 10**30 for a whole number, still compare: they are bound with
a wider type. Expressions pass as they are.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import index
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ClauseElement,
    Float,
    Interval,
    Numeric,
    SmallInteger,
    SQLColumnExpression,
    literal,
)
from sqlalchemy.types import Enum, TypeDecorator, TypeEngine


class Unreadable(ValueError):
    """The value can't be compared; the message says what is expected."""


def is_expression(value: Any) -> bool:
    """Tell whether a value is SQL, such as another column."""
    return isinstance(value, ClauseElement | SQLColumnExpression)


def plain_type(type_: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that a decorated one is made of."""
    # Interval decorates a DateTime, for databases that have no intervals.
    while isinstance(type_, TypeDecorator) and not isinstance(type_, Interval):
        type_ = type_.impl_instance
    return type_


def is_decorated(type_: TypeEngine[Any]) -> bool:
    """Tell whether only the type itself knows what it takes."""
    return isinstance(type_, TypeDecorator) and not isinstance(type_, Interval)


def read(value: Any, type_: TypeEngine[Any]) -> Any:
    """Return a value as it is bound for a column of this type; None stays None.

    Raises:
        Unreadable: it is none for this type.
    """
    if value is None or is_expression(value) or is_decorated(type_):
        return value
    reader = _READERS.get(_python_type(type_))
    return value if reader is None else _apply(reader, value, type_)


def plain_test(type_: TypeEngine[Any]) -> Callable[[Any], bool] | None:
    """Return a quick test for values that `read()` gives back as they are; None if there is none.

    False says nothing: `read()` may take the value all the same.
    """
    python_type = None if is_decorated(type_) else _python_type(type_)
    if python_type is int:
        bits = _bits_of(type_)
        return lambda value: type(value) is int and value.bit_length() < bits
    if python_type is datetime:
        naive = not getattr(type_, "timezone", True)
        return lambda value: naive and type(value) is datetime and value.tzinfo is None
    if python_type in (str, bytes, date, UUID):
        return lambda value: type(value) is python_type
    return None


def read_text(value: Any, type_: TypeEngine[Any]) -> Any:
    """Return what untrusted text, or a value out of JSON, says for a column of this type.

    Raises:
        Unreadable: it can't be read as that.
    """
    if is_expression(value):
        raise Unreadable("a plain value")
    if isinstance(value, str) and not _is_storable(value):
        raise Unreadable("text without NUL and surrogates")
    plain = plain_type(type_)
    reader = _READERS.get(_python_type(plain))
    if reader is not None and value is not None:
        return _apply(reader, value, plain)
    if value is not None and (_python_type(plain) is not None or not isinstance(value, str)):
        raise Unreadable("a value that can't come from outside")
    return value


def _is_storable(text: str) -> bool:
    return "\0" not in text and not re.search("[\ud800-\udfff]", text)


def _python_type(type_: TypeEngine[Any]) -> type | None:
    if isinstance(type_, Enum):
        return Enum
    try:
        return type_.python_type
    except NotImplementedError:
        return None


def _apply(reader: _Reader, value: Any, type_: TypeEngine[Any]) -> Any:
    try:
        found = reader.read(value, type_)
    except (TypeError, ValueError, ArithmeticError):
        found = _NOTHING
    if found is _NOTHING:
        raise Unreadable(reader.expected)
    return found


_NOTHING = object()
#: More than any column has. PostgreSQL takes no more than 16,383, PyMySQL would write them all out.
_MOST_PLACES = 1000


class _Reader:
    """How values of one Python type are read; `read` gives `_NOTHING` or raises if they can't."""

    def __init__(self, expected: str, read: Callable[[Any, Any], Any]) -> None:
        self.expected = expected
        self.read = read


def _bool(value: Any, type_: Any) -> Any:
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), _NOTHING)
    return bool(value) if isinstance(value, bool | int) and value in (0, 1) else _NOTHING


def _int(value: Any, type_: Any) -> Any:
    if isinstance(value, float | Decimal):
        # Not rounded to the column's type: no whole number equals 3.5, and 4 is greater.
        return literal(float(value), Float()) if math.isfinite(value) else _NOTHING
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"[+-]?[0-9]+", value) else _NOTHING
    value = int(index(value))
    bits = value.bit_length()
    if bits < _bits_of(type_):
        return value
    # Out of the column's range. Floats compare with the largest of all whole numbers alike; but
    # 2**64 as one is also the largest number without a sign.
    wide = max(-(10**300), min(10**300, value)) if bits != 65 else 2 * value
    return literal(value, BigInteger()) if bits < 64 else literal(float(wide), Float())


def _bits_of(type_: Any) -> int:
    bits = 16 if isinstance(type_, SmallInteger) else 64 if isinstance(type_, BigInteger) else 32
    return bits + bool(getattr(type_, "unsigned", False))  # MySQL's, without the bit of the sign


def _number(value: Any, type_: Any) -> Any:
    if isinstance(value, str):
        if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,9})?", value):
            return _NOTHING
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        value = int(index(value))
    if not math.isfinite(value) or abs(value) > 10**300:
        return _NOTHING
    if isinstance(type_, Float):
        return float(value)
    exact = Decimal(str(value))
    places = -int(exact.as_tuple().exponent)
    if places > _MOST_PLACES:
        return _NOTHING
    # With more places than the column has it must not be rounded to the column's.
    fits = type_.scale is None or places <= type_.scale
    return exact if fits else literal(exact, Numeric())


def _text(value: Any, type_: Any) -> Any:
    return value if isinstance(value, str) else _NOTHING


def _bytes(value: Any, type_: Any) -> Any:
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else _NOTHING


def _date(value: Any, type_: Any) -> Any:
    if isinstance(value, str):
        return date.fromisoformat(value)
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else _NOTHING


def _datetime(value: Any, type_: Any) -> Any:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        return _NOTHING
    aware = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return aware if type_.timezone else aware.replace(tzinfo=None)


def _time(value: Any, type_: Any) -> Any:
    if isinstance(value, str):
        value = time.fromisoformat(value)
    return value if isinstance(value, time) else _NOTHING


def _timedelta(value: Any, type_: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", value):
        value = timedelta(seconds=float(value))
    if not isinstance(value, timedelta):
        return _NOTHING
    # Where there are no intervals, they are stored as this sum, which may overflow.
    return value if _EPOCH + value else _NOTHING


_EPOCH = datetime(1970, 1, 1)


def _uuid(value: Any, type_: Any) -> Any:
    return value if isinstance(value, UUID) else UUID(value) if isinstance(value, str) else _NOTHING


def _enum(value: Any, type_: Any) -> Any:
    members = type_.enum_class
    if members is None:
        return value if value in type_.enums else _NOTHING
    if isinstance(value, members):
        return value
    if isinstance(value, str) and value in members.__members__:
        return members[value]
    return members(value)


_READERS: dict[type | None, _Reader] = {
    bool: _Reader("True or False (in text: true, false, 1, 0)", _bool),
    int: _Reader("a whole number", _int),
    float: _Reader("a number", _number),
    Decimal: _Reader("a number", _number),
    str: _Reader("text", _text),
    bytes: _Reader("bytes", _bytes),
    date: _Reader("a date (in text: 2026-12-31)", _date),
    datetime: _Reader("a datetime (in text: 2026-12-31T23:59:00Z)", _datetime),
    time: _Reader("a time (in text: 23:59:00)", _time),
    timedelta: _Reader("a timedelta (in text: seconds)", _timedelta),
    UUID: _Reader("a UUID", _uuid),
    Enum: _Reader("a member of the enumeration", _enum),
}
