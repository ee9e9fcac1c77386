"""Driver errors as typed errors: the same on every database, by flush, statement and COMMIT."""

import pickle
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import JSON, Engine, TypeDecorator, insert, literal, select, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    NoResultFound,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
    StatementError,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.orm.exc import StaleDataError

from activebase import (
    ActiveBaseError,
    CheckViolation,
    CommitUnknownError,
    ConflictError,
    ConnectionLost,
    DeadlockDetected,
    ExclusionViolation,
    ForeignKeyViolation,
    InvalidDataError,
    InvalidLookupError,
    InvalidValueError,
    LockTimeout,
    LostWritesError,
    MyBase,
    NestedUnitError,
    NotConfiguredError,
    NotFoundError,
    NotNullViolation,
    ProtectedAttributeError,
    ReadOnlyError,
    SerializationFailure,
    StaleRecordError,
    StrayCommitError,
    TransientError,
    UniqueViolation,
    UnitOfWorkError,
    UnknownAttributeError,
    WriteAfterCommitError,
    session,
    unit_of_work,
)
from tests.core import names, on_deferring, on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of
from tests.models import Document, Entry, Member
from tests.shop import Shelf, Shop

pytest_plugins = ["tests.core_fixtures"]


database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def shop(engine: Engine) -> None:
    Shop.metadata.create_all(engine)
    with unit_of_work():
        Shelf(hall=1, row=1, label="secret").save()


def fail(write: Callable[[], Any]) -> Any:
    """Return the error that leaves a unit with this write."""
    with pytest.raises(SQLAlchemyError) as caught, unit_of_work():
        write()
    return caught.value


# The tree

TREE = [
    (NotConfiguredError, ActiveBaseError, None),
    (NotFoundError, NoResultFound, 404),
    (ConflictError, IntegrityError, 409),
    (UniqueViolation, ConflictError, 409),
    (ForeignKeyViolation, ConflictError, 409),
    (ExclusionViolation, ConflictError, 409),
    (InvalidDataError, ActiveBaseError, 422),
    (NotNullViolation, IntegrityError, 422),
    (NotNullViolation, InvalidDataError, 422),
    (CheckViolation, IntegrityError, 422),
    (CheckViolation, InvalidDataError, 422),
    (InvalidValueError, DataError, 422),
    (InvalidValueError, InvalidDataError, 422),
    (StaleRecordError, StaleDataError, 409),
    (TransientError, OperationalError, 503),
    (SerializationFailure, TransientError, 503),
    (DeadlockDetected, TransientError, 503),
    (LockTimeout, TransientError, 503),
    (ConnectionLost, TransientError, 503),
    (CommitUnknownError, OperationalError, 500),
    (UnitOfWorkError, RuntimeError, 500),
    (LostWritesError, UnitOfWorkError, 500),
    (StrayCommitError, UnitOfWorkError, 500),
    (WriteAfterCommitError, UnitOfWorkError, 500),
    (ReadOnlyError, UnitOfWorkError, 500),
    (NestedUnitError, UnitOfWorkError, 500),
    (UnknownAttributeError, TypeError, None),
    (ProtectedAttributeError, TypeError, None),
    (InvalidLookupError, ValueError, 400),
]


@pytest.mark.parametrize(("kind", "base", "status"), TREE)
def test_is_caught_by_what_existing_code_catches(
    kind: type[ActiveBaseError], base: type[Exception], status: int | None
) -> None:
    assert issubclass(kind, base)
    assert issubclass(kind, ActiveBaseError)
    assert kind.status == status


def test_keeps_what_can_be_repaired_apart_from_what_can_not() -> None:
    assert not issubclass(CommitUnknownError, TransientError)
    assert not issubclass(NotNullViolation, ConflictError)
    assert not issubclass(InvalidValueError, IntegrityError)


# What was broken


def test_names_the_unique_constraint_that_was_broken(shop: None, database: Database) -> None:
    error = fail(lambda: Shelf(hall=1, row=1).save())
    assert type(error) is UniqueViolation
    assert error.constraint == "uq_shop_shelf_hall_row"
    assert error.table == "shop_shelf"
    assert error.columns == ("hall", "row")
    assert "Shelf (uq_shop_shelf_hall_row)" in str(error)
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 1


def test_names_a_unique_index_that_was_broken(shop: None) -> None:
    error = fail(lambda: Shelf(hall=2, row=1, label="secret").save())
    assert type(error) is UniqueViolation
    assert (error.constraint, error.table) == ("ix_one_label", "shop_shelf")
    assert error.columns == ("label",)


def test_names_a_primary_key_that_is_taken(shop: None) -> None:
    error = fail(lambda: session.execute(insert(Shelf).values(id=1, hall=9, row=9, height=1)))
    assert type(error) is UniqueViolation
    assert (error.table, error.columns) == ("shop_shelf", ("id",))
    assert error.constraint == "pk_shop_shelf"


