"""A Query goes wherever a Select goes, and SQLAlchemy's statement cache is kept."""

import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    CompoundSelect,
    Engine,
    Select,
    delete,
    exists,
    func,
    insert,
    intersect,
    literal,
    select,
    text,
    union,
    union_all,
    update,
)
from sqlalchemy.ext.serializer import dumps, loads
from sqlalchemy.orm import aliased, joinedload, selectinload

from activebase import Query, configure, session, unit_of_work
from tests.catalog import Label, Node, friendship, labelling
from tests.catalog_tables import Statements, create
from tests.core import on_postgres, on_servers, on_sqlite
from tests.databases import EACH, Database, database_of
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def tree(engine: Engine) -> None:
    """``a`` (rank 1, labels x and y) has ``b`` (2) and ``c`` (3, label y)."""
    create(engine, Node, Label, labelling, friendship)
    with unit_of_work():
        x, y = Label(word="x"), Label(word="y")
        a = Node(name="a", rank=1, labels=[x, y]).save()
        Node(name="b", rank=2, parent=a).save()
        Node(name="c", rank=3, parent=a, labels=[y]).save()


def ranked() -> Query[Node]:
    """Return a query with all that activebase adds: a lookup, a path, an excluded one, an order."""
    found = Node.query.filter(rank__gt=1, parent__name="a").exclude(labels__word="x")
    return found.order_by("parent__name", "-name")


def names_of(statement: Any) -> list[str]:
    return [record.name for record in session.scalars(statement)]


def test_runs_in_the_session(tree: None) -> None:
    with unit_of_work(read_only=True):
        assert names_of(ranked()) == ["c", "b"]
        assert [row.Node.name for row in session.execute(ranked())] == ["c", "b"]
        assert session.scalar(ranked()).name == "c"
        assert session.execute(ranked().limit(1)).scalar_one().name == "c"
        assert [r.name for r in session.scalars(ranked(), execution_options={"x": 1})] == ["c", "b"]
        with session.connection().engine.connect() as connection:
            assert [row.name for row in connection.execute(ranked())] == ["c", "b"]


def test_is_a_subquery_in_each_place(tree: None) -> None:
    with unit_of_work(read_only=True):
        part = ranked().subquery()
        assert session.scalar(select(func.max(part.c.rank))) == 3
        assert names_of(select(aliased(Node, part)).order_by(part.c.rank)) == ["b", "c"]
        common = ranked().cte("ranked")
        joined = select(Node).join(common, common.c.id == Node.id).order_by(Node.id)
        assert names_of(joined) == ["b", "c"]
        of_label = Label.query.filter(word="y").with_only_columns(Label.id)
        assert session.scalars(select(Label.word).where(Label.id.in_(of_label))).all() == ["y"]
        assert names_of(Node.query.where(Node.id.in_(ranked().with_only_columns(Node.id))))
        top = Node.query.with_only_columns(func.max(Node.rank)).scalar_subquery()
        assert names_of(Node.query.filter(rank=top)) == ["c"]
        assert session.scalar(select(top + 1)) == 4
        lateral = Node.query.with_only_columns(Node.id).filter(rank=3).subquery("other")
        assert session.execute(
            select(Node.name).join_from(Node, lateral, lateral.c.id == Node.id)
        ).all()


def test_is_asked_for_existence(tree: None) -> None:
    with unit_of_work(read_only=True):
        assert session.scalar(select(ranked().exists())) is True
        assert session.scalar(select(Node.query.filter(name="z").exists())) is False
        child = aliased(Node)
        has_child = Query(child).where(child.parent_id == Node.id).exists()
        assert names_of(Node.query.where(has_child)) == ["a"]
        assert names_of(Node.query.where(~has_child).order_by("name")) == ["b", "c"]
        assert names_of(Node.query.where(exists().where(child.parent_id == Node.id))) == ["a"]


def test_unites_and_intersects(tree: None) -> None:
    with unit_of_work(read_only=True):
        one, two = Node.query.filter(name="a"), Node.query.filter(rank__gte=2)
        for both in (one.union(two), union(one, two), one.union_all(two), union_all(one, two)):
            assert isinstance(both, CompoundSelect)
            found = session.scalars(select(Node).from_statement(both)).all()
            assert sorted(node.name for node in found) == ["a", "b", "c"]
        common = intersect(two, Node.query.filter(name__in=["a", "b"]))
        assert names_of(select(Node).from_statement(common)) == ["b"]
        part = one.union(two).subquery()
        assert session.scalar(select(func.count()).select_from(part)) == 3


