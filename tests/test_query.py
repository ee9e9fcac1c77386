"""Query: a Select that runs itself, and goes anywhere a Select goes."""

from collections.abc import Callable
from itertools import permutations, product
from typing import Any

import pytest
from sqlalchemy import Engine, Select, and_, event, exists, func, or_, select, union
from sqlalchemy.exc import MultipleResultsFound, NoResultFound
from sqlalchemy.orm import aliased, joinedload, selectinload

from activebase import InvalidLookupError, NotFoundError, Query, session, unit_of_work
from tests.archive import Record, archive
from tests.databases import Database
from tests.library import Author, Book, Copy, Novel, Tag
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]


@pytest.fixture
def members(engine: Engine) -> Any:
    """Three members, in an open unit."""
    with unit_of_work():
        for name, age in (("ada", 36), ("bob", None), ("cyd", 5)):
            Member(name=name, age=age).save()
        yield


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    return sent


def named(name: str) -> Member:
    return Member.query.filter_by(name=name).one()


# Running


def test_gives_all_records_in_a_list(members: None) -> None:
    found = Member.query.order_by(Member.name.desc()).all()
    assert type(found) is list
    assert [member.name for member in found] == ["cyd", "bob", "ada"]
    assert Member.query.filter_by(name="nobody").all() == []


def test_filters_by_keywords_and_by_expressions(members: None) -> None:
    assert Member.query.filter_by(name="ada", age=36).all() == [named("ada")]
    assert Member.query.filter(Member.age > 10, Member.name != "x").all() == [named("ada")]
    assert Member.query.where(or_(Member.age < 10, Member.age.is_(None))).count() == 2


def test_gives_the_first_record_or_none(members: None, statements: list[str]) -> None:
    assert Member.query.order_by(Member.age.desc(), Member.id).filter(Member.age > 0).first() == (
        named("ada")
    )
    sent = len(statements)
    assert Member.query.filter_by(name="nobody").first() is None
    assert "LIMIT" in statements[sent]
    assert Member.query.order_by(Member.id).offset(1).first() == named("bob")


def test_gives_the_only_record(members: None) -> None:
    ada = named("ada")
    assert Member.query.filter_by(name="ada").one() is ada
    assert Member.query.filter_by(name="ada").one_or_none() is ada
    assert Member.query.filter_by(name="nobody").one_or_none() is None
    with pytest.raises(NoResultFound):
        Member.query.filter_by(name="nobody").one()
    with pytest.raises(MultipleResultsFound):
        Member.query.one()
    with pytest.raises(MultipleResultsFound):
        Member.query.one_or_none()


@pytest.mark.parametrize(
    "miss",
    [
        lambda query: query.first_or_404(),
        lambda query: query.one_or_404(),
        lambda query: query.get_or_404(1),
    ],
    ids=["first", "one", "get"],
)
def test_raises_a_404_for_what_is_missing(members: None, miss: Callable[[Any], Any]) -> None:
    with pytest.raises(NotFoundError, match="Member") as caught:
        miss(Member.query.filter_by(name="nobody"))
    assert (caught.value.model, caught.value.status) == (Member, 404)


def test_gives_what_is_there_instead_of_a_404(members: None) -> None:
    ada = named("ada")
    query = Member.query.filter_by(name="ada")
    assert (query.first_or_404(), query.one_or_404(), query.get_or_404(ada.id)) == (ada, ada, ada)
    with pytest.raises(MultipleResultsFound):
        Member.query.one_or_404()


def test_gets_by_key_without_sql_where_the_session_has_it(
    members: None, statements: list[str]
) -> None:
    ada = named("ada")
    sent = len(statements)
    assert Member.query.get(ada.id) is ada
    assert len(statements) == sent
    assert Member.query.get(4711) is None


def test_keeps_the_filter_when_it_gets_by_key(members: None) -> None:
    ada, bob = named("ada"), named("bob")
    grown_up = Member.query.filter(Member.age > 18)
    assert grown_up.get(ada.id) is ada
    assert grown_up.get(bob.id) is None
    with pytest.raises(NotFoundError) as caught:
        grown_up.get_or_404(bob.id)
    assert caught.value.criteria == bob.id


