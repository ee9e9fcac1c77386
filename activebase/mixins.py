"""Columns and behaviour that many models share: `Timestamps`, `SoftDelete`, `Versioned`.

    class Article(Timestamps, SoftDelete, Versioned, MyModel): ...

They may stand in any order. Their columns have no annotations at run time, so that they also fit
models that are dataclasses: there they are no arguments of the constructor. In the table they stand
behind the model's own columns, whose ``sort_order`` is 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import ColumnElement, Integer, inspect
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, Mapper, declared_attr, mapped_column

from .base import MyBase
from .hiding import Marked, watch_sessions
from .utc import UTCDateTime, now


def _time_of_statement(context: DefaultExecutionContext) -> datetime:
    """Return the present moment, the same for all that one statement writes."""
    moment: datetime = vars(context).setdefault("activebase_moment", now())
    return moment


class Timestamps:
    """`created_at` and `updated_at`, in UTC; equal until the record is changed.

    Both are set by Python when the row is written, in bulk statements too. `updated_at` is set by
    each UPDATE, unless that gives it a value itself.
    """

    if TYPE_CHECKING:
        created_at: Mapped[datetime]
        updated_at: Mapped[datetime]
    else:
        created_at = mapped_column(
            UTCDateTime, default=_time_of_statement, nullable=False, sort_order=1000
        )
        updated_at = mapped_column(
            UTCDateTime,
            default=_time_of_statement,
            onupdate=_time_of_statement,
            nullable=False,
            sort_order=1001,
        )


class SoftDelete(Marked, MyBase):
    """`delete()` marks the record, and no query finds it any more, but for `with_deleted()`.

    `deleted_at` is the moment, None for a record that is not deleted. The row, its foreign keys and
    its unique values stay; nothing cascades.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        mapper = _mapper_of(cls)
        if mapper is not None:
            _check_root(mapper, SoftDelete)
        watch_sessions()

    @classmethod
    def __marks_deleted__(cls) -> dict[str, Any]:
        """Return what a bulk UPDATE sets to mark rows as deleted. Effect: none."""
        return {"deleted_at": now()}

    @hybrid_property
    def is_deleted(self) -> bool:
        """Whether the record is deleted; in a query, together with `with_deleted()`."""
        return self.deleted_at is not None

    @is_deleted.inplace.expression
    @classmethod
    def _is_deleted_in_sql(cls) -> ColumnElement[bool]:
        return cls.deleted_at.is_not(None)

    def delete(self) -> None:
        """Mark the record as deleted and flush; one that is deleted keeps its `deleted_at`.

        Effect: flush.
        Raises:
            InvalidRequestError: the record was never saved.
        """
        if not inspect(self).has_identity:
            raise InvalidRequestError(f"{self!r} can't be deleted: it was never saved.")
        if self.deleted_at is None:
            self.deleted_at = now()
        super().save()

    def restore(self) -> Self:
        """Take the mark away again and flush; returns the record.

        Effect: flush.
        Raises:
            UniqueViolation: a newer row has a value that must be unique.
        """
        if self.deleted_at is not None:
            self.deleted_at = None
        return super().save()

    def hard_delete(self) -> None:
        """Delete the row, and flush: what `delete()` does without `SoftDelete`.

        What the relationships cascade to is deleted for good, too, deleted records among it.
        Effect: flush.
        """
        super().delete()


class Versioned(MyBase):
    """`version` counts the writes; a write of what someone else has written meanwhile is refused.

    It raises `StaleRecordError`, and the unit leaves no trace.
    """

    if TYPE_CHECKING:
        version: Mapped[int]
        __mapper_args__: Any
    else:
        version = mapped_column(Integer, nullable=False, sort_order=1003)

    def __init_subclass__(cls, **options: Any) -> None:
        if _is_root(cls):
            cls.__mapper_args__ = _with_version(cls)
        super().__init_subclass__(**options)
        mapper = _mapper_of(cls)
        if mapper is not None:
            _check_root(mapper, Versioned)
            _check_version(mapper)


def _mapper_of(cls: type) -> Mapper[Any] | None:
    mapper: Mapper[Any] | None = inspect(cls, raiseerr=False)
    return mapper


def _is_root(cls: type) -> bool:
    """Tell whether the class inherits from no mapped one that is Versioned."""
    bases = [base for base in cls.__mro__[1:] if issubclass(base, Versioned)]
    return not any(map(_mapper_of, bases))


def _with_version(cls: type[Versioned]) -> Any:
    """Return the `__mapper_args__` that the class would have, and the version column.

    A mixin's own would be overridden by those of a model, which then would not be locked at all.
    """
    theirs = getattr_static(cls, "__mapper_args__", {})
    if isinstance(theirs, Mapping):
        return {"version_id_col": cls.version, **theirs}

    def both(model: type[Versioned]) -> dict[str, Any]:
        found: Mapping[str, Any] = theirs.__get__(None, model)
        return {"version_id_col": model.version, **found} if _is_root(model) else dict(found)

    return declared_attr.directive(both)


def _check_version(mapper: Mapper[Any]) -> None:
    column = mapper.version_id_col
    if column is None or column.table not in mapper.tables:
        raise TypeError(
            f"{mapper.class_.__name__} is Versioned, but its mapping has no version_id_col in its "
            "own tables, so nothing would be locked. Leave version_id_col out of __mapper_args__."
        )


def _check_root(mapper: Mapper[Any], mixin: type) -> None:
    """Raise TypeError where the mixin would hold for half of a hierarchy's columns or queries."""
    parent = mapper.inherits
    if parent is None or mapper.concrete or issubclass(parent.class_, mixin):
        return
    root = mapper.base_mapper.class_.__name__
    raise TypeError(
        f"{mapper.class_.__name__} is {mixin.__name__}, but {root}, from which it inherits, is "
        f"not, so what is done through {root} would go past it. Mix {mixin.__name__} into {root}."
    )
