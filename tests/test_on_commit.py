"""on_commit(): what runs after the commit, and only then."""

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, text

from activebase import (
    WriteAfterCommitError,
    allow_commit,
    atomic,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from tests.archive import Record, archive
from tests.core import Undone, names, undone
from tests.databases import Database
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]


def save(name: str) -> Member:
    return Member(name=name).save()


@pytest.fixture
def ran() -> list[Any]:
    """What the callbacks have done."""
    return []


def note(ran: list[Any], what: str) -> Callable[[], None]:
    return lambda: ran.append(what)


# After a unit


def test_runs_in_order_after_the_commit_outside_of_the_unit(
    engine: Engine, database: Database, ran: list[Any]
) -> None:
    def look() -> None:
        ran.append((current_unit(), session.in_transaction(), names(database)))

    with unit_of_work():
        on_commit(look)
        save("ada")
        on_commit(note(ran, "second"))
        assert ran == []
    assert ran == [(None, False, ["ada"]), "second"]


def test_is_usable_as_a_decorator(engine: Engine, ran: list[Any]) -> None:
    with unit_of_work():

        @on_commit
        def first() -> None:
            ran.append("first")

        @on_commit(robust=False)
        def second() -> None:
            ran.append("second")

    assert ran == ["first", "second"]
    first()
    assert ran == ["first", "second", "first"]


def test_is_dropped_when_the_unit_is_rolled_back(engine: Engine, ran: list[Any]) -> None:
    with undone(), unit_of_work():
        on_commit(note(ran, "dropped"))
        raise Undone
    with unit_of_work():
        pass
    assert ran == []


@pytest.mark.parametrize(
    "roll_back",
    [
        lambda: session.rollback(),
        lambda: session.close(),
        lambda: session.execute(text("ROLLBACK")),
    ],
    ids=["rollback", "close", "text"],
)
def test_is_dropped_when_someone_rolls_back_inside_the_unit(
    engine: Engine, database: Database, ran: list[Any], roll_back: Callable[[], Any]
) -> None:
    with unit_of_work():
        Member.query.all()
        on_commit(note(ran, "dropped"))
        roll_back()
        save("ada")
        on_commit(note(ran, "kept"))
    assert ran == ["kept"]
    assert names(database) == ["ada"]


@pytest.mark.parametrize("is_inner", [True, False])
def test_never_runs_when_it_is_registered_after_the_unit_s_rollback(
    engine: Engine, database: Database, ran: list[Any], is_inner: bool
) -> None:
    with unit_of_work() as unit:
        save("ada")
        if is_inner:
            with unit_of_work():
                unit.rollback()
        else:
            unit.rollback()
        on_commit(note(ran, "of a unit that left no trace"))
    with unit_of_work():
        save("bob")
    assert ran == []
    assert names(database) == ["bob"]


def test_runs_after_a_unit_without_database_work(engine: Engine, ran: list[Any]) -> None:
    with unit_of_work():
        on_commit(note(ran, "ran"))
    assert ran == ["ran"]


def test_runs_what_a_callback_registers(engine: Engine, ran: list[Any]) -> None:
    def first() -> None:
        ran.append("first")
        on_commit(note(ran, "third"))

    with unit_of_work():
        on_commit(first)
        on_commit(note(ran, "second"))
    assert ran == ["first", "second", "third"]


def test_lets_a_callback_open_a_unit_with_callbacks_of_its_own(
    engine: Engine, database: Database, ran: list[Any]
) -> None:
    @unit_of_work
    def follow_up() -> None:
        unit = current_unit()
        assert unit is not None
        save("bob")
        on_commit(lambda: ran.append(names(database)))

    with unit_of_work() as outer:
        save("ada")
        on_commit(follow_up)
        on_commit(note(ran, "next"))
    assert ran == [["ada", "bob"], "next"]
    assert outer.writes == 1


def test_keeps_the_commit_when_a_unit_of_a_callback_fails(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    @unit_of_work
    def follow_up() -> None:
        save("bob")
        save("ada")

    with unit_of_work():
        save("ada")
        on_commit(follow_up)
    assert names(database) == ["ada"]
    assert "UniqueViolation" in caplog.text


@pytest.mark.parametrize("statement", ["INSERT INTO member (name) VALUES ('bob')", None])
def test_refuses_a_write_of_a_callback_without_a_unit(
    engine: Engine, database: Database, statement: str | None
) -> None:
    def write() -> None:
        with pytest.raises(WriteAfterCommitError, match=r"with unit_of_work\(\):"):
            session.execute(text(statement)) if statement else save("bob")

    with unit_of_work():
        save("ada")
        on_commit(write, robust=False)
    assert names(database) == ["ada"]


def test_lets_a_callback_read(engine: Engine, ran: list[Any]) -> None:
    with unit_of_work():
        save("ada")
        on_commit(lambda: ran.append(Member.query.count()), robust=False)
    assert ran == [1]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


# Errors


def test_logs_an_error_with_its_traceback_and_runs_the_rest(
    engine: Engine, database: Database, ran: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise Undone("the mail server is down")

    with unit_of_work():
        save("ada")
        on_commit(fail)
        on_commit(note(ran, "ran"))
    assert ran == ["ran"]
    assert names(database) == ["ada"]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.name == "activebase"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], Undone)


