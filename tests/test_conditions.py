"""Lookups across relations: EXISTS, one related row or several, and what NOT makes of them."""

from typing import Any

import pytest
from sqlalchemy import Engine, select

from activebase import InvalidLookupError, Query, session, unit_of_work
from tests.catalog import (
    Badge,
    Desk,
    Engineer,
    Label,
    Node,
    Person,
    Point,
    Room,
    Vehicle,
    friendship,
    labelling,
)
from tests.catalog_tables import Statements, check_complement, create, names
from tests.core import on_sqlite
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def forest(engine: Engine) -> None:
    """A tree of five, with labels and friends.

    ::

        root 1 (old, tall)        lone NULL
        ├── left NULL (tall)      root -> left, twig
        │   └── twig 3 (old)      twig -> lone
        └── right 2
    """
    create(engine, Node, Label, labelling, friendship)
    with unit_of_work():
        old, tall = Label(word="old"), Label(word="tall")
        root = Node(name="root", rank=1, point=Point(1, 2), labels=[old, tall])
        left = Node(name="left", parent=root, point=Point(1, None), labels=[tall])
        right = Node(name="right", rank=2, parent=root, point=Point(3, 4))
        twig = Node(name="twig", rank=3, parent=left, labels=[old])
        lone = Node(name="lone")
        root.friends, twig.friends = [left, twig], [lone]
        session.add_all([root, left, right, twig, lone])


# Which rows


PATHS: list[tuple[dict[str, Any], str]] = [
    ({"parent__name": "root"}, "left right"),
    ({"parent__name__icontains": "OO"}, "left right"),
    ({"parent__parent__name": "root"}, "twig"),
    ({"parent__parent__rank__gte": 1}, "twig"),
    ({"parent__rank__isnull": True}, "lone root twig"),
    ({"parent__rank__isnull": False}, "left right"),
    ({"parent__rank": None}, "lone root twig"),
    ({"parent__rank__ne": 1}, ""),
    ({"parent__rank__ne": 9}, "left right"),
    ({"parent__rank__not_in": [9]}, "left right"),
    ({"parent__rank__not_in": []}, "left lone right root twig"),
    ({"parent__rank__in": []}, ""),
    ({"parent__parent__rank__isnull": True}, "left lone right root"),
    ({"parent": None}, "lone root"),
    ({"parent__isnull": False}, "left right twig"),
    ({"parent__pk__isnull": True}, "lone root"),
    ({"parent__parent": None}, "left lone right root"),
    ({"parent__parent__isnull": False}, "twig"),
    ({"children__name__startswith": "t"}, "left"),
    ({"children__rank__gt": 0}, "left root"),
    ({"children__isnull": True}, "lone right twig"),
    ({"children__isnull": False}, "left root"),
    ({"children": None, "labels": None}, "lone right"),
    ({"children__rank__isnull": True}, "lone right root twig"),
    ({"children__rank__isnull": True, "children__name": "left"}, "root"),
    ({"children__isnull": True, "children__name": "left"}, ""),
    ({"children__children__name": "twig"}, "root"),
    ({"children__children__children__isnull": True}, "left lone right root twig"),
    ({"children__parent__name": "root"}, "root"),
    ({"children__parent__children__name": "right"}, "root"),
    ({"parent__children__name": "right"}, "left right"),
    ({"labels__word": "old"}, "root twig"),
    ({"labels__word__in": ["old", "tall"]}, "left root twig"),
    ({"labels__word__ne": "old"}, "left root"),
    ({"labels__word__contains": "l", "labels__word__startswith": "o"}, "root twig"),
    ({"labels__isnull": True}, "lone right"),
    ({"labels__nodes__name": "root"}, "left root twig"),
    ({"labels__nodes__parent__name": "root", "name__ne": "left"}, "root"),
    ({"friends__name": "lone"}, "twig"),
    ({"friends__friends__name": "lone"}, "root"),
    ({"friends__parent__name": "root", "friends__rank": None}, "root"),
    ({"friends__labels__word": "tall"}, "root"),
    ({"friends__isnull": True}, "left lone right"),
    ({"ranked_parent__name": "root"}, "left right"),
    ({"ranked_parent__isnull": True}, "lone root twig"),
    ({"ranked_parent__parent__isnull": True, "parent__isnull": False}, "left right twig"),
    ({"words": "old"}, "root twig"),
    ({"words__istartswith": "TA"}, "left root"),
    ({"words": "old", "labels__word": "tall"}, ""),
    ({"parent_name": "root"}, "left right"),
    ({"parent_name": None}, "lone root"),
    ({"grand_name": "root"}, "twig"),
    ({"up__title": "left"}, "twig"),
    ({"up": None}, "lone root"),
    ({"title__endswith": "t"}, "left right root"),
    ({"doubled__gt": 2}, "right twig"),
    ({"parent__doubled": 2}, "left right"),
    ({"children__doubled__gte": 4}, "left root"),
    ({"initial__in": ["l", "t"]}, "left lone twig"),
    ({"parent__initial": "r"}, "left right"),
    ({"margin": 0}, "root"),
    ({"parent__margin__isnull": True}, "lone root twig"),
    ({"rank__lt": Node.doubled}, "right root twig"),
    ({"rank__gt": Node.id}, ""),
    ({"parent__rank__lt": Node.rank}, "right"),
    ({"children__rank__gt": Node.rank}, "root"),
    ({"children__children__rank__gt": Node.rank}, "root"),
    ({"rank__in": [Node.id, 3]}, "root twig"),
    ({"rank__in": [Node.x, 99]}, "root"),
    ({"rank__not_in": [Node.x, 99]}, "right"),
    ({"rank__range": (Node.x, 99)}, "root"),
    ({"point": Point(1, 2)}, "root"),
    ({"point": Point(1, None)}, "left"),
    ({"point": None}, "lone twig"),
    ({"point__isnull": False}, "left right root"),
    ({"point__ne": Point(1, 2)}, "left right"),
    ({"point__in": [Point(1, 2), None, Point(3, 4)]}, "right root"),
    ({"point__not_in": [Point(3, 4)]}, "left root"),
    ({"point__not_in": []}, "left lone right root twig"),
    ({"point__in": []}, ""),
    ({"parent__point": Point(1, None)}, "twig"),
    ({"parent__point__isnull": True}, "lone root"),
    ({}, "left lone right root twig"),
]


