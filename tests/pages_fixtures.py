"""Fixtures for the tests of pages: `pytest_plugins = ["tests.pages_fixtures"]`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from activebase import unit_of_work
from tests.pages import Paged, fill

pytest_plugins = ["tests.core_fixtures"]


@pytest.fixture
def filled(engine: Engine) -> Iterator[None]:
    """The rows of tests/pages.py, in an open unit."""
    Paged.metadata.create_all(engine)
    with unit_of_work():
        fill()
        yield


@pytest.fixture
def sent_statements(filled: None, engine: Engine) -> list[str]:
    """What is sent to the database from here on."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    return sent
