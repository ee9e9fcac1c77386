"""get_or_create() and update_or_create(): others who do the same at the same time."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, event, text

from activebase import (
    DeadlockDetected,
    UnitOfWork,
    atomic,
    session,
    unit_of_work,
)
from tests.core import on_mariadb, on_servers
from tests.databases import EACH, Database, database_of
from tests.goods import EITHER, Article, Maker, articles, ask, steal
from tests.goods_fixtures import CALLERS
from tests.workers import ROOT

pytest_plugins = ["tests.core_fixtures", "tests.goods_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


# Many at once


def together(work: Callable[[int], Any]) -> list[Any]:
    """Run it in many threads at once; return what it returned, in no order."""
    results: list[Any] = []
    failures: list[BaseException] = []
    start = threading.Barrier(CALLERS)

    def run(number: int) -> None:
        start.wait()
        try:
            results.append(work(number))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return results


class Outsider:
    """Someone who has inserted the row already, and ends the transaction while others wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = create_engine(engine.url)
        self._inserts = 0
        event.listen(engine, "before_cursor_execute", self._count)

    def _count(self, conn: Connection, cursor: Any, statement: str, *_: Any) -> None:
        self._inserts += statement.startswith("INSERT")

    def insert_then(self, end: str) -> threading.Thread:
        """Insert; then, in a thread, wait until all others do and commit or roll back."""
        connection = self._engine.connect()
        connection.execute(
            text("INSERT INTO article (kind, sku, price) VALUES ('article', 'lamp', -1)")
        )

        def finish() -> None:
            deadline = time.monotonic() + 0.4  # on SQLite they wait before their first statement
            while self._inserts < CALLERS and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.02)
            getattr(connection, end)()
            connection.close()
            self._engine.dispose()

        thread = threading.Thread(target=finish)
        thread.start()
        return thread


@pytest.mark.parametrize("others", [None, "commit", "rollback"])
@EITHER
def test_gives_everyone_the_one_row(
    wide: Engine, database: Database, verb: str, others: str | None
) -> None:
    @unit_of_work
    def work(number: int) -> tuple[int, int, bool]:
        record, created = getattr(Article, verb)(sku="lamp", defaults={"price": number})
        return record.id, record.price, created

    outsider = Outsider(wide).insert_then(others) if others else None
    results = together(work)
    if outsider is not None:
        outsider.join()
    ((number, price),) = database.rows("SELECT id, price FROM article")
    assert [found for found, _, _ in results] == [number] * CALLERS
    assert sum(created for _, _, created in results) == (0 if others == "commit" else 1)
    if verb == "update_or_create":
        assert sorted(own for _, own, _ in results) == list(range(CALLERS))
        assert price in range(CALLERS)
    else:
        assert {own for _, own, _ in results} == {price}
        assert (price == -1) == (others == "commit")


@EITHER
def test_can_be_a_part_of_units_that_write_more(
    wide: Engine, database: Database, verb: str
) -> None:
    @unit_of_work(retries=20)
    def work(number: int) -> int:
        Maker(name=f"maker {number}").save()
        record, _ = getattr(Article, verb)(sku="lamp", defaults={"price": number})
        return int(record.id)

    assert len(set(together(work))) == 1
    assert database.scalar("SELECT count(*) FROM article") == 1
    assert database.scalar("SELECT count(DISTINCT name) FROM maker") == CALLERS
    assert database.scalar("SELECT count(*) FROM maker") == CALLERS


