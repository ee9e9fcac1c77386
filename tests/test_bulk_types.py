"""Bulk statements and what is special to one database, one type or one schema."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, String, TypeDecorator, text
from sqlalchemy.dialects.mysql import BIT
from sqlalchemy.dialects.postgresql import CITEXT, JSONB
from sqlalchemy.ext.mutable import MutableDict, MutableList
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase, configure, session, unit_of_work
from tests.core import on_mariadb, on_postgres
from tests.databases import EACH, Database, MariaDBDatabases, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Base(MyBase, DeclarativeBase):
    type_annotation_map = {str: String(50)}  # noqa: RUF012  # MariaDB wants a length


class Wrapped(TypeDecorator[Any]):
    """Puts a value into a list."""

    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value if value is None else [value]

    def process_result_value(self, value: Any, dialect: Any) -> Any:
        return value if value is None else value[0]


class Bare(TypeDecorator[Any]):
    """JSON behind a decorator that changes nothing."""

    impl = JSON
    cache_ok = True


class Record(Base):
    __tablename__ = "record"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    plain: Mapped[Any] = mapped_column(JSON, nullable=True)
    null: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    jsonb: Mapped[Any] = mapped_column(JSON().with_variant(JSONB(), "postgresql"), nullable=True)
    bare: Mapped[Any] = mapped_column(Bare, nullable=True)
    wrapped: Mapped[Any] = mapped_column(Wrapped, nullable=True)
    items: Mapped[Any] = mapped_column(MutableList.as_mutable(JSON), nullable=True)
    pairs: Mapped[Any] = mapped_column(MutableDict.as_mutable(JSON), nullable=True)


@pytest.fixture(autouse=True)
def tables(request: pytest.FixtureRequest) -> Iterator[None]:
    engine: Engine = request.getfixturevalue("engine")
    Base.metadata.create_all(engine, [Record.__table__])  # type: ignore[list-item]
    yield
    Base.metadata.drop_all(engine, [Record.__table__])  # type: ignore[list-item]


JSONS: dict[str, list[Any]] = {
    "text that looks like JSON": ['{"admin": true}', "[1]", "null", '"', "plain"],
    "nothing": [None, None],
    "text or nothing": ["a", None],
    "dicts": [{"a": "x\\y"}, {}],
    "numbers": [1, 2],
    "json null": [JSON.NULL, "x"],
}


@pytest.mark.parametrize("values", JSONS.values(), ids=JSONS)
@pytest.mark.parametrize("name", ["plain", "null", "jsonb", "bare", "wrapped"])
def test_stores_json_as_save_does(database: Database, name: str, values: list[Any]) -> None:
    count = len(values)
    with unit_of_work():
        for number, value in enumerate(values, 1):
            Record(id=number, **{name: value}).save()
        Record.bulk_create([{"id": 100 + n, name: value} for n, value in enumerate(values)])
        Record.bulk_create([{"id": 200 + n} for n in range(count)])
        changes = [{"id": 200 + n, name: value} for n, value in enumerate(values)]
        assert Record.bulk_update(changes, [name]) == count
    select = f"SELECT {name} FROM record ORDER BY id"
    stored = [
        value if isinstance(value, str | None) else json.dumps(value)
        for (value,) in database.rows(select)
    ]
    assert stored[:count] == stored[count : 2 * count] == stored[2 * count :]


@pytest.mark.parametrize("name", ["items", "pairs"])
def test_leaves_values_that_tell_of_their_changes(database: Database, name: str) -> None:
    value: Any = [1] if name == "items" else {"a": 1}
    with unit_of_work():
        by_dict, detached = (Record(**{name: type(value)()}).save() for _ in range(2))
    with unit_of_work():
        live = {record.id: record for record in Record.query.all()}
        setattr(detached, name, value)
        assert Record.bulk_update([{"id": by_dict.id, name: value}, detached], [name]) == 2
        for record in live.values():
            own: Any = getattr(record, name)
            (own.append(2) if name == "items" else own.update(b=2))
            record.save()
    stored = [row[0] for row in database.rows(f"SELECT {name} FROM record")]
    found = [json.loads(each) if isinstance(each, str) else each for each in stored]
    assert found == [[1, 2] if name == "items" else {"a": 1, "b": 2}] * 2


@pytest.mark.filterwarnings("ignore:Type object .*BIT:sqlalchemy.exc.SADeprecationWarning")
@on_mariadb
def test_stores_bits_as_save_does(engine: Engine, database: Database) -> None:
    class Own(MyBase, DeclarativeBase):
        pass

    class Bits(Own):
        __tablename__ = "bits"

        id: Mapped[int] = mapped_column(primary_key=True)
        value: Mapped[Any] = mapped_column(BIT(8))

    Own.metadata.create_all(engine)
    with unit_of_work():
        Bits.bulk_create([{"id": 1, "value": 1}, {"id": 2, "value": 2}])
        assert Bits.bulk_update([{"id": 1, "value": 6}, {"id": 2, "value": 7}], ["value"]) == 2
    assert database.rows("SELECT value + 0 FROM bits ORDER BY id") == [(6,), (7,)]
    Own.metadata.drop_all(engine)


@on_postgres
def test_finds_rows_by_text_without_case(engine: Engine, database: Database) -> None:
    class Own(MyBase, DeclarativeBase):
        pass

    class Code(Own):
        __tablename__ = "code"

        code: Mapped[str] = mapped_column(CITEXT, primary_key=True)
        number: Mapped[int]

    with engine.begin() as connection:
        connection.execute(text("CREATE EXTENSION IF NOT EXISTS citext"))
    Own.metadata.create_all(engine)
    with unit_of_work():
        Code.bulk_create([{"code": "Ab", "number": 1}, {"code": "Cd", "number": 1}])
        changes = [{"code": "AB", "number": 2}, {"code": "CD", "number": 3}]
        assert Code.bulk_update(changes, ["number"]) == 2
    assert database.rows("SELECT code, number FROM code ORDER BY code") == [("Ab", 2), ("Cd", 3)]
    Own.metadata.drop_all(engine)


@on_mariadb
def test_writes_to_the_schema_that_is_meant(
    engine: Engine, database: Database, mariadb_databases: MariaDBDatabases
) -> None:
    with mariadb_databases.fresh() as other:
        name = other.url.rsplit("/", 1)[1]
        tenant = engine.execution_options(schema_translate_map={None: name})
        Base.metadata.create_all(tenant)
        with unit_of_work():
            Record.bulk_create([{"id": 1, "name": "main"}])
        configure(tenant)
        with unit_of_work():
            Record.bulk_create([{"id": 1, "name": "tenant"}])
            assert Record.bulk_update([{"id": 1, "name": "changed"}], ["name"]) == 1
            Record.bulk_create([{"id": 2, "name": "x"}], on_conflict="update")
        session.remove()
        assert database.rows("SELECT id, name FROM record") == [(1, "main")]
        assert other.rows("SELECT id, name FROM record") == [(1, "changed"), (2, "x")]
        configure(engine)
