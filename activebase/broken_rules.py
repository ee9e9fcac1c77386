"""Which rule of the schema a write has broken: constraint, table and columns.

Every driver tells something else. What it leaves out, the model's table fills in.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import Index, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.schema import ColumnCollectionConstraint

from .dialects import is_mysql
from .errors import (
    CheckViolation,
    DriverError,
    ForeignKeyViolation,
    InvalidValueError,
    NotNullViolation,
    Rule,
    UniqueViolation,
    models,
)

#: Execution option: the table that a statement of the driver's own SQL writes.
WRITTEN_TABLE = "activebase_written_table"

_WRITTEN = re.compile(
    r"\s*(?:INSERT\s+INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+(?:\w+\.)?\W?(\w+)",
    re.IGNORECASE,
)
_NAME = r"(?:[^`]|``)+"
#: What MySQL and MariaDB say; anchored at the end where a value may stand before.
_OF_MYSQL: dict[type[DriverError], re.Pattern[str]] = {
    UniqueViolation: re.compile(r"for key '(?:(?P<table>[^'.]+)\.)?(?P<constraint>[^']+)'\Z"),
    ForeignKeyViolation: re.compile(
        rf"\(`{_NAME}`\.`(?P<table>{_NAME})`, CONSTRAINT `(?P<constraint>{_NAME})` "
        r"FOREIGN KEY \((?P<columns>[^)]*)\)"
    ),
    NotNullViolation: re.compile(
        r"\A(?:Column|Field) '(?P<columns>[^']+)' (?:cannot be null|doesn't have a default value)"
    ),
    CheckViolation: re.compile(
        rf"\A(?:CONSTRAINT|Check constraint) [`'](?P<constraint>[^`']+)[`'] "
        rf"(?:is violated|failed for `{_NAME}`\.`(?P<table>{_NAME})`)"
    ),
    InvalidValueError: re.compile(
        rf"for column (?:`{_NAME}`\.`(?P<table>{_NAME})`\.)?(?P<columns>['`][^'`]+['`]) "
        r"at row \d+\Z"
    ),
}


def broken_rule(
    context: ExceptionContext, original: BaseException, kind: type[DriverError]
) -> Rule:
    """Return what the driver tells about the broken rule, and what the table knows beside it."""
    told = _told(context, original, kind)
    written = _written_table(context)
    name = told.table or (
        written.name if written is not None else written_name(context.statement or "")
    )
    told = told._replace(table=name)
    tables = [written] if written is not None and written.name == name else _tables_named(name)
    completed = {_completed(told, table, kind) for table in tables}
    return completed.pop() if len(completed) == 1 else told


def _told(context: ExceptionContext, original: BaseException, kind: type[DriverError]) -> Rule:
    if is_mysql(context.dialect):
        return _rule_of_mysql(original, kind)
    diagnosis = getattr(original, "diag", None)
    return _rule_of_postgres(diagnosis) if diagnosis else _rule_of_sqlite(str(original), kind)


def _rule_of_postgres(diagnosis: Any) -> Rule:
    columns: tuple[str, ...] = ()
    detail = diagnosis.message_detail or ""
    if diagnosis.column_name:
        columns = (diagnosis.column_name,)
    elif (found := re.match(r"Key \((.+?)\)=\(", detail)) and "still referenced" not in detail:
        columns = tuple(name.strip(' "') for name in found[1].split(","))
    return Rule(diagnosis.constraint_name, diagnosis.table_name, columns)


def _rule_of_sqlite(message: str, kind: type[DriverError]) -> Rule:
    _, colon, told = message.partition(" constraint failed: ")
    if not colon:
        return Rule()
    if kind is CheckViolation:
        return Rule(constraint=told)
    if told.startswith("index "):
        return Rule(constraint=told.removeprefix("index ").strip("'"))
    pairs = [name.rpartition(".") for name in told.split(", ")]
    return Rule(table=pairs[0][0] or None, columns=tuple(column for _, _, column in pairs))


def _rule_of_mysql(original: BaseException, kind: type[DriverError]) -> Rule:
    pattern = _OF_MYSQL.get(kind)
    message = str(original.args[1]) if len(original.args) > 1 else ""
    found = pattern.search(message) if pattern else None
    if found is None:
        return Rule()
    told = {name: text.replace("``", "`") for name, text in found.groupdict().items() if text}
    constraint, table = told.get("constraint"), told.get("table")
    columns = tuple(name.strip(" `'") for name in told.get("columns", "").split(",") if name)
    if table and constraint and constraint.startswith(f"{table}."):
        columns = (constraint.removeprefix(f"{table}."),)  # MariaDB's name for a column's own check
    return Rule(constraint, table, columns)


def _completed(rule: Rule, table: Table, kind: type[DriverError]) -> Rule:
    """Fill in from the model's table what the driver left out."""
    if rule.constraint == "PRIMARY":  # as MySQL calls it, whatever the table says
        key = table.primary_key
        return rule._replace(
            constraint=str(key.name) if key.name else "PRIMARY",
            columns=tuple(column.name for column in key.columns),
        )
    if rule.constraint and not rule.columns:
        return rule._replace(columns=_columns_of(table, rule.constraint))
    if kind is UniqueViolation and rule.columns and not rule.constraint:
        named = {
            name for name, columns in _uniques(table) if name and set(columns) == set(rule.columns)
        }
        return rule._replace(constraint=named.pop() if len(named) == 1 else None)
    return rule


def _columns_of(table: Table, constraint: str) -> tuple[str, ...]:
    named = {
        str(each.name): tuple(column.name for column in each.columns)
        for each in table.constraints
        if isinstance(each, ColumnCollectionConstraint) and each.name
    }
    named |= {name: columns for name, columns in _uniques(table) if name}
    if constraint in named:
        return named[constraint]
    # MySQL calls a key without a name after its first column, the next one with a number.
    first = re.sub(r"_\d+\Z", "", constraint)
    unnamed = [columns for name, columns in _uniques(table) if not name and columns[0] == first]
    return unnamed[0] if len(unnamed) == 1 else ()


def _uniques(table: Table) -> list[tuple[str | None, tuple[str, ...]]]:
    """Return name and columns of what keeps a table's rows apart."""
    return [
        (str(each.name) if each.name else None, tuple(column.name for column in each.columns))
        for each in (*table.constraints, *table.indexes)
        if isinstance(each, PrimaryKeyConstraint | UniqueConstraint)
        or (isinstance(each, Index) and each.unique)
    ]


def _written_table(context: ExceptionContext) -> Table | None:
    execution = context.execution_context
    if execution is None:
        return None
    compiled = getattr(execution, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    table = execution.execution_options.get(WRITTEN_TABLE, table)
    return table if isinstance(table, Table) else None


def written_name(statement: str) -> str | None:
    """Return the table that a statement begins to write, None if it does not say so."""
    found = _WRITTEN.match(statement)
    return found[1] if found else None


def _tables_named(name: str | None) -> list[Table]:
    # A textual statement has no Table, and models may have one of that name.
    tables = {id(table): table for table in map(_table_of, models) if table is not None}
    return [table for table in tables.values() if table.name == name]


def _table_of(model: type) -> Table | None:
    table = vars(model).get("__table__")
    return table if isinstance(table, Table) else None
