"""What counts as lost when an error is swallowed, beyond the writes that were flushed."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, insert, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import scoped_session, sessionmaker

from activebase import (
    LockTimeout,
    LostWritesError,
    NotNullViolation,
    StaleRecordError,
    UniqueViolation,
    configure,
    session,
    unit_of_work,
)
from tests.core import names, on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of
from tests.models import Document, Entry, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


# What others had left unflushed


def add_another(database: Database) -> None:
    session.add(Document(title="pending"))


def change_another(database: Database) -> None:
    Document.query.one().title = "changed"


def delete_another(database: Database) -> None:
    session.delete(Document.query.one())


@pytest.mark.parametrize("leave_pending", [add_another, change_another, delete_another])
@pytest.mark.parametrize("goes_on", [True, False])
def test_refuses_the_unit_when_a_failed_save_took_another_record_with_it(
    engine: Engine, database: Database, leave_pending: Callable[[Database], None], goes_on: bool
) -> None:
    database.execute("INSERT INTO member (name) VALUES ('ada')")
    database.execute("INSERT INTO document (title, version) VALUES ('as it was', 1)")

    def work() -> None:
        with unit_of_work():
            leave_pending(database)
            with pytest.raises(UniqueViolation):
                save("ada")
            if goes_on:
                save("bob")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == ["ada"]
    assert database.rows("SELECT title FROM document") == [("as it was",)]


def test_goes_on_when_a_record_fails_with_nothing_but_its_own_graph(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        with pytest.raises(NotNullViolation):
            Member(name="ada", entries=[Entry(amount=1), Entry(amount=None)]).save()
        save("bob")
    assert names(database) == ["bob"]
    assert database.scalar("SELECT count(*) FROM entry") == 0


# Errors that a program may repair


def test_commits_a_change_that_is_repeated_after_a_stale_record(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        document = Document(title="a").save()
    database.execute("UPDATE document SET title = 'b', version = 7")
    with unit_of_work():
        with pytest.raises(StaleRecordError):
            document.update(title="c")
        session.add(document)
        document.refresh()
        assert document.title == "b"
        document.update(title="c")
    assert database.rows("SELECT title, version FROM document") == [("c", 8)]


@on_sqlite
def test_counts_no_write_that_did_not_get_the_lock(engine: Engine, database: Database) -> None:
    impatient = configure(database.url, pragmas={"busy_timeout": 0})
    database.execute("BEGIN IMMEDIATE")
    with unit_of_work() as unit:
        for _ in range(2):
            with pytest.raises(LockTimeout):
                save("ada")
            assert unit.writes == 0
        database.execute("ROLLBACK")
        save("bob")
        assert unit.writes == 1
    assert unit.writes == 1
    assert names(database) == ["bob"]
    impatient.dispose()


# What a transaction holds beside writes


def fail() -> None:
    with pytest.raises(SQLAlchemyError):
        session.execute(text("SELECT nothing FROM nowhere"))


HOLDS: dict[str, Callable[[], Any]] = {
    "a record that is locked": lambda: session.get(Member, 1, with_for_update=True),
    "a row that is locked": lambda: session.execute(text("SELECT * FROM member FOR UPDATE")),
    "a row, in small letters": lambda: session.execute(
        text("select * from member where id = 1\nfor no key update of member nowait")
    ),
    "a row that is shared": lambda: session.execute(text("SELECT * FROM member FOR SHARE")),
    "a table that is locked": lambda: session.execute(text("LOCK TABLE member")),
    "a setting": lambda: session.execute(text("SET LOCAL activebase.tenant = '7'")),
}


@on_postgres
@pytest.mark.parametrize("hold", HOLDS)
def test_refuses_the_unit_when_a_swallowed_error_gave_up_what_it_held(
    engine: Engine, database: Database, hold: str
) -> None:
    database.execute("INSERT INTO member (name) VALUES ('ada')")

    def work() -> None:
        with unit_of_work():
            HOLDS[hold]()
            fail()
            save("bob")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == ["ada"]


@on_postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("has_read", [True, False])
def test_refuses_the_unit_when_a_swallowed_error_gave_up_the_snapshot_it_had_read_from(
    engine: Engine, database: Database, level: str, has_read: bool
) -> None:
    def work() -> None:
        with unit_of_work(isolation_level=level):
            if has_read:
                Member.query.all()
            fail()
            save("bob")
            assert session.scalar(text("SHOW transaction_isolation")) == level.lower()

    if has_read:
        with pytest.raises(LostWritesError):
            work()
    else:
        work()
    assert names(database) == ([] if has_read else ["bob"])


def go_on_after_a_read() -> None:
    with unit_of_work():
        Member.query.all()
        fail()
        save("bob")


@on_servers
@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
def test_goes_by_the_engine_s_isolation_level_where_the_unit_names_none(
    engine: Engine, database: Database, level: str
) -> None:
    stricter = configure(database.url, isolation_level=level)
    try:
        if level == "SERIALIZABLE":
            with pytest.raises(LostWritesError):
                go_on_after_a_read()
        else:
            go_on_after_a_read()
    finally:
        stricter.dispose()
    assert names(database) == ([] if level == "SERIALIZABLE" else ["bob"])


@on_postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_asks_psycopg2_as_well_for_the_isolation_level(
    engine: Engine, database: Database, level: str
) -> None:
    url = make_url(database.url).set(drivername="postgresql+psycopg2")
    stricter = configure(url, isolation_level=level)
    with pytest.raises(LostWritesError):
        go_on_after_a_read()
    stricter.dispose()
    assert names(database) == []


@on_servers
def test_goes_on_when_a_swallowed_error_gave_up_nothing_but_plain_reads(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        Member.query.all()
        fail()
        save("bob")
    assert names(database) == ["bob"]


FAILING = {
    "a select": lambda of: of.execute(text("SELECT nothing FROM nowhere")),
    "many rows": lambda of: of.execute(insert(Member), [{"name": n} for n in ("x", "y", "x")]),
}


@pytest.mark.filterwarnings("ignore:transaction already deassociated")  # SQLAlchemy's, after it
@pytest.mark.parametrize("failing", FAILING)
@pytest.mark.parametrize("mode", ["conditional_savepoint", "rollback_only", "create_savepoint"])
def test_keeps_a_transaction_around_the_unit_that_is_not_its_own(
    engine: Engine, database: Database, mode: Any, failing: str
) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        connection.execute(text("INSERT INTO member (name) VALUES ('ada')"))
        scoped = scoped_session(sessionmaker(connection, join_transaction_mode=mode))

        def work() -> None:
            with unit_of_work(session=scoped):
                with pytest.raises(SQLAlchemyError):
                    FAILING[failing](scoped)
                scoped.add(Member(name="bob"))

        with suppress(SQLAlchemyError, LostWritesError):
            work()
        with suppress(SQLAlchemyError):
            outer.commit()
    assert names(database) in ([], ["ada"], ["ada", "bob"]), "half of the transaction is there"