def test_names_the_column_that_needs_a_value(shop: None) -> None:
    error = fail(lambda: Shelf(hall=2).save())
    assert type(error) is NotNullViolation
    assert (error.table, error.columns) == ("shop_shelf", ("row",))
    assert "Shelf: row must have a value" in str(error)


def test_names_the_check_that_does_not_hold(shop: None) -> None:
    error = fail(lambda: Shelf(hall=2, row=2, height=-41).save())
    assert type(error) is CheckViolation
    assert error.constraint == "ck_shop_shelf_positive_height"
    assert error.table == "shop_shelf"
    assert "-41" not in str(error)


@pytest.mark.parametrize(
    "write",
    [
        lambda: Shelf(hall=2, row=2, above_id=4711).save(),
        lambda: Shelf.get_or_404(1).update(above_id=4711),
    ],
)
def test_tells_a_row_that_points_nowhere(
    shop: None, database: Database, write: Callable[[], Any]
) -> None:
    error = fail(write)
    assert type(error) is ForeignKeyViolation
    assert error.table == "shop_shelf"
    if database.dialect != "sqlite":  # which does not say which
        assert error.constraint == "fk_shop_shelf_above_id_shop_shelf"
        assert error.columns == ("above_id",)
    assert "4711" not in str(error)


def test_tells_a_row_that_is_still_pointed_at(shop: None) -> None:
    with unit_of_work():
        Shelf(hall=2, row=2, above_id=1).save()
    error = fail(lambda: session.execute(text("DELETE FROM shop_shelf WHERE id = 1")))
    assert type(error) is ForeignKeyViolation


@on_postgres
def test_tells_rows_that_must_not_overlap(shop: None, database: Database) -> None:
    database.execute("CREATE TABLE stay (nights int4range, EXCLUDE USING gist (nights WITH &&))")
    database.execute("INSERT INTO stay VALUES ('[1,5)')")
    error = fail(lambda: session.execute(text("INSERT INTO stay VALUES ('[3,8)')")))
    assert type(error) is ExclusionViolation
    assert (error.constraint, error.table) == ("stay_nights_excl", "stay")


@pytest.mark.parametrize(
    "values",
    [{"row": "seven"}, {"row": 2**70}, {"row": object()}, {"label": {"a": 1}}],
    ids=["text for a number", "out of range", "an object", "a dict for a text"],
)
def test_refuses_a_value_that_its_column_can_not_hold(
    shop: None, database: Database, values: dict[str, Any]
) -> None:
    error = fail(lambda: Shelf(**({"hall": 5, "row": 5} | values)).save())
    assert type(error) is InvalidValueError
    assert "wrong type, too long or out of range" in str(error)
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 1


class Own(DeclarativeBase):
    pass


class Typed(MyBase, Own):
    __tablename__ = "typed"

    id: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[Any] = mapped_column(JSON)
    key: Mapped[UUID | None]


@pytest.mark.parametrize(
    "values",
    [{"data": {1, 2}}, {"data": object()}, {"data": {}, "key": "s3cret"}],
    ids=["a set for JSON", "an object for JSON", "text for a UUID"],
)
def test_refuses_a_value_that_its_type_can_not_take(
    engine: Engine, database: Database, values: dict[str, Any]
) -> None:
    Own.metadata.create_all(engine)
    error = fail(lambda: Typed(**values).save())
    assert type(error) is InvalidValueError
    assert "Typed: a value is of the wrong type" in str(error)
    assert "s3cret" not in str(error)
    assert database.scalar("SELECT count(*) FROM typed") == 0
    Own.metadata.drop_all(engine)


class Mistaken(TypeDecorator[Any]):
    impl = JSON
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return self.no_such_method(value)  # type: ignore[attr-defined]


def test_takes_no_mistake_in_a_type_for_a_wrong_value(engine: Engine) -> None:
    error = fail(lambda: session.execute(select(literal(1, Mistaken()))))
    assert type(error) is StatementError
    assert "no_such_method" in str(error)


@on_servers
def test_refuses_a_text_that_is_too_long(shop: None) -> None:
    error = fail(lambda: Shelf(hall=5, row=5, label="much too long for it").save())
    assert type(error) is InvalidValueError
    assert "much too long for it" not in str(error)


def test_tells_a_record_that_someone_else_has_changed(engine: Engine, database: Database) -> None:
    with unit_of_work():
        document = Document(title="a").save()
    database.execute("UPDATE document SET version = 7")
    error = fail(lambda: session.merge(document, load=False).update(title="b"))
    assert type(error) is StaleRecordError
    assert isinstance(error.__cause__, StaleDataError)
    assert str(error).startswith("Document: A record was changed or deleted by someone else")
    assert database.rows("SELECT title, version FROM document") == [("a", 7)]


