"""Engine defaults by dialect, and the events through which a session's journal sees its engine.

`instrument()` puts the same few listeners on every engine that activebase meets. They hold no
rule: they look up the `Journal` (journal.py) of the session that owns the connection, and ask it.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy
from sqlalchemy import URL, Connection, Dialect, Engine, Integer, event, exc
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, StaticPool

from .dialects import is_mysql
from .errors import InvalidURLError, said_again
from .later import Later
from .statements import HOLD, READ, KindOf, kind_of, kinds_of

if TYPE_CHECKING:
    from . import functions, translation
    from .journal import Journal
else:
    functions, translation = Later("functions"), Later("translation")

#: Where a session's journal stands, in `Session.info` and in `Connection.info`.
JOURNAL = "activebase.journal"

#: What gives a connection back what a unit has changed, in `Connection.info`.
_BEFORE = "activebase.before"

#: Seconds after which a pooled connection to a server is replaced.
POOL_RECYCLE = 1800

SQLITE_PRAGMAS: dict[str, str | int | None] = {
    "journal_mode": "WAL",
    "busy_timeout": 5000,  # milliseconds
    "foreign_keys": 1,
    "synchronous": "NORMAL",
}


def make_engine(
    target: str | URL | Engine,
    *,
    pragmas: Mapping[str, str | int | None] | None = None,
    **options: Any,
) -> Engine:
    """Return an engine with the defaults of its dialect, watched by the guards.

    Args:
        target: a URL, a URL object, or an engine that is used as it is.
        pragmas: SQLite only; overrides of `SQLITE_PRAGMAS`, None leaves one out.
        **options: for `sqlalchemy.create_engine`; each wins over the default.
    Raises:
        InvalidURLError: the URL can't be read.
        TypeError: options for an engine that exists already.
    """
    if isinstance(target, Engine):
        if options:
            raise TypeError(
                f"An engine takes no options any more, got {', '.join(sorted(options))}: "
                "give them to create_engine(), or give configure() the URL."
            )
        return instrument(target, pragmas=pragmas)
    url = _parse(target)
    if str(options.get("isolation_level", "")).upper() == "AUTOCOMMIT":
        raise ValueError(
            "isolation_level='AUTOCOMMIT' would commit every statement by itself: no unit of work "
            "could be undone. Leave it out."
        )
    engine = sqlalchemy.create_engine(url, **(_defaults(url) | options))
    return instrument(engine, pragmas=pragmas)


def _parse(target: str | URL) -> URL:
    try:
        url = make_url(target)
        url.get_dialect()
    except exc.ArgumentError as error:
        # The text may hold a password: the message must not.
        raise InvalidURLError(
            "This is no database URL that SQLAlchemy knows. Expected "
            "dialect+driver://user:password@host/name, as in 'sqlite:///app.db' or "
            "'postgresql+psycopg://app@localhost/app'."
        ) from error
    return url


def _defaults(url: URL) -> dict[str, Any]:
    if url.get_backend_name() != "sqlite":
        return {"pool_pre_ping": True, "pool_recycle": POOL_RECYCLE}
    if _is_in_memory(url):
        # The database lives as long as its connection: there can be only one.
        return {"poolclass": StaticPool, "connect_args": {"check_same_thread": False}}
    return {}


def _is_in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:") or url.query.get("mode") == "memory"


# -- watching --------------------------------------------------------------------------------

_engines: WeakSet[Engine] = WeakSet()
_guards: WeakKeyDictionary[Dialect, _StatementGuard] = WeakKeyDictionary()


def instrument(engine: Engine, *, pragmas: Mapping[str, str | int | None] | None = None) -> Engine:
    """Put the listeners on an engine, once; returns the engine."""
    given = engine
    # A variant with other execution options keeps its listeners to itself: listen to the engine
    # that it is a variant of, for which there is no public name.
    engine = getattr(engine, "_proxied", engine)
    # An engine and its variants with other execution options share one dialect.
    if guard := _guards.get(engine.dialect):
        guard.stay_first(engine)
        return given
    is_sqlite = engine.dialect.name == "sqlite"
    before = _before_sqlite_statement if is_sqlite else _before_on_server(kinds_of(engine.dialect))
    guard = _guards[engine.dialect] = _StatementGuard(engine, before)
    _engines.add(engine)
    event.listen(engine, "handle_error", _on_error, retval=True)
    _guard_commits(engine.dialect)
    if not isinstance(engine.pool, StaticPool):  # which shares its connection
        event.listen(engine, "checkin", _checked_in)
    if is_sqlite:
        engine.dialect.colspecs = {**engine.dialect.colspecs, Integer: _CheckedInteger}
        set_up = _SetUpSQLite(SQLITE_PRAGMAS | dict(pragmas or {}), weakref.ref(engine), guard)
        event.listen(engine, "checkout", set_up)
    return given


def forget_connections() -> None:
    """In a forked child: leave the parent's connections to the parent, open own ones."""
    for engine in list(_engines):
        engine.dispose(close=False)


