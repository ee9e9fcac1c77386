"""The guards: what a session may do inside a unit of work, and what it has written so far.

Every session of ours has a `Journal`, in `Session.info` and, while a transaction is open, in
`Connection.info`. Session events and the engine's events (engines.py) report to it what happens;
it counts the writes of the root transaction and of every savepoint, and refuses

* writes in a read-only unit, after the unit's end, and after writes were lost;
* commits by anyone but the boundary.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session, SessionTransaction

from .engines import JOURNAL, Kind, instrument, is_autocommit
from .errors import (
    DeadlockDetected,
    LostWritesError,
    NestedUnitError,
    ReadOnlyError,
    StrayCommitError,
    StrayCommitWarning,
    UnitOfWorkError,
    WriteAfterCommitError,
)
from .session import ActiveSession

if TYPE_CHECKING:
    from .unit import UnitOfWork


Callback = Callable[[], object]


class Level:
    """The writes of a root transaction or of one savepoint, and what waits for its commit."""

    __slots__ = ("callbacks", "error", "is_over", "released", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self.callbacks: list[tuple[Callback, bool]] = []  # of on_commit(), with robust=
        self.error: BaseException | None = None  # the first database error in it
        self.released = False
        self.is_over = False


log = logging.getLogger("activebase")


class Journal:
    """What the session of one scope has written in its open transaction, level by level.

    ``unit`` is the unit of work whose rules hold, None for a session outside of units.
    """

    def __init__(self, unit: UnitOfWork | None = None) -> None:
        self.unit = unit
        self.levels = [Level()]
        self.committed = 0
        self.committing = False
        self.lost: UnitOfWorkError | None = None  # why the unit must not commit
        self.connections: list[Connection] = []
        self._root_committed = False

    @property
    def writes(self) -> int:
        """Statements that wrote, and are neither committed nor undone."""
        return sum(level.writes for level in self.levels)

    @property
    def _is_open(self) -> bool:
        return self.unit is not None and self.unit.state == "open"

    # -- asked before ----------------------------------------------------------------------

    @property
    def takes_writes(self) -> bool:
        """Whether anything may be written now."""
        unit = self.unit
        return self.lost is None and (unit is None or (unit.state == "open" and not unit.read_only))

    def check_write(self) -> None:
        """Raise if nothing may be written now."""
        unit = self.unit
        if self.takes_writes:
            return
        if unit is not None and unit.state != "open":
            raise WriteAfterCommitError(
                f"A write after {unit.name} has ended ({unit.state}): nothing would ever commit "
                "it. Write before the unit ends, or open one here: `with unit_of_work():`."
            )
        if unit is not None and unit.read_only:
            raise ReadOnlyError(
                f"A write inside {unit.name}, which is read-only. Move it out, or open the unit "
                "without read_only."
            )
        raise self.lost_error()

    def lost_error(self) -> UnitOfWorkError:
        """Return the error that dooms the unit, a new one for each time it is raised."""
        assert self.lost is not None
        error = type(self.lost)(*self.lost.args)
        error.__cause__ = self.lost.__cause__
        return error

    def before_statement(self, kind: Kind) -> None:
        """Refuse a statement that must not be sent; count a write, until it fails."""
        if kind is Kind.WRITE:
            self.check_write()
            self.levels[-1].writes += 1
        elif kind is Kind.ROLLBACK:
            self.transaction_ended(None)
        elif self._is_open:
            raise self._stray("A textual COMMIT")

    def take_back(self) -> None:
        """The write that was just counted has failed."""
        self.levels[-1].writes -= 1

    def before_session_commit(self, *, to_root: bool) -> None:
        """Refuse a stray commit, and the release of a savepoint with lost writes in it."""
        unit = self.unit
        if self.committing or unit is None or unit.state != "open":
            return
        if not to_root:
            self.check_release()
            return
        policy = "allow" if unit.commits_allowed else unit.registry.stray_commits
        if policy == "raise":
            raise self._stray("session.commit()")
        if policy == "warn":
            warnings.warn(str(self._stray("session.commit()")), StrayCommitWarning, stacklevel=6)
        if self.lost is not None:
            raise self.lost_error()
        self.committing = True

    def check_release(self) -> None:
        """Raise if the innermost savepoint holds half of what it should."""
        level = self.levels[-1]
        if level.error is not None and level.writes:
            raise lost_writes(level.writes, level.error, "the savepoint")

    def before_commit_of(self, conn: Connection, *, in_transaction: bool) -> None:
        """Refuse COMMIT to anyone but the boundary; `conn` is about to send it."""
        if not self._is_open:
            return
        if not self.committing:
            stray = self._stray("connection.commit()")
            self.transaction_ended(stray)
            raise stray
        if self.writes and not in_transaction:
            # Raw cursors and the server go around every event; COMMIT would succeed all the same.
            self.transaction_ended(None)
            raise self.lost_error()

    def _stray(self, what: str) -> StrayCommitError:
        assert self.unit is not None
        return StrayCommitError(
            f"{what} inside {self.unit.name}: only the boundary commits, once, at its end. Remove "
            "the commit; `with unit_of_work(independent=True):` is for what must be kept whatever "
            "happens, `with allow_commit():` for code that can't be changed."
        )

    def begin_of_sqlite(self, conn: Connection) -> str:
        """Return how to begin: a unit that may write takes the lock at once."""
        if not self._is_open or self.unit is None or self.unit.read_only or self.lost is not None:
            return "BEGIN"
        holder = self.unit.lock_holder(conn)
        if holder is not None:
            raise waits_for_itself(self.unit.name, holder)
        return "BEGIN IMMEDIATE"

    def holds_sqlite_lock(self, conn: Connection | None = None) -> bool:
        """Tell whether this session has SQLite's write lock (of ``conn``'s database)."""
        may_write = self.writes if self.unit is None else not self.unit.read_only
        return bool(may_write) and any(
            mine.dialect.name == "sqlite" and (conn is None or mine.engine.pool is conn.engine.pool)
            for mine in self.connections
        )

    # -- told afterwards -------------------------------------------------------------------

    def failed(self, context: ExceptionContext, error: BaseException) -> None:
        """Note what a failed statement, or a lost connection, has undone."""
        of_driver = isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
        if not self._is_open or self.committing or not (of_driver or context.is_disconnect):
            return
        root = len(self.levels) == 1 or _ends_transaction(context, error)
        if not root:
            self.levels[-1].error = self.levels[-1].error or error
            return
        self.transaction_ended(error)
        raw = context.connection and context.connection.connection.dbapi_connection
        if raw and not context.is_disconnect and _is_aborted(raw):
            # PostgreSQL refuses everything now, and would turn COMMIT into ROLLBACK. Nothing was
            # written, or the unit is doomed and may still read.
            raw.rollback()
            if setup := self.setup_of(context.dialect.name):
                raw.cursor().execute(setup)

    def setup_of(self, dialect: str) -> str | None:
        """Return the statement that gives a server's transaction what the unit asked for."""
        if self.unit is None or dialect == "sqlite":
            return None
        modes = []
        if self.unit.isolation_level:
            modes.append(f"ISOLATION LEVEL {self.unit.isolation_level}")
        if self.unit.read_only:
            modes.append("READ ONLY")
        return f"SET TRANSACTION {', '.join(modes)}" if modes else None

    def transaction_ended(self, cause: BaseException | None) -> None:
        """The whole transaction is undone: if anything was written, the unit is doomed."""
        writes = self.writes
        if self._is_open and writes and self.lost is None:
            cause = cause or sys.exc_info()[1]
            self.lost = lost_writes(writes, cause, self.unit.name if self.unit else "the session")
        for level in self.levels:
            level.writes = 0

    def root_ended(self) -> None:
        """The root transaction is over, by COMMIT or otherwise."""
        if self._root_committed:
            self.committed += self.writes
        else:
            self.transaction_ended(None)
        root = Level()
        root.callbacks = self.levels[0].callbacks
        self.levels = [root]
        for conn in self.connections:
            if not conn.closed and not conn.invalidated and conn.info.get(JOURNAL) is self:
                del conn.info[JOURNAL]  # of a connection that did not go back to its pool
        self.connections = []
        committed, self._root_committed, self.committing = self._root_committed, False, False
        if self.unit is None and root.callbacks:
            if committed:
                self.run_callbacks("The transaction")
            root.callbacks.clear()

    # -- on_commit -------------------------------------------------------------------------

    def run_callbacks(self, name: str) -> None:
        """Run what `on_commit()` has registered; callbacks may register more."""
        failure: Exception | None = None
        callbacks = self.levels[0].callbacks
        while callbacks:
            callback, robust = callbacks.pop(0)
            try:
                callback()
            except Exception as error:
                if robust:
                    log.exception("%s is committed, but a callback failed", name)
                else:
                    failure = failure or error
        if failure is not None:
            raise failure


