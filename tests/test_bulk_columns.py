"""Bulk statements store what `save()` stores: types of columns, dataclasses, inheritance."""

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import JSON, null, text

from activebase import InvalidDataError, UnknownAttributeError, session, unit_of_work
from tests.databases import Database
from tests.warehouse import (
    Color,
    Everything,
    Lists,
    Manager,
    Padded,
    Person,
    Point,
    Sent,
    Truck,
    Vehicle,
)

pytest_plugins = ["tests.warehouse_fixtures"]

on_servers = pytest.mark.parametrize("warehouse_database", ["postgresql", "mariadb"], indirect=True)
on_postgres = pytest.mark.parametrize("warehouse_database", ["postgresql"], indirect=True)

NASTY = [
    "",
    " ",
    "NULL",
    "null",
    "a,b",
    "{a}",
    'say "x"',
    '"',
    "back\\slash",
    "\\",
    "'; DROP TABLE everything; --",
    "100%",
    "%s %(x)s",
    ":name ::text",
    "line\nbreak\ttab\r",
    "ünïcödé ✓ 中文 🎉",
    " leading and trailing ",
    "\\x41",
    "\x01",
]

VALUES: dict[str, list[Any]] = {
    "text": NASTY,
    "number": [0, -1, 2**31 - 1, -(2**31)],
    "ratio": [0.0, -0.0, 0.1 + 0.2, 1e300, 1e-300, -2.5, 3],
    "price": [Decimal("0.00"), Decimal("-12.34"), Decimal("9999999999.99"), Decimal("1E+3"), 7],
    "flag": [True, False],
    "day": [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)],
    "moment": [datetime(2024, 2, 29, 23, 59, 59), datetime(1970, 1, 1)],
    "hour": [time(0, 0), time(23, 59, 59)],
    "period": [timedelta(0), timedelta(days=400, seconds=5), timedelta(seconds=-1)],
    "uid": [UUID(int=0), UUID("12345678-1234-5678-1234-567812345678")],
    "color": [Color.RED, Color.BLUE],
    "word": [Color.RED, "BLUE"],
    "data": [
        {},
        [],
        {"a": [1, 2.5, None, True, 'say "x"', "ü\\"]},
        "text",
        5,
        False,
        "",
        JSON.NULL,
    ],
    "plain_data": [{"a": 1}, [1, [2, [3]]], "NULL"],
    "bytes_": [b"", b"\x00\x01\\\xff", b"text", bytes(range(256))],
    "backwards": ["abc", ""],
}


@pytest.mark.parametrize("name", VALUES)
def test_stores_values_of_each_type_as_save_does(warehouse: Database, name: str) -> None:
    values = [*VALUES[name], None]
    with unit_of_work():
        for number, value in enumerate(values):
            Everything(id=number, **{name: value}).save()
        rows = [{"id": 100 + number, name: value} for number, value in enumerate(values)]
        assert Everything.bulk_create(rows) == len(rows)
        records = [Everything(id=200 + n, **{name: value}) for n, value in enumerate(values)]
        assert Everything.bulk_create(records) == len(rows)
        back = Everything.bulk_create(
            [{**row, "id": row["id"] + 200} for row in rows], returning=True
        )
        assert [record.id for record in back] == [300 + number for number in range(len(values))]
        Everything.bulk_create([{"id": 400 + number} for number in range(len(values))])
        changed = [{**row, "id": row["id"] + 300} for row in rows]
        assert Everything.bulk_update(changed, [name]) == len(rows)
        Everything.bulk_create([{"id": 500 + number} for number in range(len(values))])
        changed = [{**row, "id": row["id"] + 400} for row in rows]
        assert Everything.bulk_create(changed, on_conflict="update") == len(rows)
    column = "octets" if name == "bytes_" else name
    stored = warehouse.rows(f"SELECT {column} FROM everything ORDER BY id")
    count = len(values)
    for start in range(0, 6 * count, count):
        assert stored[start : start + count] == stored[:count]
    with unit_of_work():
        loaded = [getattr(record, name) for record in Everything.query.order_by("id").all()]
        assert loaded[count : 2 * count] == loaded[:count]
        assert [getattr(record, name) for record in back] == loaded[:count]


def test_stores_text_of_any_kind(warehouse: Database) -> None:
    with unit_of_work():
        for number, words in enumerate(NASTY):  # each by itself, and beside plain ones
            rows = [{"id": 10 * number + place, "text": "plain"} for place in range(3)]
            rows[1]["text"] = words
            assert Everything.bulk_create(rows[1:2]) == 1
            assert Everything.bulk_create(rows, on_conflict="update") == 3
    with unit_of_work():
        found = [record.text for record in Everything.query.order_by("id").all()]
    assert found[1::3] == NASTY
    assert set(found[::3]) == set(found[2::3]) == {"plain"}


