"""What really happened, written down below SQLAlchemy, in whatever process it happened."""

import ctypes
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pymysql  # type: ignore[import-untyped]  # it ships no types
from sqlalchemy import event, make_url
from sqlalchemy.pool import Pool

from tests.databases import BarePyMySQL


class Witness:
    """Counts the COMMITs that reach one database, and looks at what is committed.

    Args:
        url: The database.
        directory: Where it writes; a worker process and the test share one.
    """

    def __init__(self, url: str, directory: Path) -> None:
        self.directory = directory
        self._url = make_url(url)
        self._notes = directory / "notes.log"
        self._notes.touch()

    def watch(self) -> None:
        """Watch every connection that an engine of this process opens from now on."""
        event.listen(Pool, "connect", self._watch)

    def leave(self) -> None:
        """Watch no further ones."""
        event.remove(Pool, "connect", self._watch)

    def _watch(self, raw: Any, record: object) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.set_trace_callback(self._note_statement)
            return
        path = self.directory / f"{uuid4().hex}.trace"
        if isinstance(raw, pymysql.Connection):
            _write_down(raw, path)
            return
        # libpq writes the protocol down: what the server answers to COMMIT is certain. A file for
        # each connection, open as long as the process lives: libpq never says when it is done.
        raw.pgconn.trace(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))

    def _note_statement(self, statement: str) -> None:
        if statement.strip(" ;").upper() in ("COMMIT", "END"):
            self.note("COMMIT")

    def note(self, what: str) -> None:
        """Write a line of one's own."""
        with self._notes.open("a") as notes:
            notes.write(f"{what}\n")

    def flush(self) -> None:
        """Write out what libpq still holds back, in the process that was watched."""
        ctypes.CDLL(None).fflush(None)

    def forget(self) -> None:
        """Begin anew."""
        for path in self._files:
            os.truncate(path, 0)

    @property
    def is_silent(self) -> bool:
        """Nothing was sent to the database, nothing was noted."""
        return not any(path.stat().st_size for path in self._files)

    @property
    def noted(self) -> list[str]:
        """What `note()` was told, COMMITs left out."""
        return [line for line in self._lines(self._notes) if line != "COMMIT"]

    @property
    def commits(self) -> int:
        """The COMMITs so far: on PostgreSQL those that were done, else those that were sent."""
        answer = 'CommandComplete\t "COMMIT"'
        return sum(
            line == "COMMIT" or line.endswith(answer)
            for path in self._files
            for line in self._lines(path)
        )

    @property
    def _files(self) -> list[Path]:
        return [self._notes, *self.directory.glob("*.trace")]

    @staticmethod
    def _lines(path: Path) -> list[str]:
        return path.read_text(errors="replace").splitlines()

    def scalar(self, sql: str) -> Any:
        """Return the first value of a query on a second connection: only what is committed."""
        if self._url.get_backend_name() == "sqlite":
            with closing(sqlite3.connect(self._url.database or "")) as connection:
                return connection.execute(sql).fetchone()[0]
        if self._url.get_backend_name() == "mariadb":
            with closing(BarePyMySQL(self._url)) as bare:
                return bare.execute(sql).fetchone()[0]
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            row = connection.execute(sql).fetchone()
            return row and row[0]


def _write_down(raw: Any, path: Path) -> None:
    """Have a connection of PyMySQL's write down every command before it is sent."""
    send = raw._execute_command

    def write_and_send(command: int, sql: str | bytes) -> None:
        text = sql.decode(errors="replace") if isinstance(sql, bytes) else sql
        with path.open("a") as trace:
            trace.write(f"{text.strip(' ;') or command}\n")
        send(command, sql)

    raw._execute_command = write_and_send
