"""Fixtures for the tests of get_or_create(): `pytest_plugins = [..., "tests.goods_fixtures"]`."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from activebase import configure
from tests.databases import Database
from tests.goods import Goods
from tests.library import Library

#: How many threads ask at once.
CALLERS = 32


@pytest.fixture
def goods(engine: Engine) -> None:
    """The tables of tests/goods.py and tests/library.py."""
    Goods.metadata.create_all(engine)
    Library.metadata.create_all(engine)


@pytest.fixture
def lamp(goods: None, database: Database) -> None:
    """An article that is there already."""
    database.execute("INSERT INTO article (kind, sku, price) VALUES ('article', 'lamp', 5)")


@pytest.fixture
def wide(goods: None, database: Database, unconfigured: None) -> Iterator[Engine]:
    """An engine with a connection for each of many threads."""
    engine = configure(database.url, pool_size=CALLERS)
    yield engine
    engine.dispose()


@pytest.fixture
def strict(goods: None, database: Database, unconfigured: None) -> Iterator[Engine]:
    """An engine of MariaDB's newer default: what has changed since the snapshot is an error."""
    setting = "SET innodb_snapshot_isolation = ON"
    engine = configure(database.url, connect_args={"init_command": setting}, pool_size=CALLERS)
    yield engine
    engine.dispose()
