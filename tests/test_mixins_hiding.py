"""SoftDelete: which statements hide deleted rows, and which show them."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Engine,
    delete,
    event,
    exists,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
    update,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    aliased,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from activebase import MyBase, Query, session, unit_of_work
from activebase.mixins import SoftDelete
from activebase.session import ActiveSession
from tests.databases import Database
from tests.newsroom import Comment, Desk, Film, Label, Story, Writer

pytest_plugins = ["tests.core_fixtures", "tests.newsroom_fixtures"]
pytestmark = pytest.mark.usefixtures("newsroom_rows")


@pytest.fixture
def database(each_database: Database) -> Database:
    return each_database


def titles(statement: Any, *, with_deleted: bool = False) -> list[Any]:
    """Run a statement in a session of its own; returns what is in its first column, sorted."""
    with unit_of_work():
        options = {"with_deleted": True} if with_deleted else {}
        found = session.execute(statement, execution_options=options).all()
        return sorted(row[0].title if isinstance(row[0], Story) else row[0] for row in found)


LIVE, ALL = ["ann1", "bob1"], ["ann1", "ann2", "bob1", "bob2"]
other = aliased(Story)

STATEMENTS: dict[str, Callable[[], Any]] = {
    "records": lambda: select(Story),
    "query": lambda: Story.query,
    "columns": lambda: select(Story.title),
    "alias": lambda: select(other),
    "columns of an alias": lambda: select(other.title),
    "subquery": lambda: select(select(Story.title).subquery().c.title),
    "records of a subquery": lambda: select(aliased(Story, select(Story).subquery())),
    "cte": lambda: select(select(Story.title).cte().c.title),
    "union": lambda: union_all(
        select(Story.title).where(Story.title < "b"), select(other.title).where(other.title > "b")
    ),
    "records of a union": lambda: select(Story).from_statement(
        union_all(select(Story).where(Story.title < "b"), select(Story).where(Story.title > "b"))
    ),
    "scalar subquery": lambda: select(literal("ann1")).where(
        select(func.count(Story.id)).scalar_subquery() == 2
    ),
    "in": lambda: select(Story.title).where(Story.id.in_(select(other.id))),
    "group": lambda: select(Story.title).group_by(Story.title).having(func.count() == 1),
    "distinct and limit": lambda: select(Story.title).distinct().limit(4),
    "self join": lambda: select(Story.title).join(other, other.id == Story.id),
    "sql without a model in its columns": lambda: select(literal("ann1")).select_from(Story),
    "bulk options": lambda: select(Story).execution_options(yield_per=1),
}
EXPECTED = {
    "scalar subquery": (["ann1"], []),
    "sql without a model in its columns": (["ann1"] * 2, ["ann1"] * 4),
}


def test_hides_deleted_rows_in_every_statement() -> None:
    for name, make in STATEMENTS.items():
        live, everything = EXPECTED.get(name, (LIVE, ALL))
        assert titles(make()) == live, name
        assert titles(make(), with_deleted=True) == everything, name


def test_hides_deleted_rows_of_all_models_in_a_join() -> None:
    both = select(Story.title, Writer.name).join(Story.writer)
    assert titles(both) == ["ann1"]
    assert titles(select(Story.title).join(Writer, Writer.id == Story.writer_id)) == ["ann1"]
    assert titles(both, with_deleted=True) == ALL
    with unit_of_work():
        outer = session.execute(select(Story.title, Writer.name).outerjoin(Story.writer)).all()
        assert sorted(map(tuple, outer), key=str) == [("ann1", "ann"), ("bob1", None)]


def test_hides_deleted_rows_in_an_exists_that_selects_them() -> None:
    deleted = select(Writer.id).where(Writer.id == Story.writer_id, Writer.name == "bob")
    assert titles(select(Story).where(exists(deleted))) == []
    assert titles(select(Story).where(exists(deleted)), with_deleted=True) == ["bob1", "bob2"]


def test_hides_deleted_rows_of_a_model_named_in_where_alone() -> None:
    """SQLAlchemy 2.0 puts no criteria on a model of which nothing is selected (#13070)."""
    of_bob = Writer.name == "bob"
    expected = ["bob1"] if sqlalchemy.__version__.startswith("2.0.") else []
    assert titles(select(Story).where(Story.writer.has(of_bob))) == expected
    assert titles(select(Story).where(exists().where(Writer.id == Story.writer_id, of_bob))) == (
        expected
    )
    assert titles(select(Story.title).where(Writer.id == Story.writer_id, of_bob)) == expected


# Query


def test_counts_and_looks_for_what_is_not_deleted() -> None:
    with unit_of_work():
        gone = Story.query.filter(title="bob2")
        assert (Story.query.count(), gone.any(), gone.first()) == (2, False, None)
        assert Story.get_by(title="bob2") is None
        assert Story.query.with_deleted().count() == 4
        assert gone.with_deleted().any()
        assert [story.title for story in gone.with_deleted().all()] == ["bob2"]


def test_lookups_meet_no_deleted_related_rows() -> None:
    with unit_of_work():
        of_bob = Story.query.filter(writer__name="bob")
        assert of_bob.all() == []
        assert of_bob.with_deleted().count() == 2
        assert Story.query.exclude(writer__name="bob").count() == 2
        assert Writer.query.filter(stories__title="ann2").all() == []
        assert Story.query.filter(labels__word="ann1").count() == 1
        assert Story.query.filter(labels__word="bob1").count() == 0
        assert Story.query.filter(labels__isnull=True).count() == 1
        assert Desk.query.filter(writers__stories__title__endswith="2").count() == 0


def test_orders_and_loads_by_related_rows_that_are_deleted() -> None:
    with unit_of_work():
        for query in (Story.query.order_by("writer__name"), Story.query.with_related("writer")):
            found = {story.title: story.writer and story.writer.name for story in query.all()}
            assert found == {"ann1": "ann", "bob1": None}


def test_shows_deleted_records_by_an_execution_option() -> None:
    with unit_of_work():
        statement = select(Story.title).execution_options(with_deleted=True)
        assert sorted(session.scalars(statement)) == ALL
        assert isinstance(Story.query.with_deleted(), Query)
        both = Story.query.with_deleted().filter(Story.is_deleted)
        assert sorted(story.title for story in both.all()) == ["ann2", "bob2"]


# INSERT, UPDATE and DELETE


def test_bulk_statements_leave_deleted_rows_alone(database: Database) -> None:
    with unit_of_work():
        assert session.execute(update(Story).values(title="new")).rowcount == 2
        assert Story.query.update(title="newer") == 2
        assert Label.query.delete() == 1
    assert database.scalar("SELECT count(*) FROM story WHERE title = 'newer'") == 2
    assert database.scalar("SELECT count(*) FROM story") == 4
    assert database.scalar("SELECT count(*) FROM label WHERE deleted_at IS NULL") == 0
    with unit_of_work():
        assert Story.query.with_deleted().update(title="newest") == 4
        session.execute(delete(Story.labels.prop.secondary))  # type: ignore[arg-type]
        assert session.execute(delete(Story)).rowcount == 2
        assert session.execute(delete(Story).execution_options(with_deleted=True)).rowcount == 2
    assert database.scalar("SELECT count(*) FROM story") == 0


def test_bulk_statements_of_a_joined_subclass_leave_deleted_rows_alone(database: Database) -> None:
    with unit_of_work():
        for file in "abc":
            Film(file=file).save()
        Film.query.filter(file="c").one().delete()
        assert session.execute(update(Film).values(seconds=5)).rowcount == 2
        assert session.execute(delete(Film).where(Film.seconds == 0)).rowcount == 0
    assert database.rows("SELECT seconds FROM film ORDER BY id") == [(5,), (5,), (0,)]


def test_an_update_by_primary_keys_reaches_every_row(database: Database) -> None:
    with unit_of_work():
        keys = [writer.id for writer in Writer.query.with_deleted().all()]
        session.execute(update(Writer), [{"id": pk, "name": "new"} for pk in keys])
        film = Film(file="a").save()
        film.delete()
        session.execute(update(Film), [{"id": film.id, "version": film.version, "seconds": 9}])
        session.execute(insert(Label), [{"word": "x"}, {"word": "y"}])
    assert database.scalar("SELECT seconds FROM film") == 9
    assert database.scalar("SELECT count(*) FROM writer WHERE name = 'new'") == 2


def found_by(statement: Any) -> list[str]:
    found = session.scalars(statement)
    return sorted(each.title if isinstance(each, Story) else each for each in found)


def test_an_insert_copies_what_is_not_deleted(database: Database) -> None:
    copies = insert(Comment).from_select(["body"], select(Story.title))
    with unit_of_work():
        session.execute(copies)
        assert found_by(select(Comment.body)) == LIVE
        session.execute(copies, execution_options={"with_deleted": True})
        assert found_by(select(Comment.body)) == sorted(LIVE + ALL)
        session.execute(insert(Comment.__table__).from_select(["body"], select(Story.title)))
    assert database.scalar("SELECT count(*) FROM comment") == 8


# What pays, and what not


def test_keeps_the_statement_cache(engine: Engine) -> None:
    hits: list[Any] = []

    @event.listens_for(engine, "before_cursor_execute")
    def note(conn: Any, cursor: Any, sent: Any, values: Any, context: Any, many: Any) -> None:
        if not sent.startswith(("BEGIN", "RELEASE", "SAVEPOINT")):
            hits.append(context.cache_hit.name)

    def run() -> None:
        with unit_of_work():
            for query in (Story.query, Story.query.with_deleted(), Desk.query):
                for record in query.all():
                    [len(record.writers) if isinstance(record, Desk) else record.writer]
            Story.query.update(title="x")

    run()
    hits.clear()
    run()
    assert len(hits) > 6
    assert set(hits) == {"CACHE_HIT"}


def test_keeps_no_statement_alive() -> None:
    with unit_of_work():
        statement = select(Story).where(Story.title == "ann1")
        assert session.scalars(statement).all() == session.scalars(statement).all()
        reference = weakref.ref(statement)
        del statement
        gc.collect()
        assert reference() is None


def test_leaves_statements_of_the_core_alone() -> None:
    with unit_of_work():
        assert len(session.execute(select(Story.__table__)).all()) == 4
        assert len(session.execute(text("SELECT * FROM story")).all()) == 4
        written = select(Story).from_statement(text("SELECT * FROM story"))
        assert len(session.scalars(written).all()) == 4


def test_hides_in_the_sessions_of_other_bases(database: Database, engine: Engine) -> None:
    made = scoped_session(sessionmaker(engine))

    class Base(MyBase, DeclarativeBase):
        session = made

    class Pin(SoftDelete, Base):
        __tablename__ = "pin"
        id: Mapped[int] = mapped_column(primary_key=True)

    Base.metadata.create_all(engine)
    with unit_of_work(session=made):
        pin = Pin().save()
        Pin().save().delete()
        assert isinstance(made(), ActiveSession)
        assert Pin.query.all() == [pin]
        pin.delete()
        assert Pin.get(pin.id) is None
    assert database.scalar("SELECT count(*) FROM pin WHERE deleted_at IS NOT NULL") == 2
