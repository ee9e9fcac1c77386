"""`bulk_update()`: the same attributes of many records."""

from typing import Any

import pytest
from sqlalchemy import func, text

from activebase import (
    InvalidValueError,
    ProtectedAttributeError,
    StaleRecordError,
    UniqueViolation,
    UnknownAttributeError,
    atomic,
    session,
    unit_of_work,
)
from tests.core import Undone, undone
from tests.databases import Database
from tests.warehouse import (
    Article,
    Contextual,
    Defaults,
    Item,
    Manager,
    Page,
    Part,
    Person,
    Sent,
    Shelf,
    Truck,
    Vehicle,
)

pytest_plugins = ["tests.warehouse_fixtures"]


def items(warehouse: Database) -> list[Any]:
    return warehouse.rows("SELECT name, quantity, note FROM item ORDER BY id")


@pytest.fixture
def stock(warehouse: Database) -> list[Item]:
    """Items a, b and c, which are detached."""
    with unit_of_work():
        return Item.bulk_create([{"name": name, "note": "old"} for name in "abc"], returning=True)


# -- what is written -------------------------------------------------------------------------


def test_writes_the_fields_of_records_with_one_statement(sent: Sent, warehouse: Database) -> None:
    with unit_of_work():
        Item.bulk_create([{"name": f"item {n}"} for n in range(300)])
        records = Item.query.order_by("id").all()
        for number, record in enumerate(records):
            record.quantity, record.note = number, f"note {number}"
        sent.forget()
        assert Item.bulk_update(records, ["quantity", "note"]) == 300
        assert len(sent.starting("UPDATE")) == len(sent.statements) == 1
        session.flush()
        assert len(sent.statements) == 1  # the fields count as flushed
    assert [row[1:] for row in items(warehouse)] == [(n, f"note {n}") for n in range(300)]


def test_sends_batches_of_the_size_that_was_asked_for(sent: Sent, warehouse: Database) -> None:
    with unit_of_work():
        records = Item.bulk_create([{"name": f"item {n}"} for n in range(50)], returning=True)
        for record in records:
            record.quantity = 7
        sent.forget()
        assert Item.bulk_update(records, ["quantity"], batch_size=20) == 50
        assert len(sent.starting("UPDATE")) == 3
        with pytest.raises(ValueError, match="batch_size"):
            Item.bulk_update(records, ["quantity"], batch_size=0)
    assert warehouse.scalar("SELECT count(*) FROM item WHERE quantity = 7") == 50


def test_writes_ten_thousand_rows(warehouse: Database) -> None:
    with unit_of_work():
        shelves = Shelf.bulk_create([{} for _ in range(10_000)], returning=True)
        rows = [{"id": shelf.id, "label": f"shelf {shelf.id}"} for shelf in shelves]
        assert Shelf.bulk_update(rows, ["label"]) == 10_000
    assert warehouse.scalar("SELECT count(DISTINCT label) FROM shelf") == 10_000


def test_updates_records_of_a_unit_that_has_ended(warehouse: Database, stock: list[Item]) -> None:
    for record in stock:
        record.note = f"new {record.name}"
    with unit_of_work():
        assert Item.bulk_update(stock, ["note"]) == 3
        assert all(record not in session for record in stock)
        session.add_all(stock)
        assert not any(session.is_modified(record) for record in stock)
    assert items(warehouse) == [(name, 1, f"new {name}") for name in "abc"]


def test_updates_by_dicts_and_tells_the_records_that_the_session_has(
    warehouse: Database, stock: list[Item]
) -> None:
    with unit_of_work():
        known = Item.get(stock[0].id)
        assert known is not None
        rows = [{"id": record.id, "note": None, "quantity": 8} for record in stock[:2]]
        assert Item.bulk_update(rows, ["quantity", "note"]) == 2
        assert (known.quantity, known.note) == (8, None)
        assert known not in session.dirty
    assert items(warehouse) == [("a", 8, None), ("b", 8, None), ("c", 1, "old")]


