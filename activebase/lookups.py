"""Lookups: what a key like ``author__name__icontains`` asks, and what values it takes.

A key names a path of relations, an attribute, maybe a part of a date, and an operator. It is taken
apart once for each model. conditions.py makes SQL of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, LargeBinary, Select, String, inspect, tuple_
from sqlalchemy.orm import CompositeProperty, Mapper
from sqlalchemy.types import NullType, TypeEngine

from .attributes import PK, Path, attributes_at, column_of, composite_of, keys_of, parts_of, walk
from .errors import InvalidLookupError, did_you_mean
from .functions import DATE_PARTS, date_part
from .kept import kept_by
from .operators import (
    EXACT,
    IEXACT,
    IN,
    IS_NULL,
    NOT_EQUAL,
    OF_PARTS,
    OF_RECORDS,
    OPERATORS,
    Operator,
    Takes,
)
from .values import Unreadable, is_expression, plain_type, read, read_text

#: How many values untrusted input may give for ``in``.
MAX_VALUES = 1000


@dataclass(frozen=True, eq=False, slots=True)
class Lookup:
    """A key, taken apart."""

    model: type[Any]
    key: str
    relations: tuple[str, ...]
    #: The mapper of the model that has the attribute.
    mapper: Mapper[Any]
    #: The attributes that are compared: one, or those of a key or a composite of several columns.
    attributes: tuple[str, ...]
    types: tuple[TypeEngine[Any], ...]
    composite: CompositeProperty[Any] | None
    #: Whether it asks for the primary key, so that a record will do.
    of_key: bool
    parts: tuple[str, ...]
    operator: Operator

    def columns(self, entity: Any) -> list[Any]:
        """Return what is compared, of the model or of an alias of it."""
        return [self._with_parts(column_of(entity, self.mapper, name)) for name in self.attributes]

    def _with_parts(self, column: Any) -> Any:
        for part in self.parts:
            column = date_part(part, column)
        return column

    def understand(self, value: Any) -> tuple[Operator, tuple[Any, ...]]:
        """Return the operator that the lookup comes to with this value, and what it is given.

        Raises:
            InvalidLookupError: the operator does not take the value.
        """
        takes = self.operator.takes
        if value is None and self.operator in (EXACT, IEXACT):
            return IS_NULL, (True,)
        if value is None and self.operator is NOT_EQUAL:
            return IS_NULL, (False,)
        if value is None or (takes is Takes.FLAG and not isinstance(value, bool)):
            raise self.refusal(takes.value, value)
        if takes is Takes.LIST:
            return self.operator, (self._list(value),)
        if takes is Takes.RANGE:
            return self.operator, self._range(value)
        if takes is Takes.TEXT and not isinstance(value, str):
            raise self.refusal(takes.value, value)
        return self.operator, (self._value(value) if takes is Takes.VALUE else value,)

    def _value(self, value: Any) -> Any:
        if self.composite is not None:
            parts = parts_of(self.composite, value)
            if parts is None:
                raise self.refusal(f"a {self.composite.composite_class.__name__}", value)
            return tuple(map(self._read, parts, self.types))
        if self.of_key:
            value = self._key_of(value)
        if len(self.attributes) == 1:
            return self._read(value, self.types[0])
        if is_expression(value):
            return value
        parts = tuple(map(self._read, value, self.types))
        return tuple_(*parts) if any(map(is_expression, parts)) else parts

    def _read(self, value: Any, type_: TypeEngine[Any]) -> Any:
        try:
            return read(value, type_)
        except Unreadable as error:
            raise self.refusal(str(error), value) from None

    def _key_of(self, value: Any) -> Any:
        """Return the primary key of a record, or the value if it is none."""
        mapper = None if is_expression(value) else getattr(_inspected(value), "mapper", None)
        if mapper is not None:
            return self._key_of_record(value, mapper)
        if len(self.attributes) == 1 or is_expression(value):
            return value
        is_key = isinstance(value, list | tuple) and len(value) == len(self.attributes)
        if not is_key or any(part is None for part in value):
            raise self.refusal(f"a tuple ({', '.join(self.attributes)})", value)
        return tuple(value)

    def _key_of_record(self, record: Any, mapper: Mapper[Any]) -> Any:
        if not mapper.isa(self.mapper):
            raise self.refusal(f"a record of {self.mapper.class_.__name__}", record)
        # A record that has been rolled back, or left its session, still knows which it was.
        key = inspect(record).identity or tuple(mapper.primary_key_from_instance(record))
        if None in key:
            raise self.refusal("a saved record; save() it first", record)
        return key[0] if len(key) == 1 else key

    def _list(self, value: Any) -> Any:
        if self.composite is not None and is_expression(value):
            raise self.refusal(Takes.LIST.value, value)
        if isinstance(value, Select):
            return _selecting_key(value)
        if is_expression(value):
            return value
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise self.refusal(Takes.LIST.value, value)
        return [self._value(item) for item in value if item is not None]

    def _range(self, value: Any) -> tuple[Any, Any]:
        pair = list(value) if isinstance(value, list | tuple) else []
        if len(pair) != 2 or any(item is None for item in pair):
            raise self.refusal(Takes.RANGE.value, value)
        return self._value(pair[0]), self._value(pair[1])

    def from_text(self, value: Any) -> Any:
        """Return the value that untrusted input means.

        Raises:
            InvalidLookupError: it can't be read.
        """
        takes = self.operator.takes
        if (len(self.attributes) > 1 or self.composite) and takes is not Takes.FLAG:
            raise self.refusal("several values, not text", value)
        if takes not in (Takes.LIST, Takes.RANGE):
            type_ = {Takes.FLAG: Boolean(), Takes.TEXT: String()}.get(takes, self.types[0])
            return self._from_text(value, type_)
        values = value.split(",") if isinstance(value, str) else value
        if not isinstance(values, list | tuple) or len(values) > MAX_VALUES:
            raise self.refusal(f"up to {MAX_VALUES} values with commas between", value)
        return [self._from_text(item, self.types[0]) for item in values]

    def _from_text(self, value: Any, type_: Any) -> Any:
        try:
            return read_text(value, type_)
        except Unreadable as error:
            raise self.refusal(str(error), value) from None

    def refusal(self, expected: str, value: Any) -> InvalidLookupError:
        """Return the error for a value that is not what was expected; it does not show it."""
        given = "None" if value is None else f"the given {type(value).__name__}"
        return InvalidLookupError(
            f"{self.model.__name__}: {self.key} takes {expected}, which {given} is not."
        )


def _inspected(value: Any) -> Any:
    return None if isinstance(value, type) else inspect(value, raiseerr=False)


def _selecting_key(statement: Select[Any]) -> Any:
    """Return a subquery of records as one of their keys."""
    first = statement.column_descriptions[0]
    entity = first["entity"]
    if entity is None or first["expr"] is not entity:
        return statement
    mapper: Mapper[Any] = inspect(entity).mapper
    return statement.with_only_columns(*keys_of(entity, mapper))


# -- reading keys ----------------------------------------------------------------------------


def lookup_of(model: type[Any], key: str) -> Lookup:
    """Take a key apart.

    Raises:
        InvalidLookupError: an unknown name or operator.
    """
    known: dict[str, Lookup] = kept_by(model, "lookups")
    lookup = known.get(key)
    # An operator that the user has registered again is another one.
    if lookup is None or lookup.operator is not OPERATORS.get(lookup.operator.name):
        lookup = known[key] = _take_apart(model, key)
    return lookup


def key_lookup(model: type[Any]) -> Lookup:
    """Return the lookup of a model's primary key in a list, whatever "pk" is to the model."""
    mapper: Mapper[Any] = inspect(model)
    return _of_path(model, "in", Path((), PK, IN.name, mapper, ends_with_relation=True))


