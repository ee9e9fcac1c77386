"""A fresh database for each test, and a look at it from outside the library."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from sqlalchemy import make_url


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
        rows: list[tuple[Any, ...]] = self.connection.execute(sql).fetchall()
        return rows

    def scalar(self, sql: str) -> Any:
        """Return the first column of the first row, None without rows."""
        row = self.connection.execute(sql).fetchone()
        return row and row[0]

    def close(self) -> None:
        """Close the second connection."""
        if "connection" in self.__dict__:
            self.connection.close()
            del self.connection


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


def _new_name() -> str:
    return f"activebase_{uuid4().hex[:12]}"
