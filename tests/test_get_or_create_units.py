"""get_or_create() and update_or_create(): in which units, and what becomes of those."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    ConnectionLost,
    LostWritesError,
    ReadOnlyError,
    UnitOfWork,
    WriteAfterCommitError,
    atomic,
    read_only,
    session,
    unit_of_work,
)
from tests.core import Undone, on_postgres, on_servers, undone
from tests.databases import EACH, Database, database_of
from tests.goods import EITHER, Article, Maker, articles, ask, counted

pytest_plugins = ["tests.core_fixtures", "tests.goods_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def never() -> Any:
    raise AssertionError("a default was asked for that is not needed")


# Where it is called


def test_finds_in_a_read_only_unit_and_makes_nothing(lamp: None, database: Database) -> None:
    with read_only():
        assert Article.get_or_create(sku="lamp")[0].id == 1
        with pytest.raises(ReadOnlyError):
            Article.get_or_create(sku="sofa", defaults={"price": never})
        with pytest.raises(ReadOnlyError):
            Article.update_or_create(sku="lamp", defaults={"price": never})
        assert Article.get_or_create(sku="lamp")[0].id == 1
    assert articles(database) == [("lamp", 5)]


@EITHER
def test_makes_nothing_after_the_unit(lamp: None, database: Database, verb: str) -> None:
    unit = UnitOfWork.begin()
    Article.get_or_create(sku="lamp")
    unit.commit()
    with pytest.raises(WriteAfterCommitError):
        getattr(Article, verb)(sku="sofa", defaults={"price": never})
    unit.close()
    assert articles(database) == [("lamp", 5)]


def test_flushes_and_never_commits_outside_of_units(lamp: None, database: Database) -> None:
    assert Article.get_or_create(sku="sofa")[1]
    assert not Article.update_or_create(sku="sofa", defaults={"price": 2})[1]
    assert articles(database) == [("lamp", 5)]
    session.commit()
    assert articles(database) == [("lamp", 5), ("sofa", 2)]
    session.remove()


def test_is_undone_with_the_savepoint_around_it(lamp: None, database: Database) -> None:
    with unit_of_work():
        Article.get_or_create(sku="sofa")
        with undone(), atomic():
            Article.get_or_create(sku="rug")
            Article.update_or_create(sku="lamp", defaults={"price": 9})
            raise Undone
        assert Article.get_or_create(sku="lamp")[0].price == 5
    assert articles(database) == [("lamp", 5), ("sofa", 0)]


@EITHER
def test_makes_nothing_in_a_unit_that_has_lost_writes(
    lamp: None, database: Database, verb: str
) -> None:
    unit = UnitOfWork.begin()
    Article(sku="rug").save()
    with pytest.raises(SQLAlchemyError):
        Article(sku="lamp").save()
    with pytest.raises(LostWritesError):
        getattr(Article, verb)(sku="sofa", defaults={"price": never})
    unit.close()
    assert articles(database) == [("lamp", 5)]


@on_postgres
def test_makes_it_in_a_transaction_that_was_aborted_before_any_write(
    lamp: None, database: Database
) -> None:
    with unit_of_work():
        with pytest.raises(SQLAlchemyError):
            session.execute(text("SELECT nothing FROM nowhere"))
        assert Article.get_or_create(sku="sofa")[1]
    assert articles(database) == [("lamp", 5), ("sofa", 0)]


# Failures half-way


def kill(database: Database) -> int:
    """Have the server close the connection of the session; return a price."""
    if database.dialect == "mariadb":
        number = session.scalar(text("SELECT connection_id()"))
        database.execute(f"KILL {number}")
    else:
        number = session.scalar(text("SELECT pg_backend_pid()"))
        database.execute(f"SELECT pg_terminate_backend({number}, 5000)")
    return 5


@on_servers
@EITHER
def test_leaves_the_session_usable_when_the_connection_is_lost(
    goods: None, database: Database, verb: str
) -> None:
    calls: list[int] = []
    with unit_of_work():
        with pytest.raises(ConnectionLost):
            ask(verb, counted(calls, lambda: kill(database)))
        assert len(calls) == 1
        assert ask(verb, lambda: 6)[1]
    assert articles(database) == [("lamp", 6)]


@on_servers
@EITHER
def test_loses_the_unit_with_the_connection(goods: None, database: Database, verb: str) -> None:
    unit = UnitOfWork.begin()
    Maker(name="acme").save()
    with pytest.raises(ConnectionLost):
        ask(verb, lambda: kill(database))
    with pytest.raises(LostWritesError):
        unit.commit()
    unit.close()
    assert database.scalar("SELECT count(*) FROM maker") == 0
