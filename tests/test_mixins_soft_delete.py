"""SoftDelete: what its verbs do to the record and to the row."""

import pickle
from datetime import UTC, datetime

import pytest
from sqlalchemy import Computed, Engine, ForeignKey, Index, String, UniqueConstraint, event, text
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    mapped_column,
    relationship,
)

from activebase import (
    ForeignKeyViolation,
    MyBase,
    NotFoundError,
    UniqueViolation,
    session,
    unit_of_work,
)
from activebase.mixins import SoftDelete
from tests.databases import Database
from tests.newsroom import Asset, Comment, Desk, Draft, Film, Label, Newsroom, Photo, Story, Writer

pytest_plugins = ["tests.core_fixtures"]


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@pytest.fixture(autouse=True)
def tables(engine: Engine) -> None:
    Newsroom.metadata.create_all(engine)


def count(database: Database, table: str, where: str = "true") -> int:
    found: int = database.scalar(f"SELECT count(*) FROM {table} WHERE {where}")
    return found


# delete()


def test_marks_the_row_and_keeps_it(database: Database) -> None:
    before = datetime.now(UTC)
    with unit_of_work():
        label = Label(word="sports").save()
        assert (label.is_deleted, label.deleted_at) == (False, None)
        label.delete()
        assert label.is_deleted
        assert label.deleted_at is not None
        assert before <= label.deleted_at <= datetime.now(UTC)
        assert label.word == "sports"
    assert count(database, "label", "deleted_at IS NOT NULL") == 1


def test_flushes_and_does_not_commit(database: Database) -> None:
    with unit_of_work():
        Label(word="sports").save()
    with unit_of_work() as unit:
        Label.query.one().delete()
        assert session.scalar(text("SELECT count(*) FROM label WHERE deleted_at IS NULL")) == 0
        unit.doom("to see that nothing is committed")
    assert count(database, "label", "deleted_at IS NULL") == 1


def test_is_undone_with_its_savepoint() -> None:
    with unit_of_work():
        label = Label(word="sports").save()
        savepoint = session.begin_nested()
        label.delete()
        savepoint.rollback()
        assert not label.is_deleted
        assert Label.get(label.id) is label


def test_keeps_the_first_moment_when_called_again() -> None:
    with unit_of_work():
        label = Label(word="sports").save()
        label.delete()
        first = label.deleted_at
        label.delete()
        assert label.deleted_at == first


def test_refuses_a_record_that_was_never_saved(database: Database) -> None:
    with unit_of_work(), pytest.raises(InvalidRequestError, match="was never saved"):
        Label(word="sports").delete()
    assert count(database, "label") == 0


def test_takes_a_record_of_an_earlier_unit(database: Database) -> None:
    with unit_of_work():
        label = Label(word="sports").save()
    with unit_of_work():
        label.delete()
    assert count(database, "label", "deleted_at IS NOT NULL") == 1


def test_cascades_to_nothing(database: Database) -> None:
    with unit_of_work():
        Writer(name="ann", stories=[Story(title="one"), Story(title="two")]).save().delete()
    assert count(database, "story", "deleted_at IS NULL AND writer_id IS NOT NULL") == 2


def test_marks_records_of_every_kind(database: Database) -> None:
    with unit_of_work():
        for record in (Asset(file="a"), Photo(file="b"), Film(file="c"), Draft(text="d")):
            record.save().delete()
            assert type(record).get(record.id) is None
    assert count(database, "asset", "deleted_at IS NOT NULL") == 3
    assert count(database, "film") == 1
    assert count(database, "draft", "deleted_at IS NOT NULL") == 1


def test_bulk_delete_marks_what_matches_and_is_not_marked_yet(database: Database) -> None:
    with unit_of_work():
        for word in ("a", "b", "c"):
            Label(word=word).save()
        first = Label.query.filter(word="a").one()
        first.delete()
        assert Label.query.filter(word__in=["a", "b"]).delete() == 1
        assert Label.query.count() == 1
        assert first.refresh().deleted_at is not None
    assert count(database, "label", "deleted_at IS NOT NULL") == 2


