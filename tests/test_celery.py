"""ActiveTask in its caller's process: eager or called directly. tests/services/ has workers."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, group
from celery.exceptions import Ignore, Reject, Retry
from sqlalchemy import Engine

from activebase import atomic, current_unit, on_commit, session, unit_of_work
from activebase.celery import ActiveTask
from activebase.errors import (
    ForeignKeyViolation,
    LockTimeout,
    LostWritesError,
    StrayCommitError,
    UniqueViolation,
)
from tests.archive import Archive, Record, archive
from tests.core import Undone, names, on_sqlite, run_python, undone
from tests.databases import Database
from tests.models import Entry, Member

pytest_plugins = ["tests.core_fixtures", "tests.celery_fixtures"]
pytestmark = pytest.mark.usefixtures("engine", "celery_state")


@pytest.fixture
def save(celery: Celery) -> ActiveTask:
    @celery.task
    def save(name: str) -> int:
        return Member(name=name).save().id

    return save


@pytest.fixture
def fail(celery: Celery) -> ActiveTask:
    @celery.task
    def fail(name: str) -> None:
        Member(name=name).save()
        raise Undone

    return fail


Way = Callable[..., Any]


def by_apply(task: ActiveTask, *args: Any) -> Any:
    return task.apply(args, throw=True).get()


def by_delay(task: ActiveTask, *args: Any) -> Any:
    task.app.conf.update(task_always_eager=True, task_eager_propagates=True)
    return task.delay(*args).get(disable_sync_subtasks=False)


def by_call(task: ActiveTask, *args: Any) -> Any:
    return task(*args)


@pytest.fixture(params=[by_apply, by_delay, by_call])
def way(request: pytest.FixtureRequest) -> Way:
    """How a task is run in its caller's process."""
    found: Way = request.param
    return found


# -- outside of units ------------------------------------------------------------------------


def test_a_task_commits(way: Way, save: ActiveTask, database: Database) -> None:
    assert way(save, "ada") == 1
    assert names(database) == ["ada"]
    assert not session.registry.has()
    assert current_unit() is None


def test_a_task_that_raises_leaves_no_row(way: Way, fail: ActiveTask, database: Database) -> None:
    with undone():
        way(fail, "ada")
    assert names(database) == []
    assert not session.registry.has()


@pytest.mark.parametrize("end", [Ignore(), Reject(), SystemExit(1), KeyboardInterrupt()])
def test_whatever_leaves_a_task_rolls_back(
    celery: Celery, database: Database, end: BaseException
) -> None:
    @celery.task
    def leave() -> None:
        Member(name="ada").save()
        raise end

    with suppress(Reject, SystemExit, KeyboardInterrupt):
        leave.apply()
    assert names(database) == []
    assert current_unit() is None
    assert not session.registry.has()


def test_a_commit_that_fails_fails_the_task(way: Way, celery: Celery, database: Database) -> None:
    @celery.task
    def orphan() -> None:
        Member(name="ada").save()
        Entry(amount=1, member_id=-1).save()

    with pytest.raises(ForeignKeyViolation):
        way(orphan)
    assert names(database) == []


def test_the_guards_hold_in_a_task(way: Way, celery: Celery, database: Database) -> None:
    @celery.task
    def swallow() -> None:
        Member(name="ada").save()
        with pytest.raises(UniqueViolation):
            Member(name="ada").save()

    @celery.task
    def commit() -> None:
        Member(name="ada").save()
        session.commit()

    with pytest.raises(LostWritesError):
        way(swallow)
    with pytest.raises(StrayCommitError):
        way(commit)
    assert names(database) == []


def test_a_unit_bears_the_name_of_its_task_and_counts_its_runs(celery: Celery) -> None:
    seen = []

    @celery.task(bind=True, name="look")
    def look(self: Task) -> None:
        unit = current_unit()
        assert unit is not None
        seen.append((unit.name, unit.attempt))
        if self.request.retries < 1:
            raise self.retry(countdown=0)

    look.apply()
    assert seen == [("look", 1), ("look", 2)]


def test_a_task_without_database_work_makes_no_session(celery: Celery, engine: Engine) -> None:
    @celery.task
    def idle() -> bool:
        unit = current_unit()
        assert unit is not None
        return unit.has_session()

    assert idle.apply().get() is False


# -- inside a unit ---------------------------------------------------------------------------


