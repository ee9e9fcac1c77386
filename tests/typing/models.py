"""The models of the samples: one of each form that a model base can have."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
)

from activebase import MyBase, MyModel, UTCDateTime


class Base(MyBase, DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "typed_user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None]
    age: Mapped[int] = mapped_column(default=30)
    active: Mapped[bool] = mapped_column(default=True)
    checked: Mapped[bool | None]
    joined_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    posts: Mapped[list[Post]] = relationship(back_populates="author")

    @hybrid_property
    def next_age(self) -> int:
        return self.age + 1


class Post(Base):
    __tablename__ = "typed_post"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    author_id: Mapped[int] = mapped_column(ForeignKey("typed_user.id"))
    author: Mapped[User] = relationship(back_populates="posts")


class Book(Base):
    __tablename__ = "typed_book"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    kind: Mapped[str]

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "book"}  # noqa: RUF012


class Novel(Book):
    chapters: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "novel"}  # noqa: RUF012


class Note(MyModel):
    """On the ready-made base."""

    __tablename__ = "typed_note"
    __protected__ = frozenset({"pinned"})

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    pinned: Mapped[bool] = mapped_column(default=False)


class DataBase(MyBase, MappedAsDataclass, DeclarativeBase):
    pass


class Point(DataBase):
    """A dataclass, so that the checkers know its constructor."""

    __tablename__ = "typed_point"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    x: Mapped[int]
    y: Mapped[int] = mapped_column(default=0)


class Elsewhere(MyBase, DeclarativeBase):
    """For a database of its own."""

    session = scoped_session(sessionmaker())


class Reading(Elsewhere):
    __tablename__ = "typed_reading"

    id: Mapped[int] = mapped_column(primary_key=True)
