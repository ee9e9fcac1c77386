"""Models with unique columns, and who else might insert their rows: for get_or_create()."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import ForeignKey, MetaData, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from activebase import MyBase
from activebase.base import NAMING_CONVENTION
from activebase.mixins import SoftDelete
from tests.databases import Database

EITHER = pytest.mark.parametrize("verb", ["get_or_create", "update_or_create"])


class Goods(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(100)}  # noqa: RUF012  # MariaDB wants a length


class Maker(Goods):
    __tablename__ = "maker"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    articles: Mapped[list["Article"]] = relationship(back_populates="maker")


class Article(Goods):
    """An article, and below it one with a table of its own, which every query joins."""

    __tablename__ = "article"
    __mapper_args__ = {  # noqa: RUF012  # SQLAlchemy reads a plain dict
        "polymorphic_on": "kind",
        "polymorphic_identity": "article",
        "with_polymorphic": "*",
    }

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    sku: Mapped[str] = mapped_column(unique=True)
    barcode: Mapped[str | None] = mapped_column(unique=True)
    price: Mapped[int] = mapped_column(default=0)
    defaults: Mapped[str | None]
    maker_id: Mapped[int | None] = mapped_column(ForeignKey("maker.id"))
    maker: Mapped[Maker | None] = relationship(back_populates="articles", lazy="joined")
    parts: Mapped[list["Part"]] = relationship(back_populates="article")


class Machine(Article):
    __tablename__ = "machine"
    __mapper_args__ = {"polymorphic_identity": "machine"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("article.id"), primary_key=True)
    watts: Mapped[int | None]


class Part(Goods):
    __tablename__ = "part"

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int | None] = mapped_column(ForeignKey("article.id"))
    article: Mapped[Article | None] = relationship(back_populates="parts")


class Coupon(SoftDelete, Goods):
    __tablename__ = "coupon"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(unique=True)


def articles(database: Database) -> list[tuple[Any, ...]]:
    """Return what is committed."""
    return database.rows("SELECT sku, price FROM article ORDER BY id")


def steal(database: Database, sku: str = "lamp") -> int:
    """Insert the row that is about to be made, from outside; return a price for the other one."""
    database.execute(f"INSERT INTO article (kind, sku, price) VALUES ('article', '{sku}', 9)")
    return 5


def ask(verb: str, price: Callable[[], int]) -> tuple[Article, bool]:
    """Ask for the lamp; what is given is called between the look for it and the insert."""
    if verb == "get_or_create":
        return Article.get_or_create(sku="lamp", defaults={"price": price})
    return Article.update_or_create(sku="lamp", create_defaults={"price": price})


def counted(calls: list[int], price: Callable[[], int]) -> Callable[[], int]:
    """Return the function, so that a list grows with each call."""

    def call() -> int:
        calls.append(1)
        return price()

    return call
