"""Orders of every kind, read page by page, on each database."""

from itertools import product
from random import Random
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import Engine, case, collate, desc, func, literal_column, select
from sqlalchemy.orm import aliased, joinedload
from sqlalchemy.sql.operators import desc_op, nulls_first_op, nulls_last_op

from activebase import InvalidLookupError, Query, keysets
from activebase.dialects import is_mysql
from activebase.keysets import keyset_of
from tests.databases import EACH, Database, database_of
from tests.library import Book, Novel
from tests.pages import Piece, Sheet, Writer, check_pages, forwards, keys

pytest_plugins = ["tests.core_fixtures", "tests.pages_fixtures"]

database = pytest.fixture(params=EACH)(database_of)

#: How a term may be written: its direction, then where its NULLs go.
DIRECTIONS: dict[str, Any] = {"": lambda term: term, "desc": lambda term: term.desc()}
NULLS: dict[str, Any] = {
    "": lambda term: term,
    "nulls first": lambda term: term.nulls_first(),
    "nulls last": lambda term: term.nulls_last(),
}
WAYS = list(product(DIRECTIONS.values(), NULLS.values()))
COLUMNS = [Sheet.place, Sheet.weight, Sheet.word]


def in_full(query: Query[Any], engine: Engine) -> list[Any]:
    """Return all records, in an order that MariaDB can write as well."""
    if not is_mysql(engine.dialect):
        return query.all()
    terms: list[Any] = []
    for term in query.ordering:
        modifier = getattr(term, "modifier", None)
        if modifier in (nulls_first_op, nulls_last_op):
            term = term.element
            column = term.element if getattr(term, "modifier", None) is desc_op else term
            is_null = column.is_(None)
            terms.append(is_null.desc() if modifier is nulls_first_op else is_null)
        terms.append(term)
    return query.order_by(None).order_by(*terms).all()


# Columns


#: A composite attribute. SQLAlchemy 2.0 has no desc() for it.
COMPOSITES: dict[str, Any] = {"the attribute": Piece.where, "a name": "where", "down": "-where"}
if sqlalchemy.__version__ >= "2.1":
    COMPOSITES["desc()"] = Piece.where.desc()


@pytest.mark.parametrize("term", COMPOSITES.values(), ids=COMPOSITES)
def test_reads_by_a_composite_of_columns(term: Any, filled: None) -> None:
    query = Piece.query.order_by(term)
    assert [piece for page in forwards(query, 3) for piece in page] == query.all()


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_reads_by_a_column_with_its_nulls_on_either_side(
    direction: str, filled: None, engine: Engine
) -> None:
    for column, place_nulls in product(COLUMNS, NULLS.values()):
        term = place_nulls(DIRECTIONS[direction](column))
        for tie, limit in ((Sheet.id, 1), (Sheet.id.desc(), 5), (Sheet.id, 100)):
            query = Sheet.query.order_by(term, tie)
            check_pages(query, in_full(query, engine), limit)


def test_reads_by_any_mixture_of_columns_directions_and_nulls(filled: None, engine: Engine) -> None:
    random = Random(3)
    for _ in range(30):
        terms = []
        for column in random.sample(COLUMNS, random.choice([2, 2, 3])):
            direct, place_nulls = random.choice(WAYS)
            terms.append(place_nulls(direct(column)))
        query = Sheet.query.order_by(*terms, random.choice([Sheet.id, Sheet.id.desc()]))
        check_pages(query, in_full(query, engine), limit=random.choice([2, 5]))


def test_breaks_ties_by_the_primary_key_in_the_last_term_s_direction(filled: None) -> None:
    check_pages(Sheet.query.order_by("place"), Sheet.query.order_by("place", "id").all())
    check_pages(Sheet.query.order_by("-place"), Sheet.query.order_by("-place", "-id").all())
    check_pages(
        Sheet.query.order_by("-place", "writer_id"),
        Sheet.query.order_by("-place", "writer_id", "id").all(),
    )


def test_reads_by_the_primary_key_where_there_is_no_order(filled: None) -> None:
    check_pages(Sheet.query, Sheet.query.order_by("id").all())


def test_reads_by_a_key_of_several_columns(filled: None) -> None:
    for order, whole in (
        ("", "shelf number"),
        ("rank", "rank shelf number"),
        ("-rank", "-rank -shelf -number"),
        ("number", "number shelf"),
        ("-number shelf", "-number shelf"),
        ("shelf -number rank", "shelf -number"),
    ):
        query = Piece.query.order_by(*order.split())
        check_pages(query, Piece.query.order_by(*whole.split()).all(), limit=3)


