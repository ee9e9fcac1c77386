"""Lookups: what their names ask, and what is refused before any SQL is sent."""

import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import ColumnElement, Engine, ForeignKey, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from activebase import InvalidLookupError, MyBase, register_lookup, session, unit_of_work
from activebase.functions import DATE_PARTS
from activebase.hiding import watch_sessions
from activebase.operators import OPERATORS
from tests.catalog import Car, Colour, Engineer, Node, Odd, Person, Room, Thing
from tests.catalog_tables import Statements, create
from tests.core import on_sqlite

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

#: Django's list, and what DESIGN.md adds.
THE_LIST = """
    exact iexact contains icontains in gt gte lt lte startswith istartswith endswith iendswith range
    isnull regex iregex ne not_in like ilike
""".split()
THE_PARTS = """
    date year iso_year month day week week_day iso_week_day quarter time hour minute second
""".split()


def sql(expression: Any) -> str:
    """Return the WHERE clause as PostgreSQL reads it, without line breaks."""
    return " ".join(str(expression.compile(dialect=postgresql.dialect())).split())


def refused(model: Any, key: str, value: Any) -> str:
    """Return the message with which a lookup is refused, by each way in."""
    with pytest.raises(InvalidLookupError) as caught:
        model.query.filter(**{key: value})
    for ask in (model.query.exclude, model.q, model.get_by, model.get_or_create):
        with pytest.raises(InvalidLookupError):
            ask(**{key: value})
    assert caught.value.status == 400
    return str(caught.value)


# Names and operators


def test_knows_the_whole_list() -> None:
    assert set(OPERATORS) >= set(THE_LIST)
    assert set(DATE_PARTS) == set(THE_PARTS)


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        (Node, "nmae", ["Node", "'nmae'", "Did you mean 'name'?"]),
        (Node, "parent__nmae", ["Node", "Did you mean 'name'?"]),
        (Node, "labels__wrod__icontains", ["Label", "Did you mean 'word'?"]),
        (Node, "name__icontians", ["Node", "name__icontians", "Did you mean 'icontains'?"]),
        (Node, "parent__isnul", ["Node", "Did you mean 'isnull'?"]),
        (Node, "parent__lt", ["'lt'", "exact", "isnull"]),
        (Node, "name__parent", ["'parent'"]),
        (Node, "name__exact__exact", ["'exact'"]),
        (Node, "name__", ["'name__'", "Did you mean 'name'?"]),
        (Node, "parent__", ["'parent__'"]),
        (Node, "parent____name", ["Node"]),
        (Node, "__name", ["Node"]),
        (Node, "", ["Node"]),
        (Node, "__", ["Node"]),
        (Node, "outranks", ["Node"]),
        (Node, "query", ["Node"]),
        (Node, "__class__", ["Node"]),
        (Node, "metadata", ["Node"]),
        (Node, "save", ["Node"]),
        (Node, "point__gt", ["'gt'", "exact"]),
        (Node, "point__year", ["'year'"]),
        (Room, "pk__contains", ["'contains'"]),
        (Room, "pk__year", ["'year'"]),
        (Thing, "at__yaer", ["Did you mean 'year'?"]),
        (Thing, "at__yaer__gt", ["Did you mean 'year'?"]),
        (Thing, "at__year__icontains", ["'icontains'"]),
        (Thing, "blob__contains", ["'contains'"]),
        (Odd, "in__in", ["Did you mean 'in_'?"]),
        (Person, "doors", ["Person"]),
    ],
)
def test_names_the_close_match_of_an_unknown_name(model: Any, key: str, words: list[str]) -> None:
    message = refused(model, key, "x")
    assert [word for word in words if word not in message] == []


def test_knows_the_attributes_of_a_subclass_on_the_subclass_only() -> None:
    assert "vehicle.doors" in sql(Car.q(doors=4))
    assert "engineer.language" in sql(Engineer.q(language="py", name="Ada"))
    assert "Person" in refused(Person, "language", "py")


def test_refuses_a_very_long_name_at_once() -> None:
    for key in ("x" * 20_000, "parent__" * 2_000, "name__" * 2_000, "name" + "_" * 20_000):
        refused(Node, key, 1)


@pytest.mark.parametrize("name", ["shouted", "length"])
def test_says_that_a_hybrid_works_for_a_record_only(name: str) -> None:
    assert "works for a record only" in refused(Node, name, "x")
    with pytest.raises(InvalidLookupError, match="works for a record only"):
        Node.query.order_by(name)
    with pytest.raises(InvalidLookupError, match="works for a record only"):
        Node.query.values(name)


