"""Fixtures for the project's own tests, and the rule that CI skips nothing."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from celery.result import allow_join_result

from tests.databases import (
    EACH,
    Database,
    MariaDBDatabases,
    PostgresDatabases,
    database_of,
    fresh_sqlite,
)
from tests.queues import delete_queue, empty_redis_database
from tests.servers import MARIADB, POSTGRES, RABBITMQ, REDIS, SERVERS

STRICT = "ACTIVEBASE_TEST_STRICT"


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The PostgreSQL server's URL; its database is for administration only."""
    with POSTGRES.running() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """The Redis server's URL, shared by all tests."""
    with REDIS.running() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """The MariaDB server's URL."""
    with MARIADB.running() as url:
        yield url


@pytest.fixture(scope="session")
def rabbitmq_server_url() -> Iterator[str]:
    """The RabbitMQ server's URL, shared by all tests."""
    with RABBITMQ.running() as url:
        yield url


@pytest.fixture
def sqlite_database(tmp_path: Path) -> Iterator[Database]:
    """A fresh SQLite database in a file."""
    with fresh_sqlite(tmp_path) as database:
        yield database


@pytest.fixture(scope="session")
def postgres_databases(postgres_url: str) -> Iterator[PostgresDatabases]:
    """Makes fresh PostgreSQL databases, for a test that wants several."""
    databases = PostgresDatabases(postgres_url)
    yield databases
    databases.close()


@pytest.fixture
def postgres_database(postgres_databases: PostgresDatabases) -> Iterator[Database]:
    """A fresh PostgreSQL database."""
    with postgres_databases.fresh() as database:
        yield database


@pytest.fixture(scope="session")
def mariadb_databases(mariadb_url: str) -> Iterator[MariaDBDatabases]:
    """Makes fresh MariaDB databases, for a test that wants several."""
    databases = MariaDBDatabases(mariadb_url)
    yield databases
    databases.close()


@pytest.fixture
def mariadb_database(mariadb_databases: MariaDBDatabases) -> Iterator[Database]:
    """A fresh MariaDB database."""
    with mariadb_databases.fresh() as database:
        yield database


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """A fresh database; the test runs once for each of the two.

    With `database = pytest.fixture(params=EACH)(database_of)` a module runs on three, its `engine`
    too; a single test does with `@ON_EACH_DATABASE`. Both are in tests/databases.py.
    """
    return database_of(request)


@pytest.fixture(params=EACH)
def each_database(request: pytest.FixtureRequest) -> Database:
    """A fresh database; the test runs once for each of the three."""
    return database_of(request)


@pytest.fixture
def redis_url(redis_server_url: str) -> Iterator[str]:
    """An empty Redis database of the test's own."""
    with empty_redis_database(redis_server_url) as url:
        yield url


@pytest.fixture
def queue() -> str:
    """A queue name that no other test uses."""
    return f"activebase-{uuid4().hex[:12]}"


@pytest.fixture
def rabbitmq_url(rabbitmq_server_url: str, queue: str) -> Iterator[str]:
    """The RabbitMQ server's URL; the test's `queue` is deleted at the end."""
    yield rabbitmq_server_url
    delete_queue(rabbitmq_server_url, queue)


def pytest_report_header() -> list[str]:
    return [f"{server.name}: {server.source()}" for server in SERVERS]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _say_once_what_is_missing(report)
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _say_once_what_is_missing(report: pytest.TestReport) -> None:
    # pytest counts the same place and reason together: one line for all tests of one server.
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    if report.skipped and any(server.variable in reason for server in SERVERS):
        report.longrepr = ("tests/servers.py", None, reason)  # type: ignore[assignment]


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_failure = hasattr(report, "wasxfail")
    if not os.environ.get(STRICT) or not report.skipped or expected_failure:
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome = "failed"
    report.longrepr = f"{STRICT} is set, so this skip is a failure: {reason}"


@pytest.fixture(autouse=True)
def results_can_be_awaited() -> Iterator[None]:
    """Undo what eager tasks in threads leave behind.

    Celery keeps "this is inside a task" in one variable for all threads, so that two that end at
    once may leave it set; then `result.get()` is refused in every later test.
    """
    with allow_join_result():
        yield
