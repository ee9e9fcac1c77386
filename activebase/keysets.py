"""Keysets: the order of a query as terms that end in a key, and positions in it.

All pages of one order share a keyset, which holds their conditions with the values left to bind. So
a page costs neither building nor compiling them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy import (
    JSON,
    Column,
    ColumnElement,
    Dialect,
    Label,
    Over,
    Table,
    UnaryExpression,
    bindparam,
    inspect,
)
from sqlalchemy.orm import Bundle, Mapper, QueryableAttribute, Session
from sqlalchemy.sql.operators import asc_op, desc_op, nulls_first_op, nulls_last_op
from sqlalchemy.sql.visitors import iterate

from . import cursors
from .attributes import keys_of
from .dialects import is_mysql
from .segments import Segment, Term, Ways, segments_after, segments_of_all
from .stored import stored_as
from .values import plain_type

if TYPE_CHECKING:
    from .query import Query

#: Those in use, by what they were made of; not all, for some orders are made anew each time.
_known: dict[Any, Keyset] = {}
_MOST_KNOWN = 500

#: They take NULL for greater than any value; all others for smaller.
_NULLS_HIGH = frozenset(("postgresql", "oracle"))
#: They find a row in an index; of (a, b) > (1, 2) others use the first column, or nothing.
_COMPARES_ROWS = frozenset(("postgresql", "sqlite"))

_DIRECTIONS: dict[Any, bool] = {asc_op: False, desc_op: True}
_NULLS: dict[Any, bool] = {nulls_first_op: True, nulls_last_op: False}
_MODIFIERS = _DIRECTIONS.keys() | _NULLS.keys()
_LITERALS = (str, int, float, bool, bytes, Decimal, date, time, timedelta, UUID, type(None))


class _Part(NamedTuple):
    """A term of ORDER BY as it was given."""

    element: ColumnElement[Any]
    descending: bool = False
    #: None: where the database puts them.
    nulls_first: bool | None = None


@dataclass(frozen=True, slots=True)
class Keyset:
    """The order of a query, by terms that together tell each row from every other."""

    terms: tuple[Term, ...]
    fingerprint: bytes
    ways: Ways
    #: What is added to the order as it was given; None where that is not enough.
    tail: tuple[ColumnElement[Any], ...] | None
    #: The columns to select for a row's position.
    reads: tuple[ColumnElement[Any], ...]
    #: The objects that it was made of, which are known by their ids as long as they live.
    made_of: tuple[object, ...]
    _segments: dict[Any, list[Segment]] = field(default_factory=dict)

    def segments(self, position: Sequence[Any] | None, *, backward: bool) -> list[Segment]:
        """Return the rows after a position, or before it, read from there; all rows if None."""
        nulls = None if position is None else tuple(value is None for value in position)
        found = self._segments.get((nulls, backward))
        if found is None:
            found = self._new_segments(nulls, backward=backward)
            self._segments[nulls, backward] = found
        return found

    def _new_segments(self, nulls: tuple[bool, ...] | None, *, backward: bool) -> list[Segment]:
        terms = [term.turned() for term in self.terms] if backward else self.terms
        found = segments_of_all(terms) if nulls is None else segments_after(terms, nulls, self.ways)
        if backward or self.tail is None or self.terms[0].moves_nulls:
            return found
        return [
            Segment(condition, None if len(order or ()) == len(terms) else order)
            for condition, order in found
        ]

    def place(self, row: Sequence[Any]) -> list[Any]:
        """Return the position of a row, which is an item, and the columns of `reads`."""
        columns = iter(row[1:])
        key = () if len(self.reads) == len(self.terms) else inspect(row[0]).identity
        return [
            next(columns) if term.key_part is None else key[term.key_part] for term in self.terms
        ]

    def parameters(self, position: Sequence[Any] | None) -> dict[str, Any]:
        """Return what is bound in the conditions of a position's segments."""
        return {
            term.value.key: value
            for term, value in zip(self.terms, position or (), strict=False)
            if value is not None
        }

    def cursor(self, position: Sequence[Any]) -> str:
        """Return the cursor of a position; of none (): that of the edge of all rows.

        Raises:
            TypeError: a value that a cursor can't hold.
        """
        values = [
            None if value is None else term.to_cursor(value)
            for term, value in zip(self.terms, position, strict=False)
        ]
        return cursors.encode(self.fingerprint, values)

    def position(self, cursor: object) -> list[Any] | None:
        """Return the position of a cursor, None for the edge of all rows.

        Raises:
            InvalidLookupError: it is none of this order.
        """
        values = cursors.decode(self.fingerprint, cursor)
        if not values:
            return None
        if len(values) != len(self.terms):
            cursors.refuse("can't be read")
        return [
            None if value is None and term.nullable else term.stored.from_cursor(value)
            for term, value in zip(self.terms, values, strict=True)
        ]


