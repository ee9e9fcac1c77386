"""The session: one global `scoped_session`, and the scopes that own what it gives.

`session()` answers with the session of the innermost scope that is open here: a unit of work,
else what the integration in use says (the Flask app context), else the thread or greenlet.

Scopes are kept in a `ContextVar`, so that a coroutine, or the thread in which Flask runs an async
view, meets the same session as the code that called it.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session, SessionTransaction, scoped_session, sessionmaker
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.util import ScopedRegistry, ThreadLocalRegistry

from .engines import JOURNAL, forget_connections, instrument, make_engine
from .errors import (
    NestedUnitError,
    NotConfiguredError,
    StaleRecordError,
    UncommittedWritesWarning,
)

if TYPE_CHECKING:
    from .guards import Journal

STRAY_COMMITS = ("raise", "warn", "allow")


class ActiveSession(Session):
    """A `Session` that the guards listen to.

    Every session that a scoped session of ours gives is one: `adopt()` mixes this class into the
    class that the user's session factory makes.
    """

    committing_to_root = False  # inside commit(): what ends now is no released savepoint

    def commit(self) -> None:
        """Commit to the root transaction; refused while a unit of work is open."""
        self.committing_to_root = True
        try:
            super().commit()
        finally:
            self.committing_to_root = False

    def flush(self, objects: Sequence[Any] | None = None) -> None:
        """Flush, and say a version counter's mismatch in our own words."""
        try:
            super().flush(objects)
        except StaleDataError as error:
            if isinstance(error, StaleRecordError):
                raise
            raise StaleRecordError(
                "A record was changed or deleted by someone else since it was read, so its write "
                "was refused. Read it again (refresh()), then repeat the change."
            ) from error


class Scope:
    """Owns one session: makes it when first asked for, closes it at the end.

    A unit of work is one; so is a thread, or a Flask app context. Scopes that are entered stack:
    ``outer`` is the one that was current before.
    """

    def __init__(self, registry: SessionRegistry) -> None:
        self.registry = registry
        self.outer: Scope | None = None
        self.closed = False
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The scope's session, made when first asked for."""
        if self._session is None:
            self.session = self.registry.createfunc()
        assert self._session is not None
        return self._session

    @session.setter
    def session(self, made: Session) -> None:
        self._session = made

    def has_session(self) -> bool:
        """Tell whether the session was asked for; a scope that no one uses costs nothing."""
        return self._session is not None

    def forget_session(self) -> None:
        """Let go of the session as it is."""
        self._session = None

    def enter(self) -> None:
        """Make this the current scope."""
        self.outer = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Make the scope around this one current again.

        Not by a token: a generator or an async view may end in another context than it began in;
        there `innermost()` passes over the closed scope.
        """
        self.closed = True
        if _current.get() is self:
            _current.set(self.outer)

    def end(self, what: str) -> None:
        """Close the session; warn when writes that nobody committed are lost with it.

        Args:
            what: the scope in words, as in "the thread 'worker-1'".
        """
        ended, self._session = self._session, None
        if ended is None:
            return
        journal: Journal | None = ended.info.get(JOURNAL)
        lost = journal.writes if journal is not None else 0
        try:
            ended.close()
        finally:
            if lost:
                _warn_of_uncommitted(lost, what)


def _warn_of_uncommitted(lost: int, what: str) -> None:
    writes = "1 write was" if lost == 1 else f"{lost} writes were"
    warnings.warn_explicit(
        f"{writes} flushed but never committed when {what} ended: the data is lost. save(), "
        "update() and delete() only flush; put the code into `with unit_of_work():`.",
        UncommittedWritesWarning,
        filename=__file__,
        lineno=0,
        module=__name__,  # and no registry of what was said: every scope that ends is told
    )


_current: ContextVar[Scope | None] = ContextVar("activebase_scope", default=None)


class _ThreadScope(Scope):
    """The scope outside of all others: a thread, or a greenlet where gevent has patched them."""

    def __init__(self, registry: SessionRegistry) -> None:
        super().__init__(registry)
        self.name = f"the thread {threading.current_thread().name!r}"
        _thread_scopes.add(self)

    def __del__(self) -> None:
        self.end(self.name)


class _ForeignScope(Scope):
    """What the user's own registry, with a scope function of its own, gives."""

    def __init__(self, registry: SessionRegistry, theirs: ScopedRegistry[Any]) -> None:
        super().__init__(registry)
        self._theirs = theirs

    @property
    def session(self) -> Session:
        made: Session = self._theirs()
        return made

    @session.setter
    def session(self, made: Session) -> None:
        self._theirs.set(made)

    def has_session(self) -> bool:
        return self._theirs.has()

    def forget_session(self) -> None:
        self._theirs.clear()


#: Asked for the scope around the code where none is entered; the Flask extension adds its own.
ambient_scopes: list[Callable[[SessionRegistry], Scope | None]] = []


