"""Blocks that are entered or left in a way that no `with` statement would."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import Engine

from activebase import (
    StrayCommitError,
    UnitOfWorkError,
    atomic,
    current_unit,
    read_only,
    unit_of_work,
)
from tests.core import Undone, names
from tests.databases import Database
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]


def save(name: str) -> Member:
    return Member(name=name).save()


def leave(block: Any, error: BaseException | None = None) -> None:
    block.__exit__(type(error) if error else None, error, None)


BLOCKS = pytest.mark.parametrize("block", [atomic, unit_of_work])


# Left out of order


@BLOCKS
def test_refuses_the_unit_when_an_inner_block_fails_after_the_outer_one_was_left(
    engine: Engine, database: Database, block: Callable[[], Any]
) -> None:
    def work() -> None:
        with unit_of_work():
            outer, inner = block(), block()
            outer.__enter__()
            inner.__enter__()
            save("of the block that fails")
            with suppress(UnitOfWorkError):
                leave(outer)
            leave(inner, Undone())

    with pytest.raises(UnitOfWorkError):
        work()
    assert names(database) == []
    assert current_unit() is None


@BLOCKS
def test_refuses_the_unit_when_an_inner_block_goes_on_after_the_outer_one_has_failed(
    engine: Engine, database: Database, block: Callable[[], Any]
) -> None:
    def work() -> None:
        with unit_of_work():
            outer, inner = block(), block()
            outer.__enter__()
            inner.__enter__()
            save("the first half of the inner block")
            leave(outer, Undone())
            save("the second half")
            leave(inner)

    with pytest.raises(UnitOfWorkError):
        work()
    assert names(database) == []


def test_commits_nothing_of_a_generator_s_block_that_ends_inside_another(
    engine: Engine, database: Database
) -> None:
    def steps() -> Iterator[None]:
        with atomic():
            save("in the generator")
            yield

    def work() -> None:
        with unit_of_work():
            running = steps()
            next(running)
            with atomic():
                save("in the block")
                with suppress(Undone):
                    running.throw(Undone)  # type: ignore[attr-defined]  # it is a generator
                save("after it")

    with pytest.raises(UnitOfWorkError):
        work()
    assert names(database) == []


# Entered twice


@pytest.mark.parametrize("make", [atomic, unit_of_work, read_only])
def test_refuses_a_block_that_is_entered_inside_itself(
    engine: Engine, database: Database, make: Callable[[], Any]
) -> None:
    block = make()
    with block:
        with pytest.raises(UnitOfWorkError, match="entered already"), block:
            pytest.fail("the block was entered a second time")
        if make is not read_only:
            save("ada")
    assert names(database) == ([] if make is read_only else ["ada"])
    with block:  # one after the other is no mistake
        assert current_unit() is not None
    assert current_unit() is None


@BLOCKS
def test_refuses_a_block_that_another_thread_is_in(
    engine: Engine, database: Database, block: Callable[[], Any]
) -> None:
    shared = block()
    refused: list[BaseException] = []

    def enter() -> None:
        try:
            with shared:
                save("bob")
        except BaseException as error:
            refused.append(error)

    with suppress(Undone), shared:
        thread = Thread(target=enter)
        thread.start()
        thread.join()
        save("ada")
        raise Undone
    assert [type(error) for error in refused] == [UnitOfWorkError]
    assert names(database) == []


def test_serves_threads_side_by_side_as_a_decorator(engine: Engine, database: Database) -> None:
    @unit_of_work
    def outer() -> None:
        thread = Thread(target=inner)
        thread.start()
        thread.join()
        save("outer")

    @unit_of_work
    def inner() -> None:
        save("inner")

    outer()
    assert names(database) == ["inner", "outer"]


# Committed from inside


@contextmanager
def joined() -> Iterator[None]:
    with unit_of_work():
        yield


@pytest.mark.parametrize("block", [atomic, joined])
def test_refuses_to_commit_the_unit_from_inside_a_block(
    engine: Engine, database: Database, block: Callable[[], Any]
) -> None:
    with suppress(Undone), unit_of_work() as unit:
        save("ada")
        with block():
            save("bob")
            with pytest.raises(StrayCommitError, match="from inside a block"):
                unit.commit()
            assert names(database) == []
            assert unit.state == "open"
        raise Undone
    assert names(database) == []


def test_goes_on_after_a_refused_commit_from_inside_a_block(
    engine: Engine, database: Database
) -> None:
    with unit_of_work() as unit:
        with atomic():
            save("ada")
            with pytest.raises(StrayCommitError):
                unit.commit()
        save("bob")
    assert names(database) == ["ada", "bob"]
