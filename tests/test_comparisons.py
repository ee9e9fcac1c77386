"""Conditions made of a pattern are what SQLAlchemy makes of the same column and value."""

import logging
import operator
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Engine,
    Integer,
    MetaData,
    String,
    TypeDecorator,
    func,
    select,
    union,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    ColumnProperty,
    DeclarativeBase,
    Mapped,
    aliased,
    column_property,
    mapped_column,
)

from activebase import MyBase, configure, unit_of_work
from activebase.comparisons import compared
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Colour(Enum):
    RED = 1


class WithoutCase(ColumnProperty.Comparator[str]):
    def __eq__(self, other: object) -> ColumnElement[bool]:  # type: ignore[override]
        return func.lower(self.__clause_element__()) == str(other).lower()


class Folded(String):
    class comparator_factory(String.Comparator[str]):  # noqa: N801  # as SQLAlchemy calls it
        def __eq__(self, other: object) -> ColumnElement[bool]:  # type: ignore[override]
            return func.lower(self.expr) == str(other).lower()


class Reversed(TypeDecorator[str]):
    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return value and value[::-1]

    def process_result_value(self, value: Any, dialect: object) -> Any:
        return value and value[::-1]


class Loose(TypeDecorator[str]):
    """Text that is compared with some values as another type."""

    impl = String(50)
    cache_ok = True

    def coerce_compared_value(self, op: Any, value: Any) -> Any:
        return Wrapped() if str(value).startswith("<") else self


class Wrapped(TypeDecorator[str]):
    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: object) -> Any:
        return value and value.strip("<>")


class Compared(MyBase, DeclarativeBase):
    metadata = MetaData()
    type_annotation_map = {str: String(50)}  # noqa: RUF012  # MariaDB wants a length


class Thing(Compared):
    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    size: Mapped[int | None]
    done: Mapped[bool] = mapped_column(default=False)
    made: Mapped[datetime | None] = mapped_column(DateTime)
    seen: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[date | None]
    code: Mapped[UUID | None]
    price: Mapped[Decimal | None]
    weight: Mapped[float | None]
    raw: Mapped[bytes | None]
    colour: Mapped[Colour | None]
    caseless: Mapped[str | None] = mapped_column(String(50))
    folded: Mapped[str | None] = mapped_column(Folded(50))
    backwards: Mapped[str | None] = mapped_column(Reversed)
    loose: Mapped[str | None] = mapped_column(Loose)
    twice: Mapped[int] = column_property(id + id)

    @hybrid_property
    def is_big(self) -> bool:
        return bool(self.size and self.size > 9)

    @is_big.inplace.expression
    @classmethod
    def _is_big(cls) -> ColumnElement[bool]:
        return cls.size > 9


class Nickname(Compared):
    __table__ = Thing.__table__
    caseless = column_property(Thing.__table__.c.caseless, comparator_factory=WithoutCase)


@pytest.fixture
def things(engine: Engine) -> Iterator[None]:
    Compared.metadata.create_all(engine)
    with unit_of_work():
        for number in range(1, 4):
            Thing(
                name=f"thing {number}", size=number, folded="Ab", backwards="xy", loose="7"
            ).save()
        Nickname(name="nick", caseless="McX").save()
    yield
    Compared.metadata.drop_all(engine)


VALUES = [
    ("name", "x"),
    ("name", "%_\\'"),
    ("size", 7),
    ("size", -(2**31) + 1),
    ("day", date(2026, 2, 28)),
    ("made", datetime(2026, 2, 28, 12)),
    ("code", UUID(int=7)),
    ("raw", b"\0x"),
]
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "exact": operator.eq,
    "ne": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@pytest.mark.parametrize("name", COMPARE)
@pytest.mark.parametrize(("attribute", "value"), VALUES)
def test_is_what_sqlalchemy_makes(attribute: str, value: Any, name: str) -> None:
    made = compared(Thing, f"{attribute}__{name}", value)
    by_hand = COMPARE[name](getattr(Thing, attribute), value)
    assert made is not None
    assert made.compare(by_hand)
    assert (~made).compare(~by_hand)
    assert made.type is by_hand.type
    statement, other = select(Thing).where(made).compile(), select(Thing).where(by_hand).compile()
    assert (str(statement), statement.params) == (str(other), other.params)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", True),
        ("size", 3.5),
        ("size", "7"),
        ("size", 2**40),
        ("size", None),
        ("size", Thing.id),
        ("name", 7),
        ("done", True),
        ("made", datetime(2026, 1, 1, tzinfo=UTC)),
        ("made", date(2026, 1, 1)),
        ("day", datetime(2026, 1, 1)),
        ("seen", datetime(2026, 1, 1)),
        ("price", Decimal("1.50")),
        ("weight", 0.5),
        ("colour", Colour.RED),
        ("twice", "4"),
        ("is_big", True),
        ("backwards", "x"),
        ("folded", "x"),
        ("made__year", 2026),
        ("name__contains", "x"),
        ("size__in", [1]),
        ("size__range", (1, 2)),
        ("size__isnull", True),
    ],
)
def test_leaves_all_that_takes_a_look_at_the_value(key: str, value: Any) -> None:
    assert compared(Thing, key, value) is None


def test_leaves_comparators_and_types_of_the_user_s_own(things: None) -> None:
    assert compared(Nickname, "caseless", "mcx") is None
    with unit_of_work():
        assert Nickname.query.filter(caseless="MCX").count() == 1
        assert Nickname.get_by(caseless="MCX") is not None
        assert Thing.query.filter(folded="AB").count() == 3
        assert Thing.get_by(folded="AB") is not None
        assert Thing.query.filter(backwards="xy").count() == 3
        assert Thing.get_by(backwards="xy") is not None
        assert Thing.query.filter(loose="<7>").count() == 3
        assert Thing.get_by(loose="<7>") is not None


def test_keeps_the_values_of_queries_of_one_shape_apart(things: None) -> None:
    one, two = Thing.query.filter(name="thing 1"), Thing.query.filter(name="thing 2")
    with unit_of_work() as unit:
        both = select(Thing).from_statement(union(one, two).order_by("id"))
        assert [thing.size for thing in unit.session.scalars(both)] == [1, 2]
        among = Thing.query.where(Thing.id.in_(one.with_only_columns(Thing.id)))
        assert among.filter(name="thing 2").all() == []
        other = aliased(Thing, one.subquery())
        assert unit.session.scalars(select(other.size)).all() == [1]


def test_shares_its_cached_sql_with_what_is_written_by_hand(
    sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    engine = configure(sqlite_database.url, echo=True)
    try:
        Compared.metadata.create_all(engine)
        with unit_of_work(), caplog.at_level(logging.INFO, "sqlalchemy.engine"):
            caplog.clear()
            Thing.query.where(Thing.size == 4).all()
            Thing.query.filter(size=5).all()
            Thing.query.filter(size=6).all()
        notes = [said.partition(" ")[0] for said in caplog.messages if said[0] == "["]
        assert notes == ["[generated", "[cached", "[cached"]
    finally:
        engine.dispose()


def test_takes_the_type_of_the_column_for_the_value() -> None:
    made = compared(Thing, "size", 7)
    assert made is not None
    assert isinstance(made.right.type, Integer)
