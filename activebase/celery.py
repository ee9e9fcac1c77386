"""The Celery boundary: one unit of work per task run, committed before the result is stored.

The unit is opened and ended in ``__call__``: what Celery calls afterwards (``after_return``,
``task_postrun``) swallows exceptions, and a task whose commit failed would be a SUCCESS.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, states
from celery.backends.base import DisabledBackend
from celery.exceptions import Retry
from celery.result import AsyncResult
from celery.signals import task_postrun, task_prerun
from celery.utils import uuid
from kombu.serialization import dumps
from sqlalchemy.orm import scoped_session

from .errors import TransientError
from .scopes import SessionRegistry, ambient_scopes, thread_scopes
from .session import registry_of
from .unit import UnitOfWork
from .unit_of_work import Unit, backoff, on_commit

if TYPE_CHECKING:
    from flask import Flask

#: Where a message carries how often its task was run again after a `TransientError`.
_TRANSIENT_RETRIES = "activebase_transient_retries"


class ActiveTask(Task):  # type: ignore[misc]  # celery ships no types
    """A task whose run is a unit of work: ``Celery("app", task_cls=ActiveTask)``.

    Returning commits; anything raised, `Retry`, `Ignore` and `Reject` too, rolls back.
    """

    abstract = True

    #: How often a run that ended in a `TransientError` is published again.
    transient_retries = 3
    #: The scoped session of the unit, None for the global one.
    session: scoped_session[Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task in a unit of work; inside an open one, join it."""
        request = self.request
        if request.called_directly or getattr(request, "activebase_running", False):
            with Unit(session=self.session, name=str(self.name)):
                return super().__call__(*args, **kwargs)
        request.activebase_running = True
        try:
            return self._run_traced(request, args, kwargs)
        finally:
            request.activebase_running = False

    def _run_traced(self, request: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        run_again = _transient_retries_of(request)
        attempt = request.retries + run_again + 1
        unit: UnitOfWork | None = None
        try:
            with Unit(session=self.session, name=str(self.name), attempt=attempt) as unit:
                result = self.run(*args, **kwargs)
                self._check_result(request, result)
                return result
        except TransientError as error:
            # A joined unit is the outer boundary's to repeat; after a commit only a callback can
            # have raised.
            is_undone = unit is None or (unit.closed and unit.state == "rolled back")
            if not is_undone or run_again >= self.transient_retries:
                raise
            self._run_again(request, error)

    def _check_result(self, request: Any, result: Any) -> None:
        """Raise if the result can't be sent on: once the unit is committed it would be too late."""
        is_ignored = request.ignore_result or (request.ignore_result is None and self.ignore_result)
        if request.is_eager and not getattr(self, "store_eager_result", False):
            is_ignored = True
        is_stored = not is_ignored and not isinstance(self.backend, DisabledBackend)
        if is_stored or request.callbacks or request.chain or request.chord:
            self.backend.encode(self.backend.encode_result(result, states.SUCCESS))

    def _run_again(self, request: Any, error: TransientError) -> None:
        """Publish the task again; Celery's own `retry()` would use up the task's own retries."""
        so_far = _transient_retries_of(request) + 1
        countdown = backoff(so_far)
        again: Any = self.signature_from_request(
            request,
            countdown=countdown,
            retries=request.retries,
            headers={**(request.headers or {}), _TRANSIENT_RETRIES: so_far},
        )
        if request.is_eager:  # apply() runs it, and would count it as one of the task's own
            apply = again.apply
            again.apply = lambda **options: apply(**options | {"retries": request.retries})
        else:
            again.apply_async()
        raise Retry(exc=error, when=countdown, is_eager=request.is_eager, sig=again) from error

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Publish the task after the unit's commit; dropped when it is rolled back.

        Returns:
            the result, with the id that the task will have.
        Raises:
            TypeError, EncodeError: the arguments don't fit the task, or can't be sent.
        Source: Celery's `DjangoTask.delay_on_commit`.
        """
        return self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult:
        """Publish the task with options after the unit's commit; see `delay_on_commit()`."""
        task_id = options.setdefault("task_id", uuid())
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        self._check_message(args, kwargs, options.get("serializer"))
        args, kwargs = copy.deepcopy((args, kwargs))  # as they are now

        def publish() -> None:
            self.apply_async(args, kwargs, **options)

        on_commit(publish, session=self.session)
        return self.AsyncResult(task_id)

    def _check_message(self, args: Any, kwargs: Any, serializer: str | None) -> None:
        """Raise now for what can't be published: after the commit there is no one to tell."""
        check: Any = getattr(self, "__header__", None)  # which tasks that are classes don't have
        if self.typing and check is not None:
            check(*args, **kwargs)
        # A task with pydantic models for arguments turns them into plain data when it publishes.
        if getattr(self, "_dump_pydantic_arguments", None) is None:
            dumps((args, kwargs), serializer=serializer or self.serializer)  # type: ignore[no-untyped-call]


def _transient_retries_of(request: Any) -> int:
    return int((request.headers or {}).get(_TRANSIENT_RETRIES, 0))


def celery_init_app(app: Flask) -> Celery:
    """Return the Celery app of a Flask app: ``app.config["CELERY"]``, tasks in its app context.

    It becomes Celery's default app and ``app.extensions["celery"]``.

    Source: "Background Tasks with Celery" in Flask's documentation.
    """

    class FlaskTask(ActiveTask):
        abstract = True

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            with app.app_context():
                return super().__call__(*args, **kwargs)

    celery = Celery(app.name, task_cls=FlaskTask)
    celery.config_from_object(app.config.get("CELERY", {}))
    celery.set_default()
    app.extensions["celery"] = celery
    return celery


def _end_task(task: Task | None = None, **_: Any) -> None:
    """Close what handlers of tasks used outside of units, so that each starts clean."""
    if isinstance(task, ActiveTask) and not task.request.is_eager:
        registry_of(task.session).target().end_thread()


@cache
def _end_tasks() -> None:
    task_prerun.connect(_end_task)
    task_postrun.connect(_end_task)


def _used_outside(registry: SessionRegistry, *, make: bool) -> None:
    """A session is used outside of units: from now on what a task's handlers used is closed.

    Not before: a signal that someone listens to takes as long as all the rest of an empty unit.
    """
    if make:
        _end_tasks()


ambient_scopes.append(_used_outside)
if thread_scopes:  # one has been used before this module was imported
    _end_tasks()