def test_counts_the_rows_that_match(warehouse: Database, stock: list[Item]) -> None:
    rows = [{"id": number, "note": "old"} for number in (stock[0].id, 10_000, stock[2].id)]
    with unit_of_work():
        assert Item.bulk_update(rows, ["note"]) == 2  # also those that do not change
        assert Item.bulk_update(rows[1:2], ["note"]) == 0
        assert Item.bulk_update([], ["note"]) == 0


def test_sends_nothing_for_no_records(sent: Sent) -> None:
    with unit_of_work():
        assert Item.bulk_update(iter([]), ["note"]) == 0
    assert sent.statements == []


def test_lets_the_last_of_several_values_for_a_row_win(
    warehouse: Database, stock: list[Item]
) -> None:
    with unit_of_work():
        record = Item.get(stock[0].id)
        assert record is not None
        record.note = "record"
        rows: list[Any] = [{"id": record.id, "note": "first"}, record]
        assert Item.bulk_update(rows, ["note"]) == 1
        rows = [record, {"id": record.id, "note": "last"}, {"id": stock[1].id, "note": "b"}]
        assert Item.bulk_update(rows, ["note"]) == 2
        assert record.note == "last"
    assert [note for _, _, note in items(warehouse)] == ["last", "b", "old"]


def test_finds_rows_by_a_key_of_several_columns(warehouse: Database) -> None:
    with unit_of_work():
        parts = Part.bulk_create(
            [{"serial": serial, "place": place} for serial in "st" for place in (1, 2)],
            returning=True,
        )
        parts[0].label = "changed"
        assert Part.bulk_update(parts[:1], ["label"]) == 1
        assert Part.bulk_update([{"serial": "t", "place": 2, "label": "x"}], ["label"]) == 1
    assert warehouse.rows("SELECT part_serial, part_place, part_label FROM part ORDER BY 1, 2") == [
        ("s", 1, "changed"),
        ("s", 2, None),
        ("t", 1, None),
        ("t", 2, "x"),
    ]


def test_takes_a_relation_for_its_column(warehouse: Database, stock: list[Item]) -> None:
    with unit_of_work():
        shelf = Shelf().save()
        rows = [{"id": record.id, "shelf_id": shelf.id} for record in stock]
        assert Item.bulk_update(rows, ["shelf"]) == 3
    assert warehouse.scalar("SELECT count(*) FROM item WHERE shelf_id IS NOT NULL") == 3


# -- the session -----------------------------------------------------------------------------


def test_flushes_everything_else_before(sent: Sent, warehouse: Database) -> None:
    with unit_of_work():
        records = Item.bulk_create([{"name": name} for name in "abc"], returning=True)
        records[0].quantity, records[0].note = 5, "other attribute"
        records[1].note = "other record"
        session.add(Item(name="new"))
        records[2].quantity = 6
        sent.forget()
        assert Item.bulk_update([records[0], records[2]], ["quantity"]) == 2
        assert "note" in sent.starting("UPDATE")[0]
        assert not any("quantity" in each for each in sent.starting("UPDATE")[:-1])
    assert items(warehouse) == [
        ("a", 5, "other attribute"),
        ("b", 1, "other record"),
        ("c", 6, None),
        ("new", 1, None),
    ]


@pytest.mark.parametrize("what", ["attribute", "record"])
def test_flushes_before_if_one_other_thing_is_pending(
    sent: Sent, warehouse: Database, what: str
) -> None:
    with unit_of_work():
        records = Item.bulk_create([{"name": name} for name in "ab"], returning=True)
        records[0].quantity = 5
        records[0 if what == "attribute" else 1].note = "other"
        sent.forget()
        assert Item.bulk_update(records[:1], ["quantity"]) == 1
        assert ["note" in each for each in sent.starting("UPDATE")] == [True, False]
    assert {note for _, _, note in items(warehouse)} == {"other", None}


