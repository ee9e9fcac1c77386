"""Requests and tasks: the workloads of those that have a Flask app or Celery tasks.

The app is called as a server calls it, and the task runs under Celery's own tracer, both in the
process: a socket and a broker would take longer than all the rest, and hide what is measured.
"""

from __future__ import annotations

from json import dumps
from typing import Any

from celery import Celery
from flask import Flask
from werkzeug.test import create_environ, run_wsgi_app

from .contenders import Work

#: What is written in a request or task: two visits, and the person is a year older.
VISIT = {"person": 1, "amount": 5}


class Boundaries:
    """The workloads of contenders with `flask_app()` and `celery_app()`.

    The app answers ``POST /visits``, ``GET /people/1`` and ``GET /health``; the Celery app has the
    tasks ``visit`` and ``nothing``.
    """

    _flask: Flask | None = None
    _celery: Celery | None = None

    def flask_app(self) -> Flask:
        """Make the Flask app."""
        raise NotImplementedError

    def celery_app(self) -> Celery:
        """Make the Celery app."""
        raise NotImplementedError

    def http_write(self, size: int) -> Work:
        return self._requests(size, "POST", "/visits", dumps(VISIT).encode())

    def http_read(self, size: int) -> Work:
        return self._requests(size, "GET", "/people/1")

    def http_nothing(self, size: int) -> Work:
        return self._requests(size, "GET", "/health")

    def task_write(self, size: int) -> Work:
        task = self._task("visit")
        yield
        for _ in range(size):
            task.apply(kwargs=VISIT).get()

    def task_nothing(self, size: int) -> Work:
        task = self._task("nothing")
        yield
        for _ in range(size):
            task.apply().get()

    def task_call(self, size: int) -> Work:
        task = self._task("nothing")
        yield
        for _ in range(size):
            task.delay()
        task.app.control.purge()

    def _requests(self, size: int, method: str, path: str, body: bytes = b"") -> Work:
        if self._flask is None:
            self._flask = self.flask_app()
        environs = [
            create_environ(path, method=method, data=body, content_type="application/json")
            for _ in range(size)
        ]
        answered = 0
        yield
        for environ in environs:
            answer, status, _ = run_wsgi_app(self._flask, environ)
            answered += status.startswith("20") and len(b"".join(answer)) > 0
        return answered

    def _task(self, name: str) -> Any:
        if self._celery is None:
            self._celery = self.celery_app()
        return self._celery.tasks[name]


def new_celery(**options: Any) -> Celery:
    """Return a Celery app whose broker is in the process."""
    app = Celery("benchmarks", broker="memory://", set_as_current=False, **options)
    app.conf.broker_connection_retry_on_startup = False
    return app
