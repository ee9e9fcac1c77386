"""What is found out about a model once is found out anew when the model changes."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, Integer, func, text
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column, relationship

from activebase import MyBase, unit_of_work
from tests.databases import Database

pytest_plugins = ["tests.core_fixtures"]


def models(engine: Engine) -> tuple[Any, Any]:
    """Return two models of which everything has been found out once, and then changed.

    Row 1 is there, and has got a column.
    """

    class Base(MyBase, DeclarativeBase):
        pass

    class Shelf(Base):
        __tablename__ = "shelf"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str | None]

    class Jar(Base):
        __tablename__ = "jar"

        id: Mapped[int] = mapped_column(primary_key=True)
        shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))

    shelf: Any = Shelf
    Base.metadata.create_all(engine)
    with unit_of_work():
        record = shelf.create(name="x")
        record.update(name="y")
        shelf.bulk_create([{"name": "z"}])
        shelf.bulk_update([record], ["name"])
        shelf.query.order_by("name").cursor()
        shelf.query.filter(name="y").values()
        assert shelf.get_by(name="y") is record
        assert shelf.get(1) is record
        shelf.query.filter(name="z").delete()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE shelf ADD COLUMN size INTEGER"))
    shelf.size = mapped_column(Integer)
    shelf.jars = relationship(Jar)
    shelf.shout = column_property(func.upper(Shelf.name))
    return shelf, Jar


USES: dict[str, Callable[[Any, Any], object]] = {
    "create": lambda shelf, jar: shelf.create(size=3),
    "update": lambda shelf, jar: shelf.get(1).update(size=3),
    "related": lambda shelf, jar: shelf.get(1).update(size=3, jars=[jar()]),
    "bulk create": lambda shelf, jar: shelf.bulk_create([{"size": 3}]),
    "bulk update": lambda shelf, jar: shelf.bulk_update([{"id": 1, "size": 3}], ["size"]),
    "dml": lambda shelf, jar: shelf.query.filter(shout="Y").update(size=3),
}


@pytest.mark.parametrize("use", USES)
def test_writes_attributes_that_came_later(engine: Engine, database: Database, use: str) -> None:
    shelf, jar = models(engine)
    with unit_of_work():
        USES[use](shelf, jar)
    assert database.rows("SELECT count(*) FROM shelf WHERE size = 3") == [(1,)]
    assert database.rows("SELECT count(*) FROM jar") == [(int(use == "related"),)]


def test_finds_attributes_that_came_later(engine: Engine) -> None:
    shelf, jar = models(engine)
    with unit_of_work():
        record = shelf.get(1).update(size=3, jars=[jar()])
        assert shelf.get_by(size=3) is record
        assert shelf.query.filter(jars__id=1, shout="Y").order_by("-size").all() == [record]
        assert shelf.query.with_related("jars").cursor().items == [record]
        assert shelf.query.values() == [{"id": 1, "name": "y", "size": 3, "shout": "Y"}]
        assert record.to_dict() == {"id": 1, "name": "y", "size": 3, "shout": "Y"}
