"""Cursor pages of 200,000 rows: each row once whatever others write, none dearer than page 1."""

from itertools import pairwise
from time import perf_counter
from typing import Any

import pytest
from sqlalchemy import Engine, Index, MetaData, event
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase, Query, read_only, session
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]
pytestmark = pytest.mark.slow

database = pytest.fixture(params=EACH)(database_of)

ROWS = 201_000
#: How often dearer page 5,000 may be: what a busy machine adds, and no more.
DEARER = 3


class Big(MyBase, DeclarativeBase):
    metadata = MetaData()


class Reading(Big):
    """Some are taken at one time, and a third has no weight."""

    __tablename__ = "reading"
    __table_args__ = (
        Index("ix_reading_taken", "taken", "id"),
        Index("ix_reading_weight", "weight", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    taken: Mapped[int]
    weight: Mapped[int | None]


NUMBERS = {
    "sqlite": "WITH RECURSIVE x(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM x"
    f" WHERE i < {ROWS}) {{}} x",
    "postgresql": f"{{}} generate_series(1, {ROWS}) AS x(i)",
    "mariadb": f"{{}} (SELECT seq AS i FROM seq_1_to_{ROWS}) AS x",
}
SELECT = (
    "SELECT i, (i * 7919) % 50021, CASE WHEN i % 3 = 0 THEN NULL ELSE (i * 7907) % 40009 END FROM"
)


@pytest.fixture
def readings(database: Database, engine: Engine) -> None:
    Big.metadata.create_all(engine)
    rows = NUMBERS[database.dialect].format(SELECT)
    database.execute(f"INSERT INTO reading (id, taken, weight) {rows}")
    database.execute(
        "ANALYZE TABLE reading" if database.dialect == "mariadb" else "ANALYZE reading"
    )


class Meddler:
    """Writes on a connection of its own, behind the reader and before it."""

    def __init__(self, database: Database) -> None:
        self.execute = database.execute
        self.number = ROWS
        #: Rows that the reader must see, and those that it must not: (taken, id).
        self.made: set[tuple[int, int]] = set()
        self.gone: set[tuple[int, int]] = set()

    def write(self, behind: tuple[int, int], here: tuple[int, int]) -> None:
        """Insert a row on either side of a place, and delete one, which was read, and its own."""
        for taken in (max(here[0] - 9, 0), here[0] + 9):
            self.number += 1
            self.execute(f"INSERT INTO reading VALUES ({self.number}, {taken}, 1)")
            if taken > here[0]:
                self.made.add((taken, self.number))
        for _, number in (behind, here):
            self.execute(f"DELETE FROM reading WHERE id = {number}")

    def delete_ahead(self, here: tuple[int, int]) -> None:
        """Delete a row that the reader comes to later."""
        number = (here[1] + 1) % ROWS + 1
        taken = number * 7919 % 50021
        if (taken, number) > here:
            self.execute(f"DELETE FROM reading WHERE id = {number}")
            self.gone.add((taken, number))


def test_visits_each_row_once_in_order_while_others_insert_and_delete(
    readings: None, database: Database
) -> None:
    expected = {(number * 7919 % 50021, number) for number in range(1, ROWS + 1)}
    meddler = Meddler(database)
    found: list[tuple[int, int]] = []
    cursor: str | None = None
    for number in range(ROWS):
        with read_only():
            page = Reading.query.order_by("taken").cursor(after=cursor, limit=100)
            found += [(reading.taken, reading.id) for reading in page]
            cursor = page.next_cursor
        if cursor is None:
            break
        if number % 20 == 0:
            meddler.write(found[-50], found[-1])
            meddler.delete_ahead(found[-1])
    assert all(one < two for one, two in pairwise(found))
    assert {*found} == (expected | meddler.made) - meddler.gone
    assert len(meddler.made) > 90
    assert len(meddler.gone) > 20


# What a page costs


@pytest.fixture
def statements(readings: None, engine: Engine) -> list[tuple[str, Any]]:
    """What is sent to the database from here on, and its parameters."""
    sent: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2:4]))
    return sent


#: Orders, and where two neighbours are found that lie deep in them.
DEEP = {
    "page 5,000": (Reading.taken, "ORDER BY taken, id LIMIT 2 OFFSET 199959"),
    "page 5,000, descending": (Reading.taken.desc(), "ORDER BY taken, id LIMIT 2 OFFSET 1039"),
    "by the key": (Reading.id, "ORDER BY id LIMIT 2 OFFSET 199900"),
}
VALUES = "WHERE weight IS NOT NULL ORDER BY weight, id LIMIT 2 OFFSET 70000"
NULLS = "WHERE weight IS NULL ORDER BY id LIMIT 2 OFFSET 40000"
for _direction in (Reading.weight, Reading.weight.desc()):
    for _order in (_direction, _direction.nulls_first(), _direction.nulls_last()):
        DEEP |= {f"{_order}, values": (_order, VALUES), f"{_order}, NULLs": (_order, NULLS)}


def seconds(query: Query[Any], **options: Any) -> float:
    """Return how long a page takes."""
    session.expunge_all()
    started = perf_counter()
    page = query.cursor(limit=40, **options)
    took = perf_counter() - started
    assert len(page) == 40
    return took


def test_costs_about_the_same_for_page_5000_as_for_page_1(
    statements: list[tuple[str, Any]], database: Database
) -> None:
    with read_only():
        for name, (order, place) in DEEP.items():
            query = Reading.query.order_by(order)
            neighbours = [number for (number,) in database.rows(f"SELECT id FROM reading {place}")]
            cursor = query.filter(Reading.id.in_(neighbours)).cursor(limit=1).next_cursor
            ways: list[dict[str, Any]] = [{}, {"after": cursor}, {"before": cursor}]
            for options in ways:
                seconds(query, **options)
                check_plan(*statements[-1])
            # By turns, so that what else the machine does is no matter.
            rounds = [[seconds(query, **options) for options in ways] for _ in range(15)]
            first, after, before = (min(costs) for costs in zip(*rounds, strict=True))
            assert max(after, before) < DEARER * first, (name, first, after, before)


def check_plan(statement: str, parameters: Any) -> None:
    """Check that a statement reads along an index, and sorts nothing."""
    connection = session.connection()
    explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
    rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
    plan = "\n".join(str(tuple(row)) for row in rows)
    by_key = ("reading_pkey", "PRIMARY", "'SCAN reading'")  # SQLite keeps a table by its key
    assert any(name in plan for name in ("ix_reading_", *by_key)), plan
    assert not any(word in plan.lower() for word in ("sort", "temp b-tree", "seq scan")), plan
