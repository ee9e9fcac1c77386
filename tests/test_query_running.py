"""What runs a query: records, values, aggregates, one batch at a time."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, String, func
from sqlalchemy.exc import InvalidRequestError, MultipleResultsFound, NoResultFound
from sqlalchemy.orm import DeclarativeBase, Mapped, joinedload, mapped_column

from activebase import InvalidLookupError, MyBase, NotFoundError, Query, session, unit_of_work
from activebase.hiding import watch_sessions
from tests.catalog import Label, Node, Odd, Point, Room, friendship, labelling
from tests.catalog_tables import Statements, create
from tests.core import on_postgres, on_sqlite, run_python
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def tree(engine: Engine) -> None:
    """``a`` (rank 1) has ``b`` (2) and ``c`` (2); ``d`` has no rank and no parent."""
    create(engine, Node, Label, labelling, friendship)
    with unit_of_work():
        a = Node(name="a", rank=1, labels=[Label(word="x"), Label(word="y")]).save()
        Node(name="b", rank=2, parent=a, point=Point(1, 2)).save()
        Node(name="c", rank=2, parent=a).save()
        Node(name="d").save()


# get_by


def test_gets_the_first_record_that_lookups_find(tree: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        a = Node.query.filter(name="a").one()
        b = Node.query.filter(name="b").one()
        statements.clear()
        for lookups, expected in (
            ({"name": "a"}, a),
            ({"name__iexact": "A"}, a),
            ({"name__icontains": "A", "rank__lte": 1}, a),
            ({"parent": a, "name": "b"}, b),
            ({"parent": a.id, "name__startswith": "b"}, b),
            ({"parent__name": "a", "rank__gte": 2, "x__isnull": False}, b),
            ({"point": Point(1, 2)}, b),
            ({"labels__word": "y"}, a),
            ({"pk": b.id}, b),
            ({"pk": str(b.id)}, b),
            ({"id__in": iter([b.id])}, b),
            ({"id__in": (number for number in [a.id])}, a),
            ({"rank__lt": Node.id - 10**6}, None),
            ({"rank": 10**30}, None),
            ({"rank": 1.5}, None),
            ({"rank": None, "parent": None, "name": "d", "x": None}, Node.query.get(b.id + 2)),
            ({"name": "z"}, None),
        ):
            assert Node.get_by(**lookups) is expected, lookups
        assert all("LIMIT" in sent for sent in statements if "WHERE node.id =" not in sent)
        assert Node.get_by() in (a, b, *Node.query.all())


def test_asks_each_time_anew_with_the_values_at_hand(tree: None) -> None:
    with unit_of_work(read_only=True):
        for rank, name in (
            (1, "a"),
            (None, "d"),
            ("1", "a"),
            (Node.id, "a"),
            (None, "d"),
            (9, None),
        ):
            found = Node.get_by(rank=rank)
            assert (found and found.name) == name


def test_gets_by_names_that_look_like_sqlalchemys_own(engine: Engine) -> None:
    create(engine, Odd)
    with unit_of_work():
        odd = Odd(param_1=5, in_=6, class_="c", pk="p", name__x="n", year=2026).save()
        assert Odd.get_by(param_1=5) is odd
        assert Odd.get_by(param_1__gte=5, in_=6, class_="c", pk="p", name__x="n", year=2026) is odd
        assert Odd.get_by(param_1=6) is None


# Records


@pytest.mark.parametrize("name", ["first", "one", "get"])
def test_raises_a_404_for_what_is_missing(tree: None, name: str) -> None:
    ask: dict[str, Callable[[Any], Any]] = {
        "first": lambda query: query.first_or_404(),
        "one": lambda query: query.one_or_404(),
        "get": lambda query: query.get_or_404(1),
    }
    with unit_of_work(read_only=True):
        with pytest.raises(NotFoundError, match="Node") as caught:
            ask[name](Node.query.filter(parent__name="z"))
        assert (caught.value.status, caught.value.model) == (404, Node)
        assert isinstance(caught.value, NoResultFound)
        assert ask[name](Node.query.filter(name="a")).name == "a"
        if name == "one":
            with pytest.raises(MultipleResultsFound):
                ask[name](Node.query.filter(rank=2))


def test_gives_records_by_their_keys(tree: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        a, b, c, _ = Node.query.order_by("name").all()
        statements.clear()
        assert Node.query.in_bulk([a.id, b.id, 999, a.id, None, str(c.id)]) == {
            a.id: a,
            b.id: b,
            c.id: c,
        }
        assert len(statements) == 1
        assert Node.query.in_bulk([]) == {}
        assert len(statements) == 1
        assert Node.query.filter(rank=2).in_bulk([a.id, b.id]) == {b.id: b}
        assert Node.query.in_bulk(range(2000)).keys() == {1, 2, 3, 4}
        assert len(statements) == 5  # 900 at once
        assert Node.query.in_bulk([10**30, a.id]) == {a.id: a}
        with pytest.raises(InvalidLookupError):
            Node.query.in_bulk(["x"])


def test_gives_records_by_keys_of_several_columns(engine: Engine) -> None:
    create(engine, Room)
    with unit_of_work():
        for number in range(1000):
            session.add(Room(building="a", number=number))
        session.flush()
        found = Room.query.in_bulk(("a", number) for number in range(-5, 1005))
        assert len(found) == 1000
        assert found["a", 7].number == 7


# Values


def test_gives_dicts_and_lists_without_records(tree: None) -> None:
    with unit_of_work(read_only=True):
        query = Node.query.order_by("name")
        assert query.values("name", "rank")[:2] == [
            {"name": "a", "rank": 1},
            {"name": "b", "rank": 2},
        ]
        assert query.values("pk", "parent", "parent__name", Node.doubled)[1] == {
            "pk": 2,
            "parent": 1,
            "parent__name": "a",
            "doubled": 4,
        }
        assert query.values("title", "initial", "parent_name", "point")[1] == {
            "title": "b",
            "initial": "b",
            "parent_name": "a",
            "point": Point(1, 2),
        }
        assert set(query.values()[0]) == {*Node.__table__.columns.keys(), "doubled"}
        assert query.pluck("rank") == [1, 2, 2, None]
        assert query.pluck(Node.rank) == [1, 2, 2, None]
        assert query.pluck(func.coalesce(Node.rank, 0)) == [1, 2, 2, 0]
        assert query.pluck("parent__name") == [None, "a", "a", None]
        assert query.limit(2).offset(1).pluck("name") == ["b", "c"]
        assert sorted(Node.query.filter(rank=2).distinct().pluck("rank")) == [2]
        assert query.filter(name="z").values("name") == query.filter(name="z").pluck("name") == []
        assert len(session.identity_map) == 0


@on_sqlite
def test_gives_all_columns_by_the_names_of_attributes(engine: Engine) -> None:
    create(engine, Odd)
    with unit_of_work():
        Odd(in_=1, class_="c", name__x="n").save()
        (found,) = Odd.query.values()
        assert (found["in_"], found["class_"], found["name__x"]) == (1, "c", "n")
        assert Odd.query.values(Odd.in_, "class_") == [{"in_": 1, "class_": "c"}]


@pytest.mark.parametrize(
    "ask",
    [
        lambda query: query.get(1),
        lambda query: query.get_or_404(1),
        lambda query: query.in_bulk([1]),
    ],
    ids=["get", "get_or_404", "in_bulk"],
)
def test_looks_for_no_key_among_some_of_the_rows(
    tree: None, statements: Statements, ask: Callable[[Any], Any]
) -> None:
    with unit_of_work(read_only=True):
        for query in (Node.query.limit(2), Node.query.offset(1), Node.query.slice(0, 2)):
            with pytest.raises(TypeError, match="LIMIT and OFFSET"):
                ask(query)
    assert statements == []


def test_gets_records_of_a_model_with_a_column_named_query(engine: Engine) -> None:
    class Base(MyBase, DeclarativeBase):
        pass

    class Search(Base):
        __tablename__ = "search"

        id: Mapped[int] = mapped_column(primary_key=True)
        query: Mapped[str] = mapped_column(String(50))  # type: ignore[assignment]

    Base.metadata.create_all(engine)
    with unit_of_work():
        search, is_new = Search.get_or_create(query="a")
        assert is_new
        assert Search.get_or_create(query="a") == (search, False)
        assert Search.get_by(query="a") is Search.get_by(query__in=["a"]) is search
    Base.metadata.drop_all(engine)


# Aggregates


def test_aggregates_over_the_rows_that_the_query_has(tree: None) -> None:
    with unit_of_work(read_only=True):
        total, number = func.sum(Node.rank), func.count()

        def over(query: Any) -> tuple[int, int]:
            found = query.aggregate(total=total, n=number)
            assert list(found) == ["total", "n"]
            return int(found["total"] or 0), found["n"]

        query = Node.query.order_by("name")
        assert over(Node.query) == over(query) == (5, 4)
        assert over(query.filter(rank=2)) == (4, 2)
        assert over(query.exclude(rank=2)) == (1, 2)
        assert over(query.limit(2)) == (3, 2)
        assert over(query.order_by(None).order_by("-name").limit(2)) == (2, 2)
        assert over(query.offset(1).limit(5)) == (4, 3)
        assert over(query.limit(0)) == (0, 0)
        assert over(query.distinct()) == (5, 4)
        assert over(query.filter(labels__word__in=["x", "y"])) == (1, 1)
        joined = Node.query.join(Node.labels)
        assert over(joined) == (2, 2)  # the rows of a join are two
        assert over(joined.distinct().order_by("name")) == (1, 1)
        assert over(Node.query.order_by("parent__name", "name").limit(3))[1] == 3
        average = Node.query.aggregate(x=func.avg(Node.rank))["x"]
        assert float(Decimal(average)) == pytest.approx(5 / 3, abs=0.001)
        with pytest.raises(TypeError, match="GROUP BY"):
            Node.query.group_by(Node.rank).aggregate(n=number)
        ranks = Node.query.with_only_columns(Node.rank).order_by("name")
        assert over(ranks.limit(2)) == (3, 2)
        for distinct in (ranks.distinct(), ranks.limit(2).distinct()):
            with pytest.raises(TypeError, match="DISTINCT"):
                over(distinct)


@pytest.mark.parametrize("wrong", ["name", None, 3, Node, func.count])
def test_refuses_to_aggregate_what_is_no_expression(engine: Engine, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"aggregate\(n=\) takes an expression"):
        Node.query.aggregate(n=wrong)


def test_counts_what_it_would_give(tree: None) -> None:
    with unit_of_work(read_only=True):
        for query in (
            Node.query,
            Node.query.order_by("-parent__name"),
            Node.query.limit(3),
            Node.query.order_by("name").offset(3),
            Node.query.limit(2).offset(3),
            Node.query.limit(0),
            Node.query.distinct(),
            Node.query.with_only_columns(Node.rank).distinct(),
            Node.query.with_only_columns(Node.rank).filter(rank=2).distinct(),
            Node.query.join(Node.labels).with_only_columns(Node.name),
            Query(Node, Label).join(Node.labels),
            Query(Node.rank, func.count()).group_by(Node.rank),
            Query(Node.rank).group_by(Node.rank).having(func.count() > 1),
            Node.query.filter(name="z"),
        ):
            assert query.count() == len(query.all()), str(query)
            assert query.any() is bool(query.all()), str(query)


# Batches


def test_yields_records_a_batch_at_a_time(tree: None, engine: Engine, database: Database) -> None:
    watch_sessions()  # with a listener to statements, SQLAlchemy 2.0 loads relations otherwise
    with unit_of_work():
        for number in range(50):
            session.add(Node(name=f"n{number}", rank=number))
        session.flush()
        session.expunge_all()
        records = Node.query.order_by("id").iterate(batch=10)
        assert isinstance(records, Iterator)
        first = next(records)
        assert first.name == "a"
        assert len(session.identity_map) <= 10
        assert [record.rank for record in records][-1] == 49
        # written and asked meanwhile
        for record in Node.query.filter(name__startswith="n").order_by("id").iterate(batch=7):
            record.update(rank=record.rank + 100)
            assert Node.query.filter(name=record.name).count() == 1
        assert next(Node.query.iterate(batch=1)) is not None  # and left half-way
        loaded = list(Node.query.order_by("id").with_related("labels").strict().iterate(batch=3))
        assert [len(record.labels) for record in loaded[:3]] == [2, 0, 0]
        pairs = Node.query.with_only_columns(Node.name, Node.rank).order_by("id").iterate(batch=3)
        assert next(pairs) == ("a", 1)
        pairs.close()
        assert next(Node.query.with_only_columns(Node.name).order_by("id").iterate()) == "a"
    assert database.scalar("SELECT sum(node.rank) FROM node") == 5 + sum(range(50)) + 5000


@pytest.mark.parametrize("batch", [0, -1])
def test_refuses_batches_of_nothing(engine: Engine, batch: int) -> None:
    with pytest.raises(ValueError, match="a number of rows from 1"):
        list(Node.query.iterate(batch=batch))


@on_sqlite
def test_refuses_batches_that_would_cut_a_collection(tree: None) -> None:
    with unit_of_work(read_only=True), pytest.raises(InvalidRequestError, match="selectinload"):
        list(Node.query.options(joinedload(Node.labels)).iterate(batch=2))


READ = """
import sys
import psutil
from activebase import configure, unit_of_work
from tests.catalog import Label

def used():  # in megabytes
    return psutil.Process().memory_info().rss / 2**20

url, how = sys.argv[1:]
configure(url)
with unit_of_work(read_only=True):
    Label.query.limit(2000).all()
    before, rows, samples = used(), 0, []
    for record in getattr(Label.query, how)():
        rows += 1
        if rows % 10_000 == 0:
            samples.append(used())
print(rows, max(samples) - before, max(samples) - samples[0])
"""


@on_postgres
@pytest.mark.parametrize("rows", [100_000])
def test_needs_no_more_memory_for_more_rows(engine: Engine, database: Database, rows: int) -> None:
    create(engine, Label)
    database.execute(f"INSERT INTO label (word) SELECT 'w' || n FROM generate_series(1, {rows}) n")
    needed = {}
    for how in ("iterate", "all"):
        ran = run_python(READ, database.url, how)
        assert ran.returncode == 0, ran.stderr
        count, needed[how], grown = map(float, ran.stdout.split())
        assert count == rows
        if how == "iterate":
            assert grown < 4  # from row 10,000 to the last
    assert needed["iterate"] < 12
    assert needed["all"] > max(50, 5 * needed["iterate"])