def test_stores_values_of_different_types_in_one_column(warehouse: Database) -> None:
    rows: list[dict[str, Any]] = [
        {"id": 1, "ratio": 1, "price": Decimal("1.5"), "word": Color.RED, "number": True},
        {"id": 2, "ratio": 2.5, "price": 2, "word": "BLUE", "number": 5},
        {"id": 3, "ratio": None, "price": None, "word": None, "number": None},
    ]
    with unit_of_work():
        assert Everything.bulk_create(rows) == 3
        swapped = [{**row, "id": 4 - row["id"]} for row in rows]
        assert Everything.bulk_update(swapped, ["ratio", "price", "word", "number"]) == 3
    with unit_of_work():
        found = Everything.query.order_by("id").all()
        assert [record.ratio for record in found] == [None, 2.5, 1]
        assert [record.number for record in found] == [None, 5, 1]
        assert [record.price for record in found] == [None, 2, Decimal("1.5")]


def test_tells_json_null_from_sql_null(warehouse: Database) -> None:
    rows = [
        {"id": 1, "data": None, "plain_data": None},
        {"id": 2},
        {"id": 3, "data": null(), "plain_data": 1},
        Everything(id=4, data=None),
        Everything(id=5),
    ]
    with unit_of_work():
        assert Everything.bulk_create(rows) == 5
    found = warehouse.rows(
        "SELECT id, data IS NULL, plain_data IS NULL FROM everything ORDER BY id"
    )
    assert [(number, bool(data), bool(plain)) for number, data, plain in found] == [
        (1, False, True),
        (2, True, True),
        (3, True, False),
        (4, False, True),
        (5, True, True),
    ]


@on_postgres
def test_keeps_zones_and_lists_on_postgresql(warehouse: Database) -> None:
    zone = timezone(timedelta(hours=5))
    moments = [datetime(2024, 1, 1, 12, tzinfo=zone), datetime(2024, 1, 1, tzinfo=UTC), None]
    rows = [
        {"id": number, "moment": moment, "naive": moment, "numbers": [number, None], "words": ["a"]}
        for number, moment in enumerate(moments)
    ]
    with unit_of_work():
        session.execute(text("SET LOCAL TIME ZONE 'Asia/Tokyo'"))
        for row in rows:
            Lists(**{**row, "id": row["id"] + 10}).save()  # type: ignore[operator]
        assert Lists.bulk_create(rows) == 3
        Lists.bulk_create([{"id": number + 20} for number in range(3)])
        changed = [{**row, "id": row["id"] + 20} for row in rows]  # type: ignore[operator]
        assert Lists.bulk_update(changed, ["moment", "naive", "numbers", "words"]) == 3
        times = [{"id": n + 30, "moment": time, "naive": time} for n, time in enumerate(moments)]
        assert Lists.bulk_create(times) == 3
    found = warehouse.rows("SELECT moment, naive, numbers, words FROM lists ORDER BY id")
    assert found[:3] == found[3:6] == found[6:9]
    assert [row[:2] for row in found[:3]] == [row[:2] for row in found[9:]]
    assert found[0][2:] == ([0, None], ["a"])


def test_knows_rows_by_text_that_is_filled_up_with_blanks(warehouse: Database) -> None:
    with unit_of_work():
        records = Padded.bulk_create([{"code": "ab"}, {"code": "abc"}], returning=True)
        assert [record.code.rstrip() for record in records] == ["ab", "abc"]
        rows = [{"code": "ab", "note": "new"}, {"code": "x"}]
        assert Padded.bulk_create(rows, on_conflict="ignore") == 1
        assert Padded.bulk_create(rows, on_conflict="update") == 2
    found = warehouse.rows("SELECT note FROM padded ORDER BY code")
    assert found == [("new",), (None,), (None,)]


def test_never_cuts_off_what_is_too_long(warehouse: Database) -> None:
    long = "x" * 51
    attempts: list[Callable[[], Any]] = [
        lambda: Person.bulk_create([{"name": long}]),
        lambda: Vehicle.bulk_create([{"name": "fits"}, {"name": long}]),
        lambda: Vehicle.bulk_create([{"name": long}], returning=True),
        lambda: Vehicle.bulk_update([{"id": 999, "name": long}], ["name"]),
    ]
    with unit_of_work():
        Vehicle(id=999, name="v").save()
    for attempt in attempts:
        if warehouse.dialect == "sqlite":
            continue  # which has no limits
        with unit_of_work(), pytest.raises(InvalidDataError):
            attempt()
    assert warehouse.rows("SELECT name FROM vehicle") == [("v",)]


