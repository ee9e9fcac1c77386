"""Statements that are made once and only given their values: those of `get()` and `get_by()`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    bindparam,
    inspect,
)
from sqlalchemy.orm import Mapper, Session

from .attributes import PK
from .comparisons import compares_plainly
from .conditions import Group, Leaf
from .kept import kept_by
from .lookups import Lookup, key_lookup, lookup_of
from .operators import EXACT, Takes
from .query import Query
from .values import is_expression, plain_test


class Prepared:
    """The first record that some lookups find, as a statement that is made once for their keys."""

    def __init__(self, model: type[Any], keys: tuple[str, ...]) -> None:
        lookups = [lookup_of(model, key) for key in keys]
        self._values = [_Value(lookup) for lookup in lookups]
        self._statement: Query[Any] | None = None  # it has to be made anew for each value
        if all(_can_be_bound_later(lookup) for lookup in lookups):
            whole = Group(model)
            for value in self._values:
                whole.add(Leaf(value.lookup, value.lookup.operator, (value.bound,)))
            query = Query.of(model).where(whole.condition())
            self._statement = query if _find_one(lookups) else query.limit(1)

    def parameters(self, values: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what is bound for these values; None if they need a statement of their own.

        Raises:
            InvalidLookupError: an operator does not take its value.
        """
        if self._statement is None:
            return None
        found: dict[str, Any] = {}
        for value in self._values:
            given = values[value.lookup.key]
            if value.is_plain is None or not value.is_plain(given):
                operator, (given, *_) = value.lookup.understand(given)
                if operator is not value.lookup.operator or is_expression(given):
                    return None
            found[value.name] = given
        return found

    def first(self, session: Session, parameters: Mapping[str, Any]) -> Any | None:
        """Return the first record, or None. Effect: SELECT."""
        assert self._statement is not None
        return session.scalar(self._statement, parameters)


class _Value:
    """The value of a lookup, which is bound later."""

    def __init__(self, lookup: Lookup) -> None:
        self.lookup = lookup
        self.name = f"{lookup.key}_given"  # SQLAlchemy's own names end with a number
        self.bound = bindparam(self.name, type_=lookup.operator.type_)
        takes_text = lookup.operator.takes is Takes.TEXT
        self.is_plain = plain_test(String() if takes_text else lookup.types[0])


def _can_be_bound_later(lookup: Lookup) -> bool:
    return lookup.operator.takes in (Takes.VALUE, Takes.TEXT) and compares_plainly(lookup)


def _find_one(lookups: Sequence[Lookup]) -> bool:
    """Tell whether the lookups ask for a unique key, so that LIMIT would only cost."""
    exact = [each for each in lookups if each.operator is EXACT and not each.relations]
    columns = {each.mapper.attrs[each.attributes[0]].columns[0] for each in exact}
    tables = {column.table for column in columns if isinstance(column, Column)}
    return any(
        set(key.columns) <= columns
        for table in tables
        if isinstance(table, Table)
        for key in table.constraints
        if isinstance(key, PrimaryKeyConstraint | UniqueConstraint)
    )


def prepared(model: type[Any], keys: tuple[str, ...]) -> Prepared:
    """Return the prepared statement for these keys; made once."""
    known: dict[tuple[str, ...], Prepared] = kept_by(model, "prepared")
    if keys not in known:
        known[keys] = Prepared(model, keys)
    return known[keys]


# -- by key ----------------------------------------------------------------------------------


class _ByKey:
    """The record with a primary key of one column, as a statement that is made once."""

    def __init__(self, model: type[Any]) -> None:
        mapper: Mapper[Any] = inspect(model)
        lookup = key_lookup(model)
        #: Tells whether the statement will do for a key; `Session.get` does for all.
        self.takes: Callable[[Any], bool] | None = None
        self.identity_of = mapper.identity_key_from_primary_key
        if compares_plainly(lookup):
            self.takes = plain_test(lookup.types[0])
            (column,) = lookup.columns(model)
            self.statement = Query.of(model).where(column == bindparam("key_given"))


def record_by_key(session: Session, model: type[Any], pk: Any) -> Any | None:
    """Return the record with a primary key, or None: `Session.get`, at two thirds of its cost."""
    known: dict[str, _ByKey] = kept_by(model, "by_key")
    by_key = known.get(PK) or known.setdefault(PK, _ByKey(model))
    takes = by_key.takes if type(session).get is Session.get else None
    if takes is None or not takes(pk) or by_key.identity_of((pk,)) in session.identity_map:
        return session.get(model, pk)
    return session.scalar(by_key.statement, {"key_given": pk})


def key_criteria(mapper: Mapper[Any], pk: Any) -> list[ColumnElement[bool]]:
    """Return the conditions of a primary key as `get()` takes it. Raises: TypeError."""
    names = [mapper.get_property_by_column(column).key for column in mapper.primary_key]
    if isinstance(pk, dict):
        values = [pk[name] for name in names if name in pk]
    else:
        values = list(pk) if isinstance(pk, tuple | list) else [pk]
    if len(values) != len(names):
        raise TypeError(
            f"The primary key of {mapper.class_.__name__} is ({', '.join(names)}); "
            f"expected {len(names)} values, got {len(values)}."
        )
    return [
        getattr(mapper.class_, name) == value for name, value in zip(names, values, strict=True)
    ]
