"""What the tests on tests/catalog.py share, beside the fixtures in tests/catalog_fixtures.py."""

from typing import Any

from sqlalchemy import Engine, Table

from tests.catalog import Catalog


class Statements(list[str]):
    """The statements that were sent to the database."""

    def __init__(self) -> None:
        super().__init__()
        self.parameters: list[Any] = []
        self.hits: list[str] = []

    def note(self, conn: Any, cursor: Any, sql: str, given: Any, context: Any, many: Any) -> None:
        """Listen to `before_cursor_execute`."""
        if sql.startswith(("BEGIN", "START TRANSACTION", "SET TRANSACTION")):
            return  # the unit's own
        self.append(sql)
        self.parameters.append(given)
        self.hits.append(context.cache_hit.name)


def names(query: Any) -> str:
    """Return the names that a query finds, in the order of the alphabet; repeated if they are."""
    column = "plate" if "plate" in query.entity()[0].__table__.columns else "name"
    return " ".join(sorted(query.pluck(column)))


def check_complement(model: Any, lookups: dict[str, Any], column: str = "id") -> None:
    """Check that exclude() has all other rows, that ~q() says the same, that q() is never NULL."""
    rest = sorted(model.query.exclude(**lookups).pluck(column))
    found = model.query.filter(**lookups).pluck(column)
    assert sorted([*found, *rest]) == sorted(model.query.pluck(column)), lookups
    assert sorted(model.query.filter(~model.q(**lookups)).pluck(column)) == rest, lookups
    assert model.query.filter(model.q(**lookups).is_(None)).count() == 0, lookups


def create(engine: Engine, *models: Any) -> None:
    """Create the tables of some models: all of them would take longer than most tests."""
    tables = [model if isinstance(model, Table) else model.__table__ for model in models]
    Catalog.metadata.create_all(engine, tables=tables)
