"""unit_of_work(), atomic() and read_only(): blocks and decorators, nested and by themselves."""

import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    ForeignKeyViolation,
    NestedUnitError,
    ReadOnlyError,
    UniqueViolation,
    UnitOfWork,
    atomic,
    configure,
    current_unit,
    read_only,
    session,
    unit_of_work,
)
from tests.archive import Record, archive
from tests.core import (
    Undone,
    connection_id,
    names,
    on_deferring,
    on_postgres,
    on_servers,
    on_sqlite,
    undone,
)
from tests.databases import EACH, Database, database_of
from tests.models import Entry, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


# The end of a unit


def test_closes_the_session_at_the_end(engine: Engine) -> None:
    with unit_of_work() as unit:
        ada = save("ada")
        inside = session()
    assert unit.state == "committed"
    assert ada not in inside
    assert ada not in session
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


class Power(BaseException):
    """Nothing that `except Exception` sees."""


@pytest.mark.parametrize(
    "error", [Undone("no"), KeyboardInterrupt(), SystemExit(0), GeneratorExit(), Power()]
)
def test_rolls_back_for_any_exception_and_lets_it_pass_unchanged(
    engine: Engine, database: Database, error: BaseException
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            raise error

    with pytest.raises(type(error)) as caught:
        work()
    assert caught.value is error
    assert error.__cause__ is None
    assert names(database) == []
    assert current_unit() is None


@on_deferring
def test_ends_rolled_back_when_the_commit_fails(engine: Engine, database: Database) -> None:
    @unit_of_work
    def work() -> None:
        save("ada")
        Entry(amount=1, member_id=4711).save()
        units.append(current_unit())

    units: list[UnitOfWork | None] = []
    with pytest.raises(ForeignKeyViolation) as caught:
        work()
    assert caught.value.orig is not None
    assert [unit and unit.state for unit in units] == ["rolled back"]
    assert not session.registry.has()
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
    assert names(database) == []
    with unit_of_work():
        save("bob")
    assert names(database) == ["bob"]


# Decorators


@pytest.mark.parametrize(
    "decorate",
    [unit_of_work, unit_of_work(), atomic, atomic()],
    ids=["unit_of_work", "unit_of_work()", "atomic", "atomic()"],
)
def test_decorates_a_function(
    engine: Engine, database: Database, decorate: Callable[..., Any]
) -> None:
    @decorate
    def register(name: str, *, age: int) -> Member:
        """Register a member."""
        return Member(name=name, age=age).save()

    assert (register.__name__, register.__doc__) == ("register", "Register a member.")
    assert register("ada", age=36).age == 36
    register("bob", age=1)
    with pytest.raises(UniqueViolation):
        register("ada", age=2)
    assert names(database) == ["ada", "bob"]


async def coroutine() -> None: ...


async def asynchronous_generator() -> AsyncIterator[int]:
    yield 1


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize("decorate", [unit_of_work, atomic, read_only])
@pytest.mark.parametrize("function", [coroutine, asynchronous_generator, generator])
def test_refuses_to_decorate_what_runs_after_it_has_returned(
    decorate: Callable[..., Any], function: Callable[..., Any]
) -> None:
    with pytest.raises(TypeError, match="would end before"):
        decorate(function)


def test_calls_a_decorated_function_from_itself(engine: Engine, database: Database) -> None:
    @unit_of_work
    def count_down(number: int) -> None:
        save(f"member {number}")
        if number:
            count_down(number - 1)

    count_down(3)
    assert len(names(database)) == 4


# Inside a unit: joining


def test_joins_the_unit_of_its_session(engine: Engine, database: Database) -> None:
    with unit_of_work() as outer:
        with unit_of_work() as inner:
            save("ada")
        assert inner is outer
        assert outer.state == "open"
        assert names(database) == []
    assert names(database) == ["ada"]


def test_undoes_an_inner_unit_that_failed_and_goes_on(engine: Engine, database: Database) -> None:
    with unit_of_work():
        save("ada")
        with undone(), unit_of_work():
            save("bob")
            raise Undone
        save("cyd")
    assert names(database) == ["ada", "cyd"]


@pytest.mark.parametrize(
    "options", [{"durable": True}, {"read_only": True}, {"isolation_level": "SERIALIZABLE"}]
)
def test_refuses_to_join_what_it_does_not_get_there(
    engine: Engine, database: Database, options: dict[str, Any]
) -> None:
    with unit_of_work():
        save("ada")
        with pytest.raises(NestedUnitError, match=next(iter(options))), unit_of_work(**options):
            pytest.fail("it was entered")
    assert names(database) == ["ada"]


def test_joins_a_unit_that_has_what_it_asks_for(engine: Engine) -> None:
    options = {"read_only": True, "isolation_level": "SERIALIZABLE"}
    with (
        unit_of_work(**options) as outer,
        read_only(),
        unit_of_work(isolation_level="serializable") as inner,
    ):
        assert inner is outer


def test_refuses_writes_of_a_unit_that_joined_a_read_only_one(
    engine: Engine, database: Database
) -> None:
    with read_only(), pytest.raises(ReadOnlyError), unit_of_work():
        save("ada")
    assert names(database) == []


def test_commits_a_durable_unit_that_is_the_outermost(engine: Engine, database: Database) -> None:
    with unit_of_work(durable=True):
        save("ada")
    assert names(database) == ["ada"]


def test_allows_a_durable_unit_inside_the_unit_of_another_database(
    engine: Engine, database: Database, tmp_path: Any
) -> None:
    other = create_engine(f"sqlite:///{tmp_path}/archive.db")
    archive.configure(bind=other)
    Record.metadata.create_all(other)
    with undone(), unit_of_work(session=archive):
        Record(title="undone").save()
        with unit_of_work(durable=True):
            save("ada")
        raise Undone
    assert names(database) == ["ada"]
    other.dispose()


# Inside a unit: independent


@on_servers
def test_commits_an_independent_unit_by_itself(engine: Engine, database: Database) -> None:
    with undone(), unit_of_work() as outer:
        save("ada")
        mine = connection_id()
        with unit_of_work(independent=True) as own:
            save("audit")
            assert own is not outer
            assert connection_id() != mine
        assert names(database) == ["audit"]
        assert current_unit() is outer
        raise Undone
    assert names(database) == ["audit"]


def test_keeps_the_outer_unit_when_an_independent_one_fails(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        with undone(), unit_of_work(independent=True):
            save("audit")
            raise Undone
        save("ada")
    assert names(database) == ["ada"]


@on_sqlite
@pytest.mark.parametrize("begin", [lambda: save("ada"), lambda: Member.query.all()])
def test_refuses_an_independent_unit_that_would_wait_for_itself(
    engine: Engine, database: Database, begin: Callable[[], Any]
) -> None:
    started = time.monotonic()
    with unit_of_work():
        begin()
        with pytest.raises(NestedUnitError, match="write lock"), unit_of_work(independent=True):
            pytest.fail("it was entered")
        save("bob")
    assert time.monotonic() - started < 2  # at once: not after busy_timeout
    assert names(database)[-1] == "bob"


@on_sqlite
def test_refuses_an_independent_unit_far_inside_the_one_that_it_would_wait_for(
    engine: Engine, database: Database
) -> None:
    started = time.monotonic()
    with unit_of_work():
        save("ada")
        with (
            unit_of_work(independent=True, read_only=True),
            pytest.raises(NestedUnitError, match="write lock"),
            unit_of_work(independent=True),
        ):
            save("audit")
    assert time.monotonic() - started < 2
    assert names(database) == ["ada"]


@on_sqlite
def test_refuses_a_unit_that_would_wait_for_the_session_around_it(
    engine: Engine, database: Database
) -> None:
    started = time.monotonic()
    save("ada")
    with pytest.raises(NestedUnitError, match="uncommitted writes"), unit_of_work():
        save("bob")
    session.commit()
    assert time.monotonic() - started < 2
    assert names(database) == ["ada"]


@on_sqlite
def test_reads_in_an_independent_unit_beside_a_writing_one(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        save("ada")
        with unit_of_work(independent=True, read_only=True):
            assert Member.query.count() == 0
    assert names(database) == ["ada"]


# Options


@on_postgres
@pytest.mark.parametrize("level", ["SERIALIZABLE", "repeatable read"])
def test_sets_the_isolation_level_of_one_unit(engine: Engine, level: str) -> None:
    with unit_of_work(isolation_level=level):
        assert session.scalar(text("SHOW transaction_isolation")) == level.lower()
        session.rollback()
        assert session.scalar(text("SHOW transaction_isolation")) == level.lower()
    with unit_of_work():
        assert session.scalar(text("SHOW transaction_isolation")) == "read committed"


def test_refuses_an_unknown_isolation_level() -> None:
    with pytest.raises(ValueError, match="SERIALIZABLE"):
        unit_of_work(isolation_level="SNAPSHOT; DROP TABLE member")


@on_sqlite
def test_waits_for_the_lock_of_another_unit_as_long_as_busy_timeout_says(
    engine: Engine, database: Database, unconfigured: None
) -> None:
    impatient = configure(database.url, pragmas={"busy_timeout": 1})
    database.execute("BEGIN IMMEDIATE")
    with pytest.raises(SQLAlchemyError) as caught, unit_of_work():
        save("ada")
    assert isinstance(caught.value.orig, sqlite3.OperationalError)  # type: ignore[attr-defined]
    database.execute("ROLLBACK")
    impatient.dispose()
