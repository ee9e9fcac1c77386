"""Models and rows for the tests of pages."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import ForeignKey, MetaData, String, insert
from sqlalchemy.orm import DeclarativeBase, Mapped, composite, mapped_column, relationship

from activebase import CursorPage, MyBase, Query, session
from activebase.base import NAMING_CONVENTION


class Paged(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(100)}  # noqa: RUF012  # MariaDB wants a length


class Writer(Paged):
    __tablename__ = "writer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    sheets: Mapped[list["Sheet"]] = relationship(
        back_populates="writer", foreign_keys="Sheet.writer_id"
    )


class Sheet(Paged):
    __tablename__ = "sheet"

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int]
    weight: Mapped[int | None]
    word: Mapped[str | None]
    writer_id: Mapped[int | None] = mapped_column(ForeignKey("writer.id"))
    editor_id: Mapped[int | None] = mapped_column(ForeignKey("writer.id"))
    writer: Mapped[Writer | None] = relationship(back_populates="sheets", foreign_keys=writer_id)
    editor: Mapped[Writer | None] = relationship(foreign_keys=editor_id)


@dataclass
class Where:
    shelf: int
    number: str


class Piece(Paged):
    __tablename__ = "piece"

    shelf: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[str] = mapped_column(primary_key=True)
    rank: Mapped[int | None]
    where: Mapped[Where] = composite("shelf", "number")


def fill() -> None:
    """Write rows that tie with each other, and NULLs among them."""
    random = Random(7)

    def maybe(value: Any) -> Any:
        return None if random.random() < 0.3 else value

    session.execute(insert(Writer), [{"id": n, "name": name} for n, name in enumerate("xyz", 1)])
    session.execute(
        insert(Sheet),
        [
            {
                "id": number,
                "place": random.randrange(5),
                "weight": maybe(random.randrange(4)),
                "word": maybe(random.choice(["", "a", "b", "ba", "é", "%_\\'\""])),
                "writer_id": maybe(random.randrange(1, 4)),
                "editor_id": maybe(random.randrange(1, 4)),
            }
            for number in range(1, 25)
        ],
    )
    session.execute(
        insert(Piece),
        [
            {"shelf": shelf, "number": f"n{number}", "rank": maybe(random.randrange(2))}
            for shelf in range(4)
            for number in range(4)
        ],
    )


def keys(items: Iterable[Any]) -> list[Any]:
    """Return what tells items apart: the key of a record, else the item."""
    return [
        tuple(item.__mapper__.primary_key_from_instance(item)) if isinstance(item, Paged) else item
        for item in items
    ]


def forwards(query: Query[Any], limit: int = 5) -> Iterator[CursorPage[Any]]:
    """Yield all pages, from the first."""
    page = query.cursor(limit=limit)
    yield page
    while page.next_cursor:
        page = query.cursor(after=page.next_cursor, limit=limit)
        yield page


def backwards(query: Query[Any], last: CursorPage[Any], limit: int = 5) -> Iterator[Any]:
    """Yield all pages, from the one before the last."""
    page = last
    while page.prev_cursor:
        page = query.cursor(before=page.prev_cursor, limit=limit)
        yield page


def check_pages(query: Query[Any], expected: list[Any], limit: int = 5) -> None:
    """Check that pages give these items, read forwards and read backwards."""
    pages = list(forwards(query, limit))
    assert keys(item for page in pages for item in page) == keys(expected)
    assert [page.has_next for page in pages] == [True] * (len(pages) - 1) + [False]
    assert [page.has_prev for page in pages] == [False] + [True] * (len(pages) - 1)
    back = list(backwards(query, pages[-1], limit))
    found = [item for page in [*reversed(back), pages[-1]] for item in page]
    assert keys(found) == keys(expected)
    assert all(page.has_next for page in back)
