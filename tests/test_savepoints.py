"""Savepoints that end in another way than their block expects: nothing of half a block commits."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    LostWritesError,
    UniqueViolation,
    UnitOfWorkError,
    atomic,
    session,
    unit_of_work,
)
from tests.core import Undone, names
from tests.databases import EACH, Database, database_of
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


def fail_at_a_flush() -> None:
    save("ada")


def fail_at_a_core_statement() -> None:
    session.execute(insert(Member).values(name="ada"))


def fail_at_a_select() -> None:
    session.execute(text("SELECT nothing FROM nowhere"))


ways_to_fail = pytest.mark.parametrize(
    "fail", [fail_at_a_flush, fail_at_a_core_statement, fail_at_a_select]
)

ENDS: dict[str, Callable[[], Any]] = {
    "rollback": lambda: session.rollback(),
    "close": lambda: session.close(),
    "reset": lambda: session.reset(),
    "invalidate": lambda: session().invalidate(),
}


# Everything is rolled back from inside a savepoint


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("goes_on", [True, False])
def test_dooms_the_unit_when_someone_ends_it_from_inside_a_plain_savepoint(
    engine: Engine, database: Database, end: str, goes_on: bool
) -> None:
    def work() -> None:
        with unit_of_work():
            session.begin_nested()
            save("ada")
            ENDS[end]()
            if goes_on:
                save("bob")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


@pytest.mark.parametrize("end", ENDS)
def test_dooms_the_unit_when_a_block_that_had_ended_it_writes_and_fails(
    engine: Engine, database: Database, end: str
) -> None:
    def work() -> None:
        with unit_of_work(), suppress(Undone), atomic():
            ENDS[end]()
            save("of a block that failed")
            raise Undone

    with pytest.raises(UnitOfWorkError):
        work()
    assert names(database) == []


@pytest.mark.parametrize("end", ENDS)
def test_goes_on_when_a_block_ended_it_before_any_write_and_ends_well(
    engine: Engine, database: Database, end: str
) -> None:
    with unit_of_work():
        with atomic():
            ENDS[end]()
            save("ada")
        save("bob")
    assert names(database) == ["ada", "bob"]


# A plain savepoint that swallows a failure


@ways_to_fail
def test_refuses_a_plain_savepoint_that_swallowed_an_error_after_writes(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            with session.begin_nested():
                save("bob")
                with suppress(SQLAlchemyError):
                    fail()
            save("cyd")

    with pytest.raises(LostWritesError) as caught:
        work()
    assert isinstance(caught.value.__cause__, SQLAlchemyError)
    assert names(database) == []


@pytest.mark.parametrize("fail", [fail_at_a_core_statement, fail_at_a_flush])
def test_refuses_a_swallowed_error_inside_a_handler_of_another_one(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            try:
                raise Undone
            except Undone:  # which tells nobody of what happens next
                with session.begin_nested():
                    save("bob")
                    with suppress(SQLAlchemyError):
                        fail()
            save("cyd")

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []


def roll_back_in_the_handler(fail: Callable[[], None]) -> None:
    savepoint = session.begin_nested()
    save("bob")
    try:
        fail()
    except SQLAlchemyError:
        savepoint.rollback()


def roll_back_after_the_handler(fail: Callable[[], None]) -> None:
    savepoint = session.begin_nested()
    save("bob")
    failed = False
    try:
        fail()
    except SQLAlchemyError:
        failed = True
    if failed:
        savepoint.rollback()


def let_the_error_leave_the_block(fail: Callable[[], None]) -> None:
    with suppress(SQLAlchemyError), session.begin_nested():
        save("bob")
        fail()


@ways_to_fail
@pytest.mark.parametrize(
    "undo",
    [roll_back_in_the_handler, roll_back_after_the_handler, let_the_error_leave_the_block],
)
def test_goes_on_when_a_plain_savepoint_is_undone_by_intent(
    engine: Engine,
    database: Database,
    undo: Callable[[Callable[[], None]], None],
    fail: Callable[[], None],
) -> None:
    with unit_of_work():
        save("ada")
        undo(fail)
        save("cyd")
    assert names(database) == ["ada", "cyd"]


# Many rows at once


def insert_many() -> None:
    """Fail at the last row of one statement."""
    rows = [{"name": name} for name in ("bob", "cyd", "bob")]
    with pytest.raises(UniqueViolation):
        session.execute(insert(Member), rows)


def test_leaves_no_row_of_a_failed_executemany(engine: Engine, database: Database) -> None:
    with unit_of_work():
        insert_many()
        save("eve")
    assert names(database) == ["eve"]


def test_refuses_the_unit_when_executemany_fails_after_writes(
    engine: Engine, database: Database
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            insert_many()

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []


@pytest.mark.parametrize("block", [atomic, lambda: session.begin_nested()], ids=["ours", "plain"])
def test_leaves_no_row_of_a_failed_executemany_in_a_savepoint(
    engine: Engine, database: Database, block: Callable[[], Any]
) -> None:
    def work() -> None:
        with block():
            insert_many()

    with unit_of_work():
        save("ada")
        with pytest.raises(LostWritesError):
            work()
        save("eve")
    assert names(database) == ["ada", "eve"]


def test_leaves_no_row_of_a_failed_executemany_in_a_savepoint_of_core(
    engine: Engine, database: Database
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            with session.connection().begin_nested():
                insert_many()
            save("eve")

    with pytest.raises((LostWritesError, SQLAlchemyError)):
        work()
    assert names(database) == []
