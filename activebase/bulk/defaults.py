"""What rows leave out: defaults, and rows that have the same key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Column

from .layout import Default
from .rows import MISSING, Columns, Rows


def completed(rows: Rows, *, by_given: bool) -> Iterator[Rows]:
    """Yield the rows with what they leave out filled in, by groups that name the same columns.

    Args:
        by_given: rows of a group must give the same columns by themselves, too.
    """
    for part in _split(rows) if by_given else [rows]:
        _fill(part)
        yield from _split(part)


def _split(rows: Rows) -> list[Rows]:
    """Split rows so that each part has no holes."""
    if not rows.holes:
        return [rows]
    columns = [rows.columns[column] for column in rows.holes]
    patterns: dict[tuple[bool, ...], list[int]] = {}
    for number, values in enumerate(zip(*columns, strict=True)):
        pattern = tuple(value is MISSING for value in values)
        patterns.setdefault(pattern, []).append(number)
    return [rows.pick(numbers) for numbers in patterns.values()]


def _fill(rows: Rows) -> None:
    layout = rows.layout
    if not layout.is_plain:
        return  # that is done by the ORM, which knows what goes into which table
    context = RowContext(rows.columns)
    for column, default in layout.defaults.items():
        if column in rows.columns and column not in rows.holes:
            continue
        if column in layout.contextual:
            continue
        try:
            filled = _filled(rows, column, default, context)
        except NeedsContext:
            layout.contextual.add(column)
            layout.left_out.add(column)
            continue
        rows.columns[column] = filled
        rows.holes.discard(column)
    for column in rows.holes - layout.left_out:
        values = rows.columns[column]
        rows.columns[column] = [None if value is MISSING else value for value in values]
        rows.holes.discard(column)


def _filled(rows: Rows, column: Column[Any], default: Default, context: RowContext) -> list[Any]:
    values = rows.columns.get(column)
    if values is None:
        return [default(context.at(number)) for number in range(len(rows))]
    return [
        default(context.at(number)) if value is MISSING else value
        for number, value in enumerate(values)
    ]


class NeedsContext(Exception):
    """A default asks for what only SQLAlchemy's own context has."""


class NoContext:
    """Stands for the execution context where there is nothing to tell."""

    def __getattr__(self, name: str) -> Any:
        raise NeedsContext(name)


class RowContext(NoContext):
    """Stands for the execution context that a default may ask for the values of its row.

    There is one for all rows of a statement: a default may keep something in it.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._number = 0

    def at(self, number: int) -> RowContext:
        """Return itself, for the row with this number."""
        self._number = number
        return self

    def get_current_parameters(self, isolate_multiinsert_groups: bool = True) -> dict[str, Any]:
        """Return the values of the row by key of the column, as they were given."""
        row = {column.key: values[self._number] for column, values in self._columns.items()}
        return {key: value for key, value in row.items() if value is not MISSING}

    @property
    def current_parameters(self) -> dict[str, Any]:
        """The same, as it was called once."""
        return self.get_current_parameters()


Merge = Callable[[Column[Any]], bool]


def merge_same(rows: Rows, key: Sequence[Column[Any]], takes: Merge) -> Rows:
    """Merge rows that have the same key, as if they were written one after the other.

    Args:
        takes: tells whether a later row's value of a column wins.
    """
    if any(column not in rows.columns for column in key):
        return rows
    first: dict[tuple[Any, ...], int] = {}
    keep: list[int] = []
    for number, values in enumerate(zip(*(rows.columns[column] for column in key), strict=True)):
        if any(value is None or value is MISSING for value in values):
            keep.append(number)
            continue
        earlier = first.setdefault(values, number)
        if earlier == number:
            keep.append(number)
        else:
            _overlay(rows, earlier, number, takes)
    return rows if len(keep) == len(rows) else rows.pick(keep)


def _overlay(rows: Rows, earlier: int, later: int, takes: Merge) -> None:
    for column, values in rows.columns.items():
        if values[later] is not MISSING and takes(column):
            values[earlier] = values[later]