def test_leaves_the_next_flush_nothing_to_look_at(
    sent: Sent, warehouse: Database, stock: list[Item]
) -> None:
    with unit_of_work():
        items = Item.query.order_by("id").all()
        for item in items:
            item.quantity += 1
        Item.bulk_update(items, ["quantity"])
        assert list(session.dirty) == []
        items[0].quantity += 1  # and what comes later is still seen
    quantities = warehouse.rows("SELECT quantity FROM item ORDER BY id")
    assert [quantity for (quantity,) in quantities] == [item.quantity for item in items]


def test_updates_a_record_that_is_pending(warehouse: Database) -> None:
    with unit_of_work():
        session.add(record := Item(name="pending", quantity=4))
        assert Item.bulk_update([record], ["quantity"]) == 1
    assert items(warehouse) == [("pending", 4, None)]


def test_reads_a_field_that_is_not_loaded(warehouse: Database, stock: list[Item]) -> None:
    with unit_of_work():
        records = Item.query.all()
        session.expire_all()
        records[0].quantity = 3
        assert Item.bulk_update(records, ["quantity", "note"]) == 3
    assert items(warehouse) == [("a", 3, "old"), ("b", 1, "old"), ("c", 1, "old")]


@pytest.mark.parametrize("is_dirty", [True, False])
def test_reads_records_again_when_the_savepoint_is_undone(
    warehouse: Database, stock: list[Item], is_dirty: bool
) -> None:
    with unit_of_work():
        records = Item.query.order_by("id").all()
        with undone(), atomic():
            records[0].note = "undone"
            if not is_dirty:
                session.flush()
            Item.bulk_update([records[0], {"id": records[1].id, "note": "undone"}], ["note"])
            assert [record.note for record in records] == ["undone", "undone", "old"]
            raise Undone
        assert [record.note for record in records] == ["old", "old", "old"]
    assert {note for _, _, note in items(warehouse)} == {"old"}


def test_forgets_a_version_when_the_savepoint_is_undone(warehouse: Database) -> None:
    with unit_of_work():
        (page,) = Page.bulk_create([{"slug": "a"}], returning=True)
        with undone(), atomic():
            Page.bulk_update([page], ["body"])
            assert page.version == 2
            raise Undone
        assert page.version == 1
        page.update(body="new")
    assert warehouse.rows("SELECT body, version FROM page") == [("new", 2)]


def test_reads_records_again_when_the_statement_fails(
    warehouse: Database, stock: list[Item]
) -> None:
    with unit_of_work():
        records = Item.query.order_by("id").all()
        records[0].name = "b"
        with pytest.raises(UniqueViolation):
            Item.bulk_update(records, ["name"])
        assert [record.name for record in records] == ["a", "b", "c"]
        records[0].update(note="goes on")
    assert items(warehouse)[0] == ("a", 1, "goes on")


# -- what else is set ------------------------------------------------------------------------


def test_honours_onupdate_of_python_and_sql(warehouse: Database) -> None:
    with unit_of_work():
        records = Defaults.bulk_create([{"name": "a"}, {"name": "b"}], returning=True)
        records[0].scalar = "x"
        rows: list[Any] = [records[0], {"id": records[1].id, "scalar": "y"}]
        assert Defaults.bulk_update(rows, ["scalar"]) == 2
        assert [record.changed for record in records] == ["changed"] * 2
        assert [record.changed_in_sql for record in records] == ["changed in sql"] * 2
    found = warehouse.rows("SELECT scalar, changed, changed_in_sql FROM defaults ORDER BY name")
    assert found == [("x", "changed", "changed in sql"), ("y", "changed", "changed in sql")]


def test_takes_a_field_before_onupdate(warehouse: Database) -> None:
    with unit_of_work():
        (record,) = Defaults.bulk_create([{"name": "a"}], returning=True)
        row = {"id": record.id, "changed": "given", "changed_in_sql": "given"}
        Defaults.bulk_update([row], ["changed", "changed_in_sql"])
    assert warehouse.rows("SELECT changed, changed_in_sql FROM defaults") == [("given", "given")]