# restore()


def test_restores(database: Database) -> None:
    with unit_of_work():
        Label(word="sports").save().delete()
    with unit_of_work():
        label = Label.query.with_deleted().one()
        assert label.restore() is label
        assert not label.is_deleted
        assert Label.query.one() is label
    assert count(database, "label", "deleted_at IS NULL") == 1


def test_restores_what_is_not_deleted_without_a_write(database: Database) -> None:
    with unit_of_work():
        story = Story(title="one").save()
        updated = story.updated_at
        assert story.restore().updated_at == updated


# hard_delete()


def test_deletes_the_row_for_good(database: Database) -> None:
    with unit_of_work():
        Label(word="a").save().hard_delete()
        marked = Label(word="b").save()
        marked.delete()
        marked.hard_delete()
        assert Label.query.with_deleted().all() == []
    assert count(database, "label") == 0


def test_deletes_marked_children_for_good_as_well(database: Database) -> None:
    with unit_of_work():
        live = Comment(body="live")
        story = Story(title="one", comments=[live, Comment(body="marked")])
        story.labels = [Label(word="live"), Label(word="marked")]
        writer = Writer(name="ann", stories=[story, Story(title="two")]).save()
        for record in (story, story.comments[1], story.labels[1]):
            record.delete()
    with unit_of_work():
        writer = Writer.query.one()
        assert [story.title for story in writer.stories] == ["two"]
        writer.hard_delete()
    tables = ("writer", "story", "comment", "story_label")
    assert [count(database, table) for table in tables] == [0, 0, 0, 0]
    assert count(database, "label") == 2


def test_marked_children_go_with_a_parent_that_has_no_marks(database: Database) -> None:
    with unit_of_work():
        desk = Desk(name="news", writers=[Writer(name="ann"), Writer(name="bob")]).save()
        desk.writers[0].delete()
    with unit_of_work():
        Desk.query.one().delete()
    assert count(database, "desk") == 0
    assert count(database, "writer") == 0


def test_marked_children_lose_their_key_where_nothing_cascades(database: Database) -> None:
    with unit_of_work():
        editor = Writer(name="editor").save()
        Writer(name="ann", editor=editor).save().delete()
        with pytest.raises(ForeignKeyViolation), unit_of_work():
            editor.hard_delete()  # there is no relation from the editor to the writers
    with unit_of_work():
        label = Label(word="a", stories=[Story(title="one")]).save()
        label.stories[0].delete()
        session.expire(label)
        label.hard_delete()
    assert count(database, "story_label") == 0
    assert count(database, "story", "title = 'one'") == 1


def test_a_child_that_was_moved_stays_with_its_new_parent(database: Database) -> None:
    with unit_of_work():
        Desk(name="old", writers=[Writer(name="ann")]).save()
        Desk(name="new").save()
    with unit_of_work():
        old, new = Desk.query.order_by("id").all()
        new.writers.append(old.writers.pop())
        old.delete()
    assert database.rows("SELECT name, desk_id FROM writer") == [("ann", new.id)]


class Club(MyBase, DeclarativeBase):
    pass


class Team(Club):
    """With relations that a deletion does not load."""

    __tablename__ = "team"

    id: Mapped[int] = mapped_column(primary_key=True)
    players: Mapped[list["Player"]] = relationship(passive_deletes=True, cascade="all")
    written: WriteOnlyMapped["Player"] = relationship(passive_deletes=True, overlaps="players")
    viewed: Mapped[list["Player"]] = relationship(viewonly=True)
    fans: DynamicMapped["Fan"] = relationship()


class Player(SoftDelete, Club):
    __tablename__ = "player"

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id", ondelete="CASCADE"))