@pytest.mark.parametrize(
    ("key", "value", "column"),
    [
        ("in_", 1, 'odd."in" ='),
        ("in___in", [1], 'odd."in" IN'),
        ("class_", "c", "odd.class ="),
        ("class___icontains", "c", "odd.class ILIKE"),
        ("exact", "e", "odd.exact ="),
        ("exact__exact", "e", "odd.exact ="),
        ("year", 2026, "odd.year ="),
        ("year__gte", 2026, "odd.year >="),
        ("date__year", 2026, "odd.date >="),
        ("date__date", "2026-01-01", "CAST(odd.date AS DATE) ="),
        ("date__date__year", 2026, "EXTRACT(YEAR FROM CAST(odd.date AS DATE)) ="),
        ("name__x", "x", "odd.name_x ="),
        ("name__x__icontains", "x", "odd.name_x ILIKE"),
        ("name__icontains", "x", "odd.name ILIKE"),
        ("from_", 1, "odd.from_id ="),
        ("from___name", "x", "odd_1.name ="),
        ("from___from___in", [1], "odd_1.from_id IN"),
        ("to__year__lt", 1, "odd_1.year <"),
        ("pk", "k", "odd.pk ="),
        ("from___pk", "k", "odd_1.pk ="),
    ],
)
def test_finds_attributes_whose_names_look_like_something_else(
    key: str, value: Any, column: str
) -> None:
    assert column in sql(Odd.q(**{key: value}))


def test_gives_a_relation_its_key_though_the_related_model_has_a_pk_of_its_own() -> None:
    assert sql(Odd.q(from_=Odd(id=3))).startswith("odd.from_id =")
    assert sql(Odd.q(from_=None)) == "odd.from_id IS NULL"
    assert "NOT (EXISTS" in sql(Odd.q(to=None))


# What an operator takes


@pytest.mark.parametrize(
    "operator", sorted(set(THE_LIST) - {"exact", "iexact", "ne"}), ids=lambda name: name
)
def test_refuses_none_where_it_means_nothing(operator: str) -> None:
    assert "which None is not" in refused(Thing, f"name__{operator}", None)


def test_reads_none_as_null() -> None:
    for key in ("name", "name__exact", "name__iexact", "count__iexact", "name__isnull"):
        value = True if key.endswith("isnull") else None
        assert sql(Thing.q(**{key: value})) == f"thing.{key.partition('__')[0]} IS NULL"
    assert sql(Thing.q(name__ne=None)) == "thing.name IS NOT NULL"
    assert sql(Thing.q(at__year=None)) == "EXTRACT(YEAR FROM thing.at) IS NULL"


@pytest.mark.parametrize("flag", [1, 0, "true", "", [], object()])
def test_refuses_an_isnull_that_is_not_boolean(flag: Any) -> None:
    assert "True or False" in refused(Thing, "name__isnull", flag)


@pytest.mark.parametrize(
    "pair", [(1,), (1, 2, 3), (None, 2), (1, None), (None, None), "12", {1, 2}, 5, [], {1: 2, 3: 4}]
)
def test_refuses_a_range_that_is_not_two_values(pair: Any) -> None:
    assert "two values" in refused(Thing, "count__range", pair)


@pytest.mark.parametrize("values", ["12", b"12", 5, {"a": 1}, object(), True, Colour.RED])
def test_refuses_what_is_no_list(values: Any) -> None:
    for operator in ("in", "not_in"):
        assert "a list" in refused(Thing, f"count__{operator}", values)


@pytest.mark.parametrize(
    "values",
    [[1, 2], (1, 2), {1, 2}, range(1, 3), iter([1, 2]), {1: 0, 2: 0}.keys(), [None, 1, 2]],
    ids="list tuple set range iterator keys none".split(),
)
def test_takes_any_collection_as_a_list(values: Any) -> None:
    compiled = Thing.query.filter(count__in=values).compile()
    assert [1, 2] in compiled.params.values()


def test_says_nothing_of_the_value_in_a_refusal() -> None:
    for key, value in (("count", "hunter2"), ("key", "hunter2"), ("count__in", ["hunter2"])):
        assert "hunter2" not in refused(Thing, key, value)


@on_sqlite
def test_sends_nothing_for_what_is_refused(engine: Engine, statements: Statements) -> None:
    with unit_of_work():
        for key, value in (("nmae", 1), ("name__in", 3), ("count", "x"), ("at__year", "soon")):
            refused(Thing, key, value)
        assert statements == []


# Lookups of one's own


