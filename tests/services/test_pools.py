"""The pools side by side: units that run at once keep apart, and a smoke test of each."""

import pytest

from tests.databases import Database
from tests.services.sites import Site, site


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_units_that_run_at_once_keep_apart(
    postgres_database: Database, redis_url: str, name: str, pool: str
) -> None:
    with site(postgres_database, redis_url, pool=pool, concurrency=4) as together:
        results = [together.send("meet", name, number) for number in range(4)]
        backends = {int(together.told(f"{name} has met")) for _ in results}
        assert len(backends) == 4
        assert together.members(name) == []
        for number in range(4):
            together.tell(f"{name} {number} goes on")
            results[number].get(timeout=20, propagate=False)
        assert [result.state for result in results] == ["SUCCESS", "FAILURE"] * 2
        assert sorted(together.members(name)) == ["0", "2"]
        keeps_the_promise(together, f"{name} then")


def test_a_solo_worker_keeps_the_promise(
    postgres_database: Database, redis_url: str, name: str
) -> None:
    with site(postgres_database, redis_url, pool="solo") as worker:
        keeps_the_promise(worker, name)


def test_rabbitmq_carries_the_tasks(
    sqlite_database: Database, redis_url: str, rabbitmq_url: str, queue: str, name: str
) -> None:
    with site(
        sqlite_database, redis_url, pool="threads", broker_url=rabbitmq_url, queue=queue
    ) as rabbit:
        keeps_the_promise(rabbit, name)
        rabbit.worker.kill()


def keeps_the_promise(worker: Site, name: str) -> None:
    assert worker.error_of("save_and_raise", name) == "ValueError"
    assert worker.error_of("save_and_swallow", name) == "LostWritesError"
    assert worker.error_of("save_and_fail_at_commit", name) == "ForeignKeyViolation"
    assert worker.run("save_and_retry", f"{name} r") == 2
    published = worker.result(worker.run("save_and_publish", f"{name} p"))
    assert published.get(timeout=20) == 1
    assert worker.members(name) == ["r 2", "p"]
    assert worker.works()
