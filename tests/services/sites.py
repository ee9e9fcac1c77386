"""A worker, its database and its broker, as a test sees them from outside."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from celery import Celery, Signature
from celery.result import AsyncResult
from redis import Redis
from sqlalchemy import create_engine

from tests.databases import Database
from tests.models import Base
from tests.workers import Worker, celery_worker


@dataclass(frozen=True, kw_only=True)
class Site:
    """Sends tasks by name, without importing them, as another service would."""

    worker: Worker
    database: Database
    redis: "Redis[str]"
    client: Celery
    module: str
    queue: str

    def send(self, task: str, *args: Any, **options: Any) -> AsyncResult:
        return self.client.send_task(f"{self.module}.{task}", args=args, **options)

    def signature(self, task: str, *args: Any, **kwargs: Any) -> Signature:
        name = f"{self.module}.{task}"
        return self.client.signature(name, args, kwargs, options={"queue": self.queue})

    def run(self, task: str, *args: Any, **options: Any) -> Any:
        """Return the task's result; raise its error."""
        return self.send(task, *args, **options).get(timeout=30)

    def error_of(self, task: str, *args: Any, **options: Any) -> str:
        """Return the name of the error that the task is a FAILURE with."""
        return failure(self.send(task, *args, **options))

    def result(self, task_id: str) -> AsyncResult:
        return self.client.AsyncResult(task_id)

    def told(self, key: str) -> str:
        """Wait for what a task tells."""
        found = self.redis.blpop([key], timeout=20)
        assert found, f"nobody told {key!r}:\n{self.worker.log}"
        return found[1]

    def tell(self, key: str) -> None:
        self.redis.rpush(key, "")

    def runs(self, name: str) -> int:
        return int(self.redis.get(f"{name} runs") or 0)

    def members(self, name: str) -> list[str]:
        """Return the committed members whose name begins so, without that beginning."""
        rows = self.database.rows(f"SELECT name FROM member WHERE name LIKE '{name}%' ORDER BY id")
        return [str(row[0]).removeprefix(name).strip() for row in rows]

    def works(self) -> bool:
        """Tell whether the next task runs, finds a clean worker, and its row is there."""
        name = uuid4().hex
        assert self.run("left") == {"session": False, "unit": False, "connections": 0}
        self.run("save", name)
        return self.members(name) == [""]


def failure(result: AsyncResult) -> str:
    error = result.get(timeout=30, propagate=False)
    assert result.state == "FAILURE", f"{result.state}: {error!r}"
    return type(error).__name__


@contextmanager
def site(
    database: Database,
    redis_url: str,
    *,
    pool: str,
    concurrency: int = 1,
    broker_url: str | None = None,
    queue: str | None = None,
    module: str = "tests.services.tasks_app",
    env: dict[str, str] | None = None,
) -> Iterator[Site]:
    """Run a worker on an empty schema."""
    engine = create_engine(database.url)
    Base.metadata.create_all(engine)
    engine.dispose()
    queue = queue or f"{pool}-{uuid4().hex[:8]}"
    broker_url = broker_url or redis_url
    client = Celery("client", set_as_current=False)
    client.conf.update(broker_url=broker_url, result_backend=redis_url, task_default_queue=queue)
    settings = {
        "TASKS_BROKER": broker_url,
        "TASKS_REDIS": redis_url,
        "TASKS_QUEUE": queue,
        "TASKS_DATABASE": database.url,
    }
    with (
        Redis.from_url(redis_url, decode_responses=True) as redis,
        celery_worker(
            module, pool=pool, concurrency=concurrency, queue=queue, env=settings | (env or {})
        ) as worker,
    ):
        try:
            yield Site(
                worker=worker,
                database=database,
                redis=redis,
                client=client,
                module=module,
                queue=queue,
            )
        finally:
            client.backend.result_consumer.stop()
            # A result that outlives this, as one of a failed test, would connect again.
            client.backend.result_consumer._pubsub = None
            client.backend.client.connection_pool.disconnect()
            client.close()
