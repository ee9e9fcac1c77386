"""A Flask app on Flask-SQLAlchemy with tasks, as its worker loads it."""

import os
from typing import Any, NoReturn

from celery import Task
from flask import Flask, current_app
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase

from activebase import current_unit, session
from activebase.celery import celery_init_app
from activebase.flask import ActiveBase
from tests.models import Member


class Model(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Model)
shop = Flask("shop")
shop.config.update(
    SQLALCHEMY_DATABASE_URI=os.environ["TASKS_DATABASE"],
    CELERY={
        "broker_url": os.environ["TASKS_BROKER"],
        "result_backend": os.environ["TASKS_REDIS"],
        "task_default_queue": os.environ["TASKS_QUEUE"],
        "broker_connection_retry_on_startup": True,
    },
)
db.init_app(shop)
ActiveBase(shop, db)
celery = celery_init_app(shop)
with shop.app_context():
    Member.query.count()  # the worker's processes are forked from one with a connection


@celery.task
def save(name: str) -> str:
    db.session.add(Member(name=name))
    assert db.session() is session()
    return current_app.name


@celery.task
def save_and_raise(name: str) -> NoReturn:
    Member(name=name).save()
    raise ValueError("on purpose")


@celery.task
def count(name: str) -> int:
    return Member.query.filter(Member.name == name).count()


@celery.task
def save_and_publish(name: str) -> str:
    published = count.delay_on_commit(name)
    save(name)  # called directly: joins
    return str(published.id)


@celery.task(base=Task)
def left() -> dict[str, Any]:
    """Look on from outside of any unit."""
    with shop.app_context():
        pool: Any = db.engine.pool
        return {
            "session": session.registry.has(),
            "unit": current_unit() is not None,
            "connections": pool.checkedout(),
        }