def test_finds_each_row_once(forest: None) -> None:
    wrong = []
    with unit_of_work(read_only=True):
        for lookups, expected in PATHS:
            found = names(Node.query.filter(**lookups))
            if found != expected:
                wrong.append((lookups, found, expected))
    assert wrong == []


def test_excludes_all_the_others(forest: None) -> None:
    with unit_of_work(read_only=True):
        for lookups, _ in PATHS:
            if lookups:
                check_complement(Node, lookups, "name")


def test_takes_conditions_of_one_call_for_one_related_row(forest: None) -> None:
    with unit_of_work(read_only=True):
        both = {"children__name": "right", "children__rank": None}
        assert names(Node.query.filter(**both)) == ""
        apart = Node.query.filter(children__name="right").filter(children__rank=None)
        assert names(apart) == "root"
        assert names(Node.query.filter(Node.q(**both))) == ""
        either = Node.q(children__name="right") & Node.q(children__rank=None)
        assert names(Node.query.filter(either)) == "root"
        assert names(Node.query.filter(labels__word="old").filter(labels__word="tall")) == "root"
        assert names(Node.query.exclude(**both)) == "left lone right root twig"
        assert names(Node.query.exclude(labels__word="old")) == "left lone right"
        # a path's beginning is one row as well
        deep = {"children__children__name": "twig", "children__name": "right"}
        assert names(Node.query.filter(**deep)) == ""


def test_counts_pages_and_aggregates_without_repeats(forest: None) -> None:
    with unit_of_work(read_only=True):
        found = Node.query.filter(labels__word__in=["old", "tall"], friends__isnull=False)
        assert (found.count(), len(found.all())) == (2, 2)
        assert found.order_by("name").limit(1).offset(1).pluck("name") == ["twig"]
        assert found.with_related("labels", "friends").count() == 2


# Records


def test_takes_records_and_their_keys(forest: None) -> None:
    with unit_of_work():
        root, left = (Node.query.filter(name=name).one() for name in ("root", "left"))
        for value in (root, root.id, str(root.id), float(root.id)):
            assert names(Node.query.filter(parent=value)) == "left right"
        assert names(Node.query.filter(parent__in=[root, left.id, None])) == "left right twig"
        assert names(Node.query.filter(parent__ne=root)) == "twig"
        assert names(Node.query.filter(children=left)) == "root"
        assert names(Node.query.exclude(friends=left)) == "left lone right twig"
        assert names(Node.query.filter(pk=root)) == "root"
        assert names(Node.query.filter(pk__in=[root, left])) == "left root"
        session.expire(root)
        assert names(Node.query.filter(parent=root)) == "left right"
    with unit_of_work() as unit:
        again = Node.query.filter(name="root").one().update(rank=7)
        unit.rollback()
    with unit_of_work(read_only=True):  # of another session, and nothing but its key is known
        assert names(Node.query.filter(parent=root)) == "left right"
        assert names(Node.query.filter(parent=again)) == "left right"


def test_takes_records_of_subclasses() -> None:
    assert "owner_id" in str(Vehicle.q(owner=Engineer(id=3)))
    with pytest.raises(InvalidLookupError, match="a record of Engineer"):
        Engineer.q(lead=Person(id=3))
    with pytest.raises(InvalidLookupError, match="a record of Car"):
        Vehicle.q(towed_by=Vehicle(id=3))


