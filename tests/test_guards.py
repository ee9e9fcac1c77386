"""The guards: lost writes, stray commits, writes after the end, read-only units."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, delete, event, insert, text, update
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    LockTimeout,
    LostWritesError,
    ReadOnlyError,
    StrayCommitError,
    UniqueViolation,
    UnitOfWork,
    UnknownAttributeError,
    WriteAfterCommitError,
    atomic,
    configure,
    read_only,
    session,
    unit_of_work,
)
from tests.core import Undone, names, on_postgres, on_servers, on_sqlite, undone
from tests.databases import EACH, Database, database_of
from tests.models import Document, Entry, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


def swallow(function: Callable[[], Any]) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # whichever it is
        function()


# Lost writes


def flush_what_fails() -> None:
    session.add(Member(name="ada"))
    session.flush()


def autoflush_what_fails() -> None:
    session.add(Member(name="ada"))
    Member.query.all()


def fail_in_an_event() -> None:
    def refuse(*_: Any) -> None:
        raise Undone

    event.listen(Member, "before_insert", refuse)
    try:
        save("bob")
    finally:
        event.remove(Member, "before_insert", refuse)


def write_a_stale_record() -> None:
    document = Document(title="a").save()
    with session.no_autoflush:
        session.execute(text("UPDATE document SET version = 7"))
    document.update(title="b")


FAILURES = [
    lambda: save("ada"),
    flush_what_fails,
    autoflush_what_fails,
    fail_in_an_event,
    write_a_stale_record,
    lambda: session.execute(insert(Member).values(name="ada")),
    lambda: session.execute(update(Member).values(name=None)),
    lambda: session.execute(text("INSERT INTO member (name) VALUES ('ada')")),
    lambda: session.connection().exec_driver_sql("INSERT INTO nowhere VALUES (1)"),
    lambda: session.execute(text("SELECT nothing FROM nowhere")),
]


@pytest.mark.parametrize("fail", FAILURES)
def test_dooms_the_unit_when_an_error_is_swallowed_after_writes(
    engine: Engine, database: Database, fail: Callable[[], Any]
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            swallow(fail)
            with pytest.raises(LostWritesError):
                save("cyd")
            Member.query.all()  # to render an answer

    with pytest.raises(LostWritesError, match=r"\d writes? of unit_of_work\(\)") as caught:
        work()
    assert isinstance(caught.value.__cause__, Exception)
    assert names(database) == []
    assert database.scalar("SELECT count(*) FROM document") == 0


@pytest.mark.parametrize(
    "fail", [FAILURES[3], *FAILURES[-2:], lambda: Member().save()], ids=lambda each: None
)
def test_goes_on_when_an_error_is_swallowed_before_any_write(
    engine: Engine, database: Database, fail: Callable[[], Any]
) -> None:
    with unit_of_work():
        swallow(fail)
        save("ada")
    assert names(database) == ["ada"]


def test_dooms_the_unit_when_a_failed_flush_took_other_changes_with_it(
    engine: Engine, database: Database
) -> None:
    database.execute("INSERT INTO member (name) VALUES ('ada')")
    database.execute("INSERT INTO entry (amount) VALUES (1)")

    def work() -> None:
        with unit_of_work():
            Entry.query.one().amount = 2
            swallow(lambda: save("ada"))
            Document(title="the rest").save()

    with pytest.raises(LostWritesError):
        work()
    assert database.scalar("SELECT count(*) FROM document") == 0


def test_dooms_the_unit_when_a_failed_flush_took_a_new_record_with_it(
    engine: Engine, database: Database
) -> None:
    def work() -> None:
        with unit_of_work():
            session.add(Member(name="ada"))
            swallow(lambda: Member(name=None).save())
            Document(title="the rest").save()

    with pytest.raises(LostWritesError):
        work()
    assert database.scalar("SELECT count(*) FROM document") == 0


@on_sqlite
def test_goes_on_when_the_lock_was_not_free_for_the_first_write(
    engine: Engine, database: Database
) -> None:
    impatient = configure(database.url, pragmas={"busy_timeout": 0})
    database.execute("BEGIN IMMEDIATE")
    with unit_of_work():
        with pytest.raises(LockTimeout):
            save("ada")
        database.execute("ROLLBACK")
        save("bob")
    assert names(database) == ["bob"]
    impatient.dispose()


@on_servers
def test_goes_on_when_the_first_lock_was_not_free(engine: Engine, database: Database) -> None:
    database.execute("INSERT INTO member (name) VALUES ('ada')")
    database.execute("BEGIN")
    database.execute("SELECT * FROM member FOR UPDATE")
    with unit_of_work():
        with pytest.raises(LockTimeout):
            session.execute(text("SELECT * FROM member FOR UPDATE NOWAIT"))
        database.execute("ROLLBACK")  # or MariaDB keeps the gaps between the rows locked, too
        save("bob")
    assert names(database) == ["ada", "bob"]


def test_undoes_a_savepoint_of_core_alone(engine: Engine, database: Database) -> None:
    def fail() -> None:
        with session.connection().begin_nested():
            session.execute(insert(Member).values(name="ada"))

    with unit_of_work():
        save("ada")
        with pytest.raises(UniqueViolation):
            fail()
        save("bob")
    assert names(database) == ["ada", "bob"]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: Member(nmae="bob"),
        lambda: Member.query.one().update(nmae="bob"),
        lambda: Member.query.filter_by(name="nobody").one(),
        lambda: Member.query.filter_by(name="nobody").first_or_404(),
    ],
)
def test_goes_on_after_a_mistake_that_reached_no_database(
    engine: Engine, database: Database, mistake: Callable[[], Any]
) -> None:
    with unit_of_work():
        save("ada")
        swallow(mistake)
        save("bob")
    assert names(database) == ["ada", "bob"]


ENDS: list[Callable[[], Any]] = [
    lambda: session.rollback(),
    lambda: session.close(),
    lambda: session.remove(),
    lambda: session.reset(),
    lambda: session().invalidate(),
    lambda: session().get_transaction().rollback(),
    lambda: session().get_transaction().close(),
    lambda: session.connection().rollback(),
    lambda: session.connection().get_transaction().rollback(),
    lambda: session.connection().close(),
    lambda: session.execute(text("ROLLBACK")),
    lambda: session.connection().exec_driver_sql("/* all */ rollback;"),
    lambda: session.connection().connection.rollback(),
    lambda: session.connection().connection.cursor().execute("ROLLBACK"),
]


@pytest.mark.filterwarnings("ignore:transaction already deassociated")  # SQLAlchemy's, too
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("goes_on", [True, False])
def test_dooms_the_unit_when_someone_ends_its_transaction(
    engine: Engine, database: Database, end: Callable[[], Any], goes_on: bool
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            end()
            if goes_on:
                save("bob")

    with pytest.raises((LostWritesError, SQLAlchemyError)):
        work()
    assert names(database) == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


@pytest.mark.parametrize("end", ENDS[:4])
def test_goes_on_when_someone_ends_a_transaction_without_writes(
    engine: Engine, database: Database, end: Callable[[], Any]
) -> None:
    with unit_of_work():
        Member.query.all()
        end()
        save("ada")
    assert names(database) == ["ada"]


@on_sqlite
def test_dooms_the_unit_when_sqlite_itself_undoes_it_from_inside_a_savepoint(
    engine: Engine, database: Database
) -> None:
    database.execute(
        "CREATE TRIGGER too_old BEFORE INSERT ON member WHEN NEW.age > 150"
        " BEGIN SELECT RAISE(ROLLBACK, 'too old'); END"
    )

    def work() -> None:
        with unit_of_work():
            save("ada")
            with pytest.raises(SQLAlchemyError), atomic():
                Member(name="bob", age=200).save()
            save("cyd")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []


@on_postgres
def test_dooms_the_unit_when_a_raw_cursor_has_aborted_the_transaction(
    engine: Engine, database: Database
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            with pytest.raises(Exception, match="nowhere"):
                session.connection().connection.cursor().execute("SELECT nothing FROM nowhere")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []


# Writes after the end

WRITES: list[Callable[[], Any]] = [
    lambda: save("bob"),
    lambda: session.execute(insert(Member).values(name="bob")),
    lambda: session.execute(update(Member).values(name="bob")),
    lambda: session.execute(delete(Member)),
    lambda: session.execute(text("INSERT INTO member (name) VALUES ('bob')")),
    lambda: session.execute(text("CREATE TABLE other (id INTEGER)")),
]


@pytest.mark.parametrize("end", [UnitOfWork.commit, UnitOfWork.rollback])
@pytest.mark.parametrize("write", WRITES)
def test_refuses_a_write_after_the_end(
    engine: Engine,
    database: Database,
    end: Callable[[UnitOfWork], None],
    write: Callable[[], Any],
) -> None:
    unit = UnitOfWork.begin(name="GET /users")
    save("ada")
    end(unit)
    after = names(database)
    with pytest.raises(WriteAfterCommitError, match="GET /users"):
        write()
    assert Member.query.count() == len(after)
    with unit_of_work():
        save("cyd")
    unit.close()
    assert names(database) == [*after, "cyd"]


def test_refuses_to_change_a_record_after_the_end(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    ada = save("ada")
    unit.commit()
    with pytest.raises(WriteAfterCommitError):
        ada.update(name="bob")
    with pytest.raises(WriteAfterCommitError):
        ada.delete()
    unit.close()
    assert names(database) == ["ada"]


# Read-only


@pytest.mark.parametrize("write", WRITES)
def test_refuses_a_write_in_a_read_only_unit_before_any_sql(
    engine: Engine, database: Database, write: Callable[[], Any]
) -> None:
    sent: list[str] = []
    with read_only():
        assert Member.query.count() == 0
        listener = lambda *details: sent.append(details[2])  # noqa: E731
        event.listen(engine, "after_cursor_execute", listener)
        with pytest.raises(ReadOnlyError, match="read-only"):
            write()
        event.remove(engine, "after_cursor_execute", listener)
    assert sent == []
    assert names(database) == []


@pytest.mark.parametrize(
    ("many", "options"), [(True, {}), (False, {"no_parameters": True})], ids=["many", "none"]
)
def test_hears_of_a_statement_however_the_driver_gets_it(
    engine: Engine, database: Database, many: bool, options: dict[str, Any]
) -> None:
    def write() -> None:
        connection = session.connection()
        statement = "INSERT INTO member (name) VALUES ('ada')"
        if many:
            mark = {"sqlite": "?"}.get(database.dialect, "%s")
            rows = [("ada",), ("bob",)]
            connection.exec_driver_sql(f"INSERT INTO member (name) VALUES ({mark})", rows)
        else:
            connection.exec_driver_sql(statement, execution_options=options)

    with read_only(), pytest.raises(ReadOnlyError, match="read-only"):
        write()
    with undone(), unit_of_work() as unit:
        write()
        assert unit.writes == 1
        assert names(database) == []
        raise Undone
    assert names(database) == []


def test_takes_no_connection_for_a_flush_that_is_refused(engine: Engine) -> None:
    taken: list[object] = []
    event.listen(engine, "checkout", lambda *details: taken.append(details))
    with read_only(), pytest.raises(ReadOnlyError):
        save("bob")
    assert taken == []


def test_takes_no_offence_at_a_value_that_is_set_to_what_it_was(engine: Engine) -> None:
    with unit_of_work():
        save("ada")
    with read_only():
        ada = Member.query.one()
        ada.name = "ada"
        assert Member.query.all() == [ada]


def test_refuses_what_a_read_only_unit_left_pending(engine: Engine, database: Database) -> None:
    with pytest.raises(ReadOnlyError), read_only():
        session.add(Member(name="ada"))
    assert names(database) == []


@on_postgres
@pytest.mark.parametrize(
    "statement", ["SELECT nextval('member_id_seq')", "SELECT * FROM member FOR UPDATE"]
)
def test_has_the_server_refuse_what_no_one_else_can_see(engine: Engine, statement: str) -> None:
    with read_only():
        assert session.scalar(text("SHOW transaction_read_only")) == "on"
        with pytest.raises(ReadOnlyError):
            session.execute(text(statement))
        assert session.scalar(text("SHOW transaction_read_only")) == "on"
    with unit_of_work():
        assert session.scalar(text("SHOW transaction_read_only")) == "off"


def test_says_what_to_do_in_every_message(engine: Engine, database: Database) -> None:
    with unit_of_work():
        save("ada")
        with pytest.raises(StrayCommitError, match="allow_commit"):
            session.commit()
        with pytest.raises(UnknownAttributeError, match="Did you mean 'name'"):
            Member.create(nmae="bob")
        with pytest.raises(UniqueViolation, match=r"Member \(uq_member_name\)"), atomic():
            save("ada")
    assert names(database) == ["ada"]
