"""`bulk_create()` without conflicts: rows, names, defaults, and what comes back."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from activebase import (
    ProtectedAttributeError,
    UnknownAttributeError,
    session,
    unit_of_work,
)
from tests.databases import Database
from tests.warehouse import (
    Account,
    Contextual,
    Crate,
    Defaults,
    Item,
    Joint,
    Part,
    Sent,
    Shelf,
    Tag,
)

pytest_plugins = ["tests.warehouse_fixtures"]


def items(warehouse: Database) -> list[Any]:
    return warehouse.rows("SELECT name, quantity, note FROM item ORDER BY id")


# -- rows ------------------------------------------------------------------------------------


def test_writes_dicts_and_tells_how_many(warehouse: Database) -> None:
    with unit_of_work():
        assert Item.bulk_create([{"name": "a", "quantity": 2}, {"name": "b", "quantity": 3}]) == 2
    assert items(warehouse) == [("a", 2, None), ("b", 3, None)]


def test_writes_records_which_stay_as_they_are(warehouse: Database) -> None:
    records = [Item(name="a", quantity=2), Item(name="b", note="n")]
    with unit_of_work():
        assert Item.bulk_create(records) == 2
        assert all(record not in session for record in records)
    assert items(warehouse) == [("a", 2, None), ("b", 1, "n")]
    assert [repr(record) for record in records] == ["<Item (transient)>"] * 2
    assert records[0].id is None


def test_takes_records_and_dicts_of_any_shape_in_one_call(warehouse: Database) -> None:
    rows = [
        {"name": "a", "note": None},
        Item(name="b", quantity=2),
        OrderedDict(quantity=3, name="c"),
        {"quantity": 4, "name": "d", "note": "n"},
        {"name": "e", "note": "n"},
    ]
    with unit_of_work():
        assert Item.bulk_create(rows) == 5
    assert items(warehouse) == [
        ("a", 1, None),
        ("b", 2, None),
        ("c", 3, None),
        ("d", 4, "n"),
        ("e", 1, "n"),
    ]


def test_takes_a_generator(warehouse: Database) -> None:
    with unit_of_work():
        assert Item.bulk_create({"name": f"item {n}"} for n in range(20)) == 20
    assert warehouse.scalar("SELECT count(*) FROM item") == 20


@pytest.mark.parametrize("returning", [False, True])
def test_sends_nothing_for_no_rows(sent: Sent, returning: bool) -> None:
    with unit_of_work():
        written: Any = Item.bulk_create(iter([]), returning=returning)  # type: ignore[call-overload]
    assert written == ([] if returning else 0)
    assert sent.statements == []


def test_writes_a_hundred_thousand_rows(warehouse: Database) -> None:
    with unit_of_work():
        assert Shelf.bulk_create({"label": f"shelf {n}"} for n in range(100_000)) == 100_000
    found = warehouse.rows("SELECT count(*), count(DISTINCT label) FROM shelf")
    assert found == [(100_000, 100_000)]


def test_sends_one_statement_for_a_batch(sent: Sent) -> None:
    with unit_of_work():
        Item.bulk_create([{"name": f"item {n}"} for n in range(500)])
        assert len(sent.starting("INSERT")) == 1
        sent.forget()
        Item.bulk_create([{"name": f"other {n}"} for n in range(500)], batch_size=200)
        assert len(sent.starting("INSERT")) == 3


def test_stays_within_the_limit_of_parameters(warehouse: Database) -> None:
    rows = [{"region": "r", "number": n, "email": f"e{n}", "balance": n} for n in range(20_000)]
    with unit_of_work():
        assert Account.bulk_create(rows) == 20_000
        records = Account.bulk_create(
            [{**row, "email": f"f{row['number']}", "region": "s"} for row in rows],
            returning=True,
            batch_size=20_000,
        )
    assert [record.number for record in records] == list(range(20_000))
    assert warehouse.scalar("SELECT count(*) FROM account") == 40_000


def test_writes_rows_that_give_nothing_at_all(warehouse: Database) -> None:
    with unit_of_work():
        assert Shelf.bulk_create([{}, Shelf(), {}]) == 3
        assert len(Shelf.bulk_create([{}, {}], returning=True)) == 2
    assert warehouse.scalar("SELECT count(*) FROM shelf WHERE label IS NULL") == 5


def test_flushes_what_is_pending_before(warehouse: Database) -> None:
    with unit_of_work():
        session.add(Item(name="first"))
        Item.bulk_create([{"name": "second"}])
    assert [name for name, _, _ in items(warehouse)] == ["first", "second"]


# -- names -----------------------------------------------------------------------------------


def test_names_the_close_match_of_an_unknown_name(sent: Sent) -> None:
    with unit_of_work():
        session.add(Item(name="pending"))
        with pytest.raises(UnknownAttributeError, match=r"Item\.quantty.*Did you mean 'quantity'"):
            Item.bulk_create([{"name": "a"}, {"name": "b", "quantty": 1}])
        assert sent.statements == []


@pytest.mark.parametrize("name", ["doubled", "shout", "metadata", "is_secrt", 3])
def test_refuses_what_is_no_column(sent: Sent, name: Any) -> None:
    with unit_of_work(), pytest.raises(UnknownAttributeError, match=rf"Item\.{name}"):
        Item.bulk_create([{"name": "a", name: 1}])
    assert sent.statements == []


def test_refuses_a_protected_name_in_a_dict_only(warehouse: Database) -> None:
    with unit_of_work():
        with pytest.raises(ProtectedAttributeError, match=r"Item\.is_secret"):
            Item.bulk_create([{"name": "a", "is_secret": True}])
        Item.bulk_create([Item(name="a", is_secret=True)])
    assert warehouse.scalar("SELECT count(*) FROM item WHERE is_secret") == 1


def test_takes_attributes_that_are_called_otherwise_than_their_columns(warehouse: Database) -> None:
    with unit_of_work():
        Part.bulk_create([{"serial": "s", "place": 1, "label": "l"}, Part(serial="s", place=2)])
    found = warehouse.rows("SELECT part_serial, part_place, part_label FROM part ORDER BY 2")
    assert found == [("s", 1, "l"), ("s", 2, None)]
    with unit_of_work(), pytest.raises(UnknownAttributeError, match="part_label"):
        Part.bulk_create([{"serial": "s", "place": 1, "part_label": "l"}])


def test_takes_a_synonym_but_no_column_twice(warehouse: Database) -> None:
    with unit_of_work():
        Item.bulk_create([{"title": "a"}])
        with pytest.raises(ValueError, match=r"gives Item\.name twice"):
            Item.bulk_create([{"title": "b", "name": "b"}])
    assert items(warehouse) == [("a", 1, None)]


@pytest.mark.parametrize("row", [("a",), "a", None, 1, Shelf(label="s")])
def test_refuses_what_is_no_row(sent: Sent, row: Any) -> None:
    with unit_of_work(), pytest.raises(TypeError, match=r"rows\[1\] is of type"):
        Item.bulk_create([{"name": "a"}, row])
    assert sent.statements == []


def test_refuses_records_that_are_not_new(warehouse: Database) -> None:
    with unit_of_work():
        saved = Item(name="saved").save()
        with pytest.raises(ValueError, match=r"rows\[0\] has a row already"):
            Item.bulk_create([saved])
    with unit_of_work():
        with pytest.raises(ValueError, match=r"rows\[0\] has a row already"):
            Item.bulk_create([saved])  # detached by now
        session.add(pending := Item(name="pending"))
        with pytest.raises(ValueError, match=r"rows\[0\] is pending in a session"):
            Item.bulk_create([pending])
    assert [name for name, _, _ in items(warehouse)] == ["saved", "pending"]


@pytest.mark.parametrize("value", [func.now(), Item.name, select(1).scalar_subquery()])
def test_refuses_sql_expressions_as_values(sent: Sent, value: Any) -> None:
    for row in ({"name": "a", "note": value}, Item(name="a", note=value)):
        with unit_of_work(), pytest.raises(ValueError, match=r"Item\.note holds an SQL expression"):
            Item.bulk_create([row])
    assert sent.statements == []


@pytest.mark.parametrize("size", [0, -1])
def test_refuses_a_size_that_makes_no_batches(sent: Sent, size: int) -> None:
    with unit_of_work(), pytest.raises(ValueError, match="batch_size"):
        Item.bulk_create([{"name": "a"}], batch_size=size)
    assert sent.statements == []


# -- relations -------------------------------------------------------------------------------


def test_writes_the_key_of_a_related_record(warehouse: Database) -> None:
    with unit_of_work():
        shelf = Shelf(label="s").save()
        session.add(pending := Shelf(label="t"))
        rows = [
            {"name": "a", "shelf": shelf},
            {"name": "b", "shelf": None},
            Item(name="c", shelf_id=shelf.id),
            {"name": "d", "shelf": pending},
            {"name": "e", "shelf_id": shelf.id},
        ]
        Item.bulk_create(rows)
    found = warehouse.rows(
        "SELECT name, label FROM item LEFT JOIN shelf ON shelf.id = shelf_id ORDER BY item.id"
    )
    assert found == [("a", "s"), ("b", None), ("c", "s"), ("d", "t"), ("e", "s")]


def test_writes_a_key_of_several_columns(warehouse: Database) -> None:
    with unit_of_work():
        part = Part(serial="s", place=4).save()
        Joint.bulk_create([{"part": part}, Joint(part=part), {"part": None}])
    assert warehouse.rows("SELECT serial, place FROM joint ORDER BY id") == [
        ("s", 4),
        ("s", 4),
        (None, None),
    ]


def test_refuses_a_record_that_stands_in_a_collection_of_the_session(warehouse: Database) -> None:
    with unit_of_work():
        detached = Shelf(label="s").save()
    with unit_of_work():
        Item.bulk_create([Item(name="a", shelf=detached)])
        persistent = Shelf.query.one()
        record = Item(name="b", shelf=persistent)
        with pytest.raises(ValueError, match=r"Item\.shelf holds a record of the session"):
            Item.bulk_create([record])
        record.shelf = None
    assert warehouse.rows("SELECT name, label FROM item JOIN shelf ON shelf.id = shelf_id") == [
        ("a", "s")
    ]


def test_leaves_a_foreign_key_alone_beside_a_relation_that_is_none(warehouse: Database) -> None:
    with unit_of_work():
        shelf = Shelf().save()
        record = Item(name="a", shelf_id=shelf.id)
        assert record.shelf is None  # which sets nothing
        record.parts = []
        Item.bulk_create([record])
    assert warehouse.scalar("SELECT count(*) FROM item WHERE shelf_id IS NOT NULL") == 1


def test_does_not_cascade(warehouse: Database) -> None:
    with unit_of_work():
        with pytest.raises(ValueError, match=r"Item\.shelf holds a Shelf without a key"):
            Item.bulk_create([{"name": "a", "shelf": Shelf()}])
        with pytest.raises(ValueError, match=r"Item\.shelf takes a record of Shelf"):
            Item.bulk_create([{"name": "a", "shelf": 5}])
        with pytest.raises(ValueError, match=r"Item\.parts holds related records"):
            Item.bulk_create([Item(name="a", parts=[Part(serial="s", place=1)])])
        with pytest.raises(UnknownAttributeError, match=r"Item\.parts is a relation"):
            Item.bulk_create([{"name": "a", "parts": []}])
        with pytest.raises(ValueError, match=r"Item\.shelf_id twice"):
            Item.bulk_create([{"name": "a", "shelf": None, "shelf_id": 3}])
        shelf = Shelf()
        shelf.crates.add(Crate())
        with pytest.raises(ValueError, match=r"Shelf\.crates holds related records"):
            Shelf.bulk_create([shelf])
    assert items(warehouse) == []


# -- defaults --------------------------------------------------------------------------------


def test_honours_the_defaults_of_python_sql_and_server(warehouse: Database) -> None:
    with unit_of_work():
        Defaults.bulk_create([{"name": "a"}, Defaults(name="b"), {"name": "c"}])
    found = warehouse.rows(
        "SELECT scalar, of_row, in_sql, of_server, changed, changed_in_sql FROM defaults"
        " ORDER BY name"
    )
    assert found == [
        ("scalar", f"code of {name}", "in sql", "server", "new", None) for name in "abc"
    ]
    assert warehouse.scalar("SELECT count(DISTINCT called) FROM defaults") == 3


def test_tells_none_from_missing_in_a_dict(warehouse: Database) -> None:
    nothing = dict.fromkeys(("scalar", "called", "of_row", "in_sql", "of_server", "changed"))
    with unit_of_work():
        Defaults.bulk_create([{"name": "a", **nothing}, {"name": "b"}, {"name": "c", **nothing}])
    found = warehouse.rows(
        "SELECT name, scalar, called, of_row, in_sql, of_server, changed FROM defaults"
        " WHERE name <> 'b' ORDER BY name"
    )
    assert found == [("a", *[None] * 6), ("c", *[None] * 6)]
    assert warehouse.rows("SELECT scalar, of_server FROM defaults WHERE name = 'b'") == [
        ("scalar", "server")
    ]


def test_writes_none_in_a_record_as_save_does(warehouse: Database) -> None:
    nothing = dict.fromkeys(("scalar", "of_row", "in_sql", "of_server", "changed"))
    with unit_of_work():
        Defaults(name="saved", **nothing).save()
        Defaults.bulk_create([Defaults(name="a", **nothing), Defaults(name="b", scalar="x")])
    found = warehouse.rows("SELECT scalar, in_sql, of_server, changed FROM defaults ORDER BY name")
    assert found == [
        ("scalar", "in sql", "server", "new"),
        ("x", "in sql", "server", "new"),
        ("scalar", "in sql", "server", "new"),
    ]
    assert warehouse.rows("SELECT of_row FROM defaults WHERE name <> 'b'") == [
        ("code of saved",),
        ("code of a",),
    ]


def test_finds_a_default_that_asks_the_connection(warehouse: Database) -> None:
    with unit_of_work():
        assert Contextual.bulk_create([{"name": "a"}, {"name": "b", "answer": 1}]) == 2
        (record,) = Contextual.bulk_create([{"name": "c"}], returning=True)
        assert record.answer == 42
    assert warehouse.rows("SELECT name, answer FROM contextual ORDER BY name") == [
        ("a", 42),
        ("b", 1),
        ("c", 42),
    ]


def test_takes_none_for_a_missing_key(warehouse: Database) -> None:
    with unit_of_work():
        assert Item.bulk_create([{"id": None, "name": "a"}, {"id": 77, "name": "b"}]) == 2
        assert Tag.bulk_create([{"id": None, "word": "w"}]) == 1
    assert warehouse.scalar("SELECT id FROM item WHERE name = 'b'") == 77
    assert warehouse.scalar("SELECT count(*) FROM tag WHERE id IS NOT NULL") == 1


# -- returning -------------------------------------------------------------------------------


def test_returns_records_of_the_session_in_the_order_of_the_rows(warehouse: Database) -> None:
    rows: Any = [{"name": f"n{number % 7}-{number}"} for number in range(2500)]
    rows[3] = Item(name="record")
    rows[5] = {"name": "with key", "id": 100_000}
    with unit_of_work():
        records = Item.bulk_create(rows, returning=True)
        assert [record.name for record in records] == [
            row.name if isinstance(row, Item) else row["name"] for row in rows
        ]
        assert all(record in session for record in records)
        assert rows[3] not in records
        assert not session.dirty
        assert {record.quantity for record in records} == {1}
        records[0].update(note="changed")
    found = dict(warehouse.rows("SELECT name, id FROM item"))
    assert [found[record.name] for record in records] == [record.id for record in records]
    assert warehouse.scalar("SELECT note FROM item WHERE name = 'n0-0'") == "changed"


def test_returns_what_the_warehouse_has_made_of_the_row(sent: Sent) -> None:
    with unit_of_work():
        records = Defaults.bulk_create(
            [{"name": "a"}, {"name": "b", "of_server": "x"}], returning=True
        )
        sent.forget()
        assert [record.of_server for record in records] == ["server", "x"]
        assert [record.in_sql for record in records] == ["in sql"] * 2
        assert [record.of_row for record in records] == ["code of a", "code of b"]
        assert sent.statements == []  # nothing had to be read again


def test_returns_records_by_keys_that_python_makes_and_by_composite_keys(
    warehouse: Database,
) -> None:
    with unit_of_work():
        tags = Tag.bulk_create([{"word": f"w{n}"} for n in range(50)], returning=True)
        assert [tag.word for tag in tags] == [f"w{n}" for n in range(50)]
        rows = [{"serial": f"s{n % 3}", "place": 50 - n} for n in range(50)]
        parts = Part.bulk_create(rows, returning=True)
        assert [part.place for part in parts] == [50 - n for n in range(50)]
        assert Part.get(("s0", 50)) is parts[0]


def test_reads_rows_lazily_but_before_anything_is_sent(sent: Sent) -> None:
    def rows() -> Iterator[dict[str, str]]:
        yield {"name": "a"}
        raise KeyError("no more")

    with unit_of_work():
        with pytest.raises(KeyError):
            Item.bulk_create(rows(), batch_size=1)
        assert sent.statements == []
