"""The Celery boundary: one unit of work per task run, committed before the result is stored.

The unit is opened and ended in ``__call__``: what Celery calls afterwards (``after_return``,
``task_postrun``) swallows exceptions, and a task whose commit failed would be a SUCCESS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celery import Celery, Task, states
from celery.backends.base import DisabledBackend
from celery.result import AsyncResult
from celery.signals import task_postrun
from celery.utils import uuid
from sqlalchemy.orm import scoped_session

from .errors import TransientError
from .session import registry_of
from .unit import current_unit
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

    #: How often a run that ended in a `TransientError` is repeated, by Celery's own retry.
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
            return self._run_traced(args, kwargs)
        except TransientError as error:
            if current_unit(self.session) is not None:
                raise  # a joined unit is the outer boundary's to repeat
            self._run_again(error)
        finally:
            request.activebase_running = False

    def _run_traced(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Unit(session=self.session, name=str(self.name), attempt=self.request.retries + 1):
            result = self.run(*args, **kwargs)
            self._check_result(result)
            return result

    def _check_result(self, result: Any) -> None:
        """Raise if the result can't be sent on: once the unit is committed it would be too late."""
        request = self.request
        is_ignored = request.ignore_result or (request.ignore_result is None and self.ignore_result)
        is_stored = not is_ignored and not isinstance(self.backend, DisabledBackend)
        if request.is_eager and not getattr(self, "store_eager_result", False):
            is_stored = False
        if is_stored or request.callbacks or request.chain:
            self.backend.encode(self.backend.encode_result(result, states.SUCCESS))

    def _run_again(self, error: TransientError) -> None:
        headers = self.request.headers or {}
        so_far = headers.get(_TRANSIENT_RETRIES, 0)
        if so_far >= self.transient_retries:
            raise error
        raise self.retry(
            exc=error,
            countdown=backoff(so_far + 1),
            # Celery's own count, and limit, is for what the task retries by itself.
            max_retries=self.request.retries + 1,
            headers={**headers, _TRANSIENT_RETRIES: so_far + 1},
        )

    def delay_on_commit(self, *args: Any, **kwargs: Any) -> AsyncResult:
        """Publish the task after the unit's commit; dropped when it is rolled back.

        Returns:
            the result, with the id that the task will have.
        Source: Celery's `DjangoTask.delay_on_commit`.
        """
        return self.apply_async_on_commit(args, kwargs)

    def apply_async_on_commit(
        self, args: Any = None, kwargs: Any = None, **options: Any
    ) -> AsyncResult:
        """Publish the task with options after the unit's commit; see `delay_on_commit()`."""
        task_id = options.setdefault("task_id", uuid())
        args, kwargs = tuple(args or ()), dict(kwargs or {})

        def publish() -> None:
            self.apply_async(args, kwargs, **options)

        on_commit(publish, session=self.session)
        return self.AsyncResult(task_id)


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


@task_postrun.connect  # type: ignore[untyped-decorator]  # celery ships no types
def _end_task(task: Task | None = None, **_: Any) -> None:
    """Close what the task's handlers used outside of the unit, so that the next starts clean."""
    if isinstance(task, ActiveTask) and not task.request.is_eager:
        registry_of(task.session).target().end_thread()
