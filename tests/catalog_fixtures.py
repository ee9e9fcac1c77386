"""Fixtures for the tests on tests/catalog.py, beside those in tests/core_fixtures.py."""

import pytest
from sqlalchemy import Engine, event

from tests.catalog_tables import Statements


@pytest.fixture
def statements(engine: Engine) -> Statements:
    """The statements that are sent from now on."""
    sent = Statements()
    event.listen(engine, "after_cursor_execute", sent.note)
    return sent