#: Called before a statement is sent: the cursor, the statement, its parameters, their context.
_Before = Callable[[Any, str, Any, Any], None]


class _StatementGuard:
    """Has a function called before each statement, through the events that cost the least.

    Those of the dialect: as soon as an engine has one of its own, each statement pays for all of
    them. But a listener to the dialect's may send a statement itself, and ends the event with that:
    where there is any other, we listen to the engine's, which comes before.
    """

    def __init__(self, engine: Engine, before: _Before) -> None:
        self._before = before
        self._is_on_dialect = True
        event.listen(engine, "do_execute", self._on_dialect)
        event.listen(engine, "do_executemany", self._on_dialect)
        event.listen(engine, "do_execute_no_params", self._without_parameters)
        self.stay_first(engine)

    def stay_first(self, engine: Engine) -> None:
        """Listen to the engine's event from now on if there are other listeners."""
        if not self._is_on_dialect:
            return
        events = engine.dialect.dispatch
        if (
            len(events.do_execute) + len(events.do_executemany) + len(events.do_execute_no_params)
            > 3
        ):
            event.listen(engine, "before_cursor_execute", self._before_cursor, retval=True)
            # Not removed from the dialect's: other threads may be going through them.
            self._is_on_dialect = False

    def _on_dialect(self, cursor: Any, statement: str, given: Any, context: Any) -> None:
        if self._is_on_dialect:
            self._before(cursor, statement, given, context)

    def _without_parameters(self, cursor: Any, statement: str, context: Any) -> None:
        self._on_dialect(cursor, statement, None, context)

    def _before_cursor(
        self, conn: Connection, cursor: Any, statement: str, given: Any, context: Any, many: bool
    ) -> tuple[str, Any]:
        self._before(cursor, statement, given, context)
        return statement, given


def _journal_of(conn: Connection) -> Journal | None:
    try:
        journal: Journal | None = conn.info.get(JOURNAL)
    except NotImplementedError:
        return None  # the dialect's own connection, on which it gets to know the server
    return journal


