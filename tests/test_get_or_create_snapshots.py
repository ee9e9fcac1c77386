"""get_or_create() and update_or_create(): rows that are too new to be seen, or gone again."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from activebase import (
    MyBase,
    SerializationFailure,
    UniqueViolation,
    atomic,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from activebase.get_or_create import ATTEMPTS
from tests.core import on_mariadb, on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of
from tests.goods import EITHER, Article, Coupon, Maker, articles, ask, counted, steal

pytest_plugins = ["tests.core_fixtures", "tests.goods_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


# Snapshots


@on_mariadb
@EITHER
def test_sees_past_the_snapshot_of_the_unit(goods: None, database: Database, verb: str) -> None:
    with unit_of_work(isolation_level="REPEATABLE READ"):
        Article(sku="rug").save()
        found, created = ask(verb, lambda: steal(database))
        assert (found.price, created) == (9, False)
    assert sorted(articles(database)) == [("lamp", 9), ("rug", 0)]


@on_postgres
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
@EITHER
def test_runs_again_where_the_snapshot_hides_the_row(
    goods: None, database: Database, verb: str, level: str
) -> None:
    attempts: list[int] = []

    @unit_of_work(retries=1, isolation_level=level)
    def work() -> tuple[int, bool]:
        unit = current_unit()
        assert unit is not None
        attempts.append(unit.attempt)
        Maker(name="acme").save()
        found, created = ask(verb, lambda: steal(database))
        return found.price, created

    assert work() == (9, False)
    assert attempts == [1, 2]
    assert database.scalar("SELECT count(*) FROM maker") == 1


@on_postgres
@EITHER
def test_tells_a_hidden_row_from_one_that_is_in_the_way(
    goods: None, database: Database, verb: str
) -> None:
    steal(database, "rug")
    database.execute("UPDATE article SET barcode = '123'")
    defaults = {"barcode": "123"}
    with unit_of_work(isolation_level="REPEATABLE READ"):
        with pytest.raises(UniqueViolation) as caught:
            getattr(Article, verb)(sku="lamp", defaults=defaults)
        assert caught.value.columns == ("barcode",)
        Maker(name="acme").save()
    assert database.scalar("SELECT count(*) FROM maker") == 1


@on_mariadb
@EITHER
def test_tells_of_a_conflict_with_a_row_behind_the_snapshot(
    goods: None, database: Database, verb: str
) -> None:
    def take_its_barcode() -> str:
        steal(database, "rug")
        database.execute("UPDATE article SET barcode = '123'")
        return "123"

    def delete_one_alike() -> str:
        database.execute("INSERT INTO coupon (code, deleted_at) VALUES ('summer', now())")
        return "summer"

    with unit_of_work():
        with pytest.raises(UniqueViolation, match="barcode"):
            getattr(Article, verb)(sku="lamp", defaults={"barcode": take_its_barcode})
        with pytest.raises(UniqueViolation, match="a deleted record matches"):
            getattr(Coupon, verb)(code="summer", defaults={"code": delete_one_alike})
        Maker(name="acme").save()
    assert database.scalar("SELECT count(*) FROM maker") == 1


@on_servers
def test_counts_no_lock_that_nobody_has_asked_for(goods: None, database: Database) -> None:
    steal(database, "rug")
    with unit_of_work():
        assert not Article.get_or_create(sku="lamp", defaults={"price": lambda: steal(database)})[1]
        with pytest.raises(UniqueViolation):  # FOR UPDATE has locked no row
            Article.update_or_create(sku__startswith="x", defaults={"sku": "rug"})
        with pytest.raises(UniqueViolation):  # else this would undo the locks, and doom the unit
            Article.create(sku="rug")
        Maker(name="acme").save()
    assert database.scalar("SELECT count(*) FROM maker") == 1


@on_mariadb
@EITHER
def test_begins_anew_where_the_snapshot_forbids_to_look(
    strict: Engine, database: Database, verb: str
) -> None:
    called: list[str] = []
    with unit_of_work():
        on_commit(lambda: called.append("committed"))
        found, created = ask(verb, lambda: steal(database))
        assert (found.price, created) == (9, False)
        Article(sku="rug").save()
    assert sorted(articles(database)) == [("lamp", 9), ("rug", 0)]
    assert called == ["committed"]


@on_mariadb
@EITHER
def test_leaves_it_to_the_unit_to_begin_anew_once_that_has_written(
    strict: Engine, database: Database, verb: str
) -> None:
    attempts: list[int] = []

    @unit_of_work(retries=1)
    def work() -> tuple[int, bool]:
        Maker(name="acme").save()
        attempts.append(1)
        found, created = ask(verb, lambda: steal(database))
        return found.price, created

    assert work() == (9, False)
    assert attempts == [1, 1]
    assert database.scalar("SELECT count(*) FROM maker") == 1


@on_sqlite
def test_begins_anew_where_sqlite_would_write_to_an_old_snapshot(
    goods: None, database: Database
) -> None:
    # Outside of units SQLite's transaction begins as a reader's.
    found, created = Article.get_or_create(sku="lamp", defaults={"price": lambda: steal(database)})
    assert (found.price, created) == (9, False)
    session.remove()


@on_sqlite
def test_repeats_nothing_that_waited_in_the_session(goods: None, database: Database) -> None:
    assert Article.query.count() == 0
    steal(database)
    session.add(Article(sku="rug"))
    with pytest.raises(SerializationFailure):
        Article.get_or_create(sku="sofa")
    session.commit()
    assert articles(database) == [("lamp", 9)]
    session.remove()


# Rows that come and go


@pytest.fixture
def short_lived(engine: Engine, database: Database) -> None:
    """Every row is deleted by others as soon as it was in the way."""

    def delete(conn: Connection, name: str, context: Any) -> None:
        database.execute("DELETE FROM article")

    event.listen(engine, "rollback_savepoint", delete)


@on_postgres
@EITHER
def test_makes_it_when_what_was_in_the_way_is_gone(
    goods: None, short_lived: None, database: Database, verb: str
) -> None:
    prices: Iterator[Callable[[], int]] = iter([lambda: steal(database), lambda: 6])
    called: list[str] = []
    with unit_of_work():
        on_commit(lambda: called.append("committed"))
        made, created = ask(verb, lambda: next(prices)())
        assert (made.price, created) == (6, True)
    assert articles(database) == [("lamp", 6)]
    assert called == ["committed"]


@on_postgres
@EITHER
def test_keeps_what_the_unit_has_written_when_it_can_not_begin_anew(
    goods: None, short_lived: None, database: Database, verb: str
) -> None:
    with unit_of_work():
        Maker(name="acme").save()
        with pytest.raises(SerializationFailure, match=r"Article.*same sku.*retries=") as caught:
            ask(verb, lambda: steal(database))
        assert isinstance(caught.value.__cause__, UniqueViolation)
        assert not session.new
    assert database.rows("SELECT name FROM maker") == [("acme",)]


@on_postgres
@EITHER
def test_begins_anew_only_so_many_times(
    goods: None, short_lived: None, database: Database, verb: str
) -> None:
    calls: list[int] = []
    with unit_of_work():
        with pytest.raises(SerializationFailure):
            ask(verb, counted(calls, lambda: steal(database)))
        assert len(calls) == ATTEMPTS
        Maker(name="acme").save()
    assert database.rows("SELECT name FROM maker") == [("acme",)]


@on_postgres
@EITHER
def test_leaves_it_to_the_savepoint_around_it(
    goods: None, short_lived: None, database: Database, verb: str
) -> None:
    calls: list[int] = []
    with unit_of_work():
        with pytest.raises(SerializationFailure), atomic():
            ask(verb, counted(calls, lambda: steal(database)))
        assert len(calls) == 1
        Maker(name="acme").save()
    assert database.rows("SELECT name FROM maker") == [("acme",)]


@on_postgres
@EITHER
def test_keeps_locks_rather_than_begin_anew(
    goods: None, short_lived: None, database: Database, verb: str
) -> None:
    database.execute("INSERT INTO maker (name) VALUES ('acme')")
    with unit_of_work():
        Maker.query.one().refresh(lock=True)
        with pytest.raises(SerializationFailure):
            ask(verb, lambda: steal(database))
        with pytest.raises(Exception, match="lock"):
            database.execute("SELECT * FROM maker FOR UPDATE NOWAIT")


@on_postgres
@EITHER
def test_leaves_a_transaction_that_is_not_its_own(
    short_lived: None, engine: Engine, database: Database, verb: str
) -> None:
    class Borrowing(MyBase, DeclarativeBase):
        session = scoped_session(sessionmaker())

    class Thing(Borrowing):
        __tablename__ = "article"
        sku: Mapped[str] = mapped_column(primary_key=True)

    def come_and_go() -> str:
        database.execute("INSERT INTO article (sku) VALUES ('lamp')")
        return "lamp"

    Borrowing.metadata.create_all(engine)
    with engine.connect() as theirs:
        theirs.execute(text("CREATE TABLE theirs (id INTEGER)"))
        Borrowing.session.configure(bind=theirs)
        with unit_of_work(session=Borrowing.session):
            with pytest.raises(SerializationFailure):
                getattr(Thing, verb)(sku="lamp", defaults={"sku": come_and_go})
            assert theirs.scalar(text("SELECT count(*) FROM theirs")) == 0
