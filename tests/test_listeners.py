"""Listeners of others on the engine: whatever they do, no statement passes the guards."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    LostWritesError,
    ReadOnlyError,
    StrayCommitError,
    atomic,
    configure,
    read_only,
    session,
    unit_of_work,
)
from tests.core import Undone, names, on_postgres, undone
from tests.databases import EACH, Database, database_of
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Vetoed(Exception):
    """A listener does not like a statement."""


def send(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
    """Send a statement itself, as a recipe for retries does; the event ends with that."""
    cursor.execute(statement, parameters)
    return True


def before_configure(url: str) -> Engine:
    engine = create_engine(url)
    event.listen(engine, "do_execute", send)
    return configure(engine)


def after_configure(url: str) -> Engine:
    engine = configure(url)
    event.listen(engine, "do_execute", send)
    return engine


def for_all_engines_before(url: str) -> Engine:
    event.listen(Engine, "do_execute", send)
    return configure(url)


def for_all_engines_after(url: str) -> Engine:
    engine = configure(url)
    with unit_of_work():
        session.scalar(text("SELECT 1"))
    event.listen(Engine, "do_execute", send)
    return engine


WAYS = [before_configure, after_configure, for_all_engines_before, for_all_engines_after]


@pytest.fixture(params=WAYS, ids=lambda way: way.__name__)
def sending(
    request: pytest.FixtureRequest, database: Database, unconfigured: None
) -> Iterator[Engine]:
    """An engine with a listener that sends statements itself."""
    way: Callable[[str], Engine] = request.param
    engine = way(database.url)
    try:
        Base.metadata.create_all(engine)
        yield engine
    finally:
        if event.contains(Engine, "do_execute", send):
            event.remove(Engine, "do_execute", send)
        engine.dispose()


def test_guards_what_another_listener_sends(sending: Engine, database: Database) -> None:
    with undone(), unit_of_work() as unit:
        Member(name="ada").save()
        assert unit.writes == 1
        assert names(database) == []
        raise Undone
    assert names(database) == []
    with read_only(), pytest.raises(ReadOnlyError):
        session.execute(text("INSERT INTO member (name) VALUES ('bob')"))
    with pytest.raises(StrayCommitError), unit_of_work():
        session.execute(text("COMMIT"))
    with unit_of_work():
        Member(name="cyd").save()
    assert names(database) == ["cyd"]


def test_begins_for_those_who_use_no_session(sending: Engine, database: Database) -> None:
    with undone(), sending.begin() as connection:
        connection.execute(text("INSERT INTO member (name) VALUES ('ada')"))
        raise Undone
    assert names(database) == []


@pytest.fixture
def vetoing(engine: Engine) -> Engine:
    """An engine with a listener that refuses statements with a certain word."""

    @event.listens_for(engine, "before_cursor_execute")
    def veto(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "vetoed" in statement:
            raise Vetoed

    return engine


def be_vetoed() -> None:
    with suppress(Vetoed):
        session.execute(text("UPDATE member SET name = 'vetoed'"))


def lose_by_a_rollback() -> None:
    with unit_of_work() as unit:
        Member(name="ada").save()
        be_vetoed()
        assert unit.writes == 1
        session.rollback()
        Member(name="bob").save()


def lose_in_a_savepoint() -> None:
    with unit_of_work(), atomic():
        Member(name="ada").save()
        be_vetoed()
        with suppress(SQLAlchemyError):
            session.execute(text("SELECT * FROM nowhere"))


@pytest.mark.parametrize("lose", [lose_by_a_rollback, lose_in_a_savepoint])
def test_counts_no_earlier_write_off_for_a_statement_that_was_not_sent(
    vetoing: Engine, database: Database, lose: Callable[[], None]
) -> None:
    with pytest.raises(LostWritesError):
        lose()
    assert names(database) == []


@on_postgres
def test_holds_the_snapshot_although_a_commit_was_refused(
    engine: Engine, database: Database
) -> None:
    def lose() -> None:
        with unit_of_work(isolation_level="REPEATABLE READ"):
            ada = Member.query.one()
            with suppress(StrayCommitError):
                session.execute(text("COMMIT"))
            with suppress(SQLAlchemyError):
                session.execute(text("SELECT * FROM nowhere"))
            database.execute("UPDATE member SET age = 1")
            ada.update(age=(ada.age or 0) - 10)

    with unit_of_work():
        Member(name="ada", age=100).save()
    with pytest.raises(LostWritesError):
        lose()
    assert database.scalar("SELECT age FROM member") == 1
