"""Segments: the rows after a position in an order, in parts that an index can serve.

There is one as a rule, and one more for the NULLs of the first term or for what stands after them.
They are asked for in turn until the page is full. Which conditions an index serves is each
database's own: docs/decisions/own-keyset-pagination.md tells what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Label, and_, false, or_, tuple_

from . import cursors
from .stored import Stored


class Segment(NamedTuple):
    """Some of the rows after a position, in order."""

    condition: ColumnElement[bool] | None
    #: None: the order of the query as it was given, with the rest of the key.
    order: tuple[ColumnElement[Any], ...] | None


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the order, in the direction in which the rows are read."""

    element: ColumnElement[Any]
    stored: Stored
    #: What is selected, under a name of its own.
    read: Label[Any]
    #: Nothing is selected: it is this part of the record's key.
    key_part: int | None
    #: What the position's value is bound to.
    value: BindParameter[Any]
    descending: bool
    nullable: bool
    nulls_first: bool
    #: Whether that is not where the database puts them by itself.
    moves_nulls: bool
    #: Whether the database has NULLS FIRST.
    has_syntax: bool

    def turned(self) -> Term:
        """Return it for reading backwards."""
        return replace(self, descending=not self.descending, nulls_first=not self.nulls_first)

    def order(self) -> Iterator[ColumnElement[Any]]:
        """Yield what ORDER BY takes."""
        by = self.element.desc() if self.descending else self.element
        if self.is_emulated:
            yield self.is_null.desc() if self.nulls_first else self.is_null
        elif self.moves_nulls:
            by = by.nulls_first() if self.nulls_first else by.nulls_last()
        yield by

    @property
    def is_emulated(self) -> bool:
        """Whether its NULLs take a term of their own in ORDER BY."""
        return self.moves_nulls and not self.has_syntax

    def to_cursor(self, value: Any) -> Any:
        """Return a value as a cursor holds it. Raises: TypeError."""
        try:
            return cursors.held(self.stored.to_cursor(value))
        except TypeError as error:
            raise TypeError(f"The rows are ordered by {self.element}, and {error}.") from None

    @property
    def is_null(self) -> ColumnElement[bool]:
        return self.stored.compared.is_(None)

    @property
    def is_not_null(self) -> ColumnElement[bool]:
        return self.stored.compared.is_not(None)

    @property
    def equal(self) -> ColumnElement[bool]:
        return self.stored.compared == self.value

    @property
    def beyond(self) -> ColumnElement[bool]:
        compared = self.stored.compared
        return compared < self.value if self.descending else compared > self.value

    @property
    def beyond_or_equal(self) -> ColumnElement[bool]:
        compared = self.stored.compared
        return compared <= self.value if self.descending else compared >= self.value


# -- segments --------------------------------------------------------------------------------


class Ways(NamedTuple):
    """How a database finds a position in an index."""

    #: By comparing rows: (a, b) > (1, 2).
    rows: bool
    #: Behind a NULL, as `a IS NULL AND b > 2`.
    nulls: bool


def segments_after(terms: Sequence[Term], nulls: Sequence[bool], ways: Ways) -> list[Segment]:
    """Return the rows after a position.

    Args:
        terms: of the order, read in its direction.
        nulls: for each term, whether its value in the position is NULL.
        ways: of the database.
    """
    if not terms:
        return []
    first, rest = terms[0], terms[1:]
    if not nulls[0]:
        after = Segment(_beyond(terms, nulls, ways), _order(_settled(terms)))
        return [after] if _ends_with_values(first) else [after, _nulls_of(terms)]
    inside = [
        _among_nulls(terms, segment, is_found=ways.nulls or nulls[-1])
        for segment in segments_after(rest, nulls[1:], ways)
    ]
    return [*inside, _values_of(terms)] if first.nulls_first else inside


def segments_of_all(terms: Sequence[Term]) -> list[Segment]:
    """Return all rows, from the beginning.

    NULLs that the order moves are a segment of their own, for no plain index has them there.
    """
    if not terms[0].moves_nulls:
        return [Segment(None, _order(terms))]
    nulls, values = _nulls_of(terms), _values_of(terms)
    return [nulls, values] if terms[0].nulls_first else [values, nulls]


def _among_nulls(terms: Sequence[Term], segment: Segment, *, is_found: bool) -> Segment:
    """Return what a segment of the later terms has where the first is NULL."""
    first, *rest = terms
    condition = _all(first.is_null, segment.condition)
    if is_found:
        return Segment(condition, segment.order)
    # MariaDB looks `a IS NULL` up and reads all that it finds. The other side of OR, which is never
    # true, leaves it nothing but to read a range.
    never = and_(first.is_not_null, rest[-1].beyond, rest[-1].turned().beyond)
    along = replace(first, descending=rest[0].descending, moves_nulls=False)
    return Segment(or_(condition, never), (*along.order(), *(segment.order or ())))


def _ends_with_values(term: Term) -> bool:
    return not term.nullable or term.nulls_first


def _nulls_of(terms: Sequence[Term]) -> Segment:
    return Segment(terms[0].is_null, _order(terms[1:]))


def _values_of(terms: Sequence[Term]) -> Segment:
    return Segment(terms[0].is_not_null, _order(_settled(terms)))


def _settled(terms: Sequence[Term]) -> list[Term]:
    """Return the terms where the first is known not to be NULL."""
    return [replace(terms[0], moves_nulls=False), *terms[1:]]


def _order(terms: Sequence[Term]) -> tuple[ColumnElement[Any], ...]:
    return tuple(by for term in terms for by in term.order())


def _all(*conditions: ColumnElement[bool] | None) -> ColumnElement[bool]:
    return and_(*(condition for condition in conditions if condition is not None))


def _beyond(terms: Sequence[Term], nulls: Sequence[bool], ways: Ways) -> ColumnElement[bool]:
    """Return the condition for what comes after a position whose first value is not NULL."""
    first = terms[0]
    if len(terms) == 1:
        return first.beyond
    if ways.rows and _compares_as_rows(terms, nulls):
        row = tuple_(*(term.stored.compared for term in terms))
        position = tuple_(*(term.value for term in terms))
        return row < position if first.descending else row > position
    # The first part is implied by the second; without it, PostgreSQL would not use the index.
    return and_(first.beyond_or_equal, _after([replace(first, nullable=False), *terms[1:]], nulls))


def _compares_as_rows(terms: Sequence[Term], nulls: Sequence[bool]) -> bool:
    """Tell whether `>` between rows says what the order says; a NULL in them is never greater."""
    if any(nulls) or len({term.descending for term in terms}) > 1:
        return False
    return all(_ends_with_values(term) for term in terms[1:])


def _after(terms: Sequence[Term], nulls: Sequence[bool]) -> ColumnElement[bool]:
    """Return the condition for what comes after a position, term by term."""
    if not terms:
        return false()
    first = terms[0]
    later = and_(first.is_null if nulls[0] else first.equal, _after(terms[1:], nulls[1:]))
    if nulls[0]:
        return or_(first.is_not_null, later) if first.nulls_first else later
    if _ends_with_values(first):
        return or_(first.beyond, later)
    return or_(first.beyond, first.is_null, later)
