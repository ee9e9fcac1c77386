"""Samples of boundaries: blocks, decorators, callbacks. They run outside of any unit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session, scoped_session

from activebase import (
    UnitOfWork,
    allow_commit,
    atomic,
    configure,
    current_unit,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from tests.typing.holds import assert_type
from tests.typing.models import Reading, User


@unit_of_work
def plain(name: str, *, age: int = 3) -> User:
    """Say hello."""
    return User.create(name=name, age=age)


@unit_of_work(retries=3, read_only=False, isolation_level="SERIALIZABLE", durable=True)
def repeated(name: str, *, age: int = 3) -> User:
    return User.create(name=name, age=age)


@atomic
def in_a_savepoint(name: str) -> int:
    return len(name)


@atomic(session=session)
def in_a_savepoint_of(name: str) -> int:
    return len(name)


@read_only
def reader() -> list[User]:
    return User.query.all()


@read_only(session=session)
def reader_of() -> list[User]:
    return User.query.all()


class Service:
    @unit_of_work
    def method(self, name: str) -> int:
        return len(name)

    @classmethod
    @unit_of_work(independent=True)
    def of_class(cls, name: str) -> int:
        return len(name)

    @staticmethod
    @atomic
    def static(name: str) -> int:
        return len(name)


def decorators() -> None:
    assert_type(plain("a"), User)
    assert_type(plain(name="b", age=4), User)
    assert_type(repeated("c", age=4), User)
    assert_type(in_a_savepoint("d"), int)
    assert_type(in_a_savepoint_of("d"), int)
    assert_type(reader(), list[User])
    assert_type(reader_of(), list[User])
    assert_type(Service().method("e"), int)
    assert_type(Service.of_class("e"), int)
    assert_type(Service.static("e"), int)
    named: Callable[[str], User] = plain
    assert_type(named("f"), User)


def blocks() -> int:
    with unit_of_work() as unit:
        assert_type(unit, UnitOfWork)
        with atomic() as outer:
            assert_type(outer, UnitOfWork)
        with unit_of_work(independent=True, read_only=True) as own:
            assert_type(own, UnitOfWork)
    with read_only() as reading:
        assert_type(reading, UnitOfWork)
    with unit_of_work(session=Reading.session), suppress(ValueError):
        assert_type(current_unit(Reading.session), UnitOfWork | None)
    with unit_of_work():  # no block swallows exceptions, so this is no missing return
        return 1


def of_a_unit() -> None:
    unit = UnitOfWork.begin(name="GET /", read_only=False, session=None, attempt=1)
    assert_type(unit, UnitOfWork)
    assert_type(unit.state, Literal["open", "committed", "rolled back"])
    assert_type(unit.writes, int)
    assert_type(unit.attempt, int)
    assert_type(unit.name, str)
    assert_type(unit.read_only, bool)
    assert_type(unit.session, Session)
    assert_type(current_unit(), UnitOfWork | None)
    unit.doom("only a sample")
    unit.commit()
    unit.rollback()
    unit.close()


def callbacks() -> None:
    def send() -> int:
        return 1

    with unit_of_work():
        assert_type(on_commit(send)(), int)
        on_commit(lambda: print("done"), robust=False)

        @on_commit
        def plainly() -> None:
            pass

        @on_commit(robust=False, session=session)
        def told() -> str:
            return "x"

        assert_type(told(), str)
        plainly()


def the_session() -> None:
    users = session.scalars(User.query).all()
    assert_type(session.get(User, 1), User | None)
    assert_type(session(), Session)
    assert_type(session.in_transaction(), bool)
    other: scoped_session[Any] = session
    with unit_of_work(session=other), allow_commit():
        session.commit()
    del users


def configuring() -> None:
    engine = create_engine("sqlite://")
    assert_type(configure(engine), Engine)
    assert_type(configure("sqlite://", pragmas={"cache_size": -1000, "foreign_keys": None}), Engine)
    assert_type(configure(make_url("sqlite://"), stray_commits="warn", echo=False), Engine)
