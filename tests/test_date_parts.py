"""Parts of dates in lookups: the same as Python's, on every database and in any time zone."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, func

from activebase import unit_of_work
from activebase.functions import DATE_PARTS
from tests.catalog import Thing
from tests.catalog_tables import create
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def found(**lookups: Any) -> list[int]:
    """Return the ids of what is found."""
    return sorted(Thing.query.filter(**lookups).pluck("id"))


MOMENTS = [
    datetime(2026, 1, 1),
    datetime(2025, 12, 31, 23, 59, 59),
    datetime(2024, 12, 30, 12, 30, 15),  # week 1 of 2025
    datetime(2021, 1, 3, 1, 2, 3),  # week 53 of 2020
    datetime(2024, 2, 29, 6),
    datetime(1999, 7, 4, 18, 45),
]


def in_python(moment: datetime) -> dict[str, Any]:
    """Return all parts of a moment, as DESIGN.md says them."""
    year, week, iso_day = moment.isocalendar()
    return {
        **{part: getattr(moment, part) for part in "year month day hour minute second".split()},
        "quarter": (moment.month + 2) // 3,
        "iso_year": year,
        "week": week,
        "iso_week_day": iso_day,
        "week_day": iso_day % 7 + 1,
        "date": moment.date(),
        "time": moment.time(),
    }


def test_takes_parts_of_dates_as_python_does(engine: Engine, database: Database) -> None:
    create(engine, Thing)
    with unit_of_work():
        for moment in MOMENTS:
            aware = moment.replace(tzinfo=UTC)
            Thing(
                at=moment,
                moment=aware,
                seen=aware,
                day=moment.date(),
                clock=moment.time(),
            ).save()
        Thing().save()
        if database.dialect == "postgresql":  # whose answers depend on it, unless they are in UTC
            Thing.session.execute(func.set_config("TimeZone", "Pacific/Auckland", True).select())
        for part in DATE_PARTS:
            for moment in MOMENTS:
                value = in_python(moment)[part]
                expected = [n for n, m in enumerate(MOMENTS, 1) if in_python(m)[part] == value]
                of_date, of_time = DATE_PARTS[part].of_date, DATE_PARTS[part].of_time
                columns = ["at", "moment", "seen"]
                columns += ["day"] * (of_date and part != "date")
                columns += ["clock"] * (of_time and part != "time")
                for column in columns:
                    assert found(**{f"{column}__{part}": value}) == expected, (column, part, value)
        assert found(at__year__gte=2025) == found(moment__year__gt=2024) == [1, 2]
        assert found(at__year__range=(2021, 2024)) == [3, 4, 5]
        assert found(at__month__in=[2, 7]) == [5, 6]
        assert found(at__date__lt=date(2021, 1, 3)) == [6]
        assert found(at__date__month=12) == [2, 3]
        assert found(at__time__hour__gte=18) == [2, 6]
        assert found(at__year__isnull=True) == [7]
