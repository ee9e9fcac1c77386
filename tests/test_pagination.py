"""Pages by number, and pages by cursor: what they hold and tell, and what they refuse."""

import warnings
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from flask_sqlalchemy.pagination import Pagination
from sqlalchemy import JSON, Engine, cast, event, func, text
from sqlalchemy.orm import aliased, joinedload

from activebase import InvalidLookupError, Page, Query, read_only, session, unit_of_work
from tests.core import on_postgres, on_servers
from tests.databases import EACH, Database, database_of
from tests.pages import Paged, Piece, Sheet, Writer, backwards, fill, forwards, keys

pytest_plugins = ["tests.core_fixtures", "tests.pages_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def numbers(page: Any) -> list[int]:
    return [sheet.id for sheet in page]


# By number


def test_gives_a_page_and_what_there_is_to_know_of_it(filled: None) -> None:
    page = Sheet.query.paginate(page=2, per_page=10)
    assert numbers(page.items) == list(range(11, 21))
    assert (page.page, page.per_page, page.total, page.pages) == (2, 10, 24, 3)
    assert (page.has_prev, page.prev_num, page.has_next, page.next_num) == (True, 1, True, 3)
    assert (list(page), len(page), repr(page)) == (page.items, 10, "<Page 2: 10 items>")
    with pytest.raises(FrozenInstanceError):
        page.items = []  # type: ignore[misc]


def test_gives_the_first_page_of_twenty_by_default(filled: None) -> None:
    page = Sheet.query.order_by("-id").paginate()
    assert numbers(page) == list(range(24, 4, -1))
    assert (page.page, page.has_prev, page.prev_num, page.next_num) == (1, False, None, 2)


def test_counts_only_where_it_is_asked_to_and_once(sent_statements: list[str]) -> None:
    page = Sheet.query.paginate(page=1, per_page=10)
    assert (page.has_next, page.has_prev, page.next_num) == (True, False, 2)
    assert len(sent_statements) == 1
    assert (page.total, page.pages, len(list(page.iter_pages()))) == (24, 3, 3)
    assert len(sent_statements) == 2
    assert "count(" in sent_statements[1]


def test_needs_no_count_where_the_page_itself_tells_it(sent_statements: list[str]) -> None:
    last = Sheet.query.paginate(page=3, per_page=10)
    assert (len(last), last.total, last.pages, last.next_num) == (4, 24, 3, None)
    full = Sheet.query.paginate(page=2, per_page=12)
    assert (len(full), full.total, full.has_next) == (12, 24, False)
    assert len(sent_statements) == 2


def test_counts_what_the_filter_lets_through(filled: None) -> None:
    page = Sheet.query.filter(Sheet.id > 4).paginate(per_page=7)
    assert (page.total, page.pages, numbers(page)) == (20, 3, list(range(5, 12)))


def test_gives_an_empty_page_past_the_end(filled: None) -> None:
    page = Sheet.query.paginate(page=4, per_page=10)
    assert (page.items, page.has_next, page.has_prev, page.prev_num) == ([], False, True, 3)
    assert (page.total, page.pages) == (24, 3)


@pytest.mark.parametrize("number", [2**31, 2**59, 2**63, "1" + "0" * 100])
def test_gives_an_empty_page_for_a_number_that_no_integer_holds(number: Any, filled: None) -> None:
    page = Sheet.query.paginate(page=number, per_page=10)
    assert (page.items, page.has_next, page.has_prev) == ([], False, True)
    assert (page.page, page.total) == (int(number), 24)


def test_has_no_page_where_there_are_no_rows(filled: None) -> None:
    page = Sheet.query.filter(id=0).paginate()
    assert (page.items, page.total, page.pages) == ([], 0, 0)
    assert (page.has_next, page.has_prev, list(page.iter_pages())) == (False, False, [])


@pytest.mark.parametrize("number", ["2", "02", 2])
def test_reads_text_of_digits(number: Any, filled: None) -> None:
    page = Sheet.query.paginate(page=number, per_page="7")
    assert (page.page, page.per_page, numbers(page)) == (2, 7, list(range(8, 15)))


NO_NUMBERS: dict[str, Any] = {
    text or "empty": text
    for text in ("0", "-1", "", " 1", "1 ", "1\n", "+1", "1.0", "1e3", "0x1", "1_0", "x")
}
NO_NUMBERS |= {"arabic": "\u0661", "fullwidth": "\uff11", "long": "9" * 5000, "bytes": b"1"}
NO_NUMBERS |= {"zero": 0, "negative": -1, "float": 1.0, "true": True, "none": None, "list": [1]}
NO_NUMBERS |= {"very negative": -(10**5000)}


@pytest.mark.parametrize("name", ["page", "per_page", "limit"])
@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
def test_refuses_what_is_no_number_from_one(name: str, value: Any, unconfigured: None) -> None:
    give: Any = Sheet.query.cursor if name == "limit" else Sheet.query.paginate
    with pytest.raises(InvalidLookupError, match=f"^{name} is no number from 1"):
        give(**{name: value})  # with a database set up or not: none is asked


def test_cuts_the_size_of_a_page_down(filled: None) -> None:
    page = Sheet.query.paginate(per_page=10**30, max_per_page=7)
    assert (page.per_page, len(page), page.pages) == (7, 7, 4)
    assert Sheet.query.paginate(per_page="101").per_page == 100
    assert len(Sheet.query.paginate(per_page=10**30, max_per_page=None)) == 24
    assert len(Sheet.query.cursor(limit=10**30, max_limit=7)) == 7
    assert len(Sheet.query.cursor(limit=10**30, max_limit=None)) == 24
    with pytest.raises(ValueError, match="max_per_page is a number from 1"):
        Sheet.query.paginate(max_per_page=0)


def test_orders_by_the_primary_key_where_there_is_no_order(sent_statements: list[str]) -> None:
    page = Piece.query.paginate(page=2, per_page=3)
    assert keys(page) == [(0, "n3"), (1, "n0"), (1, "n1")]
    assert "ORDER BY piece.shelf, piece.number" in sent_statements[0]


@pytest.mark.parametrize("method", ["paginate", "cursor"])
@pytest.mark.parametrize("how", ["limit", "offset", "fetch", "slice"])
def test_refuses_a_query_with_limits_of_its_own(how: str, method: str, unconfigured: None) -> None:
    query = Sheet.query.slice(1, 2) if how == "slice" else getattr(Sheet.query, how)(3)
    with pytest.raises(TypeError, match=rf"^{method}\(\) sets LIMIT itself.*Leave them out"):
        getattr(query, method)()


def test_gives_rows_and_values_of_columns(filled: None) -> None:
    rows = Sheet.query.with_only_columns(Sheet.id, Sheet.place).order_by(Sheet.id)
    page = rows.paginate(page=2, per_page=5)
    assert page.items == rows.all()[5:10]
    assert (page.items[0].id, page.total) == (6, 24)
    values: Any = Sheet.query.with_only_columns(Sheet.id).paginate(page=5, per_page=5)
    assert (values.items, values.has_next, values.total) == ([21, 22, 23, 24], False, 24)


def test_loads_collections_by_a_join(filled: None) -> None:
    query = Writer.query.options(joinedload(Writer.sheets)).order_by("-name")
    first, last = (query.paginate(page=number, per_page=2) for number in (1, 2))
    assert [writer.name for writer in first] == ["z", "y"]
    assert [writer.name for writer in last] == ["x"]
    assert (first.has_next, last.has_next, first.total, last.total) == (True, False, 3, 3)


def test_goes_on_where_a_join_repeats_the_records_of_a_page(filled: None) -> None:
    query = Writer.query.join(Writer.sheets).order_by(Writer.name, Sheet.id)
    rows = query.count()
    pages = [query.paginate(page=number, per_page=3) for number in range(1, rows // 3 + 2)]
    assert all(page.has_next for page in pages[: rows // 3 - (rows % 3 == 0)])
    assert {writer.name for page in pages for writer in page} == {"x", "y", "z"}
    assert {page.total for page in pages} == {rows}


class Numbered(Pagination):
    """Flask-SQLAlchemy's, which is asked nothing but the numbers."""

    def _query_items(self) -> list[Any]:
        return [None]

    def _query_count(self) -> int:
        return self._query_args["total"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "edges",
    [
        {},
        {"left_edge": 0, "right_edge": 0},
        {"left_edge": 1, "left_current": 0, "right_current": 1, "right_edge": 1},
        {"left_edge": 3, "left_current": 1, "right_current": 9, "right_edge": 4},
    ],
    ids=["default", "none", "few", "many"],
)
def test_numbers_the_pages_to_link_to_as_flask_sqlalchemy_does(edges: dict[str, int]) -> None:
    for total in range(27):
        for number in range(1, 30):
            theirs = Numbered(page=number, per_page=1, error_out=False, total=total)
            ours: Page[Any] = Page([], number, 1, False, lambda total=total: total)  # type: ignore[misc]
            assert list(ours.iter_pages(**edges)) == list(theirs.iter_pages(**edges))


def test_names_no_page_twice_however_wide_the_edges_are() -> None:
    for total in range(20):
        page: Page[Any] = Page([], 1, 1, False, lambda total=total: total)  # type: ignore[misc]
        given = [number for number in page.iter_pages(left_edge=10, right_current=0) if number]
        assert given == sorted(set(given))


# By cursor


def test_reads_all_pages_forwards_and_backwards(filled: None) -> None:
    query = Sheet.query.order_by("-place")
    pages = list(forwards(query))
    assert [len(page) for page in pages] == [5, 5, 5, 5, 4]
    found = [sheet for page in pages for sheet in page]
    assert keys(found) == keys(Sheet.query.order_by("-place", "-id").all())
    back = list(backwards(query, pages[-1]))
    assert [numbers(page) for page in reversed(back)] == [numbers(page) for page in pages[:-1]]


def test_tells_whether_there_is_more_on_either_side(filled: None) -> None:
    first = Sheet.query.cursor(limit=10)
    assert (first.has_prev, first.prev_cursor, first.has_next) == (False, None, True)
    middle = Sheet.query.cursor(after=first.next_cursor, limit=10)
    assert (middle.has_prev, middle.has_next, numbers(middle)) == (True, True, [*range(11, 21)])
    last = Sheet.query.cursor(after=middle.next_cursor, limit=10)
    assert (last.has_prev, last.has_next, last.next_cursor) == (True, False, None)
    back = Sheet.query.cursor(before=middle.prev_cursor, limit=10)
    assert (back.has_prev, back.prev_cursor, back.has_next) == (False, None, True)
    assert (list(first), len(first), repr(first)) == (first.items, 10, "<CursorPage: 10 items>")
    with pytest.raises(FrozenInstanceError):
        first.items = []  # type: ignore[misc]


def test_has_nothing_where_there_are_no_rows(filled: None) -> None:
    page = Sheet.query.filter(id=0).cursor()
    assert (page.items, page.has_next, page.has_prev) == ([], False, False)
    assert (page.next_cursor, page.prev_cursor) == (None, None)


def test_sends_one_statement_and_looks_behind_only_where_it_is_asked(
    sent_statements: list[str],
) -> None:
    first = Sheet.query.cursor(limit=5)
    assert (len(sent_statements), first.has_next, first.has_prev) == (1, True, False)
    page = Sheet.query.cursor(after=first.next_cursor, limit=5)
    assert (page.has_next, bool(page.next_cursor)) == (True, True)
    assert len(sent_statements) == 2
    assert (page.has_prev, bool(page.prev_cursor)) == (True, True)
    assert len(sent_statements) == 3
    assert "EXISTS" in sent_statements[2]


def test_compiles_the_statement_of_an_order_once(filled: None, engine: Engine) -> None:
    compiled: list[Any] = []

    @event.listens_for(engine, "before_cursor_execute")
    def keep(*details: Any) -> None:
        compiled.append(details[4].compiled)

    for number in (1, 2, 3):
        for page in forwards(Sheet.query.filter(writer_id=number).order_by("-place"), limit=2):
            assert bool(page.next_cursor) == page.has_next
    assert len(compiled) > 6
    assert len({id(found) for found in compiled}) == 2  # that of the first page and of the others


def test_goes_on_after_a_row_that_is_gone(filled: None) -> None:
    page = Sheet.query.cursor(limit=5)
    cursor = page.next_cursor
    Sheet.query.filter(id__in=[5, 6]).delete()
    following = Sheet.query.cursor(after=cursor, limit=3)
    assert numbers(following) == [7, 8, 9]
    Sheet.query.filter(id__lt=7).delete()
    assert not Sheet.query.cursor(after=cursor, limit=3).has_prev


def test_reads_on_from_the_edge_where_a_page_has_become_empty(filled: None) -> None:
    cursor = Sheet.query.cursor(limit=20).next_cursor
    Sheet.query.filter(id__gt=20).delete()
    page = Sheet.query.cursor(after=cursor)
    assert (page.items, page.has_next, page.next_cursor, page.has_prev) == ([], False, None, True)
    assert numbers(Sheet.query.cursor(before=page.prev_cursor, limit=3)) == [18, 19, 20]

    cursor = Sheet.query.cursor(after=cursor_of(3), limit=3).prev_cursor
    Sheet.query.filter(id__lt=4).delete()
    page = Sheet.query.cursor(before=cursor)
    assert (page.items, page.has_prev, page.prev_cursor, page.has_next) == ([], False, None, True)
    assert numbers(Sheet.query.cursor(after=page.next_cursor, limit=3)) == [4, 5, 6]

    Sheet.query.delete()
    page = Sheet.query.cursor(before=cursor)
    assert (page.has_next, page.next_cursor, page.has_prev) == (False, None, False)


def cursor_of(number: int) -> str:
    cursor = Sheet.query.cursor(limit=number).next_cursor
    assert cursor
    return cursor


def test_neither_repeats_nor_skips_rows_that_others_write_meanwhile(
    engine: Engine, database: Database
) -> None:
    Paged.metadata.create_all(engine)
    with unit_of_work():
        fill()
    query = Sheet.query.order_by("id")
    with read_only():
        page = query.cursor(limit=10)
        cursor = page.next_cursor
    database.execute("INSERT INTO sheet (id, place) VALUES (-3, 1), (-1, 1), (-2, 1)")
    database.execute("INSERT INTO sheet (id, place) VALUES (30, 1)")
    database.execute("DELETE FROM sheet WHERE id IN (3, 10, 12)")
    with read_only():
        following = query.cursor(after=cursor, limit=100)
        assert numbers(following) == [11, *range(13, 25), 30]
        assert following.has_prev


def test_keeps_the_filter_and_takes_a_cursor_into_another_one(filled: None) -> None:
    cursor = cursor_of(10)
    assert numbers(Sheet.query.filter(id__in=[2, 11, 20]).cursor(after=cursor)) == [11, 20]


def test_gives_what_all_gives_where_a_join_repeats_records(filled: None) -> None:
    query = Writer.query.join(Writer.sheets).order_by(Writer.name)
    for limit in (1, 2, 3):
        pages = list(forwards(query, limit))
        assert [writer.name for page in pages for writer in page] == ["x", "y", "z"]
        assert not pages[-1].has_next


def test_gives_a_record_once_on_a_page_though_it_has_several_places(filled: None) -> None:
    query = Writer.query.join(Writer.sheets).order_by(Sheet.place)
    page = query.cursor(limit=100)
    assert sorted(keys(page)) == [(1,), (2,), (3,)]
    assert not page.has_next


def test_refuses_both_directions_at_once(unconfigured: None) -> None:
    with pytest.raises(TypeError, match="after= or before=, not both"):
        Sheet.query.cursor(after="x", before="x")


@on_postgres
def test_refuses_to_choose_among_the_rows_after_a_cursor(filled: None) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SQLAlchemy 2.1 has another way to write it
        query = Sheet.query.distinct(Sheet.place).order_by(Sheet.place)
    with pytest.raises(TypeError, match=r"DISTINCT ON.*Page over what it finds"):
        query.cursor()


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (text("place"), "can't read it from"),
        (func.row_number().over(order_by=Sheet.place), "a window function"),
        (cast(Sheet.place, JSON), "is JSON"),
    ],
    ids=["text", "window", "json"],
)
def test_refuses_an_order_that_has_no_positions(
    order: Any, message: str, sent_statements: list[str]
) -> None:
    with pytest.raises(TypeError, match=message):
        Sheet.query.order_by(order).cursor()
    assert sent_statements == []


def test_refuses_a_query_of_no_model(filled: None) -> None:
    query: Query[Any] = Query(aliased(Sheet))
    with pytest.raises(TypeError, match="selects no model"):
        query.cursor()


@on_servers  # a unit on SQLite sees one state
def test_reads_the_position_from_the_row_rather_than_from_the_record(
    engine: Engine, database: Database
) -> None:
    """A record that the session has already is not read again."""
    Paged.metadata.create_all(engine)
    with unit_of_work():
        session.add_all([Sheet(id=number, place=number) for number in range(1, 5)])
    with unit_of_work(isolation_level="READ COMMITTED"):
        second = Sheet.get(2)
        database.execute("UPDATE sheet SET place = 3 WHERE id = 2")
        page = Sheet.query.order_by("place").cursor(limit=2)
        assert numbers(page) == [1, 2]
        assert second is page.items[1]
        assert second.place == 2
        assert numbers(Sheet.query.order_by("place").cursor(after=page.next_cursor)) == [3, 4]


def test_makes_the_statement_of_a_page_once_for_all_pages_of_an_order(filled: None) -> None:
    assert Sheet.query.order_by("id") is Sheet.query.order_by("id")
    assert Sheet.query.order_by("id") is not Sheet.query.order_by("-id")


def test_remembers_nothing_of_the_query_that_it_is_a_copy_of(filled: None) -> None:
    ordered = Sheet.query.order_by("id")
    everything = ordered.cursor(limit=3)
    last = max(sheet.id for sheet in Sheet.query.all())
    copy = ordered.where(Sheet.id == last)
    assert [sheet.id for sheet in copy.cursor(limit=3)] == [last]
    turned = ordered.order_by(None).order_by(Sheet.id.desc())
    assert turned.cursor(limit=1).items[0].id == last
    assert [sheet.id for sheet in ordered.cursor(limit=3)] == [sheet.id for sheet in everything]
