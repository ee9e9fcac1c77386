"""Workers that the tests of this package share: starting one takes seconds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from uuid import uuid4

import pytest
from kombu import pools

from tests.databases import PostgresDatabases, fresh_sqlite
from tests.queues import empty_redis_database
from tests.services.sites import Site, site

OpenSite = Callable[[str, str], Site]


@pytest.fixture(scope="package", autouse=True)
def no_connection_left() -> Iterator[None]:
    """Close what kombu keeps open for the whole process."""
    yield
    pools.reset()


@pytest.fixture(scope="package")
def open_site(
    redis_server_url: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[OpenSite]:
    """Gives the worker with a pool on a dialect; started when first asked for."""
    sites: dict[tuple[str, str], Site] = {}
    with ExitStack() as stack:
        redis_url = stack.enter_context(empty_redis_database(redis_server_url))

        def get(pool: str, dialect: str) -> Site:
            if (pool, dialect) not in sites:
                if dialect == "sqlite":
                    database = stack.enter_context(fresh_sqlite(tmp_path_factory.mktemp("site")))
                else:
                    servers: PostgresDatabases = request.getfixturevalue("postgres_databases")
                    database = stack.enter_context(servers.fresh())
                sites[pool, dialect] = stack.enter_context(site(database, redis_url, pool=pool))
            return sites[pool, dialect]

        yield get


@pytest.fixture(params=["prefork", "threads"])
def pool(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def dialect(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def worker(open_site: OpenSite, pool: str, dialect: str) -> Site:
    """A worker with one process or thread, so that tasks run one after another."""
    return open_site(pool, dialect)


@pytest.fixture
def prefork(open_site: OpenSite, dialect: str) -> Site:
    """A worker whose pool is a process that can be killed."""
    return open_site("prefork", dialect)


@pytest.fixture
def name() -> str:
    """A name for this test's members, signals and counts."""
    return uuid4().hex[:12]