def test_leaves_out_what_follows_the_key_for_it_decides_nothing(sent_statements: list[str]) -> None:
    query = Sheet.query.order_by("id", "place", "word")
    check_pages(query, query.all())
    assert "sheet.place" not in sent_statements[1].partition("ORDER BY")[2]


# Relations and expressions


def test_reads_through_relations_outwards(filled: None) -> None:
    for names in (["writer__name"], ["-writer__name"], ["-editor__name", "writer__name", "-id"]):
        query = Sheet.query.order_by(*names)
        tie = "-id" if names[-1].startswith("-") else "id"
        check_pages(query, query.order_by(tie).all())


def expressions() -> list[Any]:
    count = select(func.count(Piece.shelf)).where(Piece.shelf == Sheet.place).scalar_subquery()
    return [
        func.coalesce(Sheet.weight, Sheet.place) + 1,
        func.lower(Sheet.word),
        func.lower(Sheet.word).desc(),
        case((Sheet.place > 2, "x"), else_="y"),
        Sheet.place > 2,
        (Sheet.weight > 1).desc(),
        literal_column("sheet.weight").desc(),
        count,
        (Sheet.weight * 2).label("double"),
        (Sheet.weight * 2).label("double").desc(),
        func.abs(Sheet.weight - 1.5),
    ]


def test_reads_by_expressions(filled: None) -> None:
    for expression in expressions():
        query = Sheet.query.order_by(expression, Sheet.id)
        check_pages(query, query.all())


def test_reads_by_another_collation(filled: None, database: Database) -> None:
    names = {"sqlite": "NOCASE", "postgresql": "C", "mariadb": "utf8mb4_bin"}
    query = Sheet.query.order_by(collate(Sheet.word, names[database.dialect]).desc(), Sheet.id)
    check_pages(query, query.all())


def test_reads_through_an_alias_and_a_join_of_the_query_s_own(filled: None) -> None:
    editor = aliased(Writer)
    query = Sheet.query.join(editor, Sheet.editor).order_by(editor.name.desc(), Sheet.id)
    check_pages(query, query.all())


# What is selected


def test_reads_records_with_their_relations(filled: None) -> None:
    for query in (
        Sheet.query.with_related("writer", "editor").order_by("-writer__name", "id"),
        Writer.query.with_related("sheets").order_by("-name"),
        Writer.query.options(joinedload(Writer.sheets)).order_by(Writer.name.desc()),
    ):
        check_pages(query, query.all(), limit=2)
    for page in forwards(Writer.query.options(joinedload(Writer.sheets)).strict(), limit=1):
        assert len(page.items[0].sheets) > 1


def test_reads_rows_of_columns_as_all_gives_them(filled: None) -> None:
    double = (Sheet.place * 2).label("double")
    for query in (
        Sheet.query.with_only_columns(Sheet.word, Sheet.place).order_by(Sheet.word, Sheet.id),
        Sheet.query.add_columns(double).order_by("double", "id"),
        Sheet.query.add_columns(double).order_by(desc("double"), Sheet.id),
        Sheet.query.add_columns(Writer).outerjoin(Sheet.writer).order_by(Writer.name, Sheet.id),
        Writer.query.add_columns(Sheet.place).join(Writer.sheets).order_by(Writer.name, Sheet.id),
    ):
        check_pages(query, query.all(), limit=4)
        row = next(forwards(query)).items[0]
        assert row._fields == query.first()._fields


def test_tells_rows_apart_by_the_keys_of_all_that_they_are_made_of(filled: None) -> None:
    query = Writer.query.add_columns(Sheet.place).join(Writer.sheets).order_by(Writer.name)
    for limit in (1, 2, 5):
        found = [row for page in forwards(query, limit) for row in page]
        assert len(found) == query.count()


def test_reads_values_of_one_column(filled: None) -> None:
    query = Sheet.query.with_only_columns(Sheet.id).order_by(Sheet.place, Sheet.id)
    check_pages(query, query.all())


def test_reads_distinct_rows(filled: None) -> None:
    for query in (
        Sheet.query.distinct().order_by("place", "id"),
        Sheet.query.with_only_columns(Sheet.word).distinct().order_by(Sheet.word),
        Sheet.query.with_only_columns(Sheet.word, Sheet.place)
        .distinct()
        .order_by(Sheet.word, Sheet.place),
    ):
        check_pages(query, query.all())


