"""What can go wrong, as a tree of types, and how a driver's error becomes one of them.

Every error derives from `ActiveBaseError` and from the SQLAlchemy error that existing code
already catches::

    ActiveBaseError
    ├── NotConfiguredError
    │   └── InvalidURLError      (ArgumentError)
    ├── AlreadyConfiguredError   (RuntimeError)
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

from collections.abc import Iterable
from typing import Any, ClassVar, NamedTuple, TypeVar
from weakref import WeakSet

from sqlalchemy import exc
from sqlalchemy.orm import exc as orm_exc


class ActiveBaseError(Exception):
    """Root of every error that activebase raises.

    ``status`` is the HTTP status that an integration answers with, None for a mistake in the code,
    which is answered as any other is.
    """

    status: ClassVar[int | None] = None


class NotConfiguredError(ActiveBaseError):
    """No database has been set up, or what was given can't be one."""


class InvalidURLError(NotConfiguredError, exc.ArgumentError):
    """`configure()` got something that is no database URL."""


class AlreadyConfiguredError(ActiveBaseError, RuntimeError):
    """What can be set up once only was set up again."""


class NotFoundError(ActiveBaseError, exc.NoResultFound):
    """No record matches.

    ``model`` is the model's class; ``criteria`` what was asked for (a primary key, a dict, None).
    """

    status = 404

    def __init__(
        self, message: str, *, model: type[Any] | None = None, criteria: Any = None
    ) -> None:
        super().__init__(message)
        self.model = model
        self.criteria = criteria


class DriverError(ActiveBaseError, exc.DBAPIError):
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


def _rebuild(kind: type[DriverError], message: str, rule: Rule) -> DriverError:
    return kind(message, rule=rule)


E = TypeVar("E", bound=DriverError)


def said_again(error: E, message: str | None = None) -> E:
    """Return an error like this one, to be raised in its place.

    Args:
        message: what to say, default the same.
    """
    return type(error)(
        message or str(error),
        orig=error.orig,
        statement=error.statement,
        rule=Rule(error.constraint, error.table, error.columns),
    )


class Rule(NamedTuple):
    """The rule of the schema that was broken, as far as the driver tells."""

    constraint: str | None = None
    table: str | None = None
    columns: tuple[str, ...] = ()


class ConflictError(DriverError, exc.IntegrityError):
    """The write contradicts another row."""

    status = 409


class UniqueViolation(ConflictError):
    """Another row has the same value in a unique column or set of columns."""


class ForeignKeyViolation(ConflictError):
    """The row points at one that is not there, or is still pointed at."""


class ExclusionViolation(ConflictError):
    """The row overlaps another one that an exclusion constraint keeps apart."""


class InvalidDataError(DriverError):
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


class TransientError(DriverError, exc.OperationalError):
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


class CommitUnknownError(DriverError, exc.OperationalError):
    """The connection dropped, or something broke in, during COMMIT: its outcome can't be known."""

    status = 500


class UnitOfWorkError(ActiveBaseError, RuntimeError):
    """The rules of a unit of work were broken."""

    status = 500


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


#: The models, so that a message can say "User" where the driver says "user_account".
models: WeakSet[type] = WeakSet()


def check_no_text(names: object, what: str) -> None:
    """Raise TypeError for a text in place of a collection of names: letters are none.

    Args:
        what: the option that takes them, for the message.
    """
    if isinstance(names, str):
        raise TypeError(
            f"{what} takes a collection of names, as [{names!r}]; got the text {names!r}."
        )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the closest known name, or an empty string."""
    from difflib import get_close_matches  # only who errs waits for it

    close = get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