def keyset_of(query: Query[Any]) -> Keyset:
    """Return the keyset of a query: its order, completed by the primary key.

    Raises:
        TypeError: it selects no model, or is ordered by text.
    """
    dialect = _dialect(query, query.entity()[1])
    return query._remember(("keyset", dialect.name), lambda: _known_keyset(query, dialect))


def _known_keyset(query: Query[Any], dialect: Dialect) -> Keyset:
    mapper = query.entity()[1]
    parts = [_part(query, term) for term in _flat(query.ordering)]
    made_of = (mapper, *(part.element for part in parts), *_selected(query))
    key = (
        dialect.name,
        query.grouped,
        query.narrowed,
        *((part.descending, part.nulls_first) for part in parts),
        *map(id, made_of),
    )
    found = _known.get(key)
    if found is None:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        found = _known[key] = _Maker(query, dialect).keyset(parts, made_of)
    return found


def _selected(query: Query[Any]) -> list[Any]:
    if not query.has_own_columns:
        return []  # the model, and asking SQLAlchemy would take longer than all the rest
    return [found["expr"] for found in query.column_descriptions]


def _dialect(query: Query[Any], mapper: Mapper[Any]) -> Dialect:
    session: Session = query._session().registry()
    return session.get_bind(mapper).dialect


def _flat(terms: Sequence[Any]) -> Iterator[Any]:
    """Yield the terms; of a composite attribute, its columns."""
    for term in terms:
        found = term.expression if isinstance(term, QueryableAttribute) else term
        if isinstance(found, Bundle):
            yield from found.columns
        elif not isinstance(found, ColumnElement) and hasattr(found, "clauses"):
            yield from _flat(list(found.clauses))  # SQLAlchemy 2.1, where it is descending
        else:
            yield found


def _part(query: Query[Any], term: Any) -> _Part:
    descending, nulls_first = False, None
    while isinstance(term, UnaryExpression) and term.modifier in _MODIFIERS:
        if term.modifier in _DIRECTIONS:
            descending = _DIRECTIONS[term.modifier]
        else:
            nulls_first = _NULLS[term.modifier]
        term = term.element
    return _Part(_unlabelled(query, term), descending, nulls_first)


def _unlabelled(query: Query[Any], term: Any) -> ColumnElement[Any]:
    """Return the expression of an attribute, a label or the name of one."""
    if isinstance(term, QueryableAttribute):
        return term.expression
    inner = getattr(term, "element", None)
    if isinstance(inner, str):  # desc("label")
        return _unlabelled(query, _named(query, inner))
    if isinstance(inner, Label):  # what SQLAlchemy puts around a label in ORDER BY
        term = inner
    if isinstance(term, Label):
        term = term.element
    if not isinstance(term, ColumnElement):
        raise TypeError(
            f"A cursor needs to read what the rows are ordered by, and can't read it from {term!r}."
            " Give order_by() columns or expressions."
        )
    return term


def _named(query: Query[Any], name: str) -> Any:
    found = [found["expr"] for found in query.column_descriptions if found["name"] == name]
    return found[0] if found else getattr(query.entity()[0], name, name)


# -- a new one -------------------------------------------------------------------------------


