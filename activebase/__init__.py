"""activebase: Django's ease with SQLAlchemy's power, and one commit per request or task."""

from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from .base import MyBase, MyModel
from .errors import (
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
from .later import Later
from .query import Query
from .session import configure, session
from .unit import UnitOfWork, current_unit
from .unit_of_work import allow_commit, atomic, on_commit, read_only, unit_of_work

if TYPE_CHECKING:
    from .mixins import SoftDelete, Timestamps, Versioned
    from .operators import register_lookup
    from .pagination import CursorPage, Page
    from .utc import UTCDateTime

__version__ = "0.1.0"

#: Names that are loaded when they are first asked for, and their modules.
_LATER = {
    "CursorPage": Later("pagination"),
    "Page": Later("pagination"),
    "SoftDelete": Later("mixins"),
    "Timestamps": Later("mixins"),
    "UTCDateTime": Later("utc"),
    "Versioned": Later("mixins"),
    "register_lookup": Later("operators"),
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        found = globals()[name] = getattr(_LATER[name], name)
        return found
    if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
        with suppress(ModuleNotFoundError):  # of an extra that is not installed
            return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "ActiveBaseError",
    "CheckViolation",
    "CommitUnknownError",
    "ConflictError",
    "ConnectionLost",
    "CursorPage",
    "DeadlockDetected",
    "ExclusionViolation",
    "ForeignKeyViolation",
    "InvalidDataError",
    "InvalidLookupError",
    "InvalidValueError",
    "LockTimeout",
    "LostWritesError",
    "MyBase",
    "MyModel",
    "NestedUnitError",
    "NotConfiguredError",
    "NotFoundError",
    "NotNullViolation",
    "Page",
    "ProtectedAttributeError",
    "Query",
    "ReadOnlyError",
    "SerializationFailure",
    "SoftDelete",
    "StaleRecordError",
    "StrayCommitError",
    "StrayCommitWarning",
    "Timestamps",
    "TransientError",
    "UTCDateTime",
    "UncommittedWritesWarning",
    "UniqueViolation",
    "UnitOfWork",
    "UnitOfWorkError",
    "UnknownAttributeError",
    "Versioned",
    "WriteAfterCommitError",
    "allow_commit",
    "atomic",
    "configure",
    "current_unit",
    "on_commit",
    "read_only",
    "register_lookup",
    "session",
    "unit_of_work",
]