def test_gets_by_a_composite_key(engine: Engine) -> None:
    Author.metadata.create_all(engine)
    with unit_of_work():
        copy = Copy(shelf=1, number=2).save()
        assert Copy.query.get((1, 2)) is copy
        assert Copy.query.where(Copy.shelf == 1).get({"shelf": 1, "number": 2}) is copy
        assert Copy.query.where(Copy.shelf == 2).get((1, 2)) is None
        with pytest.raises(TypeError, match=r"\(shelf, number\)"):
            Copy.query.where(Copy.shelf == 1).get(1)


def test_counts_rows_with_limit_offset_and_distinct(members: None) -> None:
    assert Member.query.count() == 3
    assert Member.query.filter(Member.age > 0).count() == 2
    assert Member.query.limit(2).count() == 2
    assert Member.query.order_by(Member.id).offset(1).count() == 2
    assert Query(func.coalesce(Member.age, 36)).distinct().count() == 2
    assert Query(Member.age, func.count()).group_by(Member.age).count() == 3


def test_tells_whether_there_is_a_row(members: None) -> None:
    assert Member.query.any() is True
    assert Member.query.filter_by(name="nobody").any() is False
    assert Member.query.order_by(Member.id).offset(3).any() is False
    assert Member.query.limit(0).any() is False


# exclude


def test_excludes_what_is_true_and_keeps_null(members: None) -> None:
    def excluding(*criteria: Any) -> list[str]:
        return [each.name for each in Member.query.exclude(*criteria).order_by(Member.id).all()]

    assert excluding(Member.age == 36) == ["bob", "cyd"]
    assert excluding(Member.age > 10, Member.name == "ada") == ["bob", "cyd"]
    assert excluding(Member.age < 10, Member.name == "ada") == ["ada", "bob", "cyd"]
    assert excluding(Member.age.is_(None)) == ["ada", "cyd"]
    assert excluding(Member.age.in_([5, 36])) == ["bob"]
    assert excluding() == ["ada", "bob", "cyd"]
    filtered = Member.query.filter(Member.age == 36).count()
    assert filtered + Member.query.exclude(Member.age == 36).count() == 3


# A Select


def test_is_a_select_and_stays_a_query(members: None) -> None:
    query = Member.query.where(Member.age > 1).order_by(Member.age).limit(2).distinct()
    assert isinstance(query, Query)
    assert isinstance(query, Select)
    assert [each.name for each in query.all()] == ["cyd", "ada"]
    assert str(Member.query) == str(select(Member))


def test_changes_no_query_that_another_is_made_of(members: None) -> None:
    base = Member.query.filter(Member.age > 1)
    base.filter_by(name="ada").order_by(Member.name).limit(1)
    assert base.count() == 2


def test_goes_where_a_select_goes(members: None) -> None:
    grown_up = Member.query.filter(Member.age > 18)
    ada = named("ada")
    assert session.scalars(grown_up).all() == [ada]
    assert session.execute(grown_up).scalar_one() is ada
    assert session.scalar(grown_up) is ada
    ids = grown_up.with_only_columns(Member.id)
    assert session.scalars(select(Member.name).where(Member.id.in_(ids))).all() == ["ada"]
    part = grown_up.subquery()
    assert session.execute(select(part.c.name)).all() == [("ada",)]
    alias = aliased(Member, part)
    assert session.scalars(select(alias.name)).one() == "ada"
    assert session.scalar(select(exists(grown_up.with_only_columns(Member.id)))) is True
    assert session.scalar(select(grown_up.with_only_columns(Member.age).scalar_subquery())) == 36
    common = grown_up.cte("grown_up")
    assert session.scalars(select(common.c.name)).all() == ["ada"]


def test_unites_with_other_selects(members: None) -> None:
    young, old = Member.query.filter(Member.age < 18), Member.query.filter(Member.age > 18)
    for both in (young.union(old), union(young, old), young.union_all(select(Member))):
        found = session.scalars(select(Member).from_statement(both)).all()
        assert {"ada", "cyd"} <= {member.name for member in found}


