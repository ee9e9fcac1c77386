"""What really happened, written down below SQLAlchemy, in whatever process it happened."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import event, make_url
from sqlalchemy.pool import Pool


class Witness:
    """Counts the COMMITs that reach one database, and looks at what is committed.

    Args:
        url: The database.
        log: A file; a worker process and the test that reads may have a witness each on the same.
    """

    def __init__(self, url: str, log: Path) -> None:
        self._url = make_url(url)
        self.log = log
        self.log.touch()
        self._fd: int | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch every connection that an engine of this process opens inside the block."""
        self._fd = os.open(self.log, os.O_WRONLY | os.O_APPEND)
        event.listen(Pool, "connect", self._watch)
        try:
            yield
        finally:
            event.remove(Pool, "connect", self._watch)
            # The descriptor stays open: a connection that is left may write to it.

    def _watch(self, raw: Any, record: object) -> None:
        if isinstance(raw, sqlite3.Connection):
            raw.set_trace_callback(self._note_statement)
        else:
            # libpq writes the protocol down: what the server answers to COMMIT is certain.
            raw.pgconn.trace(self._fd)

    def _note_statement(self, statement: str) -> None:
        if statement.strip(" ;").upper() in ("COMMIT", "END"):
            self.note("COMMIT")

    def note(self, what: str) -> None:
        """Write a line of one's own."""
        with self.log.open("a") as log:
            log.write(f"noted {what}\n")

    @property
    def lines(self) -> list[str]:
        """All lines so far."""
        return self.log.read_text(errors="replace").splitlines()

    @property
    def commits(self) -> int:
        """The COMMITs so far; on SQLite those that were asked for, on PostgreSQL those done."""
        answered = 'CommandComplete\t "COMMIT"'
        return sum(line == "noted COMMIT" or line.endswith(answered) for line in self.lines)

    def noted(self) -> list[str]:
        """Return what `note()` was told, COMMITs left out."""
        told = [line.removeprefix("noted ") for line in self.lines if line.startswith("noted ")]
        return [line for line in told if line != "COMMIT"]

    def forget(self) -> None:
        """Begin anew."""
        os.truncate(self.log, 0)

    def scalar(self, sql: str) -> Any:
        """Return the first value of a query on a second connection: only what is committed."""
        if self._url.get_backend_name() == "sqlite":
            with closing(sqlite3.connect(self._url.database or "")) as connection:
                return connection.execute(sql).fetchone()[0]
        url = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(url) as connection:
            row = connection.execute(sql).fetchone()
            return row and row[0]