class Fan(SoftDelete, Club):
    __tablename__ = "fan"

    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int | None] = mapped_column(ForeignKey("team.id"))


def test_leaves_children_to_the_database_where_it_cascades(
    engine: Engine, database: Database
) -> None:
    Club.metadata.create_all(engine)
    with unit_of_work():
        team = Team(players=[Player(), Player()]).save()
        Fan(team_id=team.id).save()
        team.players[0].delete()
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    with unit_of_work():
        Team.query.one().delete()
    assert not [statement for statement in sent if "player" in statement]
    assert count(database, "player") == 0
    assert count(database, "fan", "team_id IS NULL") == 1


# unique values


def test_a_marked_row_holds_its_unique_value() -> None:
    with unit_of_work():
        Label(word="sports").save().delete()
        with pytest.raises(UniqueViolation), unit_of_work():
            Label(word="sports").save()
        Label.query.with_deleted().filter(word="sports").one().restore()
        assert Label.query.count() == 1


class Seat(SoftDelete, Club):
    """Taken by one live row at a time, where the database has partial indexes."""

    __tablename__ = "seat"
    __table_args__ = (
        Index(
            "uq_seat_live",
            "place",
            unique=True,
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(String(50))


class Berth(SoftDelete, Club):
    """Taken by one live row at a time, on every database: NULL is no duplicate of NULL."""

    __tablename__ = "berth"
    __table_args__ = (UniqueConstraint("place", "live"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[str] = mapped_column(String(50))
    live: Mapped[int | None] = mapped_column(
        Computed("CASE WHEN deleted_at IS NULL THEN 1 END", persisted=True)
    )


def test_marked_rows_can_be_left_out_of_what_is_unique(engine: Engine, database: Database) -> None:
    Club.metadata.create_all(engine)
    has_partial_indexes = database.dialect != "mariadb"
    for model in (Seat, Berth) if has_partial_indexes else (Berth,):
        with unit_of_work():
            old = model(place="1A").save()
            old.delete()
            new = model(place="1A").save()
            with pytest.raises(UniqueViolation), unit_of_work():
                model(place="1A").save()
            with pytest.raises(UniqueViolation), unit_of_work():
                old.restore()
            new.delete()
            old.restore()
            assert model.query.one() is old


# Records


def test_a_marked_record_can_be_read_changed_and_refreshed() -> None:
    with unit_of_work():
        story = Story(title="one", comments=[Comment(body="hi")]).save()
        story.delete()
    with unit_of_work():
        story = Story.query.with_deleted().one()
        assert [comment.body for comment in story.comments] == ["hi"]
        story.update(title="two")
        assert story.refresh().title == "two"
        assert story.refresh("title", lock=True).is_deleted
        session.expire(story)
        assert story.title == "two"


def test_a_record_survives_pickling() -> None:
    with unit_of_work():
        Story(title="one", comments=[Comment(body="hi"), Comment(body="gone")]).save()
        Comment.query.filter(body="gone").one().delete()
    with unit_of_work():
        copied: Story = pickle.loads(pickle.dumps(Story.query.one()))
    with unit_of_work():
        session.add(copied)
        assert [comment.body for comment in copied.comments] == ["hi"]


def test_get_or_404_and_the_like_raise_for_a_marked_record() -> None:
    with unit_of_work():
        label = Label(word="sports").save()
        label.delete()
        for look in (Label.get_or_404, Label.query.get_or_404, Label.query.filter().get_or_404):
            with pytest.raises(NotFoundError):
                look(label.id)


def test_the_mark_may_be_set_and_told_like_any_column(database: Database) -> None:
    moment = datetime(2024, 3, 7, tzinfo=UTC)
    with unit_of_work():
        label = Label.create(word="old", deleted_at=moment)
        assert label.to_dict() == {"id": label.id, "word": "old", "deleted_at": moment}
        assert label.update(deleted_at=None).is_deleted is False
    assert count(database, "label", "deleted_at IS NULL") == 1
