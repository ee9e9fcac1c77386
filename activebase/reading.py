"""Reading: the rows of a page, by the positions of a keyset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import BigInteger, Select, bindparam, select

from .keysets import Keyset
from .segments import Segment

if TYPE_CHECKING:
    from .query import Query

T = TypeVar("T")

_LIMIT = bindparam("keyset_limit", type_=BigInteger())  # costs less than a new one each time


@dataclass(slots=True, eq=False)
class Read:
    """How a page was read, for what its items don't tell."""

    query: Query[Any]
    keyset: Keyset
    #: The first row of the page and the last, none if it is empty.
    ends: Sequence[Sequence[Any]]
    backward: bool
    #: Whether there are rows beyond the page, in the direction of reading.
    has_further: bool
    #: Whether there are rows behind its beginning, None if that is not known.
    has_behind: bool | None

    def has_more(self, *, forward: bool) -> bool:
        """Tell whether there are rows on one side of the page."""
        if forward != self.backward:
            return self.has_further
        if self.has_behind is None:
            self.has_behind = self._look_behind()
        return self.has_behind

    def cursor(self, *, forward: bool) -> str | None:
        """Return the cursor to what lies on one side of the page, None if nothing does."""
        if not self.has_more(forward=forward):
            return None
        # Of an empty page all that there is lies on that side: go on from the edge.
        end = self.keyset.place(self.ends[-1 if forward else 0]) if self.ends else ()
        return self.keyset.cursor(end)

    def _look_behind(self) -> bool:
        start = self.keyset.place(self.ends[-1 if self.backward else 0]) if self.ends else None
        rows, parameters = self.query.order_by(None), self.keyset.parameters(start)
        return any(
            self.query.run(select(_narrowed(rows, segment).exists()), parameters).scalar()
            for segment in self.keyset.segments(start, backward=not self.backward)
        )


def found_after(
    query: Query[Any], keyset: Keyset, start: Sequence[Any] | None, wanted: int, *, backward: bool
) -> list[Sequence[Any]]:
    """Return the rows after a position, or before it, as they are read: (item, *position)."""
    found: list[Sequence[Any]] = []
    is_cut = True
    while is_cut:
        is_cut = False
        for segment in keyset.segments(start, backward=backward):
            missing = wanted - len(found)
            sent = _rows(query, keyset, segment, start, missing)
            found += _without_repeats(sent) if query._gives_records else sent
            if len(found) >= wanted:
                return found
            if len(sent) >= missing:  # they repeat each other: go on after the last
                is_cut, start = True, keyset.place(found[-1])
                break
    return found


def _rows(
    query: Query[Any], keyset: Keyset, segment: Segment, start: Sequence[Any] | None, limit: int
) -> Sequence[Sequence[Any]]:
    """Return the first rows of a segment: (item, *position)."""
    key = keyset.fingerprint, segment  # a dialect may read the same position otherwise
    statement = query._remember(key, lambda: _statement(query, keyset, segment))
    parameters = keyset.parameters(start) | {_LIMIT.key: limit}
    result = query.run(statement, parameters)
    if query._gives_rows:
        return _rows_of_columns(result, len(keyset.reads))
    if query._gives_records:
        # SQLAlchemy wants it where a join loads a collection; but how many rows came tells whether
        # LIMIT has cut them off, so each is a different one to it.
        result = result.unique(partial(next, count()))
    rows: Sequence[Sequence[Any]] = result.all()
    return rows


def _statement(query: Query[Any], keyset: Keyset, segment: Segment) -> Any:
    statement: Any = _narrowed(query, segment)
    # Select's own methods: the marks of Query's would tell nobody anything.
    if keyset.reads:
        statement = Select.add_columns(statement, *keyset.reads)
    if segment.order is not None:
        statement = Select.order_by(Select.order_by(statement, None), *segment.order)
    elif keyset.tail:
        statement = Select.order_by(statement, *keyset.tail)
    return Select.limit(statement, _LIMIT)


def _rows_of_columns(result: Any, width: int) -> list[Sequence[Any]]:
    """Take the positions off the rows, so that what is left is what the query gives."""
    frozen = result.freeze()
    places = range(len(result.keys()))
    items = frozen().columns(*places[:-width]).all()
    positions = frozen().columns(*places[-width:]).all()
    return [(item, *position) for item, position in zip(items, positions, strict=True)]


def _without_repeats(rows: Sequence[Sequence[Any]]) -> Sequence[Sequence[Any]]:
    if len({id(row[0]) for row in rows}) == len(rows):
        return rows
    return list({(id(row[0]), *row[1:]): row for row in rows}.values())


def _narrowed(query: Query[T], segment: Segment) -> Query[T]:
    if segment.condition is None:
        return query
    return query.having(segment.condition) if query.grouped else query.where(segment.condition)
