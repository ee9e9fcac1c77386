"""A `Select` that can tell its shape: what SQLAlchemy knows of it has no public name."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast, overload

from sqlalchemy import Select, SQLColumnExpression
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import LoaderCriteriaOption, Mapper

from .kept import kept_by

if TYPE_CHECKING:
    from .query import Query

V = TypeVar("V")

_MOST_REMEMBERED = 100


class _Memory(NamedTuple):
    """What was made of a query."""

    of: weakref.ref[Any]
    made: dict[Hashable, Any]


class ShapedSelect(Select[Any]):
    """A `Select` that remembers which of its methods were called, and what was made of it."""

    inherit_cache = True

    _marks: frozenset[str] = frozenset()
    #: The terms of ORDER BY.
    ordering: tuple[Any, ...] = ()
    #: Those of `with_loader_criteria()`, which a subquery leaves to the statement around it.
    criteria: tuple[LoaderCriteriaOption, ...] = ()

    _memory: _Memory | None = None

    def _remember(self, key: Hashable, make: Callable[[], V]) -> V:
        """Return what was made of this query under a key, or make it; copies begin anew.

        It pays for what many calls share: `Model.query`, and an order of it by names.
        """
        memory = self._memory
        if memory is None or memory.of() is not self:  # but the query's that this is a copy of
            memory = self._memory = _Memory(weakref.ref(self), {})
        made: V | None = memory.made.get(key)  # once: another thread may clear it
        if made is None:
            made = make()
            if len(memory.made) >= _MOST_REMEMBERED:
                memory.made.clear()
            memory.made[key] = made
        return made

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = dict(super().__getstate__())  # type: ignore[no-untyped-call]
        state.pop("_memory", None)
        return state

    def order_by(self, *terms: Any) -> Self:
        """See `Select.order_by`."""
        query = super().order_by(*terms)
        query.ordering = () if _is_reset(terms) else (*self.ordering, *terms)
        return query

    def limit(self, limit: Any) -> Self:
        """See `Select.limit`."""
        return super().limit(limit)._mark("limit", limit)

    def offset(self, offset: Any) -> Self:
        """See `Select.offset`."""
        return super().offset(offset)._mark("offset", offset)

    def fetch(self, count: Any, *args: Any, **options: Any) -> Self:
        """See `Select.fetch`."""
        return super().fetch(count, *args, **options)._mark("limit", count)

    def slice(self, start: int, stop: int) -> Self:
        """See `Select.slice`."""
        return super().slice(start, stop)._mark("limit", True)

    def distinct(self, *columns: Any) -> Self:
        """See `Select.distinct`."""
        query = super().distinct(*columns)._mark("distinct", True)
        return query._mark("distinct on", True) if columns else query

    def group_by(self, *terms: Any) -> Self:
        """See `Select.group_by`."""
        return super().group_by(*terms)._mark("group", None if _is_reset(terms) else True)

    def having(self, *criteria: Any) -> Self:
        """See `Select.having`."""
        return super().having(*criteria)._mark("group", True)

    # What is selected then is no record any more, and the type says so. SQLAlchemy's own types
    # tell two columns from three, which rows of any do not match: hence the ignores.
    @overload  # type: ignore[override]
    def with_only_columns(
        self, entity: type[V] | SQLColumnExpression[V], /, *, maintain_column_froms: bool = False
    ) -> Query[V]: ...
    @overload
    def with_only_columns(
        self, *entities: Any, maintain_column_froms: bool = False
    ) -> Query[Any]: ...
    def with_only_columns(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, *entities: Any, **options: Any
    ) -> Query[Any]:
        """See `Select.with_only_columns`."""
        query = cast("Query[Any]", super().with_only_columns(*entities, **options))
        return query._mark("columns", True)

    def add_columns(self, *entities: Any) -> Query[Any]:
        """See `Select.add_columns`."""
        return cast("Query[Any]", super().add_columns(*entities))._mark("columns", True)

    def options(self, *options: Any) -> Self:
        """See `Select.options`."""
        query = super().options(*options)._mark("options", True)
        criteria = [each for each in options if isinstance(each, LoaderCriteriaOption)]
        query.criteria = (*self.criteria, *criteria)
        return query

    def _mark(self, mark: str, value: object) -> Self:
        # On the copy that the method has just made.
        self._marks = self._marks - {mark} if value is None else self._marks | {mark}
        return self

    def _may_join(self, mapper: Mapper[Any]) -> bool:
        """Tell whether a relation to many may be loaded by JOIN, so that records repeat.

        Args:
            mapper: of the model that is selected.
        """
        return "options" in self._marks or joins_by_itself(mapper)

    @property
    def sliced(self) -> bool:
        """Whether it has LIMIT, OFFSET or FETCH."""
        return bool(self._marks & {"limit", "offset"})

    @property
    def limited(self) -> bool:
        """Whether it has LIMIT or FETCH."""
        return "limit" in self._marks

    @property
    def narrowed(self) -> bool:
        """Whether its rows are others than those that its WHERE finds."""
        return self.sliced or self.is_distinct

    @property
    def is_distinct(self) -> bool:
        """Whether it has DISTINCT."""
        return "distinct" in self._marks

    @property
    def distinct_on(self) -> bool:
        """Whether it has DISTINCT ON, which keeps one row of several."""
        return "distinct on" in self._marks

    @property
    def has_own_columns(self) -> bool:
        """Whether it selects others than it was made with."""
        return "columns" in self._marks

    @property
    def grouped(self) -> bool:
        """Whether it has GROUP BY or HAVING."""
        return "group" in self._marks


def joins_by_itself(mapper: Mapper[Any]) -> bool:
    """Tell whether a model loads relations by JOIN without being asked."""
    kept = kept_by(mapper.class_, "joins")
    if "joins" not in kept:
        relations = [each for m in mapper.self_and_descendants for each in m.relationships]
        kept["joins"] = any(each.lazy in ("joined", False) for each in relations)
    return bool(kept["joins"])


def each_once(records: Sequence[V]) -> list[V]:
    """Return the records in their order, each at its first place."""
    if len(set(map(id, records))) == len(records):
        return list(records)
    return list({id(record): record for record in records}.values())


def wants_unique(error: InvalidRequestError) -> bool:
    """Tell whether SQLAlchemy has found that rows repeat a record: a join loads a collection.

    Who adds that to a query by an event, or to a model later, is seen by no one else.
    """
    return "unique()" in str(error)


def _is_reset(terms: tuple[Any, ...]) -> bool:
    return len(terms) == 1 and terms[0] is None
