"""Pages: `Page`, by number, and `CursorPage`, by a position in the order."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .attributes import keys_of
from .errors import InvalidLookupError
from .keysets import keyset_of
from .query import MOST_PER_PAGE, PER_PAGE
from .reading import Read, found_after
from .shape import each_once

if TYPE_CHECKING:
    from .query import Query

T = TypeVar("T")

_BIGGEST = 2**63 - 1  # that a database takes for OFFSET
_DIGITS = re.compile("[0-9]{1,4000}")


@dataclass(frozen=True, eq=False, repr=False)
class Page(Generic[T]):
    """A page of a query's records or rows, by its number.

    ``total``, and what hangs on it, costs a second statement, and only where it is asked for and
    is not plain from the page itself.
    """

    #: At most ``per_page``; none if the page is past the end.
    items: list[T]
    #: The number of this page, from 1.
    page: int
    per_page: int
    has_next: bool
    _count: Callable[[], int]

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<Page {self.page}: {len(self.items)} items>"

    @cached_property
    def total(self) -> int:
        """The number of rows on all pages. Effect: SELECT count(*), once."""
        return self._count()

    @property
    def pages(self) -> int:
        """The number of pages, 0 without rows. Effect: see `total`."""
        return -(-self.total // self.per_page)

    @property
    def has_prev(self) -> bool:
        """Whether this is not the first page."""
        return self.page > 1

    @property
    def next_num(self) -> int | None:
        """The number of the next page, None on the last."""
        return self.page + 1 if self.has_next else None

    @property
    def prev_num(self) -> int | None:
        """The number of the previous page, None on the first."""
        return self.page - 1 if self.has_prev else None

    def iter_pages(
        self,
        *,
        left_edge: int = 2,
        left_current: int = 2,
        right_current: int = 4,
        right_edge: int = 2,
    ) -> Iterator[int | None]:
        """Yield the numbers of pages to link to, and None for each gap between them.

        Args:
            left_edge: how many at the beginning.
            left_current: how many before this page.
            right_current: how many after it.
            right_edge: how many at the end.
        Effect: see `total`.
        Source: Flask-SQLAlchemy's `Pagination.iter_pages`.
        """
        end = self.pages + 1
        left_end = min(1 + left_edge, end)
        middle = max(left_end, self.page - left_current)
        middle_end = max(left_end, min(self.page + right_current + 1, end))
        right = max(middle_end, end - right_edge)
        yield from range(1, left_end)
        if left_end < end:
            yield from _after_gap(left_end, range(middle, middle_end))
        if left_end < end and middle_end < end:
            yield from _after_gap(middle_end, range(right, end))


def _after_gap(reached: int, numbers: range) -> Iterator[int | None]:
    if numbers.start > reached:
        yield None
    yield from numbers


@dataclass(frozen=True, eq=False, repr=False, slots=True)
class CursorPage(Generic[T]):
    """A page of a query's records or rows, by its place in their order.

    What lies in the direction of reading is known with the page. Whether something lies in the
    other one takes a statement, and only where ``has_prev`` or ``prev_cursor`` (after ``before=``
    ``has_next`` or ``next_cursor``) is asked for.
    """

    #: At most ``limit``, in the order of the query.
    items: list[T]
    _read: Read

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        return f"<CursorPage: {len(self.items)} items>"

    @property
    def has_next(self) -> bool:
        """Whether there are rows after this page. Effect: after ``before=`` SELECT, once."""
        return self._read.has_more(forward=True)

    @property
    def has_prev(self) -> bool:
        """Whether there are rows before this page. Effect: after ``after=`` SELECT, once."""
        return self._read.has_more(forward=False)

    @property
    def next_cursor(self) -> str | None:
        """What ``after=`` takes to give the next page, None if there is none.

        Effect: see `has_next`.
        Raises:
            TypeError: the rows are ordered by something that a cursor can't hold.
        """
        return self._read.cursor(forward=True)

    @property
    def prev_cursor(self) -> str | None:
        """What ``before=`` takes to give the previous page, None if there is none.

        Effect: see `has_prev`.
        Raises:
            TypeError: the rows are ordered by something that a cursor can't hold.
        """
        return self._read.cursor(forward=False)


# -- by number -------------------------------------------------------------------------------


def paginate(
    query: Query[T],
    *,
    page: int | str = 1,
    per_page: int | str = PER_PAGE,
    max_per_page: int | None = MOST_PER_PAGE,
) -> Page[T]:
    """Return a page by its number; without an order, by the primary key.

    Args:
        page: from 1; a number, or text of digits as from a query string.
        per_page: at most so many items, likewise.
        max_per_page: what ``per_page`` is cut down to, None for no bound.
    Effect: SELECT with LIMIT and OFFSET.
    Raises:
        InvalidLookupError: ``page`` or ``per_page`` is below 1 or no number.
        TypeError: the query has LIMIT or OFFSET of its own.
    Source: Flask-SQLAlchemy's `paginate`.
    """
    _refuse_sliced(query, "paginate")
    number, size = _number("page", page), _size("per_page", per_page, max_per_page)
    offset = (number - 1) * size
    if offset > _BIGGEST:  # past the end of any table, and more than a database takes
        return Page([], number, size, False, query.count)
    ordered = query if query.ordering else _ordered_by_key(query)
    items, sent = _fetched(query, ordered.limit(size + 1).offset(offset))
    if len(items) < min(sent, size + 1):
        return _page_of_repeated(query, ordered, number, size)
    has_next, items = len(items) > size, items[:size]
    if has_next or not (items or number == 1):
        return Page(items, number, size, has_next, query.count)
    total = offset + len(items)  # there is nothing after this page
    return Page(items, number, size, False, lambda: total)


def _page_of_repeated(query: Query[T], ordered: Query[T], number: int, size: int) -> Page[T]:
    """Return a page where rows repeat records, so that one more record tells nothing.

    An eager join repeats them, which LIMIT does not count, or a join of the query's own, which it
    does.
    """
    offset = (number - 1) * size
    items, total = query.items(ordered.limit(size).offset(offset)), query.count()
    return Page(items, number, size, offset + size < total, lambda: total)


def _fetched(query: Query[T], statement: Query[T]) -> tuple[list[T], int]:
    """Return what a statement gives, and how many rows were sent for it."""
    if not query._gives_records:
        items = query.items(statement)
        return items, len(items)
    sent: list[int] = []

    def once(record: object) -> int:
        sent.append(id(record))
        return sent[-1]

    found: list[T] = list(query.run(statement).scalars().unique(once).all())
    return found, len(sent)


def _ordered_by_key(query: Query[T]) -> Query[T]:
    return query.order_by(*keys_of(*query.entity()))


# -- by position -----------------------------------------------------------------------------


def cursor_page(
    query: Query[T],
    *,
    after: str | None = None,
    before: str | None = None,
    limit: int | str = PER_PAGE,
    max_limit: int | None = MOST_PER_PAGE,
) -> CursorPage[T]:
    """Return the page after, or before, a position in the order, which the primary key completes.

    Args:
        after: ``next_cursor`` of a page of the same query; None: begin with the first row.
        before: ``prev_cursor`` of one.
        limit: at most so many items; a number, or text of digits as from a query string.
        max_limit: what ``limit`` is cut down to, None for no bound.
    Effect: SELECT with LIMIT; a second one on a page that crosses from values to NULLs.
    Raises:
        InvalidLookupError: a cursor that no page of this query gave, or ``limit`` is below 1 or no
            number.
        TypeError: both cursors, a query with LIMIT or OFFSET of its own, or one that is ordered by
            what can't be compared.
    """
    _refuse_sliced(query, "cursor")
    if query.distinct_on:
        raise TypeError(
            "cursor() would have DISTINCT ON choose among the rows after the cursor alone, and so "
            "choose others. Page over what it finds: Model.query.filter(pk__in=query.pluck('id'))."
        )
    if after is not None and before is not None:
        raise TypeError("cursor() takes after= or before=, not both: a page lies on one side.")
    size = _size("limit", limit, max_limit)
    keyset, backward = keyset_of(query), before is not None
    given = before if backward else after
    start = None if given is None else keyset.position(given)
    rows = found_after(query, keyset, start, size + 1, backward=backward)
    has_further = len(rows) > size
    if has_further:
        rows = rows[:size]
    if backward:
        rows = rows[::-1]
    ends = (rows[0], rows[-1]) if rows else ()
    read = Read(query, keyset, ends, backward, has_further, None if start else False)
    return CursorPage(_items(query, rows), read)


def _items(query: Query[T], rows: Sequence[Sequence[Any]]) -> list[T]:
    items: list[T] = [row[0] for row in rows]
    # Each once, as from all(), though it may have several places in an order.
    return each_once(items) if query._gives_records else items


# -- what was given --------------------------------------------------------------------------


def _size(name: str, given: object, most: int | None) -> int:
    if most is not None and most < 1:
        raise ValueError(f"max_{name} is a number from 1, or None for no bound.")
    return min(_number(name, given), _BIGGEST - 1 if most is None else most)


def _number(name: str, given: object) -> int:
    if isinstance(given, str) and _DIGITS.fullmatch(given):
        given = int(given)
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidLookupError(
            f"{name} is no number from 1. Expected an int, or text of the digits 0 to 9 alone."
        )
    return given


def _refuse_sliced(query: Query[Any], method: str) -> None:
    if query.sliced:
        raise TypeError(
            f"{method}() sets LIMIT itself, and this query has LIMIT or OFFSET already. Leave them "
            "out, or page over what they find: Model.query.filter(pk__in=query.pluck('id'))."
        )
