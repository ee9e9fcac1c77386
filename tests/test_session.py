"""configure(), and the defaults that it gives the engine and the session."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, make_url, select, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, scoped_session

from activebase import (
    LostWritesError,
    NestedUnitError,
    NotConfiguredError,
    configure,
    read_only,
    session,
    unit_of_work,
)
from activebase.session import registry_of
from tests.archive import Record, archive
from tests.core import Undone, names, undone
from tests.databases import Database
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures"]


def pragma(name: str) -> Any:
    with unit_of_work():
        return session.scalar(text(f"PRAGMA {name}"))


# configure()


def test_takes_a_url_as_text_or_object(database: Database, unconfigured: None) -> None:
    for url in (database.url, make_url(database.url)):
        engine = configure(url)
        with unit_of_work():
            assert session.scalar(text("SELECT 1")) == 1
        assert engine.dialect.name == database.dialect
        engine.dispose()


def test_takes_an_engine_as_it_is(database: Database, unconfigured: None) -> None:
    engine = create_engine(database.url)
    assert configure(engine) is engine
    with unit_of_work():
        assert session.get_bind() is engine
    engine.dispose()


def test_hands_engine_options_through(database: Database, unconfigured: None) -> None:
    engine = configure(database.url, pool_size=3, pool_recycle=7, pool_pre_ping=False)
    assert engine.pool.size() == 3  # type: ignore[attr-defined]  # of a QueuePool
    assert (engine.pool._recycle, engine.pool._pre_ping) == (7, False)


def test_refuses_options_for_an_engine(unconfigured: None) -> None:
    with pytest.raises(TypeError, match="pool_size"):
        configure(create_engine("sqlite://"), pool_size=3)


@pytest.mark.parametrize(
    "wrong", ["app.db", "mydb://user:hunter2@host/app", "", "postgresql+nothing://hunter2@host/app"]
)
def test_refuses_what_is_no_database_url(unconfigured: None, wrong: str) -> None:
    with pytest.raises(NotConfiguredError, match=r"sqlite:///app\.db") as caught:
        configure(wrong)
    assert isinstance(caught.value, ArgumentError)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "use",
    [
        lambda: Member(name="ada").save(),
        lambda: Member.get(1),
        lambda: Member.query.all(),
        lambda: session.execute(text("SELECT 1")),
    ],
    ids=["save", "get", "query", "execute"],
)
def test_names_the_fix_when_used_before_configure(
    unconfigured: None, use: Callable[[], Any]
) -> None:
    with pytest.raises(NotConfiguredError, match=r"activebase\.configure\("):
        use()
    with pytest.raises(NotConfiguredError, match=r"activebase\.configure\("), unit_of_work():
        use()


def test_replaces_the_engine_for_new_sessions(
    engine: Engine, database: Database, sqlite_database: Database
) -> None:
    with unit_of_work():
        Member(name="ada").save()
    other = configure(f"{make_url(sqlite_database.url).render_as_string(False)}.other")
    Base.metadata.create_all(other)
    with unit_of_work():
        assert session.get_bind() is other
        assert Member.query.count() == 0
        Member(name="bob").save()
    assert names(database) == ["ada"]
    other.dispose()


def test_refuses_to_configure_inside_a_unit(engine: Engine, database: Database) -> None:
    with unit_of_work():
        Member(name="ada").save()
        with pytest.raises(NestedUnitError, match="configure"):
            configure("sqlite://")
        assert session.get_bind() is engine
    assert names(database) == ["ada"]


def test_refuses_an_unknown_policy_for_stray_commits(engine: Engine) -> None:
    with pytest.raises(ValueError, match="raise, warn, allow"):
        configure("sqlite://", stray_commits="ignore")
    assert session.get_bind() is engine


def test_refuses_a_url_that_would_commit_each_statement(
    database: Database, unconfigured: None
) -> None:
    with pytest.raises(ValueError, match="AUTOCOMMIT"):
        configure(database.url, isolation_level="AUTOCOMMIT")


def test_refuses_an_engine_that_would_commit_each_statement(
    postgres_database: Database, unconfigured: None
) -> None:
    plain = create_engine(postgres_database.url)
    Base.metadata.create_all(plain)
    configure(plain.execution_options(isolation_level="AUTOCOMMIT"))
    with pytest.raises(RuntimeError, match="AUTOCOMMIT"), unit_of_work():
        Member(name="ada").save()
    assert names(postgres_database) == []
    plain.dispose()


def test_undoes_a_unit_on_a_sqlite_engine_that_was_meant_to_commit_each_statement(
    sqlite_database: Database, unconfigured: None
) -> None:
    engine = configure(create_engine(sqlite_database.url, isolation_level="AUTOCOMMIT"))
    Base.metadata.create_all(engine)
    with undone(), unit_of_work():
        Member(name="ada").save()
        raise Undone
    assert names(sqlite_database) == []
    engine.dispose()


# The session's defaults


def test_keeps_records_readable_after_the_unit(engine: Engine) -> None:
    with unit_of_work():
        ada = Member(name="ada", age=36).save()
    engine.dispose()
    assert (ada.id, ada.name, ada.age) == (1, "ada", 36)


def test_flushes_before_a_query(engine: Engine) -> None:
    with unit_of_work():
        session.add(Member(name="ada"))
        assert session.scalars(select(Member.name)).all() == ["ada"]


def test_hands_through_what_a_session_tells_of_its_transaction(engine: Engine) -> None:
    with unit_of_work():
        assert not session.in_transaction()
        assert session.get_transaction() is None
        Member(name="ada").save()
        assert session.in_transaction()
        assert session.get_transaction() is session().get_transaction()
        with session.begin_nested() as savepoint:
            assert session.in_nested_transaction()
            assert session.get_nested_transaction() is savepoint


def test_refuses_a_session_argument_that_is_no_scoped_session() -> None:
    with pytest.raises(TypeError, match="scoped_session"):
        registry_of(Session)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(TypeError, match="sessionmaker"):
        registry_of(scoped_session(lambda: Session()))  # type: ignore[arg-type]  # the mistake


# SQLite


@pytest.fixture
def sqlite_engine(sqlite_database: Database, unconfigured: None) -> Any:
    engine = configure(sqlite_database.url)
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_sets_sqlite_up_for_a_service(sqlite_engine: Engine, sqlite_database: Database) -> None:
    assert pragma("foreign_keys") == 1
    assert pragma("busy_timeout") == 5000
    assert pragma("synchronous") == 1  # NORMAL
    assert pragma("journal_mode") == "wal"
    assert sqlite_database.scalar("PRAGMA journal_mode") == "wal"


def test_lets_pragmas_be_overridden_and_left_out(
    sqlite_database: Database, unconfigured: None
) -> None:
    pragmas = {"busy_timeout": 77, "synchronous": "FULL", "journal_mode": None, "cache_size": -500}
    engine = configure(sqlite_database.url, pragmas=pragmas)
    assert (pragma("busy_timeout"), pragma("synchronous"), pragma("cache_size")) == (77, 2, -500)
    assert pragma("foreign_keys") == 1
    assert sqlite_database.scalar("PRAGMA journal_mode") == "delete"
    engine.dispose()


@pytest.mark.parametrize("pragmas", [{"user_version; DROP": 1}, {"user_version": "1; DROP"}])
def test_refuses_a_pragma_that_is_more_than_a_word(
    sqlite_database: Database, unconfigured: None, pragmas: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match="pragma"):
        configure(sqlite_database.url, pragmas=pragmas)


def test_sets_up_the_open_connections_of_an_engine_that_it_is_given(
    sqlite_database: Database, unconfigured: None
) -> None:
    given = create_engine(sqlite_database.url)
    with given.connect() as connection:
        assert connection.scalar(text("PRAGMA foreign_keys")) == 0
    configure(given)
    assert pragma("foreign_keys") == 1
    given.dispose()


def test_undoes_ddl_and_savepoints_on_sqlite(
    sqlite_engine: Engine, sqlite_database: Database
) -> None:
    with undone(), unit_of_work():
        session.execute(text("CREATE TABLE half (id INTEGER)"))
        raise Undone
    assert sqlite_database.rows("SELECT name FROM sqlite_master WHERE name = 'half'") == []
    with unit_of_work():
        savepoint = session.begin_nested()
        Member(name="ada").save()
        savepoint.rollback()
        Member(name="bob").save()
    assert names(sqlite_database) == ["bob"]


def test_takes_the_write_lock_at_the_first_statement_of_a_unit_that_may_write(
    sqlite_engine: Engine, sqlite_database: Database
) -> None:
    sqlite_database.execute("PRAGMA busy_timeout = 0")
    with unit_of_work():
        Member.query.all()
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite_database.execute("BEGIN IMMEDIATE")
    sqlite_database.execute("BEGIN IMMEDIATE")
    sqlite_database.execute("ROLLBACK")


def test_lets_others_write_while_a_read_only_unit_reads(
    sqlite_engine: Engine, sqlite_database: Database
) -> None:
    with read_only():
        assert Member.query.count() == 0
        sqlite_database.execute("INSERT INTO member (name) VALUES ('ada')")
        assert Member.query.count() == 0  # its snapshot
    assert names(sqlite_database) == ["ada"]


def test_keeps_an_in_memory_database_between_units(unconfigured: None) -> None:
    engine = configure("sqlite://")
    Base.metadata.create_all(engine)
    with unit_of_work():
        Member(name="ada").save()
    with unit_of_work():
        assert Member.query.count() == 1
    engine.dispose()


@pytest.fixture
def memory_engine(unconfigured: None) -> Iterator[Engine]:
    engine = configure("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def test_refuses_a_second_transaction_on_the_one_connection_of_an_in_memory_database(
    memory_engine: Engine,
) -> None:
    refused: list[NestedUnitError] = []
    with suppress(LostWritesError), unit_of_work():
        Member(name="ada").save()
        with unit_of_work(independent=True, read_only=True) as own:
            try:
                Member.query.all()
            except NestedUnitError as error:
                refused.append(error)
            own.doom("it could not even read")
    assert len(refused) == 1
    assert "in-memory" in str(refused[0])


def open_independent_unit(engine: Engine) -> None:
    with unit_of_work(independent=True, read_only=True):
        Member.query.all()


def open_a_second_connection(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.scalar(text("SELECT 1"))


@pytest.mark.parametrize("meanwhile", [open_independent_unit, open_a_second_connection])
def test_loses_nothing_silently_on_the_one_connection_of_an_in_memory_database(
    memory_engine: Engine, meanwhile: Callable[[Engine], None]
) -> None:
    outcome = "committed"
    try:
        with unit_of_work():
            Member(name="ada").save()
            with suppress(NestedUnitError):
                meanwhile(memory_engine)
    except LostWritesError:
        outcome = "refused"
    with unit_of_work():
        kept = Member.query.count()
    assert (outcome, kept) in (("committed", 1), ("refused", 0))


# Servers


def test_checks_pooled_connections_of_a_server_before_their_use(
    postgres_database: Database, unconfigured: None
) -> None:
    engine = configure(postgres_database.url)
    with unit_of_work():
        before = session.scalar(text("SELECT pg_backend_pid()"))
    postgres_database.execute(f"SELECT pg_terminate_backend({before}, 5000)")
    with unit_of_work():
        assert session.scalar(text("SELECT pg_backend_pid()")) != before
    assert engine.pool._recycle > 0
    engine.dispose()


# Several databases


def test_gives_a_base_its_own_database(
    engine: Engine, database: Database, postgres_database: Database
) -> None:

    other = create_engine(postgres_database.url)
    archive.configure(bind=other)
    Record.metadata.create_all(other)

    with undone(), unit_of_work():
        Member(name="ada").save()
        with unit_of_work(session=archive):
            Record(title="kept").save()
        assert Record.session is archive
        raise Undone
    with unit_of_work(session=archive):
        assert Record.query.one().title == "kept"
        assert Record.get(1) is Record.query.first()
    with undone(), unit_of_work(session=archive):
        Record(title="undone").save()
        with unit_of_work():
            Member(name="bob").save()
        raise Undone
    assert names(database) == ["bob"]
    assert postgres_database.rows("SELECT title FROM record") == [("kept",)]
    other.dispose()
