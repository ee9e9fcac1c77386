"""Fixtures for the tests of bulk statements: `pytest_plugins = ["tests.warehouse_fixtures"]`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event

from activebase import configure
from activebase.session import global_registry
from tests.databases import EACH, Database, database_of
from tests.warehouse import Sent, Warehouse

pytest_plugins = ["tests.core_fixtures"]


@pytest.fixture(params=EACH)
def warehouse_database(request: pytest.FixtureRequest) -> Database:
    """A fresh database of each of the three, without tables."""
    return database_of(request)


@pytest.fixture
def warehouse(warehouse_database: Database, unconfigured: None) -> Iterator[Database]:
    """A database with the tables of tests/warehouse.py, which the global session is on."""
    engine = configure(warehouse_database.url)
    tables = Warehouse.metadata.sorted_tables
    if warehouse_database.dialect != "postgresql":
        tables = [table for table in tables if table.name != "lists"]
    Warehouse.metadata.create_all(engine, tables)
    yield warehouse_database
    global_registry.end_thread()  # warns, and so fails the test, if it has left writes behind
    engine.dispose()


@pytest.fixture
def sent(warehouse: Database) -> Iterator[Sent]:
    """What the engine of `warehouse` sends from now on."""
    engine: Engine = global_registry().get_bind()
    global_registry.end_thread()
    sent = Sent()
    event.listen(engine, "before_cursor_execute", sent.note)
    yield sent
    event.remove(engine, "before_cursor_execute", sent.note)
