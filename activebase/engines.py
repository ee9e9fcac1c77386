"""Engine defaults by dialect, and the events through which a session's journal sees its engine.

`instrument()` puts the same few listeners on every engine that activebase meets. They hold no
rule: they look up the `Journal` (journal.py) of the session that owns the connection, and ask it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import sqlalchemy
from sqlalchemy import URL, Connection, Dialect, Engine, Integer, event, exc
from sqlalchemy.engine import ExceptionContext, make_url
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

from .errors import InvalidURLError
from .translation import translate

if TYPE_CHECKING:
    from .journal import Journal

#: Where a session's journal stands, in `Session.info` and in `Connection.info`.
JOURNAL = "activebase.journal"

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
_instrumented: WeakSet[object] = WeakSet()


def instrument(engine: Engine, *, pragmas: Mapping[str, str | int | None] | None = None) -> Engine:
    """Put the listeners on an engine, once; returns the engine."""
    given = engine
    # A variant with other execution options keeps its listeners to itself: listen to the engine
    # that it is a variant of, for which there is no public name.
    engine = getattr(engine, "_proxied", engine)
    # An engine and its variants with other execution options share one dialect.
    if engine.dialect in _instrumented:
        return given
    _instrumented.add(engine.dialect)
    _engines.add(engine)
    event.listen(engine, "handle_error", _on_error, retval=True)
    before = _before_sqlite_statement if engine.dialect.name == "sqlite" else _before_statement
    # retval=True only spares SQLAlchemy's wrapper around a listener without one.
    event.listen(engine, "before_cursor_execute", before, retval=True)
    event.listen(engine, "commit", _before_commit)
    if not isinstance(engine.pool, StaticPool):  # which shares its connection
        event.listen(engine, "checkin", _forget_journal)
    if engine.dialect.name == "sqlite":
        engine.dialect.colspecs = {**engine.dialect.colspecs, Integer: _CheckedInteger}
        event.listen(engine, "checkout", _SetUpSQLite(SQLITE_PRAGMAS | dict(pragmas or {})))
    return given


def forget_connections() -> None:
    """In a forked child: leave the parent's connections to the parent, open own ones."""
    for engine in list(_engines):
        engine.dispose(close=False)


class Kind(Enum):
    """What a statement does to the transaction."""

    READ = "read"
    HOLD = "hold"  # reads, and holds locks or settings that only this transaction has
    WRITE = "write"
    COMMIT = "commit"
    ROLLBACK = "rollback"


READ, HOLD, WRITE = Kind.READ, Kind.HOLD, Kind.WRITE

