"""The boundary for scripts and services: `unit_of_work()`, `atomic()`, `read_only()`.

Each works as a ``with`` block and as a decorator. `on_commit()` and `allow_commit()` act on the
unit that is open where they are called, whoever has opened it.
"""

from __future__ import annotations

import functools
import inspect
import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, overload

from sqlalchemy.orm import Session, scoped_session

from .changes import has_changes
from .errors import NestedUnitError, TransientError, UnitOfWorkError
from .journal import Callback, Journal, journal_of
from .refusals import lost_writes, waits_for_itself
from .session import registry_of
from .unit import UnitOfWork, checked_isolation_level, current_unit

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C", bound=Callback)

log = logging.getLogger("activebase")

#: Seconds: the first pause before a retry is up to this long, then twice as long, up to the cap.
BACKOFF, BACKOFF_CAP = 0.05, 5.0


@overload
def on_commit(
    callback: C, *, robust: bool = True, session: scoped_session[Any] | None = None
) -> C: ...


@overload
def on_commit(
    callback: None = None, *, robust: bool = True, session: scoped_session[Any] | None = None
) -> Callable[[C], C]: ...


def on_commit(
    callback: Any = None, *, robust: bool = True, session: scoped_session[Any] | None = None
) -> Any:
    """Run a callback after the unit's commit, in order, outside the transaction.

    Dropped when the unit, or the savepoint it was registered in, is rolled back. Outside any unit
    it runs at once or, where something waits for a commit already, after that.

    Args:
        callback: takes no argument; may open a unit of its own and register more.
        robust: log an exception and go on; else it is raised once the rest have run. The commit
            stands either way.
        session: the scoped session whose unit is meant, default the global one.
    Returns:
        the callback, so that it works as a decorator.
    Source: Django's `transaction.on_commit`.
    """
    if callback is None:
        return functools.partial(on_commit, robust=robust, session=session)
    if not callable(callback):
        raise TypeError(f"on_commit() takes a function without arguments, got {callback!r}.")
    registry = registry_of(session)
    scope = registry.innermost()
    if isinstance(scope, UnitOfWork):
        waits = scope.state == "open" or scope.runs_callbacks
        journal = scope.journal
        if scope.state == "rolled back":
            log.info("%s is rolled back: its callback is dropped", scope.name)
            return callback
    else:
        waits = registry.has() and _has_work(registry())
        journal = journal_of(registry()) if waits else Journal()
    if waits:
        journal.levels[-1].callbacks.append((callback, robust))
    else:
        callback()
    return callback


def _has_work(session: Session) -> bool:
    # A transaction that has only read will never be committed by anyone.
    return bool(journal_of(session).writes) or has_changes(session)


# -- boundaries for scripts and services -----------------------------------------------------


class Atomic:
    """A savepoint as a context manager or decorator; see `atomic()`."""

    def __init__(self, session: scoped_session[Any] | None) -> None:
        self._scoped = session
        self._entered: Savepoint | Unit | None = None

    def __enter__(self) -> UnitOfWork:
        _check_not_entered(self._entered, "atomic()")
        unit = current_unit(self._scoped)
        if unit is None or unit.state != "open":
            own = Unit(session=self._scoped, name="atomic()")
            entered = own.__enter__()
            self._entered = own
            return entered
        self._entered = Savepoint(unit.session, unit.name)
        return unit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered, self._entered = self._entered, None
        if isinstance(entered, Unit):
            entered.__exit__(kind, error, traceback)
        elif entered is not None and error is not None:
            entered.undo()
        elif entered is not None:
            entered.release()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        _check_sync(function, "atomic")

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with Atomic(self._scoped):
                return function(*args, **kwargs)

        return run


