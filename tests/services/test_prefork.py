"""What can only befall a process: time limits, signals, and a parent that it was forked from."""

import os
import signal
from pathlib import Path

from tests.databases import Database
from tests.services.conftest import OpenSite
from tests.services.sites import Site, failure, site


def test_a_soft_time_limit_leaves_no_row(prefork: Site, name: str) -> None:
    result = prefork.send("save_and_wait", name, soft_time_limit=1)
    prefork.told(f"{name} waits")
    assert failure(result) == "SoftTimeLimitExceeded"
    assert prefork.members(name) == []
    assert prefork.works()


def test_a_task_may_tidy_up_when_its_time_is_over(prefork: Site, name: str) -> None:
    assert prefork.run("save_and_tidy_up", name, soft_time_limit=1) == "tidied up"
    assert prefork.members(name) == ["", "tidied up"]
    assert prefork.works()


def test_a_hard_time_limit_leaves_no_row(prefork: Site, name: str) -> None:
    result = prefork.send("save_and_wait", name, time_limit=1)
    prefork.told(f"{name} waits")
    assert failure(result) == "TimeLimitExceeded"
    assert prefork.members(name) == []
    assert prefork.works()


def test_a_terminated_task_leaves_no_row(prefork: Site, name: str) -> None:
    result = prefork.send("save_and_wait", name)
    prefork.told(f"{name} waits")
    prefork.client.control.revoke(result.id, terminate=True, destination=[prefork.worker.name])
    prefork.worker.wait_for_log(f"Terminating {result.id}")
    prefork.tell(f"{name} goes on")  # whoever is still alive may finish now
    assert prefork.works()
    assert result.state == "REVOKED"
    assert prefork.members(name) == []


def test_a_killed_process_leaves_no_row(prefork: Site, name: str) -> None:
    result = prefork.send("save_and_wait", name)
    os.kill(int(prefork.told(f"{name} waits")), signal.SIGKILL)
    assert failure(result) == "WorkerLostError"
    assert prefork.members(name) == []
    assert prefork.works()


def test_a_time_limit_during_commit_does_not_fail_a_task_whose_row_is_there(
    open_site: OpenSite, name: str
) -> None:
    prefork = open_site("prefork", "postgresql")
    prefork.database.execute(
        "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql"
        " AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END'"
    )
    prefork.database.execute(
        "CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON entry DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION dawdle()"
    )
    try:
        result = prefork.send("save_and_run_out_of_time_at_commit", name, soft_time_limit=1)
        error = result.get(timeout=20, propagate=False)
    finally:
        prefork.database.execute("DROP TRIGGER dawdle ON entry")  # waits for the COMMIT
        prefork.database.execute("DROP FUNCTION dawdle")
    # The outcome of an interrupted COMMIT can't be known: nobody may be told that it failed.
    assert prefork.members(name) == [] or type(error).__name__ == "CommitUnknownError"
    assert prefork.works()


def test_a_killed_worker_leaves_no_row_and_no_lock(
    database: Database, redis_url: str, name: str, tmp_path: Path
) -> None:
    with site(database, redis_url, pool="prefork", concurrency=2) as killed:
        killed.send("save_and_wait", name)
        killed.told(f"{name} waits")
        killed.worker.kill()
        assert killed.members(name) == []
    with site(database, redis_url, pool="solo", queue=killed.queue) as next_one:
        assert next_one.works()
        assert next_one.members(name) == []


def test_forked_processes_share_no_connection_and_no_unit_with_their_parent(
    postgres_database: Database, redis_url: str, name: str
) -> None:
    env = {"TASKS_OPEN_BEFORE_FORK": "1"}
    with site(postgres_database, redis_url, pool="prefork", concurrency=3, env=env) as forked:
        parent = int(forked.told("parent's backend"))
        results = [forked.send("meet", name, number) for number in (0, 2, 4)]
        backends = {int(forked.told(f"{name} has met")) for _ in results}
        for number in (0, 2, 4):
            forked.tell(f"{name} {number} goes on")
        assert sorted(result.get(timeout=20) for result in results) == [0, 2, 4]
        assert len(backends) == 3
        assert parent not in backends
        assert sorted(forked.members(name)) == ["0", "2", "4"]
        assert forked.members("of the parent") == []
        assert forked.works()
        # The parent's transaction is as its children found it.
        of_parent = f"SELECT state FROM pg_stat_activity WHERE pid = {parent}"
        assert forked.database.scalar(of_parent) == "idle in transaction"
