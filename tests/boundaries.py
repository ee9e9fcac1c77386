"""Every boundary, behind one method: run a scenario, tell how it ended.

Each is set up the way a user would set it up.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import click
from celery import Celery
from click.testing import CliRunner
from flask import Flask, jsonify
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
from sqlalchemy import Engine

from activebase import configure, current_unit, session, unit_of_work
from activebase.celery import ActiveTask
from activebase.flask import ActiveBase
from tests import scenarios
from tests.click_boundary import UnitCommand
from tests.databases import Database
from tests.scenarios import SCENARIOS
from tests.witness import Witness
from tests.workers import celery_worker


@dataclass(frozen=True)
class Outcome:
    """How a unit ended, as its caller is told: what it returned, or the name of the error."""

    result: Any = None
    error: str | None = None


@dataclass(frozen=True)
class Boundary:
    """Runs scenarios by name. `left()` tells what the process still holds when none is running."""

    run: Callable[[str], Outcome]
    left: Callable[[], dict[str, Any]]


CLEAN = {"session": False, "unit": False, "connections": 0}


def left_in(engine: Engine) -> dict[str, Any]:
    scenarios.witness.flush()
    return {
        "session": session.registry.has(),
        "unit": current_unit() is not None,
        "connections": engine.pool.checkedout(),  # type: ignore[attr-defined]  # of a QueuePool
    }


def caught(function: Callable[[], Any]) -> Outcome:
    try:
        return Outcome(result=function())
    except Exception as error:
        return Outcome(error=type(error).__name__)


# -- scripts ---------------------------------------------------------------------------------


@contextmanager
def block(database: Database, **_: Any) -> Iterator[Boundary]:
    def run(name: str) -> Any:
        with unit_of_work():
            return SCENARIOS[name]()

    with configured(database) as engine:
        yield Boundary(lambda name: caught(lambda: run(name)), lambda: left_in(engine))


@contextmanager
def decorator(database: Database, **_: Any) -> Iterator[Boundary]:
    with configured(database) as engine:
        yield Boundary(lambda name: caught(unit_of_work(SCENARIOS[name])), lambda: left_in(engine))


@contextmanager
def click_command(database: Database, **_: Any) -> Iterator[Boundary]:
    @click.command(cls=UnitCommand)
    @click.argument("name")
    def command(name: str) -> Any:
        return SCENARIOS[name]()

    def run(name: str) -> Outcome:
        result = CliRunner().invoke(command, [name], standalone_mode=False)
        if result.exception is not None:
            return Outcome(error=type(result.exception).__name__)
        return Outcome(result=result.return_value)

    with configured(database) as engine:
        yield Boundary(run, lambda: left_in(engine))


@contextmanager
def configured(database: Database) -> Iterator[Engine]:
    """Give the global session the database, for as long as the block lasts."""
    engine = configure(database.url)
    try:
        yield engine
    finally:
        session.remove()
        engine.dispose()


# -- Flask -----------------------------------------------------------------------------------


@contextmanager
def flask_own_session(database: Database, **_: Any) -> Iterator[Boundary]:
    app = Flask("contract")
    app.config["ACTIVEBASE_DATABASE_URI"] = database.url
    extension = ActiveBase(app)
    with app.app_context():
        engine = extension.engine
    yield served(app, engine)
    engine.dispose()


@contextmanager
def flask_sqlalchemy(database: Database, **_: Any) -> Iterator[Boundary]:
    app = Flask("contract")
    app.config["SQLALCHEMY_DATABASE_URI"] = database.url
    db = SQLAlchemy()
    db.init_app(app)
    ActiveBase(app, db)
    with app.app_context():
        engine = db.engine
    yield served(app, engine)
    engine.dispose()


@contextmanager
def flask_sqlalchemy_lite(database: Database, **_: Any) -> Iterator[Boundary]:
    app = Flask("contract")
    app.config["SQLALCHEMY_ENGINES"] = {"default": database.url}
    db = SQLAlchemyLite()
    db.init_app(app)
    ActiveBase(app, db)
    with app.app_context():
        engine = db.engine
    yield served(app, engine)
    engine.dispose()


def served(app: Flask, engine: Engine) -> Boundary:
    @app.post("/<name>")
    def view(name: str) -> Any:
        return jsonify(SCENARIOS[name]())

    @app.errorhandler(Exception)
    def answer(error: Exception) -> Any:
        return jsonify(type(error).__name__), 500

    def run(name: str) -> Outcome:
        response = app.test_client().post(f"/{name}")
        if response.status_code == 200:
            return Outcome(result=response.json)
        return Outcome(error=response.json)

    return Boundary(run, lambda: left_in(engine))


# -- Celery ----------------------------------------------------------------------------------


def contract_celery(**settings: Any) -> Celery:
    """Return a Celery app with one task, which runs scenarios."""
    app = Celery("contract", task_cls=ActiveTask, set_as_current=False)
    app.conf.update(broker_connection_retry_on_startup=True, **settings)

    @app.task(name="run", shared=False)
    def run(name: str) -> Any:
        return SCENARIOS[name]()

    return app


def sent(app: Celery) -> Callable[[str], Outcome]:
    def run(name: str) -> Outcome:
        result = app.tasks["run"].delay(name)
        value = result.get(timeout=20, propagate=False)
        if result.successful():
            return Outcome(result=value)
        return Outcome(error=type(value).__name__)

    return run


@contextmanager
def celery_eager(database: Database, **_: Any) -> Iterator[Boundary]:
    app = contract_celery(task_always_eager=True, broker_url="memory://")
    with configured(database) as engine:
        yield Boundary(sent(app), lambda: left_in(engine))
    app.close()


@contextmanager
def celery_real_worker(
    database: Database, *, witness: Witness, redis_url: str, **_: Any
) -> Iterator[Boundary]:
    app = contract_celery(broker_url=redis_url, result_backend=redis_url)
    env = {
        "CONTRACT_DATABASE": database.url,
        "CONTRACT_DIRECTORY": str(witness.directory),
        "CONTRACT_REDIS": redis_url,
    }
    with celery_worker("tests.contract_worker", pool="solo", env=env):
        yield Boundary(sent(app), lambda: app.send_task("left").get(timeout=20))
    app.close()


BOUNDARIES: dict[str, Callable[..., AbstractContextManager[Boundary]]] = {
    "with block": block,
    "decorator": decorator,
    "click": click_command,
    "flask": flask_own_session,
    "flask-sqlalchemy": flask_sqlalchemy,
    "flask-sqlalchemy-lite": flask_sqlalchemy_lite,
    "celery eager": celery_eager,
    "celery worker": celery_real_worker,
}
