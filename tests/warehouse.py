"""Models with columns, keys and defaults of every kind, for the tests of bulk statements."""

import enum
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import (
    ARRAY,
    CHAR,
    JSON,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    String,
    TypeDecorator,
    UniqueConstraint,
    func,
    literal_column,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    WriteOnlyMapped,
    column_property,
    mapped_column,
    relationship,
    synonym,
    validates,
)

from activebase import MyBase
from activebase.base import NAMING_CONVENTION
from activebase.mixins import Timestamps


class Warehouse(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(50)}  # noqa: RUF012  # MariaDB wants a length


class Item(Warehouse):
    """A number by the database, one unique name, and defaults by Python."""

    __tablename__ = "item"
    __table_args__ = (CheckConstraint("quantity >= 0", name="not_negative"),)
    __protected__ = frozenset({"is_secret"})

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    quantity: Mapped[int] = mapped_column(default=1)
    note: Mapped[str | None]
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))
    is_secret: Mapped[bool] = mapped_column(default=False)
    shelf: Mapped["Shelf | None"] = relationship(back_populates="items")
    parts: Mapped[list["Part"]] = relationship(back_populates="item")
    title = synonym("name")
    shout = column_property(func.upper(literal_column("'x'")), deferred=True)

    @property
    def doubled(self) -> int:
        return self.quantity * 2

    @doubled.setter
    def doubled(self, value: int) -> None:
        self.quantity = value // 2

    @validates("note")
    def _check_note(self, key: str, note: str | None) -> str | None:
        if note == "refused":
            raise ValueError("refused by the validator")
        return note


class Shelf(Warehouse):
    __tablename__ = "shelf"

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str | None]
    items: Mapped[list[Item]] = relationship(back_populates="shelf")
    crates: WriteOnlyMapped["Crate"] = relationship()


class Crate(Warehouse):
    __tablename__ = "crate"

    id: Mapped[int] = mapped_column(primary_key=True)
    shelf_id: Mapped[int | None] = mapped_column(ForeignKey("shelf.id"))


class Part(Warehouse):
    """A composite key, and attributes that are called otherwise than their columns."""

    __tablename__ = "part"

    serial: Mapped[str] = mapped_column("part_serial", primary_key=True)
    place: Mapped[int] = mapped_column("part_place", primary_key=True, autoincrement=False)
    label: Mapped[str | None] = mapped_column("part_label")
    item_id: Mapped[int | None] = mapped_column("of_item", ForeignKey("item.id"))
    item: Mapped[Item | None] = relationship(back_populates="parts")


