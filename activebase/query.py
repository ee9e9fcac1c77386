"""Query: a `Select` that can run itself.

``User.query`` is a `Select` of the model's records: every `select()` method works on it, it goes
anywhere a `Select` goes, and SQLAlchemy's statement cache is kept. `Query` adds only what runs it.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, Generic, Self, TypeVar, cast

from sqlalchemy import ColumnElement, Result, Select, and_, false, func, inspect, not_, select
from sqlalchemy.orm import Mapper, scoped_session

from .errors import NotFoundError
from .session import session as global_session

T = TypeVar("T")
M = TypeVar("M")


class Query(Select[Any], Generic[T]):
    """A `Select` that runs itself in the model's session.

    What selects one entity gives records, what selects several columns gives rows.
    """

    inherit_cache = True

    _model: type[Any] | None = None
    _unchanged: weakref.ref[Any] | None = None

    @classmethod
    def of(cls, model: type[M]) -> Query[M]:
        """Return the query of all records of a model."""
        query: Query[M] = Query(model)
        query._model = model
        # Every method of Select copies the statement: a copy is told by not being this object.
        query._unchanged = weakref.ref(query)
        return query

    # -- narrowing -------------------------------------------------------------------------

    def exclude(self, *criteria: ColumnElement[bool]) -> Self:
        """Keep every row for which the criteria, taken together, are not true; NULL is not true.

        Source: Django's `exclude`.
        """
        if not criteria:
            return self
        return self.where(not_(func.coalesce(and_(*criteria), false())))

    # -- running ---------------------------------------------------------------------------

    def all(self) -> list[T]:
        """Return all records, in a list. Effect: SELECT."""
        return list(self._fetched(self))

    def first(self) -> T | None:
        """Return the first record, or None. Effect: SELECT with LIMIT 1."""
        found = self._fetched(self.limit(1))
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
        """
        model, mapper = self._entity()
        if self._unchanged is not None and self._unchanged() is self:
            return cast("T | None", self._session().get(model, pk))
        return self.where(*_key_criteria(mapper, pk)).one_or_none()

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

    def count(self) -> int:
        """Return the number of rows; LIMIT, OFFSET and DISTINCT count. Effect: SELECT."""
        rows = self.order_by(None).subquery()
        return int(self._session().scalar(select(func.count()).select_from(rows)) or 0)

    def any(self) -> bool:
        """Tell whether there is a row. Effect: SELECT EXISTS."""
        return bool(self._session().scalar(select(self.order_by(None).exists())))

    def _result(self, statement: Select[Any]) -> Any:
        result: Result[Any] = self._session().execute(statement)
        if len(self.column_descriptions) > 1:
            return result
        # A record once, as Query API users know it: eager joins may repeat it.
        is_entity = isinstance(self.column_descriptions[0]["expr"], type)
        scalars = result.scalars()
        return scalars.unique() if is_entity else scalars

    def _fetched(self, statement: Select[Any]) -> Sequence[T]:
        return cast("Sequence[T]", self._result(statement).all())

    def _entity(self) -> tuple[type[Any], Mapper[Any]]:
        model = self._model or self.column_descriptions[0].get("entity")
        mapper = inspect(model, raiseerr=False) if model is not None else None
        if model is None or not isinstance(mapper, Mapper):
            raise TypeError("This query selects no model, so it has no primary key to look for.")
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


def _key_criteria(mapper: Mapper[Any], pk: Any) -> list[ColumnElement[bool]]:
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


class QueryProperty:
    """``Model.query``: a new `Query` of the class it is asked on."""

    def __get__(self, instance: object, owner: type[M]) -> Query[M]:
        return Query.of(owner)
