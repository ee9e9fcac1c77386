"""`update()` leaves alone what has its value already, and does all else as an assignment does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Self

import pytest
from sqlalchemy import JSON, Engine, ForeignKey, MetaData, event
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    validates,
)
from sqlalchemy.orm.attributes import set_committed_value

from activebase import MyBase, UnknownAttributeError, session, unit_of_work
from activebase.assignment import assign
from tests.databases import Database

pytest_plugins = ["tests.core_fixtures"]


CET = timezone(timedelta(hours=1))


class Notebook(MyBase, DeclarativeBase):
    metadata = MetaData()


class Note(Notebook):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    pages: Mapped[int | None]
    weight: Mapped[float | None]
    tags: Mapped[dict[str, Any] | None] = mapped_column(MutableDict.as_mutable(JSON))
    checked: Mapped[str | None]
    at: Mapped[datetime | None]
    lines: Mapped[list["Line"]] = relationship(back_populates="note")

    @validates("checked")
    def _validate(self, name: str, value: str) -> str:
        if value == "bad":
            raise ValueError(value)
        return value


class Line(Notebook):
    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("note.id"))
    note: Mapped[Note] = relationship(back_populates="lines")


class Page(Notebook):
    """Its own `save()` finds out one column from another."""

    __tablename__ = "page"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    slug: Mapped[str]

    def save(self) -> Self:
        self.slug = self.title.lower()
        return super().save()


class Loud(Notebook):
    __tablename__ = "loud"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, f"{value}!" if name == "title" else value)


@pytest.fixture
def note(engine: Engine) -> Iterator[Note]:
    """A saved note, in an open unit."""
    Notebook.metadata.create_all(engine)
    with unit_of_work():
        yield Note(title="a", pages=1, weight=0.0, tags={"x": 1}, checked="fine").save()


@pytest.fixture
def updates(note: Note, engine: Engine) -> list[str]:
    """The UPDATE statements from here on."""
    sent: list[str] = []

    @event.listens_for(engine, "before_cursor_execute")
    def remember(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if statement.startswith("UPDATE"):
            sent.append(statement)

    return sent


def test_does_not_touch_a_record_that_has_the_values(note: Note, updates: list[str]) -> None:
    note.update(title="a", pages=1)
    assert updates == []
    assert note not in session.dirty
    assert note.changes() == {}


def test_writes_what_differs_beside_what_does_not(note: Note, updates: list[str]) -> None:
    note.update(title="a", pages=2)
    assert len(updates) == 1
    assert "title" not in updates[0]


def test_takes_back_a_change_that_is_not_flushed_yet(
    note: Note, updates: list[str], database: Database
) -> None:
    note.title = "b"
    note.update(title="a")
    assert updates == []
    note.title = "c"
    note.update(title="c")
    assert len(updates) == 1


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pages", 1, True),
        ("weight", 0.0, -0.0),
        ("at", datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=CET)),
    ],
)
def test_takes_an_equal_value_that_is_another_one(
    note: Note, name: str, old: Any, new: Any
) -> None:
    assert old == new
    set_committed_value(note, name, old)
    assign(note, {name: new})
    assert repr(getattr(note, name)) == repr(new)


def test_has_listeners_hear_of_the_same_value_too(note: Note) -> None:
    heard: list[Any] = []

    def hear(record: Note, value: Any, *rest: Any) -> None:
        heard.append(value)

    event.listen(Note.title, "set", hear)
    try:
        note.update(title="a")
    finally:
        event.remove(Note.title, "set", hear)
    assert heard == ["a"]


def test_has_validators_see_the_same_value_too(note: Note) -> None:
    set_committed_value(note, "checked", "bad")
    with pytest.raises(ValueError, match="bad"):
        note.update(checked="bad")


def test_sees_a_mutable_value_that_has_changed(note: Note, database: Database) -> None:
    assert note.tags is not None
    note.tags["x"] = 2
    note.update(tags=note.tags)
    assert session.scalar(Note.query.with_only_columns(Note.tags)) == {"x": 2}


def test_goes_through_a_setattr_of_the_user_s_own(engine: Engine) -> None:
    Notebook.metadata.create_all(engine)
    with unit_of_work():
        loud = Loud(title="a").save()
        assert loud.update(title="a!").title == "a!!"


def test_reads_no_column_that_is_not_loaded(note: Note, updates: list[str]) -> None:
    session.expire(note, ["title"])
    note.update(title="a")
    assert note.title == "a"


def test_sets_all_or_nothing(note: Note) -> None:
    with pytest.raises(ValueError, match="bad"):
        note.update(title="b", pages=7, checked="bad")
    assert (note.title, note.pages, note.checked) == ("a", 1, "fine")
    assert note.changes() == {}
    note.pages = 5
    with pytest.raises(ValueError, match="bad"):
        note.update(title="b", pages=7, checked="bad")
    assert (note.title, note.pages) == ("a", 5)
    assert note.changes() == {"pages": (1, 5)}


def test_checks_names_before_it_compares(note: Note) -> None:
    with pytest.raises(UnknownAttributeError):
        note.update(title="a", pgaes=1)


def test_adds_a_record_that_is_in_no_session(note: Note, database: Database) -> None:
    note.save()
    session.expunge(note)
    note.update(title="a")
    assert note in session
    new = Note(title="n")
    assert new.update(title="n").id is not None


def test_keeps_a_record_whose_deletion_is_not_flushed(note: Note) -> None:
    session.delete(note)
    note.update(pages=3)
    assert Note.query.count() == 1


def test_refuses_a_record_of_another_session(note: Note, engine: Engine) -> None:
    with Session(engine) as other:
        stranger = Note(title="s")
        other.add(stranger)
        with pytest.raises(Exception, match="already attached to another session"):
            stranger.update(title="s")


def test_calls_a_save_of_the_model_s_own(engine: Engine, database: Database) -> None:
    Notebook.metadata.create_all(engine)
    with unit_of_work():
        page = Page.create(title="One")
        page.update(title="Two")
    assert database.rows("SELECT title, slug FROM page") == [("Two", "two")]


def test_saves_new_records_that_hang_on_it(note: Note, database: Database) -> None:
    assert note.lines == []
    line = Line(note=note)
    assert line not in session  # SQLAlchemy 2 does not put it there
    note.update(pages=2)
    assert line.id is not None


def test_takes_back_a_related_record_that_was_expunged(note: Note) -> None:
    line = Line(note=note).save()
    assert note.lines == [line]
    session.expunge(line)
    note.update(pages=2)
    assert line in session