def test_raises_the_typed_error_for_what_a_type_refuses(warehouse: Database) -> None:
    wrong: list[dict[str, Any]] = [
        {"number": "many"},
        {"flag": 7},
        {"day": object()},
    ]
    for row in wrong:
        with unit_of_work():
            with pytest.raises(InvalidDataError):
                Everything.bulk_create([{"id": 1}, {"id": 2, **row}])
            with pytest.raises(InvalidDataError):
                Everything.bulk_create([{"id": 2, **row}])
    assert warehouse.scalar("SELECT count(*) FROM everything") == 0


# -- dataclasses -----------------------------------------------------------------------------


def test_writes_records_of_dataclasses(warehouse: Database) -> None:
    with unit_of_work():
        assert Point.bulk_create([Point(x=1), Point(x=2, y=3, note="n"), {"x": 3}]) == 3
        (back,) = Point.bulk_create([Point(x=4)], returning=True)
        assert (back.x, back.y, back.made) == (4, 7, datetime(2026, 1, 2))
    found = warehouse.rows("SELECT x, y, note FROM point ORDER BY x")
    assert found == [(1, 7, None), (2, 3, "n"), (3, 7, None), (4, 7, None)]
    assert warehouse.scalar("SELECT count(DISTINCT made) FROM point WHERE made IS NOT NULL") == 1


# -- inheritance -----------------------------------------------------------------------------


def test_fills_in_the_discriminator(warehouse: Database) -> None:
    with unit_of_work():
        Vehicle.bulk_create([{"name": "a"}, Vehicle(name="b")])
        Truck.bulk_create([{"name": "c", "weight": 1}, Truck(name="d", axles=5)])
        Vehicle.bulk_create([Truck(name="e", weight=2), Vehicle(name="f"), {"name": "g"}])
        records = Vehicle.bulk_create(
            [Vehicle(name="h"), Truck(name="i", weight=3), {"name": "j"}], returning=True
        )
        assert [type(record) for record in records] == [Vehicle, Truck, Vehicle]
        assert [record.name for record in records] == ["h", "i", "j"]
        with pytest.raises(UnknownAttributeError, match="weight"):
            Vehicle.bulk_create([{"weight": 1}])
    found = warehouse.rows("SELECT name, kind, weight, axles FROM vehicle ORDER BY name")
    assert found == [
        ("a", "vehicle", None, 2),
        ("b", "vehicle", None, 2),
        ("c", "truck", 1, 2),
        ("d", "truck", None, 5),
        ("e", "truck", 2, 2),
        ("f", "vehicle", None, 2),
        ("g", "vehicle", None, 2),
        ("h", "vehicle", None, 2),
        ("i", "truck", 3, 2),
        ("j", "vehicle", None, 2),
    ]


@pytest.fixture
def people(warehouse: Database) -> Callable[[], list[Any]]:
    def rows() -> list[Any]:
        return warehouse.rows(
            "SELECT name, kind, nick, level, title FROM person"
            " LEFT JOIN manager ON manager.id = person.id ORDER BY name"
        )

    return rows


def test_writes_what_is_stored_in_several_tables(
    warehouse: Database, people: Callable[[], list[Any]]
) -> None:
    rows = [
        {"name": "a", "title": "t"},
        Manager(name="b", level=5),
        {"name": "c", "nick": None, "title": None},
        Manager(name="d", nick=None),
        {"name": "e", "title": "u"},
    ]
    with unit_of_work():
        assert Manager.bulk_create(rows) == 5
        assert Person.bulk_create([Person(name="f"), Manager(name="g"), {"name": "h"}]) == 3
    assert people() == [
        ("a", "manager", "nick", 3, "t"),
        ("b", "manager", "nick", 5, None),
        ("c", "manager", None, 3, None),
        ("d", "manager", "nick", 3, None),
        ("e", "manager", "nick", 3, "u"),
        ("f", "person", "nick", None, None),
        ("g", "manager", "nick", 3, None),
        ("h", "person", "nick", None, None),
    ]


def test_returns_what_is_stored_in_several_tables(
    warehouse: Database, people: Callable[[], list[Any]]
) -> None:
    rows = [{"name": f"n{n}", **({"title": "t"} if n % 2 else {})} for n in range(20)]
    with unit_of_work():
        managers = Manager.bulk_create(rows, returning=True, batch_size=8)
        assert [manager.name for manager in managers] == [f"n{n}" for n in range(20)]
        assert {manager.level for manager in managers} == {3}
        assert all(manager in session for manager in managers)
    assert len(people()) == 20


@on_servers
def test_sends_few_statements_for_several_tables(sent: Sent) -> None:
    with unit_of_work():
        Manager.bulk_create([{"name": f"n{n}"} for n in range(500)])
        assert len(sent.starting("INSERT")) <= 4