class _Maker:
    """Makes the keyset of a query."""

    def __init__(self, query: Query[Any], dialect: Dialect) -> None:
        self.query = query
        self.dialect = dialect
        self.mapper = query.entity()[1]
        self.keys = self._keys()

    def keyset(self, parts: list[_Part], made_of: tuple[object, ...]) -> Keyset:
        descending = parts[-1].descending if parts else False
        ties = [_Part(key, descending) for key in self.keys if _place(parts, key) < 0]
        known = [*parts, *ties]
        if self.query._gives_records:  # nothing is left to decide after the key
            known = known[: 1 + max(_place(known, key) for key in self.keys)]
        terms = [self._term(part, number) for number, part in enumerate(known)]
        is_cut = len(known) < len(parts) + len(ties)
        has_syntax = not is_mysql(self.dialect) or all(part.nulls_first is None for part in parts)
        tail = [by for term in terms[len(parts) :] for by in term.order()]
        return Keyset(
            terms=tuple(terms),
            fingerprint=self._fingerprint(known),
            ways=Ways(self.dialect.name in _COMPARES_ROWS, nulls=not is_mysql(self.dialect)),
            tail=tuple(tail) if has_syntax and not is_cut else None,
            reads=tuple(term.read for term in terms if term.key_part is None),
            made_of=made_of,
        )

    def _keys(self) -> list[ColumnElement[Any]]:
        """Return what tells the rows apart: the keys of all that is selected.

        DISTINCT and GROUP BY make rows of their own, which have no key but all their columns.
        """
        query, keys = self.query, list[ColumnElement[Any]]()
        for found in query.column_descriptions:
            entity = found["entity"]
            if found["expr"] is not entity and (query.grouped or query.narrowed):
                keys.append(_unlabelled(query, found["expr"]))
            elif entity is not None:
                keys += _key_columns(entity)
        return keys or _key_columns(self.mapper.class_)

    def _term(self, part: _Part, number: int) -> Term:
        element, name = part.element, f"keyset_{number}"
        _refuse_window_functions(element)
        _refuse_json(element)
        # Of the model's own tables only: what is joined outwards is NULL where there is no row.
        is_own = isinstance(element, Column) and element.table in self.mapper.tables
        nullable = not is_own or bool(element.nullable)
        first_by_itself = part.descending == (self.dialect.name in _NULLS_HIGH)
        nulls_first = first_by_itself if part.nulls_first is None else part.nulls_first
        stored = stored_as(element, self.dialect)
        return Term(
            element=element,
            stored=stored,
            read=stored.read.label(name),
            key_part=self._key_part(element) if stored.as_shown else None,
            value=bindparam(name, type_=stored.bound_as),
            descending=part.descending,
            nullable=nullable,
            nulls_first=nulls_first,
            moves_nulls=nullable and nulls_first != first_by_itself,
            has_syntax=not is_mysql(self.dialect),
        )

    def _key_part(self, element: ColumnElement[Any]) -> int | None:
        """Return which part of a record's key a column is, None if it is none."""
        if not self.query._gives_records:
            return None
        parts = [_Part(key) for key in self.keys]
        place = _place(parts, element)
        return place if place >= 0 else None

    def _fingerprint(self, parts: Sequence[_Part]) -> bytes:
        orders = [
            f"{self._text(part.element)} {part.descending} {part.nulls_first}" for part in parts
        ]
        return cursors.fingerprint(self.dialect.name, self.mapper.class_.__name__, *orders)

    def _text(self, element: ColumnElement[Any]) -> str:
        """Return what is the same for an expression in every process, and not for another one."""
        table: Any = element.table if isinstance(element, Column) else None
        if isinstance(table, Table):
            return f"{table.fullname}.{element.key}"
        for path, entity in self.query.joined.items():
            if inspect(entity).selectable is table:
                return f"{'__'.join(path)} {element.key}"
        compiled = element.compile(dialect=self.dialect)
        literals = [value for value in compiled.params.values() if isinstance(value, _LITERALS)]
        return f"{compiled} {literals}"


def _key_columns(entity: Any) -> list[ColumnElement[Any]]:
    return [key.expression for key in keys_of(entity, inspect(entity).mapper)]


def _place(parts: Sequence[_Part], element: ColumnElement[Any]) -> int:
    """Return the place of an expression among the terms, -1 if it is not there."""
    for place, part in enumerate(parts):
        if part.element is element or _is_same_column(part.element, element):
            return place
    return -1


def _is_same_column(one: ColumnElement[Any], other: ColumnElement[Any]) -> bool:
    if not isinstance(one, Column) or not isinstance(other, Column):
        return False
    return one.table is other.table and one.key == other.key


def _refuse_json(element: ColumnElement[Any]) -> None:
    if isinstance(plain_type(element.type), JSON):
        raise TypeError(
            f"{element} is JSON, whose null Python can't tell from NULL, so it has no positions. "
            "Order by a value in it, as Model.data['name'].as_string()."
        )


def _refuse_window_functions(element: ColumnElement[Any]) -> None:
    if any(isinstance(inner, Over) for inner in iterate(element)):
        raise TypeError(
            f"{element} is a window function, and WHERE can't compare one with a position. Select "
            "it in a subquery, and page over that."
        )
