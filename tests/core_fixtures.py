"""Fixtures for the tests of the core: `pytest_plugins = ["tests.core_fixtures"]`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from activebase import configure
from activebase.session import _factory, global_registry
from tests.databases import Database
from tests.models import Base


@pytest.fixture
def engine(database: Database, unconfigured: None) -> Iterator[Engine]:
    """The global session's engine, on `database`, with the tables of tests/models.py."""
    engine = configure(database.url)
    Base.metadata.create_all(engine)
    yield engine
    global_registry.end_thread()  # warns, and so fails the test, if it has left writes behind
    engine.dispose()


@pytest.fixture
def unconfigured() -> Iterator[None]:
    """The global session without a database, before the test and after it."""
    _unconfigure()
    yield
    _unconfigure()


def _unconfigure() -> None:
    global_registry.end_thread()
    global_registry.unfollow()
    global_registry.stray_commits = "raise"
    _factory.configure(bind=None)
