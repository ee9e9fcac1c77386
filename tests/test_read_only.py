"""How a read-only unit has PostgreSQL refuse writes: the driver says so as it begins."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, make_url, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import StaticPool

from activebase import ReadOnlyError, configure, read_only, session, unit_of_work
from tests.core import names
from tests.databases import Database
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

SHOW = "SHOW transaction_read_only"
SET = "SET TRANSACTION READ ONLY"


@pytest.fixture
def database(postgres_database: Database) -> Database:
    return postgres_database


@pytest.fixture(params=["psycopg", "psycopg2"])
def only_engine(request: pytest.FixtureRequest, engine: Engine) -> Iterator[Engine]:
    """An engine with one connection, which all units and everyone else get in turn."""
    url = make_url(engine.url).set(drivername=f"postgresql+{request.param}")
    made = configure(url, pool_size=1, max_overflow=0, pool_timeout=1)
    yield made
    made.dispose()


def sent_by(engine: Engine) -> list[str]:
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    return sent


def is_read_only() -> bool:
    return bool(session.scalar(text(SHOW)) == "on")


def test_sends_no_statement_for_it(only_engine: Engine) -> None:
    sent = sent_by(only_engine)
    with read_only():
        assert is_read_only()
    assert sent == [SHOW]


def test_gives_the_connection_back_as_it_was(only_engine: Engine, database: Database) -> None:
    with read_only():
        assert is_read_only()
        session.rollback()
        assert is_read_only()
    with unit_of_work():
        assert not is_read_only()
        Member(name="ada").save()
    with pytest.raises(ReadOnlyError), read_only():
        session.execute(text("SELECT nextval('member_id_seq')"))
    with only_engine.begin() as connection:
        connection.execute(insert(Member).values(name="bob"))
    assert names(database) == ["ada", "bob"]


def test_is_as_it_was_for_who_has_asked_for_a_read_only_connection(only_engine: Engine) -> None:
    asked = only_engine.execution_options(postgresql_readonly=True)
    with Session(asked) as other:
        assert other.scalar(text(SHOW)) == "on"
    with unit_of_work():
        assert not is_read_only()
    with read_only():
        assert is_read_only()
    with Session(asked) as other:
        assert other.scalar(text(SHOW)) == "on"
    scoped = scoped_session(sessionmaker(asked))
    with read_only(session=scoped):
        assert scoped.scalar(text(SHOW)) == "on"
    with read_only():
        session.connection(execution_options={"postgresql_readonly": True})
        assert is_read_only()
    with unit_of_work():
        assert not is_read_only()


def test_forgets_a_connection_that_was_lost(only_engine: Engine, database: Database) -> None:
    with read_only():
        assert is_read_only()
        session.connection().invalidate()
        session.rollback()
        assert is_read_only()
    with unit_of_work():
        Member(name="ada").save()
    assert names(database) == ["ada"]


def test_says_it_where_the_driver_has_begun_already(only_engine: Engine) -> None:
    def begin(a_session: Any, transaction: Any, connection: Any) -> None:
        connection.exec_driver_sql("SELECT 1")

    sent = sent_by(only_engine)
    event.listen(Session, "after_begin", begin, insert=True)
    try:
        with read_only():
            assert is_read_only()
    finally:
        event.remove(Session, "after_begin", begin)
    assert sent == ["SELECT 1", SET, SHOW]


def test_says_it_on_a_connection_that_never_goes_back(engine: Engine) -> None:
    only = configure(engine.url, poolclass=StaticPool)
    sent = sent_by(only)
    with read_only():
        assert is_read_only()
    with unit_of_work():
        assert not is_read_only()
    assert sent == [SET, SHOW, SHOW]
    only.dispose()


def test_says_it_on_a_connection_of_someone_else_s(only_engine: Engine) -> None:
    with only_engine.connect() as connection:
        session.configure(bind=connection)
        sent = sent_by(only_engine)
        try:
            with read_only():
                assert is_read_only()
        finally:
            session.configure(bind=only_engine)
    assert sent == [SET, SHOW]
