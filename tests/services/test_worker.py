"""A real worker: how a run may end, and what it leaves: everything or nothing."""

import pytest
from celery import chord
from celery.result import AsyncResult

from tests.services.sites import Site, failure

CLEAN = {"session": False, "unit": False, "connections": 0}


def test_a_task_that_returns_leaves_its_row(worker: Site, name: str) -> None:
    worker.run("save", name)
    assert worker.members(name) == [""]
    assert worker.works()


def test_a_task_that_raises_leaves_no_row(worker: Site, name: str) -> None:
    assert worker.error_of("save_and_raise", name) == "ValueError"
    assert worker.members(name) == []
    assert worker.works()


def test_a_task_that_retries_leaves_the_row_of_its_last_run(worker: Site, name: str) -> None:
    assert worker.run("save_and_retry", name) == 2
    assert worker.members(name) == ["2"]
    assert worker.works()


@pytest.mark.parametrize("task", ["save_and_ignore", "save_and_reject"])
def test_a_task_that_is_ignored_or_rejected_leaves_no_row(
    worker: Site, name: str, task: str
) -> None:
    result = worker.send(task, name)
    worker.told(f"{name} ends")
    assert worker.works()
    assert worker.members(name) == []
    assert result.state != "SUCCESS"


def test_a_commit_that_fails_is_a_failure(worker: Site, name: str) -> None:
    assert worker.error_of("save_and_fail_at_commit", name) == "ForeignKeyViolation"
    assert worker.members(name) == []
    assert worker.database.scalar("SELECT count(*) FROM entry WHERE member_id = -1") == 0
    assert worker.works()


def test_a_swallowed_database_error_after_a_save_is_a_failure(worker: Site, name: str) -> None:
    assert worker.error_of("save_and_swallow", name) == "LostWritesError"
    assert worker.members(name) == []
    assert worker.works()


def test_an_error_inside_a_savepoint_undoes_the_savepoint_only(worker: Site, name: str) -> None:
    assert worker.run("save_and_undo_a_savepoint", name) == "undone"
    assert worker.members(name) == [""]


def test_a_commit_by_the_task_itself_is_refused(worker: Site, name: str) -> None:
    assert worker.error_of("save_and_commit", name) == "StrayCommitError"
    assert worker.members(name) == []
    assert worker.works()


def test_a_doomed_unit_is_a_success_without_a_row(worker: Site, name: str) -> None:
    assert worker.run("save_and_doom", name) == "doomed"
    assert worker.members(name) == []


def test_an_error_after_the_commit_is_a_failure_that_is_not_run_again(
    worker: Site, name: str
) -> None:
    assert worker.error_of("save_and_fail_after_commit", name) == "LockTimeout"
    assert worker.members(name) == ["1"]
    assert worker.runs(name) == 1


# -- results ---------------------------------------------------------------------------------


def test_a_result_that_cannot_be_stored_fails_the_task_before_its_commit(
    worker: Site, name: str
) -> None:
    assert worker.error_of("save_and_return_an_object", name) == "EncodeError"
    assert worker.members(name) == []
    assert worker.works()


def test_a_result_that_nobody_stores_may_be_anything(worker: Site, name: str) -> None:
    worker.send("save_and_return_an_object", name, ignore_result=True)
    assert worker.works()
    assert worker.members(name) == [""]


def test_a_result_is_checked_where_the_caller_asks_for_one_that_the_task_ignores(
    worker: Site, name: str
) -> None:
    result = worker.send("object_to_nobody", name, ignore_result=False)
    assert failure(result) == "EncodeError"
    assert worker.members(name) == []


def test_a_result_is_checked_where_another_task_needs_it(worker: Site, name: str) -> None:
    after = worker.signature("save", name=f"{name} after")
    worker.send("object_to_nobody", name, link=after)
    assert worker.works()
    assert worker.members(name) == []


def test_a_result_is_checked_where_a_chord_needs_it(worker: Site, name: str) -> None:
    body = worker.signature("save_sum", name=f"{name} after")
    chord([worker.signature("object_to_nobody", name)], app=worker.client)(body)
    assert worker.works()
    assert worker.members(name) == []


# -- what a run leaves in the worker ---------------------------------------------------------


def test_a_unit_holds_nothing_until_its_session_is_asked_for(worker: Site) -> None:
    name = f"{worker.module}.first_use"
    held = {"session": False, "unit": True, "connections": 0}
    assert worker.run("first_use") == held | {"name": name, "attempt": 1, "writes": 0}
    assert worker.run("left") == CLEAN


def test_what_a_handler_writes_outside_of_a_unit_is_lost_with_a_warning(
    worker: Site, name: str
) -> None:
    worker.run("save_and_write_outside", name)
    worker.worker.wait_for_log("2 writes were flushed but never committed when the thread")
    assert worker.works()
    assert worker.members(name) == [""]


def test_what_a_handler_wrote_before_a_failed_task_does_not_reach_the_next(
    worker: Site, name: str
) -> None:
    worker.error_of("fail_after_a_handler_has_written", name)
    assert worker.works()
    assert worker.members(name) == []


def test_what_a_signal_handler_wrote_after_a_task_does_not_reach_the_next(
    worker: Site, name: str
) -> None:
    worker.run("save_before_the_signals", name)
    worker.run("save", f"{name} next")
    assert worker.works()
    assert worker.members(name) == ["", "next"]


def test_a_task_sees_its_own_request(worker: Site, name: str) -> None:
    result: AsyncResult = worker.send("request_of", name)
    assert result.get(timeout=20) == {
        "id": result.id,
        "correlation_id": result.id,
        "retries": 1,
        "called_directly": False,
        "is_eager": False,
        "args": [name],
    }


@pytest.mark.parametrize(
    "error", ["NotFoundError", "UniqueViolation", "NestedUnitError", "UnknownAttributeError"]
)
def test_our_errors_come_back_through_the_result_backend(
    worker: Site, name: str, error: str
) -> None:
    result = worker.send("fail_as", error, name)
    assert failure(result) == error
    assert type(result.result).__module__ == "activebase.errors"
    assert str(result.result)
