"""`delay_on_commit()` and `apply_async_on_commit()`, with a broker and eagerly."""

import logging
from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

import pytest
from celery import Celery
from kombu.exceptions import EncodeError
from sqlalchemy import Engine

from activebase import allow_commit, atomic, on_commit, read_only, session, unit_of_work
from activebase.celery import ActiveTask
from tests.core import Undone, names, on_sqlite, undone
from tests.databases import Database
from tests.models import Member

pytest_plugins = ["tests.core_fixtures", "tests.celery_fixtures"]
pytestmark = [on_sqlite, pytest.mark.usefixtures("engine")]


@pytest.fixture
def task(celery: Celery, redis_url: str, queue: str) -> ActiveTask:
    """A task that is published to a queue which nobody consumes."""
    celery.conf.update(broker_url=redis_url, task_default_queue=queue)

    @celery.task(name="task")
    def run(*args: Any, **kwargs: Any) -> None:
        Member(name=str(args[0])).save()

    return run


@pytest.fixture
def published(task: ActiveTask, celery: Celery, queue: str) -> Iterator[Callable[[], list[Any]]]:
    """A function that takes the messages that are there from the broker."""
    with celery.connection() as connection, connection.SimpleQueue(queue) as messages:

        def take() -> list[Any]:
            found: list[Any] = []
            try:
                while True:
                    found.append(messages.get(block=False))
            except Empty:
                return found

        yield take


Published = Callable[[], list[Any]]


def test_publishes_after_the_commit_under_the_id_that_was_given(
    task: ActiveTask, published: Published, database: Database
) -> None:
    with unit_of_work():
        result = task.delay_on_commit("ada", 1, key="value")
        Member(name="bob").save()
        on_commit(lambda: seen.append(names(database)))
        seen: list[Any] = []
        assert published() == []
    (message,) = published()
    assert seen == [["bob"]]
    assert message.headers["id"] == result.id
    assert message.headers["task"] == "task"
    assert message.payload[:2] == [["ada", 1], {"key": "value"}]


def test_publishes_nothing_on_a_rollback(task: ActiveTask, published: Published) -> None:
    with undone(), unit_of_work():
        task.delay_on_commit("ada")
        raise Undone
    with unit_of_work() as unit:
        task.delay_on_commit("ada")
        unit.doom("on purpose")
    with unit_of_work():
        with undone(), atomic():
            task.delay_on_commit("ada")
            raise Undone
        with atomic():
            kept = task.delay_on_commit("bob")
    assert [message.headers["id"] for message in published()] == [kept.id]


def test_publishes_in_the_order_of_the_calls_and_each_with_its_own_arguments(
    task: ActiveTask, published: Published
) -> None:
    with unit_of_work():
        ids = [task.delay_on_commit(number).id for number in range(3)]
    messages = published()
    assert [message.headers["id"] for message in messages] == ids
    assert [message.payload[0] for message in messages] == [[0], [1], [2]]


def test_publishes_the_arguments_as_they_were_at_the_call(
    task: ActiveTask, published: Published
) -> None:
    args, kwargs = [1], {"a": 1}
    with unit_of_work():
        task.apply_async_on_commit(args, kwargs)
        args.append(2)
        kwargs["b"] = 2
    assert [message.payload[:2] for message in published()] == [[[1], {"a": 1}]]


def test_publishes_what_was_inside_the_arguments_at_the_call(
    task: ActiveTask, published: Published
) -> None:
    order = {"ids": [1]}
    with unit_of_work():
        task.delay_on_commit(order, order=order)
        order["ids"].append(2)
    assert [message.payload[:2] for message in published()] == [
        [[{"ids": [1]}], {"order": {"ids": [1]}}]
    ]


def test_refuses_at_the_call_what_could_not_be_published_later(
    celery: Celery, task: ActiveTask, published: Published, database: Database
) -> None:
    @celery.task
    def strict(one: int, *, two: int) -> None:
        pass

    @unit_of_work
    def save_and(publish: Callable[..., Any], *args: Any) -> None:
        member = Member(name="ada").save()
        publish(*args or (member,))

    with pytest.raises(TypeError, match="two"):
        save_and(strict.delay_on_commit, 1)
    with pytest.raises(EncodeError):
        save_and(task.delay_on_commit)
    assert names(database) == []
    assert published() == []


