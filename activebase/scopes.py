"""Scopes: who owns a session, and the registry that finds the session of the scope one is in.

The entered scopes are kept in a `ContextVar`, so that a coroutine, or the thread in which Flask
runs an async view, meets the same session as the code that called it.
"""

from __future__ import annotations

import logging
import threading
import warnings
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from sqlalchemy.orm import Session
from sqlalchemy.util import ScopedRegistry

from .engines import JOURNAL
from .errors import UncommittedWritesWarning

if TYPE_CHECKING:
    from .journal import Journal

log = logging.getLogger("activebase")

STRAY_COMMITS = ("raise", "warn", "allow")


def check_stray_commits(policy: str) -> None:
    """Raise ValueError for anything but one of `STRAY_COMMITS`."""
    if policy not in STRAY_COMMITS:
        raise ValueError(f"stray_commits is one of {', '.join(STRAY_COMMITS)}; got {policy!r}.")


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

    def abandon(self) -> object:
        """In a forked child: end without a word to the parent's database; returns the session."""
        abandoned, self._session = self._session, None
        self.closed = True
        return abandoned

    def enter(self) -> None:
        """Make this the current scope."""
        outer = current_scope.get()
        while outer is not None and outer.closed:
            outer = outer.outer
        self.outer = outer
        current_scope.set(self)

    def leave(self) -> None:
        """Make the scope around this one current again.

        Not by a token: a generator or an async view may end in another context than it began in;
        there `innermost()` passes over the closed scope.
        """
        self.closed = True
        if current_scope.get() is self:
            current_scope.set(self.outer)

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
        close_session(ended, what)
        if lost:
            _warn_of_uncommitted(lost, what)


def close_session(session: Session, what: str) -> None:
    """Close a session; a connection that can't even be returned is thrown away."""
    try:
        session.close()
    except Exception:
        log.warning("%s: the session could not be closed", what, exc_info=True)
        session.invalidate()


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


current_scope: ContextVar[Scope | None] = ContextVar("activebase_scope", default=None)


thread_scopes: weakref.WeakSet[ThreadScope] = weakref.WeakSet()


class ThreadScope(Scope):
    """The scope outside of all others: a thread, or a greenlet where gevent has patched them."""

    def __init__(self, registry: SessionRegistry) -> None:
        super().__init__(registry)
        self.name = f"the thread {threading.current_thread().name!r}"
        thread_scopes.add(self)

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


class AmbientScope(Protocol):
    """Tells which scope is around the code where none is entered."""

    def __call__(self, registry: SessionRegistry, *, make: bool) -> Scope | None:
        """Return the scope for a registry, or None; without ``make`` only one that is there."""


#: Asked in turn; the Flask extension adds its own.
ambient_scopes: list[AmbientScope] = []


#: Asked for the rule for stray commits before the registry is; the Flask extension adds its own.
ambient_stray_commits: list[Callable[[], str | None]] = []


def stray_commits_here(registry: SessionRegistry) -> str:
    """Return what a stray commit meets here: "raise", "warn" or "allow"."""
    for ambient in ambient_stray_commits:
        if rule := ambient():
            return rule
    return registry.stray_commits


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
        """What a stray commit meets: "raise", "warn" or "allow"."""
        return self._stray_commits or "raise"

    @stray_commits.setter
    def stray_commits(self, policy: str) -> None:
        check_stray_commits(policy)
        self._stray_commits = policy

    def target(self) -> SessionRegistry:
        """The registry on which a unit that is opened here stands."""
        return self

    def serves(self, scope: Scope) -> bool:
        """Tell whether the scope's session is this registry's session."""
        return scope.registry is self

    def innermost(self) -> Scope | None:
        """Return the innermost entered scope of this registry, or None."""
        scope = current_scope.get()
        while scope is not None:
            if not scope.closed and self.serves(scope):
                return scope
            scope = scope.outer
        return None

    def outside(self) -> Scope:
        """Return the scope that owns the session where none is entered."""
        scope = self._outside(make=True)
        assert scope is not None
        return scope

    def session_outside(self) -> Session | None:
        """Return the session that is used where no scope is entered, None if there is none yet."""
        scope = self._outside(make=False)
        return scope.session if scope is not None and scope.has_session() else None

    def _outside(self, *, make: bool) -> Scope | None:
        if self._foreign is not None:
            return _ForeignScope(self, self._foreign)
        for ambient in ambient_scopes:
            if scope := ambient(self, make=make):
                return scope
        if make and not hasattr(self._local, "scope"):
            self._local.scope = ThreadScope(self)
        thread_scope: Scope | None = getattr(self._local, "scope", None)
        return thread_scope

    def scope(self) -> Scope:
        """Return the scope that owns the session here."""
        return self.innermost() or self.outside()

    def __call__(self) -> Any:
        scope = current_scope.get()
        if scope is not None and scope.registry is self and not scope.closed:
            return scope._session or scope.session  # the hot path of all that is in a unit
        return self.scope().session

    def has(self) -> bool:
        scope = self.innermost() or self._outside(make=False)
        return scope is not None and scope.has_session()

    def set(self, obj: Any) -> None:
        self.scope().session = obj

    def clear(self) -> None:
        self.scope().forget_session()

    def end_thread(self) -> None:
        """End what this thread holds outside of all other scopes; warns of writes that are lost."""
        scope = getattr(self._local, "scope", None)
        if scope is not None:
            scope.end(scope.name)
