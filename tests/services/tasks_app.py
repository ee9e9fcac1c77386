"""The Celery app that the workers of these tests load; environment variables set it up.

Each task saves a `Member` of the name it is given, then goes on in its own way.
"""

import os
from typing import Any, NoReturn

from celery import Celery, Task
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded
from celery.signals import task_postrun
from redis import Redis
from sqlalchemy import text

from activebase import atomic, configure, current_unit, on_commit, session, unit_of_work
from activebase.celery import ActiveTask
from activebase.errors import LockTimeout, UniqueViolation
from tests.models import Entry, Member

celery = Celery("tasks_app", task_cls=ActiveTask, set_as_current=False)
celery.conf.update(
    broker_url=os.environ["TASKS_BROKER"],
    result_backend=os.environ["TASKS_REDIS"],
    task_default_queue=os.environ["TASKS_QUEUE"],
    broker_connection_retry_on_startup=True,
)
BACKEND = text("SELECT pg_backend_pid()")
engine = configure(os.environ["TASKS_DATABASE"], pragmas={"busy_timeout": 200})
redis = Redis.from_url(os.environ["TASKS_REDIS"], decode_responses=True)


def tell(key: str, value: Any = "") -> None:
    redis.rpush(key, str(value))


def wait_for(key: str) -> None:
    """Wait until the test tells; longer than any test waits for its result."""
    assert redis.blpop([key], timeout=40), key


def count_run(name: str) -> int:
    """Count the runs of the test's task, those that were undone as well."""
    run: int = redis.incr(f"{name} runs")
    return run


def save_member(name: str) -> Member:
    return Member(name=name).save()


# -- how a run ends --------------------------------------------------------------------------


@celery.task
def save(name: str) -> int:
    return save_member(name).id


@celery.task
def save_and_raise(name: str) -> NoReturn:
    save_member(name)
    raise ValueError("on purpose")


@celery.task(bind=True)
def save_and_retry(self: Task, name: str) -> int:
    save_member(f"{name} {self.request.retries}")
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return int(self.request.retries)


@celery.task
def save_and_ignore(name: str) -> NoReturn:
    save_member(name)
    tell(f"{name} ends")
    raise Ignore


@celery.task
def save_and_reject(name: str) -> NoReturn:
    save_member(name)
    tell(f"{name} ends")
    raise Reject("on purpose", requeue=False)


@celery.task
def save_and_wait(name: str) -> None:
    save_member(name)
    tell(f"{name} waits", os.getpid())
    wait_for(f"{name} goes on")


@celery.task
def save_and_tidy_up(name: str) -> str:
    save_member(name)
    try:
        wait_for(f"{name} goes on")
    except SoftTimeLimitExceeded:
        save_member(f"{name} tidied up")
    return "tidied up"


@celery.task
def save_and_fail_at_commit(name: str) -> None:
    save_member(name)
    Entry(amount=1, member_id=-1).save()


@celery.task
def save_and_run_out_of_time_at_commit(name: str) -> None:
    save_member(name)
    Entry(amount=1).save()  # a deferred trigger of the test's makes its COMMIT last


@celery.task
def save_and_swallow(name: str) -> str:
    save_member(name)
    try:
        save_member(name)
    except UniqueViolation:
        return "swallowed"
    return "no error"


@celery.task
def save_and_undo_a_savepoint(name: str) -> str:
    save_member(name)
    try:
        with atomic():
            save_member(f"{name} undone")
            save_member(name)
    except UniqueViolation:
        pass
    return "undone"


@celery.task
def save_and_commit(name: str) -> None:
    save_member(name)
    session.commit()


@celery.task
def save_and_doom(name: str) -> str:
    save_member(name)
    unit = current_unit()
    assert unit is not None
    unit.doom("on purpose")
    return "doomed"


@celery.task
def save_and_return_an_object(name: str) -> object:
    save_member(name)
    return object()


@celery.task(ignore_result=True)
def object_to_nobody(name: str) -> object:
    save_member(name)
    return object()


@celery.task
def save_and_fail_after_commit(name: str) -> None:
    count_run(name)
    save_member(f"{name} {redis.get(f'{name} runs')}")

    @on_commit(robust=False)
    def fail() -> NoReturn:
        raise LockTimeout("of something else, after the commit")


# -- what the worker holds -------------------------------------------------------------------


def held() -> dict[str, Any]:
    return {
        "session": session.registry.has(),
        "unit": current_unit() is not None,
        "connections": engine.pool.checkedout(),  # type: ignore[attr-defined]  # of a QueuePool
    }


@celery.task(base=Task)
def left() -> dict[str, Any]:
    """Look on from outside of any unit."""
    return held()


@celery.task
def first_use() -> dict[str, Any]:
    """Tell what the unit holds before the session is asked for."""
    unit = current_unit()
    assert unit is not None
    return held() | {"name": unit.name, "attempt": unit.attempt, "writes": unit.writes}


class WritesOutside(ActiveTask):
    """Its handlers write where no unit is open."""

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        save_member(f"{args[0]} on success")

    def after_return(self, *args: Any) -> None:
        save_member(f"{args[3][0]} after return")


@celery.task(base=WritesOutside)
def save_and_write_outside(name: str) -> None:
    save_member(name)


class WritesBefore(ActiveTask):
    """Leaves a write behind, for the unit of the task to begin on."""

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        save_member(f"{args[0]} before start")


