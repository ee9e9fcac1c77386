"""`bulk_update()`: the same attributes of many records, with few statements.

* PostgreSQL: the values as arrays, ``UPDATE ... FROM unnest(...)``.
* MySQL and MariaDB: ``UPDATE ... JOIN`` with a table of the values.
* SQLite: tuples for the driver's ``executemany``. Else: SQLAlchemy's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

from sqlalchemy import Column, Table, bindparam, false, select, text, update
from sqlalchemy import column as sql_column
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from activebase.dialects import is_mysql
from activebase.session import check_write, one_write
from activebase.values import plain_type

from .layout import Layout, in_python
from .statements import Statements
from .targets import Targets

#: Rows in one statement, unless the caller says otherwise; on MySQL the values are its text.
BATCH_SIZE, BATCH_SIZE_OF_MYSQL = 10_000, 500

#: Where the rows stand in the text of MySQL's statement.
_ROWS = "/* activebase: rows */"

Values = dict[Column[Any], list[Any]]


def bulk_update(
    session: Session,
    model: type[Any],
    records: Iterable[Any],
    fields: Collection[str],
    *,
    batch_size: int | None,
) -> int:
    """Write attributes of many records; returns how many rows matched. See `MyBase.bulk_update`."""
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is a number of rows from 1, got {batch_size!r}.")
    layout = Layout.of(model)
    targets = Targets(session, layout, fields)
    targets.add(records)
    if not targets:
        return 0
    check_write(session)
    with one_write(session, flush=targets.settle()):
        found, values = targets.collect()
        matched = _Update(session, layout, batch_size).send(found, values)
        targets.check(matched)
    targets.tell(values)
    return matched


class _Update(Statements):
    """Sends the UPDATE statements of one call."""

    def send(self, found: Values, values: Values) -> int:
        """Update rows; returns how many matched.

        Args:
            found: what rows are found by: values of the model's key, and of its version.
            values: what is set.
        """
        matched = []
        for table in dict.fromkeys(column.table for column in values):
            own = {column: new for column, new in values.items() if column.table is table}
            matched.append(_TableUpdate(self, table, self._of_table(table, found), own).send())
        return min(matched)

    def _of_table(self, table: Any, found: Values) -> Values:
        """Return what rows are found by in one of the tables of joined-table inheritance."""
        by_name = {self.layout.names[column]: values for column, values in found.items()}
        return {
            column: values
            for name, values in by_name.items()
            for column in self.layout.mapper.column_attrs[name].columns
            if isinstance(column, Column) and column.table is table
        }


class _TableUpdate:
    """The UPDATE of one table."""

    def __init__(self, statements: Statements, table: Table, found: Values, values: Values) -> None:
        self.via = statements
        self.table = table
        self.found = list(found)
        self.set = list(values)
        self.columns = [*self.found, *self.set]
        self.lists = [*found.values(), *values.values()]
        self.types: list[TypeEngine[Any]] = [column.type for column in self.columns]
        self.names = [f"activebase_{number}" for number in range(len(self.columns))]

    def send(self) -> int:
        """Send it in batches; returns how many rows matched."""
        send = self._quickest()
        default = BATCH_SIZE_OF_MYSQL if is_mysql(self.via.dialect) else BATCH_SIZE
        size = self.via.batch_size or default
        return sum(
            send([values[start : start + size] for values in self.lists])
            for start in range(0, len(self.lists[0]), size)
        )

    def _quickest(self) -> Callable[[list[list[Any]]], int]:
        needs_context = any(
            column not in self.set and in_python(column.onupdate) is not None
            for column in self.table.columns
        )
        if needs_context:
            return self._by_row
        if is_mysql(self.via.dialect):
            return self._by_join if self._takes_join else self._by_row
        if self.via.takes_tuples:
            return self._by_tuple
        return self._by_row if self._from_arrays is None else self._by_array

    def _statement(self, new: Sequence[Any]) -> Any:
        """Return the UPDATE with these expressions for what is found and what is set."""
        count = len(self.found)
        return (
            update(self.table)
            .where(*(column == old for column, old in zip(self.found, new, strict=False)))
            .values(dict(zip(self.set, new[count:], strict=True)))
        )

    # -- row by row ------------------------------------------------------------------------

    @cached_property
    def _for_rows(self) -> Any:
        names = zip(self.names, self.types, strict=True)
        return self._statement([bindparam(name, type_=type_) for name, type_ in names])

    def _by_row(self, batch: list[list[Any]]) -> int:
        rows = [dict(zip(self.names, row, strict=True)) for row in zip(*batch, strict=True)]
        if self.via.dialect.supports_sane_multi_rowcount:
            return int(self.via.execute(self._for_rows, rows).rowcount)
        return sum(self.via.execute(self._for_rows, row).rowcount for row in rows)

    # -- SQLite ----------------------------------------------------------------------------

    @cached_property
    def _for_driver(self) -> SQLCompiler:
        return self.via.compiled(self._for_rows)

    def _by_tuple(self, batch: list[list[Any]]) -> int:
        values = dict(zip(self.names, zip(self.types, batch, strict=True), strict=True))
        rows = self.via.tuples(self._for_driver, values)
        if rows is None:
            return self._by_row(batch)
        return self.via.execute_driver_sql(str(self._for_driver), rows)

    # -- PostgreSQL ------------------------------------------------------------------------

    @cached_property
    def _from_arrays(self) -> Any:
        source = self.via.source(self.types)
        return None if source is None else self._statement(list(source.columns))

    def _by_array(self, batch: list[list[Any]]) -> int:
        arrays = self.via.arrays(self.types, batch)
        if arrays is None:
            return self._by_row(batch)
        return int(self.via.execute(self._from_arrays, arrays).rowcount)

    # -- MySQL -----------------------------------------------------------------------------

    @property
    def _takes_join(self) -> bool:
        from sqlalchemy.dialects.mysql import BIT  # not for who uses another database

        # In the table of values, the number of bits would become its digits.
        has_bits = any(isinstance(plain_type(type_), BIT) for type_ in self.types)
        return self.via.takes_driver_sql and not has_bits

    @cached_property
    def _joined(self) -> SQLCompiler:
        """The UPDATE of a join with a table of values, for which a comment stands."""
        columns = [sql_column(n, t) for n, t in zip(self.names, self.types, strict=True)]
        given = text(_ROWS).columns(*columns).subquery("given")
        return self.via.compiled(self._statement(list(given.columns)))

    @cached_property
    def _no_rows(self) -> str:
        """A SELECT of nothing, which gives the table of values the types of the columns.

        Else text could not be compared with a column of another collation.
        """
        columns = [c.label(n) for n, c in zip(self.names, self.columns, strict=True)]
        return str(self.via.compiled(select(*columns).where(false())))

    def _by_join(self, batch: list[list[Any]]) -> int:
        processed = self.via.processed(self.types, batch)
        if processed is None:
            return self._by_row(batch)
        fixed = self.via.fixed(self._joined)
        values = [value for row in zip(*processed, strict=True) for value in row]
        # With names if there are other parameters, as in an ``onupdate`` of SQL.
        marks = [f"%(v{n})s" for n in range(len(values))] if fixed else ["%s"] * len(values)
        width = len(self.columns)
        rows = "".join(
            f" UNION ALL SELECT {', '.join(marks[start : start + width])}"
            for start in range(0, len(values), width)
        )
        statement = str(self._joined).replace(_ROWS, self._no_rows + rows)
        named = {f"v{n}": value for n, value in enumerate(values)} | fixed
        return self.via.execute_driver_sql(statement, named if fixed else tuple(values))