@on_servers
def test_gives_several_processes_the_one_row(goods: None, database: Database) -> None:
    command = [sys.executable, "-m", "tests.get_or_create_worker", database.url]
    workers = [
        subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    printed = [worker.communicate(timeout=30)[0] for worker in workers]
    answers = [line.split() for lines in printed for line in lines.splitlines()]
    number = database.scalar("SELECT id FROM article")
    assert [found for found, _ in answers] == [str(number)] * CALLERS
    assert [created for _, created in answers].count("True") == 1
    assert database.scalar("SELECT count(*) FROM article") == 1


@on_mariadb
@EITHER
def test_gives_everyone_the_one_row_where_snapshots_are_strict(
    strict: Engine, database: Database, verb: str
) -> None:
    @unit_of_work
    def work(number: int) -> int:
        return int(getattr(Article, verb)(sku="lamp", defaults={"price": number})[0].id)

    assert len(set(together(work))) == 1
    assert database.scalar("SELECT count(*) FROM article") == 1


# One who comes first


@on_servers
def test_gives_the_row_that_came_first_and_keeps_what_was_written(
    goods: None, database: Database
) -> None:
    acme = Maker(name="acme")
    with unit_of_work():
        Article(sku="rug").save()
        found, created = Article.get_or_create(
            sku="lamp", defaults={"price": lambda: steal(database), "maker": acme}
        )
        assert (found.price, created) == (9, False)
        assert not session.new
        assert acme not in session
        Article(sku="desk").save()
    assert sorted(articles(database)) == [("desk", 0), ("lamp", 9), ("rug", 0)]
    assert database.scalar("SELECT count(*) FROM maker") == 0


@on_servers
def test_updates_the_row_that_came_first(goods: None, database: Database) -> None:
    with unit_of_work():
        Article(sku="rug").save()
        found, created = Article.update_or_create(
            sku="lamp",
            defaults={"price": 7},
            create_defaults={"price": lambda: steal(database)},
        )
        assert (found.price, created) == (7, False)
    assert sorted(articles(database)) == [("lamp", 7), ("rug", 0)]


@on_servers
def test_gives_a_record_that_the_session_has_as_it_is_now(goods: None, database: Database) -> None:
    def take_its_sku() -> int:
        database.execute("UPDATE article SET sku = 'lamp'")
        return 1

    steal(database, "sofa")
    with unit_of_work():
        sofa = Article.query.one()
        found, created = ask("get_or_create", take_its_sku)
        assert (found, found.sku, created) == (sofa, "lamp", False)


@on_servers
def test_undoes_what_defaults_have_written(goods: None, database: Database) -> None:
    with unit_of_work():
        Maker(name="before").save()
        Article.get_or_create(
            sku="lamp",
            defaults={"maker": lambda: Maker.create(name="new"), "price": lambda: steal(database)},
        )
    assert database.rows("SELECT name FROM maker") == [("before",)]


@on_servers
def test_locks_the_row_until_the_unit_ends(goods: None, database: Database) -> None:
    steal(database)
    with unit_of_work():
        Article.update_or_create(sku="lamp")
        with pytest.raises(Exception, match=r"(?i)lock"):
            database.execute("SELECT * FROM article FOR UPDATE NOWAIT")
    database.execute("SELECT * FROM article FOR UPDATE NOWAIT")


@on_servers
def test_updates_what_has_changed_since_the_session_read_it(
    goods: None, database: Database
) -> None:
    steal(database)
    with unit_of_work():
        lamp = Article.query.one()
        database.execute("UPDATE article SET price = 1")
        assert Article.update_or_create(sku="lamp", defaults={"price": 9}) == (lamp, False)
    assert articles(database) == [("lamp", 9)]


@on_mariadb
@pytest.mark.parametrize("in_unit", [True, False])
def test_tells_of_the_deadlock_that_has_undone_a_savepoint(
    wide: Engine, database: Database, in_unit: bool
) -> None:
    """ROLLBACK TO SAVEPOINT fails then, and would hide it from who could try again."""
    steal(database, "lamp")
    steal(database, "sofa")
    outsider = wide.connect()
    outsider.execute(text("UPDATE article SET price = 1 WHERE id = 2"))
    # The server ends the transaction that has done less.
    outsider.execute(text("INSERT INTO maker (name) VALUES " + ", ".join(["('acme')"] * 100)))

    def close_the_circle() -> None:
        outsider.execute(text("UPDATE article SET price = 1 WHERE id = 1"))
        outsider.commit()

    waiting = threading.Thread(target=close_the_circle)

    def work() -> None:
        with atomic() if in_unit else session.begin_nested():
            Article.update_or_create(sku="lamp", defaults={"price": 2})
            waiting.start()
            while "LOCK WAIT" not in database.rows("SHOW ENGINE INNODB STATUS")[0][2]:
                time.sleep(0.01)
            Article.get_or_404(2).update(price=2)

    unit = UnitOfWork.begin() if in_unit else None
    with pytest.raises(DeadlockDetected):
        work()
    unit.close() if unit else session.remove()
    waiting.join()
    outsider.close()
    assert {price for _, price in articles(database)} == {1}
