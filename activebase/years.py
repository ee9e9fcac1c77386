"""``created_at__year=2026`` as a comparison with the ends of the year, which an index can serve.

Source: Django's `YearLookup`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Date, DateTime, and_, bindparam
from sqlalchemy.types import TypeEngine

from .attributes import column_of, is_plain_column
from .lookups import Lookup
from .operators import Operator, Takes
from .values import plain_type

#: The first day of a year, and whether later or earlier ones are meant.
_Build = Callable[[ColumnElement[Any], Any, Any], ColumnElement[bool]]

_BUILDS: dict[str, _Build] = {
    "exact": lambda column, start, end: and_(column >= start, column < end),
    "range": lambda column, start, end: and_(column >= start, column < end),
    "gt": lambda column, start, end: column >= end,
    "gte": lambda column, start, end: column >= start,
    "lt": lambda column, start, end: column < start,
    "lte": lambda column, start, end: column < end,
}


def by_bounds(
    lookup: Lookup, operator: Operator, arguments: tuple[Any, ...]
) -> tuple[Lookup, Operator, tuple[Any, ...]]:
    """Return a comparison of a year as one of the column with the year's bounds.

    Any other lookup, and years that have no bounds in Python, come back as they are.
    """
    build = _BUILDS.get(operator.name) if lookup.parts == ("year",) else None
    if build is None or not all(type(year) is int and 0 < year < 9999 for year in arguments):
        return lookup, operator, arguments
    if not is_plain_column(lookup.mapper, lookup.attributes[0]):
        return lookup, operator, arguments
    column = column_of(lookup.mapper.class_, lookup.mapper, lookup.attributes[0])
    type_ = plain_type(column.type)
    bounds = (_first_day(arguments[0], type_), _first_day(arguments[-1] + 1, type_))
    return replace(lookup, parts=()), Operator(operator.name, Takes.RANGE, build), bounds


def _first_day(year: int, type_: TypeEngine[Any]) -> Any:
    day: date = date(year, 1, 1)
    if isinstance(type_, DateTime):
        day = datetime(year, 1, 1, tzinfo=UTC if type_.timezone else None)
    # Bound as the plain type: a decorated one may take values of its own kind only.
    return bindparam(None, day, type_ if isinstance(type_, Date | DateTime) else None, unique=True)
