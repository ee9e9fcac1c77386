"""What becomes of a row that is in conflict with one that is there: ``on_conflict=``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Column, Dialect, Index, Table, and_, func, literal, literal_column
from sqlalchemy.exc import DBAPIError

from activebase.dialects import is_mysql
from activebase.errors import Rule, UniqueViolation

from .defaults import NeedsContext, NoContext
from .layout import Layout, in_python
from .rows import Rows

Action = Literal["ignore", "update"]

#: The user variable of MySQL and MariaDB that counts rows that were in conflict.
IGNORED = "@activebase_ignored"
#: MySQL's code for a subquery in place of a value that gives more than one row.
_SEVERAL_ROWS = 1242


class Conflict:
    """What to do about conflicts, and with which keys."""

    def __init__(
        self,
        layout: Layout,
        dialect: Dialect,
        action: Action,
        *,
        target: Sequence[Column[Any]],
        updates: Collection[Column[Any]] | None,
    ) -> None:
        self.layout = layout
        self.dialect = dialect
        self.action = action
        #: The columns that conflict; empty: those of any key.
        self.target = tuple(target)
        #: What an update sets, None for what each row gives.
        self.updates = updates
        self._index = self._partial_index()

    def takes(self, column: Column[Any]) -> bool:
        """Tell whether a later row's value of a column wins over that of an earlier one."""
        return self.updates is None or column in self.updates

    def check(self, rows: Rows) -> None:
        """Refuse what the database can't do with these rows. Raises: ValueError."""
        for column in self.updates or ():
            if column not in rows.columns and column not in rows.layout.left_out:
                raise ValueError(
                    f"update_columns names {self._name(column)}, which a row does not give: its "
                    "update would set NULL. Give it in every row."
                )

    def _may_meet_other_keys(self, rows: Rows) -> bool:
        """Tell whether rows may be in conflict in another key than the one that is meant."""
        for key, _ in self.layout.unique_keys():
            is_given = any(column in rows.given for column in key)
            if is_given and set(key) != set(self.target) and _is_whole(key, rows):
                return True
        return False

    def of_other_key(self, error: DBAPIError) -> UniqueViolation | None:
        """Return what an error is about that `_guarded()` has caused, None for any other."""
        code = getattr(error.orig, "args", None) or (None,)
        if code[0] != _SEVERAL_ROWS or not is_mysql(self.dialect) or not self.target:
            return None
        return UniqueViolation(
            f"{self.layout.model.__name__}: another row has the same values in a unique key other "
            f"than {self._names(self.target)}; use other values or update that row.",
            orig=error.orig,
            statement=error.statement,
            rule=Rule(table=self.layout.table.name),
        )

    def _partial_index(self) -> Index | None:
        """Return the partial index that the target means, None for a whole key.

        Raises:
            ValueError: the target is no key.
        """
        if not self.target:
            return None
        keys = [(key, index) for key, index in self.layout.unique_keys() if key]
        meant = [index for key, index in keys if set(key) == set(self.target)]
        if not meant:
            known = "; ".join(self._names(key) for key, _ in keys)
            raise ValueError(
                f"No unique constraint or index of {self.layout.table.name} is about "
                f"{self._names(self.target)}, so nothing conflicts in it. Its keys are: {known}."
            )
        return None if None in meant else meant[0]

    def _names(self, columns: Collection[Column[Any]]) -> str:
        return f"({', '.join(map(self._name, columns))})"

    def _name(self, column: Column[Any]) -> str:
        return self.layout.names.get(column, column.name)

    # -- SQL -------------------------------------------------------------------------------

    def insert(self, rows: Rows, variables: dict[str, Any]) -> Any:
        """Return the INSERT with its clause on conflicts.

        Args:
            variables: takes the user variables of MySQL that must be set before.
        """
        if is_mysql(self.dialect):
            return self._insert_of_mysql(rows, variables)
        statement = _insert_into(self.layout.table, self.dialect)
        where = None
        if self._index is not None:
            where = self._index.dialect_options[self.dialect.name]["where"]
        if self.action == "ignore":
            return statement.on_conflict_do_nothing(
                index_elements=self.target or None, index_where=where
            )
        given = self._updated(rows)
        changes = {column: statement.excluded[column.key] for column in given}
        changes |= {column: literal(value, column.type) for column, value in self._constants(given)}
        return statement.on_conflict_do_update(
            index_elements=self.target,
            index_where=where,
            set_={**changes, **self._expressions(given)},
        )

    def _insert_of_mysql(self, rows: Rows, variables: dict[str, Any]) -> Any:
        statement = _insert_into(self.layout.table, self.dialect)
        changes: dict[str, Any] = {}
        if self.action == "ignore":
            # Not INSERT IGNORE, which makes warnings of all errors. And affected rows do not tell
            # rows that are left as they were from new ones: they are counted on the way.
            column = self.layout.key[0]
            count: Any = literal_column(f"({IGNORED} := {IGNORED} + 1) IS NULL")
            variables[IGNORED] = literal(0)
            changes[column.key] = func.if_(count, column, column)
        else:
            given = self._updated(rows)
            changes |= {column.key: statement.inserted[column.key] for column in given}
            for number, (column, value) in enumerate(self._constants(given)):
                # The drivers send many rows at once only if nothing is bound behind VALUES.
                name = f"@activebase_{number}"
                variables[name] = literal(value, column.type)
                changes[column.key] = literal_column(name, column.type)
            for column, expression in self._expressions(given).items():
                changes[column.key] = self._written_out(expression)
        if self.target and self._may_meet_other_keys(rows):
            first = next(iter(changes))
            changes[first] = self._guarded(changes[first], statement.inserted)
        return statement.on_duplicate_key_update(changes)

    def _written_out(self, expression: Any) -> Any:
        """Return an expression with the values in its text, for nothing is bound behind VALUES."""
        literal_sql = expression.compile(
            dialect=self.dialect, compile_kwargs={"literal_binds": True}
        )
        # It is compiled a second time, with the statement, which doubles % again.
        return literal_column(str(literal_sql).replace("%%", "%"))

    def _guarded(self, value: Any, inserted: Any) -> Any:
        """Return a value that can't be found for a row that conflicts in another key.

        MySQL has no target of conflicts: it takes that of any key. So it is made to fail.
        """
        is_meant = and_(*(column == inserted[column.key] for column in self.target))
        return func.if_(is_meant, value, literal_column("(SELECT 1 UNION ALL SELECT 2)"))

    def _updated(self, rows: Rows) -> list[Column[Any]]:
        """Return the columns that get the values of the row."""
        if self.updates is not None:
            given = [column for column in self.updates if column not in self.target]
        else:
            fixed = {*self.target, *self.layout.key, self.layout.version}
            given = [column for column in rows.columns if column in rows.given - fixed]
        # With nothing to set the row would not count as updated, nor be returned.
        return given or list(self.target)

    def _constants(self, given: Collection[Column[Any]]) -> list[tuple[Column[Any], Any]]:
        """Return what Python finds for columns with ``onupdate``: one value for all rows."""
        found = []
        for column in self.layout.table.columns:
            onupdate = in_python(column.onupdate)
            if onupdate is None or column in given:
                continue
            try:
                found.append((column, onupdate(NoContext())))
            except NeedsContext as error:
                raise ValueError(
                    f"The onupdate of {self._name(column)} looks at the row, which on_conflict="
                    '"update" has no way to show. Give the column in the rows.'
                ) from error
        return found

    def _expressions(self, given: Collection[Column[Any]]) -> dict[Column[Any], Any]:
        """Return what the database finds by itself: a version, and ``onupdate`` in SQL."""
        found: dict[Column[Any], Any] = {}
        for column in self.layout.table.columns:
            if column.onupdate is not None and in_python(column.onupdate) is None:
                found[column] = in_sql(column.onupdate)
        found = {column: value for column, value in found.items() if column not in given}
        version = self.layout.version
        next_of = self.layout.mapper.version_id_generator
        if version is None or not callable(next_of):
            return found
        if (next_of(None), next_of(41)) != (1, 42):
            raise ValueError(
                f"The versions of {self.layout.model.__name__} are no counter, so on_conflict="
                '"update" can\'t find the next one. Update its records by themselves.'
            )
        return {**found, version: version + 1}


