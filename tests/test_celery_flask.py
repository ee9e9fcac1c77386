"""`celery_init_app()`: tasks in the context, and on the database, of their Flask app."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, shared_task
from celery import current_app as current_celery
from flask import Flask, current_app, g, has_app_context
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine

from activebase import current_unit, session
from activebase.celery import ActiveTask, celery_init_app
from activebase.flask import ActiveBase
from tests.core import Undone, names, undone
from tests.databases import Database, fresh_sqlite
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures", "tests.celery_fixtures"]
pytestmark = pytest.mark.usefixtures("unconfigured", "celery_state")

EAGER = {"broker_url": "memory://", "task_always_eager": True, "task_eager_propagates": True}
MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app() -> Iterator[MakeApp]:
    """A function that makes a Flask app with a Celery app on a database: make_app(database)."""
    made: list[tuple[Flask, Engine]] = []

    def make(database: Database, *, kind: str = "own", name: str = "app", **celery: Any) -> Flask:
        app = Flask(name)
        app.config.update(SQLALCHEMY_DATABASE_URI=database.url, CELERY=EAGER | celery)
        if kind == "flask-sqlalchemy":
            SQLAlchemy().init_app(app)
        extension = ActiveBase(app)
        celery_init_app(app)
        with app.app_context():
            Base.metadata.create_all(extension.engine)
            made.append((app, extension.engine))
        return app

    yield make
    for app, engine in made:
        assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
        app.extensions["celery"].close()
        engine.dispose()


@pytest.fixture(params=["own", "flask-sqlalchemy"])
def app(request: pytest.FixtureRequest, make_app: MakeApp, database: Database) -> Flask:
    """An app on each kind of session."""
    return make_app(database, kind=request.param)


@pytest.fixture
def celery(app: Flask) -> Celery:
    found: Celery = app.extensions["celery"]
    return found


@pytest.fixture
def save(celery: Celery) -> ActiveTask:
    @celery.task
    def save(name: str) -> None:
        Member(name=name).save()

    return save


@pytest.fixture
def fail(celery: Celery) -> ActiveTask:
    @celery.task
    def fail(name: str) -> None:
        Member(name=name).save()
        raise Undone

    return fail


def test_the_celery_app_is_the_default_and_takes_its_settings(
    make_app: MakeApp, sqlite_database: Database
) -> None:
    app = make_app(sqlite_database, name="shop", task_default_queue="slow")
    celery = app.extensions["celery"]
    assert celery.main == "shop"
    assert celery.conf.task_default_queue == "slow"
    with ThreadPoolExecutor(1) as another_thread:
        assert another_thread.submit(current_celery._get_current_object).result() is celery

    @shared_task
    def shared() -> str:
        Member(name="ada").save()
        return current_app.name

    assert shared.delay().get() == "shop"
    assert names(sqlite_database) == ["ada"]


def test_an_app_without_celery_settings_gets_celerys_own() -> None:
    app = Flask("bare")
    celery = celery_init_app(app)
    assert celery.conf.task_always_eager is False
    celery.close()


def test_a_task_runs_in_an_app_context_of_its_own(app: Flask, celery: Celery) -> None:
    seen: list[Any] = []

    @app.teardown_appcontext
    def tear_down(error: BaseException | None) -> None:
        seen.append(error)

    @celery.task(bind=True)
    def look(self: ActiveTask) -> tuple[Any, ...]:
        g.mark = "of the task"
        return current_app.name, self.request.id, self.request.called_directly

    assert look.apply(task_id="mine").get() == ("app", "mine", False)
    assert look() == ("app", None, True)
    assert not has_app_context()
    with app.app_context():
        look.delay()
        assert "mark" not in g
    assert len(seen) == 4


def test_a_task_commits_to_the_database_of_its_app(save: ActiveTask, database: Database) -> None:
    save.delay("ada")
    save("bob")
    assert names(database) == ["ada", "bob"]
    assert current_unit() is None


def test_a_task_that_raises_leaves_no_row(fail: ActiveTask, database: Database) -> None:
    with undone():
        fail.delay("ada")
    with undone():
        fail("ada")
    assert names(database) == []
    assert not has_app_context()


def test_db_session_is_the_session_of_the_unit(make_app: MakeApp, database: Database) -> None:
    app = make_app(database, kind="flask-sqlalchemy")
    db = app.extensions["sqlalchemy"]

    @app.extensions["celery"].task
    def save() -> bool:
        db.session.add(Member(name="ada"))
        Member(name="bob").save()
        unit = current_unit()
        assert unit is not None
        return db.session() is session() is unit.session

    assert save.delay().get() is True
    assert sorted(names(database)) == ["ada", "bob"]


def test_the_row_is_committed_before_the_app_context_ends(
    app: Flask, celery: Celery, save: ActiveTask, database: Database
) -> None:
    seen: list[list[str]] = []
    app.teardown_appcontext(lambda error: seen.append(names(database)))
    save.delay("ada")
    assert seen == [["ada"]]


def test_each_app_has_its_own_database_whichever_came_last(
    make_app: MakeApp, tmp_path: Path
) -> None:
    with fresh_sqlite(tmp_path) as one, fresh_sqlite(tmp_path) as two:
        tasks = {}
        for name, database in (("one", one), ("two", two)):
            app = make_app(database, name=name)

            @app.extensions["celery"].task(name="save")
            def save(name: str) -> str:
                Member(name=name).save()
                return current_app.name

            tasks[name] = app, save
        assert tasks["one"][1].delay("first").get() == "one"
        assert tasks["two"][1].delay("second").get() == "two"
        with tasks["two"][0].app_context():
            assert tasks["one"][1].delay("third").get() == "one"
        assert (names(one), names(two)) == (["first", "third"], ["second"])


# -- in a request ----------------------------------------------------------------------------


def test_a_request_publishes_after_its_commit(
    app: Flask, celery: Celery, database: Database
) -> None:
    seen: list[list[str]] = []

    @celery.task
    def look(name: str) -> None:
        seen.append(names(database))
        Member(name=name).save()

    @app.post("/<int:status>")
    def view(status: int) -> Any:
        look.delay_on_commit(f"task {status}")
        Member(name=f"request {status}").save()
        return "", status

    client = app.test_client()
    assert client.post("/200").status_code == 200
    assert client.post("/400").status_code == 400
    assert seen == [["request 200"]]
    assert names(database) == ["request 200", "task 200"]


def test_a_task_in_a_request_joins_its_unit(
    app: Flask, save: ActiveTask, fail: ActiveTask, database: Database
) -> None:
    @app.post("/<int:status>")
    def view(status: int) -> Any:
        mine = session()
        save(f"called {status}")
        save.delay(f"eager {status}")
        with undone():
            fail.delay("bob")
        assert session() is mine
        assert [name for name in names(database) if name.endswith(str(status))] == []
        return "", status

    client = app.test_client()
    assert client.post("/400").status_code == 400
    assert names(database) == []
    assert client.post("/200").status_code == 200
    assert names(database) == ["called 200", "eager 200"]
