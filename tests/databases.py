"""A fresh database for each test, and a look at it from outside the library."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pymysql  # type: ignore[import-untyped]  # it ships no types
import pytest
from sqlalchemy import URL, make_url

EACH = ("sqlite", "postgresql", "mariadb")
#: For one test that takes `database`, or fixtures that do.
ON_EACH_DATABASE = pytest.mark.parametrize("database", EACH, indirect=True)


class Database:
    """One test's own database.

    `url` and `dialect` are for the code under test. `execute()`, `rows()` and `scalar()` run SQL on
    a second connection: the bare driver's, in autocommit, so that they see what is committed and
    nothing else. They wait 5 seconds for a lock, then fail.
    """

    def __init__(self, url: str, *, dialect: str, connect: Callable[[], Any]) -> None:
        self.url = url
        self.dialect = dialect
        self._connect = connect

    def __repr__(self) -> str:
        return f"<Database {self.url}>"

    @cached_property
    def connection(self) -> Any:
        """The second connection; opened at the first use."""
        return self._connect()

    def execute(self, sql: str) -> None:
        """Run one statement and commit it."""
        self.connection.execute(sql)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows as tuples."""
        return list(self.connection.execute(sql).fetchall())

    def scalar(self, sql: str) -> Any:
        """Return the first column of the first row, None without rows."""
        row = self.connection.execute(sql).fetchone()
        return row and row[0]

    def close(self) -> None:
        """Close the second connection."""
        if "connection" in self.__dict__:
            self.connection.close()
            del self.connection


def database_of(request: pytest.FixtureRequest) -> Database:
    """Return a fresh database of the dialect that the fixture's parameter names."""
    fixtures = {
        "sqlite": "sqlite_database",
        "postgresql": "postgres_database",
        "mariadb": "mariadb_database",
    }
    database: Database = request.getfixturevalue(fixtures[request.param])
    return database


@contextmanager
def fresh_sqlite(directory: Path) -> Iterator[Database]:
    """Yield a database in a new file."""
    path = directory / f"{uuid4().hex[:12]}.db"

    def connect() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    database = Database(f"sqlite:///{path}", dialect="sqlite", connect=connect)
    try:
        yield database
    finally:
        database.close()


class PostgresDatabases:
    """Fresh databases on one server.

    Creating one takes 300 new files, 40 to 250 ms. So a used one is emptied, 10 ms, and comes back
    under a new name: what an earlier test has left running can't reach it.
    """

    def __init__(self, server_url: str) -> None:
        self._server = make_url(server_url).set(drivername="postgresql")
        self._admin = self._connect(self._server.database or "postgres")
        self._spare: list[str] = []

    def _connect(self, name: str) -> psycopg.Connection[tuple[Any, ...]]:
        url = self._server.set(database=name).render_as_string(hide_password=False)
        connection = psycopg.connect(url, autocommit=True)
        connection.execute("SET lock_timeout = '5s'")
        return connection

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """Yield an empty database; take it back at the end, whoever is still connected."""
        name = self._spare.pop() if self._spare else self._create()
        url = self._server.set(drivername="postgresql+psycopg", database=name)
        database = Database(
            url.render_as_string(hide_password=False),
            dialect="postgresql",
            connect=lambda: self._connect(name),
        )
        try:
            yield database
        finally:
            database.close()
            self._spare.append(self._empty(name))

    def close(self) -> None:
        """Drop every database and disconnect."""
        for name in self._spare:
            self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        self._admin.close()

    def _create(self) -> str:
        name = _new_name()
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def _empty(self, old: str) -> str:
        new = _new_name()
        self._admin.execute(f"ALTER DATABASE {old} ALLOW_CONNECTIONS false")
        self._admin.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [old]
        )
        self._admin.execute(f"ALTER DATABASE {old} RENAME TO {new}")
        self._admin.execute(f"ALTER DATABASE {new} RESET ALL")
        self._admin.execute(f"ALTER DATABASE {new} ALLOW_CONNECTIONS true")
        with self._connect(new) as connection:
            schemas = connection.execute(
                "SELECT quote_ident(nspname) FROM pg_namespace"
                " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
            for (schema,) in schemas:
                connection.execute(f"DROP SCHEMA {schema} CASCADE")
            connection.execute("CREATE SCHEMA public")
        return new


class MariaDBDatabases:
    """Fresh databases on one server: creating and dropping one takes some milliseconds."""

    def __init__(self, server_url: str) -> None:
        self._server = make_url(server_url).set(drivername="mariadb+pymysql")
        self._admin = BarePyMySQL(self._server)

    @contextmanager
    def fresh(self) -> Iterator[Database]:
        """Yield an empty database; drop it at the end, whoever is still connected."""
        name = _new_name()
        self._admin.execute(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
        url = self._server.set(database=name)
        database = Database(
            url.render_as_string(hide_password=False),
            dialect="mariadb",
            connect=lambda: BarePyMySQL(url),
        )
        try:
            yield database
        finally:
            database.close()
            self._drop(name)

    def close(self) -> None:
        """Disconnect."""
        self._admin.close()

    def _drop(self, name: str) -> None:
        others = self._admin.execute(
            f"SELECT id FROM information_schema.processlist WHERE db = '{name}'"
        ).fetchall()
        for (other,) in others:
            with suppress(pymysql.err.OperationalError):  # it has gone by itself meanwhile
                self._admin.execute(f"KILL {other}")
        self._admin.execute(f"DROP DATABASE {name}")


class BarePyMySQL:
    """A connection of PyMySQL's in autocommit, with the `execute()` that other drivers have."""

    def __init__(self, url: URL) -> None:
        self._connection = pymysql.connect(
            host=url.host or "localhost",
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.database,
            autocommit=True,
            init_command="SET innodb_lock_wait_timeout = 5, lock_wait_timeout = 5",
        )

    def execute(self, sql: str) -> Any:
        """Run one statement; returns its cursor."""
        cursor = self._connection.cursor()
        cursor.execute(sql)
        return cursor

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def _new_name() -> str:
    return f"activebase_{uuid4().hex[:12]}"