@on_servers
def test_tells_a_lock_that_is_not_free(shop: None, database: Database) -> None:
    database.execute("BEGIN")
    database.execute("SELECT * FROM shop_shelf FOR UPDATE")
    statement = "SELECT * FROM shop_shelf FOR UPDATE NOWAIT"
    error = fail(lambda: session.execute(text(statement)))
    database.execute("ROLLBACK")
    assert type(error) is LockTimeout


# Every way to the database

WAYS: dict[str, Callable[[], Any]] = {
    "save": lambda: Member(name="ada").save(),
    "update": lambda: Member(name="bob").save().update(name="ada"),
    "flush": lambda: (session.add(Member(name="ada")), session.flush()),
    "autoflush": lambda: (session.add(Member(name="ada")), Member.query.all()),
    "the last flush": lambda: session.add(Member(name="ada")),
    "core": lambda: session.execute(insert(Member).values(name="ada")),
    "many": lambda: session.execute(insert(Member), [{"name": "bob"}, {"name": "ada"}]),
    "text": lambda: session.execute(text("INSERT INTO member (name) VALUES ('ada')")),
    "connection": lambda: session.connection().exec_driver_sql(
        "INSERT INTO member (name) VALUES ('ada')"
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_raises_the_same_error_by_every_way(engine: Engine, database: Database, way: str) -> None:
    database.execute("INSERT INTO member (id, name) VALUES (77, 'ada')")
    error = fail(WAYS[way])
    assert type(error) is UniqueViolation
    assert (error.table, error.columns) == ("member", ("name",))
    assert isinstance(error.orig, Exception)
    assert not isinstance(error.orig, SQLAlchemyError)
    assert error.__cause__ is error.orig
    assert names(database) == ["ada"]


@on_deferring
def test_raises_the_same_error_from_the_commit(engine: Engine) -> None:
    error = fail(lambda: Entry(amount=1, member_id=4711).save())
    assert type(error) is ForeignKeyViolation
    assert error.orig is not None
    assert error.statement is None


# What is not translated


def test_leaves_a_missing_table_what_it_is(engine: Engine, database: Database) -> None:
    error = fail(lambda: session.execute(text("SELECT nothing FROM nowhere")))
    expected = OperationalError if database.dialect == "sqlite" else ProgrammingError
    assert type(error) is expected
    assert not isinstance(error, ActiveBaseError)


def test_leaves_a_syntax_error_what_it_is(engine: Engine) -> None:
    error = fail(lambda: session.execute(text("SELEC 1")))
    assert isinstance(error, DBAPIError)
    assert not isinstance(error, ActiveBaseError)


def test_leaves_a_mistake_of_the_program_what_it_is(engine: Engine) -> None:
    with pytest.raises(TypeError) as caught, unit_of_work():
        Member(nmae="ada")
    assert not isinstance(caught.value, ActiveBaseError)


# What it tells, and what it keeps for itself


def test_holds_no_value_of_a_parameter(shop: None) -> None:
    error = fail(lambda: Shelf(hall=2, row=2, label="secret").save())
    for told in (str(error), repr(error), str(error.args)):
        assert "secret" not in told
    assert error.params is None
    assert "INSERT INTO shop_shelf" in error.statement


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_survives_pickling_for_a_result_backend(shop: None, protocol: int) -> None:
    error = fail(lambda: Shelf(hall=1, row=1, label="x").save())
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is UniqueViolation
    assert str(again) == str(error)
    assert (again.constraint, again.table, again.columns) == (
        error.constraint,
        error.table,
        error.columns,
    )


@pytest.mark.parametrize("kind", sorted({row[0] for row in TREE}, key=lambda kind: kind.__name__))
def test_can_be_made_from_a_message_alone(kind: type[ActiveBaseError]) -> None:
    error = kind("what happened")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, "what happened")


def test_tells_which_record_is_missing(engine: Engine) -> None:
    with unit_of_work(), pytest.raises(NotFoundError, match="There is no Member") as caught:
        Member.get_or_404(4711)
    assert (caught.value.model, caught.value.criteria) == (Member, 4711)
    assert "4711" not in str(caught.value)


@on_sqlite
def test_reads_a_broken_rule_without_a_model(engine: Engine, database: Database) -> None:
    database.execute("CREATE TABLE plain (a INTEGER, b INTEGER, UNIQUE (a, b), CHECK (a > 0))")
    database.execute("INSERT INTO plain VALUES (1, 2)")
    error = fail(lambda: session.execute(text("INSERT INTO plain VALUES (1, 2)")))
    assert (error.constraint, error.table, error.columns) == (None, "plain", ("a", "b"))
    error = fail(lambda: session.execute(text("INSERT INTO plain VALUES (0, 2)")))
    assert type(error) is CheckViolation
