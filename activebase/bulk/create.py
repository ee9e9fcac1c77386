"""`bulk_create()`: many rows with few statements, and without a flush for each record."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from activebase.session import check_write, one_write

from .conflicts import check_options, conflict_of
from .defaults import completed, merge_same
from .insert import Insertion
from .layout import Layout
from .rows import rows_of, shapes_of

R = TypeVar("R")


class Options(NamedTuple):
    """What `bulk_create()` is asked for."""

    on_conflict: str | None
    conflict_columns: Collection[str] | None
    update_columns: Collection[str] | None
    batch_size: int | None


def bulk_create(session: Session, model: type[R], rows: Iterable[Any], options: Options) -> int:
    """Write rows; returns how many were written. See `MyBase.bulk_create`."""
    insertions = _prepared(session, model, rows, options)
    if not insertions:
        return 0
    with one_write(session):
        return sum(insertion.count() for insertion in insertions)


def bulk_create_records(
    session: Session, model: type[R], rows: Iterable[Any], options: Options
) -> list[R]:
    """Write rows; returns those that were written, as records. See `MyBase.bulk_create`."""
    insertions = _prepared(session, model, rows, options)
    if not insertions:
        return []
    check_write(session)
    insertions[0].check_returning()
    with one_write(session):
        placed = [pair for insertion in insertions for pair in insertion.records()]
    return [record for _, record in sorted(placed, key=itemgetter(0))]


def _prepared(
    session: Session, model: type[Any], rows: Iterable[Any], options: Options
) -> list[Insertion]:
    """Refuse what can't be written, before any SQL, and fill in what rows leave out."""
    layout = Layout.of(model)
    action, conflict_columns, update_columns, batch_size = options
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is a number of rows from 1, got {batch_size!r}.")
    check_options(layout, action, conflict_columns=conflict_columns, update_columns=update_columns)
    tables = rows_of(shapes_of(model, rows, "bulk_create"))
    if not tables:
        return []
    conflict = conflict_of(
        layout,
        session.get_bind(layout.mapper).dialect,
        action,
        conflict_columns=conflict_columns,
        update_columns=update_columns,
        tables=tables,
    )
    by_given = False
    if conflict is not None and conflict.action == "update":
        tables = [merge_same(each, conflict.target, conflict.takes) for each in tables]
        by_given = conflict.updates is None
    parts = [part for each in tables for part in completed(each, by_given=by_given)]
    for part in parts:
        if conflict is not None:
            conflict.check(part)
    return [Insertion(session, part, conflict, batch_size) for part in parts]
