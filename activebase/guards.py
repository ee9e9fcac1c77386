"""The guards: session events that report to the session's journal, which holds the rules."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Connection, event
from sqlalchemy.orm import Session, SessionTransaction

from .changes import count_others
from .dialects import is_mysql
from .engines import JOURNAL, begin_read_only, has_ended, instrument, is_autocommit
from .errors import NestedUnitError, UnitOfWorkError
from .journal import READ_ONLY, Journal, journal_of
from .session import ActiveSession


@event.listens_for(ActiveSession, "after_transaction_end")
def _level_closed(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        journal_of(session).savepoint_ended(transaction)
    elif transaction.parent is None:
        journal_of(session).root_ended()
        cast(ActiveSession, session).recovered()


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
    is_borrowed = isinstance(session.bind, Connection)
    setup = journal.setup_of(conn.dialect)
    if is_borrowed and is_mysql(conn.dialect) and not has_ended(conn):
        setup.pop()  # BEGIN, which would commit what the connection's owner has begun
    if setup == [READ_ONLY] and not is_borrowed and begin_read_only(conn):
        setup = []
    for statement in setup:
        conn.exec_driver_sql(statement)
    journal.connected(conn, transaction, is_borrowed=is_borrowed)


def _unfit(journal: Journal, conn: Connection) -> UnitOfWorkError | None:
    """Return why a transaction on this connection would promise too much."""
    other: Journal | None = conn.info.get(JOURNAL)
    if other is not None and other is not journal and (other.writes or other.is_open):
        return NestedUnitError(
            "Another transaction is open on this connection, and they would end together. An "
            "in-memory SQLite database has no other: end that one first, or use a database file."
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
        journal.levels[-1].fate = "released"
    else:
        journal.root_committed()


@event.listens_for(ActiveSession, "after_rollback")
def _after_rollback(session: Session) -> None:
    # Sent at the failed flush already, and for savepoints, which undo no more than their own.
    journal = journal_of(session)
    failed = journal.flushing is not None
    if failed:
        saved = journal.saving
        journal.undone_by_flush(0 if saved is None else count_others(session, saved))
    if session.in_nested_transaction():
        journal.levels[-1].fate = "undone"
    else:
        journal.transaction_ended(None, failed=failed)


@event.listens_for(ActiveSession, "after_soft_rollback")
def _after_soft_rollback(session: Session, transaction: SessionTransaction) -> None:
    if transaction.nested:
        journal_of(session).rolled_back_by_intent(transaction)
