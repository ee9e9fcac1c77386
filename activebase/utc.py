"""UTCDateTime: a column of moments, the same on every database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import DateTime, Dialect
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator, TypeEngine

from .errors import InvalidValueError


class UTCDateTime(TypeDecorator[datetime]):
    """A moment: takes aware datetimes, and gives them back in UTC.

    A plain ``DateTime(timezone=True)`` gives naive ones on SQLite and MariaDB, which store no zone,
    and MariaDB drops the microseconds. Here both hold the time in UTC, to the microsecond.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column type of a dialect. Effect: none."""
        if dialect.name in ("mysql", "mariadb"):
            from sqlalchemy.dialects.mysql import DATETIME  # only for who uses it

            return dialect.type_descriptor(DATETIME(fsp=6))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what is sent. Raises: InvalidValueError: it is no aware datetime."""
        if value is None:
            return None
        if not isinstance(value, datetime) or value.utcoffset() is None:
            raise _not_aware(value)
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what was read, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        """Return the type of another operand: all are moments, but for differences."""
        if isinstance(value, timedelta):
            return self.impl_instance.coerce_compared_value(op, value)
        return self


class _NotAware(InvalidValueError, DontWrapMixin):
    """An `InvalidValueError` that SQLAlchemy 2.0, too, raises as it is from inside a statement."""


def _not_aware(value: object) -> _NotAware:
    what = "a naive datetime" if isinstance(value, datetime) else type(value).__name__
    return _NotAware(
        f"A UTCDateTime column takes datetimes with a time zone, got {what}. Use "
        "datetime.now(UTC), or value.replace(tzinfo=...) with the zone that is meant."
    )


def now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)
