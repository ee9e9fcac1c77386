"""Lookups that an index serves, as the database itself says it."""

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import DateTime, Engine, ForeignKey, Index, MetaData, String, event, func, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from activebase import MyBase, unit_of_work
from tests.core import on_postgres
from tests.databases import EACH, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Indexed(MyBase, DeclarativeBase):
    metadata = MetaData()


class Shelf(Indexed):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)


class Item(Indexed):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(String(50), index=True)
    number: Mapped[int] = mapped_column(index=True)
    made: Mapped[Any] = mapped_column(DateTime, index=True)
    aware: Mapped[Any] = mapped_column(DateTime(timezone=True), index=True)
    shelf_id: Mapped[int] = mapped_column(ForeignKey("shelf.id"), index=True)
    shelf: Mapped[Shelf] = relationship(backref="items")
    note: Mapped[str | None] = mapped_column(String(50))


# PostgreSQL: for LIKE 'x%' where the collation is not C. It serves equality, too.
Index("code_pattern", Item.code, postgresql_ops={"code": "text_pattern_ops"})
Index("code_lower", func.lower(Item.code)).ddl_if(dialect="postgresql")


@pytest.fixture
def items(engine: Engine) -> None:
    """Enough rows that reading all of them costs more."""
    Indexed.metadata.create_all(engine)
    with unit_of_work():
        Item.session.execute(insert(Shelf), [{"id": n} for n in range(1, 101)])
        Item.session.execute(insert(Item), [_row(n) for n in range(4000)])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        of_tables = " TABLE item, shelf" if engine.dialect.name == "mariadb" else ""
        connection.exec_driver_sql(f"ANALYZE{of_tables}").close()


def _row(number: int) -> dict[str, Any]:
    moment = f"{1000 + number // 2:04}-06-15 12:00:00"
    return {
        "code": f"code{number:05}",
        "number": number,
        "made": datetime.fromisoformat(moment),
        "aware": datetime.fromisoformat(f"{moment}+00:00"),
        "shelf_id": number % 100 + 1,
    }


def plan(engine: Engine, query: Any) -> str:
    """Return how the database would run a query, with the values that it would be given."""
    sent: list[tuple[str, Any]] = []

    def note(conn: Any, cursor: Any, sql: str, given: Any, context: Any, many: Any) -> None:
        sent.append((sql, given))

    event.listen(engine, "before_cursor_execute", note)
    try:
        query.all()
    finally:
        event.remove(engine, "before_cursor_execute", note)
    sql, given = sent[-1]
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    rows = Item.session.connection().exec_driver_sql(explain + sql, given).all()
    return "\n".join(str(row) for row in rows)


def is_served(engine: Engine, said: str) -> bool:
    """Tell whether no table is read from end to end."""
    if engine.dialect.name == "sqlite":
        return "SEARCH" in said and "SCAN" not in said
    if engine.dialect.name == "postgresql":
        return "Index" in said and "Seq Scan" not in said
    return "'ALL'" not in said and "'index'" not in said  # the column "type": every row of it


SERVED = {
    "exact": {"code": "code00042"},
    "in": {"code__in": ["code00042", "code00043"]},
    "startswith": {"code__startswith": "code0004"},
    "range": {"number__range": (10, 20)},
    "gte": {"number__gte": 3990},
    "float": {"number__lt": 10.5},
    "year": {"made__year": 2026},
    "year gte": {"made__year__gte": 2990},
    "year range": {"made__year__range": (2000, 2003)},
    "aware year": {"aware__year": 2026},
    "relation": {"shelf": 7},
    "relation's key": {"shelf__id": 7},
    "relation's keys": {"shelf__in": [7, 8]},
    "pk": {"pk": 7},
    "pk in": {"pk__in": [7, 8]},
}


def test_is_served_by_an_index(items: None, engine: Engine) -> None:
    unserved = {}
    with unit_of_work(read_only=True):
        for name, lookups in SERVED.items():
            if engine.dialect.name == "postgresql" and name == "float":
                continue  # a float and an integer have no index in common there
            for query in (Item.query.filter(**lookups), Item.query.filter(Item.q(**lookups))):
                said = plan(engine, query)
                if not is_served(engine, said):
                    unserved[name] = said
    assert unserved == {}


@on_postgres
def test_is_served_by_an_index_on_lower(items: None, engine: Engine) -> None:
    with unit_of_work(read_only=True):
        assert "code_lower" in plan(engine, Item.query.filter(code__iexact="CODE00042"))


def test_is_not_served_where_none_can(items: None, engine: Engine) -> None:
    """That the plans are read rightly: these read it all."""
    with unit_of_work(read_only=True):
        for lookups in ({"note": "x"}, {"code__endswith": "2"}, {"made__month": 6}):
            assert not is_served(engine, plan(engine, Item.query.filter(**lookups))), lookups
