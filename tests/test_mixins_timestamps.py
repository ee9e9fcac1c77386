"""Timestamps and UTCDateTime: aware moments in UTC, on every database."""

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlalchemy import Engine, Interval, func, insert, select, text, update
from sqlalchemy.orm import Mapped, mapped_column

from activebase import InvalidValueError, session, unit_of_work
from activebase.utc import UTCDateTime
from tests.databases import Database
from tests.newsroom import Draft, Film, Newsroom, Story

pytest_plugins = ["tests.core_fixtures"]

#: In the afternoon of the seventh in Kathmandu, 5:45 ahead of UTC.
KATHMANDU = timezone(timedelta(hours=5, minutes=45))
SEVENTH = datetime(2024, 3, 7, 15, 0, 0, 123456, tzinfo=KATHMANDU)
SEVENTH_IN_DATABASE = "2024-03-07 09:15:00.123456"


class Event(Newsroom):
    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime | None] = mapped_column(UTCDateTime)


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


@pytest.fixture(autouse=True)
def tables(engine: Engine) -> None:
    Newsroom.metadata.create_all(engine)


def stored(database: Database, column: str, table: str = "story") -> list[str]:
    """Return the moments as the database holds them, in UTC, as text."""
    if database.dialect == "postgresql":
        column = f"to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')"
    return [str(value) for (value,) in database.rows(f"SELECT {column} FROM {table} ORDER BY id")]


# Timestamps


def test_sets_both_to_the_same_moment_when_the_row_is_inserted(database: Database) -> None:
    before = datetime.now(UTC)
    with unit_of_work():
        story = Story(title="first").save()
        assert before <= story.created_at <= datetime.now(UTC)
        assert story.updated_at == story.created_at
        assert story.created_at.tzinfo is UTC
    assert stored(database, "created_at") == stored(database, "updated_at")
    assert stored(database, "created_at") == [f"{story.created_at:%Y-%m-%d %H:%M:%S.%f}"]


def test_reads_the_same_moment_back() -> None:
    with unit_of_work():
        written = Story(title="first").save().created_at
    with unit_of_work():
        read = Story.query.one().created_at
    assert read == written
    assert read.tzinfo is UTC


def test_moves_updated_at_with_each_change(database: Database) -> None:
    with unit_of_work():
        story = Story(title="first").save()
        created = story.created_at
        story.update(title="second")
        assert story.updated_at > created
        assert story.created_at == created
    with unit_of_work():
        again = Story.query.one()
        assert again.updated_at > again.created_at == created


def test_leaves_updated_at_when_nothing_has_changed(database: Database) -> None:
    with unit_of_work():
        Story(title="first").save()
    before = database.rows("SELECT updated_at, version FROM story")
    with unit_of_work():
        Story.query.one().update(title="first")
        Story.query.one().save()
    assert database.rows("SELECT updated_at, version FROM story") == before


def test_moves_updated_at_of_a_row_in_two_tables(database: Database) -> None:
    with unit_of_work():
        film = Film(file="a.mov").save()
        film.update(seconds=3)
        assert film.updated_at > film.created_at
    assert stored(database, "updated_at", "asset") > stored(database, "created_at", "asset")


def test_keeps_moments_that_are_given(database: Database) -> None:
    with unit_of_work():
        old = Story.create(title="old", created_at=SEVENTH)
        assert old.created_at == SEVENTH < old.updated_at
        old.update(title="older", updated_at=SEVENTH)
        Story.create(title="new", updated_at=SEVENTH)
    assert stored(database, "created_at")[0] == SEVENTH_IN_DATABASE
    assert stored(database, "updated_at") == [SEVENTH_IN_DATABASE] * 2


def test_bulk_inserts_set_both(database: Database) -> None:
    with unit_of_work():
        session.execute(insert(Story), [{"title": "a", "version": 1}, {"title": "b", "version": 1}])
        session.execute(insert(Story).values([{"title": title, "version": 1} for title in "cd"]))
    created = stored(database, "created_at")
    assert len(created) == 4
    assert created == stored(database, "updated_at")
    assert all(moment.startswith("20") for moment in created)