@celery.task(base=WritesBefore)
def fail_after_a_handler_has_written(name: str) -> NoReturn:
    raise ValueError("on purpose")


@celery.task
def save_before_the_signals(name: str) -> None:
    save_member(name)


@task_postrun.connect(sender=save_before_the_signals)
def _write_after_everything(args: Any, **_: Any) -> None:
    save_member(f"{args[0]} after run")


@celery.task
def meet(name: str, number: int) -> int:
    """Save, wait until all others have saved as well, and let every second one fail."""
    save_member(f"{name} {number}")
    tell(f"{name} has met", session.scalar(BACKEND))
    wait_for(f"{name} {number} goes on")
    if number % 2:
        raise ValueError("on purpose")
    return number


@celery.task(bind=True)
def request_of(self: Task, name: str) -> dict[str, Any]:
    request = self.request
    if request.retries < 1:
        raise self.retry(countdown=0)
    names = ("id", "retries", "called_directly", "is_eager", "args", "correlation_id")
    return {each: getattr(request, each) for each in names}


# -- publishing ------------------------------------------------------------------------------


@celery.task
def count(name: str) -> int:
    return Member.query.filter(Member.name == name).count()


@celery.task
def save_and_publish(name: str) -> str:
    published = count.delay_on_commit(name)
    save_member(name)
    return str(published.id)


@celery.task
def publish_and_raise(name: str) -> NoReturn:
    tell(f"{name} publishes", count.delay_on_commit(name).id)
    save_member(name)
    raise ValueError("on purpose")


@celery.task
def publish_in_a_savepoint_that_fails(name: str) -> None:
    save_member(name)
    try:
        with atomic():
            tell(f"{name} publishes", count.delay_on_commit(name).id)
            raise ValueError("on purpose")
    except ValueError:
        pass


# -- the canvas ------------------------------------------------------------------------------


@celery.task
def save_numbered(number: int, name: str) -> int:
    save_member(f"{name} {number}")
    return number + 1


@celery.task
def save_sum(numbers: list[int], name: str) -> int:
    save_member(f"{name} sum")
    return sum(numbers)


@celery.task(bind=True)
def save_and_replace(self: Task, name: str) -> Any:
    save_member(f"{name} replaced")
    return self.replace(save_numbered.s(1, name))


# -- TransientError --------------------------------------------------------------------------


@celery.task
def lock_and_save(name: str) -> int:
    """Wait for a row's lock a moment only."""
    save_member(f"{name} got it")
    session.execute(text("SET LOCAL lock_timeout = '50ms'"))
    count_run(name)
    tell(f"{name} tries")
    Member.query.filter(Member.name == name).with_for_update().one()
    return int(redis.get(f"{name} runs"))


@celery.task
def save_entry(name: str) -> int:
    """Fail at COMMIT, if the test's trigger says so."""
    save_member(name)
    Entry(amount=1).save()
    return count_run(name)


@celery.task
def save_when_free(name: str) -> int:
    """Fail at the first write while the test holds SQLite's write lock."""
    run = count_run(name)
    tell(f"{name} tries")
    save_member(name)
    return run


@celery.task
def lose_the_connection_once(name: str) -> int:
    run = count_run(name)
    save_member(name)
    if run == 1:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    return run


@celery.task
def busy_once(number: int, name: str) -> int:
    save_member(f"{name} {number}")
    if count_run(f"{name} {number}") == 1:
        raise LockTimeout("busy")
    return number


@celery.task(bind=True, max_retries=1)
def fail_in_both_ways(self: Task, name: str) -> int:
    """Meet two busy locks, then ask for the one retry that the task has by itself."""
    run, unit = count_run(name), current_unit()
    assert unit is not None
    assert unit.attempt == run
    save_member(f"{name} {run}")
    if run <= 2:
        raise LockTimeout("busy")
    if run == 3:
        raise self.retry(countdown=0)
    return run


@celery.task(autoretry_for=(ValueError,), max_retries=3, retry_backoff=False, default_retry_delay=0)
def retry_by_itself(name: str, transient_first: bool = False) -> int:
    """Celery repeats it three times after a ValueError, whatever an earlier message met."""
    run = count_run(name)
    if transient_first and run == 1:
        raise LockTimeout("busy")
    if not transient_first and run <= 3:
        raise ValueError("on purpose")
    return run


# -- errors ----------------------------------------------------------------------------------


@celery.task
def fail_as(what: str, name: str) -> None:
    if what == "NotFoundError":
        Member.get_or_404(-1)
    elif what == "UniqueViolation":
        save_member(name)
        save_member(name)
    elif what == "NestedUnitError":
        with unit_of_work(durable=True):
            pass
    elif what == "UnknownAttributeError":
        Member.create(nmae=name)


# -- a parent with open connections ----------------------------------------------------------


def open_before_fork() -> None:
    """Leave in the parent what its children must not touch."""
    with engine.connect() as one, engine.connect() as two:
        one.execute(text("SELECT 1"))
        two.execute(text("SELECT 1"))
    # One of the two is in use when the children start, one is idle in the pool.
    unit_of_work().__enter__()
    save_member("of the parent")


if os.environ.get("TASKS_OPEN_BEFORE_FORK"):
    open_before_fork()
    tell("parent's backend", session.scalar(BACKEND))
