"""Samples of the Celery task; they are checked, and not run."""
# pyright: standard
# In strict mode it would say that Celery ships no types.

from __future__ import annotations

from celery import Celery
from flask import Flask

from activebase.celery import ActiveTask, celery_init_app
from tests.typing.models import User


class Statement(ActiveTask):
    transient_retries = 5

    def run(self, user_id: int) -> str:
        return User.get_or_404(user_id).name


def tasks(app: Flask) -> None:
    celery: Celery = celery_init_app(app)
    Celery("sample", task_cls=ActiveTask)
    task = Statement()
    task.delay_on_commit(1)
    task.apply_async_on_commit((1,), {}, countdown=3)
    celery.register_task(task)
