"""The tables, as activebase has them: every type of column and every kind of relation."""

from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Numeric,
    String,
    Table,
    Time,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from activebase import MyBase

#: With microseconds, which MariaDB's plain DATETIME and TIME drop.
_NAIVE = DateTime().with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_AWARE = DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
_TIME = Time().with_variant(mysql.TIME(fsp=6), "mysql", "mariadb")


class Twin(MyBase, DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy reads a plain dict
        str: String(200),
        float: Double(),
        Decimal: Numeric(10, 2),
        time: _TIME,
    }


book_tag = Table(
    "twin_book_tag",
    Twin.metadata,
    Column("book_id", ForeignKey("twin_book.id"), primary_key=True),
    Column("tag_id", ForeignKey("twin_tag.id"), primary_key=True, index=True),
)


class Publisher(Twin):
    __tablename__ = "twin_publisher"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    founded: Mapped[int | None]
    authors: Mapped[list["Author"]] = relationship(back_populates="publisher")
    books: Mapped[list["Book"]] = relationship(back_populates="publisher")


class Author(Twin):
    __tablename__ = "twin_author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    bio: Mapped[str | None]
    born: Mapped[date | None]
    publisher_id: Mapped[int | None] = mapped_column(ForeignKey("twin_publisher.id"), index=True)
    mentor_id: Mapped[int | None] = mapped_column(ForeignKey("twin_author.id"), index=True)
    publisher: Mapped[Publisher | None] = relationship(back_populates="authors")
    mentor: Mapped["Author | None"] = relationship(back_populates="pupils", remote_side=id)
    pupils: Mapped[list["Author"]] = relationship(back_populates="mentor")
    profile: Mapped["Profile | None"] = relationship(back_populates="author")
    books: Mapped[list["Book"]] = relationship(back_populates="author")


class Profile(Twin):
    __tablename__ = "twin_profile"

    id: Mapped[int] = mapped_column(primary_key=True)
    nick: Mapped[str | None]
    public: Mapped[bool | None]
    author_id: Mapped[int] = mapped_column(ForeignKey("twin_author.id"), unique=True)
    author: Mapped[Author] = relationship(back_populates="profile")


class Book(Twin):
    __tablename__ = "twin_book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str | None]
    pages: Mapped[int | None]
    sold: Mapped[int | None] = mapped_column(BigInteger)
    rating: Mapped[float | None]
    price: Mapped[Decimal | None]
    in_print: Mapped[bool | None]
    published: Mapped[date | None]
    noted: Mapped[datetime | None] = mapped_column(_NAIVE)
    moment: Mapped[datetime | None] = mapped_column(_AWARE)
    opens: Mapped[time | None]
    code: Mapped[UUID | None]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("twin_author.id"), index=True)
    publisher_id: Mapped[int] = mapped_column(ForeignKey("twin_publisher.id"), index=True)
    author: Mapped[Author | None] = relationship(back_populates="books")
    publisher: Mapped[Publisher] = relationship(back_populates="books")
    tags: Mapped[list["Tag"]] = relationship(secondary=book_tag, back_populates="books")


class Tag(Twin):
    __tablename__ = "twin_tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]
    books: Mapped[list[Book]] = relationship(secondary=book_tag, back_populates="tags")


MODELS: dict[str, type[Twin]] = {
    model.__name__: model for model in (Publisher, Author, Profile, Book, Tag)
}