def _before_on_server(kind_of: KindOf) -> _Before:
    def before_statement(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        conn: Connection = context.root_connection
        journal = _journal_of(conn)
        if journal is not None:
            kind = kind_of(statement)
            if journal.written and not is_in_transaction(conn):
                journal.ended_elsewhere(conn)
            if kind is not READ or journal.has_snapshot:
                journal.before_statement(kind, conn)

    return before_statement


def _before_sqlite_statement(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
    if not cursor.connection.in_transaction:
        _begin_sqlite(cursor.connection, context.root_connection, statement)
    kind = kind_of(statement)
    if kind is not READ and kind is not HOLD:
        conn: Connection = context.root_connection
        journal = _journal_of(conn)
        if journal is not None:
            journal.before_statement(kind, conn)


def _guard_commits(dialect: Dialect) -> None:
    """Have the dialect ask the connection's journal before it sends COMMIT."""
    do_commit = dialect.do_commit

    def ask_and_commit(raw: PoolProxiedConnection) -> None:
        journal: Journal | None = raw.info.get(JOURNAL)
        if journal is not None:
            journal.before_commit()
        do_commit(raw)

    dialect.do_commit = ask_and_commit  # type: ignore[method-assign, assignment]


def is_in_transaction(conn: Connection) -> bool:
    """Ask the driver, which knows what raw cursors and the server have done.

    Returns: True also where the driver does not know: mysqlclient.
    """
    raw: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        return bool(raw.in_transaction)
    if is_mysql(conn.dialect):
        return bool(getattr(raw, "server_status", 1) & 1)  # SERVER_STATUS_IN_TRANS, of PyMySQL
    return _transaction_status(raw) != 0  # PQTRANS_IDLE


def has_ended(conn: Connection) -> bool | None:
    """Ask a MySQL server whether no transaction is open (any more).

    Returns: None where the driver can't tell: mysqlclient.
    Effect: a ping, whose answer tells. A failure does not, nor does a result set.
    """
    raw: Any = conn.connection.dbapi_connection
    if not hasattr(raw, "server_status"):
        return None
    try:
        raw.ping(reconnect=False)
    except conn.dialect.loaded_dbapi.Error:
        return True
    return not is_in_transaction(conn)


def is_aborted(conn: Connection) -> bool:
    """Tell whether PostgreSQL refuses all but ROLLBACK."""
    return _transaction_status(conn.connection.dbapi_connection) == 3  # PQTRANS_INERROR


def _transaction_status(raw: Any) -> int | None:
    status = getattr(getattr(raw, "info", None), "transaction_status", None)
    return None if status is None else int(status)


def has_snapshot(conn: Connection) -> bool:
    """Tell whether the engine's own isolation level makes reads hold for the transaction only.

    MySQL's REPEATABLE READ counts where it is asked for: it is the default, too.
    """
    if is_mysql(conn.dialect):
        asked = conn.get_execution_options().get("isolation_level")
        # The dialect may not know yet: the first of several threads to connect is asking.
        default = getattr(conn.dialect, "default_isolation_level", None)
        return asked == "REPEATABLE READ" or "SERIALIZABLE" in (asked, default)
    level = getattr(conn.connection.dbapi_connection, "isolation_level", None)
    # An enumeration of psycopg, a number of psycopg2.
    return getattr(level, "name", level) in ("REPEATABLE_READ", "SERIALIZABLE", 2, 3)


def is_autocommit(conn: Connection) -> bool:
    """Tell whether every statement on the connection commits by itself."""
    raw: Any = conn.connection.dbapi_connection
    if is_mysql(conn.dialect) and hasattr(raw, "get_autocommit"):
        return bool(raw.get_autocommit())  # PyMySQL, mysqlclient: kept up by the server's answers
    of_driver = getattr(raw, "autocommit", False) is True  # psycopg, psycopg2
    return of_driver or conn.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def _on_error(context: ExceptionContext) -> BaseException | None:
    conn = context.connection
    journal: Journal | None = None
    if conn is not None and not conn.closed and not conn.invalidated:
        journal = conn.info.get(JOURNAL)
        if journal is not None and _was_sent(context):
            journal.take_back(kinds_of(context.dialect)(str(context.statement)))
    if journal is not None and journal.ended_by is not None and _undoes_savepoint(context):
        return said_again(journal.ended_by)  # which has undone the savepoint as well
    typed = translation.translate(context, committing=journal is not None and journal.committing)
    if journal is not None:
        journal.failed(context, typed or context.sqlalchemy_exception or context.original_exception)
    return typed


def _was_sent(context: ExceptionContext) -> bool:
    """Tell whether it is the database that has refused a statement: else it was not counted."""
    of_driver = isinstance(context.original_exception, context.dialect.loaded_dbapi.Error)
    return of_driver and context.execution_context is not None and context.statement is not None


def _undoes_savepoint(context: ExceptionContext) -> bool:
    return str(context.statement or "").startswith("ROLLBACK TO SAVEPOINT")


def begin_read_only(conn: Connection) -> bool:
    """Have the transaction that the driver is about to begin be READ ONLY, without a statement.

    Returns: False where that takes one: the driver can't, or has begun already.
    """
    dialect, raw = conn.dialect, conn.connection.dbapi_connection
    is_returned = not isinstance(conn.engine.pool, StaticPool)
    if dialect.driver not in ("psycopg", "psycopg2") or not is_returned or is_in_transaction(conn):
        return False
    of_postgresql: Any = dialect
    before = of_postgresql.get_readonly(raw)
    if (
        not before
    ):  # else it was asked for by the option postgresql_readonly, which is reset with it
        conn.info[_BEFORE] = partial(of_postgresql.set_readonly, raw, before)
        of_postgresql.set_readonly(raw, True)
    return True


def _checked_in(raw: Any, record: ConnectionPoolEntry) -> None:
    record.info.pop(JOURNAL, None)
    be_as_before = record.info.pop(_BEFORE, None)
    if be_as_before is not None and raw is not None:  # a connection that was not thrown away
        be_as_before()


# -- SQLite ----------------------------------------------------------------------------------

_NOT_IN_TRANSACTION = ("BEGIN", "PRAGM", "VACUU", "ATTAC", "DETAC", "COMMI", "ROLLB")


class _SetUpSQLite:
    """Prepare a connection when it is first checked out.

    Not when it is opened: an engine given to `configure()` may have open ones already.
    """

    def __init__(
        self,
        pragmas: Mapping[str, str | int | None],
        engine: weakref.ref[Engine],
        guard: _StatementGuard,
    ) -> None:
        self._engine, self._guard = engine, guard
        wrong = [name for name in pragmas if not re.fullmatch(r"\w+", name)]
        if wrong:
            raise ValueError(f"pragmas takes names of SQLite pragmas, got {wrong[0]!r}.")
        self._statements = [
            f"PRAGMA {name} = {_pragma_value(value)}"
            for name, value in pragmas.items()
            if value is not None
        ]

    def __call__(self, raw: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
        if engine := self._engine():
            self._guard.stay_first(engine)  # also for who uses no session
        if "activebase.ready" in record.info:
            return
        # Stock sqlite3 begins by itself, before some statements only: we say BEGIN instead.
        raw.isolation_level = None
        cursor = raw.cursor()
        for statement in self._statements:
            cursor.execute(statement)
        cursor.close()
        functions.set_up_sqlite(raw)
        record.info["activebase.ready"] = True


class _CheckedInteger(Integer):
    """An integer column that refuses text which is no number, as other databases do.

    SQLite itself would store the text.
    """

    def bind_processor(self, dialect: Dialect) -> Any:
        def check(value: Any) -> Any:
            return int(value) if isinstance(value, str) else value

        return check


def _pragma_value(value: str | int) -> str:
    text = str(int(value)) if isinstance(value, bool | int) else value
    if not re.fullmatch(r"-?\w+", text):
        raise ValueError(f"A pragma takes a word or a number, got {text!r}.")
    return text


def _begin_sqlite(raw: Any, conn: Connection, statement: str) -> None:
    """Open the transaction before its first statement, through the driver itself: it is quicker.

    Not at SQLAlchemy's ``begin`` event, which does not tell whose transaction it is: a unit that
    may write takes the write lock at once (BEGIN IMMEDIATE), for a reader that wanted to write
    later would fail without waiting as soon as another one had written meanwhile.
    """
    if statement[:5].upper() in _NOT_IN_TRANSACTION:
        return
    if is_autocommit(conn):
        return
    journal = _journal_of(conn)
    raw.execute("BEGIN" if journal is None else journal.begin_of_sqlite(conn))
