"""`with_loader_criteria()` on a query holds for all that is made from the query."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, ForeignKey, String, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.orm import with_loader_criteria as only_where

from activebase import MyBase, unit_of_work
from activebase.query import Query
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Base(MyBase, DeclarativeBase):
    type_annotation_map = {str: String(50)}  # noqa: RUF012  # MariaDB wants a length


class House(Base):
    __tablename__ = "house"

    id: Mapped[int] = mapped_column(primary_key=True)
    street: Mapped[str]


class Tenant(Base):
    __tablename__ = "tenant"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int]
    name: Mapped[str]
    house_id: Mapped[int] = mapped_column(ForeignKey("house.id"))
    house: Mapped[House] = relationship()


@pytest.fixture
def tenants(engine: Engine) -> Iterator[None]:
    """Tenants 1 to 5 of the owners 1, 1, 2, 2, 3."""
    Base.metadata.create_all(engine)
    with unit_of_work():
        house = House(street="Main").save()
        for owner in (1, 1, 2, 2, 3):
            Tenant(owner=owner, name="x", house=house).save()
    yield
    Base.metadata.drop_all(engine)


def of_second() -> Query[Tenant]:
    return Tenant.query.options(only_where(Tenant, Tenant.owner == 2))


@pytest.mark.usefixtures("tenants")
def test_reads_the_same_rows_whatever_is_asked() -> None:
    with unit_of_work(read_only=True):
        query, number = of_second(), func.count()
        assert [each.id for each in query.order_by("id").all()] == [3, 4]
        assert [each.id for each in query.iterate()] == [3, 4]
        assert query.pluck("id") == [3, 4]
        assert query.values("id") == [{"id": 3}, {"id": 4}]
        assert query.count() == query.limit(5).count() == query.distinct().count() == 2
        assert query.aggregate(n=number) == query.limit(5).aggregate(n=number) == {"n": 2}
        assert query.any()
        assert not query.filter(owner=1).any()
        assert query.paginate(per_page=1).total == 2
        assert list(query.in_bulk(range(6))) == [3, 4]
        assert query.get(1) is None
        found: Any = query.last()
        assert found.id == 4


@pytest.mark.usefixtures("tenants")
def test_turns_pages_among_those_rows() -> None:
    with unit_of_work(read_only=True):
        first = of_second().order_by("id").cursor(limit=1)
        second = of_second().order_by("id").cursor(limit=1, after=first.next_cursor)
        assert [[each.id for each in page] for page in (first, second)] == [[3], [4]]
        assert (first.has_prev, first.has_next) == (False, True)
        assert (second.has_prev, second.has_next) == (True, False)


@pytest.mark.usefixtures("tenants")
def test_writes_no_other_rows(database: Database) -> None:
    joined = of_second().join(Tenant.house).filter(house__street="Main")
    for query in (of_second(), joined):
        with unit_of_work():
            assert query.update(name="y") == 2
        assert database.rows("SELECT id FROM tenant WHERE name = 'y' ORDER BY id") == [(3,), (4,)]
        with unit_of_work():
            query.update(name="x")
    with unit_of_work():
        assert joined.filter(id=3).delete() == 1
        assert of_second().delete() == 1
    assert database.rows("SELECT id FROM tenant ORDER BY id") == [(1,), (2,), (5,)]
