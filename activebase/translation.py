"""How a driver's error becomes one of errors.py: the one place where errors are translated.

By SQLSTATE or the driver's code first, by text only where a driver gives no more. What is not in
the tables below, a missing table or a syntax error, stays what SQLAlchemy makes of it.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    Constraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.schema import ColumnCollectionConstraint

from .errors import (
    CheckViolation,
    CommitUnknownError,
    ConflictError,
    ConnectionLost,
    DeadlockDetected,
    DriverError,
    ExclusionViolation,
    ForeignKeyViolation,
    InvalidDataError,
    InvalidValueError,
    LockTimeout,
    NotNullViolation,
    ReadOnlyError,
    Rule,
    SerializationFailure,
    UniqueViolation,
    models,
)

_BY_SQLSTATE: dict[str, type[DriverError]] = {
    "23505": UniqueViolation,
    "23503": ForeignKeyViolation,
    "23001": ForeignKeyViolation,
    "23P01": ExclusionViolation,
    "23502": NotNullViolation,
    "23514": CheckViolation,
    "40001": SerializationFailure,
    "40P01": DeadlockDetected,
    "55P03": LockTimeout,
    "57P01": ConnectionLost,
    "57P02": ConnectionLost,
    "57P03": ConnectionLost,
}
_BY_SQLSTATE_CLASS: dict[str, type[DriverError]] = {
    "08": ConnectionLost,
    "22": InvalidValueError,
    "23": ConflictError,
}
_BY_SQLITE_NAME: dict[str, type[DriverError]] = {
    "SQLITE_CONSTRAINT_UNIQUE": UniqueViolation,
    "SQLITE_CONSTRAINT_PRIMARYKEY": UniqueViolation,
    "SQLITE_CONSTRAINT_ROWID": UniqueViolation,
    "SQLITE_CONSTRAINT_FOREIGNKEY": ForeignKeyViolation,
    "SQLITE_CONSTRAINT_TRIGGER": ConflictError,
    "SQLITE_CONSTRAINT_NOTNULL": NotNullViolation,
    "SQLITE_CONSTRAINT_CHECK": CheckViolation,
    "SQLITE_CONSTRAINT_DATATYPE": InvalidValueError,
    "SQLITE_MISMATCH": InvalidValueError,
    "SQLITE_TOOBIG": InvalidValueError,
    "SQLITE_BUSY": LockTimeout,
    "SQLITE_BUSY_TIMEOUT": LockTimeout,
    "SQLITE_BUSY_SNAPSHOT": SerializationFailure,
    "SQLITE_LOCKED": LockTimeout,
    "SQLITE_LOCKED_SHAREDCACHE": LockTimeout,
}
#: Of sqlite3, psycopg and psycopg2.
_UNSUPPORTED = ("Error binding parameter", "cannot adapt type", "can't adapt type")

#: What a server says to a wrong name or password: trying again does not help.
_REFUSED = re.compile("authentication failed|does not exist|no pg_hba.conf entry|no password")

#: What is wrong, and what to do about it, behind "User: ".
_ADVICE: dict[type[DriverError], str] = {
    UniqueViolation: "another row has the same {columns}; use another value or update that row",
    ForeignKeyViolation: (
        "the row refers to one that does not exist, or is still referred to by others; "
        "save or delete the related records first"
    ),
    ExclusionViolation: "the row overlaps another one; choose values that do not",
    ConflictError: "the row contradicts a rule of the table; change its values",
    NotNullViolation: "{columns} must have a value; set it before saving",
    CheckViolation: "a check of the table does not hold; change the values that it tests",
    InvalidValueError: (
        "a value is of the wrong type, too long or out of range for its column; convert it first"
    ),
    SerializationFailure: "concurrent transactions collided; run the whole unit again (retries=)",
    DeadlockDetected: "deadlock with another transaction; run the whole unit again (retries=)",
    LockTimeout: (
        "a lock was not free in time; run the whole unit again (retries=), keep units short"
    ),
    ConnectionLost: (
        "the database can't be reached or closed the connection; nothing was committed, "
        "run the whole unit again (retries=)"
    ),
    CommitUnknownError: (
        "the connection dropped during COMMIT, so it can't be known whether the unit took effect; "
        "look for its records before you run it again"
    ),
}


def translate(context: ExceptionContext, *, committing: bool) -> Exception | None:
    """Return the typed error for what a driver raised, or None to leave it as it is.

    Args:
        context: what SQLAlchemy's ``handle_error`` event gives.
        committing: whether the boundary's COMMIT is on its way.

    Source: SQLSTATE classes of the SQL standard, `sqlite3.Error.sqlite_errorname`.
    """
    original = context.original_exception
    if _is_of_conversion(context, original):
        return _of_conversion(context, original)
    if context.is_pre_ping or not _is_from_driver(context, original):
        return None
    if _sqlstate(original) == "25006" or _sqlite_name(original).startswith("SQLITE_READONLY"):
        return ReadOnlyError("The database refused a write: it, or the transaction, is read-only.")
    kind = _classify(context, original, committing=committing)
    if kind is None:
        return None
    rule = _broken_rule(context, original, kind)
    return kind(
        f"{_subject(rule)}{_ADVICE[kind].format(columns=', '.join(rule.columns) or 'a column')}.",
        orig=original,
        statement=context.statement,
        rule=rule,
        connection_invalidated=context.is_disconnect,
    )


def _is_of_conversion(context: ExceptionContext, original: BaseException) -> bool:
    """Tell whether a column's type refused a value, before there was anything to send."""
    unsent = context.statement is not None and context.execution_context is None
    return unsent and isinstance(original, TypeError | ValueError | ArithmeticError)