def lost_writes(writes: int, cause: BaseException | None, where: str) -> LostWritesError:
    count = "1 write" if writes == 1 else f"{writes} writes"
    why = f"after {type(cause).__name__}" if cause else "by session.rollback() or session.close()"
    error = LostWritesError(
        f"{count} of {where} had succeeded and were undone {why}, so it can't be committed: half "
        "of it is missing. Let the error pass, or put what may fail into `with atomic():`."
    )
    error.__cause__ = cause
    return error


def waits_for_itself(name: str, holder: str) -> NestedUnitError:
    """Return the error for a unit that SQLite, with its one writer, would never let begin."""
    return NestedUnitError(
        f"{name} would wait for {holder}, which holds the write lock of this SQLite database until "
        "it ends. Open it before or after that one, join it (`with unit_of_work():`), or use a "
        "database with row locks."
    )


def _ends_transaction(context: ExceptionContext, error: BaseException) -> bool:
    """Tell whether the failure undid the transaction, savepoints and all."""
    if context.is_disconnect:
        return True
    if context.dialect.name == "sqlite" and context.connection is not None:
        raw: Any = context.connection.connection.dbapi_connection
        return not raw.in_transaction
    return isinstance(error, DeadlockDetected) and context.dialect.name in ("mysql", "mariadb")


