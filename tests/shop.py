"""A model with a rule of every kind, for the tests of errors."""

from sqlalchemy import CheckConstraint, ForeignKey, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase
from activebase.base import NAMING_CONVENTION


class Shop(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Shelf(Shop):
    __tablename__ = "shop_shelf"
    __table_args__ = (
        UniqueConstraint("hall", "row"),
        Index("ix_one_label", "label", unique=True),
        CheckConstraint("height > 0", name="positive_height"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    hall: Mapped[int]
    row: Mapped[int]
    label: Mapped[str | None] = mapped_column(String(10))
    height: Mapped[int] = mapped_column(default=1)
    above_id: Mapped[int | None] = mapped_column(ForeignKey("shop_shelf.id"))
