"""The journal: what a session has written in its open transaction, and may still write.

Every session of ours has a `Journal`, in `Session.info` and, while a transaction is open, in
`Connection.info`. Session events (guards.py) and the engine's events (engines.py) report to it what
happens; it counts the writes of the root transaction and of every savepoint, and refuses

* writes in a read-only unit, after the unit's end, and after writes were lost;
* commits by anyone but the boundary.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from inspect import currentframe
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import Connection, Dialect
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.orm import Session, SessionTransaction

from . import refusals
from .dialects import is_mysql
from .engines import JOURNAL, has_ended, has_snapshot, is_aborted, is_in_transaction
from .errors import (
    DeadlockDetected,
    DriverError,
    SerializationFailure,
    StrayCommitError,
    StrayCommitWarning,
    UnitOfWorkError,
)
from .scopes import stray_commits_here
from .statements import Kind

if TYPE_CHECKING:
    from .session import ActiveSession
    from .unit import UnitOfWork

log = logging.getLogger("activebase")

Callback = Callable[[], object]


#: What sets up a server's transaction that is read-only and nothing else.
READ_ONLY = "SET TRANSACTION READ ONLY"

_SNAPSHOTS = ("REPEATABLE READ", "SERIALIZABLE")


class Level:
    """The writes of a root transaction or of one savepoint, and what waits for its commit."""

    __slots__ = ("callbacks", "error", "fate", "handling", "is_over", "writes")

    def __init__(self) -> None:
        self.writes = 0
        self.callbacks: list[tuple[Callback, bool]] = []  # of on_commit(), with robust=
        self.error: BaseException | None = None  # the first failure in it
        self.handling = sys.exc_info()[1]  # what was being handled already when it was opened
        self.fate: Literal["open", "released", "undone"] = "open"
        self.is_over = False  # and nothing can be done about it any more


class Journal:
    """What the session of one scope has written in its open transaction, level by level.

    ``unit`` is the unit of work whose rules hold, None for a session outside of units.
    """

    def __init__(self, unit: UnitOfWork | None = None) -> None:
        self.unit = unit
        self.levels = [Level()]
        self.lost: UnitOfWorkError | None = None  # why the unit must not commit
        self.committing = False  # a commit that is allowed is on its way
        self.ending = False  # and it is the boundary's
        self.commit_sent = False
        self.is_committed = False
        self.committed = 0  # writes of transactions that are committed
        self.connections: list[Connection] = []
        self._infos: list[dict[Any, Any]] = []  # theirs
        self.written: set[Connection] = set()
        self.is_borrowed = False
        self.has_snapshot = False  # what was read holds only as long as this transaction
        self.held = 0  # reads whose locks, settings or snapshot a rollback would give up
        self.flushing: int | None = None  # writes of the level when the flush began
        self.saving: object = None  # the record whose verb flushes
        self.ended_by: DriverError | None = None  # the failure that undid it all, savepoints too
        self._root: SessionTransaction | None = None
        self._root_committed = False
        self._accused: SessionTransaction | None = None

    @property
    def writes(self) -> int:
        """Statements that wrote, and are neither committed nor undone."""
        return sum(level.writes for level in self.levels)

    @property
    def is_open(self) -> bool:
        """Whether the rules of a unit of work hold."""
        return self.unit is not None and self.unit.state == "open"

    # -- asked before ----------------------------------------------------------------------

    @property
    def takes_writes(self) -> bool:
        """Whether anything may be written now."""
        unit = self.unit
        return self.lost is None and (unit is None or (unit.state == "open" and not unit.read_only))

    def check_write(self) -> None:
        """Raise because nothing may be written now: not `takes_writes`."""
        unit = self.unit
        if unit is not None and unit.state != "open":
            raise refusals.write_after_end(unit.name, unit.state)
        if unit is not None and unit.read_only:
            raise refusals.write_in_read_only(unit.name)
        raise self.lost_error()

    def lost_error(self) -> UnitOfWorkError:
        """Return the error that dooms the unit, a new one for each time it is raised."""
        assert self.lost is not None
        error = type(self.lost)(*self.lost.args)
        error.__cause__ = self.lost.__cause__
        return error

    def before_statement(self, kind: Kind, conn: Connection) -> None:
        """Refuse a statement that must not be sent; count a write, until it fails."""
        if kind is Kind.WRITE:
            if not self.takes_writes:
                self.check_write()
            self.levels[-1].writes += 1
            self.written.add(conn)
        elif kind is Kind.HOLD or (kind is Kind.READ and self.has_snapshot):
            self.held += 1
        elif kind is Kind.ROLLBACK:
            self.give_up()
        elif kind is Kind.AUTOCOMMIT:
            self._refuse_autocommit()
        elif kind is Kind.COMMIT and self.is_open:
            raise self._stray("A textual COMMIT")

    def _refuse_autocommit(self) -> None:
        if not self.takes_writes:
            self.check_write()
        if self.is_open and self.unit is not None:
            raise refusals.commit_by_itself(self.unit.name)
        for level in self.levels:
            level.writes = 0  # committed with it

    def take_back(self, kind: Kind) -> None:
        """The statement that was just counted has failed."""
        level = self.levels[-1]
        if kind is Kind.WRITE:
            level.writes = max(0, level.writes - 1)
        elif kind is Kind.HOLD or self.has_snapshot:
            self.held = max(0, self.held - 1)

    def before_session_commit(self, *, to_root: bool) -> None:
        """Refuse a stray commit, and the release of a savepoint with lost writes in it."""
        if self.ending or not self.is_open:
            return
        if not to_root:
            self.check_release()
            return
        rule = self._rule_for_strays()
        if rule == "raise":
            raise self._stray("session.commit()")
        if rule == "warn" and not self.committing:  # which is told once for savepoint and root
            file, line = _line_of_caller()
            warnings.warn_explicit(
                str(self._stray("session.commit()")), StrayCommitWarning, file, line
            )
        if self.lost is not None:
            raise self.lost_error()
        self.committing = True

    def _rule_for_strays(self) -> str:
        if self.unit is None or self.unit.commits_allowed:
            return "allow"
        return stray_commits_here(self.unit.registry)

    def check_release(self) -> None:
        """Raise if the innermost savepoint holds half of what it should."""
        level = self.levels[-1]
        if level.error is not None and level.writes:
            raise refusals.lost_writes(level.writes, "the savepoint", level.error)

    def before_commit(self) -> None:
        """Refuse COMMIT to anyone but the boundary; it is about to be sent."""
        if not self.is_open:
            return
        # An allowed commit that a listener has stopped is on its way no more.
        is_on_its_way = self.committing and self._root is not None and not self._root.is_active
        if not self.ending and not (is_on_its_way and self._rule_for_strays() != "raise"):
            stray = self._stray("connection.commit()")
            self.transaction_ended(stray)
            raise stray
        if self.commit_sent:
            return  # of another database of the same session
        # Raw cursors and the server go around every event, and COMMIT would succeed all the same.
        if not all(is_in_transaction(mine) and not is_aborted(mine) for mine in self.written):
            self.ended_elsewhere()
        self.commit_sent = True

    def _stray(self, what: str) -> StrayCommitError:
        assert self.unit is not None
        return refusals.stray_commit(what, self.unit.name)

    def begin_of_sqlite(self, conn: Connection) -> str:
        """Return how to begin: a unit that may write takes the lock at once."""
        self.ended_elsewhere(conn)
        if self.unit is None or not self.is_open or not self.takes_writes:
            return "BEGIN"
        holder = self.unit.lock_holder(conn)
        if holder is not None:
            raise refusals.waits_for_itself(self.unit.name, holder)
        return "BEGIN IMMEDIATE"

    def holds_sqlite_lock(self, conn: Connection | None = None) -> bool:
        """Tell whether this session has SQLite's write lock (of ``conn``'s database)."""
        may_write = self.writes if self.unit is None else not self.unit.read_only
        return bool(may_write) and any(
            mine.dialect.name == "sqlite" and (conn is None or mine.engine.pool is conn.engine.pool)
            for mine in self.connections
        )

    def setup_of(self, dialect: Dialect) -> list[str]:
        """Return what begins a server's transaction with what the unit asked for."""
        level = self.unit.isolation_level if self.unit is not None else None
        read_only = self.unit is not None and self.unit.read_only
        modes = [f"ISOLATION LEVEL {level}"] * bool(level) + ["READ ONLY"] * read_only
        if is_mysql(dialect):
            # Not at the first statement, as the server would: so the driver knows from now on
            # whether the transaction is still open.
            levels = [f"SET TRANSACTION ISOLATION LEVEL {level}"] if level else []
            return [*levels, "START TRANSACTION READ ONLY" if read_only else "BEGIN"]
        if dialect.name == "sqlite" or not modes:
            return []
        return [f"SET TRANSACTION {', '.join(modes)}"]

    # -- told afterwards -------------------------------------------------------------------

    def failed(self, context: ExceptionContext, error: BaseException) -> None:
        """Note what a failed statement, or a lost connection, has undone."""
        of_driver = isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
        conn = context.connection
        if conn is None or not (of_driver or context.is_disconnect):
            return
        ends = _ends_transaction(context, error)
        if isinstance(error, DriverError) and ends:
            self.ended_by = error
        if not self.is_open or self.committing:
            return
        self.flush_failed()
        many = getattr(context.execution_context, "executemany", False)
        is_ours = not self.is_borrowed and not conn.in_nested_transaction()
        in_savepoint = len(self.levels) > 1 or (conn.in_nested_transaction() and not many)
        if in_savepoint and not ends:
            level = self.levels[-1]
            level.error = level.error or error
            level.writes += int(many)  # some of its rows may be there
            return
        if many and not is_ours:
            self.levels[-1].writes += 1  # some of its rows may be there, and are not ours to undo
        self.transaction_ended(error, failed=True)
        if context.is_disconnect and not self.is_borrowed and self._root is not None:
            cast("ActiveSession", self._root.session).recover_before_use(error)
        if not is_ours or context.is_disconnect:
            return
        if many or is_aborted(conn) or (ends and is_mysql(context.dialect)):
            # PostgreSQL refuses everything now, and would turn COMMIT into ROLLBACK; MySQL has
            # nothing open after a deadlock; others keep half of the rows. Nothing had been written
            # before, or the unit is doomed.
            self._roll_back(conn)

    def _roll_back(self, conn: Connection) -> None:
        raw: Any = conn.connection.dbapi_connection
        try:
            raw.rollback()
            for setup in self.setup_of(conn.dialect):
                raw.cursor().execute(setup)
        except conn.dialect.loaded_dbapi.Error:
            log.warning("ROLLBACK failed after a failed statement", exc_info=True)

    def flush_failed(self) -> None:
        """What the flush that fails had sent so far is no write that had succeeded before."""
        if self.flushing is not None:
            self.levels[-1].writes = self.flushing

    def undone_by_flush(self, others: int) -> None:
        """A flush has failed, and is undone with the unflushed changes of so many other records."""
        self.flush_failed()
        self.levels[-1].writes += others

    def transaction_ended(self, cause: BaseException | None, *, failed: bool = False) -> None:
        """The whole transaction is undone: if anything is lost with it, the unit is doomed.

        Args:
            failed: by an error, not by someone who asked for it.
        """
        writes = self.writes
        if self.unit is not None and self.is_open and self.lost is None:
            cause = cause or sys.exc_info()[1]
            if writes:
                self.lost = refusals.lost_writes(writes, self.unit.name, cause)
            elif failed and self.held:
                self.lost = refusals.lost_writes(0, self.unit.name, cause)
        for level in self.levels:
            level.writes = 0
        self.written.clear()
        self.held = 0

    def ended_elsewhere(self, conn: Connection | None = None) -> None:
        """Someone ended the transaction around the session; raises if that undid writes.

        Args:
            conn: whose transaction it is; if nothing was written there, it had not begun.
        """
        if conn is not None and conn not in self.written:
            return
        self.transaction_ended(refusals.EndedElsewhere("the driver reports no open transaction"))
        if self.is_open and self.lost is not None:
            raise self.lost_error()

    def give_up(self) -> None:
        """Someone asks for a rollback of everything: callbacks go with it, and the unit may be."""
        self.transaction_ended(None)
        for level in self.levels:
            level.callbacks.clear()

    def connected(self, conn: Connection, root: SessionTransaction, *, is_borrowed: bool) -> None:
        """The root transaction goes on on this connection, too.

        Args:
            is_borrowed: the session was bound to it, so its transaction may be someone else's.
        """
        self._root = root
        self.is_borrowed = is_borrowed
        level = self.unit.isolation_level if self.unit is not None else None
        self.has_snapshot = level in _SNAPSHOTS if level else has_snapshot(conn)
        # SQLite's reads are not counted one by one: its unit holds from the first statement on.
        self.held = int(self.has_snapshot and conn.dialect.name == "sqlite")
        conn.info[JOURNAL] = self
        self.connections.append(conn)
        self._infos.append(conn.info)

    def savepoint_opened(self) -> None:
        self.levels.append(Level())

    def savepoint_ended(self, transaction: SessionTransaction) -> None:
        """Hand what is left of a savepoint to the level around it."""
        level = self.levels.pop()
        level.is_over = True
        around = self.levels[-1]
        if level.fate == "open":  # it ends with the transaction around it
            around.writes += level.writes  # which are lost with those around them
        elif level.fate == "released":
            around.writes += level.writes
            around.callbacks += level.callbacks
        elif self.is_open and self.lost is None and _is_swallowed(level):
            # Unless it was rolled back by intent, as `rolled_back_by_intent()` will hear.
            self.lost = refusals.lost_writes(level.writes, "a savepoint", level.error)
            self._accused = transaction

    def rolled_back_by_intent(self, transaction: SessionTransaction) -> None:
        """Someone called rollback() on a savepoint."""
        if transaction is self._accused:
            self.lost = self._accused = None

    def root_ended(self) -> None:
        """The root transaction is over, by COMMIT or otherwise."""
        if self._root_committed:
            self.committed += self.writes
        else:
            self.transaction_ended(None)
        root = Level()
        root.callbacks = self.levels[0].callbacks
        self.levels = [root]
        for info in self._infos:
            if info.get(JOURNAL) is self:
                del info[JOURNAL]  # of a connection that did not go back to its pool
        self.connections, self._infos = [], []
        self._root = self.ended_by = None
        self.written.clear()
        self.held = 0
        committed, self._root_committed = self._root_committed, False
        self.committing = self.commit_sent = False
        if self.unit is None and root.callbacks:
            if committed:
                self.run_callbacks("The transaction")
            root.callbacks.clear()

    def root_committed(self) -> None:
        """COMMIT has returned."""
        self._root_committed = True
        self.is_committed = self.ending

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
                if robust or failure is not None:
                    log.exception("%s is committed, but a callback failed", name)
                else:
                    failure = error
        if failure is not None:
            raise failure


def _is_swallowed(level: Level) -> bool:
    """Tell whether a savepoint's writes are undone while no exception tells anyone."""
    was_told = sys.exc_info()[1] is not level.handling
    return level.error is not None and level.writes > 0 and not was_told


def _line_of_caller() -> tuple[str, int]:
    """Return the file and line that called into SQLAlchemy."""
    frame = currentframe()
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(("activebase.", "sqlalchemy.")) and "__builtins__" in (
            frame.f_globals
        ):
            return frame.f_code.co_filename, frame.f_lineno
    return __file__, 0


def _ends_transaction(context: ExceptionContext, error: BaseException) -> bool:
    """Tell whether the failure undid the transaction, savepoints and all."""
    if context.is_disconnect or context.connection is None:
        return True
    if context.dialect.name == "sqlite":
        return not is_in_transaction(context.connection)
    if not is_mysql(context.dialect):
        return False
    ended = has_ended(context.connection)
    return isinstance(error, DeadlockDetected | SerializationFailure) if ended is None else ended


def journal_of(session: Session) -> Journal:
    """Return the session's journal; one outside of units gets its own."""
    journal: Journal | None = session.info.get(JOURNAL)
    if journal is None:
        journal = session.info[JOURNAL] = Journal()
    return journal