def test_bulk_updates_move_updated_at(database: Database) -> None:
    with unit_of_work():
        for title in "ab":
            Story.create(title=title, created_at=SEVENTH)
    with unit_of_work():
        session.execute(update(Story).where(Story.title == "a").values(title="c"))
        Story.query.filter(title="b").update(title="d")
    assert stored(database, "created_at") == [SEVENTH_IN_DATABASE] * 2
    assert all(moment > SEVENTH_IN_DATABASE for moment in stored(database, "updated_at"))


def test_are_no_arguments_of_a_dataclass(database: Database) -> None:
    with unit_of_work():
        draft = Draft(text="first").save()
        assert draft.created_at == draft.updated_at
        draft.update(text="second", created_at=SEVENTH)
        assert (draft.version, draft.is_deleted) == (2, False)
    assert stored(database, "created_at", "draft") == [SEVENTH_IN_DATABASE]
    with pytest.raises(TypeError, match="created_at"):
        Draft(text="third", created_at=SEVENTH)  # type: ignore[call-arg]


# UTCDateTime


def test_stores_any_zone_in_utc(database: Database) -> None:
    with unit_of_work():
        at = Event(at=SEVENTH).save().refresh().at
        assert at == SEVENTH
        assert at is not None
        assert at.tzinfo is UTC
        assert Event(at=None).save().refresh().at is None
    assert stored(database, "at", "event")[0] == SEVENTH_IN_DATABASE


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (datetime(2024, 3, 7), "a naive datetime"),
        (date(2024, 3, 7), "date"),
        ("2024-03-07T00:00:00Z", "str"),
    ],
    ids=["naive", "date", "text"],
)
def test_refuses_what_tells_no_moment(database: Database, value: Any, named: str) -> None:
    expected = rf"^A UTCDateTime column takes datetimes with a time zone, got {named}\."
    with unit_of_work():
        with pytest.raises(InvalidValueError, match=expected) as raised:
            Event(at=value).save()
        assert "2024" not in str(raised.value)
        with pytest.raises(InvalidValueError, match=expected):
            Event.query.where(Event.at > value).all()
        Event(at=SEVENTH).save()
    assert database.scalar("SELECT count(*) FROM event") == 1


def test_compares_moments_of_any_zone() -> None:
    with unit_of_work():
        Event(at=SEVENTH).save()
        for later in (SEVENTH + timedelta(microseconds=1), SEVENTH.astimezone(UTC)):
            assert Event.query.where(Event.at <= later).count() == 1
        assert Event.query.where(Event.at < SEVENTH.astimezone(UTC)).count() == 0
        assert Event.query.where(Event.at.in_([SEVENTH.astimezone(UTC)])).count() == 1
        assert Event.query.filter(at=SEVENTH, at__gte=SEVENTH).count() == 1


def test_gives_aware_moments_from_functions_and_subqueries() -> None:
    with unit_of_work():
        Event(at=SEVENTH).save()
        assert session.scalar(select(func.max(Event.at))) == SEVENTH
        assert session.scalar(select(select(Event.at).subquery().c.at)) == SEVENTH


def test_gives_utc_whatever_the_zone_of_the_connection(database: Database) -> None:
    zones = {
        "postgresql": "SET LOCAL TIME ZONE 'Asia/Kathmandu'",
        "mariadb": "SET time_zone = '+05:45'",
    }
    with unit_of_work():
        if database.dialect in zones:
            session.execute(text(zones[database.dialect]))
        at = Event(at=SEVENTH).save().refresh().at
        assert at is not None
        assert (at, at.tzinfo) == (SEVENTH, UTC)
    assert stored(database, "at", "event") == [SEVENTH_IN_DATABASE]


def test_takes_differences_for_what_they_are() -> None:
    assert type((Event.at + timedelta(hours=1)).right.type) is Interval
    assert type((Event.at - Event.at).type) is Interval


def test_is_written_in_migrations_as_it_is_made() -> None:
    assert repr(eval(repr(UTCDateTime()), {"UTCDateTime": UTCDateTime})) == repr(UTCDateTime())
