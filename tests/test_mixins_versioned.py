"""Versioned: of two that change the same record, the second is told, and changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, update

from activebase import StaleRecordError, session, unit_of_work
from tests.core import in_thread
from tests.databases import Database
from tests.newsroom import Asset, Contract, Draft, Film, Label, Newsroom, Photo, Retainer, Story

pytest_plugins = ["tests.core_fixtures"]

on_servers = pytest.mark.parametrize("each_database", ["postgresql", "mariadb"], indirect=True)


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@pytest.fixture(autouse=True)
def story(engine: Engine) -> Story:
    """A story of an earlier unit, at version 1."""
    Newsroom.metadata.create_all(engine)
    with unit_of_work():
        return Story(title="first").save()


def change_elsewhere(pk: int, title: str = "theirs") -> None:
    """Change the story in a unit of someone else, and commit it."""

    @unit_of_work
    def change() -> None:
        Story.get_or_404(pk).update(title=title)

    in_thread(change)


def stored(database: Database) -> list[tuple[Any, ...]]:
    return database.rows("SELECT title, version FROM story WHERE deleted_at IS NULL ORDER BY id")


# Counting


def test_counts_from_one(database: Database, story: Story) -> None:
    assert story.version == 1
    with unit_of_work():
        story.update(title="second")
        assert story.version == 2
        story.update(title="second")
        assert story.version == 2
    assert stored(database) == [("second", 2)]


def test_counts_a_deletion_and_a_restoration(database: Database, story: Story) -> None:
    with unit_of_work():
        story.delete()
        story.restore()
    assert stored(database) == [("first", 3)]


def test_counts_and_locks_in_every_kind_of_model() -> None:
    with unit_of_work():
        changes: list[tuple[Any, dict[str, Any], dict[str, Any]]] = [
            (Asset(file="root").save(), {"file": "b"}, {"file": "c"}),
            (Photo(file="in the same table").save(), {"width": 2}, {"width": 3}),
            (Film(file="in a table of its own").save(), {"seconds": 2}, {"seconds": 3}),
            (Contract().save(), {"fee": 2}, {"fee": 3}),
            (Retainer().save(), {"fee": 2}, {"fee": 3}),
            (Draft(text="dataclass").save(), {"text": "b"}, {"text": "c"}),
        ]
    for record, theirs, mine in changes:
        with unit_of_work():
            type(record).get(record.id).update(**theirs)
        with unit_of_work():
            assert type(record).get(record.id).version == 2
        with pytest.raises(StaleRecordError), unit_of_work():
            record.update(**mine)


def test_bulk_updates_count_as_well(database: Database, story: Story) -> None:
    with unit_of_work():
        assert Story.query.update(title="bulk") == 1
        session.execute(update(Story).values(title="more", version=Story.version + 1))
    assert stored(database) == [("more", 3)]
    with pytest.raises(StaleRecordError), unit_of_work():
        story.update(title="mine")


# Refusing


WRITES: dict[str, Callable[[Story], object]] = {
    "update": lambda story: story.update(title="mine"),
    "save": lambda story: (setattr(story, "title", "mine"), story.save()),
    "delete": lambda story: story.delete(),
    "hard_delete": lambda story: story.hard_delete(),
    "commit": lambda story: setattr(story, "title", "mine"),
}


@on_servers
def test_refuses_the_write_of_a_unit_that_came_second(database: Database) -> None:
    for number, (name, write) in enumerate(WRITES.items(), start=1):
        with unit_of_work():
            story = Story(title=name).save()
        with pytest.raises(StaleRecordError, match="changed or deleted by someone else"):
            come_second(story.id, write)
        assert stored(database)[1:] == [("theirs", 2)] * number, name
    assert database.scalar("SELECT count(*) FROM label") == 0


@unit_of_work
def come_second(pk: int, write: Callable[[Story], object]) -> None:
    Label(word="of the second unit").save()
    mine = Story.get_or_404(pk)
    change_elsewhere(pk)
    write(mine)


def test_refuses_the_write_of_a_record_from_an_earlier_unit(database: Database) -> None:
    @unit_of_work
    def come_second(story: Story, write: Callable[[Story], object]) -> None:
        Label(word="of the second unit").save()
        write(story)

    for name in ("update", "save", "delete", "hard_delete"):
        with unit_of_work():
            story = Story(title="first").save()
        change_elsewhere(story.id)
        with pytest.raises(StaleRecordError):
            come_second(story, WRITES[name])
    assert stored(database)[1:] == [("theirs", 2)] * 4
    assert database.scalar("SELECT count(*) FROM label") == 0


def test_refuses_the_write_of_a_record_that_is_gone(database: Database, story: Story) -> None:
    database.execute("DELETE FROM story")
    with pytest.raises(StaleRecordError), unit_of_work():
        story.update(title="mine")
    assert stored(database) == []


def test_goes_on_after_a_savepoint(database: Database, story: Story) -> None:
    change_elsewhere(story.id)
    with unit_of_work():
        Label(word="kept").save()
        with pytest.raises(StaleRecordError), unit_of_work():
            story.update(title="mine")
        assert story.refresh().update(title="mine, too").version == 3
    assert stored(database) == [("mine, too", 3)]
    assert database.scalar("SELECT count(*) FROM label") == 1


def test_runs_again_when_told_to(database: Database, story: Story) -> None:
    """A web form, or a worker: the version that was seen comes back with the values."""

    @unit_of_work
    def submit(pk: int, seen: int, title: str) -> Story:
        found = Story.get_or_404(pk)
        if found.version != seen:
            raise StaleRecordError("The story has changed since you opened it.")
        return found.update(title=title)

    assert submit(story.id, 1, "mine").version == 2
    with pytest.raises(StaleRecordError):
        submit(story.id, 1, "theirs")
    assert stored(database) == [("mine", 2)]


@on_servers
def test_reads_the_row_again_under_a_lock(database: Database, story: Story) -> None:
    with unit_of_work():
        mine = Story.get_or_404(story.id)
        change_elsewhere(story.id)
        assert mine.refresh("title", lock=True).title == "theirs"
        assert mine.refresh(lock=True).version == 2
        mine.update(title="mine")
    assert stored(database) == [("mine", 3)]