def _is_aborted(raw: Any) -> bool:
    status = getattr(getattr(raw, "info", None), "transaction_status", None)
    return status is not None and int(status) == 3  # libpq's PQTRANS_INERROR


def journal_of(session: Session) -> Journal:
    """Return the session's journal; one outside of units gets its own."""
    journal: Journal | None = session.info.get(JOURNAL)
    if journal is None:
        journal = session.info[JOURNAL] = Journal()
    return journal


# -- session events --------------------------------------------------------------------------


@event.listens_for(ActiveSession, "after_transaction_create")
def _level_opened(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        journal_of(session).levels.append(Level())


@event.listens_for(ActiveSession, "after_transaction_end")
def _level_closed(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        levels = journal_of(session).levels
        level = levels.pop()
        level.is_over = True
        if level.released:
            levels[-1].writes += level.writes
            levels[-1].callbacks += level.callbacks
    elif transaction.parent is None:
        journal_of(session).root_ended()


@event.listens_for(ActiveSession, "after_begin")
def _connected(session: Session, transaction: SessionTransaction, conn: Connection) -> None:
    journal = journal_of(session)
    if transaction.nested:
        return
    instrument(conn.engine)
    if unfit := _unfit(journal, conn):
        conn.info.setdefault(JOURNAL, journal)
        journal.lost = unfit  # if the error is swallowed, what follows is refused as well
        raise journal.lost_error()
    conn.info[JOURNAL] = journal
    journal.connections.append(conn)
    if setup := journal.setup_of(conn.dialect.name):
        conn.exec_driver_sql(setup)


def _unfit(journal: Journal, conn: Connection) -> UnitOfWorkError | None:
    """Return why a transaction on this connection would promise too much."""
    other: Journal | None = conn.info.get(JOURNAL)
    if other is not None and other is not journal and (other.writes or other._is_open):
        return NestedUnitError(
            "An in-memory SQLite database has a single connection, and another transaction is open "
            "on it. End that one first, or use a database file."
        )
    if journal.unit is not None and is_autocommit(conn):
        return UnitOfWorkError(
            f"The connection of {journal.unit.name} is in AUTOCOMMIT mode: every statement would "
            "commit by itself, and nothing could be undone. Use an engine without it for units."
        )
    return None


@event.listens_for(ActiveSession, "before_commit")
def _before_commit(session: Session) -> None:
    # Also sent when a savepoint is released, which is no commit.
    to_root = not session.in_nested_transaction() or _commits_to_root(session)
    journal_of(session).before_session_commit(to_root=to_root)


def _commits_to_root(session: Session) -> bool:
    return isinstance(session, ActiveSession) and session.committing_to_root


@event.listens_for(ActiveSession, "after_commit")
def _after_commit(session: Session) -> None:
    journal = journal_of(session)
    if session.in_nested_transaction():
        journal.levels[-1].released = True
    else:
        journal._root_committed = True


@event.listens_for(ActiveSession, "after_rollback")
def _after_rollback(session: Session) -> None:
    # Sent at the failed flush already, and for savepoints, which undo no more than their own.
    if not session.in_nested_transaction():
        journal_of(session).transaction_ended(None)