def test_gives_rows_for_several_columns_and_values_for_one(members: None) -> None:
    query = Member.query.with_only_columns(Member.name, Member.age).order_by(Member.id)
    assert query.all()[0] == ("ada", 36)
    assert query.first() == ("ada", 36)
    assert query.limit(1).one() == ("ada", 36)
    assert Member.query.with_only_columns(Member.name).order_by(Member.id).all() == [
        "ada",
        "bob",
        "cyd",
    ]
    assert Query(func.count()).select_from(Member).one() == 3
    assert Query(func.max(Member.age)).all() == [36]
    with_repeats = Member.query.with_only_columns(func.coalesce(Member.age, 36))
    assert sorted(with_repeats.all()) == [5, 36, 36]


def test_joins_and_loads_relations_without_repeating_records(engine: Engine) -> None:
    Author.metadata.create_all(engine)
    with unit_of_work():
        author = Author(name="Ada", tags=[Tag(word="a"), Tag(word="b")]).save()
        Author(name="Bob").save()
        Novel(title="Emma", author=author).save()
        joined = Author.query.join(Author.tags).where(Tag.word.in_(["a", "b"]))
        assert joined.distinct().all() == [author]
        assert Author.query.options(joinedload(Author.tags)).filter_by(name="Ada").one() is author
        session.expire(author)
        assert len(Author.query.options(joinedload(Author.tags)).all()) == 2
        assert Author.query.options(selectinload(Author.books)).first() is not None
        assert Novel.query.count() == Book.query.filter_by(kind="novel").count() == 1


@pytest.fixture
def hits(engine: Engine) -> list[str]:
    """Whether SQLAlchemy had each statement in its cache."""
    noted: list[str] = []
    event.listen(
        engine, "after_cursor_execute", lambda *details: noted.append(details[4].cache_hit.name)
    )
    return noted


@pytest.mark.parametrize(
    "use",
    [
        lambda query: query.all(),
        lambda query: query.filter(and_(Member.age > 1, Member.id > 0)).order_by(Member.id).all(),
        lambda query: query.exclude(Member.age == 1).all(),
        lambda query: query.count(),
        lambda query: query.any(),
        lambda query: query.first(),
        lambda query: query.get(1),
        lambda query: session.scalars(query).all(),
    ],
    ids="all filter exclude count any first get scalars".split(),
)
def test_keeps_the_statement_cache(
    members: None, engine: Engine, hits: list[str], use: Callable[[Any], Any]
) -> None:
    engine.clear_compiled_cache()
    use(Member.query.filter_by(name="ada"))
    use(Member.query.filter_by(name="bob"))
    assert hits == ["CACHE_MISS", "CACHE_HIT"]


# Models


def test_belongs_to_the_class_that_it_is_asked_on(engine: Engine) -> None:
    Author.metadata.create_all(engine)
    with unit_of_work():
        Book(title="Notes").save()
        novel = Novel(title="Emma").save()
        assert Novel.query.all() == [novel]
        assert Novel.query.get(1) is None
        assert len(Book.query.all()) == 2


def test_runs_in_the_session_of_its_model(engine: Engine, sqlite_database: Database) -> None:
    archive.configure(bind=engine)
    Record.metadata.create_all(engine)
    with unit_of_work(session=archive):
        record = Record(title="a").save()
        assert Record.query.filter_by(title="a").one() is record
        assert Record.query.where(Record.id == 1).get(1) is record
        assert Record.query.where(Record.id == 1).count() == 1
        assert Record.query.where(Record.id == 1).any()
        assert not session.in_transaction()


def test_needs_a_model_to_get_by_key(members: None) -> None:
    with pytest.raises(TypeError, match="selects no model"):
        Query(func.count()).get(1)


def test_flushes_what_is_pending_before_it_runs(engine: Engine) -> None:
    with unit_of_work():
        session.add(Member(name="ada"))
        assert Member.query.count() == 1


def test_remembers_more_orders_than_it_keeps(engine: Engine) -> None:
    columns = ("id", "name", "email", "age")
    signs = list(product(("", "-"), repeat=4))
    with unit_of_work(read_only=True):
        for order in permutations(columns):
            for some in signs:
                terms = [f"{sign}{name}" for sign, name in zip(some, order, strict=True)]
                assert Member.query.order_by(*terms).all() == []
    assert Member.query.order_by("id").first() is None


def test_takes_no_name_for_something_else_that_it_remembers(engine: Engine) -> None:
    with unit_of_work(read_only=True):
        Member.query.cursor()
        with pytest.raises(InvalidLookupError):
            Member.query.order_by("keyset", engine.dialect.name)
