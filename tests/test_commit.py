"""The one COMMIT: what may break in on its way, and what is said of it afterwards."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from sqlalchemy import Engine, event

from activebase import (
    CommitUnknownError,
    ConnectionLost,
    StrayCommitError,
    allow_commit,
    configure,
    on_commit,
    session,
    unit_of_work,
)
from tests.core import Undone, names, on_postgres, undone
from tests.databases import EACH, Database, database_of
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


@contextmanager
def listening(name: str, listener: Callable[[Any], None]) -> Iterator[None]:
    event.listen(session, name, listener)
    try:
        yield
    finally:
        event.remove(session, name, listener)


# Listeners that raise


def test_stays_committed_when_an_after_commit_listener_raises(
    engine: Engine, database: Database
) -> None:
    ran: list[list[str]] = []

    def fail(_: Any) -> None:
        raise Undone

    with listening("after_commit", fail), undone(), unit_of_work() as unit:
        save("ada")
        on_commit(lambda: ran.append(names(database)))
    assert unit.state == "committed"
    assert ran == [["ada"]]
    assert names(database) == ["ada"]
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


def test_does_not_run_again_when_an_after_commit_listener_fails_in_passing(
    engine: Engine, database: Database
) -> None:
    runs: list[int] = []

    def fail(_: Any) -> None:
        raise ConnectionLost("the server of the search index")

    @unit_of_work(retries=3)
    def work() -> None:
        runs.append(1)
        save(f"run {len(runs)}")

    with listening("after_commit", fail), pytest.raises(ConnectionLost):
        work()
    assert names(database) == ["run 1"]


def commit_the_session() -> None:
    session.commit()


def commit_the_transaction() -> None:
    session().get_transaction().commit()


@pytest.mark.parametrize("commit", [commit_the_session, commit_the_transaction])
@pytest.mark.parametrize(
    "stray",
    [commit_the_session, commit_the_transaction, lambda: session.connection().commit()],
    ids=["session", "transaction", "connection"],
)
def test_refuses_commits_after_an_allowed_one_that_a_listener_stopped(
    engine: Engine,
    database: Database,
    commit: Callable[[], None],
    stray: Callable[[], None],
) -> None:
    def fail(_: Any) -> None:
        raise Undone

    with suppress(StrayCommitError), unit_of_work():
        save("ada")
        with listening("before_commit", fail), allow_commit(), undone():
            commit()
        assert names(database) == []
        stray()
    assert names(database) == []


@pytest.mark.parametrize("commit", [commit_the_session, commit_the_transaction])
def test_refuses_the_ways_around_after_a_commit_by_setting_that_a_listener_stopped(
    engine: Engine, database: Database, commit: Callable[[], None]
) -> None:
    def fail(_: Any) -> None:
        raise Undone

    configure(engine, stray_commits="allow")
    with suppress(StrayCommitError), unit_of_work():
        save("ada")
        with listening("before_commit", fail), undone():
            commit()
        session.connection().commit()  # which no setting lets pass
    assert names(database) == []


# Something else breaks in


class TimeIsOver(Exception):
    """What a time limit raises, as Celery's soft one does."""


SLOW_COMMIT = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(0.6); RETURN NULL; END $$
"""
SLOW_TRIGGER = """
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON member
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()
"""


@on_postgres
def test_says_that_the_outcome_is_unknown_when_a_time_limit_ends_the_commit(
    engine: Engine, database: Database
) -> None:
    database.execute(SLOW_COMMIT)
    database.execute(SLOW_TRIGGER)
    runs: list[int] = []

    def end(*_: Any) -> None:
        raise TimeIsOver

    @unit_of_work(retries=3)
    def work() -> None:
        runs.append(1)
        save("ada")
        on_commit(lambda: pytest.fail("it is not known to be committed"))
        signal.setitimer(signal.ITIMER_REAL, 0.2)

    before = signal.signal(signal.SIGALRM, end)
    try:
        with pytest.raises(CommitUnknownError, match="interrupted during COMMIT") as caught:
            work()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert isinstance(caught.value.__cause__, TimeIsOver)
    assert runs == [1]
    with unit_of_work():
        assert Member.query.count() in (0, 1)
