"""What can go wrong, as a tree of types, and how a driver's error becomes one of them.

Every error derives from `ActiveBaseError` and from the SQLAlchemy error that existing code
already catches::

    ActiveBaseError
    ├── NotConfiguredError
    ├── NotFoundError            (NoResultFound)    404   .model .criteria
    ├── ConflictError            (IntegrityError)   409   .constraint .table .columns
    │   ├── UniqueViolation
    │   ├── ForeignKeyViolation
    │   └── ExclusionViolation
    ├── InvalidDataError                            422   .constraint .table .columns
    │   ├── NotNullViolation     (IntegrityError)
    │   ├── CheckViolation       (IntegrityError)
    │   └── InvalidValueError    (DataError)
    ├── StaleRecordError         (StaleDataError)   409
    ├── TransientError           (OperationalError) 503   safe to run the whole unit again
    │   ├── SerializationFailure
    │   ├── DeadlockDetected
    │   ├── LockTimeout
    │   └── ConnectionLost
    ├── CommitUnknownError       (OperationalError) 500
    ├── UnitOfWorkError          (RuntimeError)     500
    │   ├── LostWritesError
    │   ├── StrayCommitError
    │   ├── WriteAfterCommitError
    │   ├── ReadOnlyError
    │   └── NestedUnitError
    ├── UnknownAttributeError    (TypeError)
    ├── ProtectedAttributeError  (TypeError)
    └── InvalidLookupError       (ValueError)       400

Messages name the model, the rule that was broken and what to do; they hold no parameter values.
The driver's own exception, which may, stays in ``.orig``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple
from weakref import WeakSet

from sqlalchemy import UniqueConstraint, exc
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import exc as orm_exc
from sqlalchemy.schema import Table


class ActiveBaseError(Exception):
    """Root of every error that activebase raises.

    ``status`` is the HTTP status that an integration answers with.
    """

    status: ClassVar[int] = 500


class NotConfiguredError(ActiveBaseError):
    """No database has been set up, or what was given can't be one."""


class InvalidURLError(NotConfiguredError, exc.ArgumentError):
    """`configure()` got something that is no database URL."""


class NotFoundError(ActiveBaseError, orm_exc.NoResultFound):
    """No record matches.

    ``model`` is the model's class; ``criteria`` what was asked for (a primary key, a dict, None).
    """

    status = 404

    def __init__(self, message: str, *, model: type | None = None, criteria: Any = None) -> None:
        super().__init__(message)
        self.model = model
        self.criteria = criteria


class _DriverError(ActiveBaseError, exc.DBAPIError):
    """An error of the driver, said again without the values of the statement's parameters."""

    def __init__(
        self,
        message: str,
        *,
        orig: BaseException | None = None,
        statement: str | None = None,
        rule: Rule | None = None,
        connection_invalidated: bool = False,
    ) -> None:
        exc.DBAPIError.__init__(
            self,
            statement,
            None,
            orig,  # type: ignore[arg-type]  # None where no driver was asked, as in tests
            hide_parameters=True,
            connection_invalidated=connection_invalidated,
        )
        self.args = (message,)
        self.constraint, self.table, self.columns = rule or Rule()

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> Any:
        # The driver's exception may not pickle; a result backend wants the message and the rule.
        return _rebuild, (type(self), self.args[0], Rule(self.constraint, self.table, self.columns))


def _rebuild(kind: type[_DriverError], message: str, rule: Rule) -> _DriverError:
    return kind(message, rule=rule)


class Rule(NamedTuple):
    """The rule of the schema that was broken, as far as the driver tells."""

    constraint: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()


class ConflictError(_DriverError, exc.IntegrityError):
    """The write contradicts another row."""

    status = 409


class UniqueViolation(ConflictError):
    """Another row has the same value in a unique column or set of columns."""


class ForeignKeyViolation(ConflictError):
    """The row points at one that is not there, or is still pointed at."""


class ExclusionViolation(ConflictError):
    """The row overlaps another one that an exclusion constraint keeps apart."""


class InvalidDataError(_DriverError):
    """The row can't be stored as it is."""

    status = 422


class NotNullViolation(InvalidDataError, exc.IntegrityError):
    """A column that needs a value has none."""


class CheckViolation(InvalidDataError, exc.IntegrityError):
    """A check constraint does not hold."""


class InvalidValueError(InvalidDataError, exc.DataError):
    """A value is of the wrong type, too long or out of range."""


class StaleRecordError(ActiveBaseError, orm_exc.StaleDataError):
    """The row was changed or deleted since the record was read."""

    status = 409


class TransientError(_DriverError, exc.OperationalError):
    """A passing failure: it is safe to run the whole unit of work again."""

    status = 503


class SerializationFailure(TransientError):
    """Concurrent transactions can't be put in an order."""


class DeadlockDetected(TransientError):
    """Two transactions waited for each other, and this one was chosen to end."""


class LockTimeout(TransientError):
    """A lock was not to be had in time."""


class ConnectionLost(TransientError):
    """The database was not reached, or the connection dropped before COMMIT."""


class CommitUnknownError(_DriverError, exc.OperationalError):
    """The connection dropped during COMMIT: whether it took effect can't be known."""


class UnitOfWorkError(ActiveBaseError, RuntimeError):
    """The rules of a unit of work were broken."""