class SessionRegistry(ScopedRegistry[Any]):
    """The registry of a scoped session: gives the session of the scope that is open here.

    Args:
        createfunc: makes a session.
        foreign: the registry to ask where no scope is open; default: a session per thread.
    """

    __slots__ = ("__weakref__", "_foreign", "_local", "_stray_commits")

    def __init__(
        self, createfunc: Callable[[], Session], *, foreign: ScopedRegistry[Any] | None = None
    ) -> None:
        super().__init__(createfunc, lambda: None)
        self._foreign = foreign
        self._local = threading.local()
        self._stray_commits: str | None = None

    @property
    def stray_commits(self) -> str:
        """What a stray commit meets: "raise", "warn" or "allow"; default: what the global has."""
        return self._stray_commits or _global._stray_commits or "raise"

    @stray_commits.setter
    def stray_commits(self, policy: str) -> None:
        if policy not in STRAY_COMMITS:
            raise ValueError(f"stray_commits is one of {', '.join(STRAY_COMMITS)}; got {policy!r}.")
        self._stray_commits = policy

    def target(self) -> SessionRegistry:
        """The registry on which a unit that is opened here stands."""
        return self

    def serves(self, scope: Scope) -> bool:
        """Tell whether the scope's session is this registry's session."""
        return scope.registry is self

    def innermost(self) -> Scope | None:
        """Return the innermost entered scope of this registry, or None."""
        scope = _current.get()
        while scope is not None:
            if not scope.closed and self.serves(scope):
                return scope
            scope = scope.outer
        return None

    def outside(self) -> Scope:
        """Return the scope that owns the session where none is entered."""
        if self._foreign is not None:
            return _ForeignScope(self, self._foreign)
        for ambient in ambient_scopes:
            if scope := ambient(self):
                return scope
        if not hasattr(self._local, "scope"):
            self._local.scope = _ThreadScope(self)
        thread_scope: Scope = self._local.scope
        return thread_scope

    def scope(self) -> Scope:
        """Return the scope that owns the session here."""
        return self.innermost() or self.outside()

    def __call__(self) -> Any:
        return self.scope().session

    def has(self) -> bool:
        return self.scope().has_session()

    def set(self, obj: Any) -> None:
        self.scope().session = obj

    def clear(self) -> None:
        self.scope().forget_session()

    def end_thread(self) -> None:
        """End what this thread holds outside of all other scopes; warns of writes that are lost."""
        scope = getattr(self._local, "scope", None)
        if scope is not None:
            scope.end(scope.name)


class _GlobalRegistry(SessionRegistry):
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
        scope = self.innermost()
        if scope is not None:
            return scope.registry
        registry = self.current_app_registry()
        if registry is None and self._latest is not None:
            registry = self._latest()
        return registry if registry in self._followed and registry is not None else self

    def serves(self, scope: Scope) -> bool:
        return scope.registry is self or scope.registry in self._followed

    def outside(self) -> Scope:
        target = self.target()
        return super().outside() if target is self else target.outside()


def _make_session() -> Session:
    if _factory.kw.get("bind") is None:
        raise NotConfiguredError(
            "No database is set up. Call activebase.configure('sqlite:///app.db'), with your own "
            "URL, before the first use; in Flask, ActiveBase(app) does it from app.config."
        )
    return _factory()


_factory: sessionmaker[Session] = sessionmaker(expire_on_commit=False)
_factory.class_ = ActiveSession  # itself, so that what listens to `session` hears every session
_global = _GlobalRegistry(_make_session)


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
session.registry = _global


def configure(
    target: str | URL | Engine,
    *,
    pragmas: Mapping[str, str | int | None] | None = None,
    stray_commits: str = "raise",
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
    if _global.innermost() is not None:
        raise NestedUnitError(
            "configure() inside an open unit of work would split it over two databases. Call it "
            "before the first unit, or after the unit has ended."
        )
    _global.stray_commits = stray_commits
    engine = make_engine(target, pragmas=pragmas, **engine_options)
    _global.end_thread()
    _global.unfollow()
    _factory.configure(bind=engine)
    return engine


def make_scoped_session(engine: Engine) -> ActiveScopedSession:
    """Return a scoped session with activebase's defaults on an engine of its own."""
    factory = sessionmaker(instrument(engine), class_=ActiveSession, expire_on_commit=False)
    made = ActiveScopedSession(factory)
    made.registry = SessionRegistry(factory)
    return made


def registry_of(scoped: scoped_session[Any] | None) -> SessionRegistry:
    """Return the registry of a scoped session, default the global one; adopts a stranger."""
    if scoped is None:
        return _global
    registry = getattr(scoped, "registry", None)
    return registry if isinstance(registry, SessionRegistry) else _adopt(scoped)


def _adopt(scoped: scoped_session[Any]) -> SessionRegistry:
    """Give a scoped session our registry, and its sessions our class."""
    factory = getattr(scoped, "session_factory", None)
    if not isinstance(factory, sessionmaker):
        raise TypeError(
            "session= takes a scoped_session over a sessionmaker, as in "
            f"scoped_session(sessionmaker(engine)); got {type(scoped).__name__}."
        )
    if not issubclass(factory.class_, ActiveSession):
        theirs = factory.class_
        factory.class_ = type(theirs.__name__, (ActiveSession, theirs), {})
    if "expire_on_commit" not in factory.kw:
        factory.configure(expire_on_commit=False)
    if isinstance(factory.kw.get("bind"), Engine):
        instrument(factory.kw["bind"])
    theirs_registry = scoped.registry
    per_thread = isinstance(theirs_registry, ThreadLocalRegistry)
    registry = SessionRegistry(factory, foreign=None if per_thread else theirs_registry)
    if per_thread and theirs_registry.has():
        registry.set(theirs_registry())
    scoped.registry = registry
    return registry


# -- the ends of threads and processes -------------------------------------------------------

_thread_scopes: weakref.WeakSet[_ThreadScope] = weakref.WeakSet()
_of_parent: list[object] = []


@atexit.register
def _end_threads() -> None:
    for scope in list(_thread_scopes):
        scope.end(scope.name)


def _forget_parent() -> None:
    """In a forked child: drop the parent's sessions without a word on its connections."""
    # Kept alive on purpose: a collected session would send ROLLBACK through the parent's socket.
    for scope in list(_thread_scopes):
        _of_parent.append(scope._session)
        scope.forget_session()
    _of_parent.append(_current.get())
    _current.set(None)
    forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
