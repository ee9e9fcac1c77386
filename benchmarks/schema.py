"""The tables, and how they are filled before each run."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    insert,
    text,
)

from . import rows

metadata = MetaData()

person = Table(
    "person",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("email", String(100), nullable=False, unique=True),
    Column("name", String(100), nullable=False),
    Column("city", String(50), nullable=False),
    Column("age", Integer, nullable=False),
)
author = Table(
    "author",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(100), nullable=False),
)
book = Table(
    "book",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("author_id", ForeignKey("author.id"), nullable=False, index=True),
    Column("title", String(100), nullable=False),
    Column("year", Integer, nullable=False),
)
wide = Table(
    "wide",
    metadata,
    Column("id", Integer, primary_key=True),
    *(Column(name, Integer, nullable=False) for name in rows.WIDE_COLUMNS),
)
event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("happened_at", DateTime, nullable=False),
    Column("amount", Integer, nullable=False),
    Index("ix_event_happened_at_id", "happened_at", "id"),
)
visit = Table(
    "visit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("person_id", ForeignKey("person.id"), nullable=False),
    Column("amount", Integer, nullable=False),
)

_READ_ONLY: dict[str, Callable[[int], list[dict[str, Any]]]] = {
    "author": lambda events: list(rows.authors()),
    "book": lambda events: list(rows.books()),
    "wide": lambda events: [rows.wide(number) for number in range(1, rows.WIDE_ROWS + 1)],
    "event": lambda events: [rows.event(number) for number in range(1, events + 1)],
}


def create(connection: Connection, *, people: int, events: int) -> None:
    """Make the tables; fill those that are only read, and a copy of the people to start from."""
    metadata.create_all(connection)
    for name, make in _READ_ONLY.items():
        connection.execute(insert(metadata.tables[name]), make(events))
    connection.execute(insert(person), rows.people(people))
    connection.execute(text("CREATE TABLE person_kept AS SELECT * FROM person"))
    connection.commit()
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))
        connection.commit()


def refill(connection: Connection, people: int) -> None:
    """Have the table `person` hold the first people, with their numbers as keys, and no visits."""
    is_postgres = connection.dialect.name == "postgresql"
    if is_postgres:
        connection.execute(text("TRUNCATE visit, person"))
        connection.execute(text(f"ALTER SEQUENCE person_id_seq RESTART WITH {people + 1}"))
    else:
        connection.execute(text("DELETE FROM visit"))
        connection.execute(text("DELETE FROM person"))
    connection.execute(
        text("INSERT INTO person SELECT * FROM person_kept WHERE id <= :people"), {"people": people}
    )
    connection.commit()
    if is_postgres:
        connection.execute(text("ANALYZE person"))
        connection.commit()
