"""Query: a `Select` that can run itself.

``User.query`` is a `Select` of the model's records: every `select()` method works on it, it goes
anywhere a `Select` goes, and SQLAlchemy's statement cache is kept. `Query` adds lookups by keyword
and what runs it; each method of the kind stands in the module of its idea.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast, overload

from sqlalchemy import (
    ColumnElement,
    ColumnExpressionArgument,
    Executable,
    Result,
    Select,
    SQLColumnExpression,
    and_,
    false,
    func,
    inspect,
    not_,
    select,
)
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Mapper, QueryableAttribute, Session, raiseload, scoped_session

from .errors import NotFoundError
from .kept import kept_by
from .later import Later
from .session import session as global_session
from .shape import ShapedSelect, each_once, wants_unique

if TYPE_CHECKING:
    from . import attributes, conditions, dml, ordering, pagination, prepared, rows
    from .pagination import CursorPage, Page
else:
    attributes, conditions, dml = Later("attributes"), Later("conditions"), Later("dml")
    ordering, pagination, prepared = Later("ordering"), Later("pagination"), Later("prepared")
    rows = Later("rows")

T = TypeVar("T")
M = TypeVar("M")
V = TypeVar("V")

#: What `Select.where` takes, and a column of booleans that may be NULL.
Criterion = ColumnExpressionArgument[bool] | ColumnExpressionArgument[bool | None]

#: How many items a page has, unless the caller says otherwise, and how many at the most.
PER_PAGE, MOST_PER_PAGE = 20, 100

#: How many keys `in_bulk()` asks for in one statement: SQLite's old limit is 999 parameters.
_KEYS_AT_ONCE = 900


class Query(ShapedSelect, Generic[T]):
    """A `Select` that runs itself in the model's session.

    What selects one entity gives records, what selects several columns gives rows.
    """

    inherit_cache = True

    _model: type[Any] | None = None
    #: What strings in `order_by()` and `values()` have joined: an alias for each path of relations.
    joined: Mapping[tuple[str, ...], Any] = {}  # never changed in place

    @classmethod
    def of(cls, model: type[M]) -> Query[M]:
        """Return the query of all records of a model: one for all, as no method changes it."""
        kept = kept_by(model, "query")
        query: Query[M] | None = kept.get("all")
        if query is None:
            query = Query(model)
            query._model = model
            kept["all"] = query
        return query

    # -- narrowing -------------------------------------------------------------------------

    def filter(self, *criteria: Criterion, **lookups: Any) -> Self:
        """Keep the rows for which all criteria and lookups hold.

        Args:
            *criteria: as `Select.where` takes.
            **lookups: values by key, as ``author__name__icontains="x"``; docs/reference/lookups.md
                has the list. Those behind one relation to many are about one and the same record.
        Raises:
            InvalidLookupError: an unknown name or operator, or a value that it does not take.
        Source: Django's `filter`, `Select.where`.
        """
        wanted: list[Any] = [*criteria]
        if lookups:
            wanted += conditions.conditions(self.entity()[0], lookups)
        return self.where(*wanted) if wanted else self

    def exclude(self, *criteria: Criterion, **lookups: Any) -> Self:
        """Keep every row for which the whole is not true; NULL is not true.

        Args and Raises: as `filter`; nothing given keeps every row.
        Source: Django's `exclude`.
        """
        given: list[Any] = [*criteria]
        parts: list[Any] = [func.coalesce(and_(*given), false())] if given else []
        if lookups:
            parts.append(conditions.condition(self.entity()[0], lookups, null_safe=True))
        return self.where(not_(and_(*parts))) if parts else self

    def filter_from(self, mapping: Mapping[str, Any], *, allow: Collection[str]) -> Self:
        """Filter by untrusted input, as a query string; text is read as what each lookup takes.

        Args:
            mapping: values by lookup; several for ``in`` and ``range`` as a list or with commas.
            allow: the lookups that may be named, spelled out: ``{"name__icontains", "age__gte"}``.
        Raises:
            InvalidLookupError: a key that is not listed, or a value that can't be read.
        """
        if not mapping:
            return self
        return self.where(conditions.condition_from(self.entity()[0], mapping, allow))

    # -- shape -----------------------------------------------------------------------------

    def order_by(self, *terms: Any) -> Self:
        """Add to the order: names as ``"-created_at"`` and ``"author__name"``, or columns.

        ``order_by(None)`` drops it.

        Raises:
            InvalidLookupError: an unknown name, or a path through a relation to many.
        Source: Django's names, `Select.order_by`.
        """
        if self._is_all and all(isinstance(term, str) for term in terms):
            return self._remember(("order", *terms), lambda: self._ordered(terms))
        return self._ordered(terms)

    def _ordered(self, terms: tuple[Any, ...]) -> Self:
        query, columns = self, list[Any]()
        for term in terms:
            if isinstance(term, str):
                query, found = ordering.order_terms(query, term)
                columns += found
            else:
                columns.append(term)
        return super(Query, query).order_by(*columns)

    @property
    def _is_all(self) -> bool:
        """Whether this is `Model.query` itself."""
        return self._model is not None and kept_by(self._model, "query").get("all") is self

    def with_related(self, *names: str) -> Self:
        """Load relations with the records: to-many by SELECT IN, to-one by JOIN.

        Args:
            *names: relations, or paths of them: ``"posts", "posts__comments"``.
        Raises:
            InvalidLookupError: it is no relation.
        Source: Django's `select_related` and `prefetch_related`.
        """
        model, _ = self.entity()
        loaders = [ordering.loader_of(model, name) for name in names]
        options = [loader.option for loader in loaders]
        if any(loader.may_repeat for loader in loaders):
            return self.options(*options)
        return super(ShapedSelect, self).options(*options)  # of which none repeats a record

    def strict(self) -> Self:
        """Have every lazy load of a relation raise, so that none is overlooked (N+1).

        Source: `sqlalchemy.orm.raiseload`.
        """
        return self.options(raiseload("*"))

    def with_deleted(self) -> Self:
        """Include what a `SoftDelete` model has marked as deleted."""
        return self.execution_options(with_deleted=True)

    # -- records ---------------------------------------------------------------------------

    def all(self) -> list[T]:
        """Return all records, in a list. Effect: SELECT."""
        return self.items(self)

    def first(self) -> T | None:
        """Return the first record, or None. Effect: SELECT with LIMIT 1."""
        found = self.items(self if self.limited else self.limit(1))
        return found[0] if found else None

    def one(self) -> T:
        """Return the only record.

        Effect: SELECT.
        Raises:
            NoResultFound: none matches; MultipleResultsFound: more than one does.
        """
        return cast(T, self._result(self).one())

    def one_or_none(self) -> T | None:
        """Return the only record, or None. Effect: SELECT.

        Raises:
            MultipleResultsFound: more than one matches.
        """
        return cast("T | None", self._result(self).one_or_none())

    def get(self, pk: Any) -> T | None:
        """Return the record with this primary key if the query has it, or None.

        Args:
            pk: the value; a tuple, or a dict by attribute, for a composite key.
        Effect: none if the query is unfiltered and the session has the record, else SELECT.
        Raises:
            TypeError: the query has LIMIT or OFFSET, or the key has another number of values.
        """
        self._check_whole("get() looks among all rows")
        model, mapper = self.entity()
        if self._is_all:
            return cast("T | None", prepared.record_by_key(self._session().registry(), model, pk))
        return self.where(*prepared.key_criteria(mapper, pk)).one_or_none()

    def first_or_404(self) -> T:
        """Return the first record. Raises: NotFoundError. Effect: SELECT with LIMIT 1."""
        return self._found(self.first())

    def one_or_404(self) -> T:
        """Return the only record. Effect: SELECT.

        Raises:
            NotFoundError: none matches.
            MultipleResultsFound: more than one does.
        """
        return self._found(self.one_or_none())

    def get_or_404(self, pk: Any) -> T:
        """Return the record with this primary key. Raises: NotFoundError. Effect: see `get`."""
        return self._found(self.get(pk), pk)

    def last(self) -> T | None:
        """Return the last record, or None: the first in the opposite order.

        Without an order, by the primary key.

        Effect: SELECT with LIMIT 1.
        Raises:
            TypeError: the query has LIMIT or OFFSET.
        """
        self._check_whole("last() turns the order round")
        ordered = self if self.ordering else self.order_by(*attributes.keys_of(*self.entity()))
        return ordered._ordered_by(*map(ordering.reversed_term, ordered.ordering)).first()

    def _check_whole(self, why: str) -> None:
        if self.sliced:
            raise TypeError(f"{why}, which LIMIT and OFFSET do not bear: leave them out.")

    def _ordered_by(self, *terms: Any) -> Self:
        return self.order_by(None).order_by(*terms)

    def in_bulk(self, ids: Iterable[Any]) -> dict[Any, T]:
        """Return the records with these primary keys, by key; those that are missing are not there.

        Args:
            ids: values; tuples for a composite key.
        Effect: one SELECT for every 900 keys.
        Raises:
            TypeError: the query has LIMIT or OFFSET.
        Source: Django's `in_bulk`.
        """
        self._check_whole("in_bulk() looks among all rows")
        model, mapper = self.entity()
        wanted = list(dict.fromkeys(ids))
        size = max(1, _KEYS_AT_ONCE // len(mapper.primary_key))
        records: list[T] = []
        for start in range(0, len(wanted), size):
            records += self.where(conditions.among_keys(model, wanted[start : start + size])).all()
        keys = [mapper.primary_key_from_instance(record) for record in records]
        return {
            key[0] if len(key) == 1 else tuple(key): record
            for key, record in zip(keys, records, strict=True)
        }

    def iterate(self, *, batch: int = 1000) -> Iterator[T]:
        """Yield the records one after the other, a batch in memory at a time.

        Args:
            batch: how many rows are fetched at once.
        Effect: SELECT through a server-side cursor. MySQL and MariaDB can't run anything else on a
        connection with one: there the rows, not the records, are fetched at once.
        Raises:
            ValueError: ``batch`` is below 1.
            InvalidRequestError: a relation to many is loaded by JOIN, which spreads a record.
        """
        if batch < 1:
            raise ValueError(f"batch is a number of rows from 1, got {batch!r}.")
        # Not the option yield_per: SQLAlchemy 2.0 may hand it on to the loads of relations.
        streams = self.dialect_name not in ("mysql", "mariadb")
        query = self.execution_options(stream_results=streams, max_row_buffer=batch)
        result = self.run(query).yield_per(batch)
        try:
            yield from result if self._gives_rows else result.scalars()
        except InvalidRequestError as error:
            if not wants_unique(error):
                raise
            raise InvalidRequestError(
                "iterate() gives a record for each row, and a relation to many that is loaded by "
                "JOIN spreads one over several. Load it by selectinload(), or not at all."
            ) from error
        finally:
            result.close()

    # -- pages -----------------------------------------------------------------------------

    def paginate(
        self,
        *,
        page: int | str = 1,
        per_page: int | str = PER_PAGE,
        max_per_page: int | None = MOST_PER_PAGE,
    ) -> Page[T]:
        """Return a page by its number, from 1; see `activebase.pagination.paginate`."""
        return pagination.paginate(self, page=page, per_page=per_page, max_per_page=max_per_page)

    def cursor(
        self,
        *,
        after: str | None = None,
        before: str | None = None,
        limit: int | str = PER_PAGE,
        max_limit: int | None = MOST_PER_PAGE,
    ) -> CursorPage[T]:
        """Return the page after or before a cursor; see `activebase.pagination.cursor_page`."""
        return pagination.cursor_page(
            self, after=after, before=before, limit=limit, max_limit=max_limit
        )

    # -- values ----------------------------------------------------------------------------

    def values(self, *names: str | QueryableAttribute[Any]) -> list[dict[str, Any]]:
        """Return rows as dicts, without making records.

        Args:
            *names: attributes, also behind relations to one; default: all columns.
        Effect: SELECT.
        Raises:
            InvalidLookupError: an unknown name.
        Source: Django's `values`.
        """
        return rows.values(self, names)

    @overload
    def pluck(self, column: str) -> list[Any]: ...
    @overload
    def pluck(self, column: SQLColumnExpression[V]) -> list[V]: ...
    def pluck(self, column: Any) -> list[Any]:
        """Return the values of one column: a name, also behind relations to one, or the column.

        Effect: SELECT.
        Raises:
            InvalidLookupError: an unknown name.
        """
        return rows.pluck(self, column)

    def aggregate(self, **expressions: ColumnElement[Any]) -> dict[str, Any]:
        """Return aggregates over the rows: ``aggregate(total=func.sum(Order.amount))``.

        LIMIT, OFFSET and DISTINCT count.

        Effect: SELECT.
        Raises:
            TypeError: the query is grouped: select the aggregates with `with_only_columns()`; it
                selects columns with DISTINCT; or what is given is no expression.
        Source: Django's `aggregate`.
        """
        return rows.aggregate(self, expressions)

    def count(self) -> int:
        """Return the number of rows; LIMIT, OFFSET and DISTINCT count. Effect: SELECT."""
        # No order, which costs; but the first ten of an order are other rows than any ten.
        counted = (self if self.sliced else self.order_by(None)).subquery()
        return int(self.run(select(func.count()).select_from(counted)).scalar() or 0)

    def any(self) -> bool:
        """Tell whether there is a row. Effect: SELECT EXISTS."""
        return bool(self.run(select(self.order_by(None).exists())).scalar())

    # -- writing ---------------------------------------------------------------------------

    def update(self, **values: Any) -> int:
        """Set columns of all rows in one UPDATE; returns how many rows matched.

        Args:
            **values: plain values or SQL by attribute: ``update(stock=Product.stock - 1)``.
        Effect: flush, UPDATE. Records in the session are brought up to date; validators and events
        of records do not run. A version counter counts up.
        Raises:
            TypeError: LIMIT, OFFSET, grouping or DISTINCT ON.
            UnknownAttributeError, ProtectedAttributeError: before anything is sent.
            InvalidLookupError: a relation is set to what is no saved record of it.
        Source: Django's `update`.
        """
        return dml.update_rows(self, values)

    def delete(self) -> int:
        """Delete all rows in one DELETE; returns how many. Those of `SoftDelete` are marked.

        Effect: flush, DELETE. Cascades of relationships do not run, those of the database do.
        Raises:
            TypeError: LIMIT, OFFSET, grouping or DISTINCT ON, or a model in several tables.
        Source: Django's `delete`, without its emulated cascade.
        """
        return dml.delete_rows(self)

    # -- running ---------------------------------------------------------------------------

    def run(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> Any:
        """Execute a statement of this query in the model's session; returns SQLAlchemy's result."""
        # What is made from this query has none of its own.
        options = self.get_execution_options()
        if self.criteria and getattr(statement, "criteria", None) != self.criteria:
            statement = statement.options(*self.criteria)
        return self._session().execute(statement, parameters, execution_options=options)

    @property
    def dialect_name(self) -> str:
        """The name of the database's dialect."""
        session: Session = self._session().registry()
        return session.get_bind(self.entity()[1]).dialect.name

    def items(self, statement: Select[Any]) -> list[T]:
        """Return what a variant of this query gives: records, or rows of several columns."""
        if not self._gives_records or self._may_join(self.entity()[1]):
            return cast("list[T]", list(self._result(statement).all()))
        result = self.run(statement)
        try:
            return each_once(result.scalars().all())
        except InvalidRequestError as error:
            if not wants_unique(error):
                raise
            return cast("list[T]", list(self._result(statement).all()))

    def _result(self, statement: Select[Any]) -> Any:
        result: Result[Any] = self.run(statement)
        if self._gives_rows:
            return result
        # A record once, as Query API users know it: eager joins may repeat it.
        return result.scalars().unique() if self._gives_records else result.scalars()

    @property
    def _gives_rows(self) -> bool:
        return not self._gives_records and len(self.column_descriptions) > 1

    @property
    def _gives_records(self) -> bool:
        # Asking SQLAlchemy takes longer than all the rest of running a query.
        if self._model is not None and not self.has_own_columns:
            return True
        first, *others = self.column_descriptions
        return not others and isinstance(first["expr"], type)

    def entity(self) -> tuple[type[Any], Mapper[Any]]:
        """Return the model that is selected, and its mapper.

        Raises:
            TypeError: the query selects none.
        """
        model = self._model or self.column_descriptions[0].get("entity")
        mapper = inspect(model, raiseerr=False) if model is not None else None
        if model is None or not isinstance(mapper, Mapper):
            raise TypeError("This query selects no model, so names mean nothing to it.")
        return model, mapper

    def _session(self) -> scoped_session[Any]:
        own = getattr(self._model, "session", None)
        return own if isinstance(own, scoped_session) else global_session

    def _found(self, record: T | None, criteria: Any = None) -> T:
        if record is not None:
            return record
        model = self._model
        name = model.__name__ if model is not None else "record"
        which = "with this primary key" if criteria is not None else "that matches"
        raise NotFoundError(f"There is no {name} {which}.", model=model, criteria=criteria)


class QueryProperty:
    """``Model.query``: a new `Query` of the class it is asked on."""

    def __get__(self, instance: object, owner: type[M]) -> Query[M]:
        return Query.of(owner)