@pytest.fixture
def own_lookups() -> Iterator[None]:
    known = dict(OPERATORS)
    yield
    OPERATORS.clear()
    OPERATORS.update(known)


@on_sqlite
def test_adds_a_lookup(engine: Engine, own_lookups: None) -> None:
    @register_lookup("longer_than")
    def longer_than(column: ColumnElement[str], value: int) -> ColumnElement[bool]:
        return func.length(column) > value

    create(engine, Node)
    with unit_of_work():
        root = Node(name="root", rank=1).save()
        Node(name="a", parent=root).save()

        def names(query: Any) -> list[str]:
            found: list[str] = query.order_by("name").pluck("name")
            return found

        assert names(Node.query.filter(name__longer_than=2)) == ["root"]
        assert names(Node.query.exclude(name__longer_than=2)) == ["a"]
        assert names(Node.query.filter(parent__name__longer_than=2)) == ["a"]
        assert names(Node.query.exclude(parent__name__longer_than=2)) == ["root"]
        assert names(Node.query.exclude(rank__longer_than=9)) == ["a", "root"]  # NULL, too
        assert names(Node.query.filter(~Node.q(rank__longer_than=0))) == ["a"]
        assert Node.get_by(name__longer_than=2) is root
        assert Node.query.filter_from({"rank__longer_than": "0"}, allow={"rank__longer_than"}).one()
        assert names(Node.query.filter(initial__longer_than=0)) == ["a", "root"]
        assert "None" in refused(Node, "name__longer_than", None)

        @register_lookup("longer_than")
        def shorter_than(column: ColumnElement[str], value: int) -> ColumnElement[bool]:
            return func.length(column) < value

        assert names(Node.query.filter(name__longer_than=2)) == ["a"]
        assert Node.get_by(name__longer_than=2) is not root


@pytest.mark.parametrize("name", [*THE_LIST, *THE_PARTS, "a__b", "", "two words", "1st", "a-b"])
def test_refuses_a_name_that_is_taken_or_is_no_word(name: str) -> None:
    known = dict(OPERATORS)
    with pytest.raises(ValueError, match="register_lookup"):
        register_lookup(name)
    assert known == OPERATORS


# Asked by many, kept for no longer than the model


@on_sqlite
def test_gives_all_threads_the_same_answers(engine: Engine) -> None:
    class Apart(DeclarativeBase):
        pass

    class Leaf(MyBase, Apart):
        __tablename__ = "leaf"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]
        twig_id: Mapped[int | None] = mapped_column(ForeignKey("leaf.id"))
        twig: Mapped["Leaf | None"] = relationship(remote_side=id)

    Apart.metadata.create_all(engine)
    with unit_of_work():
        twig = Leaf(name="twig", twig=Leaf(name="branch")).save()
        Leaf(name="leaf", twig=twig).save()
    together = threading.Barrier(8)

    def ask(number: int) -> list[Any]:
        together.wait()
        with unit_of_work(read_only=True):
            found = Leaf.query.filter(twig__twig__name__icontains="BRANCH", twig__name="twig")
            return [*found.order_by("twig__name").pluck("name"), Leaf.get_by(name="leaf").id]  # type: ignore[union-attr]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(8))) == [["leaf", 3]] * 8


@on_sqlite
@pytest.mark.parametrize(
    "use",
    [
        lambda model: model.query.filter(name__icontains="x", up__name="y").order_by("up__name"),
        lambda model: (model.get_by(name="x"), model.get_by(up__name="x")),
        lambda model: (model.q(id=3), model.query.exclude(up__isnull=True).all()),
        lambda model: model.query.with_related("up").filter(name="x").update(name="y"),
        lambda model: model.query.filter_from({"id": "3"}, allow={"id"}).in_bulk([1]),
    ],
    ids="filter get_by q update filter_from".split(),
)
def test_keeps_no_model_alive(engine: Engine, use: Callable[[Any], Any]) -> None:
    watch_sessions()  # what a SoftDelete model anywhere does to all statements

    def dropped() -> weakref.ref[Any]:
        class Apart(DeclarativeBase):
            pass

        class Short(MyBase, Apart):
            __tablename__ = "short"
            id: Mapped[int] = mapped_column(primary_key=True)
            name: Mapped[str]
            up_id: Mapped[int | None] = mapped_column(ForeignKey("short.id"))
            up: Mapped["Short | None"] = relationship(remote_side=id)

        Apart.metadata.create_all(engine)
        with unit_of_work():
            session.scalars(select(Short)).all()
            use(Short)
        return weakref.ref(Short)

    model = dropped()
    engine.clear_compiled_cache()
    gc.collect()
    assert model() is None