def test_a_task_inside_a_unit_joins_it(way: Way, save: ActiveTask, database: Database) -> None:
    with undone(), unit_of_work():
        mine = session()
        way(save, "ada")
        assert session() is mine
        assert Member.query.count() == 1
        assert names(database) == []
        raise Undone
    assert names(database) == []
    with unit_of_work():
        Member(name="bob").save()
        way(save, "ada")
    assert names(database) == ["bob", "ada"]


def test_a_task_that_fails_inside_a_unit_undoes_only_its_own(
    way: Way, fail: ActiveTask, database: Database
) -> None:
    with unit_of_work() as unit:
        Member(name="ada").save()
        with undone():
            way(fail, "bob")
        Member(name="eve").save()
        assert unit.writes == 2
    assert names(database) == ["ada", "eve"]


def test_an_eager_result_that_nobody_looks_at_undoes_only_its_own(
    fail: ActiveTask, database: Database
) -> None:
    with unit_of_work():
        Member(name="ada").save()
        assert fail.apply(["bob"]).state == "FAILURE"
    assert names(database) == ["ada"]


def test_a_task_called_by_another_joins_it(
    way: Way, celery: Celery, save: ActiveTask, fail: ActiveTask, database: Database
) -> None:
    @celery.task
    def outer(inner_name: str) -> None:
        unit, mine = current_unit(), session()
        Member(name="ada").save()
        save("bob")
        with undone():
            fail("eve")
        assert (current_unit(), session()) == (unit, mine)
        if inner_name == "fails":
            raise Undone

    way(outer, "works")
    assert names(database) == ["ada", "bob"]
    database.execute("DELETE FROM member")
    with undone():
        way(outer, "fails")
    assert names(database) == []


def test_a_task_may_call_itself(way: Way, celery: Celery, database: Database) -> None:
    @celery.task(bind=True)
    def descend(self: Task, depth: int) -> int:
        Member(name=str(depth)).save()
        assert names(database) == []
        if depth:
            with atomic():
                return 1 + int(self(depth - 1))
        return 0

    assert way(descend, 3) == 3
    assert names(database) == ["3", "2", "1", "0"]


def test_the_tasks_of_a_group_join_a_unit_each_by_itself(
    save: ActiveTask, fail: ActiveTask, database: Database
) -> None:
    with unit_of_work():
        group([save.s("ada"), fail.s("bob"), save.s("eve")]).apply()
    assert names(database) == ["ada", "eve"]


def test_a_retry_inside_a_unit_leaves_the_last_run(celery: Celery, database: Database) -> None:
    @celery.task(bind=True)
    def again(self: Task) -> None:
        Member(name=f"run {self.request.retries}").save()
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    with unit_of_work():
        again.apply()
    assert names(database) == ["run 2"]


def test_a_retry_of_a_direct_call_raises_and_leaves_nothing(
    celery: Celery, database: Database
) -> None:
    @celery.task(bind=True)
    def again(self: Task) -> None:
        Member(name="ada").save()
        raise self.retry(countdown=0)

    with pytest.raises(Retry):
        again()
    assert names(database) == []


def test_a_task_that_is_called_in_a_callback_has_its_own_unit(
    way: Way, save: ActiveTask, database: Database
) -> None:
    with unit_of_work():
        Member(name="ada").save()
        on_commit(lambda: way(save, "bob"))
    assert names(database) == ["ada", "bob"]


# -- TransientError --------------------------------------------------------------------------


def test_a_transient_error_is_repeated_up_to_transient_retries(
    celery: Celery, database: Database
) -> None:
    runs = []

    @celery.task(transient_retries=2)
    def busy() -> None:
        runs.append(current_unit())
        Member(name=str(len(runs))).save()
        raise LockTimeout("busy")

    result = busy.apply()
    assert result.state == "FAILURE"
    assert isinstance(result.result, LockTimeout)
    assert len(set(runs)) == 3
    assert names(database) == []


def test_every_run_of_a_task_is_counted_once(celery: Celery) -> None:
    attempts = []

    @celery.task(bind=True, max_retries=1)
    def fail_in_both_ways(self: Task) -> str:
        unit = current_unit()
        assert unit is not None
        attempts.append(unit.attempt)
        if unit.attempt <= 2:
            raise LockTimeout("busy")
        if unit.attempt == 3:
            raise self.retry(countdown=0)
        return "done"

    assert fail_in_both_ways.apply().get() == "done"
    assert attempts == [1, 2, 3, 4]


