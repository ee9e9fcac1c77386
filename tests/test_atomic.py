"""atomic(): a savepoint, which an exception undoes alone."""

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, insert, text
from sqlalchemy.exc import SQLAlchemyError

from activebase import LostWritesError, atomic, current_unit, session, unit_of_work
from tests.core import Undone, names, undone
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


WAYS_TO_FAIL = [fail_at_a_flush, fail_at_a_core_statement, fail_at_a_select]


@pytest.mark.parametrize("fail", WAYS_TO_FAIL)
def test_refuses_a_savepoint_that_swallowed_an_error_after_writes(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    def swallow() -> None:
        with atomic():
            save("bob")
            try:
                fail()
            except SQLAlchemyError as error:
                failures.append(error)

    failures: list[SQLAlchemyError] = []
    with unit_of_work():
        save("ada")
        with pytest.raises(LostWritesError) as caught:
            swallow()
        assert caught.value.__cause__ is failures[0]
        save("cyd")
    assert names(database) == ["ada", "cyd"]


@pytest.mark.parametrize("fail", WAYS_TO_FAIL)
def test_goes_on_when_a_savepoint_swallowed_an_error_before_any_write(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    with unit_of_work():
        save("ada")
        with atomic(), pytest.raises(SQLAlchemyError):
            fail()
        save("cyd")
    assert names(database) == ["ada", "cyd"]


@pytest.mark.parametrize("fail", WAYS_TO_FAIL)
def test_undoes_a_savepoint_that_an_error_leaves(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    def block() -> None:
        with atomic():
            save("bob")
            fail()

    with unit_of_work():
        save("ada")
        with pytest.raises(SQLAlchemyError):
            block()
        save("cyd")
    assert names(database) == ["ada", "cyd"]


@pytest.mark.parametrize("fail", [fail_at_a_core_statement, fail_at_a_select])
def test_refuses_to_release_half_of_a_plain_savepoint(
    engine: Engine, database: Database, fail: Callable[[], None]
) -> None:
    def swallow() -> None:
        with session.begin_nested():
            save("bob")
            with pytest.raises(SQLAlchemyError):
                fail()

    with unit_of_work():
        save("ada")
        with pytest.raises((LostWritesError, SQLAlchemyError)):
            swallow()
        save("cyd")
    assert names(database) == ["ada", "cyd"]


def test_nests_savepoints(engine: Engine, database: Database) -> None:
    with unit_of_work(), atomic():
        save("ada")
        with undone(), atomic():
            save("bob")
            with atomic():
                save("cyd")
            raise Undone
        with atomic():
            save("dan")
    assert names(database) == ["ada", "dan"]


def test_opens_a_unit_where_none_is_open(engine: Engine, database: Database) -> None:
    with atomic() as unit:
        assert current_unit() is unit
        save("ada")
    assert names(database) == ["ada"]
    with undone(), atomic():
        save("bob")
        raise Undone
    assert names(database) == ["ada"]


def test_dooms_the_unit_when_someone_rolls_back_to_the_root_inside_a_savepoint(
    engine: Engine, database: Database
) -> None:
    @atomic
    def roll_back() -> None:
        save("bob")
        session.rollback()

    def work() -> None:
        with unit_of_work():
            save("ada")
            with pytest.raises(LostWritesError):
                roll_back()

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []


def test_keeps_records_of_the_outer_block_after_an_undone_savepoint(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        ada = save("ada")
        with undone(), atomic():
            ada.update(age=36)
            raise Undone
        assert ada.age is None
        ada.update(email="ada@example.com")
    assert database.rows("SELECT age, email FROM member") == [(None, "ada@example.com")]