def _insert_into(table: Table, dialect: Dialect) -> Any:
    """Return the dialect's own INSERT; only its module is imported."""
    module = "mysql" if is_mysql(dialect) else dialect.name
    return import_module(f"sqlalchemy.dialects.{module}").insert(table)


def in_sql(onupdate: Any) -> Any:
    """Return the expression of an ``onupdate`` that Python does not find."""
    return onupdate.next_value() if onupdate.is_sequence else onupdate.arg


def _is_whole(key: Sequence[Column[Any]], rows: Rows) -> bool:
    """Tell whether rows may have a value in every column of a key."""
    return all(column in rows.columns or column.server_default is not None for column in key)


def conflict_of(
    layout: Layout,
    dialect: Dialect,
    action: str | None,
    *,
    conflict_columns: Collection[str] | None,
    update_columns: Collection[str] | None,
    tables: Sequence[Rows],
) -> Conflict | None:
    """Return what the options of `bulk_create()` ask for.

    Raises:
        UnknownAttributeError, TypeError: for names.
        ValueError: for options that don't fit together.
    """
    if action is None:
        return None
    updates = None
    if update_columns is not None:
        updates = layout.columns_named(update_columns, "update_columns")
    if conflict_columns is not None:
        target: Sequence[Column[Any]] = layout.columns_named(conflict_columns, "conflict_columns")
    else:
        target = () if action == "ignore" else _default_target(layout, tables)
    kind: Action = "ignore" if action == "ignore" else "update"
    return Conflict(layout, dialect, kind, target=target, updates=updates)