def _take_apart(model: type[Any], key: str) -> Lookup:
    return _of_path(model, key, walk(model, key, operators=OPERATORS))


def _of_path(model: type[Any], key: str, path: Path) -> Lookup:
    words = path.rest.split("__") if path.rest else []
    operator = OPERATORS[words.pop()] if words and words[-1] in OPERATORS else EXACT
    composite = None if path.is_key else composite_of(path.mapper, path.attribute)
    names = attributes_at(path)
    columns = [column_of(path.mapper.class_, path.mapper, name) for name in names]
    is_whole = path.ends_with_relation or len(names) > 1 or composite is not None
    if is_whole and words:
        raise _unknown_word(model, key, words[0], OF_RECORDS)
    for word in words:
        columns = [_part(model, key, word, columns[0])]
    known = OF_RECORDS if is_whole else OF_PARTS if words else _known_for(columns[0])
    if operator.name not in known:
        raise _unknown_word(model, key, operator.name, known)
    return Lookup(
        model=model,
        key=key,
        relations=path.relations,
        mapper=path.mapper,
        attributes=names,
        types=tuple(getattr(column, "type", NullType()) for column in columns),
        composite=composite,
        of_key=path.is_key,
        parts=tuple(words),
        operator=operator,
    )


def _known_for(column: Any) -> Collection[str]:
    if not isinstance(plain_type(getattr(column, "type", NullType())), LargeBinary):
        return OPERATORS
    # Bytes are no text, and what a cast makes of them differs.
    return [name for name, known in OPERATORS.items() if known.takes is not Takes.TEXT]


def _part(model: type[Any], key: str, word: str, column: Any) -> Any:
    if word not in DATE_PARTS:
        raise _unknown_word(model, key, word, [*OPERATORS, *DATE_PARTS])
    part = date_part(word, column)
    if part is None:
        raise InvalidLookupError(
            f"{model.__name__}: {key} asks for the {word} of what has none. Expected a column of "
            "dates, datetimes or times that has it."
        )
    return part


def _unknown_word(
    model: type[Any], key: str, word: str, known: Collection[str]
) -> InvalidLookupError:
    hint = did_you_mean(word, known) or f" Expected one of: {', '.join(sorted(known))}."
    return InvalidLookupError(f"{model.__name__}: {key} has no operator {word!r} here.{hint}")