def test_publishes_tasks_that_are_classes_and_those_that_check_nothing(
    celery: Celery, task: ActiveTask, published: Published
) -> None:
    class AsClass(ActiveTask):
        name = "as a class"

        def run(self, one: int) -> None:
            pass

    @celery.task(name="loose", typing=False)
    def loose() -> None:
        pass

    with unit_of_work():
        celery.register_task(AsClass()).delay_on_commit(1)
        loose.delay_on_commit("more than it takes")
    sent = [message.headers["task"] for message in published()]
    assert sent == ["as a class", "loose"]


def test_takes_the_options_of_apply_async(
    task: ActiveTask, published: Published, celery: Celery, queue: str
) -> None:
    celery.conf.update(task_default_queue="another queue")
    with unit_of_work():
        result = task.apply_async_on_commit(
            ["ada"],
            queue=queue,
            task_id="mine",
            countdown=60,
            headers={"who": "me"},
            priority=3,
            soft_time_limit=5,
            ignore_result=True,
        )
    (message,) = published()
    assert (result.id, message.headers["id"]) == ("mine", "mine")
    assert message.headers["eta"] is not None
    assert message.headers["who"] == "me"
    assert message.headers["timelimit"] == [None, 5]
    assert message.headers["ignore_result"] is True
    assert message.properties["priority"] == 3


def test_may_be_called_without_any_arguments(task: ActiveTask, published: Published) -> None:
    with unit_of_work():
        task.apply_async_on_commit()
        task.delay_on_commit()
    assert [message.payload[:2] for message in published()] == [[[], {}], [[], {}]]


def test_publishes_at_once_outside_of_a_unit(task: ActiveTask, published: Published) -> None:
    result = task.delay_on_commit("ada")
    assert [message.headers["id"] for message in published()] == [result.id]


def test_waits_for_the_transaction_of_a_session_without_a_unit(
    task: ActiveTask, published: Published
) -> None:
    Member(name="ada").save()
    task.delay_on_commit("bob")
    assert published() == []
    session.commit()
    assert len(published()) == 1
    Member(name="eve").save()
    task.delay_on_commit("eve")
    session.rollback()
    assert published() == []


def test_publishes_from_a_read_only_unit(task: ActiveTask, published: Published) -> None:
    with read_only():
        task.delay_on_commit("ada")
        assert published() == []
    assert len(published()) == 1


def test_waits_for_the_boundary_where_a_commit_is_allowed(
    task: ActiveTask, published: Published
) -> None:
    with unit_of_work():
        task.delay_on_commit("ada")
        Member(name="bob").save()
        with allow_commit():
            session.commit()
        assert published() == []
    assert len(published()) == 1


def test_a_broker_that_is_down_is_logged_and_the_commit_stands(
    task: ActiveTask, celery: Celery, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    celery.conf.update(
        broker_url="redis://127.0.0.1:1/0", broker_transport_options={"max_retries": 0}
    )
    with unit_of_work():
        Member(name="ada").save()
        task.delay_on_commit("bob")
    assert names(database) == ["ada"]
    (record,) = [each for each in caplog.records if each.name == "activebase"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "is committed, but a callback failed" in record.message


# -- eagerly ---------------------------------------------------------------------------------


def test_an_eager_task_runs_after_the_commit_in_a_unit_of_its_own(
    task: ActiveTask, celery: Celery, database: Database
) -> None:
    celery.conf.update(task_always_eager=True)
    seen = []

    @celery.task(bind=True)
    def look(self: ActiveTask) -> None:
        seen.append((self.request.id, names(database)))
        Member(name="bob").save()

    with unit_of_work():
        result = look.delay_on_commit()
        Member(name="ada").save()
        assert seen == []
    assert seen == [(result.id, ["ada"])]
    assert names(database) == ["ada", "bob"]


def test_an_eager_task_that_fails_after_the_commit_leaves_the_commit(
    celery: Celery, database: Database, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    celery.conf.update(task_always_eager=True, task_eager_propagates=True)

    @celery.task
    def fail() -> None:
        Member(name="bob").save()
        raise Undone

    with unit_of_work():
        fail.delay_on_commit()
        Member(name="ada").save()
    assert names(database) == ["ada"]
    assert "is committed, but a callback failed" in caplog.text


def test_eager_tasks_publish_one_another(celery: Celery, database: Database) -> None:
    celery.conf.update(task_always_eager=True)

    @celery.task
    def count_down(number: int) -> None:
        if number:
            count_down.delay_on_commit(number - 1)
        Member(name=f"{number} after {len(names(database))}").save()

    count_down.delay_on_commit(3)
    assert names(database) == ["3 after 0", "2 after 1", "1 after 2", "0 after 3"]
