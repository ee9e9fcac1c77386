"""Stored: how a column's values are read, compared and bound so that none is rounded on the way.

A page goes on after the last row it gave, so its position must be the value that the database
sorts by. What a record shows may be another one: a point in time that SQLite holds as text comes in
several spellings, a Decimal there is a float that was rounded, MariaDB prints a FLOAT with six
digits and sorts an ENUM by its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum as PythonEnum
from math import isfinite
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Dialect,
    Double,
    Enum,
    Float,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Text,
    TypeDecorator,
    Unicode,
    Uuid,
    cast,
    type_coerce,
)
from sqlalchemy.types import NullType, TypeEngine

from . import cursors
from .dialects import is_mysql

_ANY = NullType()
#: The types whose values SQLite hands over as they are.
_SHOWN_AS_STORED = {Integer, BigInteger, SmallInteger, String, Text, Unicode}
_BIGGEST = 2**63
_MOST_DIGITS = 100_000  # no database has a number with more


@dataclass(frozen=True, slots=True)
class Stored:
    """A term of an order, as its values are stored."""

    #: What stands in comparisons.
    compared: ColumnElement[Any]
    #: What is selected.
    read: ColumnElement[Any]
    #: The type of a value to compare with.
    bound_as: TypeEngine[Any] = _ANY
    #: The Python types of such values; none: whatever the driver gives.
    classes: tuple[type, ...] = ()
    #: Tells whether the database can take a value, whoever made it up.
    takes: Callable[[Any], bool] = lambda value: True
    #: Whether a record shows the same value.
    as_shown: bool = False

    def to_cursor(self, value: Any) -> Any:
        """Return a value, which is not NULL, as a cursor holds it.

        Raises:
            TypeError: it is not of the column's type.
        """
        if self.classes and not isinstance(value, self.classes):
            raise TypeError(
                f"its type says {self.classes[0].__name__}, but a value is of type "
                f"{type(value).__name__}: cast() it to what it is"
            )
        return value.name if isinstance(value, PythonEnum) else value

    def from_cursor(self, value: Any) -> Any:
        """Return a value from a cursor, as it is bound.

        Raises:
            InvalidLookupError: the column can't have it.
        """
        if isinstance(self.bound_as, Enum):
            value = _member(self.bound_as, value)
        elif self.classes and type(value) not in self.classes:
            cursors.refuse("can't be read")
        if not self.takes(value):
            cursors.refuse("can't be read")
        return value


def stored_as(element: ColumnElement[Any], dialect: Dialect) -> Stored:
    """Return how the values of a term are stored."""
    # Not the type's own operators: ORDER BY does not know of them.
    plain = type_coerce(element, _ANY)
    if dialect.name == "sqlite":
        as_shown = type(element.type) in _SHOWN_AS_STORED
        return Stored(plain, plain, _ANY, (int, float, str, bytes), _is_short, as_shown)
    own, kind = _undecorated(element.type, dialect)
    if isinstance(own, Float) or isinstance(kind, Float):  # psycopg's is none in SQLAlchemy 2.0
        return Stored(plain, cast(element, Double()), Double(), (float,), _number_in(dialect))
    if isinstance(kind, Numeric):
        decimal = type_coerce(element, Numeric())
        return Stored(plain, decimal, Numeric(), (Decimal, int, float), _number_in(dialect))
    if isinstance(kind, Integer):
        return _whole(element, plain, dialect, as_shown=own is element.type)
    if isinstance(kind, Enum) and kind.native_enum and is_mysql(dialect):
        number = cast(element, Integer())
        return Stored(number, number, BigInteger(), (int,), _is_short)
    if isinstance(own, Uuid):  # not as text: a database may refuse one that is no UUID
        own = own if own.as_uuid else Uuid()
    as_shown = own is element.type
    return Stored(plain, type_coerce(element, own), own, _classes_of(own), _is_text, as_shown)


def _undecorated(own: TypeEngine[Any], dialect: Dialect) -> tuple[TypeEngine[Any], TypeEngine[Any]]:
    """Return the type in the database: as the model says it, and as the dialect does."""
    kind = own.dialect_impl(dialect)
    while isinstance(kind, TypeDecorator):
        own = (own if isinstance(own, TypeDecorator) else kind).load_dialect_impl(dialect)
        kind = own.dialect_impl(dialect)
    return own, kind


def _whole(
    element: ColumnElement[Any], plain: ColumnElement[Any], dialect: Dialect, *, as_shown: bool
) -> Stored:
    if isinstance(element, Column):
        takes = _is_unsigned if getattr(element.type, "unsigned", False) else _is_short
        return Stored(plain, plain, BigInteger(), (int,), takes, as_shown)
    # A sum of integers is a Decimal on some databases, and may need more than 64 bits.
    return Stored(plain, plain, classes=(int, Decimal, float), takes=_number_in(dialect))


def _classes_of(type_: TypeEngine[Any]) -> tuple[type, ...]:
    try:
        found = type_.python_type
    except NotImplementedError:
        return ()
    return () if found is object else (found,)


def _member(enum: Enum, value: Any) -> Any:
    """Return a member of an enumeration by its name."""
    members = enum.enums if enum.enum_class is None else [*enum.enum_class.__members__]
    if not isinstance(value, str) or value not in members:
        cursors.refuse("can't be read")
    return value if enum.enum_class is None else enum.enum_class[value]


# -- what a database takes -------------------------------------------------------------------


def _is_short(value: Any) -> bool:
    return not isinstance(value, int) or -_BIGGEST <= value < _BIGGEST


def _is_unsigned(value: Any) -> bool:
    return not isinstance(value, int) or 0 <= value < 2 * _BIGGEST


def _is_text(value: Any) -> bool:
    return not isinstance(value, str) or "\0" not in value


def _number_in(dialect: Dialect) -> Callable[[Any], bool]:
    """Return what tells whether a number is one that a database has."""
    has_infinity = dialect.name == "postgresql"

    def takes(value: Any) -> bool:
        if not isinstance(value, Decimal):
            return isinstance(value, int) or isfinite(value) or has_infinity
        if not value.is_finite():
            return has_infinity and not value.is_snan()
        return abs(value.adjusted()) < _MOST_DIGITS

    return takes
