"""The models of everyone who maps with SQLAlchemy, on a declarative base of their own."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from .rows import WIDE_COLUMNS


def models_on(base: type[Any]) -> SimpleNamespace:
    """Return the models as Person, Author, Book, Event, Visit and Wide."""

    class Person(base):
        __tablename__ = "person"

        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(String(100), unique=True)
        name: Mapped[str] = mapped_column(String(100))
        city: Mapped[str] = mapped_column(String(50))
        age: Mapped[int]

    class Author(base):
        __tablename__ = "author"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(String(100))
        books: Mapped[list[Any]] = relationship("Book", order_by="Book.id")

    class Book(base):
        __tablename__ = "book"

        id: Mapped[int] = mapped_column(primary_key=True)
        author_id: Mapped[int] = mapped_column(ForeignKey("author.id"), index=True)
        title: Mapped[str] = mapped_column(String(100))
        year: Mapped[int]

    class Event(base):
        __tablename__ = "event"
        __table_args__ = (Index("ix_event_happened_at_id", "happened_at", "id"),)

        id: Mapped[int] = mapped_column(primary_key=True)
        happened_at: Mapped[datetime]
        amount: Mapped[int]

    class Visit(base):
        __tablename__ = "visit"

        id: Mapped[int] = mapped_column(primary_key=True)
        person_id: Mapped[int] = mapped_column(ForeignKey("person.id"))
        amount: Mapped[int]

    columns = {name: mapped_column() for name in WIDE_COLUMNS}
    types = dict.fromkeys(("id", *WIDE_COLUMNS), Mapped[int])
    body = {"__tablename__": "wide", "__annotations__": types, **columns}
    Wide = type("Wide", (base,), {**body, "id": mapped_column(primary_key=True)})  # noqa: N806
    return SimpleNamespace(
        Person=Person, Author=Author, Book=Book, Event=Event, Visit=Visit, Wide=Wide
    )
