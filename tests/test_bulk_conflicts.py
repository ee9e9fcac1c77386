"""`bulk_create(on_conflict=...)`: rows that meet one that is there."""

from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import (
    CheckViolation,
    ForeignKeyViolation,
    InvalidDataError,
    MyBase,
    NotNullViolation,
    UniqueViolation,
    UnknownAttributeError,
    atomic,
    session,
    unit_of_work,
)
from activebase.mixins import Timestamps
from tests.databases import Database
from tests.warehouse import (
    Account,
    Article,
    Defaults,
    Item,
    Manager,
    Page,
    Part,
    Seat,
    Sent,
    Shelf,
    Tag,
)

pytest_plugins = ["tests.warehouse_fixtures"]

on_targeting = pytest.mark.parametrize(
    "warehouse_database", ["sqlite", "postgresql"], indirect=True
)


def items(warehouse: Database) -> list[Any]:
    return warehouse.rows("SELECT name, quantity, note FROM item ORDER BY name")


@pytest.fixture
def stock(warehouse: Database) -> dict[str, int]:
    """Items a, b and c with quantity 1 and the note "old"; returns their keys."""
    with unit_of_work():
        Item.bulk_create([{"name": name, "note": "old"} for name in "abc"])
    return dict(warehouse.rows("SELECT name, id FROM item"))


# -- none ------------------------------------------------------------------------------------


def test_raises_the_typed_error_without_on_conflict(
    warehouse: Database, stock: dict[str, int]
) -> None:
    with unit_of_work():
        with pytest.raises(UniqueViolation) as caught:
            Item.bulk_create([{"name": "d"}, {"name": "b"}])
        assert (caught.value.table, caught.value.columns) == ("item", ("name",))
        assert caught.value.constraint == "uq_item_name"
    assert [name for name, _, _ in items(warehouse)] == ["a", "b", "c"]


def test_names_the_rule_of_its_own_table_beside_another_of_that_name(
    warehouse: Database, stock: dict[str, int]
) -> None:
    class Elsewhere(MyBase, DeclarativeBase):
        metadata = MetaData()

    class Article(Elsewhere):
        __tablename__ = "item"

        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    with unit_of_work():
        with pytest.raises(UniqueViolation) as caught:
            Item.bulk_create([{"name": "d"}, {"name": "b"}])
        assert caught.value.constraint == "uq_item_name"
    assert Article.__table__ is not Item.__table__  # alive until here


# -- ignore ----------------------------------------------------------------------------------