def test_finds_an_onupdate_that_asks_the_connection(warehouse: Database) -> None:
    with unit_of_work():
        records = Contextual.bulk_create(
            [{"name": name, "answer": 0} for name in "ab"], returning=True
        )
        for record in records:
            record.name += "!"
        assert Contextual.bulk_update(records, ["name"]) == 2
        assert records[0].answer == 42
    assert warehouse.rows("SELECT name, answer FROM contextual ORDER BY id") == [
        ("a!", 42),
        ("b!", 42),
    ]


def test_sets_the_time_of_change_of_a_model_with_timestamps(warehouse: Database) -> None:
    with unit_of_work():
        articles = Article.bulk_create([{"slug": slug} for slug in "ab"], returning=True)
        before = articles[0].updated_at
        articles[0].body = "x"
        Article.bulk_update(articles, ["body"])
        assert articles[0].updated_at == articles[1].updated_at > before
    with unit_of_work():
        assert Article.get_by(slug="a").updated_at == articles[0].updated_at  # type: ignore[union-attr]


# -- versions --------------------------------------------------------------------------------


def test_counts_versions_up(warehouse: Database) -> None:
    with unit_of_work():
        pages = Page.bulk_create([{"slug": slug} for slug in "ab"], returning=True)
        pages[0].body = "new"
        rows: list[Any] = [pages[0], {"id": pages[1].id, "version": 1, "body": "new"}]
        assert Page.bulk_update(rows, ["body"]) == 2
        assert [page.version for page in pages] == [2, 2]
        pages[0].update(body="newer")
    assert warehouse.rows("SELECT body, version FROM page ORDER BY slug") == [
        ("newer", 3),
        ("new", 2),
    ]


def test_refuses_to_overwrite_what_someone_else_has_changed(warehouse: Database) -> None:
    with unit_of_work():
        pages = Page.bulk_create([{"slug": slug} for slug in "ab"], returning=True)
    warehouse.execute("UPDATE page SET version = 2, body = 'theirs' WHERE slug = 'b'")
    for page in pages:
        page.body = "mine"
    with pytest.raises(StaleRecordError, match="1 records of Page"), unit_of_work():
        Page.bulk_update(pages, ["body"])
    assert warehouse.rows("SELECT body, version FROM page ORDER BY slug") == [
        (None, 1),
        ("theirs", 2),
    ]


def test_leaves_the_unit_usable_when_a_stale_record_undid_nothing_else(
    warehouse: Database,
) -> None:
    with unit_of_work():
        (page,) = Page.bulk_create([{"slug": "a"}], returning=True)
    with unit_of_work():
        with pytest.raises(StaleRecordError):
            Page.bulk_update([{"id": page.id, "version": 9, "body": "x"}], ["body"])
        Shelf.create(label="kept")
    assert warehouse.rows("SELECT body, version FROM page") == [(None, 1)]
    assert warehouse.scalar("SELECT count(*) FROM shelf") == 1


# -- inheritance -----------------------------------------------------------------------------


def test_updates_what_is_stored_in_several_tables(warehouse: Database) -> None:
    with unit_of_work():
        Manager.bulk_create([{"name": name} for name in "ab"])
        managers = Manager.query.order_by("id").all()
        for manager in managers:
            manager.name += "!"
            manager.level = 9
        assert Manager.bulk_update(managers, ["name", "level"]) == 2
        assert Manager.bulk_update(managers, ["title"]) == 2
        managers[0].nick = "x"
        assert Person.bulk_update(managers, ["nick"]) == 2
    found = warehouse.rows(
        "SELECT name, nick, level FROM person JOIN manager ON manager.id = person.id ORDER BY name"
    )
    assert found == [("a!", "x", 9), ("b!", "nick", 9)]