def test_takes_other_statements_of_the_model(tree: None) -> None:
    with unit_of_work(read_only=True):
        raw = text("SELECT id, name FROM node WHERE node.rank > :rank").bindparams(rank=1)
        assert sorted(names_of(Node.query.from_statement(raw))) == ["b", "c"]
        assert sorted(names_of(select(Node).from_statement(ranked()))) == ["b", "c"]


def test_is_joined_and_aliased(tree: None) -> None:
    with unit_of_work(read_only=True):
        other = aliased(Node)
        query = Node.query.join(other, Node.parent_id == other.id).where(other.name == "a")
        assert [node.name for node in query.order_by("name").all()] == ["b", "c"]
        assert query.count() == 2
        joined = Node.query.join(Node.labels).where(Label.word == "y").order_by(Node.name)
        assert [node.name for node in joined.all()] == ["a", "c"]
        outer = Node.query.outerjoin(Node.labels).where(Label.id.is_(None))
        assert [node.name for node in outer.filter(rank__gt=0).all()] == ["b"]
        # with the table in FROM already, a lookup still has a row of its own
        mixed = joined.filter(labels__word="x").exclude(parent__isnull=False)
        assert [node.name for node in mixed.all()] == ["a"]
        assert Node.query.select_from(Label).join(Label.nodes).filter(name="c").count() == 1