def check_options(
    layout: Layout,
    action: str | None,
    *,
    conflict_columns: Collection[str] | None,
    update_columns: Collection[str] | None,
) -> None:
    """Refuse options that are unknown or don't fit together. Effect: none."""
    if action not in (None, "ignore", "update"):
        raise ValueError(f'on_conflict is "ignore", "update" or None; got {action!r}.')
    if action is None and (conflict_columns is not None or update_columns is not None):
        raise ValueError('conflict_columns and update_columns need on_conflict="update".')
    if action == "ignore" and update_columns is not None:
        raise ValueError('update_columns needs on_conflict="update"; "ignore" updates nothing.')
    for option, names in (
        ("conflict_columns", conflict_columns),
        ("update_columns", update_columns),
    ):
        if names is not None and not layout.columns_named(names, option):
            raise ValueError(f"{option} is empty: name columns, or leave it out.")
    if action is not None and not layout.is_plain:
        raise TypeError(
            f"{layout.model.__name__} is stored in several tables, and on_conflict is about the "
            "rows of one. Write its records without it."
        )


def _default_target(layout: Layout, tables: Sequence[Rows]) -> Sequence[Column[Any]]:
    primary, *others = [key for key, index in layout.unique_keys() if index is None]
    if primary and any(all(column in rows.columns for column in primary) for rows in tables):
        return primary
    distinct = {frozenset(key): key for key in others}
    if len(distinct) != 1:
        names = [
            f"({', '.join(layout.names.get(column, column.name) for column in key)})"
            for key in (primary, *distinct.values())
        ]
        raise ValueError(
            f'on_conflict="update" must know which key of {layout.model.__name__} is meant: name '
            f"its columns in conflict_columns. The keys are {', '.join(names)}."
        )
    return distinct.popitem()[1]