def _of_conversion(context: ExceptionContext, original: BaseException) -> InvalidValueError:
    written = re.match(r"(?:INSERT INTO|UPDATE)\s+(?:\w+\.)?\W?(\w+)", context.statement or "")
    rule = Rule(table=written[1] if written else None)
    return InvalidValueError(
        f"{_subject(rule)}{_ADVICE[InvalidValueError]}.",
        orig=original,
        statement=context.statement,
        rule=rule,
    )


def _is_from_driver(context: ExceptionContext, original: BaseException) -> bool:
    # Drivers let these through bare: an integer too long for SQLite, text that is no Unicode.
    bare = isinstance(original, OverflowError | UnicodeEncodeError)
    return bare or isinstance(original, context.dialect.loaded_dbapi.Error)


def _classify(
    context: ExceptionContext, original: BaseException, *, committing: bool
) -> type[DriverError] | None:
    if context.is_disconnect:
        in_commit = committing and context.statement is None
        return CommitUnknownError if in_commit else ConnectionLost
    state = _sqlstate(original)
    known = _BY_SQLSTATE.get(state) or _BY_SQLSTATE_CLASS.get(state[:2])
    if known:
        return known
    known = _BY_SQLITE_NAME.get(_sqlite_name(original))
    if known is None and not state and _is_unsupported(context, original):
        return InvalidValueError
    if known is None and not state and context.connection is None:
        # A server that is down has no SQLSTATE to give.
        return ConnectionLost if _is_server_down(context, original) else None
    return known


def _is_unsupported(context: ExceptionContext, original: BaseException) -> bool:
    # What a driver can't convert it reports before the database sees it: there is no code to read.
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        return True
    is_data_error = isinstance(original, context.dialect.loaded_dbapi.DataError)
    return is_data_error or any(words in str(original) for words in _UNSUPPORTED)


def _is_server_down(context: ExceptionContext, original: BaseException) -> bool:
    if _REFUSED.search(str(original)):
        return False
    is_operational = isinstance(original, context.dialect.loaded_dbapi.OperationalError)
    return is_operational and context.dialect.name != "sqlite"


def _sqlstate(original: BaseException) -> str:
    return getattr(original, "sqlstate", None) or ""


def _sqlite_name(original: BaseException) -> str:
    return getattr(original, "sqlite_errorname", None) or ""


def _broken_rule(
    context: ExceptionContext, original: BaseException, kind: type[DriverError]
) -> Rule:
    if not issubclass(kind, ConflictError | InvalidDataError):
        return Rule()
    diagnosis = getattr(original, "diag", None)
    told = _rule_of_postgres(diagnosis) if diagnosis else _rule_of_sqlite(str(original), kind)
    table = _written_table(context)
    name = told.table or (table.name if table is not None else None)
    if table is None or table.name != name:
        return told._replace(table=name)
    return _completed(told._replace(table=name), table, kind)


def _rule_of_postgres(diagnosis: Any) -> Rule:
    columns: tuple[str, ...] = ()
    if diagnosis.column_name:
        columns = (diagnosis.column_name,)
    elif found := re.match(r"Key \((.+?)\)=\(", diagnosis.message_detail or ""):
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


def _completed(rule: Rule, table: Table, kind: type[DriverError]) -> Rule:
    """Fill in from the model's table what the driver left out."""
    if kind is not UniqueViolation:
        return rule
    unique = {
        str(rows.name): tuple(column.name for column in rows.columns)
        for rows in (*table.constraints, *table.indexes)
        if isinstance(rows, ColumnCollectionConstraint | Index) and rows.name and _is_unique(rows)
    }
    if rule.constraint and not rule.columns:
        return rule._replace(columns=unique.get(rule.constraint, ()))
    if rule.columns and not rule.constraint:
        named = [name for name, columns in unique.items() if set(columns) == set(rule.columns)]
        return rule._replace(constraint=named[0] if len(named) == 1 else None)
    return rule


def _is_unique(rows: Constraint | Index) -> bool:
    return isinstance(rows, PrimaryKeyConstraint | UniqueConstraint) or (
        isinstance(rows, Index) and bool(rows.unique)
    )


def _written_table(context: ExceptionContext) -> Table | None:
    compiled = getattr(context.execution_context, "compiled", None)
    table = getattr(getattr(compiled, "statement", None), "table", None)
    return table if isinstance(table, Table) else None


def _subject(rule: Rule) -> str:
    if not rule.table:
        return ""
    names = {model.__name__ for model in models if _maps(model, rule.table)}
    subject = names.pop() if len(names) == 1 else rule.table
    return f"{subject} ({rule.constraint}): " if rule.constraint else f"{subject}: "


def _maps(model: type, table: str) -> bool:
    # Not __table__, which a model with single-table inheritance shares with its parent.
    own = vars(model).get("__table__")
    return getattr(own, "name", None) == table
