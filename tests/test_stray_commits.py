"""Stray commits: only the boundary commits, whatever way someone else tries."""

import warnings

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.orm import Session

from activebase import (
    LostWritesError,
    StrayCommitError,
    StrayCommitWarning,
    allow_commit,
    atomic,
    configure,
    on_commit,
    session,
    unit_of_work,
)
from tests.core import Undone, names, on_postgres, on_servers, undone
from tests.databases import EACH, Database, database_of
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


def test_leaves_the_session_intact_after_a_refused_commit(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        ada = save("ada")
        before = session.get_transaction()
        with pytest.raises(StrayCommitError, match=r"session\.commit\(\) inside unit_of_work"):
            session.commit()
        with pytest.raises(StrayCommitError):
            session().get_transaction().commit()
        assert session.get_transaction() is before
        ada.update(name="bob")
    assert names(database) == ["bob"]


@pytest.mark.parametrize(
    "statement",
    [
        "COMMIT",
        "commit;",
        "  Commit Work",
        "END",
        "-- done\nCOMMIT",
        "/* done */ COMMIT",
    ],
)
def test_refuses_a_textual_commit_however_it_is_written(
    engine: Engine, database: Database, statement: str
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            session.connection().exec_driver_sql(statement)

    with pytest.raises(StrayCommitError, match="textual COMMIT"):
        work()
    assert names(database) == []


@on_postgres
@pytest.mark.parametrize("statements", ["SELECT 1; COMMIT", "SELECT ';'; -- done\nEND; SELECT 1"])
def test_refuses_a_textual_commit_behind_another_statement(
    engine: Engine, database: Database, statements: str
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            session.connection().exec_driver_sql(statements)

    with pytest.raises(StrayCommitError):
        work()
    assert names(database) == []


@on_postgres
def test_refuses_to_prepare_a_transaction(engine: Engine, database: Database) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            session.execute(text("PREPARE TRANSACTION 'x'"))

    with pytest.raises(StrayCommitError):
        work()
    assert names(database) == []


def test_lets_savepoints_be_released(engine: Engine, database: Database) -> None:
    with unit_of_work():
        with session.begin_nested():
            save("ada")
        savepoint = session.begin_nested()
        save("bob")
        savepoint.commit()
        session.execute(text("SAVEPOINT mine"))
        session.execute(text("INSERT INTO member (name) VALUES ('cyd')"))
        session.execute(text("ROLLBACK TO SAVEPOINT mine"))
        session.execute(text("RELEASE SAVEPOINT mine"))
    assert names(database) == ["ada", "bob"]


def test_refuses_a_commit_inside_a_savepoint(engine: Engine, database: Database) -> None:
    with unit_of_work():
        with atomic():
            save("ada")
            with pytest.raises(StrayCommitError):
                session.commit()
            assert names(database) == []
        save("bob")
    assert names(database) == ["ada", "bob"]


def test_undoes_a_savepoint_in_which_a_commit_was_refused(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        save("ada")
        with undone(), atomic():
            save("bob")
            with pytest.raises(StrayCommitError):
                session.commit()
            raise Undone
    assert names(database) == ["ada"]


@on_servers
def test_lets_other_sessions_and_connections_commit(engine: Engine, database: Database) -> None:
    with undone(), unit_of_work():
        save("ada")
        with Session(engine) as other:
            other.add(Member(name="bob"))
            other.commit()
        with engine.begin() as connection:
            connection.execute(insert(Member).values(name="cyd"))
        raise Undone
    assert names(database) == ["bob", "cyd"]


def test_lets_code_outside_of_units_commit(engine: Engine, database: Database) -> None:
    save("ada")
    session.commit()
    session.execute(insert(Member).values(name="bob"))
    session.connection().commit()
    session.remove()
    with session.begin():
        save("cyd")
    assert names(database) == ["ada", "bob", "cyd"]


@pytest.mark.parametrize("policy", ["warn", "allow"])
def test_lets_a_stray_commit_pass_where_the_setting_says_so(
    engine: Engine, database: Database, policy: str
) -> None:
    configure(engine, stray_commits=policy)
    ran: list[list[str]] = []
    with warnings.catch_warnings(record=True) as warned, undone(), unit_of_work() as unit:
        warnings.simplefilter("always")
        save("ada")
        on_commit(lambda: ran.append(names(database)))
        session.commit()
        assert names(database) == ["ada"]
        assert unit.state == "open"
        save("bob")
        raise Undone
    assert names(database) == ["ada"]
    assert ran == []
    assert [each.category for each in warned] == [StrayCommitWarning] * (policy == "warn")


def test_warns_of_the_line_that_commits(engine: Engine) -> None:
    configure(engine, stray_commits="warn")
    with unit_of_work(), pytest.warns(StrayCommitWarning) as warned:
        session.commit()
    assert [each.filename for each in warned] == [__file__]


@pytest.mark.parametrize("policy", ["warn", "allow"])
def test_lets_callbacks_wait_for_the_boundary_after_a_commit_that_passed(
    engine: Engine, database: Database, policy: str
) -> None:
    configure(engine, stray_commits=policy)
    ran: list[list[str]] = []
    with warnings.catch_warnings(), unit_of_work() as unit:
        warnings.simplefilter("ignore")
        save("ada")
        on_commit(lambda: ran.append(names(database)))
        session.commit()
        assert ran == []
        save("bob")
    assert ran == [["ada", "bob"]]
    assert unit.writes == 2


@pytest.mark.parametrize("policy", ["warn", "allow"])
@pytest.mark.parametrize("way", ["COMMIT", None])
def test_refuses_the_ways_around_session_commit_whatever_the_setting(
    engine: Engine, database: Database, policy: str, way: str | None
) -> None:
    configure(engine, stray_commits=policy)

    def work() -> None:
        with unit_of_work():
            save("ada")
            session.execute(text(way)) if way else session.connection().commit()

    with pytest.raises(StrayCommitError):
        work()
    assert names(database) == []


def test_allows_commits_inside_allow_commit_only(engine: Engine, database: Database) -> None:
    with undone(), unit_of_work():
        save("ada")
        with allow_commit():
            session.commit()
            with allow_commit():
                pass
            session.commit()
        save("bob")
        with pytest.raises(StrayCommitError):
            session.commit()
        raise Undone
    assert names(database) == ["ada"]
    with allow_commit():
        save("cyd")
        session.commit()
    assert names(database) == ["ada", "cyd"]


def test_refuses_to_commit_the_rest_of_a_unit_even_where_commits_are_allowed(
    engine: Engine, database: Database
) -> None:
    def work() -> None:
        with unit_of_work(), allow_commit():
            save("ada")
            session.rollback()
            with pytest.raises(LostWritesError):
                session.commit()

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []
