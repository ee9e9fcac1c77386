"""Runs again what failed in passing, and never what may have taken effect."""

import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, make_url, text, update
from sqlalchemy.exc import OperationalError

from activebase import (
    CommitUnknownError,
    ConnectionLost,
    DeadlockDetected,
    LockTimeout,
    SerializationFailure,
    TransientError,
    UniqueViolation,
    configure,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from activebase.unit_of_work import BACKOFF_CAP, backoff
from tests.core import in_thread, kill_connection, names, on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def ada(engine: Engine, database: Database) -> None:
    database.execute("INSERT INTO member (id, name, age) VALUES (1, 'ada', 36)")


def age_of_ada(database: Database) -> int:
    age: int = database.scalar("SELECT age FROM member WHERE id = 1")
    return age


# What is run again


@on_postgres
def test_runs_again_after_a_serialization_failure(ada: None, database: Database) -> None:
    attempts = []

    @unit_of_work(retries=2, isolation_level="REPEATABLE READ")
    def have_a_birthday() -> int:
        unit = current_unit()
        assert unit is not None
        attempts.append(unit.attempt)
        member = Member.get_or_404(1)
        if len(attempts) == 1:
            database.execute("UPDATE member SET age = 50 WHERE id = 1")
        return member.update(age=member.age + 1).age or 0

    assert have_a_birthday() == 51
    assert attempts == [1, 2]
    assert age_of_ada(database) == 51


@on_postgres
def test_runs_again_when_only_the_commit_finds_the_conflict(ada: None, database: Database) -> None:
    database.execute("INSERT INTO member (id, name, age) VALUES (2, 'bob', 36)")
    attempts = []

    @unit_of_work(retries=1, isolation_level="SERIALIZABLE")
    def take_the_age_of(other: int, own: int) -> None:
        age = Member.get_or_404(other).age
        Member.get_or_404(own).update(age=(age or 0) + 1)
        attempts.append(age)
        if len(attempts) == 1:
            # A write skew: each reads what the other writes, in no possible order.
            in_thread(lambda: take_the_age_of(1, 2))

    take_the_age_of(2, 1)
    assert attempts == [36, 36, 37]
    assert database.rows("SELECT age FROM member ORDER BY id") == [(38,), (37,)]


@on_postgres
def test_raises_the_last_error_when_retries_run_out(ada: None, database: Database) -> None:
    attempts = []

    @unit_of_work(retries=2, isolation_level="REPEATABLE READ")
    def have_a_birthday() -> None:
        member = Member.get_or_404(1)
        attempts.append(member.age)
        database.execute("UPDATE member SET age = age + 10 WHERE id = 1")
        member.update(age=0)

    with pytest.raises(SerializationFailure) as caught:
        have_a_birthday()
    assert isinstance(caught.value, TransientError)
    assert attempts == [36, 46, 56]
    assert age_of_ada(database) == 66


@on_sqlite
def test_runs_again_when_sqlite_was_locked(
    engine: Engine, database: Database, unconfigured: None
) -> None:
    impatient = configure(database.url, pragmas={"busy_timeout": 0})
    writer = sqlite3.connect(make_url(database.url).database or "", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    failures = []

    @unit_of_work(retries=1)
    def save() -> None:
        try:
            Member(name="ada").save()
        except LockTimeout as error:
            failures.append(error)
            writer.execute("ROLLBACK")
            raise

    save()
    assert len(failures) == 1
    assert names(database) == ["ada"]
    writer.close()
    impatient.dispose()


@on_servers
def test_runs_again_after_a_lost_connection(engine: Engine, database: Database) -> None:
    attempts = []

    @unit_of_work(retries=1)
    def save() -> None:
        Member(name="ada").save()
        attempts.append(1)
        if len(attempts) == 1:
            kill_connection(database)
        Member(name="bob").save()

    save()
    assert len(attempts) == 2
    assert names(database) == ["ada", "bob"]


@on_servers
def test_runs_again_after_a_deadlock(ada: None, database: Database) -> None:
    database.execute("INSERT INTO member (id, name, age) VALUES (2, 'bob', 1)")
    both_hold_one = threading.Barrier(2)
    attempts: list[DeadlockDetected] = []

    @unit_of_work(retries=3)
    def grow(first: int, second: int) -> None:
        unit = current_unit()
        assert unit is not None
        for number in (first, second):
            try:
                session.execute(
                    update(Member).where(Member.id == number).values(age=Member.age + 1)
                )
            except DeadlockDetected as error:
                attempts.append(error)
                raise
            if unit.attempt == 1 and number == first:
                both_hold_one.wait(10)

    other = threading.Thread(target=grow, args=(2, 1))
    other.start()
    grow(1, 2)
    other.join(20)
    assert len(attempts) == 1
    assert database.rows("SELECT age FROM member ORDER BY id") == [(38,), (3,)]


def test_runs_the_outermost_unit_again_when_a_joined_one_failed_in_passing(
    engine: Engine, database: Database
) -> None:
    inner_runs, outer_runs = [], []

    @unit_of_work(retries=5)
    def inner() -> None:
        inner_runs.append(1)
        Member(name="bob").save()
        if len(inner_runs) == 1:
            raise LockTimeout("busy")

    @unit_of_work(retries=5)
    def outer() -> None:
        outer_runs.append(1)
        Member(name="ada").save()
        inner()

    outer()
    assert (len(outer_runs), len(inner_runs)) == (2, 2)
    assert names(database) == ["ada", "bob"]


# What is not


def test_does_not_run_again_what_fails_for_good(engine: Engine, database: Database) -> None:
    runs = []

    @unit_of_work(retries=5)
    def save() -> None:
        runs.append(1)
        Member(name="ada").save()
        Member(name="ada").save()

    with pytest.raises(UniqueViolation):
        save()
    assert len(runs) == 1


@pytest.mark.parametrize("robust", [True, False])
def test_does_not_run_a_committed_unit_again_for_the_error_of_a_callback(
    engine: Engine, database: Database, robust: bool
) -> None:
    runs = []

    @unit_of_work(retries=5)
    def save() -> None:
        runs.append(1)
        Member(name=f"ada {len(runs)}").save()

        @on_commit(robust=robust)
        def fail() -> None:
            raise LockTimeout("busy")

    if robust:
        save()
    else:
        with pytest.raises(LockTimeout):
            save()
    assert names(database) == ["ada 1"]


@on_servers
def test_does_not_run_again_when_the_connection_was_found_dead_by_the_commit(
    engine: Engine, database: Database
) -> None:
    runs = []

    @unit_of_work(retries=5)
    def save() -> None:
        runs.append(1)
        Member(name="ada").save()
        on_commit(lambda: pytest.fail("it is not known to be committed"))
        kill_connection(database)

    with pytest.raises(CommitUnknownError) as caught:
        save()
    assert caught.value.status == 500
    assert not isinstance(caught.value, TransientError)
    assert len(runs) == 1
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


SLOW_COMMIT = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_sleep(30); RETURN NULL; END $$
"""
SLOW_TRIGGER = """
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON member
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit()
"""


@on_postgres
def test_does_not_run_again_when_the_connection_drops_during_the_commit(
    engine: Engine, database: Database
) -> None:
    database.execute(SLOW_COMMIT)
    database.execute(SLOW_TRIGGER)
    runs = []

    @unit_of_work(retries=5)
    def save() -> None:
        Member(name="ada").save()
        runs.append(session.scalar(text("SELECT pg_backend_pid()")))

    killer = threading.Thread(target=kill_in_commit, args=(database,))
    killer.start()
    with pytest.raises(CommitUnknownError):
        save()
    killer.join()
    assert len(runs) == 1
    assert names(database) == []


def kill_in_commit(database: Database) -> None:
    deadline = time.monotonic() + 20
    killed: list[tuple[bool]] = []
    while not killed and time.monotonic() < deadline:
        killed = database.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query = 'COMMIT' AND state = 'active'"
        )


# Options


def test_refuses_retries_on_a_block(engine: Engine) -> None:
    with pytest.raises(TypeError, match=r"@unit_of_work\(retries="), unit_of_work(retries=1):
        pytest.fail("the block was entered")


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "3"])
def test_refuses_retries_that_are_no_number_of_runs(wrong: int) -> None:
    with pytest.raises(ValueError, match="retries"):
        unit_of_work(retries=wrong)


def test_waits_longer_each_time_at_random_and_never_beyond_the_cap() -> None:
    for attempt in range(1, 40):
        pauses = [backoff(attempt) for _ in range(50)]
        limit = min(BACKOFF_CAP, 0.05 * 2 ** (attempt - 1))
        assert 0 <= min(pauses) < max(pauses) <= limit
        assert max(pauses) > limit / 2


@pytest.fixture
def no_server(unconfigured: None) -> Iterator[Engine]:
    engine = configure("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    yield engine
    engine.dispose()


def test_reports_a_server_that_is_down_as_a_lost_connection(no_server: Engine) -> None:
    with pytest.raises(ConnectionLost), unit_of_work():
        Member.query.all()


@pytest.mark.parametrize("part", ["database", "username"])
def test_does_not_take_a_wrong_name_in_the_url_for_a_passing_failure(
    postgres_database: Database, unconfigured: None, part: str
) -> None:
    url = make_url(postgres_database.url).set(**{part: "nobody_and_nothing"})  # type: ignore[arg-type]  # by its name
    engine = configure(url)
    runs = []

    @unit_of_work(retries=3)
    def work() -> None:
        runs.append(1)
        Member.query.all()

    with pytest.raises(OperationalError) as caught:
        work()
    assert not isinstance(caught.value, TransientError)
    assert runs == [1]
    engine.dispose()
