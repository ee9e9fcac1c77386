"""UnitOfWork: the state machine that every boundary is written on.

A boundary makes four calls::

    unit = UnitOfWork.begin(name="GET /users")   # open
    unit.commit()                                # open -> committed: the one COMMIT, callbacks
    unit.rollback()                              # open -> rolled back
    unit.close()                                 # session closed, scope restored
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from . import guards  # noqa: F401  # so that it listens
from .engines import JOURNAL
from .errors import (
    ActiveBaseError,
    CommitUnknownError,
    StrayCommitError,
    UnitOfWorkError,
)
from .journal import Journal, journal_of
from .scopes import Scope, SessionRegistry, close_session, current_scope
from .session import registry_of

State = Literal["open", "committed", "rolled back"]

ISOLATION_LEVELS = ("READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE")

log = logging.getLogger("activebase")


class UnitOfWork(Scope):
    """Everything between a boundary's begin and its single commit or rollback.

    Made by `begin()` only. Ask for it anywhere with `current_unit()`.
    """

    def __init__(
        self,
        registry: SessionRegistry,
        *,
        read_only: bool,
        isolation_level: str | None,
        name: str,
        attempt: int,
    ) -> None:
        super().__init__(registry)
        self.name = name
        self.read_only = read_only
        self.isolation_level = isolation_level
        self.attempt = attempt
        self.state: State = "open"
        self.doomed: str | None = None
        self.commits_allowed = False
        self.runs_callbacks = False
        self._journal: Journal | None = None

    @classmethod
    def begin(
        cls,
        *,
        session: scoped_session[Any] | None = None,
        read_only: bool = False,
        isolation_level: str | None = None,
        name: str = "unit of work",
        attempt: int = 1,
    ) -> UnitOfWork:
        """Open a unit with a session of its own, and make it the current one.

        Never joins: a boundary that wants to asks `current_unit()` first.

        Args:
            session: the scoped session it is for, default the global one.
            read_only: refuse writes; on servers the transaction is READ ONLY as well.
            isolation_level: one of `ISOLATION_LEVELS`, default what the engine has.
            name: the unit in messages, as in "GET /users".
            attempt: which run of the same work this is, from 1.
        Effect: none in the database; the first use of the session takes a connection.
        """
        unit = cls(
            registry_of(session).target(),
            read_only=read_only,
            isolation_level=checked_isolation_level(isolation_level),
            name=name,
            attempt=attempt,
        )
        unit.enter()
        return unit

    @property
    def writes(self) -> int:
        """Statements that wrote in this unit and were not undone."""
        journal = self._journal
        return 0 if journal is None else journal.committed + journal.writes

    @property
    def session(self) -> Session:
        return super().session

    @session.setter
    def session(self, made: Session) -> None:
        made.info[JOURNAL] = self.journal
        self._session = made

    def forget_session(self) -> None:
        forgotten, self._session = self._session, None
        if forgotten is not None:
            # Whoever still has it must not believe that the unit will commit what it writes.
            forgotten.info[JOURNAL] = Journal()
            forgotten.info[JOURNAL].lost = UnitOfWorkError(
                f"This session was removed from {self.name}. Ask `session` for the present one."
            )

    def abandon(self) -> object:
        self.state = "rolled back"
        return super().abandon()

    @property
    def journal(self) -> Journal:
        """What the guards know of the unit; made when first needed, as the session is."""
        if self._journal is None:
            self._journal = Journal(self)
        return self._journal

    def doom(self, reason: str) -> None:
        """Make `commit()` roll back instead, without an error for the caller.

        Args:
            reason: for the log, as in "the client went away".
        Raises:
            UnitOfWorkError: the unit has ended.
        """
        self._check_open("doom()")
        self.doomed = reason

    def commit(self) -> None:
        """End the unit: flush, the one COMMIT, then the callbacks.

        Effect: commit; a doomed unit is rolled back instead, and returns.
        Raises:
            LostWritesError: writes were undone inside the unit; it is rolled back.
            Exception: what the flush, the COMMIT or a callback with ``robust=False`` raises; the
                first two leave the unit rolled back, the last leaves it committed.
        """
        self._check_open("commit()")
        if self._journal is None and self.doomed is None:
            self.state = "committed"  # nobody has used it
            return
        if self._journal is not None and len(self._journal.levels) > 1:
            raise StrayCommitError(
                f"{self.name} can't be committed from inside a block that has joined it, or inside "
                "atomic(): only the boundary commits, once, at its end. Remove the commit()."
            )
        if self.doomed is not None:
            log.info("%s is rolled back: %s", self.name, self.doomed)
            self.rollback()
            return
        failure: BaseException | None = None
        try:
            self._commit_session()
        except BaseException as error:
            if self._journal is None or not self._journal.is_committed:
                cut_off = self._was_cut_off(error)
                self.rollback()
                if cut_off:
                    raise CommitUnknownError(
                        f"{self.name} was interrupted during COMMIT, so it can't be known whether "
                        "it took effect; look for its records before you run it again."
                    ) from error
                raise
            failure = error  # of someone who listens to after_commit: the data is there
        self.state = "committed"
        try:
            self._run_callbacks()
        finally:
            if failure is not None:
                raise failure

    def rollback(self) -> None:
        """End the unit without a trace; does nothing when it has ended already.

        Effect: rollback; callbacks are dropped. Raises nothing that would hide another error: a
        connection that can't even roll back is thrown away.
        """
        if self.state != "open":
            return
        self.state = "rolled back"
        if self._journal is not None:
            self._journal.levels[0].callbacks.clear()
        if self._session is None:
            return
        connections = list(self.journal.connections)
        try:
            self._session.rollback()
        except Exception:
            log.warning("%s: ROLLBACK failed, the connection is dropped", self.name, exc_info=True)
            for conn in connections:
                with suppress(Exception):
                    conn.invalidate()

    def close(self) -> None:
        """Close the session and make the scope around the unit current again.

        Effect: a unit that is still open is rolled back. May be called again.
        """
        if self.closed:
            return
        try:
            self.rollback()
            self.release()
        finally:
            self.leave()

    def release(self) -> None:
        """Close the session."""
        released, self._session = self._session, None
        if released is not None:
            close_session(released, self.name)

    @contextmanager
    def aftermath(self) -> Iterator[None]:
        """Be the current unit again, ended: reads work, writes are refused; `release()` afterwards.

        For what a boundary runs after the unit's end, as the body of a streamed response.
        """
        before, was_closed, outer = current_scope.get(), self.closed, self.outer
        self.closed, self.outer = False, None  # not `before`, in which it may stand already
        current_scope.set(self)
        try:
            yield
        finally:
            self.outer = outer
            if self.closed and before is self:  # the boundary has closed it meanwhile
                current_scope.set(outer)
            else:
                current_scope.set(before)
                self.closed = self.closed or was_closed

    def lock_holder(self, conn: Connection) -> str | None:
        """Name the scope around this unit that keeps SQLite's write lock from it, if any."""
        scope = self.outer
        while scope is not None:
            if (
                isinstance(scope, UnitOfWork)
                and scope.state == "open"
                and scope._journal is not None
                and scope._journal.holds_sqlite_lock(conn)
            ):
                return scope.name
            scope = scope.outer
        outside = self.registry.session_outside()
        if outside is not None and journal_of(outside).holds_sqlite_lock(conn):
            return "the session outside of it, with uncommitted writes"
        return None

    def holds_sqlite_lock(self) -> bool:
        """Tell whether another writer on the same SQLite database would have to wait."""
        return (
            self.state == "open" and self._journal is not None and self._journal.holds_sqlite_lock()
        )

    def _commit_session(self) -> None:
        made, journal = self._session, self._journal
        if journal is None:
            return
        if made is None and journal.writes:
            journal.give_up()  # written in a session that is the unit's no more
        if journal.lost is not None:
            raise journal.lost_error()
        if made is None:
            return
        if not made.is_active:
            made.rollback()  # after a failure that lost nothing
        made.flush()
        if journal.lost is not None:
            raise journal.lost_error()
        if made.in_transaction():
            journal.committing = journal.ending = True
            made.commit()

    def _was_cut_off(self, error: BaseException) -> bool:
        """Tell whether COMMIT was on its way when something else broke in, as a time limit does."""
        sent = self._journal is not None and self._journal.commit_sent
        is_answer = isinstance(error, SQLAlchemyError | ActiveBaseError)
        return sent and isinstance(error, Exception) and not is_answer

    def _run_callbacks(self) -> None:
        if self._journal is None:
            return
        self.runs_callbacks = True
        try:
            self._journal.run_callbacks(self.name)
        finally:
            self.runs_callbacks = False

    def _check_open(self, what: str) -> None:
        if self.state != "open":
            raise UnitOfWorkError(
                f"{what} on {self.name}, which has ended ({self.state}). Open another unit."
            )

    def __repr__(self) -> str:
        return f"<UnitOfWork {self.name!r}: {self.state}>"


def current_unit(session: scoped_session[Any] | None = None) -> UnitOfWork | None:
    """Return the innermost unit that the code is in, or None; None inside callbacks, too.

    Args:
        session: the scoped session it is for, default the global one.
    Effect: none.
    """
    scope = registry_of(session).innermost()
    return scope if isinstance(scope, UnitOfWork) and not scope.runs_callbacks else None


def checked_isolation_level(isolation_level: str | None) -> str | None:
    if isolation_level is None or isolation_level.upper() in ISOLATION_LEVELS:
        return isolation_level and isolation_level.upper()
    raise ValueError(
        f"isolation_level is one of {', '.join(ISOLATION_LEVELS)}; got {isolation_level!r}."
    )
