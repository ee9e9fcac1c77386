"""Names in an order, in `values()` and in `with_related()`."""

from typing import Any

import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import InvalidRequestError

from activebase import InvalidLookupError, Query, session, unit_of_work
from tests.catalog import (
    Car,
    Desk,
    Engineer,
    Label,
    Node,
    Odd,
    Person,
    Point,
    Room,
    Vehicle,
    friendship,
    labelling,
)
from tests.catalog_tables import Statements, create
from tests.core import on_sqlite
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def tree(engine: Engine) -> None:
    """``b`` has the children ``c`` and ``a``; ``a`` has ``d``; ranks 1, 2, 2, NULL."""
    create(engine, Node, Label, labelling, friendship)
    with unit_of_work():
        b = Node(name="b", rank=1, point=Point(2, 1)).save()
        Node(name="c", rank=2, parent=b, point=Point(1, 2)).save()
        a = Node(name="a", rank=2, parent=b, point=Point(1, 1), labels=[Label(word="x")]).save()
        Node(name="d", parent=a, point=Point(3, 0), labels=[Label(word="y"), *a.labels]).save()


def ordered(*terms: Any, query: Any = None) -> str:
    return "".join((Node.query if query is None else query).order_by(*terms).pluck("name"))


# order_by


def test_orders_by_names_and_by_columns(tree: None) -> None:
    with unit_of_work(read_only=True):
        assert ordered("name") == ordered(Node.name) == "abcd"
        assert ordered("-name") == ordered(Node.name.desc()) == "dcba"
        known = Node.query.filter(rank__isnull=False)
        assert ordered("-rank", "name", query=known) == "acb"
        assert ordered("rank", Node.name.desc(), query=known) == "bca"
        assert ordered("pk") == ordered("id") == "bcad"
        assert ordered("-pk") == "dacb"
        assert ordered("title") == ordered("initial") == "abcd"
        assert ordered("doubled", "name", query=known) == "bac"
        assert ordered("point") == "acbd"
        assert ordered("-point") == "dbca"


def test_adds_to_the_order_and_drops_it(tree: None) -> None:
    with unit_of_work(read_only=True):
        query = Node.query.filter(rank=2).order_by("rank")
        assert ordered("-name", query=query) == "ca"
        assert "ORDER BY" not in str(query.order_by(None))
        assert ordered("name", query=query.order_by(None)) == "ac"


def test_orders_through_relations_to_one_and_loses_no_row(tree: None) -> None:
    with unit_of_work(read_only=True):
        inner = Node.query.filter(parent__isnull=False)
        assert ordered("parent__name", "name", query=inner) == "dac"
        assert ordered("-parent__name", "-name", query=inner) == "cad"
        assert ordered("parent", "-name", query=inner) == "cad"
        assert ordered("-up__title", "name", query=inner) == "acd"
        assert ordered("parent_name", "name", query=inner) == "dac"
        assert sorted(ordered("parent__parent__name")) == list("abcd")
        deep = Node.query.filter(parent__parent__isnull=False)
        assert ordered("parent__parent__name", query=deep) == "d"
        query = Node.query.order_by("parent__name", "-parent__rank", "parent__parent__name")
        assert query.count() == len(query.all()) == 4
        assert str(query).count("JOIN") == 2  # one for each relation, however often it is named


def test_orders_by_keys_of_several_columns(engine: Engine) -> None:
    create(engine, Room, Desk)
    with unit_of_work():
        for building, number in (("b", 1), ("a", 2), ("a", 1)):
            Desk(room=Room(building=building, number=number)).save()
        assert Room.query.order_by("pk").pluck(Room.number + 0) == [1, 2, 1]
        assert Room.query.order_by("-pk").pluck("building") == ["b", "a", "a"]
        assert Desk.query.order_by("room").pluck("id") == [3, 2, 1]
        assert Room.query.last().building == "b"  # type: ignore[union-attr]
        with pytest.raises(InvalidLookupError, match="several columns"):
            Room.query.pluck("pk")


def test_orders_by_classes_in_several_tables_or_in_one(engine: Engine) -> None:
    create(engine, Person, Engineer, Vehicle)
    with unit_of_work():
        ada = Engineer(name="Ada").save()
        bob = Engineer(name="Bob", lead=ada).save()
        car = Car(plate="car", owner=bob).save()
        van = Vehicle(plate="van", owner=ada, towed_by_id=car.id).save()
        Vehicle(plate="bus", owner=ada, towed_by_id=van.id).save()
        assert Vehicle.query.order_by("owner__name", "plate").pluck("plate") == [
            "bus",
            "van",
            "car",
        ]
        assert Engineer.query.order_by("-name").pluck("name") == ["Bob", "Ada"]
        assert Engineer.query.exclude(lead=None).order_by("lead__name").pluck("name") == ["Bob"]
        towed = Vehicle.query.exclude(towed_by=None).order_by("towed_by__plate")
        assert towed.values("plate", "towed_by__plate") == [
            {"plate": "van", "towed_by__plate": "car"}
        ]
        # a van tows the bus, and a van is no car
        assert Vehicle.query.filter(plate="bus").pluck("towed_by__plate") == [None]


@pytest.mark.parametrize(
    "name",
    [
        *"nmae --name - -- -nmae name__ name__year name__icontains parent__nmae parent__".split(),
        *"labels__word children -labels words outranks shouted length query".split(),
        *("", " name", "name desc"),
    ],
)
def test_refuses_to_order_by_what_is_no_column(name: str) -> None:
    with pytest.raises(InvalidLookupError):
        Node.query.order_by(name)
    with pytest.raises(InvalidLookupError):
        Node.query.values(name)
    with pytest.raises(InvalidLookupError):
        Node.query.pluck(name)


