"""Models with all that SQLAlchemy offers, for the tests of records and queries."""

from dataclasses import InitVar
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, MetaData, String, func
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    relationship,
    validates,
)

from activebase import MyBase
from activebase.base import NAMING_CONVENTION


class Library(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(200)}  # noqa: RUF012  # MariaDB wants a length


class Author(Library):
    __tablename__ = "author"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    books: Mapped[list["Book"]] = relationship(back_populates="author")
    tags: Mapped[list["Tag"]] = relationship(back_populates="author")

    @hybrid_property
    def initial(self) -> str:
        return self.name[:1]

    @initial.inplace.setter
    def _set_initial(self, letter: str) -> None:
        self.name = letter + (self.name or "")[1:]

    @initial.inplace.expression
    @classmethod
    def _initial_in_sql(cls) -> Any:
        return func.substr(cls.name, 1, 1)

    @hybrid_property
    def length(self) -> int:
        """A hybrid that only works for a record: no database can take Python's len()."""
        return len(self.name)

    @property
    def motto(self) -> str:
        return self.mottos[-1] if self.mottos else ""

    @motto.setter
    def motto(self, words: str) -> None:
        self.mottos = [*self.mottos, words] if words else self.mottos[:-1]

    mottos: tuple[str, ...] | list[str] = ()

    @property
    def shout(self) -> str:
        return self.name.upper()

    @validates("name")
    def _check_name(self, key: str, name: str) -> str:
        if not name:
            raise ValueError("a name is needed")
        return name


class Book(Library):
    __tablename__ = "book"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    title: Mapped[str]
    year: Mapped[int | None]
    shelfmark: Mapped[str | None]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author | None] = relationship(back_populates="books")

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "book"}  # noqa: RUF012

    @validates("year")
    def _check_year(self, key: str, year: int | None) -> int | None:
        if year is not None and year < 0:
            raise ValueError("a year is positive")
        return year


class Novel(Book):
    chapters: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "novel"}  # noqa: RUF012


class Tag(Library):
    __tablename__ = "tag"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str]
    author_id: Mapped[int | None] = mapped_column(ForeignKey("author.id"))
    author: Mapped[Author | None] = relationship(back_populates="tags")


class Copy(Library):
    __tablename__ = "copy"
    __table_args__ = (CheckConstraint("number > 0", name="counted_from_one"),)

    shelf: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Loan(MappedAsDataclass, Library, kw_only=True):
    __tablename__ = "loan"
    __table_args__ = (ForeignKeyConstraint(["shelf", "number"], ["copy.shelf", "copy.number"]),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    shelf: Mapped[int | None] = mapped_column(default=None)
    number: Mapped[int | None] = mapped_column(default=None)
    note: Mapped[str | None] = mapped_column(default=None)
    days: Mapped[int] = mapped_column(default=14)
    urgent: InitVar[bool] = False

    def __post_init__(self, urgent: bool) -> None:
        if urgent:
            self.days = 1


class Secret(Library):
    __tablename__ = "secret"
    __protected__ = frozenset({"is_admin"})

    id: Mapped[int] = mapped_column(primary_key=True)
    label: Mapped[str]
    is_admin: Mapped[bool] = mapped_column(default=False)
    body: Mapped[str | None] = mapped_column(deferred=True)