def test_updates_records_of_subclasses_in_one_table(warehouse: Database) -> None:
    with unit_of_work():
        records: list[Vehicle] = [Vehicle(name="v").save(), Truck(name="t", weight=1).save()]
        for record in records:
            record.name = f"{record.name}!"
        records[1].weight = 5  # type: ignore[attr-defined]
        assert Vehicle.bulk_update(records, ["name"]) == 2
    assert warehouse.rows("SELECT name, weight FROM vehicle ORDER BY id") == [
        ("v!", None),
        ("t!", 5),
    ]


# -- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ([], ValueError, "fields is empty"),
        ("note", TypeError, "a collection of names"),
        (["nte"], UnknownAttributeError, r"Item\.nte .*Did you mean 'note'"),
        (["doubled"], UnknownAttributeError, r"Item\.doubled is no column"),
        (["parts"], UnknownAttributeError, r"Item\.parts is a relation"),
        (["id"], ValueError, r"finds rows by Item\.id"),
        (["note", "is_secret"], ProtectedAttributeError, r"Item\.is_secret"),
    ],
)
def test_refuses_wrong_fields_before_any_sql(
    sent: Sent, fields: Any, error: type[Exception], message: str
) -> None:
    with unit_of_work(), pytest.raises(error, match=message):
        Item.bulk_update([{"id": 1, "note": "n", "is_secret": True}], fields)
    assert sent.statements == []


@pytest.mark.parametrize(
    ("row", "error", "message"),
    [
        ({"id": 1}, ValueError, r"records\[1\] does not give note"),
        ({"note": "x"}, ValueError, r"records\[1\] does not give id"),
        ({"id": None, "note": "x"}, ValueError, r"records\[1\] can't be found"),
        ({"id": 1, "note": "x", "nme": 1}, UnknownAttributeError, "Did you mean 'name'"),
        ({"id": 1, "note": func.now()}, ValueError, "SQL expression"),
        (Item(id=1, note="x"), ValueError, r"records\[1\] has no row"),
        (Shelf(id=1), TypeError, r"records\[1\] is of type Shelf"),
        (5, TypeError, r"records\[1\] is of type int"),
    ],
)
def test_refuses_wrong_records_before_any_sql(
    sent: Sent, row: Any, error: type[Exception], message: str
) -> None:
    with unit_of_work(), pytest.raises(error, match=message):
        Item.bulk_update([{"id": 1, "note": "x"}, row], ["note"])
    assert sent.statements == []


def test_refuses_the_version_as_a_field_and_a_dict_without_it(sent: Sent) -> None:
    with unit_of_work():
        with pytest.raises(ValueError, match=r"finds rows by Page\.version"):
            Page.bulk_update([{"id": 1, "version": 1}], ["version"])
        with pytest.raises(ValueError, match="does not give version"):
            Page.bulk_update([{"id": 1, "body": "x"}], ["body"])
    assert sent.statements == []


def test_refuses_records_that_are_deleted_or_of_another_session(
    warehouse: Database, stock: list[Item]
) -> None:
    with unit_of_work():
        record = Item.get(stock[0].id)
        assert record is not None
        with unit_of_work(independent=True) if warehouse.dialect != "sqlite" else atomic():
            if warehouse.dialect != "sqlite":
                with pytest.raises(ValueError, match="belongs to another session"):
                    Item.bulk_update([record], ["note"])
        record.delete()
        with pytest.raises(ValueError, match="has no row"):
            Item.bulk_update([record], ["note"])


def test_allows_a_protected_field_of_a_record(warehouse: Database, stock: list[Item]) -> None:
    with unit_of_work():
        records = Item.query.all()
        records[0].is_secret = True
        assert Item.bulk_update(records, ["is_secret"]) == 3
    assert warehouse.scalar("SELECT count(*) FROM item WHERE is_secret") == 1


def test_translates_what_a_column_can_not_store(warehouse: Database, stock: list[Item]) -> None:
    with unit_of_work():
        with pytest.raises(InvalidValueError):
            Item.bulk_update([{"id": stock[0].id, "quantity": "many"}], ["quantity"])
        assert session.scalar(text("SELECT count(*) FROM item")) == 3