def test_ignores_rows_that_conflict_and_counts_the_others(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [{"name": name, "note": "new"} for name in ("x", "a", "y", "y", "c", "z")]
    with unit_of_work():
        assert Item.bulk_create(rows, on_conflict="ignore") == 3
        assert Item.bulk_create(rows, on_conflict="ignore", conflict_columns=["name"]) == 0
    assert items(warehouse) == [
        *((name, 1, "old") for name in "abc"),
        *((name, 1, "new") for name in "xyz"),
    ]


def test_returns_only_the_rows_that_were_not_ignored(
    warehouse: Database, stock: dict[str, int]
) -> None:
    names = ["z", "a", "y", "y", "c", "x", *(f"n{n}" for n in range(1500)), "b", "w"]
    with unit_of_work():
        records = Item.bulk_create(
            [{"name": name} for name in names], on_conflict="ignore", returning=True
        )
        written = ["z", "y", "x", *(f"n{n}" for n in range(1500)), "w"]
        assert [record.name for record in records] == written
        assert all(record in session for record in records)
        again = Item.bulk_create(
            [{"name": "a"}, {"name": "v"}], on_conflict="ignore", returning=True, batch_size=1
        )
        assert [record.name for record in again] == ["v"]
    assert warehouse.scalar("SELECT count(*) FROM item") == 3 + len(written) + 1


def test_returns_rows_of_different_shapes_in_their_order(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows: list[dict[str, Any]] = [{"name": name} for name in ("a", "s", "t", "u", "b", "v", "w")]
    for place in (1, 3, 4):
        rows[place]["id"] = 1000 - place
    with unit_of_work():
        records = Item.bulk_create(rows, on_conflict="ignore", returning=True)
        assert [record.name for record in records] == ["s", "t", "u", "v", "w"]


def test_ignores_conflicts_of_any_key_by_default(warehouse: Database) -> None:
    with unit_of_work():
        Account.bulk_create([{"email": "a", "region": "r", "number": 1}])
        rows = [
            {"email": "a", "region": "s", "number": 1},
            {"email": "b", "region": "r", "number": 1},
            {"email": "c", "region": "r", "number": 2},
            {"email": None, "region": "t", "number": None},
            {"email": None, "region": "t", "number": None},
        ]
        assert Account.bulk_create(rows, on_conflict="ignore") == 3


@pytest.mark.parametrize("returning", [False, True])
def test_ignores_no_other_errors(
    warehouse: Database, stock: dict[str, int], returning: bool
) -> None:
    options: Any = {"on_conflict": "ignore", "returning": returning}
    wrong: list[tuple[type[Exception], Any]] = [
        (NotNullViolation, {"name": "x", "quantity": None}),
        (ForeignKeyViolation, {"name": "x", "shelf_id": 99}),
        (CheckViolation, {"name": "x", "quantity": -5}),
    ]
    for error, row in wrong:
        with unit_of_work(), pytest.raises(error):
            Item.bulk_create([{"name": "a"}, row], **options)
    if warehouse.dialect != "sqlite":
        with unit_of_work(), pytest.raises(InvalidDataError):
            Item.bulk_create([{"name": "a"}, {"name": "x" * 60}], **options)
    assert [name for name, _, _ in items(warehouse)] == ["a", "b", "c"]


def test_raises_for_a_conflict_of_another_key_than_the_one_named(warehouse: Database) -> None:
    with unit_of_work():
        Account.bulk_create([{"email": "a", "region": "r", "number": 1}])
    for action in ("ignore", "update"):
        rows: Any = [{"email": "a"}, {"email": "b", "region": "r", "number": 1}]
        with unit_of_work(), pytest.raises(UniqueViolation):
            Account.bulk_create(rows, on_conflict=action, conflict_columns=["email"])  # type: ignore[call-overload]
        with unit_of_work():
            rows = [{"email": "a", "region": "r", "number": 1, "balance": 5}]
            Account.bulk_create(rows, on_conflict=action, conflict_columns=["email"])  # type: ignore[call-overload]
    assert warehouse.rows("SELECT email, balance FROM account") == [("a", 5)]


# -- update ----------------------------------------------------------------------------------


def test_updates_what_the_row_gives_and_counts_each_row_once(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [{"name": "a", "quantity": 5}, {"name": "x", "quantity": 6}, {"name": "b"}]
    with unit_of_work():
        assert Item.bulk_create(rows, on_conflict="update") == 3
    assert items(warehouse) == [
        ("a", 5, "old"),
        ("b", 1, "old"),  # the default is for new rows
        ("c", 1, "old"),
        ("x", 6, None),
    ]


def test_updates_rows_of_different_shapes_by_what_each_of_them_gives(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [{"name": "a", "quantity": 5}, {"name": "b", "note": None}, Item(name="c", note="new")]
    with unit_of_work():
        assert Item.bulk_create(rows, on_conflict="update") == 3
    assert items(warehouse) == [("a", 5, "old"), ("b", 1, None), ("c", 1, "new")]


def test_updates_only_the_columns_that_are_named(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [{"name": name, "quantity": 5, "note": "new"} for name in ("a", "x")]
    with unit_of_work():
        Item.bulk_create(rows, on_conflict="update", update_columns=["quantity"])
    assert items(warehouse)[0] == ("a", 5, "old")
    assert items(warehouse)[-1] == ("x", 5, "new")


def test_finds_the_row_by_the_primary_key_if_rows_give_it(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [{"id": stock["a"], "name": "renamed"}, {"name": "x"}, {"id": 500, "name": "y"}]
    with unit_of_work():
        assert Item.bulk_create(rows, on_conflict="update") == 3
    found = dict(warehouse.rows("SELECT name, id FROM item"))
    assert (found["renamed"], found["y"]) == (stock["a"], 500)
    assert "a" not in found
    assert "x" in found


def test_finds_the_row_by_a_key_of_several_columns(warehouse: Database) -> None:
    with unit_of_work():
        Part.bulk_create([{"serial": "s", "place": 1}, {"serial": "s", "place": 2}])
        rows = [{"serial": "s", "place": 2, "label": "new"}, {"serial": "t", "place": 2}]
        assert Part.bulk_create(rows, on_conflict="update") == 2
        Account.bulk_create([{"region": "r", "number": 1}])
        Account.bulk_create(
            [{"region": "r", "number": 1, "balance": 9}, {"region": "r", "number": None}],
            on_conflict="update",
            conflict_columns=["number", "region"],
        )
    assert warehouse.rows("SELECT part_serial, part_place, part_label FROM part ORDER BY 1, 2") == [
        ("s", 1, None),
        ("s", 2, "new"),
        ("t", 2, None),
    ]
    assert warehouse.rows("SELECT number, balance FROM account ORDER BY id") == [(1, 9), (None, 0)]


def test_never_changes_the_primary_key_of_the_row_that_is_there(
    warehouse: Database, stock: dict[str, int]
) -> None:
    with unit_of_work():
        Tag.bulk_create([{"word": "w"}])
        Tag.bulk_create([{"word": "w", "uses": 3}], on_conflict="update", conflict_columns=["word"])
        assert Tag.query.one().uses == 3
        before = Tag.query.one().id
        Tag.bulk_create([Tag(word="w", uses=4)], on_conflict="update")
        row = {"id": uuid4(), "word": "w"}
        Tag.bulk_create([row], on_conflict="update", conflict_columns=["word"])
    with unit_of_work():
        assert (Tag.query.one().id, Tag.query.one().uses) == (before, 4)


def test_merges_rows_that_meet_in_one_call(warehouse: Database, stock: dict[str, int]) -> None:
    rows = [
        {"name": "a", "quantity": 5},
        {"name": "x", "quantity": 6, "note": "first"},
        {"name": "a", "quantity": 7},
        {"name": "x", "note": "last"},
    ]
    with unit_of_work():
        assert Item.bulk_create(rows, on_conflict="update") == 2
        records = Item.bulk_create(rows[::-1], on_conflict="update", returning=True)
        assert [(record.name, record.quantity) for record in records] == [("x", 6), ("a", 5)]
    assert items(warehouse)[0] == ("a", 5, "old")
    assert items(warehouse)[-1] == ("x", 6, "first")


def test_merges_rows_as_if_they_were_written_one_after_the_other(
    warehouse: Database, stock: dict[str, int]
) -> None:
    rows = [
        {"name": "x", "quantity": 1, "note": "first"},
        {"name": "x", "quantity": 2, "note": "last"},
    ]
    with unit_of_work():
        Item.bulk_create(rows, on_conflict="update", update_columns=["quantity"])
    assert items(warehouse)[-1] == ("x", 2, "first")


def test_returns_what_was_inserted_and_updated_in_the_order_of_the_rows(
    warehouse: Database, stock: dict[str, int]
) -> None:
    with unit_of_work():
        known = Item.get(stock["b"])
        assert known is not None
        names = ["x", "b", *(f"n{n}" for n in range(1200)), "a", "y"]
        records = Item.bulk_create(
            [{"name": name, "quantity": number} for number, name in enumerate(names)],
            on_conflict="update",
            returning=True,
        )
        assert [record.name for record in records] == names
        assert [record.quantity for record in records] == list(range(len(names)))
        assert records[1] is known
        assert (known.quantity, known.note) == (1, "old")
        assert not session.dirty
    assert warehouse.scalar("SELECT quantity FROM item WHERE name = 'a'") == 1202


def test_updates_even_when_there_is_nothing_to_set(
    warehouse: Database, stock: dict[str, int]
) -> None:
    with unit_of_work():
        records = Item.bulk_create(
            [{"name": "a"}, {"name": "x"}], on_conflict="update", returning=True
        )
        assert [record.name for record in records] == ["a", "x"]
        assert records[0].note == "old"


def test_flushes_pending_changes_of_records_before_they_are_updated(
    warehouse: Database, stock: dict[str, int]
) -> None:
    with unit_of_work():
        record = Item.get_by(name="a")
        assert record is not None
        record.note, record.quantity = "pending", 9
        (same,) = Item.bulk_create(
            [{"name": "a", "quantity": 5}], on_conflict="update", returning=True
        )
        assert same is record
    assert items(warehouse)[0] == ("a", 5, "pending")


# -- what else an update sets ----------------------------------------------------------------


def test_honours_onupdate_of_python_and_sql(warehouse: Database) -> None:
    with unit_of_work():
        Defaults.bulk_create([{"name": "a"}, {"name": "b"}])
        rows = [{"name": "a", "scalar": "x"}, {"name": "c", "scalar": "x"}]
        assert Defaults.bulk_create(rows, on_conflict="update") == 2
    found = warehouse.rows(
        "SELECT name, scalar, of_row, changed, changed_in_sql FROM defaults ORDER BY name"
    )
    assert found == [
        ("a", "x", "code of a", "changed", "changed in sql"),
        ("b", "scalar", "code of b", "new", None),
        ("c", "x", "code of c", "new", None),
    ]


def test_takes_a_given_value_before_onupdate(warehouse: Database) -> None:
    with unit_of_work():
        Defaults.bulk_create([{"name": "a"}])
        rows = [{"name": "a", "changed": "given", "changed_in_sql": "given"}]
        Defaults.bulk_create(rows, on_conflict="update")
    assert warehouse.rows("SELECT changed, changed_in_sql FROM defaults") == [("given", "given")]


def test_sets_the_times_of_a_model_with_timestamps(warehouse: Database) -> None:
    assert issubclass(Article, Timestamps)
    with unit_of_work():
        (article,) = Article.bulk_create([{"slug": "a"}], returning=True)
        created = article.created_at
        assert article.updated_at == created
    with unit_of_work():
        records = Article.bulk_create(
            [{"slug": "a", "body": "x"}, {"slug": "b"}], on_conflict="update", returning=True
        )
        assert records[0].created_at == created < records[0].updated_at
        assert records[1].created_at == records[1].updated_at


def test_counts_the_version_up(warehouse: Database) -> None:
    with unit_of_work():
        Page.bulk_create([{"slug": "a"}, Page(slug="b")])
        Page.bulk_create(
            [{"slug": "a", "body": "new"}, {"slug": "c"}],
            on_conflict="update",
            conflict_columns=["slug"],
        )
        page = Page.get_by(slug="a")
        assert page is not None
        page.update(body="newer")
    assert warehouse.rows("SELECT slug, body, version FROM page ORDER BY slug") == [
        ("a", "newer", 3),
        ("b", None, 1),
        ("c", None, 1),
    ]


@on_targeting
def test_knows_a_partial_index(warehouse: Database) -> None:
    with unit_of_work():
        Seat.bulk_create([{"number": 1, "holder": "old", "freed": 1}, {"number": 1, "holder": "a"}])
        rows = [{"number": 1, "holder": "b"}, {"number": 2, "holder": "c"}]
        assert Seat.bulk_create(rows, on_conflict="update", conflict_columns=["number"]) == 2
    assert warehouse.rows("SELECT number, holder FROM seat ORDER BY id") == [
        (1, "old"),
        (1, "b"),
        (2, "c"),
    ]


# -- options ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"on_conflict": "replace"}, ValueError, "on_conflict is"),
        ({"conflict_columns": ["name"]}, ValueError, "need on_conflict"),
        ({"update_columns": ["name"]}, ValueError, "need on_conflict"),
        ({"on_conflict": "ignore", "update_columns": ["note"]}, ValueError, "updates nothing"),
        (
            {"on_conflict": "update", "conflict_columns": ["nmae"]},
            UnknownAttributeError,
            "Did you mean 'name'",
        ),
        (
            {"on_conflict": "update", "update_columns": ["quantiy"]},
            UnknownAttributeError,
            "Did you mean 'quantity'",
        ),
        (
            {"on_conflict": "update", "conflict_columns": ["note"]},
            ValueError,
            "No unique constraint",
        ),
        (
            {"on_conflict": "ignore", "conflict_columns": ["note"]},
            ValueError,
            "No unique constraint",
        ),
        ({"on_conflict": "update", "conflict_columns": []}, ValueError, "is empty"),
        ({"on_conflict": "update", "update_columns": []}, ValueError, "is empty"),
        ({"on_conflict": "update", "conflict_columns": "name"}, TypeError, "a collection of names"),
        ({"on_conflict": "update", "update_columns": ["shelf"]}, ValueError, "does not give"),
    ],
)
def test_refuses_options_that_make_no_sense_before_any_sql(
    sent: Sent, options: Any, error: type[Exception], message: str
) -> None:
    with unit_of_work(), pytest.raises(error, match=message):
        Item.bulk_create([{"name": "a", "note": "n"}], **options)
    assert sent.statements == []


def test_asks_which_of_several_keys_is_meant(sent: Sent) -> None:
    with unit_of_work(), pytest.raises(ValueError, match=r"conflict_columns.*\(email\)"):
        Account.bulk_create([{"email": "a"}], on_conflict="update")
    with unit_of_work(), pytest.raises(ValueError, match="conflict_columns"):
        Shelf.bulk_create([{"label": "a"}], on_conflict="update")
    assert sent.statements == []


def test_refuses_conflicts_of_what_is_stored_in_several_tables(sent: Sent) -> None:
    with unit_of_work(), pytest.raises(TypeError, match="Manager is stored in several tables"):
        Manager.bulk_create([{"name": "a"}], on_conflict="ignore")
    assert sent.statements == []


# -- inside savepoints -----------------------------------------------------------------------


def test_undoes_with_the_savepoint_alone(warehouse: Database, stock: dict[str, int]) -> None:
    with unit_of_work():
        Item.bulk_create([{"name": "kept"}])
        with pytest.raises(UniqueViolation), atomic():
            Item.bulk_create([{"name": "lost"}, {"name": "a"}])
        assert session.scalar(text("SELECT count(*) FROM item WHERE name = 'lost'")) == 0
    assert [name for name, _, _ in items(warehouse)] == ["a", "b", "c", "kept"]