def test_loads_as_it_is_told(tree: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        query = Node.query.options(joinedload(Node.labels), selectinload(Node.children))
        found = query.order_by("name").all()
        assert (len(found), len(statements)) == (3, 2)
        assert [len(node.labels) for node in found] == [2, 0, 1]
        assert query.order_by("name").first() is found[0]
        assert query.filter(name="a").one() is found[0]


def test_gives_rows_for_columns_and_records_for_an_entity(tree: None) -> None:
    with unit_of_work(read_only=True):
        pairs = Node.query.with_only_columns(Node.name, Node.rank).order_by("name")
        assert pairs.all() == [("a", 1), ("b", 2), ("c", 3)]
        assert pairs.first().rank == 1  # type: ignore[union-attr]
        assert Query(Node, Label).join(Node.labels).filter(name="c").all()[0].Label.word == "y"
        assert Query(Node.name, func.count()).group_by(Node.name).order_by("name").all()[0] == (
            "a",
            1,
        )
        assert Query(literal("x")).one() == "x"
        assert [type(record) for record in Node.query.add_columns(Node.rank).all()[0]] == [
            Node,
            int,
        ]
        assert [r.name for r in Query(aliased(Node)).where(literal(value=True)).all()]


def test_feeds_core_statements(tree: None, database: Database) -> None:
    with unit_of_work():
        words = Node.query.filter(rank__gte=2).with_only_columns(Node.name)
        session.execute(insert(Label).from_select(["word"], words))
        session.execute(
            update(Node).where(Node.id.in_(select(ranked().subquery().c.id))).values(x=7)
        )
        session.execute(delete(labelling).where(labelling.c.label_id.in_(select(Label.id))))
    assert sorted(database.rows("SELECT word FROM label")) == [("b",), ("c",), ("x",), ("y",)]
    assert database.scalar("SELECT count(*) FROM node WHERE x = 7") == 2


def test_keeps_its_type_through_every_method(tree: None) -> None:
    query = Node.query
    for other in (
        query.where(Node.rank > 1),
        query.filter_by(name="a"),
        query.order_by("name").limit(1).offset(1),
        query.group_by(Node.rank).having(func.count() > 0),
        query.distinct(),
        query.join(Node.labels).outerjoin(Node.parent),
        query.options(joinedload(Node.labels)),
        query.with_for_update(nowait=True),
        query.execution_options(x=1),
        query.with_only_columns(Node.name),
        query.select_from(Node),
        query.correlate(None).prefix_with("/* a */").with_hint(Node, "x", "other"),
    ):
        assert isinstance(other, Query)
        assert isinstance(other, Select)
        assert other.filter(name="a") is not other
    assert str(query) == str(Node.query)  # none of them has changed it


@on_servers
def test_skips_rows_that_another_one_has_locked(tree: None, database: Database) -> None:
    locked, done = threading.Event(), threading.Event()

    def lock() -> None:
        with unit_of_work():
            # by the key: without an index MariaDB locks all that it looks at
            assert Node.query.filter(pk=2).with_for_update().one().name == "b"
            locked.set()
            done.wait(10)

    other = threading.Thread(target=lock)
    other.start()
    try:
        assert locked.wait(10)
        with unit_of_work():
            free = Node.query.order_by("id").with_for_update(skip_locked=True)
            assert [node.name for node in free.all()] == ["a", "c"]
            assert free.first().name == "a"  # type: ignore[union-attr]
            assert Node.query.with_for_update().filter(pk=3).update(rank=9) == 1
    finally:
        done.set()
        other.join()


@on_sqlite
def test_can_be_asked_to_lock_where_there_are_no_row_locks(tree: None) -> None:
    with unit_of_work():
        assert len(Node.query.with_for_update(skip_locked=True).all()) == 3


# The statement cache


USES: dict[str, Callable[[str], Any]] = {
    "filter": lambda v: Node.query.filter(name=v).all(),
    "lookups": lambda v: Node.query.filter(name__icontains=v, rank__lte=3, x__isnull=True).all(),
    "in": lambda v: Node.query.filter(name__in=[v, v + v]).all(),
    "exclude": lambda v: Node.query.exclude(name__startswith=v).all(),
    "path": lambda v: Node.query.filter(parent__name=v, labels__word__in=[v]).all(),
    "q": lambda v: Node.query.filter(Node.q(name=v) | ~Node.q(children__name=v)).all(),
    "get_by": lambda v: Node.get_by(name=v),
    "get_by path": lambda v: Node.get_by(parent__name__iexact=v),
    "order": lambda v: Node.query.filter(name=v).order_by("-parent__name", "id").last(),
    "values": lambda v: Node.query.filter(name=v).values("name", "parent__name"),
    "pluck": lambda v: Node.query.filter(name=v).pluck("rank"),
    "aggregate": lambda v: Node.query.filter(name=v).limit(3).aggregate(n=func.count()),
    "count": lambda v: Node.query.filter(name=v).count(),
    "any": lambda v: Node.query.filter(name=v).any(),
    "first": lambda v: Node.query.filter(name=v).first(),
    "in_bulk": lambda v: Node.query.filter(name=v).in_bulk([1, 2]),
    "with_related": lambda v: Node.query.with_related("parent").strict().filter(name=v).all(),
    "iterate": lambda v: list(Node.query.filter(name=v).iterate(batch=10)),
    "filter_from": lambda v: Node.query.filter_from({"name": v}, allow={"name"}).all(),
    "update": lambda v: Node.query.filter(name=v).update(rank=4),
    "delete": lambda v: Node.query.filter(name=v + "?").delete(),
    "scalars": lambda v: session.scalars(ranked().filter(name=v)).all(),
}


@on_sqlite
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_makes_each_statement_once(
    tree: None, engine: Engine, statements: Statements, use: Callable[[str], Any]
) -> None:
    with unit_of_work():
        engine.clear_compiled_cache()
        use("a")
        assert set(statements.hits) == {"CACHE_MISS"}
        sent = len(statements)
        use("b")
        assert statements.hits[sent:] == ["CACHE_HIT"] * sent
        assert statements[sent:] == statements[:sent]  # the same text, whatever the value


@on_sqlite
def test_says_in_the_log_that_it_was_cached(
    tree: None, sqlite_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    engine = configure(sqlite_database.url, echo=True)
    try:
        with unit_of_work(read_only=True), caplog.at_level(logging.INFO, "sqlalchemy.engine"):
            for name in ("a", "b"):
                ranked().filter(name=name).all()
        notes = [said for said in caplog.messages if said[0] == "[" and said[:4] != "[raw"]
        assert len(notes) == 2
        assert notes[0].startswith("[generated in")
        assert notes[1].startswith("[cached since")
    finally:
        engine.dispose()


@on_postgres
def test_streams_in_the_session(tree: None) -> None:
    with unit_of_work(read_only=True):
        options = {"yield_per": 2}
        assert [n.name for n in session.scalars(ranked(), execution_options=options)] == ["c", "b"]


def test_is_serialized_whatever_was_made_of_it(engine: Engine) -> None:
    with unit_of_work():
        Member(name="ada").save()
        query = Member.query.order_by("name")
        assert len(Member.query.cursor(limit=1).items) == len(query.cursor(limit=1).items) == 1
        for each in (Member.query, query, query.filter(name="ada")):
            again = loads(dumps(each), Base.metadata)
            assert session.scalars(again).all() == each.all()