def test_says_what_is_wrong_with_an_order() -> None:
    with pytest.raises(InvalidLookupError, match="Did you mean 'name'"):
        Node.query.order_by("-nmae")
    with pytest.raises(InvalidLookupError, match="leads to many"):
        Node.query.order_by("parent__labels__word")


@on_sqlite
def test_orders_by_names_of_labels(tree: None) -> None:
    with unit_of_work(read_only=True):
        query: Any = Query(Node.rank, func.count().label("nodes")).group_by(Node.rank)
        assert query.order_by("-nodes", "rank").all() == [(2, 2), (None, 1), (1, 1)]
        low = Node.query.add_columns(func.lower(Node.name).label("low"))
        assert [row.low for row in low.order_by("-low").all()] == list("dcba")


# last


def test_gives_the_last_record(tree: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        known = Node.query.filter(rank__isnull=False)

        def last(query: Any) -> str:
            return query.last().name

        assert last(Node.query) == "d"  # by the key
        assert last(Node.query.order_by("name")) == "d"
        assert last(Node.query.order_by("-name")) == "a"
        assert last(known.order_by("rank", "-name")) == "a"
        assert last(known.order_by(Node.rank.desc(), Node.name.asc())) == "b"
        assert last(known.order_by("-parent__name", "name").exclude(parent=None)) == "c"
        assert last(known.order_by(func.upper(Node.name))) == "c"
        assert Node.query.filter(name="x").last() is None
        assert all("LIMIT" in sent for sent in statements)
        for sliced in (Node.query.limit(2), Node.query.offset(1), Node.query.slice(0, 2)):
            with pytest.raises(TypeError, match="LIMIT"):
                sliced.last()


def test_can_not_turn_a_text_round(engine: Engine) -> None:
    for term in (text("name DESC"), text("name")):
        with pytest.raises(TypeError, match="the text 'name"):
            Node.query.order_by(term).last()


def test_is_the_last_of_all_with_nulls(tree: None, database: Database) -> None:
    with unit_of_work(read_only=True):
        for terms in (("rank", "name"), ("-rank", "name"), ("parent__rank", "name")):
            query = Node.query.order_by(*terms)
            assert query.last() is query.all()[-1]
        if database.dialect != "mariadb":  # which has no NULLS FIRST
            for term in (Node.rank.asc().nulls_first(), Node.rank.desc().nulls_last()):
                query = Node.query.order_by(term, Node.id)
                assert query.last() is query.all()[-1]


def test_finds_the_last_of_a_model_with_a_pk_of_its_own(engine: Engine) -> None:
    create(engine, Odd)
    with unit_of_work():
        first, last = Odd(pk="z").save(), Odd(pk="a").save()
        assert Odd.query.last() is last
        assert Odd.query.in_bulk([first.id, 99]) == {first.id: first}
        assert Odd.query.order_by("pk").last() is first
        assert Odd.query.get(first.id) is first


# with_related


def loads(statements: Statements) -> int:
    """Return how many statements were sent since it was last asked."""
    sent = len(statements)
    statements.clear()
    return sent


def test_loads_relations_with_the_records(tree: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        query = Node.query.with_related("parent", "labels__nodes", "children").strict()
        found = query.order_by("name").all()
        assert "JOIN node" in statements[0]
        assert loads(statements) == 4  # itself with its parent; children, labels, their nodes
        assert [node.parent and node.parent.name for node in found] == ["b", None, "b", "a"]
        assert [len(node.labels) for node in found] == [1, 0, 0, 2]
        assert [len(node.children) for node in found] == [1, 2, 0, 0]
        assert sorted(len(label.nodes) for label in found[3].labels) == [1, 2]
        assert loads(statements) == 0
        with pytest.raises(InvalidRequestError, match="lazy='raise'"):
            _ = found[0].friends


def test_has_every_lazy_load_raise(tree: None) -> None:
    for strict in (
        Node.query.strict().with_related("parent"),
        Node.query.with_related("parent").strict(),
    ):
        with unit_of_work(read_only=True):
            found = strict.filter(name="d").one()
            assert found.parent is not None
            for lazy in (
                lambda found=found: found.labels,
                lambda found=found: found.parent.parent,
                lambda found=found: found.parent.children,
            ):
                with pytest.raises(InvalidRequestError, match="lazy='raise'"):
                    lazy()


def test_counts_and_plucks_whatever_is_loaded_along(tree: None) -> None:
    with unit_of_work(read_only=True):
        for query in (Node.query.with_related("parent", "labels"), Node.query.strict()):
            assert (query.count(), query.any()) == (4, True)
            assert query.order_by("name").pluck("name") == list("abcd")
            assert query.order_by("name").values("parent__name")[1] == {"parent__name": None}
            assert query.aggregate(n=func.count()) == {"n": 4}
            assert query.order_by("name").limit(2).aggregate(n=func.count()) == {"n": 2}
            assert sorted(query.in_bulk([1, 2])) == [1, 2]
            assert query.order_by("name").first().name == "a"  # type: ignore[union-attr]
            assert query.last().name == "d"  # type: ignore[union-attr]
            assert query.filter(name="a").one().name == "a"
            assert session.scalar(select(func.count()).select_from(query.subquery())) == 4


@pytest.mark.parametrize("name", ["name", "parent__name", "pk", "nope", "labels__", "", "point"])
def test_refuses_to_load_what_is_no_relation(name: str) -> None:
    with pytest.raises(InvalidLookupError):
        Node.query.with_related(name)
