"""Typed errors by the other drivers of PostgreSQL and MariaDB: the same by each of them."""

import threading
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from sqlalchemy import URL, Engine, UniqueConstraint, insert, make_url, text, update
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import (
    ActiveBaseError,
    CheckViolation,
    CommitUnknownError,
    ConnectionLost,
    DeadlockDetected,
    ForeignKeyViolation,
    InvalidValueError,
    LockTimeout,
    MyBase,
    NotNullViolation,
    ReadOnlyError,
    SerializationFailure,
    UniqueViolation,
    configure,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from tests.core import kill_connection
from tests.databases import Database
from tests.shop import Shelf, Shop

pytest_plugins = ["tests.core_fixtures"]

ON_MARIADB = ["mysql+pymysql"]
if find_spec("MySQLdb"):  # mysqlclient, which has to be compiled
    ON_MARIADB.append("mysql+mysqldb")
DRIVERS = [*ON_MARIADB, "postgresql+psycopg2"]

on_mariadb = pytest.mark.parametrize("driver", ON_MARIADB)
on_every_driver = pytest.mark.parametrize("driver", [*DRIVERS, "postgresql+psycopg", "sqlite"])


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def database(request: pytest.FixtureRequest, driver: str) -> Database:
    fixtures = {"postgresql": "postgres_database", "sqlite": "sqlite_database"}
    found: Database = request.getfixturevalue(
        fixtures.get(driver.partition("+")[0], "mariadb_database")
    )
    return found


@pytest.fixture
def url(database: Database, driver: str) -> URL:
    return make_url(database.url).set(drivername=driver)


@pytest.fixture
def engine(url: URL, unconfigured: None) -> Iterator[Engine]:
    engine = configure(url)
    Shop.metadata.create_all(engine)
    with unit_of_work():
        Shelf(hall=1, row=1, label="secret").save()
        Shelf(hall=1, row=2, above_id=1).save()
    yield engine
    engine.dispose()


def fail(write: Callable[[], Any]) -> Any:
    """Return the error that leaves a unit with this write."""
    with pytest.raises(SQLAlchemyError) as caught, unit_of_work():
        write()
    return caught.value


def run(sql: str) -> Callable[[], Any]:
    return lambda: session.execute(text(sql))


# What was broken

BROKEN: dict[str, tuple[type[ActiveBaseError], str | None, tuple[str, ...], Callable[[], Any]]] = {
    "a unique constraint": (
        UniqueViolation,
        "uq_shop_shelf_hall_row",
        ("hall", "row"),
        lambda: Shelf(hall=1, row=1).save(),
    ),
    "a unique index": (
        UniqueViolation,
        "ix_one_label",
        ("label",),
        lambda: Shelf(hall=2, row=1, label="secret").save(),
    ),
    "the primary key": (
        UniqueViolation,
        "pk_shop_shelf",
        ("id",),
        lambda: session.execute(insert(Shelf).values(id=1, hall=9, row=9, height=1)),
    ),
    "a unique index, by text": (
        UniqueViolation,
        "ix_one_label",
        ("label",),
        run("UPDATE shop_shelf SET label = 'secret'"),
    ),
    "a column without a value": (
        NotNullViolation,
        None,
        ("row",),
        lambda: Shelf(hall=2).save(),
    ),
    "a column that is left out": (
        NotNullViolation,
        None,
        ("row",),
        lambda: session.execute(insert(Shelf).values(hall=2, height=1)),
    ),
    "a check": (
        CheckViolation,
        "ck_shop_shelf_positive_height",
        (),
        lambda: Shelf(hall=2, row=2, height=-4711).save(),
    ),
    "a reference to nothing": (
        ForeignKeyViolation,
        "fk_shop_shelf_above_id_shop_shelf",
        ("above_id",),
        lambda: Shelf(hall=2, row=2, above_id=4711).save(),
    ),
    "a reference from others": (
        ForeignKeyViolation,
        "fk_shop_shelf_above_id_shop_shelf",
        ("above_id",),
        run("DELETE FROM shop_shelf WHERE id = 1"),
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_names_the_rule_that_was_broken(engine: Engine, database: Database, broken: str) -> None:
    kind, constraint, columns, write = BROKEN[broken]
    error = fail(write)
    assert type(error) is kind
    assert (error.constraint, error.table, error.columns) == (constraint, "shop_shelf", columns)
    assert str(error).startswith("Shelf")
    assert "secret" not in str(error)
    assert "4711" not in str(error)
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 2


VALUES = {
    "a text that is too long": {"label": "secret " * 10},
    "a number that is out of range": {"height": 2**40},
    "a number beyond all ranges": {"height": 2**70},
    "a text for a number": {"height": "secret"},
    "no number": {"height": float("nan")},
    "an object for a number": {"height": object()},
    "no unicode": {"label": "\ud800"},
}


@pytest.mark.parametrize("name", VALUES)
def test_refuses_a_value_that_its_column_can_not_hold(
    engine: Engine, database: Database, name: str
) -> None:
    error = fail(lambda: Shelf(**({"hall": 5, "row": 5} | VALUES[name])).save())
    assert type(error) is InvalidValueError
    assert error.table == "shop_shelf"
    assert error.columns in ((), tuple(VALUES[name]))
    assert "wrong type, too long or out of range" in str(error)
    assert "secret" not in str(error)
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 2


@on_mariadb
@pytest.mark.parametrize("name", ["a text that is too long", "a text for a number"])
def test_names_the_column_that_can_not_hold_a_value(engine: Engine, name: str) -> None:
    error = fail(lambda: Shelf(**({"hall": 5, "row": 5} | VALUES[name])).save())
    assert error.columns == tuple(VALUES[name])


@pytest.mark.parametrize("driver", ["mysql+pymysql", "postgresql+psycopg2"])
def test_refuses_a_dict_for_a_text(engine: Engine) -> None:
    error = fail(lambda: Shelf(hall=5, row=5, label={"a": 1}).save())
    assert type(error) is InvalidValueError


@pytest.mark.parametrize("driver", ["postgresql+psycopg2"])
def test_refuses_a_text_that_holds_a_zero(engine: Engine) -> None:
    error = fail(lambda: Shelf(hall=5, row=5, label="a\0b").save())
    assert type(error) is InvalidValueError


@on_mariadb
def test_reads_a_broken_rule_without_a_model(engine: Engine, database: Database) -> None:
    database.execute(
        "CREATE TABLE plain (a INT, b INT CHECK (b > 0), doc JSON, UNIQUE (a, b)) ENGINE = InnoDB"
    )
    database.execute("INSERT INTO plain VALUES (1, 2, NULL)")
    error = fail(run("INSERT INTO plain VALUES (1, 2, NULL)"))
    assert (error.constraint, error.table, error.columns) == ("a", "plain", ())
    error = fail(run("INSERT INTO plain VALUES (0, 0, NULL)"))
    assert (error.constraint, error.table, error.columns) == ("plain.b", "plain", ("b",))
    error = fail(run("INSERT INTO plain VALUES (0, 1, '{')"))
    assert (error.constraint, error.table, error.columns) == ("plain.doc", "plain", ("doc",))


class Plain(MyBase, DeclarativeBase):
    """Models whose constraints get their names from the server."""


class Seat(Plain):
    __tablename__ = "plain_seat"
    __table_args__ = (UniqueConstraint("hall", "place"), UniqueConstraint("door", "hall"))

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hall: Mapped[int]
    place: Mapped[int]
    door: Mapped[int] = mapped_column(unique=True)


@on_mariadb
def test_finds_the_columns_of_a_key_that_the_server_has_named(
    engine: Engine, database: Database
) -> None:
    Plain.metadata.create_all(engine)
    with unit_of_work():
        Seat(number=1, hall=1, place=1, door=1).save()
    error = fail(lambda: Seat(number=1, hall=2, place=2, door=2).save())
    assert (error.constraint, error.columns) == ("PRIMARY", ("number",))
    error = fail(lambda: Seat(number=2, hall=1, place=1, door=2).save())
    assert (error.constraint, error.columns) == ("hall", ("hall", "place"))
    error = fail(lambda: Seat(number=2, hall=2, place=2, door=1).save())
    assert error.constraint in ("door", "door_2")
    assert error.columns == ()  # two keys begin with it


# What passes


def test_tells_a_lock_that_is_not_free(engine: Engine, database: Database) -> None:
    database.execute("BEGIN")
    database.execute("SELECT * FROM shop_shelf FOR UPDATE")
    error = fail(run("SELECT * FROM shop_shelf FOR UPDATE NOWAIT"))
    database.execute("ROLLBACK")
    assert type(error) is LockTimeout


def test_tells_the_one_that_a_deadlock_has_undone(engine: Engine, database: Database) -> None:
    both_hold_one = threading.Barrier(2)
    caught: list[Exception] = []

    def raise_shelves(first: int, second: int) -> None:
        with unit_of_work():
            for number in (first, second):
                session.execute(update(Shelf).where(Shelf.id == number).values(height=number + 7))
                if number == first:
                    both_hold_one.wait(10)

    def note(first: int, second: int) -> None:
        try:
            raise_shelves(first, second)
        except SQLAlchemyError as error:
            caught.append(error)

    other = threading.Thread(target=note, args=(2, 1))
    other.start()
    note(1, 2)
    other.join(20)
    assert [type(error) for error in caught] == [DeadlockDetected]
    assert database.rows("SELECT height FROM shop_shelf ORDER BY id") == [(8,), (9,)]


def test_tells_a_connection_that_is_lost(engine: Engine, database: Database) -> None:
    def lose_the_connection() -> None:
        kill_connection(database)
        Shelf.query.all()

    error = fail(lose_the_connection)
    assert type(error) is ConnectionLost
    assert error.connection_invalidated


def test_tells_a_connection_that_is_lost_at_the_commit(engine: Engine, database: Database) -> None:
    def lose_the_connection() -> None:
        Shelf(hall=3, row=3).save()
        on_commit(lambda: pytest.fail("nothing is known to be committed"))
        kill_connection(database)

    error = fail(lose_the_connection)
    assert type(error) is CommitUnknownError
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 2


def test_tells_a_write_that_the_server_refuses(engine: Engine, database: Database) -> None:
    with pytest.raises(ReadOnlyError), read_only():
        session.execute(text("SELECT * FROM shop_shelf FOR UPDATE"))
    with unit_of_work():
        Shelf(hall=3, row=3).save()
    assert database.scalar("SELECT count(*) FROM shop_shelf") == 3


# The way to the server


def connect(url: URL) -> Any:
    engine = configure(url)
    with pytest.raises(SQLAlchemyError) as caught, unit_of_work():
        session.execute(text("SELECT 1"))
    engine.dispose()
    return caught.value


def test_tells_a_server_that_is_down(url: URL, unconfigured: None) -> None:
    assert type(connect(url.set(host="127.0.0.1", port=1))) is ConnectionLost


def test_leaves_a_wrong_name_what_it_is(url: URL, unconfigured: None) -> None:
    for wrong in (url.set(database="no_such_database"), url.set(username="nobody", password="x")):
        assert type(connect(wrong)) is OperationalError


# What is not translated

MISTAKES = {
    "a missing table": "SELECT nothing FROM nowhere",
    "a missing column": "SELECT nothing FROM shop_shelf",
    "an unknown column": "INSERT INTO shop_shelf (nothing) VALUES (1)",
    "a syntax error": "SELEC 1",
    "a missing function": "SELECT no_such_function(1)",
    "too many values": "INSERT INTO shop_shelf (hall) VALUES (1, 2)",
    "an ambiguous column": "SELECT id FROM shop_shelf a, shop_shelf b",
    "a missing savepoint": "RELEASE SAVEPOINT nowhere",
}


@on_every_driver
@pytest.mark.parametrize("mistake", MISTAKES)
def test_leaves_a_mistake_of_the_program_what_it_is(engine: Engine, mistake: str) -> None:
    error = fail(run(MISTAKES[mistake]))
    assert isinstance(error, DBAPIError)
    assert not isinstance(error, ActiveBaseError)


@on_every_driver
@pytest.mark.parametrize(
    ("sql", "parameters"),
    [("SELECT %s, %s", (1,)), ("SELECT %s", (1, 2)), ("SELECT %(a)s", {"b": 1})],
)
def test_leaves_a_wrong_number_of_parameters_what_it_is(
    engine: Engine, driver: str, sql: str, parameters: Any
) -> None:
    if driver == "sqlite":
        sql = sql.replace("%s", "?").replace("%(a)s", ":a")
    with pytest.raises(Exception) as caught, unit_of_work():  # noqa: PT011  # of drivers' choice
        session.connection().exec_driver_sql(sql, parameters)
    assert not isinstance(caught.value, ActiveBaseError)


# By code

CODES: dict[type[ActiveBaseError], list[int]] = {
    UniqueViolation: [1022, 1062, 1169, 1586, 1761, 1762, 1859],
    ForeignKeyViolation: [1216, 1217, 1451, 1452],
    NotNullViolation: [1048, 1263, 1364],
    CheckViolation: [1526, 1748, 3819, 4025],
    InvalidValueError: [1153, 1264, 1265, 1292, 1300, 1366, 1406, 1411, 1690, 3140],
    LockTimeout: [1205, 3572],
    DeadlockDetected: [1213, 1614],
    SerializationFailure: [1020, 3101],
    ConnectionLost: [1040, 1053, 1203, 1927],
}


def signal(code: int, message: str = "whatever") -> str:
    told = message.replace("'", "''")
    return f"SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = {code}, MESSAGE_TEXT = '{told}'"


@on_mariadb
@pytest.mark.parametrize("kind", CODES)
def test_goes_by_the_server_s_code(engine: Engine, kind: type[ActiveBaseError]) -> None:
    for code in CODES[kind]:
        assert type(fail(run(signal(code)))) is kind


@on_mariadb
@pytest.mark.parametrize(
    ("code", "message", "rule"),
    [
        (1062, "Duplicate entry 'for key' for key 'shop_shelf.ix_one_label'", "ix_one_label"),
        (3819, "Check constraint 'positive' is violated.", "positive"),
    ],
)
def test_reads_what_mysql_says(engine: Engine, code: int, message: str, rule: str) -> None:
    assert fail(run(signal(code, message))).constraint == rule


READ_ONLY_SERVER = "The MySQL server is running with the --read-only option so it cannot execute"
SAFE_SERVER = "The MySQL server is running with the --secure-file-priv option so it cannot execute"


@on_mariadb
@pytest.mark.parametrize(
    ("code", "message"), [(1036, ""), (1792, ""), (1836, ""), (1290, READ_ONLY_SERVER)]
)
def test_tells_a_server_or_a_table_that_takes_no_writes(
    engine: Engine, code: int, message: str
) -> None:
    with pytest.raises(ReadOnlyError), unit_of_work():
        session.execute(text(signal(code, message)))


@on_mariadb
def test_leaves_other_options_of_a_server_what_they_are(engine: Engine) -> None:
    assert type(fail(run(signal(1290, SAFE_SERVER)))) is OperationalError
