"""Models with every kind of column, relation and name that a lookup may meet."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    Uuid,
    func,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_method, hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    column_property,
    composite,
    mapped_column,
    relationship,
    synonym,
)

from activebase import MyBase
from activebase.base import NAMING_CONVENTION
from activebase.utc import UTCDateTime


class Catalog(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(200)}  # noqa: RUF012  # MariaDB wants a length


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Slug(TypeDecorator[str]):
    """Text that is stored in lower case."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.lower()


class Cents(TypeDecorator[Decimal]):
    """Money: a Decimal that is stored as a whole number."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Thing(Catalog):
    """One column of every type, all of them nullable."""

    __tablename__ = "thing"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    body: Mapped[str | None] = mapped_column(Text)
    flag: Mapped[bool | None]
    small: Mapped[int | None] = mapped_column(SmallInteger)
    count: Mapped[int | None]
    least: Mapped[int | None]
    big: Mapped[int | None] = mapped_column(BigInteger)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    weight: Mapped[float | None] = mapped_column(Double)
    colour: Mapped[Colour | None]
    size: Mapped[str | None] = mapped_column(Enum("s", "m", "l", name="thing_size"))
    key: Mapped[UUID | None] = mapped_column(Uuid)
    data: Mapped[Any | None] = mapped_column(JSON)
    blob: Mapped[bytes | None] = mapped_column(LargeBinary)
    day: Mapped[date | None]
    at: Mapped[datetime | None]
    moment: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    seen: Mapped[datetime | None] = mapped_column(UTCDateTime)
    clock: Mapped[time | None]
    lasts: Mapped[timedelta | None] = mapped_column(Interval)
    slug: Mapped[str | None] = mapped_column(Slug)
    cost: Mapped[Decimal | None] = mapped_column(Cents)


#: A value for each column of `Thing`, and what is no value of its type.
SAMPLES: dict[str, tuple[Any, list[Any]]] = {
    "name": ("Ada", [1, b"x", True, ["Ada"], object()]),
    "body": ("long", [1, b"x", 1.5, {"a": 1}]),
    "flag": (True, ["yes", 2, -1, 1.5, [], object()]),
    "small": (7, ["seven", "", "1.5", b"7", [7], date(2026, 1, 1), object(), float("nan")]),
    "count": (70, ["1e3", "٣", float("inf"), Decimal("NaN"), Decimal("sNaN"), {}, 1j]),
    "big": (2**40, ["x", "0x10", "1_000", (1,), object()]),
    "price": (Decimal("9.95"), ["cheap", "NaN", "inf", "1,5", Decimal("Infinity"), [1], object()]),
    "weight": (1.5, ["heavy", "nan", float("nan"), float("-inf"), b"1", object()]),
    "colour": (Colour.RED, ["green", "", 1, [], {}, object()]),
    "size": ("s", ["xl", "S", 1, [], {}, object()]),
    "key": (UUID(int=5), ["not-a-uuid", "", 5, b"5", [], object()]),
    "blob": (b"\x00\xff", ["text", 1, [1], object()]),
    "day": (date(2026, 2, 28), ["2026-02-30", "today", 20260228, time(1), object()]),
    "at": (datetime(2026, 2, 28, 12), ["2026-02-30T12:00", "now", 1.5, time(1), object()]),
    "moment": (datetime(2026, 2, 28, 12, tzinfo=UTC), ["yesterday", 0, time(1), object()]),
    "seen": (datetime(2026, 2, 28, 12, tzinfo=UTC), ["yesterday", 0, time(1), object()]),
    "clock": (time(23, 59), ["24:01", "noon", 12, date(2026, 1, 1), object()]),
    "lasts": (timedelta(minutes=90), ["long", "1h", 90, time(1), datetime(2026, 1, 1), object()]),
}


class Odd(Catalog):
    """Names that look like something else."""

    __tablename__ = "odd"

    id: Mapped[int] = mapped_column(primary_key=True)
    pk: Mapped[str | None]
    year: Mapped[int | None]
    date: Mapped[datetime | None]
    in_: Mapped[int | None] = mapped_column("in")
    class_: Mapped[str | None] = mapped_column("class")
    exact: Mapped[str | None]
    param_1: Mapped[int | None]
    name__x: Mapped[str | None] = mapped_column("name_x")
    name: Mapped[str | None]
    from_id: Mapped[int | None] = mapped_column(ForeignKey("odd.id"))
    from_: Mapped[Odd | None] = relationship(remote_side=id, back_populates="to")
    to: Mapped[list[Odd]] = relationship(back_populates="from_")


friendship = Table(
    "friendship",
    Catalog.metadata,
    Column("one_id", ForeignKey("node.id"), primary_key=True),
    Column("other_id", ForeignKey("node.id"), primary_key=True),
)
labelling = Table(
    "labelling",
    Catalog.metadata,
    Column("node_id", ForeignKey("node.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Label(Catalog):
    __tablename__ = "label"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]
    nodes: Mapped[list[Node]] = relationship(secondary=labelling, back_populates="labels")


@dataclass
class Point:
    x: int | None
    y: int | None


class Node(Catalog):
    """A tree with friends across it."""

    __tablename__ = "node"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    rank: Mapped[int | None] = mapped_column()
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("node.id"))
    parent: Mapped[Node | None] = relationship(remote_side=id, back_populates="children")
    children: Mapped[list[Node]] = relationship(back_populates="parent")
    friends: Mapped[list[Node]] = relationship(
        secondary=friendship,
        primaryjoin=lambda: Node.id == friendship.c.one_id,
        secondaryjoin=lambda: Node.id == friendship.c.other_id,
    )
    labels: Mapped[list[Label]] = relationship(secondary=labelling, back_populates="nodes")
    #: A join that asks for more than the key.
    ranked_parent: Mapped[Node | None] = relationship(
        primaryjoin="and_(foreign(Node.parent_id) == remote(Node.id), remote(Node.rank) > 0)",
        viewonly=True,
    )

    title = synonym("name")
    up = synonym("parent")
    x: Mapped[int | None]
    y: Mapped[int | None]
    point: Mapped[Point] = composite("x", "y")
    words: AssociationProxy[list[str]] = association_proxy("labels", "word")
    parent_name: AssociationProxy[str | None] = association_proxy("parent", "name")
    grand_name: AssociationProxy[str | None] = association_proxy("parent", "parent_name")
    doubled: Mapped[int | None] = column_property(rank * 2)

    @hybrid_property
    def initial(self) -> str:
        return self.name[:1]

    @initial.inplace.expression
    @classmethod
    def _initial_in_sql(cls) -> Any:
        return func.substr(cls.name, 1, 1, type_=String())

    @hybrid_property
    def margin(self) -> int | None:
        return None if self.rank is None else self.rank - 1

    @margin.inplace.update_expression
    @classmethod
    def _set_margin(cls, value: Any) -> Any:
        return [(cls.rank, value + 1)]

    @hybrid_property
    def shouted(self) -> str:
        """Works for a record only."""
        return f"{self.name.upper()}!"

    @hybrid_property
    def length(self) -> int:
        """Works for a record only, and says so."""
        return len(self.name)

    @hybrid_method
    def outranks(self, rank: int) -> bool:
        return self.rank is not None and self.rank > rank


class Room(Catalog):
    """A key of two columns."""

    __tablename__ = "room"

    building: Mapped[str] = mapped_column(String(10), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seats: Mapped[int | None]
    desks: Mapped[list[Desk]] = relationship(back_populates="room")


class Desk(Catalog):
    """A foreign key of two columns."""

    __tablename__ = "desk"
    __table_args__ = (
        ForeignKeyConstraint(["room_building", "room_number"], ["room.building", "room.number"]),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    room_building: Mapped[str | None] = mapped_column(String(10))
    room_number: Mapped[int | None]
    room: Mapped[Room | None] = relationship(back_populates="desks")


class Person(Catalog):
    """Joined-table inheritance; a badge has the key of its person."""

    __tablename__ = "person"
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "person",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    name: Mapped[str]
    vehicles: Mapped[list[Vehicle]] = relationship(back_populates="owner")
    badge: Mapped[Badge | None] = relationship(back_populates="person")


class Engineer(Person):
    __tablename__ = "engineer"
    __mapper_args__ = {"polymorphic_identity": "engineer"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    language: Mapped[str | None]
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("engineer.id"))
    lead: Mapped[Engineer | None] = relationship(
        foreign_keys=lead_id, remote_side=id, back_populates="team"
    )
    team: Mapped[list[Engineer]] = relationship(foreign_keys=lead_id, back_populates="lead")


class Badge(Catalog):
    __tablename__ = "badge"

    person_id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    colour: Mapped[str | None]
    person: Mapped[Person] = relationship(back_populates="badge")


class Vehicle(Catalog):
    """Single-table inheritance."""

    __tablename__ = "vehicle"
    __mapper_args__ = {  # noqa: RUF012
        "polymorphic_on": "kind",
        "polymorphic_identity": "vehicle",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    plate: Mapped[str]
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("person.id"))
    owner: Mapped[Person | None] = relationship(back_populates="vehicles")
    towed_by_id: Mapped[int | None] = mapped_column(ForeignKey("vehicle.id"))


class Car(Vehicle):
    __mapper_args__ = {"polymorphic_identity": "car"}  # noqa: RUF012

    doors: Mapped[int | None]


#: To a class that shares its table with others: not every row is one.
Vehicle.towed_by = relationship(Car, remote_side=[Vehicle.id], foreign_keys=[Vehicle.towed_by_id])
Person.cars = relationship(Car, viewonly=True)