def test_raises_the_first_error_that_is_not_robust_after_the_rest_have_run(
    engine: Engine, database: Database, ran: list[Any]
) -> None:
    def fail(number: int) -> Callable[[], None]:
        def raising() -> None:
            ran.append(number)
            raise Undone(number)

        return raising

    @unit_of_work
    def work() -> None:
        save("ada")
        on_commit(fail(1), robust=False)
        on_commit(fail(2), robust=False)
        on_commit(note(ran, "the rest"))

    with pytest.raises(Undone) as caught:
        work()
    assert caught.value.args == (1,)
    assert ran == [1, 2, "the rest"]
    assert names(database) == ["ada"]
    assert current_unit() is None


def test_logs_the_errors_behind_the_one_that_it_raises(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(number: int) -> None:
        raise Undone(number)

    with undone(), unit_of_work():
        save("ada")
        for number in range(3):
            on_commit(partial(fail, number), robust=False)
    logged = [record.exc_info[1].args for record in caplog.records if record.exc_info]  # type: ignore[union-attr]  # an exception is there
    assert logged == [(1,), (2,)]
    assert names(database) == ["ada"]


@pytest.mark.parametrize("wrong", [5, "print", ["a"]])
def test_refuses_what_is_no_function(engine: Engine, wrong: Any) -> None:
    with pytest.raises(TypeError, match="function without arguments"), unit_of_work():
        on_commit(wrong)


# Savepoints


def test_is_dropped_with_the_savepoint_it_was_registered_in(engine: Engine, ran: list[Any]) -> None:
    with unit_of_work():
        on_commit(note(ran, "before"))
        with undone(), atomic():
            on_commit(note(ran, "dropped"))
            with atomic():
                on_commit(note(ran, "dropped, too"))
            raise Undone
        with atomic():
            on_commit(note(ran, "kept"))
        on_commit(note(ran, "after"))
    assert ran == ["before", "kept", "after"]


def test_is_dropped_with_a_plain_savepoint(engine: Engine, ran: list[Any]) -> None:
    with unit_of_work():
        savepoint = session.begin_nested()
        on_commit(note(ran, "dropped"))
        savepoint.rollback()
        with session.begin_nested():
            on_commit(note(ran, "kept"))
    assert ran == ["kept"]


def test_waits_for_the_outermost_unit(engine: Engine, ran: list[Any]) -> None:
    with undone(), unit_of_work():
        with unit_of_work():
            on_commit(note(ran, "dropped"))
        raise Undone
    with unit_of_work():
        with unit_of_work():
            on_commit(note(ran, "kept"))
        assert ran == []
    assert ran == ["kept"]


def test_belongs_to_an_independent_unit_alone(engine: Engine, ran: list[Any]) -> None:
    with undone(), unit_of_work():
        on_commit(note(ran, "dropped"))
        with unit_of_work(independent=True):
            on_commit(note(ran, "kept"))
        assert ran == ["kept"]
        raise Undone
    assert ran == ["kept"]


def test_waits_for_the_boundary_when_a_commit_is_allowed(
    engine: Engine, database: Database, ran: list[Any]
) -> None:
    with unit_of_work():
        save("ada")
        on_commit(note(ran, "ran"))
        with allow_commit():
            session.commit()
        assert names(database) == ["ada"]
        assert ran == []
    assert ran == ["ran"]


# Outside of units


def test_runs_at_once_where_no_transaction_is_open(engine: Engine, ran: list[Any]) -> None:
    on_commit(note(ran, "at once"))
    assert ran == ["at once"]


def test_runs_at_once_before_anything_is_configured(unconfigured: None, ran: list[Any]) -> None:
    on_commit(note(ran, "at once"))
    assert ran == ["at once"]


def test_waits_for_a_transaction_that_is_open(
    engine: Engine, database: Database, ran: list[Any]
) -> None:
    save("ada")
    on_commit(lambda: ran.append(names(database)))
    assert ran == []
    session.commit()
    assert ran == [["ada"]]
    session.commit()
    assert ran == [["ada"]]


@pytest.mark.parametrize("end", ["rollback", "close", "remove"])
def test_is_dropped_when_a_transaction_is_rolled_back(
    engine: Engine, ran: list[Any], end: str
) -> None:
    save("ada")
    on_commit(note(ran, "dropped"))
    getattr(session, end)()
    save("bob")
    session.commit()
    assert ran == []


def test_belongs_to_the_session_that_it_is_told(
    engine: Engine, sqlite_database: Database, ran: list[Any]
) -> None:
    archive.configure(bind=engine)
    Record.metadata.create_all(engine)
    with unit_of_work():
        with unit_of_work(session=archive):
            on_commit(note(ran, "of the archive"), session=archive)
            on_commit(note(ran, "of the global session"))
        assert ran == ["of the archive"]
    assert ran == ["of the archive", "of the global session"]
