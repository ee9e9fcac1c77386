"""What MariaDB does otherwise, and that the promise holds all the same."""

import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pymysql  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import Connection, Engine, insert, make_url, text, update
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import scoped_session, sessionmaker

from activebase import (
    DeadlockDetected,
    LockTimeout,
    LostWritesError,
    ReadOnlyError,
    SerializationFailure,
    StrayCommitError,
    UnitOfWorkError,
    WriteAfterCommitError,
    atomic,
    configure,
    current_unit,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from activebase.session import global_registry
from tests.core import Undone, connection_id, names, undone
from tests.databases import Database
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures"]


@pytest.fixture
def database(mariadb_database: Database) -> Database:
    return mariadb_database


def save(name: str) -> Member:
    return Member(name=name).save()


def raw_cursor() -> Any:
    """The driver's own, behind the session's back."""
    return session.connection().connection.cursor()


# What commits by itself

AUTOCOMMITS = [
    "CREATE TABLE other (id INT)",
    "ALTER TABLE member ADD COLUMN size INT",
    "DROP TABLE entry",
    "TRUNCATE TABLE entry",
    "RENAME TABLE entry TO item",
    "LOCK TABLES member WRITE",
    "START TRANSACTION",
    "SET autocommit = 1",
    "/*! COMMIT */",
]


@pytest.mark.parametrize("statement", AUTOCOMMITS)
def test_refuses_what_would_commit_half_a_unit(
    engine: Engine, database: Database, statement: str
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            session.execute(text(statement))

    with pytest.raises(StrayCommitError):
        work()
    assert names(database) == []


def test_goes_on_intact_after_such_a_refusal(engine: Engine, database: Database) -> None:
    with unit_of_work():
        save("ada")
        with pytest.raises(StrayCommitError, match=r"engine\.begin\(\)"):
            Base.metadata.tables["entry"].drop(session.connection())
        assert names(database) == []
        save("bob")
    assert names(database) == ["ada", "bob"]
    assert database.scalar("SELECT count(*) FROM entry") == 0


def test_refuses_it_before_any_write_as_well(engine: Engine, database: Database) -> None:
    with unit_of_work(), pytest.raises(StrayCommitError):
        session.execute(text("CREATE TABLE other (id INT)"))
    with read_only(), pytest.raises(ReadOnlyError):
        session.execute(text("CREATE TABLE other (id INT)"))

    def create() -> None:
        session.execute(text("CREATE TABLE other (id INT)"))

    with pytest.raises(WriteAfterCommitError), unit_of_work():
        on_commit(create, robust=False)
    assert database.rows("SHOW TABLES LIKE 'other'") == []


def test_lets_it_pass_on_a_connection_of_its_own(engine: Engine, database: Database) -> None:
    with undone(), unit_of_work():
        save("ada")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE other (id INT)"))
        raise Undone
    assert names(database) == []
    assert database.scalar("SELECT count(*) FROM other") == 0


def test_lets_it_pass_outside_of_units(engine: Engine, database: Database) -> None:
    save("ada")
    session.execute(text("CREATE TABLE other (id INT)"))
    assert names(database) == ["ada"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of uncommitted writes, for there are none any more
        global_registry.end_thread()


def test_lets_temporary_tables_pass(engine: Engine, database: Database) -> None:
    with undone(), unit_of_work():
        save("ada")
        session.execute(text("CREATE TEMPORARY TABLE other (id INT)"))
        session.execute(text("INSERT INTO other VALUES (1)"))
        session.execute(text("DROP TEMPORARY TABLE other"))
        raise Undone
    assert names(database) == []


# What ends the transaction behind the session


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK", "CREATE TABLE other (id INT)"])
@pytest.mark.parametrize("goes_on", [True, False])
def test_dooms_the_unit_when_a_raw_cursor_ends_its_transaction(
    engine: Engine, database: Database, statement: str, goes_on: bool
) -> None:
    def work() -> None:
        with unit_of_work():
            # Many in one INSERT ... RETURNING, whose answer says nothing of the transaction.
            session.add_all([Member(name="ada"), Member(name="bob")])
            session.flush()
            raw_cursor().execute(statement)
            if goes_on:
                save("cyd")

    with pytest.raises(LostWritesError, match="raw cursor"):
        work()
    assert "cyd" not in names(database)


def test_dooms_the_unit_when_a_procedure_commits(engine: Engine, database: Database) -> None:
    database.execute(
        "CREATE PROCEDURE pay() BEGIN INSERT INTO member (name) VALUES ('bob'); COMMIT; END"
    )

    def work() -> None:
        with unit_of_work():
            save("ada")
            session.execute(text("CALL pay()"))

    with pytest.raises(LostWritesError):
        work()


def test_takes_a_procedure_that_leaves_the_commit_to_the_unit(
    engine: Engine, database: Database
) -> None:
    database.execute(
        "CREATE PROCEDURE pay() BEGIN INSERT INTO member (name) VALUES ('bob'); SELECT 7; END"
    )
    with unit_of_work():
        assert session.execute(text("CALL pay()")).scalar() == 7
        save("ada")
        assert names(database) == []
    assert names(database) == ["bob", "ada"]


# What a failure undoes


def shows(database: Database, connection: int, column: str, value: str) -> bool:
    """Tell whether the server shows the value for an open transaction, now or soon."""
    ask = (
        f"SELECT {column} FROM information_schema.innodb_trx WHERE trx_mysql_thread_id={connection}"
    )
    for _ in range(40):
        if database.scalar(ask) == value:
            return True
        time.sleep(0.15)  # the server looks anew when nobody has asked for 0.1 seconds
    return False


@contextmanager
def deadlock_ahead(database: Database) -> Iterator[Callable[[], None]]:
    """Have another transaction hold member 2; the function has it wait for member 1.

    It has written more, so that MariaDB ends the other one of the two: ours.
    """
    url = make_url(database.url)
    other = pymysql.connect(
        host=url.host, port=url.port or 3306, user=url.username, database=url.database
    )
    cursor = other.cursor()
    for number in range(20):
        cursor.execute(f"INSERT INTO document (title, version) VALUES ('{number}', 1)")
    cursor.execute("UPDATE member SET age = 9 WHERE id = 2")

    def update_the_first() -> None:
        cursor.execute("UPDATE member SET age = 9 WHERE id = 1")
        other.commit()

    waiting = threading.Thread(target=update_the_first)

    def wait_for_the_first() -> None:
        waiting.start()
        assert shows(database, other.thread_id(), "trx_state", "LOCK WAIT")

    try:
        yield wait_for_the_first
    finally:
        if waiting.ident:
            waiting.join(10)
        other.close()


@pytest.fixture
def two_members(engine: Engine, database: Database) -> None:
    database.execute("INSERT INTO member (id, name, age) VALUES (1, 'ada', 1), (2, 'bob', 2)")


def grow(number: int) -> None:
    session.execute(update(Member).where(Member.id == number).values(age=7))


@atomic
def grow_both(in_between: Callable[[], None] = lambda: None) -> None:
    grow(1)
    in_between()
    grow(2)


def test_dooms_the_unit_when_a_deadlock_in_a_savepoint_has_undone_it_all(
    two_members: None, database: Database
) -> None:
    def work() -> None:
        with deadlock_ahead(database) as wait_for_the_first, unit_of_work():
            save("cyd")
            with pytest.raises(DeadlockDetected):
                grow_both(wait_for_the_first)
            with pytest.raises(LostWritesError):
                save("dan")

    with pytest.raises(LostWritesError) as caught:
        work()
    assert isinstance(caught.value.__cause__, DeadlockDetected)
    assert names(database) == ["ada", "bob"]
    assert database.rows("SELECT age FROM member ORDER BY id") == [(9,), (9,)]


def test_runs_again_after_a_deadlock_in_a_savepoint(two_members: None, database: Database) -> None:
    with deadlock_ahead(database) as wait_for_the_first:

        @unit_of_work(retries=1)
        def work() -> int:
            save("cyd")
            unit = current_unit()
            assert unit is not None
            grow_both(wait_for_the_first if unit.attempt == 1 else lambda: None)
            return unit.attempt

        assert work() == 2
    assert names(database) == ["ada", "bob", "cyd"]
    assert database.rows("SELECT age FROM member WHERE id < 3") == [(7,), (7,)]


def test_goes_on_when_a_deadlock_has_undone_nothing(two_members: None, database: Database) -> None:
    with deadlock_ahead(database) as wait_for_the_first, unit_of_work():
        raw_cursor().execute("SELECT * FROM member WHERE id = 1 FOR UPDATE")
        wait_for_the_first()
        with pytest.raises(DeadlockDetected):
            grow(2)
        # In the transaction that has been begun anew; their INSERT ... RETURNING shows it.
        session.add_all([Member(name="cyd"), Member(name="dan")])
        session.flush()
        save("eve")
    assert names(database) == ["ada", "bob", "cyd", "dan", "eve"]


@pytest.mark.parametrize("in_savepoint", [True, False])
def test_knows_that_a_lock_timeout_undoes_one_statement(
    two_members: None, database: Database, in_savepoint: bool
) -> None:
    database.execute("BEGIN")
    database.execute("UPDATE member SET age = 9 WHERE id = 2")

    def work() -> None:
        with unit_of_work():
            session.execute(text("SET innodb_lock_wait_timeout = 1"))
            save("cyd")
            with pytest.raises(LockTimeout):
                grow_both() if in_savepoint else grow(2)

    if in_savepoint:
        work()
    else:  # the same rule as on every database: what had been written may not be half of it
        with pytest.raises(LostWritesError):
            work()
    database.execute("ROLLBACK")
    assert names(database) == (["ada", "bob", "cyd"] if in_savepoint else ["ada", "bob"])
    assert database.rows("SELECT age FROM member WHERE id < 3") == [(1,), (2,)]


def test_tells_a_row_that_has_changed_since_the_snapshot(
    two_members: None, database: Database, unconfigured: None
) -> None:
    engine = configure(
        database.url, connect_args={"init_command": "SET innodb_snapshot_isolation = ON"}
    )
    attempts = []

    @unit_of_work(retries=1)
    def have_a_birthday() -> int:
        member = Member.get_or_404(1)
        attempts.append(member.age)
        if len(attempts) == 1:
            database.execute("UPDATE member SET age = 50 WHERE id = 1")
            with pytest.raises(SerializationFailure) as caught:
                member.update(age=(member.age or 0) + 1)
            raise caught.value
        return member.update(age=(member.age or 0) + 1).age or 0

    assert have_a_birthday() == 51
    assert attempts == [1, 50]
    engine.dispose()


# Read-only units, isolation levels


@pytest.fixture
def single(database: Database, unconfigured: None) -> Iterator[Engine]:
    """An engine with one connection: what a unit leaves behind, the next one finds."""
    engine = configure(database.url, pool_size=1, max_overflow=0)
    Base.metadata.create_all(engine)
    yield engine
    session.remove()
    engine.dispose()


def test_has_the_server_refuse_what_no_one_else_can_see(single: Engine, database: Database) -> None:
    database.execute("CREATE FUNCTION pay() RETURNS INT BEGIN DELETE FROM member; RETURN 7; END")
    with unit_of_work():
        save("ada")
    for statement in ("SELECT pay()", "SELECT * FROM member FOR UPDATE"):
        with read_only(), pytest.raises(ReadOnlyError):
            session.execute(text(statement))
    with read_only(), pytest.raises(pymysql.OperationalError, match="READ ONLY"):
        raw_cursor().execute("DELETE FROM member")
    with read_only():
        assert session.scalar(text("SELECT 1")) == 1  # no table: that begins no transaction
    with unit_of_work():
        save("bob")
    assert names(database) == ["ada", "bob"]


def test_sets_the_isolation_level_of_one_unit(single: Engine, database: Database) -> None:
    def has_level(level: str) -> bool:
        Member.query.all()
        return shows(database, connection_id(), "trx_isolation_level", level)

    with unit_of_work(isolation_level="SERIALIZABLE"):
        assert has_level("SERIALIZABLE")
        session.rollback()
        assert has_level("SERIALIZABLE")
    with unit_of_work(isolation_level="READ COMMITTED", read_only=True):
        assert has_level("READ COMMITTED")
    with unit_of_work(isolation_level="SERIALIZABLE"):
        assert session.scalar(text("SELECT 1")) == 1  # no table: that begins no transaction
    with unit_of_work():
        assert has_level("REPEATABLE READ")


@pytest.mark.parametrize("level", [None, "REPEATABLE READ", "SERIALIZABLE"])
def test_holds_the_snapshot_that_was_asked_for(
    engine: Engine, database: Database, level: str | None
) -> None:
    def work() -> None:
        with unit_of_work(isolation_level=level):
            Member.query.all()
            with pytest.raises(DBAPIError):
                session.execute(text("SELECT nothing FROM nowhere"))
            save("bob")

    if level is None:  # MariaDB's default is as good as any other database's
        work()
    else:
        with pytest.raises(LostWritesError):
            work()
    assert names(database) == (["bob"] if level is None else [])


@pytest.mark.parametrize(
    "hold", ["SELECT * FROM member FOR UPDATE", "SELECT * FROM member LOCK IN SHARE MODE"]
)
def test_refuses_the_unit_when_a_swallowed_error_gave_up_a_lock(
    two_members: None, database: Database, hold: str
) -> None:
    def work() -> None:
        with unit_of_work():
            session.execute(text(hold))
            with pytest.raises(DBAPIError):
                session.execute(text("SELECT nothing FROM nowhere"))
            save("cyd")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == ["ada", "bob"]


# Connections that are set up otherwise


@pytest.fixture
def outer(engine: Engine) -> Iterator[Connection]:
    """A connection in a transaction, which has written."""
    with engine.connect() as connection:
        connection.execute(insert(Member).values(name="ada"))
        yield connection


@pytest.mark.parametrize("mode", ["create_savepoint", "conditional_savepoint", "rollback_only"])
def test_begins_nothing_in_a_transaction_that_is_not_its_own(
    outer: Connection, database: Database, mode: Any
) -> None:
    scoped = scoped_session(sessionmaker(outer, join_transaction_mode=mode))
    with unit_of_work(session=scoped):
        scoped.execute(insert(Member).values(name="bob"))
    assert names(database) == []
    assert outer.execute(text("SELECT count(*) FROM member")).scalar() == 2
    outer.rollback()
    assert names(database) == []


def test_never_ignores_an_isolation_level_that_it_can_not_set(outer: Connection) -> None:
    scoped = scoped_session(sessionmaker(outer))
    with (
        pytest.raises(OperationalError, match="in progress"),
        unit_of_work(session=scoped, isolation_level="SERIALIZABLE"),
    ):
        scoped.execute(text("SELECT 1"))


def test_refuses_a_connection_that_commits_each_statement(
    database: Database, unconfigured: None
) -> None:
    engine = configure(database.url, connect_args={"autocommit": True})
    with pytest.raises(UnitOfWorkError, match="AUTOCOMMIT"), unit_of_work():
        session.execute(text("SELECT 1"))
    engine.dispose()
