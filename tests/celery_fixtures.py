"""Fixtures for tests that make Celery apps: `pytest_plugins = ["tests.celery_fixtures"]`."""

from collections.abc import Iterator

import pytest
from celery import Celery, _state

from activebase.celery import ActiveTask


@pytest.fixture
def celery_state() -> Iterator[None]:
    """Celery's global state, put back at the end.

    A task of one app is registered in every app that is made later, and the last app is the
    default one of the process.
    """
    tasks = set(_state._on_app_finalizers)
    default, current = _state.default_app, _state._tls.current_app
    yield
    _state._on_app_finalizers.intersection_update(tasks)
    _state.default_app, _state._tls.current_app = default, current


@pytest.fixture
def celery(celery_state: None) -> Iterator[Celery]:
    """An app whose tasks are run by `apply()` or called; nothing of it needs a server."""
    app = Celery("tests", task_cls=ActiveTask, set_as_current=False)
    app.conf.update(broker_url="memory://", result_backend="cache+memory://")
    yield app
    app.close()
