"""Query.update() and Query.delete(): one statement, which the unit's guards see."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, func
from sqlalchemy.exc import DBAPIError

from activebase import (
    CheckViolation,
    InvalidLookupError,
    LostWritesError,
    ProtectedAttributeError,
    ReadOnlyError,
    UnitOfWork,
    UnknownAttributeError,
    WriteAfterCommitError,
    current_unit,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from tests.catalog import (
    Badge,
    Car,
    Desk,
    Engineer,
    Label,
    Node,
    Person,
    Point,
    Room,
    Thing,
    Vehicle,
    labelling,
)
from tests.catalog_tables import Statements, create
from tests.core import Undone, on_mariadb, undone
from tests.databases import EACH, Database, database_of
from tests.library import Library, Secret
from tests.models import Document, Entry, Member

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)

RANKS = "SELECT name, node.rank FROM node ORDER BY name"  # a bare rank is a word of MariaDB's


@pytest.fixture
def tree(engine: Engine) -> None:
    """``a`` has ``b`` and ``c``; ``b`` has ``d``; ranks 1 to 3, and NULL."""
    create(engine, Node, Label, labelling)
    with unit_of_work():
        a = Node(name="a", rank=1, labels=[Label(word="x"), Label(word="y")]).save()
        b = Node(name="b", rank=2, parent=a).save()
        Node(name="c", rank=3, parent=a).save()
        Node(name="d", parent=b).save()


def ranks(database: Database) -> list[Any]:
    """Return the ranks of a to d that are committed."""
    return [rank for _, rank in database.rows(RANKS)]


# Rows and values


@pytest.mark.parametrize(
    ("narrow", "expected"),
    [
        (lambda query: query, [9, 9, 9, 9]),
        (lambda query: query.filter(name="b"), [1, 9, 3, None]),
        (lambda query: query.filter(rank__gte=2), [1, 9, 9, None]),
        (lambda query: query.filter(name__icontains="B"), [1, 9, 3, None]),
        (lambda query: query.exclude(rank=1), [1, 9, 9, 9]),
        (lambda query: query.filter(parent__name="a"), [1, 9, 9, None]),
        (lambda query: query.exclude(parent__name="a"), [9, 2, 3, 9]),
        (lambda query: query.filter(children__isnull=False), [9, 9, 3, None]),
        (lambda query: query.filter(labels__word="x"), [9, 2, 3, None]),
        (
            lambda query: query.filter(~Node.q(labels__isnull=True) | Node.q(rank=3)),
            [9, 2, 9, None],
        ),
        (lambda query: query.filter(parent__in=Node.query.filter(name="a")), [1, 9, 9, None]),
        (lambda query: query.order_by("-parent__name").filter(rank=2), [1, 9, 3, None]),
        (lambda query: query.join(Node.labels), [9, 2, 3, None]),
        (lambda query: query.join(Node.labels).distinct(), [9, 2, 3, None]),
        (lambda query: query.with_related("parent", "labels").filter(name="b"), [1, 9, 3, None]),
        (lambda query: query.strict().filter(name="b"), [1, 9, 3, None]),
        (lambda query: query.with_for_update().filter(name="b"), [1, 9, 3, None]),
        (lambda query: query.where(Node.id == Label.id, Label.word == "x"), [9, 2, 3, None]),
        (lambda query: query.filter(name="x"), [1, 2, 3, None]),
    ],
)
def test_writes_the_rows_of_the_query_and_counts_them(
    tree: None, database: Database, narrow: Callable[[Any], Any], expected: list[Any]
) -> None:
    with unit_of_work():
        assert narrow(Node.query).update(rank=9) == expected.count(9)
    assert ranks(database) == expected
    with unit_of_work():
        Node.query.update(parent=None)
        session.execute(labelling.delete())
        kept = "".join(name for name, rank in zip("abcd", expected, strict=True) if rank != 9)
        Node.query.filter(rank=9).delete()
    rows = database.rows("SELECT name FROM node ORDER BY name")
    assert "".join(name for (name,) in rows) == kept


def test_deletes_the_rows_of_the_query(tree: None, database: Database) -> None:
    with unit_of_work():
        assert Node.query.filter(children__isnull=True).delete() == 2
        assert Node.query.filter(parent__name="nobody").delete() == 0
    assert len(database.rows("SELECT id FROM node")) == 2
    with unit_of_work():
        assert Label.query.filter(nodes__isnull=True).delete() == 0
        assert Label.query.exclude(nodes__name="b").order_by("word").count() == 2


def test_sets_values_expressions_and_all_that_a_column_is_behind(
    tree: None, database: Database
) -> None:
    with unit_of_work():
        a, b = (Node.query.filter(name=name).one() for name in "ab")
        assert Node.query.update(rank=Node.rank + 10, name=func.upper(Node.name)) == 4
        assert [a.rank, a.name] == [11, "A"]
        assert Node.query.filter(title="D").update(parent=a, point=Point(1, 2), title="e") == 1
        assert Node.query.filter(name="C").update(parent=b.id, margin=4) == 1
        assert Node.query.filter(name="B").update(parent=None, rank=None) == 1
        assert b.parent is None
        assert Node.query.update() == 0
    assert database.rows("SELECT name, x, y, parent_id FROM node ORDER BY id") == [
        ("A", None, None, None),
        ("B", None, None, None),
        ("C", None, None, b.id),
        ("e", 1, 2, a.id),
    ]
    assert sorted(rank for rank in ranks(database) if rank) == [5, 11]


def test_sets_keys_of_several_columns(engine: Engine, database: Database) -> None:
    create(engine, Room, Desk)
    with unit_of_work():
        one, two = Room(building="a", number=1).save(), Room(building="a", number=2).save()
        Desk(room=one).save()
        assert Desk.query.filter(room=one).update(room=two) == 1
        assert Desk.query.pluck("room_number") == [2]
        assert Desk.query.update(room=("a", 1)) == 1
        assert Desk.query.pluck("room_number") == [1]
        assert Desk.query.update(room=None) == 1
    assert database.rows("SELECT room_building, room_number FROM desk") == [(None, None)]


def test_writes_classes_in_one_table_apart(engine: Engine, database: Database) -> None:
    create(engine, Person, Vehicle)
    with unit_of_work():
        Car(plate="car", doors=3).save()
        Vehicle(plate="van").save()
        assert Car.query.update(plate="new") == 1
        assert Vehicle.query.filter(plate="van").update(plate="old") == 1
        assert Car.query.delete() == 1
    assert database.rows("SELECT plate FROM vehicle") == [("old",)]


def test_writes_a_class_in_several_tables_to_the_table_that_has_the_column(
    engine: Engine, database: Database
) -> None:
    create(engine, Person, Engineer, Badge)
    with unit_of_work():
        ada = Engineer(name="Ada").save()
        Engineer(name="Bob", lead=ada).save()
        Person(name="Cyd").save()
        assert Engineer.query.filter(name="Ada").update(language="py") == 1
        assert Engineer.query.filter(lead__name="Ada").update(language="c", lead=None) == 1
        assert Person.query.filter(kind="engineer").update(name="X") == 2
        with pytest.raises(TypeError, match="the table of a parent class"):
            Engineer.query.update(name="Y")
        with pytest.raises(TypeError, match="several tables"):
            Engineer.query.delete()
    assert database.rows("SELECT language, lead_id FROM engineer ORDER BY id") == [
        ("py", None),
        ("c", None),
    ]
    assert database.rows("SELECT name FROM person ORDER BY id") == [("X",), ("X",), ("Cyd",)]


# Refused


@pytest.mark.parametrize(
    "write", [lambda query: query.update(rank=1), lambda query: query.delete()]
)
@pytest.mark.parametrize(
    "narrow",
    [
        lambda query: query.limit(1),
        lambda query: query.offset(1),
        lambda query: query.fetch(1),
        lambda query: query.slice(0, 1),
        lambda query: query.group_by(Node.rank),
        lambda query: query.group_by(Node.rank).having(func.count() > 1),
        lambda query: query.order_by("name").limit(1).filter(rank=1),
    ],
    ids="limit offset fetch slice group_by having order".split(),
)
def test_refuses_a_part_of_the_rows(
    tree: None, statements: Statements, narrow: Any, write: Any
) -> None:
    with unit_of_work():
        with pytest.raises(TypeError, match="LIMIT"):
            write(narrow(Node.query))
        assert statements == []
        # what was taken back is no limit
        assert Node.query.limit(1).limit(None).group_by(Node.id).group_by(None).update(rank=1) == 4


@pytest.mark.filterwarnings("ignore:Passing expression:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Passing expression:sqlalchemy.exc.SADeprecationWarning")
def test_refuses_distinct_on(tree: None, statements: Statements) -> None:
    with unit_of_work(), pytest.raises(TypeError, match="DISTINCT ON"):
        Node.query.distinct(Node.rank).delete()
    assert statements == []


@pytest.mark.parametrize(
    "name",
    "nope rnak pk children labels words parent_name doubled initial shouted length outranks save "
    "query __table__ metadata".split(),
)
def test_refuses_what_is_no_column(tree: None, statements: Statements, name: str) -> None:
    with unit_of_work():
        with pytest.raises(UnknownAttributeError, match=rf"Node\.{name}"):
            Node.query.update(rank=1, **{name: None})
        assert statements == []


@pytest.mark.parametrize("value", [Node(name="new"), Label(id=1, word="x"), "x", object(), Node])
def test_refuses_to_set_a_relation_to_what_is_no_saved_record_of_it(
    tree: None, statements: Statements, value: Any
) -> None:
    with unit_of_work():
        with pytest.raises(InvalidLookupError, match="parent takes"):
            Node.query.update(parent=value)
        with pytest.raises(UnknownAttributeError):  # the key is the person's own
            Person.query.update(badge=Badge(person_id=1))
        assert statements == []


def test_refuses_protected_names(engine: Engine) -> None:
    Library.metadata.create_all(engine, tables=[Secret.__table__])
    with unit_of_work():
        Secret(label="a").save()
        with pytest.raises(ProtectedAttributeError, match="is_admin"):
            Secret.query.update(is_admin=True)
        assert Secret.query.update(label="b") == 1


# The session


def test_brings_records_in_the_session_up_to_date(tree: None) -> None:
    with unit_of_work():
        a, b, d = (Node.query.filter(name=name).one() for name in "abd")
        assert Node.query.filter(rank__isnull=False).update(rank=Node.rank * 2) == 3
        assert (a.rank, b.rank, d.rank) == (2, 4, None)
        b.rank = 50  # flushed before
        assert Node.query.filter(rank=50).update(rank=51) == 1
        assert b.rank == 51
        assert Node.query.filter(name="d").delete() == 1
        assert d not in session
        assert Node.query.get(d.id) is None


def test_brings_a_record_up_to_date_that_was_pending(engine: Engine, database: Database) -> None:
    create(engine, Node)
    with unit_of_work():
        a, b = Node(name="a", rank=0), Node(name="b", rank=0)
        session.add_all([a, b])
        assert Node.query.filter(name="a").update(rank=5) == 1
        a.update(rank=0)  # which it is not any more
        assert Node.query.filter(name="b").delete() == 1
        assert b not in session
    assert database.rows("SELECT name, rank FROM node") == [("a", 0)]


def test_sends_nothing_else_where_autoflush_is_off(tree: None) -> None:
    with unit_of_work():
        a = Node.query.filter(name="a").one()
        with session.no_autoflush:
            a.rank = 7
            Node.query.filter(name="z").update(rank=1)
            assert a in session.dirty


def test_asks_the_database_which_records_are_meant(engine: Engine, database: Database) -> None:
    """Python would compare otherwise, or not at all: with a zone and without."""
    create(engine, Thing)
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    with unit_of_work():
        Thing(moment=noon, seen=noon, slug="Ada", price=Decimal("1.50"), name="ada").save()
    with unit_of_work():
        thing = Thing.query.one()
        for number, lookups in enumerate(
            [
                {"moment__gte": noon - timedelta(hours=1)},
                {"moment__year": 2026},
                {"seen": noon},
                {"slug": "ADA"},
                {"price__lt": "1.501"},
                {"name__icontains": "ADA"},
            ]
        ):
            assert Thing.query.filter(**lookups).update(count=number) == 1
            assert thing.count == number, lookups


@on_mariadb
def test_knows_what_the_collation_takes_for_the_same(tree: None, database: Database) -> None:
    with unit_of_work():
        a, d = Node.query.filter(name="a").one(), Node.query.filter(name="d").one()
        assert Node.query.filter(name="A ").update(rank=5) == 1
        assert a.rank == 5
        assert Node.query.filter(name="D").delete() == 1
        assert d not in session


def test_reads_no_keys_back_where_no_record_is_at_hand(tree: None, statements: Statements) -> None:
    with unit_of_work():
        Node.query.filter(name__icontains="A").update(rank=5)
        Label.query.filter(word="z").delete()
        assert len(statements) == 2
        assert not any("RETURNING" in sent for sent in statements)


def test_counts_a_version_up(engine: Engine, database: Database) -> None:
    with unit_of_work():
        document = Document(title="a").save()
        assert document.version == 1
        assert Document.query.filter(title="a").update(title="b") == 1
        assert document.version == 2
        document.update(title="c")  # not stale
    assert database.rows("SELECT title, version FROM document") == [("c", 3)]


# The guards


def test_is_undone_with_its_unit(tree: None, database: Database) -> None:
    with undone(), unit_of_work():
        assert Node.query.update(rank=9) == 4
        assert database.scalar("SELECT max(node.rank) FROM node") == 3
        raise Undone
    assert ranks(database) == [1, 2, 3, None]


@pytest.mark.parametrize(
    "write", [lambda: Node.query.filter(name="a").update(rank=9), lambda: Label.query.delete()]
)
def test_is_refused_in_a_read_only_unit(
    tree: None, database: Database, statements: Statements, write: Callable[[], int]
) -> None:
    with read_only():
        with pytest.raises(ReadOnlyError):
            write()
        assert not any(sent.startswith(("UPDATE", "DELETE")) for sent in statements)
    assert ranks(database) == [1, 2, 3, None]
    assert database.scalar("SELECT count(*) FROM label") == 2


def test_counts_as_a_write_that_can_be_lost(engine: Engine, database: Database) -> None:
    with unit_of_work():
        Member(name="ada").save()
    for write in (lambda: Member.query.update(age=9), lambda: Member.query.delete()):
        with pytest.raises(LostWritesError), unit_of_work() as unit:
            _lose(write, unit)
    assert database.rows("SELECT name, age FROM member") == [("ada", None)]


def _lose(write: Callable[[], int], unit: UnitOfWork) -> None:
    assert write() == 1
    assert unit.writes == 1
    with suppress(DBAPIError):
        session.execute(func.no_such_name().select())
    write()


def test_fails_with_a_typed_error_and_leaves_the_session_usable(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        Member(name="ada", entries=[Entry(amount=1)]).save()
    with unit_of_work():
        with pytest.raises(CheckViolation):
            Entry.query.update(amount=-1)
        assert Entry.query.update(amount=2) == 1
    assert database.rows("SELECT amount FROM entry") == [(2,)]


def test_is_refused_after_the_commit(tree: None, database: Database) -> None:
    caught: list[BaseException] = []

    def late() -> None:
        assert current_unit() is None
        try:
            Node.query.update(rank=9)
        except WriteAfterCommitError as error:
            caught.append(error)

    with unit_of_work():
        on_commit(late)
        Node.query.filter(name="a").update(rank=8)
    assert len(caught) == 1
    assert ranks(database) == [8, 2, 3, None]