# What SQLAlchemy itself compiles starts like this: one look-up tells.
_BY_HEAD = {"SELECT": READ, "INSERT": WRITE, "UPDATE": WRITE, "DELETE": WRITE}
_BY_HEAD |= dict.fromkeys(("SAVEPO", "RELEAS", "BEGIN", "BEGIN ", "PRAGMA"), READ)
_FIRST_WORDS = re.compile(r"(?:[\s;(]|--[^\n]*\n|/\*.*?\*/)*(\w+)(?:\s+(\w+))?", re.DOTALL)
_ROW_LOCK = re.compile(r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b", re.IGNORECASE)
_DML = re.compile(r"\b(?<!FOR\s)(?<!KEY\s)(?:INSERT|UPDATE|DELETE|MERGE)\b")
_READS = frozenset(
    "SELECT VALUES TABLE SHOW PRAGMA SET RESET SAVEPOINT RELEASE DECLARE FETCH MOVE CLOSE LISTEN "
    "UNLISTEN LOCK DISCARD DESCRIBE DESC USE BEGIN START ATTACH DETACH DEALLOCATE".split()
)
_ENDS = {"COMMIT": Kind.COMMIT, "END": Kind.COMMIT, "ROLLBACK": Kind.ROLLBACK}
_ENDS["ABORT"] = Kind.ROLLBACK
_WORDS_THAT_COUNT = frozenset(
    (*_ENDS, *"INSERT UPDATE DELETE MERGE CREATE ALTER DROP TRUNCATE WITH PREPARE LOCK SET".split())
)


def kind_of(statement: str) -> Kind:
    """Tell what a statement does; one that is not known counts as a write."""
    # On the hot path this is a look-up; long texts are not worth their memory.
    return _known_kind(statement) if len(statement) < 5000 else _find_kind(statement)


def _find_kind(statement: str) -> Kind:
    if ";" not in statement:
        return _kind_of_one(statement)
    # Several in one text, which some drivers send: what does most tells. What follows a semicolon
    # may be the rest of a literal as well, so there a word must be known to count.
    first, *later = statement.split(";")
    kinds = {_kind_of_one(first), *map(_kind_of_later, later)}
    return next((kind for kind in (*_ENDS.values(), WRITE, HOLD) if kind in kinds), READ)


_known_kind = lru_cache(maxsize=1000)(_find_kind)


def _kind_of_later(statement: str) -> Kind:
    found = _FIRST_WORDS.match(statement)
    is_known = found is not None and found[1].upper() in _WORDS_THAT_COUNT
    return _kind_of_text(statement) if is_known else READ


def _kind_of_one(statement: str) -> Kind:
    known = _BY_HEAD.get(statement[:6])
    kind = known or _kind_of_text(statement)
    return HOLD if kind is READ and _ROW_LOCK.search(statement) else kind


def _kind_of_text(statement: str) -> Kind:
    found = _FIRST_WORDS.match(statement)
    if found is None:
        return READ
    word, then = found[1].upper(), (found[2] or "").upper()
    if word in _ENDS:
        return READ if then in ("TO", "PREPARED") else _ENDS[word]
    if word == "PREPARE" and then == "TRANSACTION":
        return Kind.COMMIT
    if word == "LOCK" or (word == "SET" and then == "LOCAL"):
        return HOLD
    if word in ("WITH", "EXPLAIN", "PREPARE"):
        return WRITE if _DML.search(statement.upper()) else READ
    return READ if word in _READS else WRITE


def _before_statement(
    conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    journal: Journal | None = conn.info.get(JOURNAL)
    if journal is not None:
        kind = kind_of(statement)
        if journal.written and not is_in_transaction(conn):
            journal.ended_elsewhere(conn)
        if kind is not READ or journal.has_snapshot:
            journal.before_statement(kind, conn)
    return statement, parameters


def _before_sqlite_statement(
    conn: Connection, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
) -> tuple[str, Any]:
    if not cursor.connection.in_transaction:
        _begin_sqlite(conn, statement)
    kind = kind_of(statement)
    if kind is not READ and kind is not HOLD:
        journal: Journal | None = conn.info.get(JOURNAL)
        if journal is not None:
            journal.before_statement(kind, conn)
    return statement, parameters


def _before_commit(conn: Connection) -> None:
    journal: Journal | None = conn.info.get(JOURNAL)
    if journal is not None:
        journal.before_commit_of(conn)


def is_in_transaction(conn: Connection) -> bool:
    """Ask the driver, which knows what raw cursors and the server have done."""
    raw: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        return bool(raw.in_transaction)
    return _transaction_status(raw) != 0  # PQTRANS_IDLE


def is_aborted(conn: Connection) -> bool:
    """Tell whether PostgreSQL refuses all but ROLLBACK."""
    return _transaction_status(conn.connection.dbapi_connection) == 3  # PQTRANS_INERROR


def _transaction_status(raw: Any) -> int | None:
    status = getattr(getattr(raw, "info", None), "transaction_status", None)
    return None if status is None else int(status)


def has_snapshot(conn: Connection) -> bool:
    """Tell whether the engine's own isolation level makes reads hold for the transaction only."""
    level = getattr(conn.connection.dbapi_connection, "isolation_level", None)  # of psycopg
    return getattr(level, "name", None) in ("REPEATABLE_READ", "SERIALIZABLE")


def is_autocommit(conn: Connection) -> bool:
    """Tell whether every statement on the connection commits by itself."""
    raw = conn.connection.dbapi_connection
    of_driver = getattr(raw, "autocommit", False) is True  # psycopg, psycopg2
    return of_driver or conn.get_execution_options().get("isolation_level") == "AUTOCOMMIT"


def _on_error(context: ExceptionContext) -> BaseException | None:
    conn = context.connection
    journal: Journal | None = None
    if conn is not None and not conn.closed and not conn.invalidated:
        journal = conn.info.get(JOURNAL)
        was_sent = context.execution_context is not None and context.statement is not None
        if journal is not None and was_sent:
            journal.take_back(kind_of(str(context.statement)))
    typed = translate(context, committing=journal is not None and journal.committing)
    if journal is not None:
        journal.failed(context, typed or context.sqlalchemy_exception or context.original_exception)
    return typed


def _forget_journal(raw: Any, record: ConnectionPoolEntry) -> None:
    record.info.pop(JOURNAL, None)


# -- SQLite ----------------------------------------------------------------------------------

_NOT_IN_TRANSACTION = ("BEGIN", "PRAGM", "VACUU", "ATTAC", "DETAC", "COMMI", "ROLLB")


class _SetUpSQLite:
    """Prepare a connection when it is first checked out.

    Not when it is opened: an engine given to `configure()` may have open ones already.
    """

    def __init__(self, pragmas: Mapping[str, str | int | None]) -> None:
        wrong = [name for name in pragmas if not re.fullmatch(r"\w+", name)]
        if wrong:
            raise ValueError(f"pragmas takes names of SQLite pragmas, got {wrong[0]!r}.")
        self._statements = [
            f"PRAGMA {name} = {_pragma_value(value)}"
            for name, value in pragmas.items()
            if value is not None
        ]

    def __call__(self, raw: Any, record: ConnectionPoolEntry, proxy: Any) -> None:
        if "activebase.ready" in record.info:
            return
        # Stock sqlite3 begins by itself, before some statements only: we say BEGIN instead.
        raw.isolation_level = None
        cursor = raw.cursor()
        for statement in self._statements:
            cursor.execute(statement)
        cursor.close()
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


def _begin_sqlite(conn: Connection, statement: str) -> None:
    """Open the transaction before its first statement.

    Not at SQLAlchemy's ``begin`` event, which does not tell whose transaction it is: a unit that
    may write takes the write lock at once (BEGIN IMMEDIATE), for a reader that wanted to write
    later would fail without waiting as soon as another one had written meanwhile.
    """
    if statement[:5].upper() in _NOT_IN_TRANSACTION:
        return
    if is_autocommit(conn):
        return
    journal: Journal | None = conn.info.get(JOURNAL)
    conn.exec_driver_sql("BEGIN" if journal is None else journal.begin_of_sqlite(conn))