class LostWritesError(UnitOfWorkError):
    """Writes that had succeeded were undone inside the unit, so the unit must not commit."""


class StrayCommitError(UnitOfWorkError):
    """Someone other than the boundary asked to commit while a unit is open."""


class WriteAfterCommitError(UnitOfWorkError):
    """A write after the unit had ended; nothing would ever commit it."""


class ReadOnlyError(UnitOfWorkError):
    """A write inside a read-only unit."""


class NestedUnitError(UnitOfWorkError):
    """A unit can't be opened, or configured, inside the unit that is open."""


class UnknownAttributeError(ActiveBaseError, TypeError):
    """A name that the model does not have, or that can't be set."""


class ProtectedAttributeError(ActiveBaseError, TypeError):
    """A name that ``__protected__`` keeps out of `create()` and `update()`."""


class InvalidLookupError(ActiveBaseError, ValueError):
    """A lookup, an order, a page or a cursor that can't be understood."""

    status = 400


class UncommittedWritesWarning(UserWarning):
    """A scope ended with flushed writes that no boundary committed: they are gone."""


class StrayCommitWarning(UserWarning):
    """`session.commit()` inside a unit, where ``stray_commits="warn"`` lets it pass."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


# -- translation -----------------------------------------------------------------------------

#: The models, so that a message can say "User" where the driver says "user_account".
models: WeakSet[type] = WeakSet()

_BY_SQLSTATE: dict[str, type[_DriverError]] = {
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
_BY_SQLSTATE_CLASS: dict[str, type[_DriverError]] = {
    "08": ConnectionLost,
    "22": InvalidValueError,
    "23": ConflictError,
}
_BY_SQLITE_NAME: dict[str, type[_DriverError]] = {
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
#: What is wrong, and what to do about it, behind "User: ".
_ADVICE: dict[type[_DriverError], str] = {
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
    if context.is_pre_ping or not _is_from_driver(context, original):
        return None
    if _sqlstate(original) == "25006" or _sqlite_name(original).startswith("SQLITE_READONLY"):
        return ReadOnlyError("The database refused a write in a read-only transaction.")
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


def _is_from_driver(context: ExceptionContext, original: BaseException) -> bool:
    # sqlite3 raises a bare OverflowError for an integer of more than 64 bits.
    return isinstance(original, context.dialect.loaded_dbapi.Error) or (
        isinstance(original, OverflowError) and context.dialect.name == "sqlite"
    )


def _classify(
    context: ExceptionContext, original: BaseException, *, committing: bool
) -> type[_DriverError] | None:
    if context.is_disconnect:
        in_commit = committing and context.statement is None
        return CommitUnknownError if in_commit else ConnectionLost
    state = _sqlstate(original)
    known = _BY_SQLSTATE.get(state) or _BY_SQLSTATE_CLASS.get(state[:2])
    if known:
        return known
    if context.dialect.name == "sqlite":
        return _classify_sqlite(original)
    # A server that is down has no SQLSTATE to give.
    refused = context.connection is None and not state
    return ConnectionLost if refused and _is_operational(context, original) else None


def _classify_sqlite(original: BaseException) -> type[_DriverError] | None:
    known = _BY_SQLITE_NAME.get(_sqlite_name(original))
    # sqlite3 reports a value it can't store before SQLite sees it: there is no code to read.
    unsupported = isinstance(original, OverflowError) or "Error binding parameter" in str(original)
    return InvalidValueError if known is None and unsupported else known


def _is_operational(context: ExceptionContext, original: BaseException) -> bool:
    return isinstance(original, context.dialect.loaded_dbapi.OperationalError)


def _sqlstate(original: BaseException) -> str:
    return getattr(original, "sqlstate", None) or ""


def _sqlite_name(original: BaseException) -> str:
    return getattr(original, "sqlite_errorname", None) or ""


def _broken_rule(
    context: ExceptionContext, original: BaseException, kind: type[_DriverError]
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


def _rule_of_sqlite(message: str, kind: type[_DriverError]) -> Rule:
    _, colon, told = message.partition(" constraint failed: ")
    if not colon:
        return Rule()
    if kind is CheckViolation:
        return Rule(constraint=told)
    if told.startswith("index "):
        return Rule(constraint=told.removeprefix("index ").strip("'"))
    pairs = [name.rpartition(".") for name in told.split(", ")]
    return Rule(table=pairs[0][0] or None, columns=tuple(column for _, _, column in pairs))


def _completed(rule: Rule, table: Table, kind: type[_DriverError]) -> Rule:
    """Fill in from the model's table what the driver left out."""
    if kind is not UniqueViolation:
        return rule
    unique: dict[str, tuple[str, ...]] = {
        str(rows.name): tuple(column.name for column in rows.columns)
        for rows in (*table.constraints, *table.indexes)
        if rows.name
        and (rows is table.primary_key or isinstance(rows, UniqueConstraint) or _is_unique(rows))
    }
    if rule.constraint and not rule.columns:
        return rule._replace(columns=unique.get(rule.constraint, ()))
    if rule.columns and not rule.constraint:
        named = [name for name, columns in unique.items() if set(columns) == set(rule.columns)]
        return rule._replace(constraint=named[0] if len(named) == 1 else None)
    return rule


def _is_unique(rows: Any) -> bool:
    return bool(getattr(rows, "unique", False))


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
