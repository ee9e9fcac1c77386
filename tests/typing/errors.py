"""Samples of the errors: what an ``except`` block knows of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import exc
from sqlalchemy.orm import exc as orm_exc

from activebase import (
    ActiveBaseError,
    CheckViolation,
    CommitUnknownError,
    ConflictError,
    ConnectionLost,
    DeadlockDetected,
    ExclusionViolation,
    ForeignKeyViolation,
    InvalidDataError,
    InvalidLookupError,
    InvalidValueError,
    LockTimeout,
    LostWritesError,
    NestedUnitError,
    NotConfiguredError,
    NotFoundError,
    NotNullViolation,
    ProtectedAttributeError,
    ReadOnlyError,
    SerializationFailure,
    StaleRecordError,
    StrayCommitError,
    StrayCommitWarning,
    TransientError,
    UncommittedWritesWarning,
    UniqueViolation,
    UnitOfWorkError,
    UnknownAttributeError,
    WriteAfterCommitError,
)
from tests.typing.holds import assert_type
from tests.typing.models import User


def rule_of(error: ConflictError | InvalidDataError) -> None:
    assert_type(error.constraint, str | None)
    assert_type(error.table, str | None)
    assert_type(error.columns, tuple[str, ...])
    orig: BaseException | None = error.orig
    status: int | None = error.status
    del orig, status


def rules() -> None:
    for kind in (UniqueViolation, ForeignKeyViolation, ExclusionViolation):
        rule_of(kind("a conflict"))
    for other in (NotNullViolation, CheckViolation, InvalidValueError):
        rule_of(other("no valid data"))


def what_is_missing() -> None:
    try:
        User.get_or_404(77)
    except NotFoundError as error:
        assert_type(error.model, type[Any] | None)
        assert_type(error.criteria, Any)
        status: int | None = error.status
        del status


def as_sqlalchemy_names_them() -> None:
    """Code that catches SQLAlchemy's errors goes on to."""
    conflict: exc.IntegrityError = ConflictError("x")
    missing: exc.NoResultFound = NotFoundError("x")
    stale: orm_exc.StaleDataError = StaleRecordError("x")
    invalid: exc.DataError = InvalidValueError("x")
    null: exc.IntegrityError = NotNullViolation("x")
    broken: exc.IntegrityError = CheckViolation("x")
    unknown: exc.OperationalError = CommitUnknownError("x")
    del conflict, missing, stale, invalid, null, broken, unknown


def as_python_names_them() -> None:
    kinds: list[type[RuntimeError]] = [UnitOfWorkError, LostWritesError, StrayCommitError]
    kinds += [WriteAfterCommitError, ReadOnlyError, NestedUnitError]
    names: list[type[TypeError]] = [UnknownAttributeError, ProtectedAttributeError]
    lookup: type[ValueError] = InvalidLookupError
    transient: list[type[TransientError]] = [SerializationFailure, DeadlockDetected]
    transient += [LockTimeout, ConnectionLost]
    warnings: list[type[Warning]] = [UncommittedWritesWarning, StrayCommitWarning]
    every: list[type[ActiveBaseError]] = [NotConfiguredError, *transient]
    assert_type(every[0].status, int | None)
    del kinds, names, lookup, warnings
