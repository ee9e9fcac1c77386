"""INSERT of many rows that name the same columns, in the form that is fastest on the database.

* PostgreSQL: the columns as arrays, ``INSERT ... SELECT FROM unnest(...)``, one statement a batch.
* SQLite: tuples, converted column by column, for the driver's ``executemany``.
* Else, and for what these do not carry, SQLAlchemy's ``executemany``.
* Joined-table inheritance is left to SQLAlchemy's ORM, which knows what goes into which table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Column,
    Integer,
    bindparam,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy import column as sql_column
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from .conflicts import IGNORED, Conflict
from .rows import Rows
from .statements import Statements

#: Rows in one statement, unless the caller says otherwise.
BATCH_SIZE = 10_000


class Insertion(Statements):
    """Inserts rows that name the same columns."""

    def __init__(
        self, session: Session, rows: Rows, conflict: Conflict | None, batch_size: int | None
    ) -> None:
        super().__init__(session, rows.layout, batch_size)
        self.rows = rows
        self.conflict = conflict
        self.columns: list[Column[Any]] = list(rows.columns)
        self._variables: dict[str, Any] = {}  # of MySQL, that the statement reads
        self._ignored = 0  # how many rows had been, at the last one that came back

    def check_returning(self) -> None:
        """Refuse a database that can't give rows back. Raises: NotImplementedError."""
        dialect = self.connection.dialect
        if not dialect.insert_executemany_returning:
            raise NotImplementedError(
                f"This {dialect.name} does not give back what it has inserted, as INSERT ... "
                "RETURNING does elsewhere. Leave returning=True out, and read the records by a "
                "unique column."
            )

    def count(self) -> int:
        """Insert; returns how many rows were written, each counted once."""
        if not self.layout.is_plain:
            for batch in self._batches():
                self.execute(insert(self.layout.model), self._by_attribute(batch))
            return len(self.rows)
        self._set_variables()
        written = sum(map(self._count_batch, self._batches()))
        if IGNORED in self._variables:
            written -= int(self.execute(text(f"SELECT {IGNORED}")).scalar_one())
        return written

    def records(self) -> list[tuple[int, Any]]:
        """Insert; returns what was written, as records with the places of their rows."""
        if not self.layout.is_plain:
            return self._records_by_orm()
        self._set_variables()
        return [pair for batch in self._batches() for pair in self._records_of_batch(batch)]

    def _records_by_orm(self) -> list[tuple[int, Any]]:
        model = self.layout.model
        statement = insert(model).returning(model, sort_by_parameter_order=True)
        found: list[Any] = []
        for batch in self._batches():
            found += self.execute(statement, self._by_attribute(batch)).scalars()
        return list(zip(self.rows.places, found, strict=True))

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """See `Statements.execute`. Raises: UniqueViolation: of a key that was not meant."""
        try:
            return super().execute(statement, parameters)
        except DBAPIError as error:
            meant = self.conflict and self.conflict.of_other_key(error)
            if not meant:
                raise
            raise meant from error

    # -- batches ---------------------------------------------------------------------------

    def _batches(self) -> Iterator[Rows]:
        size = self.batch_size or BATCH_SIZE
        if len(self.rows) <= size:
            yield self.rows
            return
        for start in range(0, len(self.rows), size):
            yield self.rows.slice(start, start + size)

    def _count_batch(self, batch: Rows) -> int:
        if (arrays := self._arrays(batch)) is not None:
            return int(self.execute(self._from_arrays, arrays).rowcount)
        if (tuples := self._tuples(batch)) is not None:
            return self.execute_driver_sql(str(self._for_driver), tuples)
        ignores = self.conflict is not None and self.conflict.action == "ignore"
        if ignores and self.dialect.name == "postgresql":
            # Some of its drivers count the last row only.
            written = self._statement.returning(*self.layout.key)
            return len(self.execute(written, self._by_key(batch)).all())
        result = self.execute(self._statement, self._by_key(batch))
        return int(result.rowcount) if ignores and not self._variables else len(batch)

    def _records_of_batch(self, batch: Rows) -> list[tuple[int, Any]]:
        arrays = self._arrays(batch)
        statement = self._statement if arrays is None else self._from_arrays
        parameters = self._by_key(batch) if arrays is None else arrays
        if IGNORED in self._variables:
            return self._not_ignored(statement, parameters, batch)
        query = select(self.layout.model).from_statement(statement.returning(*self._loaded))
        return self._placed(list(self.execute(query, parameters).scalars()), batch)

    def _not_ignored(self, statement: Any, parameters: Any, batch: Rows) -> list[tuple[int, Any]]:
        """Return the records of rows at which the count of conflicts did not go up."""
        count = literal_column(IGNORED, Integer).label(_IGNORED)
        query = select(self.layout.model, sql_column(_IGNORED, Integer)).from_statement(
            statement.returning(*self._loaded, count)
        )
        found: list[tuple[int, Any]] = []
        for place, (record, ignored) in zip(
            batch.places, self.execute(query, parameters), strict=True
        ):
            if ignored == self._ignored:
                found.append((place, record))
            self._ignored = ignored
        return found

    # -- places of records -----------------------------------------------------------------

    def _placed(self, records: list[Any], batch: Rows) -> list[tuple[int, Any]]:
        """Return the records with the places of their rows.

        Which record is which row's tell the keys. Where they can't, as in a column that stores
        something else than it was given, the database has given back the rows in their order.
        """
        for key in self._known_keys():
            found = self._places_by_key(key, records, batch)
            if len(set(found) - {None}) == len(records):
                return list(zip(found, records, strict=True))
        counter = self.layout.table.autoincrement_column
        is_new = self.conflict is None or self.conflict.action == "ignore"
        if is_new and counter is not None and counter not in batch.columns and _goes_up(counter):
            records.sort(key=attrgetter(self.layout.names[counter]))
        return list(zip(batch.places, records, strict=False))

    def _known_keys(self) -> Iterator[Sequence[Column[Any]]]:
        keys = [self.layout.key]
        if self.conflict is not None:
            keys += [key for key, _ in self.layout.unique_keys()]
        for key in dict.fromkeys(keys):
            if all(column in self.rows.columns and column in self.layout.names for column in key):
                yield key

    def _places_by_key(
        self, key: Sequence[Column[Any]], records: list[Any], batch: Rows
    ) -> list[Any]:
        values = zip(*(batch.columns[column] for column in key), strict=True)
        names = [self.layout.names[column] for column in key]
        try:
            # The first of several rows with one key is the one that was written.
            places = dict(reversed(list(zip(values, batch.places, strict=True))))
            return [
                places.get(tuple(getattr(record, name) for name in names)) for record in records
            ]
        except TypeError:
            return []  # values that can't be looked up

    # -- statements ------------------------------------------------------------------------

    @cached_property
    def _statement(self) -> Any:
        if self.conflict is None:
            return insert(self.layout.table)
        return self.conflict.insert(self.rows, self._variables)

    @cached_property
    def _needs_context(self) -> bool:
        """Whether SQLAlchemy must find a default row by row, or there is nothing to send."""
        return not self.columns or bool(self.layout.contextual - set(self.columns))

    @cached_property
    def _types(self) -> list[TypeEngine[Any]]:
        return [column.type for column in self.columns]

    @cached_property
    def _from_arrays(self) -> Any:
        source = None if self._needs_context else self.source(self._types)
        if source is None:
            return None
        return self._statement.from_select(self.columns, select(*source.columns))

    @cached_property
    def _for_driver(self) -> SQLCompiler | None:
        if self._needs_context or not self.takes_tuples:
            return None
        return self.compiled(self._statement.inline(), [column.key for column in self.columns])

    @cached_property
    def _loaded(self) -> list[Column[Any]]:
        """The columns that a record has from the start."""
        layout = self.layout
        props = [prop for prop in layout.mapper.column_attrs if not prop.deferred]
        return [layout.columns[prop.key] for prop in props if prop.key in layout.columns]

    def _set_variables(self) -> None:
        if not self._statement.is_insert or not self._variables:
            return
        names = enumerate(self._variables)
        statement = text("SET " + ", ".join(f"{name} = :value_{n}" for n, name in names))
        values = enumerate(self._variables.values())
        self.execute(
            statement.bindparams(*(bindparam(f"value_{n}", v.value, v.type) for n, v in values))
        )

    # -- parameters ------------------------------------------------------------------------

    def _arrays(self, batch: Rows) -> dict[str, str] | None:
        if self._from_arrays is None:
            return None
        return self.arrays(self._types, list(batch.columns.values()))

    def _tuples(self, batch: Rows) -> list[tuple[Any, ...]] | None:
        if self._for_driver is None:
            return None
        values = {column.key: (column.type, own) for column, own in batch.columns.items()}
        return self.tuples(self._for_driver, values)

    def _by_key(self, batch: Rows) -> list[dict[str, Any]]:
        return _dicts([column.key for column in self.columns], batch)

    def _by_attribute(self, batch: Rows) -> list[dict[str, Any]]:
        return _dicts([self.layout.names[column] for column in self.columns], batch)


_IGNORED = "activebase_ignored"


def _dicts(names: Sequence[str], batch: Rows) -> list[dict[str, Any]]:
    if not names:
        return [{} for _ in batch.places]
    values = zip(*batch.columns.values(), strict=True)
    return [dict(zip(names, row, strict=True)) for row in values]


def _goes_up(counter: Column[Any]) -> bool:
    sequence = counter.identity or counter.default
    return (getattr(sequence, "increment", None) or 1) > 0
