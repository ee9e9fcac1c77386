"""The session: one global `scoped_session`, and `configure()`, which sets up its database.

`session()` answers with the session of the innermost scope that is open here: a unit of work,
else what the integration in use says (the Flask app context), else the thread or greenlet.
"""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import IllegalStateChangeError
from sqlalchemy.orm import Session, SessionTransaction, scoped_session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.util import ThreadLocalRegistry

from .changes import Unflushed, has_changes
from .engines import JOURNAL, forget_connections, instrument, make_engine
from .errors import NestedUnitError, NotConfiguredError, StaleRecordError
from .journal import Journal, journal_of
from .later import Later
from .scopes import (
    Scope,
    SessionRegistry,
    check_stray_commits,
    current_scope,
    thread_scopes,
)

if TYPE_CHECKING:
    from . import translation
else:
    translation = Later("translation")

#: What `session.commit()` does while a unit is open.
StrayCommits = Literal["raise", "warn", "allow"]


class ActiveSession(Session):
    """A `Session` that the guards listen to.

    Every session that a scoped session of ours gives is one: `adopt()` mixes this class into the
    class that the user's session factory makes.
    """

    committing_to_root = False  # inside commit(): what ends now is no released savepoint
    _lost_by: BaseException | None = None  # what its connection was lost with
    _get_bind_before: Callable[..., Engine | Connection] | None = None

    def commit(self) -> None:
        """Commit to the root transaction; refused while a unit of work is open."""
        self.committing_to_root = True
        try:
            super().commit()
        finally:
            self.committing_to_root = False
            journal_of(self).committing = False

    def rollback(self) -> None:
        """Roll back to the root; inside a unit of work that loses what it has written."""
        journal_of(self).give_up()
        super().rollback()

    def recover_before_use(self, error: BaseException) -> None:
        """Have the transaction rolled back before the next statement: its connection is lost.

        What is not flushed yet stays, but for changes of relations: those are lost writes.
        """
        if self._lost_by is None:
            self._lost_by = error
            # An attribute of this session alone: others do not pay for it at each statement.
            self._get_bind_before = self.__dict__.get("get_bind")
            self.get_bind = self._recover_and_get_bind  # type: ignore[method-assign]

    def recovered(self) -> None:
        """The transaction with the lost connection has ended."""
        if self._lost_by is not None:
            self._lost_by = None
            del self.get_bind
            if self._get_bind_before is not None:
                self.get_bind = self._get_bind_before  # type: ignore[method-assign]

    def _recover(self) -> None:
        if self._lost_by is None or self.in_nested_transaction():
            return  # a savepoint is left to who opened it
        journal, unflushed = journal_of(self), Unflushed(self)
        journal.levels[-1].writes += unflushed.lost
        journal.transaction_ended(self._lost_by)
        super().rollback()  # with which it has ended
        unflushed.put_back(self)

    def _recover_and_get_bind(self, *args: Any, **options: Any) -> Engine | Connection:
        self._recover()
        get_bind = self._get_bind_before if self._lost_by is not None else self.get_bind
        return (get_bind or super().get_bind)(*args, **options)

    def close(self) -> None:
        """Close; what is not committed is undone, as by `rollback()`."""
        journal_of(self).give_up()
        super().close()

    def reset(self) -> None:
        """Reset; what is not committed is undone, as by `rollback()`."""
        journal_of(self).give_up()
        super().reset()

    def invalidate(self) -> None:
        """Close, and throw the connections away."""
        journal_of(self).give_up()
        super().invalidate()

    def begin(self, nested: bool = False) -> SessionTransaction:
        """Begin; a savepoint flushes first, while the session can still recover from a failure."""
        if not nested:
            return super().begin()
        self.flush()
        begun = super().begin(nested=True)
        journal_of(self).savepoint_opened()
        return begun

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Flush; when that fails the session can be used on.

        Outside a savepoint the transaction is rolled back; a savepoint is left to who opened it,
        for a rollback from here would go to the root.

        Raises:
            StaleRecordError: a version counter did not match.
        """
        journal: Journal = self.info.get(JOURNAL) or journal_of(self)
        if journal.flushing is not None:
            super().flush(objects)  # which says that a flush inside a flush can't be
            return
        self._recover()
        try:
            if not journal.takes_writes and has_changes(self):
                journal.check_write()
            journal.flushing = journal.levels[-1].writes
            super().flush(objects)
        except BaseException as error:
            self._undo_flush(journal, error)
            if isinstance(error, StaleDataError) and not isinstance(error, StaleRecordError):
                raise translation.stale(error) from error
            raise
        finally:
            journal.flushing = None

    def _undo_flush(self, journal: Journal, error: BaseException) -> None:
        if self.in_nested_transaction():
            journal.levels[-1].error = journal.levels[-1].error or error
            return
        with suppress(IllegalStateChangeError):  # in a commit: its caller rolls back
            super().rollback()


def flush_for(session: Session, record: object) -> None:
    """Flush because of one record: if it fails, others that were waiting are lost writes."""
    journal = journal_of(session)
    journal.saving = record
    try:
        session.flush()
    finally:
        journal.saving = None


def check_write(session: Session) -> None:
    """Raise if nothing may be written now. Effect: none."""
    journal = journal_of(session)
    if not journal.takes_writes:
        journal.check_write()


@contextmanager
def one_write(session: Session, *, flush: bool = True) -> Iterator[None]:
    """Send statements that stand or fall together, as those of one flush do.

    When one fails, or the block does, the session can be used on: see `ActiveSession.flush`. What
    the block had sent before is then no write that had succeeded.

    Args:
        flush: flush what is pending before the block.
    """
    active, journal = cast(ActiveSession, session), journal_of(session)
    check_write(session)
    if flush:
        session.flush()
    if not session.in_nested_transaction():  # where it stays until the savepoint is undone
        journal.flushing = journal.levels[-1].writes
    try:
        with session.no_autoflush:
            yield
    except BaseException as error:
        active._undo_flush(journal, error)
        raise
    finally:
        journal.flushing = None


class GlobalRegistry(SessionRegistry):
    """The registry of the global session, which follows the app in whose context it is used.

    An app with an engine of its own, or with Flask-SQLAlchemy, brings its own registry. In its
    context, and outside of any for the app that came last, the global session is the app's.
    """

    __slots__ = ("_followed", "_latest", "current_app_registry")

    def __init__(self, createfunc: Callable[[], Session]) -> None:
        super().__init__(createfunc)
        self._followed: weakref.WeakKeyDictionary[SessionRegistry, bool]
        self._followed = weakref.WeakKeyDictionary()
        self._latest: weakref.ref[SessionRegistry] | None = None
        self.current_app_registry: Callable[[], SessionRegistry | None] = lambda: None

    def follow(self, registry: SessionRegistry, *, until_configured: bool) -> None:
        """Stand for another registry's session from now on; keeps no reference that owns it.

        Args:
            registry: the other one.
            until_configured: whether a later `configure()` ends it.
        """
        self._followed[registry] = until_configured
        self._latest = weakref.ref(registry)

    def unfollow(self) -> None:
        """Stand for the configured engine again, outside of apps that have their own."""
        self._latest = None
        for registry, until_configured in list(self._followed.items()):
            if until_configured:
                del self._followed[registry]

    def target(self) -> SessionRegistry:
        if not self._followed:
            return self  # the one database of most processes
        scope = self.innermost()
        if scope is not None:
            return scope.registry
        registry = self.current_app_registry()
        if registry is None and self._latest is not None:
            registry = self._latest()
        return registry if registry in self._followed and registry is not None else self

    def serves(self, scope: Scope) -> bool:
        return scope.registry is self or scope.registry in self._followed

    def _outside(self, *, make: bool) -> Scope | None:
        target = self.target()
        return super()._outside(make=make) if target is self else target._outside(make=make)


def _make_session() -> Session:
    if _factory.kw.get("bind") is None:
        raise NotConfiguredError(
            "No database is set up. Call activebase.configure('sqlite:///app.db'), with your own "
            "URL, before the first use; in Flask, ActiveBase(app) does it from app.config."
        )
    return _factory()


_factory: sessionmaker[Session] = sessionmaker(expire_on_commit=False)
_factory.class_ = ActiveSession  # itself, so that what listens to `session` hears every session
#: The registry of `session`.
global_registry = GlobalRegistry(_make_session)


class ActiveScopedSession(scoped_session[Session]):
    """A `scoped_session` that hands through what `Session` tells of its transaction, too."""

    def get_transaction(self) -> SessionTransaction | None:
        """See `Session.get_transaction`."""
        return self.registry().get_transaction()

    def get_nested_transaction(self) -> SessionTransaction | None:
        """See `Session.get_nested_transaction`."""
        return self.registry().get_nested_transaction()

    def in_transaction(self) -> bool:
        """See `Session.in_transaction`."""
        return self.registry().in_transaction()

    def in_nested_transaction(self) -> bool:
        """See `Session.in_nested_transaction`."""
        return self.registry().in_nested_transaction()


#: The session. Outside of units of work it belongs to the thread, or to the Flask app context.
session: ActiveScopedSession = ActiveScopedSession(_factory)
session.registry = global_registry


def configure(
    target: str | URL | Engine,
    *,
    pragmas: Mapping[str, str | int | None] | None = None,
    stray_commits: StrayCommits = "raise",
    **engine_options: Any,
) -> Engine:
    """Set up the database of the global session; returns the engine.

    Args:
        target: a URL, a URL object or an engine.
        pragmas: SQLite only; overrides of the defaults, None leaves one out.
        stray_commits: what `session.commit()` inside a unit does: "raise", "warn" or "allow".
        **engine_options: for `sqlalchemy.create_engine`; each wins over activebase's default.

    Effect: none in the database: the first connection is opened by its first use. Called again,
    it replaces the engine for sessions from now on; one that this thread used outside of units is
    closed.

    Raises:
        NestedUnitError: a unit is open.
        InvalidURLError: the URL can't be read.
        ValueError: an unknown ``stray_commits``.
    """
    if global_registry.innermost() is not None:
        raise NestedUnitError(
            "configure() inside an open unit of work would split it over two databases. Call it "
            "before the first unit, or after the unit has ended."
        )
    check_stray_commits(stray_commits)
    engine = make_engine(target, pragmas=pragmas, **engine_options)
    global_registry.stray_commits = stray_commits
    global_registry.end_thread()
    global_registry.unfollow()
    _factory.configure(bind=engine)
    return engine


def make_scoped_session(factory: sessionmaker[Any]) -> ActiveScopedSession:
    """Return a scoped session of ours over a session factory, which is made ours as well."""
    made = ActiveScopedSession(adopt_factory(factory))
    made.registry = SessionRegistry(factory)
    return made


def registry_of(scoped: scoped_session[Any] | None) -> SessionRegistry:
    """Return the registry of a scoped session, default the global one; adopts a stranger."""
    if scoped is None:
        return global_registry
    registry = getattr(scoped, "registry", None)
    return registry if isinstance(registry, SessionRegistry) else adopt(scoped)


def adopt(scoped: scoped_session[Any], *, keep_scopes: bool = True) -> SessionRegistry:
    """Give a scoped session our registry, and its sessions our class; returns the registry.

    Args:
        keep_scopes: outside of units its own scope function, if it has one, goes on to rule.
    """
    theirs = scoped.registry if isinstance(scoped, scoped_session) else None
    if isinstance(theirs, SessionRegistry):
        return theirs
    if theirs is None or not isinstance(scoped.session_factory, sessionmaker):
        raise TypeError(
            "session= takes a scoped_session over a sessionmaker, as in "
            f"scoped_session(sessionmaker(engine)); got {type(scoped).__name__}."
        )
    factory = adopt_factory(scoped.session_factory)
    per_thread = isinstance(theirs, ThreadLocalRegistry) or not keep_scopes
    registry = SessionRegistry(factory, foreign=None if per_thread else theirs)
    if isinstance(theirs, ThreadLocalRegistry) and theirs.has():
        registry.set(theirs())
    scoped.registry = registry
    return registry


def adopt_factory(factory: sessionmaker[Any]) -> sessionmaker[Any]:
    """Make the sessions of a factory sessions of ours, with our defaults where it sets none."""
    if not issubclass(factory.class_, ActiveSession):
        theirs = factory.class_
        factory.class_ = type(theirs.__name__, (ActiveSession, theirs), {})
    if "expire_on_commit" not in factory.kw:
        factory.configure(expire_on_commit=False)
    for bind in (factory.kw.get("bind"), *(factory.kw.get("binds") or {}).values()):
        if isinstance(bind, Engine):
            instrument(bind)
    return factory


# -- the ends of threads and processes -------------------------------------------------------

_of_parent: list[object] = []


@atexit.register
def _end_threads() -> None:
    for scope in list(thread_scopes):
        scope.end(scope.name)


def _forget_parent() -> None:
    """In a forked child: drop the parent's sessions without a word on its connections."""
    # Kept alive on purpose: a collected session would send ROLLBACK through the parent's socket.
    _of_parent.extend(scope.abandon() for scope in list(thread_scopes))
    entered = current_scope.get()
    while entered is not None:
        _of_parent.append(entered.abandon())
        entered = entered.outer
    current_scope.set(None)
    forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
