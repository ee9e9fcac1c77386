"""What the bulk statements have in common: how they are sent, and parameters in quick forms."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, cast

from sqlalchemy import Connection, Dialect, FromClause
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from activebase.broken_rules import WRITTEN_TABLE

from .layout import Layout, processor_of

Types = Sequence[TypeEngine[Any]]

#: The ORM sends NULL where a row says so, and the driver's count is kept for INSERT as well.
_OPTIONS = {"render_nulls": True, "preserve_rowcount": True}


class Statements:
    """Sends statements about the rows of one model in its session."""

    def __init__(self, session: Session, layout: Layout, batch_size: int | None) -> None:
        self.session = session
        self.layout = layout
        self.batch_size = batch_size

    @cached_property
    def connection(self) -> Connection:
        """The session's connection to the model's database."""
        return self.session.connection(bind_arguments={"mapper": self.layout.mapper})

    @property
    def dialect(self) -> Dialect:
        """The database's dialect, which knows the server once it is connected."""
        return self.connection.dialect

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """Execute a statement; returns its result."""
        # What comes back goes into records that are known already, too.
        options: dict[str, Any] = {"populate_existing": True, **_OPTIONS}
        if self.batch_size is not None:
            options["insertmanyvalues_page_size"] = self.batch_size
        return self.session.execute(
            statement,
            parameters,
            execution_options=options,
            bind_arguments={"mapper": self.layout.mapper},
        )

    def execute_driver_sql(self, statement: str, parameters: Any) -> int:
        """Execute a statement as the driver takes it; returns how many rows it says."""
        # The text says the table's name only, which tables of other metadata may have as well.
        options = {**_OPTIONS, WRITTEN_TABLE: self.layout.table}
        result = self.connection.exec_driver_sql(statement, parameters, execution_options=options)
        return int(result.rowcount)

    @cached_property
    def takes_driver_sql(self) -> bool:
        """Whether the driver may be given what `compiled()` has made: no schema is translated."""
        return not self.connection.get_execution_options().get("schema_translate_map")

    def compiled(self, statement: Any, keys: Sequence[str] | None = None) -> SQLCompiler:
        """Return a statement as SQL of the database."""
        return cast(SQLCompiler, statement.compile(dialect=self.dialect, column_keys=keys))

    # -- PostgreSQL ------------------------------------------------------------------------

    def source(self, types: Types) -> FromClause | None:
        """Return arrays as a table, with columns ``c0``, ``c1`` ...; None where that can't be."""
        if self.dialect.name != "postgresql":
            return None
        from .arrays import unnested  # not for who uses another database

        return unnested(types, self.dialect)

    def arrays(self, types: Types, values: Sequence[Sequence[Any]]) -> dict[str, str] | None:
        """Return the parameters of `source()`; None if there is a value that does not fit."""
        from .arrays import arrays_of

        try:
            return arrays_of(types, values, self.dialect)
        except Exception:
            return None  # a type refuses a value: SQLAlchemy says so in its own words

    # -- SQLite ----------------------------------------------------------------------------

    @property
    def takes_tuples(self) -> bool:
        """Whether tuples for the driver itself are the quickest way."""
        return self.dialect.name == "sqlite" and self.takes_driver_sql

    def tuples(
        self, compiled: SQLCompiler, values: Mapping[str, tuple[TypeEngine[Any], Sequence[Any]]]
    ) -> list[tuple[Any, ...]] | None:
        """Return the parameters of a statement as the driver takes them.

        Args:
            values: type and values by the parameter's name; others have one value for all rows.
        Returns:
            None if a type refuses a value.
        """
        try:
            processed: dict[str, Any] = {
                name: self._processed(type_, own) for name, (type_, own) in values.items()
            }
            fixed = self.fixed(compiled, values)
        except Exception:
            return None  # SQLAlchemy says so in its own words
        processed |= {name: repeat(value) for name, value in fixed.items()}
        names = compiled.positiontup or ()
        return list(zip(*(processed[name] for name in names), strict=False))

    def fixed(self, compiled: SQLCompiler, others: Container[str] = ()) -> dict[str, Any]:
        """Return the parameters of a statement that it has from the start, by name.

        Args:
            others: the names of those that it has not.
        """
        return {
            name: self._processed(compiled.binds[name].type, [value])[0]
            for name, value in compiled.params.items()
            if name not in others
        }

    def processed(
        self, types: Types, values: Sequence[Sequence[Any]]
    ) -> list[Sequence[Any]] | None:
        """Return columns of values as the driver takes them; None if a type refuses a value."""
        try:
            return [self._processed(*pair) for pair in zip(types, values, strict=True)]
        except Exception:
            return None

    def _processed(self, type_: TypeEngine[Any], values: Sequence[Any]) -> Sequence[Any]:
        process = processor_of(type_, self.dialect)
        return values if process is None else [process(value) for value in values]
