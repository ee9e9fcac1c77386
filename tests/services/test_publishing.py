"""Tasks that are published after the commit, or not at all; retries; the canvas."""

import pytest
from celery import chain, chord, group

from tests.services.conftest import OpenSite
from tests.services.sites import Site, failure


def test_a_task_sees_the_row_that_its_publication_waited_for(worker: Site, name: str) -> None:
    published = worker.result(worker.run("save_and_publish", name))
    assert published.get(timeout=20) == 1


@pytest.mark.parametrize(
    ("task", "rows"), [("publish_and_raise", []), ("publish_in_a_savepoint_that_fails", [""])]
)
def test_a_rollback_publishes_nothing(worker: Site, name: str, task: str, rows: list[str]) -> None:
    worker.send(task, name)
    dropped = worker.result(worker.told(f"{name} publishes"))
    assert worker.works()  # it would have come after the dropped one
    assert dropped.state == "PENDING"
    assert worker.members(name) == rows


def test_the_tasks_of_a_chain_are_a_unit_each(worker: Site, name: str) -> None:
    save = worker.signature("save_numbered", name=name)
    first = worker.signature("save_numbered", 1, name=name)
    assert chain(first, save.clone(), save.clone(), app=worker.client)().get(timeout=20) == 4
    assert worker.members(name) == ["1", "2", "3"]
    failing = chain(
        worker.signature("save_numbered", 11, name=name),
        worker.signature("save_and_raise", f"{name} failed").set(immutable=True),
        worker.signature("save_numbered", 13, name=name).set(immutable=True),
        app=worker.client,
    )()
    assert failure(failing.parent) == "ValueError"
    assert worker.works()
    assert worker.members(name) == ["1", "2", "3", "11"]


def test_the_tasks_of_a_group_are_a_unit_each(worker: Site, name: str) -> None:
    tasks = [worker.signature("save_numbered", number, name=name) for number in (1, 2)]
    failing = worker.signature("save_and_raise", f"{name} failed")
    result = group([*tasks, failing], app=worker.client)()
    values = result.get(timeout=20, propagate=False)
    assert values[:2] == [2, 3]
    assert type(values[2]).__name__ == "ValueError"
    assert worker.members(name) == ["1", "2"]


def test_the_body_of_a_chord_runs_after_all_commits(worker: Site, name: str) -> None:
    tasks = [worker.signature("save_numbered", number, name=name) for number in (1, 2)]
    result = chord(tasks, app=worker.client)(worker.signature("save_sum", name=name))
    assert result.get(timeout=20) == 5
    assert worker.members(name) == ["1", "2", "sum"]


def test_a_replaced_task_leaves_no_row_and_its_replacement_does(worker: Site, name: str) -> None:
    assert worker.run("save_and_replace", name) == 2
    assert worker.members(name) == ["1"]
    assert worker.works()


# -- TransientError --------------------------------------------------------------------------


@pytest.fixture
def postgres_worker(open_site: OpenSite, pool: str) -> Site:
    return open_site(pool, "postgresql")


@pytest.fixture
def sqlite_worker(open_site: OpenSite, pool: str) -> Site:
    return open_site(pool, "sqlite")


def test_a_task_is_run_again_until_the_lock_is_free(postgres_worker: Site, name: str) -> None:
    worker = postgres_worker
    worker.run("save", name)
    worker.database.execute("BEGIN")
    try:
        worker.database.execute(f"SELECT 1 FROM member WHERE name = '{name}' FOR UPDATE")
        result = worker.send("lock_and_save", name)
        for _ in range(2):
            worker.told(f"{name} tries")
    finally:
        worker.database.execute("ROLLBACK")
    assert 2 <= result.get(timeout=20) <= 4
    assert worker.members(name) == ["", "got it"]


def test_a_task_fails_once_the_lock_was_busy_four_times(postgres_worker: Site, name: str) -> None:
    worker = postgres_worker
    worker.run("save", name)
    worker.database.execute("BEGIN")
    try:
        worker.database.execute(f"SELECT 1 FROM member WHERE name = '{name}' FOR UPDATE")
        assert worker.error_of("lock_and_save", name) == "LockTimeout"
    finally:
        worker.database.execute("ROLLBACK")
    assert worker.runs(name) == 4
    assert worker.members(name) == [""]
    assert worker.works()


def test_a_task_is_run_again_until_sqlite_is_free(sqlite_worker: Site, name: str) -> None:
    worker = sqlite_worker
    worker.database.execute("BEGIN IMMEDIATE")
    try:
        result = worker.send("save_when_free", name)
        for _ in range(2):
            worker.told(f"{name} tries")
    finally:
        worker.database.execute("ROLLBACK")
    assert 2 <= result.get(timeout=20) <= 4
    assert worker.members(name) == [""]
    assert worker.works()


@pytest.mark.parametrize(("failures", "runs"), [(2, 3), (9, 4)])
def test_a_task_is_run_again_after_a_commit_that_could_not_be_serialised(
    postgres_worker: Site, name: str, failures: int, runs: int
) -> None:
    database = postgres_worker.database
    database.execute("CREATE SEQUENCE attempt")  # which no rollback takes back
    database.execute(
        "CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('attempt') <= {failures} THEN RAISE EXCEPTION 'collision'"
        " USING ERRCODE = '40001'; END IF; RETURN NULL; END $$"
    )
    database.execute(
        "CREATE CONSTRAINT TRIGGER collide AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION collide()"
    )
    try:
        result = postgres_worker.send("save_entry", name)
        value = result.get(timeout=20, propagate=False)
    finally:
        database.execute("DROP FUNCTION collide CASCADE")
        database.execute("DROP SEQUENCE attempt")
    assert postgres_worker.runs(name) == runs
    if failures < runs:
        assert value == runs
        assert postgres_worker.members(name) == [""]
    else:
        assert type(value).__name__ == "SerializationFailure"
        assert postgres_worker.members(name) == []
    assert postgres_worker.works()


def test_a_task_is_run_again_when_its_connection_is_lost(postgres_worker: Site, name: str) -> None:
    assert postgres_worker.run("lose_the_connection_once", name) == 2
    assert postgres_worker.members(name) == [""]
    assert postgres_worker.works()


def test_a_task_that_is_run_again_keeps_its_place_in_a_chord(worker: Site, name: str) -> None:
    tasks = [worker.signature("busy_once", number, name=name) for number in (1, 2)]
    result = chord(tasks, app=worker.client)(worker.signature("save_sum", name=name))
    assert result.get(timeout=20) == 3
    assert sorted(worker.members(name)) == ["1", "2", "sum"]
    assert [worker.runs(f"{name} {number}") for number in (1, 2)] == [2, 2]


def test_transient_errors_do_not_use_up_the_retries_of_the_task(worker: Site, name: str) -> None:
    assert worker.run("fail_in_both_ways", name) == 4
    assert worker.members(name) == ["4"]


def test_a_transient_error_does_not_change_the_retries_of_later_messages(
    worker: Site, name: str
) -> None:
    assert worker.run("retry_by_itself", f"{name} a", True) == 2
    assert worker.run("retry_by_itself", f"{name} b") == 4
