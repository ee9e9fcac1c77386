"""SoftDelete: no deleted record is found by its key or through a relation."""

from typing import Any

import pytest
from sqlalchemy import Engine, event, select, text
from sqlalchemy.orm import (
    immediateload,
    joinedload,
    lazyload,
    selectinload,
    subqueryload,
    with_parent,
    with_polymorphic,
)

from activebase import session, unit_of_work
from tests.databases import Database
from tests.newsroom import Asset, Comment, Film, Photo, Story, Writer

pytest_plugins = ["tests.core_fixtures", "tests.newsroom_fixtures"]
pytestmark = pytest.mark.usefixtures("newsroom_rows")


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    return sent


# One record


def test_does_not_get_a_deleted_record() -> None:
    with unit_of_work():
        story = Story.query.filter(title="ann1").one()
        story.delete()
        pk = story.id
        for get in (Story.get, Story.query.get, lambda pk: session.get(Story, pk)):
            assert get(pk) is None
        assert Story.query.with_deleted().get(pk) is story
        assert session.get(Story, pk, execution_options={"with_deleted": True}) is story
        story.restore()
        assert Story.get(pk) is story
    with unit_of_work():
        story = Story.query.with_deleted().filter(title="bob2").one()
        assert Story.get(story.id) is None


def test_does_not_get_a_record_by_its_parent_class() -> None:
    with unit_of_work():
        for kind in (Photo, Film):
            record = kind(file="x").save()
            record.delete()
            assert Asset.get(record.id) is kind.get(record.id) is None
        assert session.scalars(select(with_polymorphic(Asset, "*"))).all() == []
        assert Asset.query.with_deleted().count() == 2
        assert (Photo.query.count(), Photo.query.with_deleted().count()) == (0, 1)
        assert (Film.query.count(), Film.query.with_deleted().count()) == (0, 1)


# Relations

LOADERS: list[Any] = [lazyload, selectinload, subqueryload, joinedload, immediateload]


def test_hides_deleted_records_in_relations() -> None:
    for loader in LOADERS:
        with unit_of_work():
            stories = session.scalars(select(Story).options(loader(Story.writer)))
            found = {story.title: story.writer and story.writer.name for story in stories}
            assert found == {"ann1": "ann", "bob1": None}, loader
        with unit_of_work():
            (writer,) = session.scalars(select(Writer).options(loader(Writer.stories))).unique()
            assert [story.title for story in writer.stories] == ["ann1"], loader
        with unit_of_work():
            stories = session.scalars(select(Story).options(loader(Story.labels))).unique()
            found = {story.title: len(story.labels) for story in stories}
            assert found == {"ann1": 1, "bob1": 0}, loader


def test_shows_deleted_records_in_eager_loads_of_a_query_with_deleted() -> None:
    for loader in LOADERS[1:]:
        both = getattr(loader(Writer.stories), loader.__name__)(Story.labels)
        with unit_of_work():
            query = Writer.query.with_deleted().options(both)
            found = {w.name: [(s.title, len(s.labels)) for s in w.stories] for w in query.all()}
        assert found == {n: [(f"{n}1", 1), (f"{n}2", 1)] for n in ("ann", "bob")}, loader


def test_a_later_lazy_load_hides_deleted_records_again() -> None:
    with unit_of_work():
        writer = Writer.query.with_deleted().filter(name="bob").one()
        assert [story.title for story in writer.stories] == ["bob1"]
        assert writer.stories[0].writer is None
    with unit_of_work():
        story = Story.query.with_deleted().filter(title="bob2").one()
        assert Writer.query.with_deleted().count() == 2
        assert story.writer is None


def test_hides_a_deleted_record_that_is_in_the_session() -> None:
    with unit_of_work():
        story = Story.query.filter(title="ann1").one()
        writer = Writer.query.one()
        writer.delete()
        assert story.writer is None
        assert story.writer_id == writer.id


def test_hides_deleted_records_from_what_was_made_in_the_session() -> None:
    with unit_of_work():
        story = Story(title="new").save()
        Comment(body="live", story_id=story.id).save()
        Comment(body="gone", story_id=story.id).save().delete()
        assert [comment.body for comment in story.comments] == ["live"]
        session.expire_all()
        assert [comment.body for comment in story.comments] == ["live"]


def test_puts_the_criteria_on_a_load_once(statements: list[str]) -> None:
    with unit_of_work():
        writer = Writer.query.filter(name="ann").one()
        (story,) = writer.stories
        assert len(story.labels) == 1
        session.scalars(select(Story).options(selectinload(Story.comments))).all()
    loads = [sent for sent in statements if sent.startswith("SELECT")]
    assert [sent.count("deleted_at IS NULL") for sent in loads] == [1] * 5, loads


def test_hides_deleted_records_from_those_of_written_sql() -> None:
    written = select(Writer).from_statement(text("SELECT * FROM writer ORDER BY name"))
    for loader in (lazyload, selectinload):
        with unit_of_work():
            found = session.scalars(written.options(loader(Writer.stories))).all()
            assert [[story.title for story in w.stories] for w in found] == [["ann1"], ["bob1"]]


def test_hides_deleted_records_by_with_parent() -> None:
    with unit_of_work():
        of_writer = select(Story).where(with_parent(Writer.query.one(), Writer.stories))
        assert [story.title for story in session.scalars(of_writer)] == ["ann1"]
