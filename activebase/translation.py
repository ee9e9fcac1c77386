"""How a driver's error becomes one of errors.py: the one place where errors are translated.

By SQLSTATE or the driver's code first, by text only where a driver gives no more. What is not in
the tables below, a missing table or a syntax error, stays what SQLAlchemy makes of it. Which rule
of the schema was broken is read in broken_rules.py.
"""

from __future__ import annotations

import re

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.types import TypeEngine

from .broken_rules import broken_rule, written_name
from .dialects import is_mysql
from .errors import (
    ActiveBaseError,
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
    StaleRecordError,
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
#: The numbers are the server's, but 2000 to 2999, which are the client library's.
_BY_MYSQL_CODE: dict[int, type[DriverError]] = {
    **dict.fromkeys((1022, 1062, 1169, 1586, 1761, 1762, 1859), UniqueViolation),
    **dict.fromkeys((1216, 1217, 1451, 1452), ForeignKeyViolation),
    **dict.fromkeys((1048, 1263, 1364), NotNullViolation),
    **dict.fromkeys((1526, 1748, 3819, 4025), CheckViolation),
    **dict.fromkeys((1264, 1265, 1292, 1300, 1365, 1366, 1367, 1406), InvalidValueError),
    **dict.fromkeys((1411, 1416, 1441, 1690, 3140, 3156), InvalidValueError),
    1139: InvalidValueError,  # a wrong regular expression
    **dict.fromkeys(range(3685, 3697), InvalidValueError),  # the same, of MySQL
    1153: InvalidValueError,  # longer than max_allowed_packet
    1020: SerializationFailure,  # with innodb_snapshot_isolation
    3101: SerializationFailure,  # group replication, at COMMIT
    **dict.fromkeys((1213, 1614), DeadlockDetected),
    **dict.fromkeys((1205, 3572), LockTimeout),
    **dict.fromkeys((1040, 1047, 1053, 1077, 1079, 1080, 1152, 1184, 1203), ConnectionLost),
    **dict.fromkeys((1158, 1159, 1160, 1161, 1927, 4031), ConnectionLost),
    **dict.fromkeys((2002, 2003, 2005, 2006, 2013, 2055), ConnectionLost),
}
_BY_CODE: dict[str | int, type[DriverError]] = _BY_SQLSTATE | _BY_SQLITE_NAME | _BY_MYSQL_CODE
#: A read-only transaction, table, or server.
_READ_ONLY_CODES = frozenset(("25006", 1036, 1792, 1836))
_READ_ONLY_OPTION = "read-only option"  # of 1290, which is about others, too

#: What a driver can't convert, it says in words: of sqlite3, psycopg, psycopg2 ...
_UNSUPPORTED = (
    "Error binding parameter",
    "cannot adapt type",
    "can't adapt type",
    "can't escape",
    "bytes or buffer expected",
    "cannot contain NUL",
    "can not be used",  # PyMySQL and mysqlclient
    "is not JSON serializable",  # psycopg
)

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
    codes = _codes(context, original)
    if _is_read_only(codes, original):
        return ReadOnlyError("The database refused a write: it, or the transaction, is read-only.")
    kind = _classify(context, original, codes, committing=committing)
    if kind is None:
        return None
    is_of_rows = issubclass(kind, ConflictError | InvalidDataError)
    rule = broken_rule(context, original, kind) if is_of_rows else Rule()
    return kind(
        f"{_subject(rule)}{_ADVICE[kind].format(columns=', '.join(rule.columns) or 'a column')}.",
        orig=original,
        statement=context.statement,
        rule=rule,
        connection_invalidated=context.is_disconnect,
    )


def stale(error: StaleDataError) -> StaleRecordError:
    """Return the typed error for a row that a flush did not find as it was read."""
    table = re.search(r"on table '([^']+)'", str(error))
    return StaleRecordError(
        f"{_subject(Rule(table=table[1] if table else None))}A record was changed or deleted by "
        "someone else since it was read, so its write was refused. Read it again (refresh()), then "
        "repeat the change."
    )


def _is_of_conversion(context: ExceptionContext, original: BaseException) -> bool:
    """Tell whether a column's type refused a value, before there was anything to send."""
    unsent = context.statement is not None and context.execution_context is None
    if isinstance(original, ActiveBaseError):
        return False  # a type of ours, which has said what is wrong
    if isinstance(original, AttributeError):  # of a value: Uuid says so that it is none
        return unsent and not isinstance(original.obj, TypeEngine)
    return unsent and isinstance(original, TypeError | ValueError | ArithmeticError)


def _of_conversion(context: ExceptionContext, original: BaseException) -> InvalidValueError:
    rule = Rule(table=written_name(context.statement or ""))
    return InvalidValueError(
        f"{_subject(rule)}{_ADVICE[InvalidValueError]}.",
        orig=original,
        statement=context.statement,
        rule=rule,
    )


def _is_from_driver(context: ExceptionContext, original: BaseException) -> bool:
    # Drivers let these through bare: an integer too long for SQLite, text that is no Unicode, what
    # they can't convert. But a wrong number of parameters is a TypeError, too: the words tell.
    bare = isinstance(original, OverflowError | UnicodeEncodeError) or (
        isinstance(original, TypeError | ValueError) and _says(original, _UNSUPPORTED)
    )
    return bare or isinstance(original, context.dialect.loaded_dbapi.Error)


def _codes(context: ExceptionContext, original: BaseException) -> tuple[str | int, ...]:
    """Return what the server calls the error: its own code, the SQLSTATE."""
    codes: tuple[str | int | None, ...]
    if context.dialect.name == "sqlite":
        codes = (getattr(original, "sqlite_errorname", None),)
    elif is_mysql(context.dialect):
        # Not its SQLSTATE: an ambiguous column is of class 23, and mysqlclient does not have it.
        codes = tuple(code for code in original.args[:1] if isinstance(code, int))
    else:
        state = getattr(original, "sqlstate", None)  # psycopg
        codes = (state or getattr(original, "pgcode", None),)  # psycopg2
    return tuple(code for code in codes if code)


def _is_read_only(codes: tuple[str | int, ...], original: BaseException) -> bool:
    if _READ_ONLY_CODES.intersection(codes):
        return True
    if 1290 in codes:
        return _says(original, (_READ_ONLY_OPTION,))
    return any(str(code).startswith("SQLITE_READONLY") for code in codes)


def _classify(
    context: ExceptionContext,
    original: BaseException,
    codes: tuple[str | int, ...],
    *,
    committing: bool,
) -> type[DriverError] | None:
    if context.is_disconnect:
        in_commit = committing and context.statement is None
        return CommitUnknownError if in_commit else ConnectionLost
    if codes:
        known = next((_BY_CODE[code] for code in codes if code in _BY_CODE), None)
        state = codes[-1]
        return known or (_BY_SQLSTATE_CLASS.get(state[:2]) if isinstance(state, str) else None)
    if _is_unsupported(context, original):
        return InvalidValueError
    # A server that is down has no code to give.
    return ConnectionLost if _is_server_down(context, original) else None


def _is_unsupported(context: ExceptionContext, original: BaseException) -> bool:
    # What a driver can't convert it reports before the database sees it: there is no code to read.
    if not isinstance(original, context.dialect.loaded_dbapi.Error):
        return True
    is_data_error = isinstance(original, context.dialect.loaded_dbapi.DataError)
    return is_data_error or _says(original, _UNSUPPORTED)


def _is_server_down(context: ExceptionContext, original: BaseException) -> bool:
    if context.connection is not None or _REFUSED.search(str(original)):
        return False
    is_operational = isinstance(original, context.dialect.loaded_dbapi.OperationalError)
    return is_operational and context.dialect.name != "sqlite"


def _says(original: BaseException, words: tuple[str, ...]) -> bool:
    return any(each in str(original) for each in words)


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