def test_reads_groups(filled: None) -> None:
    total = func.sum(Sheet.place)
    of_writers = Writer.query.join(Writer.sheets).group_by(Writer.id)
    for query in (
        of_writers.order_by(func.count(Sheet.id), Writer.id),
        of_writers.add_columns(total.label("total")).order_by("total", "id"),
        of_writers.add_columns(func.avg(Sheet.place).label("mean")).order_by(desc("mean"), "id"),
        Sheet.query.with_only_columns(Sheet.place, total)
        .group_by(Sheet.place)
        .order_by(Sheet.place.desc()),
    ):
        check_pages(query, query.all(), limit=2)


# Statements


def test_looks_a_position_up_as_a_row_where_the_index_serves_that(
    sent_statements: list[str], engine: Engine
) -> None:
    pages = forwards(Sheet.query.order_by("place"))
    next(pages), next(pages)
    as_row = "(sheet.place, sheet.id) > (" in sent_statements[1]
    assert as_row == (not is_mysql(engine.dialect))
    assert ("sheet.place >= %" in sent_statements[1]) == is_mysql(engine.dialect)


def test_asks_for_nulls_that_the_order_moves_by_themselves(
    sent_statements: list[str], database: Database
) -> None:
    """So that both sides are ranges of an index, and neither is sorted."""
    is_postgres = database.dialect == "postgresql"
    term = Sheet.weight.nulls_first() if is_postgres else Sheet.weight.nulls_last()
    list(forwards(Sheet.query.order_by(term), limit=3))
    of_nulls = [sql for sql in sent_statements if "sheet.weight IS NULL" in sql]
    of_values = [sql for sql in sent_statements if sql not in of_nulls]
    assert of_nulls
    assert of_values
    assert not any("NULL" in sql.partition("ORDER BY")[2] for sql in sent_statements)


def test_keeps_a_keyset_for_the_next_page(filled: None) -> None:
    for query in (lambda: Sheet.query.order_by("-place"), lambda: Sheet.query.order_by(Sheet.word)):
        assert keyset_of(query()) is keyset_of(query())
    for number in range(2 * keysets._MOST_KNOWN):  # and not for ever
        keyset_of(Sheet.query.order_by(Sheet.place + number))
    assert len(keysets._known) <= keysets._MOST_KNOWN


# Cursors of other orders


def others() -> list[Query[Any]]:
    return [
        Sheet.query.order_by("weight"),
        Sheet.query.order_by("-place"),
        Sheet.query.order_by("place", "weight"),
        Sheet.query.order_by(Sheet.place.nulls_last()),
        Writer.query,
        Sheet.query,
        Sheet.query.order_by(Sheet.place + 1),
    ]


def test_refuses_a_cursor_of_another_order(filled: None) -> None:
    mine = Sheet.query.order_by("place")
    for other in others():
        for one, two in ((mine, other), (other, mine)):
            cursor = one.cursor(limit=1).next_cursor
            for give in ({"after": cursor}, {"before": cursor}):
                with pytest.raises(InvalidLookupError, match="belongs to a query of another"):
                    two.cursor(**give)


def test_tells_orders_apart_that_look_alike(filled: None) -> None:
    pairs = [
        (Sheet.query.order_by("writer__name"), Sheet.query.order_by("editor__name")),
        (Sheet.query.order_by(Sheet.place + 1), Sheet.query.order_by(Sheet.place + 2)),
        (Sheet.query.order_by(func.lower(Sheet.word)), Sheet.query.order_by(Sheet.word)),
    ]
    for mine, other in pairs:
        cursor = mine.cursor(limit=1).next_cursor
        with pytest.raises(InvalidLookupError, match="in another order"):
            other.cursor(after=cursor)


def test_tells_models_apart_that_share_a_table(engine: Engine) -> None:
    assert keyset_of(Book.query).fingerprint != keyset_of(Novel.query).fingerprint


def test_knows_an_order_again_that_is_written_anew(filled: None) -> None:
    cursor = Sheet.query.order_by("writer__name", "-place").cursor(limit=3).next_cursor
    again = Sheet.query.order_by("writer__name").order_by(Sheet.place.desc())
    assert len(again.cursor(after=cursor, limit=3)) == 3
    cursor = Sheet.query.order_by(Sheet.place + 1).cursor(limit=3).next_cursor
    found = Sheet.query.order_by(Sheet.place + 1).cursor(after=cursor)
    assert keys(found) == keys(Sheet.query.order_by(Sheet.place + 1, Sheet.id).all()[3:23])
