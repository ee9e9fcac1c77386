"""What the tests of the core share, beside the fixtures in tests/core_fixtures.py."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from typing import Any

import pytest
from sqlalchemy import text

from activebase import session
from tests.databases import Database
from tests.workers import ROOT

#: For a test that takes `database` but is not about all that the module runs on.
on_sqlite = pytest.mark.parametrize("database", ["sqlite"], indirect=True)
on_postgres = pytest.mark.parametrize("database", ["postgresql"], indirect=True)
on_mariadb = pytest.mark.parametrize("database", ["mariadb"], indirect=True)
on_servers = pytest.mark.parametrize("database", ["postgresql", "mariadb"], indirect=True)
#: Those where COMMIT checks the foreign keys of `Entry`, and so can fail.
on_deferring = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


class Undone(Exception):
    """What a test raises to have a unit, or a savepoint, rolled back."""


@contextmanager
def undone() -> Iterator[None]:
    """Expect that `Undone` leaves the block."""
    try:
        yield
    except Undone:
        return
    raise AssertionError("the block has ended without Undone")


def names(database: Database) -> list[str]:
    """Return the names of the members that are committed."""
    return [name for (name,) in database.rows("SELECT name FROM member ORDER BY id")]


def connection_id() -> int:
    """Return what the server calls the session's connection."""
    is_postgres = session.connection().dialect.name == "postgresql"
    found: int = session.scalar(
        text("SELECT pg_backend_pid()" if is_postgres else "SELECT connection_id()")
    )
    return found


def kill_connection(database: Database) -> None:
    """Have the server close the connection of the session."""
    number = connection_id()
    if database.dialect == "postgresql":
        database.execute(f"SELECT pg_terminate_backend({number}, 5000)")
        return
    database.execute(f"KILL {number}")
    alive = f"SELECT count(*) FROM information_schema.processlist WHERE id = {number}"
    deadline = time.monotonic() + 5
    while database.scalar(alive) and time.monotonic() < deadline:
        time.sleep(0.01)


def run_python(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own; return what it printed."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def in_thread(function: Callable[[], Any], context: Context | None = None) -> Any:
    """Run a function in a thread that ends; return its result."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(context.run if context else Context().run, function).result()