def test_transient_retries_may_be_none_at_all(celery: Celery) -> None:
    runs = []

    @celery.task(transient_retries=0)
    def busy() -> None:
        runs.append(1)
        raise LockTimeout("busy")

    assert isinstance(busy.apply().result, LockTimeout)
    assert runs == [1]


def test_a_transient_error_inside_a_callers_unit_is_left_to_the_caller(
    way: Way, celery: Celery, database: Database
) -> None:
    runs = []

    @celery.task
    def busy() -> None:
        runs.append(1)
        raise LockTimeout("busy")

    @unit_of_work
    def call() -> None:
        Member(name="ada").save()
        way(busy)

    with pytest.raises(LockTimeout):
        call()
    assert runs == [1]
    assert names(database) == []


def test_an_error_of_a_callback_does_not_run_a_committed_task_again(
    celery: Celery, database: Database
) -> None:
    runs = []

    @celery.task
    def work() -> None:
        runs.append(1)
        Member(name=f"run {len(runs)}").save()

        @on_commit(robust=False)
        def fail() -> None:
            raise LockTimeout("of something else, after the commit")

    assert isinstance(work.apply().result, LockTimeout)
    assert names(database) == ["run 1"]


# -- results and requests --------------------------------------------------------------------


def test_an_eager_result_may_be_anything(celery: Celery, database: Database) -> None:
    @celery.task
    def member() -> Member:
        return Member(name="ada").save()

    assert member.apply().get().name == "ada"
    assert names(database) == ["ada"]


def test_an_eager_result_that_is_to_be_stored_is_checked_before_the_commit(
    celery: Celery, database: Database
) -> None:
    @celery.task(store_eager_result=True)
    def member() -> Member:
        return Member(name="ada").save()

    assert member.apply().state == "FAILURE"
    assert names(database) == []


def test_a_bound_task_sees_its_own_request(celery: Celery) -> None:
    @celery.task(bind=True)
    def look(self: Task) -> tuple[Any, ...]:
        return self.request.id, self.request.retries, self.request.called_directly

    assert look.apply(task_id="mine").get() == ("mine", 0, False)
    assert look() == (None, 0, True)


def test_task_cls_may_be_given_by_its_name(database: Database) -> None:
    app = Celery("named", task_cls="activebase.celery:ActiveTask", set_as_current=False)

    @app.task
    def save() -> None:
        Member(name="ada").save()

    save.apply()
    assert names(database) == ["ada"]
    app.close()


@on_sqlite
def test_a_task_may_be_for_another_session(
    celery: Celery, database: Database, engine: Engine
) -> None:
    Archive.metadata.create_all(engine)
    archive.configure(bind=engine)

    @celery.task(session=archive)
    def file_away() -> bool:
        Record(title="of the archive").save()
        return current_unit() is None and current_unit(archive) is not None

    assert file_away.apply().get() is True
    assert database.rows("SELECT title FROM record") == [("of the archive",)]
    assert not archive.registry.has()


LISTENING = """
import sys
from celery import Celery
from celery.signals import task_postrun, task_prerun
from activebase import configure, session
from activebase.celery import ActiveTask
from tests.models import Base, Member

engine = configure(f"sqlite:///{sys.argv[1]}/listening.db")
Base.metadata.create_all(engine)
app = Celery("listening", broker="memory://", task_cls=ActiveTask)

@app.task
def save():
    Member(name="ada").save()
    return Member.query.count()

assert save.apply().get() == 1
print(len(task_prerun.receivers), len(task_postrun.receivers))
Member.query.count()
print(len(task_prerun.receivers), len(task_postrun.receivers))
"""


def test_listens_to_tasks_once_a_session_is_used_outside_of_units(tmp_path: Path) -> None:
    done = run_python(LISTENING, str(tmp_path))
    assert done.stdout.split() == ["0", "0", "1", "1"], done.stderr


USED_BEFORE = """
from celery.signals import task_prerun
from activebase import configure, session
from sqlalchemy import text

configure("sqlite://")
session.execute(text("SELECT 1"))
import activebase.celery
print(len(task_prerun.receivers))
"""


def test_listens_to_tasks_if_a_session_was_used_before() -> None:
    done = run_python(USED_BEFORE)
    assert done.stdout.split() == ["1"], done.stderr