@pytest.mark.parametrize("key", ["parent", "parent__pk", "children", "pk"])
def test_refuses_records_that_are_not_saved_or_of_another_model(key: str) -> None:
    with pytest.raises(InvalidLookupError, match=r"save\(\) it first"):
        Node.q(**{key: Node(name="new")})
    with pytest.raises(InvalidLookupError, match="a record of Node"):
        Node.q(**{f"{key}__in": [Label(id=3, word="x")]})
    with pytest.raises(InvalidLookupError, match="whole number"):
        Node.q(**{key: Node})


# SQL


@pytest.mark.parametrize(
    ("condition", "column"),
    [
        (lambda: Node.q(parent=Node(id=5)), "node.parent_id ="),
        (lambda: Node.q(parent=5), "node.parent_id ="),
        (lambda: Node.q(parent__id=5), "node.parent_id ="),
        (lambda: Node.q(parent__pk__in=[5]), "node.parent_id IN"),
        (lambda: Node.q(parent__id__gte=5), "node.parent_id >="),
        (lambda: Node.q(parent__isnull=True), "node.parent_id IS NULL"),
        (lambda: Node.q(up__id=5), "node.parent_id ="),
        (lambda: Desk.q(room__building="a"), "desk.room_building ="),
        (lambda: Desk.q(room=Room(building="a", number=1)), "desk.room_building, desk.room_number"),
        (lambda: Badge.q(person=5), "badge.person_id ="),
        (lambda: Vehicle.q(owner__id=5), "vehicle.owner_id ="),
    ],
)
def test_asks_the_foreign_key_alone_where_it_tells(condition: Any, column: str) -> None:
    text = str(condition())
    assert column in text
    assert "EXISTS" not in text
    assert "JOIN" not in text


def test_asks_the_related_row_where_the_foreign_key_does_not_tell() -> None:
    for condition in (
        Person.q(badge=None),  # the key is the person's own, with a badge or without
        Person.q(badge__person_id=5),
        Vehicle.q(towed_by=5),  # the row may be no car
        Node.q(ranked_parent__id=5),  # the join asks for more
        Node.q(children__id=5),
        Node.q(labels=5),
        Node.q(parent__id=5, parent__name="x"),
    ):
        assert "EXISTS" in str(condition)


def test_takes_queries_as_lists(forest: None, database: Database) -> None:
    with unit_of_work(read_only=True):
        ranked = Node.query.filter(rank__gt=0)
        assert names(Node.query.filter(parent__in=ranked)) == "left right"
        assert names(Node.query.filter(parent__in=ranked.order_by("parent__name"))) == "left right"
        assert names(Node.query.filter(parent__in=ranked.with_related("labels"))) == "left right"
        assert names(Node.query.filter(parent__in=select(Node).where(Node.rank == 1)))
        assert names(Node.query.filter(pk__in=ranked)) == "right root twig"
        assert names(Node.query.filter(id__in=ranked)) == "right root twig"
        assert names(Node.query.filter(name__in=ranked.with_only_columns(Node.name))) == (
            "right root twig"
        )
        assert names(Node.query.filter(rank__in=select(Node.id).scalar_subquery())) == (
            "right root twig"
        )
        same = ranked.filter(children__name="left")
        assert names(Node.query.filter(children__parent__in=same)) == "root"
        assert names(Node.query.filter(labels__in=Label.query.filter(nodes__name="twig"))) == (
            "root twig"
        )
        for lookups in ({"rank__in": ranked.with_only_columns(Node.rank)}, {"parent__in": ranked}):
            check_complement(Node, lookups, "name")
        nulls = Node.query.with_only_columns(Node.rank)
        assert names(Node.query.filter(~Node.q(rank__in=nulls))) == "left lone"


def test_is_never_null_behind_an_outer_join(forest: None) -> None:
    with unit_of_work():
        Label(word="unused").save()
        unused = Query(Label.word).outerjoin(Label.nodes).where(Node.id.is_(None))
        for lookups in (
            {"name": "x"},
            {"name__icontains": "x"},
            {"id__gt": 3},
            {"pk__in": [1]},
            {"parent": 3},
            {"point": Point(1, 2)},
            {"labels__word": "old"},
            {"parent__name": "x"},
            {"initial": "x"},
            {"rank__gt": Node.id},
        ):
            assert unused.where(~Node.q(**lookups)).all() == ["unused"], lookups


@on_sqlite
def test_keeps_the_statement_cache_on_paths(
    forest: None, engine: Engine, statements: Statements
) -> None:
    with unit_of_work(read_only=True):
        for key in ("parent__name", "children__children__name", "labels__word", "friends__name"):
            engine.clear_compiled_cache()
            del statements.hits[:]
            for value in ("a", "b"):
                Node.query.filter(**{key: value}).order_by("parent__name").all()
                Node.query.exclude(**{key: value}).all()
            assert statements.hits == ["CACHE_MISS", "CACHE_MISS", "CACHE_HIT", "CACHE_HIT"], key
