"""Columns of values as PostgreSQL arrays, for ``SELECT ... FROM unnest(...)``.

An array is sent as one text, '{1,2,3}', whatever the driver: to let the driver convert a list of
values takes longer than the INSERT does. What would not come out of the text as the driver would
have sent it, does not fit, and is sent row by row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from typing import cast as cast_to
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    JSON,
    Boolean,
    Date,
    DateTime,
    Dialect,
    Enum,
    Float,
    FromClause,
    Integer,
    LargeBinary,
    Numeric,
    String,
    Text,
    Time,
    Uuid,
    bindparam,
    cast,
    column,
    func,
)
from sqlalchemy.dialects.postgresql import CITEXT, INTERVAL
from sqlalchemy.types import TypeDecorator, TypeEngine

from .layout import Processor, processor_of


def unnested(types: Sequence[TypeEngine[Any]], dialect: Dialect) -> FromClause | None:
    """Return a table of columns ``c0``, ``c1`` ... out of arrays bound as ``a0``, ``a1`` ...

    None if there is a type that arrays do not carry.
    """
    items = [_item_type(type_, dialect) for type_ in types]
    arrays = []
    columns = []
    for number, item in enumerate(items):
        if item is None:
            return None
        arrays.append(cast(bindparam(f"a{number}", type_=Text()), ARRAY(item)))
        columns.append(column(f"c{number}", item))
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()


def arrays_of(
    types: Sequence[TypeEngine[Any]], columns: Sequence[Sequence[Any]], dialect: Dialect
) -> dict[str, str] | None:
    """Return the parameters of `unnested()`; None if there is a value that does not fit."""
    found: dict[str, str] = {}
    for number, (type_, values) in enumerate(zip(types, columns, strict=True)):
        text = _array_of(type_, values, dialect)
        if text is None:
            return None
        found[f"a{number}"] = text
    return found


# -- types -----------------------------------------------------------------------------------


def _stored_type(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    """Return the type behind decorators."""
    while isinstance(type_, TypeDecorator):
        type_ = type_.type_engine(dialect)
    return type_.dialect_impl(dialect)


def _item_type(type_: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any] | None:
    """Return the type of an array's items, None for what has none that is safe."""
    if type_.bind_expression(bindparam("any")) is not None:
        return None
    stored = _stored_type(type_, dialect)
    if isinstance(stored, CITEXT):
        return stored  # which compares as no other does
    if isinstance(stored, Enum):
        return stored if stored.native_enum else Text()
    if isinstance(stored, String):
        return Text()  # a cast to VARCHAR(5) would cut off what is longer without a word
    return stored if isinstance(stored, tuple(_WRITERS)) else None


# -- values ----------------------------------------------------------------------------------


def _array_of(type_: TypeEngine[Any], values: Sequence[Any], dialect: Dialect) -> str | None:
    stored = _stored_type(type_, dialect)
    process = _processor(type_, stored, dialect)
    if process is not None:
        values = [process(value) for value in values]
    kinds = set(map(type, values)) - {type(None)}
    if not kinds:
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    if len(kinds) > 1:
        return None
    writer = _writer(stored, kinds.pop())
    if writer is None or _loses_zone(stored, values):
        return None
    return writer(values)


def _processor(
    type_: TypeEngine[Any], stored: TypeEngine[Any], dialect: Dialect
) -> Processor | None:
    # Drivers wrap JSON and bytes in objects of their own; the text is wanted.
    if isinstance(type_, JSON):
        plain: Any = JSON.bind_processor
        return cast_to("Processor | None", plain(stored, dialect)) or _json_writer(type_)
    if isinstance(type_, LargeBinary):
        return None
    return processor_of(type_, dialect)


def _json_writer(type_: JSON) -> Processor:
    """Return what writes JSON where SQLAlchemy, since 2.1, leaves that to the driver."""
    null = None if type_.none_as_null else "null"

    def write(value: Any) -> str | None:
        return null if value is None else "null" if value is JSON.NULL else json.dumps(value)

    return write


def _loses_zone(stored: TypeEngine[Any], values: Sequence[Any]) -> bool:
    """Tell whether the text of aware times would lose their zone in a column without one."""
    if not isinstance(stored, DateTime | Time) or stored.timezone:
        return False
    return any(value is not None and value.tzinfo is not None for value in values)


Writer = Callable[[Sequence[Any]], str]


def _plain(text_of: Callable[[Any], str]) -> Writer:
    """Return a writer for values whose text has nothing in it that means something in an array."""

    def write(values: Sequence[Any]) -> str:
        if None in values:
            return "{" + ",".join("NULL" if v is None else text_of(v) for v in values) + "}"
        return "{" + ",".join(map(text_of, values)) + "}"

    return write


def _quoted(values: Sequence[Any]) -> str:
    if None not in values:
        body = '","'.join(values)
        if "\\" not in body and body.count('"') == 2 * (len(values) - 1):
            return '{"' + body + '"}'
    return "{" + ",".join("NULL" if v is None else _quote(v) for v in values) + "}"


def _quote(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _hexadecimal(values: Sequence[Any]) -> str:
    return _quoted([None if v is None else "\\x" + v.hex() for v in values])


def _duration(value: timedelta) -> str:
    # With every sign written, it means the same in each of PostgreSQL's interval styles.
    return f"{value.days:+d} days {value.seconds:+d} seconds {value.microseconds:+d} microseconds"


def _writer(stored: TypeEngine[Any], kind: type) -> Writer | None:
    for type_, writers in _WRITERS.items():
        if isinstance(stored, type_):
            return writers.get(kind)
    return None


_WRITERS: Mapping[type[TypeEngine[Any]], Mapping[type, Writer]] = {
    Boolean: {bool: _plain(str)},
    Integer: {int: _plain(str)},
    Float: {float: _plain(repr), int: _plain(str)},
    Numeric: {Decimal: _plain(str), int: _plain(str)},
    DateTime: {datetime: _plain(datetime.isoformat)},
    Date: {date: _plain(date.isoformat)},
    Time: {time: _plain(time.isoformat)},
    INTERVAL: {timedelta: _plain(_duration)},
    Uuid: {UUID: _plain(str), str: _quoted},
    LargeBinary: {bytes: _hexadecimal},
    JSON: {str: _quoted},
    String: {str: _quoted},
}