class Savepoint:
    """The savepoint of a block, and how it ends.

    Args:
        name: the unit in messages.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._name = name
        self._transaction = session.begin_nested()
        self._journal = journal_of(session)
        self._level = self._journal.levels[-1]

    def release(self) -> None:
        """End a block that ended normally; raises if half of it is missing."""
        journal, level = self._journal, self._level
        if journal.lost is not None:
            self._roll_back()
            raise journal.lost_error()
        if level.is_over:
            # With what is around it. If that was undone, so was a part of this block.
            if level.writes and level.fate != "released":
                self._refuse()
                raise journal.lost_error()
            return
        if level.error is None and self._transaction.is_active:
            try:
                self._transaction.commit()
            except BaseException:
                self.undo()
                raise
            return
        writes, cause = level.writes, level.error
        self._roll_back()
        if writes:
            raise lost_writes(writes, "the atomic() block", cause)

    def undo(self) -> None:
        """Undo a block that an exception leaves."""
        if not self._level.is_over:
            self._roll_back()
        elif self._journal.writes:
            self._refuse()  # what it wrote can't be told from the rest of the unit any more

    def _refuse(self) -> None:
        self._journal.lost = self._journal.lost or UnitOfWorkError(
            f"An atomic() block of {self._name} can neither be kept nor undone: its savepoint "
            "was ended inside it. Leave commit and rollback to the block, and leave blocks in the "
            "reverse of the order in which they were entered."
        )

    def _roll_back(self) -> None:
        if self._level.is_over:
            return
        try:
            # Through its own object: session.rollback() would go to the root.
            self._transaction.rollback()
        except Exception:
            # The connection is gone, and with it the whole transaction: the guards know.
            log.warning("%s: ROLLBACK TO SAVEPOINT failed", self._name, exc_info=True)


class Unit:
    """A unit of work as a context manager or decorator; see `unit_of_work()`."""

    def __init__(
        self,
        *,
        session: scoped_session[Any] | None = None,
        read_only: bool = False,
        durable: bool = False,
        independent: bool = False,
        retries: int = 0,
        isolation_level: str | None = None,
        name: str = "unit_of_work()",
        attempt: int = 1,
    ) -> None:
        if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
            raise ValueError(f"retries is a number of further runs, 0 or more; got {retries!r}.")
        self._scoped = session
        self._read_only = read_only
        self._durable = durable
        self._independent = independent
        self._retries = retries
        self._isolation_level = checked_isolation_level(isolation_level)
        self._name = name
        self._attempt = attempt
        self._entered: UnitOfWork | Atomic | None = None

    def __enter__(self) -> UnitOfWork:
        if self._retries:
            raise TypeError(
                "retries= needs a function that can be run again: use @unit_of_work(retries=...) "
                "on one. A with block runs once."
            )
        _check_not_entered(self._entered, "unit_of_work()")
        outer = current_unit(self._scoped)
        if outer is not None and outer.state == "open" and not self._independent:
            self._check_join(outer)
            joined = Atomic(self._scoped)
            joined.__enter__()
            self._entered = joined
            return outer
        if outer is not None and not self._read_only and outer.holds_sqlite_lock():
            raise waits_for_itself(self._name, outer.name)
        unit = UnitOfWork.begin(
            session=self._scoped,
            read_only=self._read_only,
            isolation_level=self._isolation_level,
            name=self._name,
            attempt=self._attempt,
        )
        self._entered = unit
        return unit

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        entered, self._entered = self._entered, None
        if isinstance(entered, Atomic):
            entered.__exit__(kind, error, traceback)
            return
        if entered is None:
            return
        try:
            if error is not None:
                entered.rollback()
            elif entered.state == "open":
                entered.commit()
        finally:
            entered.close()

    def _check_join(self, outer: UnitOfWork) -> None:
        wanted = None
        if self._durable:
            wanted = "durable=True"
        elif self._read_only and not outer.read_only:
            wanted = "read_only=True"
        elif self._isolation_level not in (None, outer.isolation_level):
            wanted = f"isolation_level={self._isolation_level!r}"
        if wanted:
            raise NestedUnitError(
                f"{self._name} with {wanted} inside {outer.name}, which it would only join. Call "
                "it outside of that unit, or give it independent=True."
            )

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        _check_sync(function, "unit_of_work")
        name = getattr(function, "__qualname__", self._name)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            attempt = 1
            while True:
                unit: UnitOfWork | None = None
                try:
                    with self._again(f"{name}()", attempt) as unit:
                        return function(*args, **kwargs)
                except TransientError:
                    # A joined unit is the outer boundary's to repeat; after a commit only a
                    # callback can have raised.
                    is_undone = unit is None or (unit.closed and unit.state == "rolled back")
                    if attempt > self._retries or not is_undone:
                        raise
                time.sleep(backoff(attempt))
                attempt += 1

        return run

    def _again(self, name: str, attempt: int) -> Unit:
        return Unit(
            session=self._scoped,
            read_only=self._read_only,
            durable=self._durable,
            independent=self._independent,
            isolation_level=self._isolation_level,
            name=name,
            attempt=attempt,
        )


def _check_not_entered(entered: object, block: str) -> None:
    if entered is not None:
        raise UnitOfWorkError(
            f"This {block} is entered already, here or in another thread. Call {block} anew for "
            "each with block; one object serves many calls only as a decorator."
        )


def backoff(attempt: int) -> float:
    """Return how many seconds to wait after the given failed attempt: exponential, full jitter."""
    return random.uniform(0, min(BACKOFF_CAP, BACKOFF * 2 ** (attempt - 1)))


def _check_sync(function: object, decorator: str) -> None:
    if not callable(function):
        raise TypeError(f"@{decorator} decorates a function, got {function!r}.")
    asynchronous = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    if asynchronous or inspect.isgeneratorfunction(function):
        raise TypeError(
            f"@{decorator} would end before the body of {function!r} has run: it is a generator or "
            f"a coroutine. Use `with {decorator}():` inside."
        )


@overload
def unit_of_work(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def unit_of_work(
    *,
    session: scoped_session[Any] | None = None,
    read_only: bool = False,
    durable: bool = False,
    independent: bool = False,
    retries: int = 0,
    isolation_level: str | None = None,
) -> Unit: ...


def unit_of_work(function: Callable[P, R] | None = None, /, **options: Any) -> Any:
    """Open a unit of work: one commit at the end of the block, or a rollback.

    ``with unit_of_work() as unit:``, or as a decorator, with or without parentheses. Inside a unit
    on the same session it joins: a savepoint, no commit.

    Args:
        session: the scoped session it is for, default the global one.
        read_only: refuse writes.
        durable: refuse to join, for code that needs its own commit.
        independent: a session, connection and commit of its own, even inside a unit.
        retries: decorator only; how often to run again after a `TransientError`.
        isolation_level: one of `ISOLATION_LEVELS`.
    Effect: commit when the block ends; rollback when an exception leaves it.
    Raises:
        NestedUnitError: it can't be opened inside the unit that is open.
        LostWritesError: writes of the block were undone; nothing is committed.
    Source: Django's `transaction.atomic`.
    """
    unit = Unit(**options)
    return unit if function is None else unit(function)


@overload
def atomic(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def atomic(*, session: scoped_session[Any] | None = None) -> Atomic: ...


def atomic(
    function: Callable[P, R] | None = None, /, *, session: scoped_session[Any] | None = None
) -> Any:
    """Open a savepoint: an exception undoes this block only. With no unit open it opens one.

    Effect: flush, savepoint.
    Raises:
        LostWritesError: a database error was swallowed inside, and writes of the block with it.
    Source: Django's `transaction.atomic`, `Session.begin_nested`.
    """
    block = Atomic(session)
    return block if function is None else block(function)


@overload
def read_only(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def read_only(*, session: scoped_session[Any] | None = None) -> Unit: ...


def read_only(
    function: Callable[P, R] | None = None, /, *, session: scoped_session[Any] | None = None
) -> Any:
    """Open a unit that refuses writes: ``unit_of_work(read_only=True)``."""
    unit = Unit(session=session, read_only=True, name="read_only()")
    return unit if function is None else unit(function)


@contextmanager
def allow_commit(*, session: scoped_session[Any] | None = None) -> Iterator[None]:
    """Let `session.commit()` pass inside the block, for code that can't be changed.

    What it commits stays, whatever becomes of the unit; callbacks still wait for the boundary.
    """
    unit = current_unit(session)
    if unit is None:
        yield
        return
    before, unit.commits_allowed = unit.commits_allowed, True
    try:
        yield
    finally:
        unit.commits_allowed = before