class Joint(Warehouse):
    """A foreign key of two columns."""

    __tablename__ = "joint"
    __table_args__ = (
        ForeignKeyConstraint(["serial", "place"], ["part.part_serial", "part.part_place"]),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    serial: Mapped[str | None]
    place: Mapped[int | None]
    part: Mapped[Part | None] = relationship()


class Account(Warehouse):
    """Two unique keys, one of two columns."""

    __tablename__ = "account"
    __table_args__ = (UniqueConstraint("region", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    region: Mapped[str | None]
    number: Mapped[int | None]
    balance: Mapped[int] = mapped_column(default=0)


def _code_of(context: Any) -> str:
    return f"code of {context.get_current_parameters()['name']}"


def _from_database(context: Any) -> int:
    found: int = context.connection.exec_driver_sql("SELECT 40 + 2").scalar_one()
    return found


class Defaults(Warehouse):
    """Every way to find the value of a column."""

    __tablename__ = "defaults"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    scalar: Mapped[str | None] = mapped_column(default="scalar")
    called: Mapped[str | None] = mapped_column(default=lambda: uuid4().hex)
    of_row: Mapped[str | None] = mapped_column(default=_code_of)
    in_sql: Mapped[str | None] = mapped_column(default=func.lower("IN SQL"))
    of_server: Mapped[str | None] = mapped_column(server_default="server")
    changed: Mapped[str | None] = mapped_column(default="new", onupdate=lambda: "changed")
    changed_in_sql: Mapped[str | None] = mapped_column(onupdate=func.lower("CHANGED IN SQL"))


class Contextual(Warehouse):
    """A default that needs the connection."""

    __tablename__ = "contextual"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    answer: Mapped[int | None] = mapped_column(default=_from_database, onupdate=_from_database)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Reversed(TypeDecorator[str]):
    """Text that is stored backwards."""

    impl = String(50)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value[::-1]

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else value[::-1]


class Everything(Warehouse):
    """A column of every type."""

    __tablename__ = "everything"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    text: Mapped[str | None] = mapped_column(String(200))
    number: Mapped[int | None]
    ratio: Mapped[float | None] = mapped_column(Float(53))
    price: Mapped[Decimal | None] = mapped_column(Numeric(12, 2))
    flag: Mapped[bool | None]
    day: Mapped[date | None]
    moment: Mapped[datetime | None]
    hour: Mapped[time | None]
    period: Mapped[timedelta | None]
    uid: Mapped[UUID | None]
    color: Mapped[Color | None] = mapped_column(Enum(Color))
    word: Mapped[Color | None] = mapped_column(Enum(Color, native_enum=False, length=10))
    data: Mapped[Any | None] = mapped_column(JSON)
    plain_data: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    bytes_: Mapped[bytes | None] = mapped_column("octets", LargeBinary)
    backwards: Mapped[str | None] = mapped_column(Reversed)


class Lists(Warehouse):
    """Types that only PostgreSQL has; elsewhere there is no such table."""

    __tablename__ = "lists"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    moment: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    naive: Mapped[datetime | None]
    numbers: Mapped[list[Any] | None] = mapped_column(ARRAY(Integer))
    words: Mapped[list[str] | None] = mapped_column(ARRAY(String))


class Padded(Warehouse):
    """A key that the database fills up with blanks."""

    __tablename__ = "padded"

    code: Mapped[str] = mapped_column(CHAR(3), primary_key=True)
    note: Mapped[str | None]


class Tag(Warehouse):
    """A key that Python makes."""

    __tablename__ = "tag"

    id: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    word: Mapped[str] = mapped_column(unique=True)
    uses: Mapped[int] = mapped_column(default=0)


class Page(Warehouse):
    """A version counter."""

    __tablename__ = "page"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    body: Mapped[str | None]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads a plain dict


class Article(Timestamps, Warehouse):
    """Times of creation and change."""

    __tablename__ = "article"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    body: Mapped[str | None]


class Seat(Warehouse):
    """Unique among those that are taken."""

    __tablename__ = "seat"

    id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column()
    holder: Mapped[str | None]
    freed: Mapped[int | None] = mapped_column()

    __table_args__ = (
        Index(
            "ix_seat_taken",
            number,
            unique=True,
            sqlite_where=freed.is_(None),
            postgresql_where=freed.is_(None),
        ),
    )


class Vehicle(Warehouse):
    """One table for a tree of classes."""

    __tablename__ = "vehicle"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str | None]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "vehicle"}  # noqa: RUF012


class Truck(Vehicle):
    weight: Mapped[int | None]
    axles: Mapped[int | None] = mapped_column(default=2)

    __mapper_args__ = {"polymorphic_identity": "truck"}  # noqa: RUF012


class Person(Warehouse):
    """One table for each class."""

    __tablename__ = "person"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    nick: Mapped[str | None] = mapped_column(default="nick")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "person"}  # noqa: RUF012


class Manager(Person):
    __tablename__ = "manager"

    id: Mapped[int] = mapped_column(ForeignKey("person.id"), primary_key=True)
    level: Mapped[int] = mapped_column(default=3)
    title: Mapped[str | None]

    __mapper_args__ = {"polymorphic_identity": "manager"}  # noqa: RUF012


class Point(MappedAsDataclass, Warehouse, kw_only=True):
    __tablename__ = "point"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    x: Mapped[int]
    y: Mapped[int] = mapped_column(default=7)
    made: Mapped[datetime | None] = mapped_column(
        insert_default=lambda: datetime(2026, 1, 2), init=False
    )
    note: Mapped[str | None] = mapped_column(default=None)


class Sent:
    """The statements that an engine sends, SET TRANSACTION and the like left out."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def forget(self) -> None:
        """Begin anew."""
        self.statements.clear()

    def note(self, conn: Any, cursor: Any, statement: str, *others: Any) -> None:
        """Listen to `before_cursor_execute`."""
        self.statements.append(statement)

    def starting(self, word: str) -> list[str]:
        """Return the statements that begin with a word."""
        return [statement for statement in self.statements if statement.startswith(word)]
