"""Values of every type as positions: none is rounded, so that no row is repeated or left out."""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from itertools import islice
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import (
    ARRAY,
    JSON,
    BigInteger,
    Boolean,
    Date,
    DateTime,
    Double,
    Engine,
    Enum,
    Float,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Text,
    Time,
    Uuid,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.dialects.mysql import BIGINT, DATETIME
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from activebase import MyBase, Query, configure, session, unit_of_work
from tests.core import on_mariadb, on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Mood(enum.Enum):
    sleepy = "z"
    awake = "a"
    bored = "m"


class Level(enum.IntEnum):
    low = 1
    high = 2


@dataclass(frozen=True)
class Money:
    """What a cursor would not know how to hold."""

    cents: int


class Cents(TypeDecorator[Money]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Money | None, dialect: Any) -> int | None:
        return value and value.cents

    def process_result_value(self, value: int | None, dialect: Any) -> Money | None:
        return None if value is None else Money(value)


class Rounded(TypeDecorator[float]):
    """Shows less than it stores."""

    impl = Double
    cache_ok = True

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value if value is None else round(value)


UUIDS = [
    "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
    "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
]
DAY = datetime(2024, 2, 29, 12)
EAST = timezone(timedelta(hours=5, minutes=30))
PRECISE = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")

#: By name: a type, and values of it, some of which look the same when they are shown.
TYPES: dict[str, tuple[Any, list[Any]]] = {
    "small": (SmallInteger, [-5, 0, 2**15 - 1]),
    "integer": (Integer, [-(2**31), 0, 2**31 - 1]),
    "big": (BigInteger, [-(2**63), 0, 2**53 + 1, 2**63 - 1]),
    "text": (Text, ["", "a", "ab", "é", "'; DROP TABLE x --", '%_\\"\n', "日本", "x" * 900]),
    "string": (String(20), ["", "a", "z"]),
    "boolean": (Boolean, [False, True]),
    "float": (Float, [0.1, 0.2, 1 / 3, -2.5, 16777217.0]),
    "real": (Float(24), [0.1, 0.2, 1 / 3]),
    "double": (Double, [0.1, 0.1 + 2**-55, 1 / 3, 1e300, -1e-300]),
    "numeric": (Numeric(30, 12), [Decimal("0.000000000001"), Decimal(1) / 3, Decimal(10) ** 15]),
    "numeric as float": (
        Numeric(20, 12, asdecimal=False),
        [Decimal("12345678.123456789012"), Decimal("12345678.123456789013"), Decimal("0.1")],
    ),
    "float as decimal": (Float(asdecimal=True), [Decimal("0.1"), Decimal(1) / 3]),
    "huge": (Numeric(40, 0), [Decimal(10) ** 14, Decimal(2) ** 45]),
    "datetime": (PRECISE, [DAY, DAY + timedelta(microseconds=1), DAY - timedelta(days=9)]),
    "aware": (
        DateTime(timezone=True),
        [DAY.replace(tzinfo=UTC), (DAY + timedelta(hours=1)).replace(tzinfo=EAST)],
    ),
    "date": (Date, [DAY.date(), date(1, 1, 2), date(9999, 12, 31)]),
    "time": (Time, [time(0), time(23, 59, 59), time(1, 2, 3)]),
    "interval": (Interval, [timedelta(0), timedelta(days=3, seconds=5), timedelta(seconds=-9)]),
    "uuid": (Uuid, [UUID(text) for text in UUIDS]),
    "uuid as text": (Uuid(as_uuid=False), UUIDS),
    "bytes": (LargeBinary(9), [b"", b"\x00\xff", b"a"]),
    "enum": (Enum(Mood, name="mood"), [*Mood]),
    "enum as text": (Enum(Mood, name="mood_text", native_enum=False), [*Mood]),
    "enum of words": (Enum("x", "a", "m", name="word"), ["x", "a", "m"]),
    "enum of numbers": (Enum(Level, name="level"), [*Level]),
    "decorated": (Cents, [Money(3), Money(-1), Money(0)]),
    "rounded": (Rounded, [1.2, 1.3, 0.6, 1.1]),
}


class Valued(MyBase, DeclarativeBase):
    metadata = MetaData()


def model_of(number: int, kind: Any) -> Any:
    """Return a model with one column of a type."""
    columns = {"id": mapped_column(Integer, primary_key=True), "value": mapped_column(kind)}
    return type(f"Valued{number}", (Valued,), {"__tablename__": f"valued_{number}", **columns})


#: By name of the type: a model, and values to write.
MODELS = {
    name: (model_of(number, kind), values)
    for number, (name, (kind, values)) in enumerate(TYPES.items())
}


class Priced(Valued):
    """Its key is shown as something else than it is."""

    __tablename__ = "priced"

    price: Mapped[Money] = mapped_column(Cents, primary_key=True, autoincrement=False)
    group: Mapped[int]


class Summed(Valued):
    __tablename__ = "summed"

    id: Mapped[int] = mapped_column(primary_key=True)
    group: Mapped[int]
    big: Mapped[int] = mapped_column(BigInteger)
    parts: Mapped[Any] = mapped_column(ARRAY(Integer).with_variant(JSON(), "sqlite", "mariadb"))


@pytest.fixture
def unit(engine: Engine) -> Iterator[None]:
    """An open unit, with the tables."""
    Valued.metadata.create_all(engine)
    with unit_of_work():
        yield


def walk(query: Query[Any]) -> Iterator[Any]:
    """Yield what pages of one give, forwards, then backwards as far as the second to last."""
    page = query.cursor(limit=1)
    yield from page
    while page.next_cursor:
        page = query.cursor(after=page.next_cursor, limit=1)
        yield from page
    while page.prev_cursor:
        page = query.cursor(before=page.prev_cursor, limit=1)
        yield from page


def check(model: Any, terms: Iterable[Any]) -> None:
    """Check that each row is read once in either direction, in the order of the database."""
    (size,) = session.scalars(select(func.count()).select_from(model))
    for term in terms:
        query = model.query.order_by(term)
        found = list(islice(walk(query), 2 * size))
        assert found == [*found[:size], *reversed(found[: size - 1])]
        assert found[:size] == query.cursor(limit=100).items
        assert len({id(record) for record in found}) == size


def test_reads_each_row_once_whatever_the_type_of_its_values(unit: None) -> None:
    for name, (model, values) in MODELS.items():
        rows = [*values, None, *reversed(values), None]
        session.execute(insert(model), [{"value": value} for value in rows])
        try:
            check(model, (model.value, model.value.desc(), model.value.nulls_last()))
            plain = session.scalars(select(model.id).order_by(model.value, model.id)).all()
            page = model.query.order_by("value").cursor(limit=100)
            assert [record.id for record in page] == plain
        except Exception as error:
            error.add_note(f"with values of the type: {name}")
            raise


def test_takes_a_key_from_the_row_where_the_record_shows_another_value(unit: None) -> None:
    session.add_all([Priced(price=Money(cents), group=cents % 2) for cents in range(6)])
    session.flush()
    check(Priced, (Priced.group, Priced.price.desc()))
    page = Priced.query.order_by("group").cursor(limit=4)
    assert [record.price.cents for record in page] == [0, 2, 4, 1]


@on_sqlite
def test_tells_the_spellings_of_one_point_in_time_apart(unit: None) -> None:
    """As CURRENT_TIMESTAMP writes it, as SQLAlchemy does, and with no time at all."""
    model, _ = MODELS["datetime"]
    spellings = ["2024-02-29 12:00:00", "2024-02-29 12:00:00.000000", "2024-02-29T12:00:00"]
    for spelling in spellings * 3:
        session.execute(text("INSERT INTO valued_13 (value) VALUES (:value)"), {"value": spelling})
    assert model.__tablename__ == "valued_13"
    check(model, (model.value, model.value.desc()))
    assert {record.value for record in model.query.all()} == {DAY}


@on_servers  # SQLite's sum() fails there
def test_reads_by_sums_that_outgrow_the_column(unit: None) -> None:
    rows = [{"group": n % 5, "big": 2**62 // (1 + n % 5), "parts": []} for n in range(15)]
    session.execute(insert(Summed), rows)
    total = func.sum(Summed.big).label("total")
    query = Summed.query.with_only_columns(Summed.group, total).group_by(Summed.group)
    query = query.order_by(total.desc())
    found = list(islice(walk(query), 9))
    assert found[:5] == query.all()
    assert found[5:] == [*reversed(found[:4])]


# What can't be a position


@on_postgres
def test_names_the_column_whose_values_a_cursor_can_t_hold(unit: None) -> None:
    session.add_all([Summed(group=1, big=1, parts=[n]) for n in range(3)])
    page = Summed.query.order_by("parts").cursor(limit=2)
    assert [record.parts for record in page] == [[0], [1]]
    message = "ordered by summed.parts, and a cursor can't hold a value of type list"
    with pytest.raises(TypeError, match=message):
        _ = page.next_cursor


@on_servers
def test_names_the_expression_whose_values_are_not_of_its_type(unit: None) -> None:
    session.add_all([Summed(group=n, big=1, parts=[]) for n in range(3)])
    claimed = literal_column("summed.big", Date)
    page = Summed.query.order_by(claimed).cursor(limit=2)
    message = "ordered by summed.big, and its type says date, but a value is of type int: cast"
    with pytest.raises(TypeError, match=message):
        _ = page.next_cursor


# Several databases in one process


@pytest.mark.parametrize(
    "order", [("sqlite", "postgresql", "mariadb"), ("mariadb", "postgresql", "sqlite")]
)
def test_turns_pages_on_one_kind_of_database_after_another(
    request: pytest.FixtureRequest, unconfigured: None, order: tuple[str, ...]
) -> None:
    class Base(MyBase, DeclarativeBase):
        pass

    class Entry(Base):
        __tablename__ = "entry"

        id: Mapped[int] = mapped_column(primary_key=True)
        mood: Mapped[Mood]
        key: Mapped[UUID]
        on: Mapped[bool]
        at: Mapped[time]
        price: Mapped[Decimal] = mapped_column(Numeric(8, 2))

    names = {"sqlite": "sqlite_database", "postgresql": "postgres_database"}
    for name in order:
        database: Database = request.getfixturevalue(names.get(name, f"{name}_database"))
        engine = configure(database.url)
        Base.metadata.create_all(engine)
        with unit_of_work():
            for number, mood in enumerate(Mood):
                Entry(
                    mood=mood,
                    key=UUID(int=number),
                    on=bool(number % 2),
                    at=time(number),
                    price=Decimal(number) / 4,
                ).save()
            for column in ("mood", "key", "on", "at", "price"):
                query = Entry.query.order_by(column)
                assert list(islice(walk(query), 3)) == query.all(), (name, column)
        engine.dispose()


# What only MySQL and MariaDB have


@on_mariadb
def test_knows_whole_numbers_without_a_sign(engine: Engine) -> None:
    class Base(MyBase, DeclarativeBase):
        pass

    class Hashed(Base):
        __tablename__ = "hashed"

        id: Mapped[int] = mapped_column(BIGINT(unsigned=True), primary_key=True)

    Base.metadata.create_all(engine)
    ids = [1, 2**63 - 1, 2**63 + 1, 2**63 + 5, 2**64 - 1]
    with unit_of_work():
        Hashed.bulk_create([{"id": number} for number in ids])
        for number in ids:
            record = Hashed.query.filter(id=number).one()
            assert (record.id, Hashed.get_by(id=number), Hashed.get(number)) == (
                number,
                record,
                record,
            )
            assert Hashed.query.filter(id__in=[number]).all() == [record]
            assert Hashed.query.filter(id__gt=number).count() == len(ids) - ids.index(number) - 1
            assert list(Hashed.query.in_bulk([number, 2**64])) == [number]
        assert Hashed.query.filter(id__lt=2**64).count() == len(ids)
        assert [record.id for record in islice(walk(Hashed.query), len(ids))] == ids
    Base.metadata.drop_all(engine)
