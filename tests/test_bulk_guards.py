"""Bulk statements and the rules of a unit: what a failed one undoes, and where none may be sent."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from activebase import (
    LostWritesError,
    ReadOnlyError,
    UncommittedWritesWarning,
    UniqueViolation,
    WriteAfterCommitError,
    atomic,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from activebase.session import global_registry
from tests.core import Undone, in_thread, undone
from tests.databases import Database
from tests.warehouse import Account, Item, Sent, Shelf

pytest_plugins = ["tests.warehouse_fixtures"]

#: Five batches, of which the third fails.
ROWS = [{"name": name} for name in ("v", "w", "taken", "x", "y")]


@pytest.fixture
def taken(warehouse: Database) -> int:
    """The key of an item that has the name "taken"."""
    with unit_of_work():
        return Item.create(name="taken").id


def names(warehouse: Database) -> list[str]:
    return [name for (name,) in warehouse.rows("SELECT name FROM item ORDER BY name")]


def write_third_batch_fails(returning: bool = False) -> None:
    with pytest.raises(UniqueViolation):
        Item.bulk_create(ROWS, batch_size=1, returning=returning)  # type: ignore[call-overload]


def write_and_fail(write: Callable[[], Any]) -> None:
    write()
    write_third_batch_fails()


def test_counts_every_statement_as_a_write(warehouse: Database, taken: int) -> None:
    with unit_of_work() as unit:
        Item.bulk_create([{"name": "a"}])
        assert unit.writes == 1
        Item.bulk_create([{"name": name} for name in "bcd"], batch_size=1)
        assert unit.writes == 4
        Item.bulk_update([{"id": taken, "note": "n"}], ["note"])
        assert unit.writes == 5


@pytest.mark.parametrize("returning", [False, True])
def test_writes_nothing_of_a_call_of_which_one_batch_fails(
    warehouse: Database, taken: int, returning: bool
) -> None:
    with unit_of_work() as unit:
        write_third_batch_fails(returning)
        assert unit.writes == 0
        Item.create(name="kept")  # nothing was lost, so the unit goes on
    assert names(warehouse) == ["kept", "taken"]


def test_dooms_a_unit_that_had_written_before(warehouse: Database, taken: int) -> None:
    with pytest.raises(LostWritesError) as caught, unit_of_work():
        write_and_fail(Shelf(label="lost").save)
    assert isinstance(caught.value.__cause__, UniqueViolation)
    assert "1 write " in str(caught.value)  # the batches are none that had succeeded
    assert names(warehouse) == ["taken"]
    assert warehouse.scalar("SELECT count(*) FROM shelf") == 0


def test_dooms_a_unit_whose_pending_records_were_flushed_before(
    warehouse: Database, taken: int
) -> None:
    with pytest.raises(LostWritesError), unit_of_work():
        write_and_fail(lambda: session.add(Shelf(label="lost")))
    assert warehouse.scalar("SELECT count(*) FROM shelf") == 0


def test_undoes_the_savepoint_alone(warehouse: Database, taken: int) -> None:
    with unit_of_work():
        Item.bulk_create([{"name": "kept"}])
        with pytest.raises(UniqueViolation), atomic():
            Item.bulk_create(ROWS, batch_size=1)
        with undone(), atomic():
            Item.bulk_create([{"name": "undone"}])
            raise Undone
    assert names(warehouse) == ["kept", "taken"]


def test_does_not_release_a_savepoint_that_holds_half_of_a_call(
    warehouse: Database, taken: int
) -> None:
    with unit_of_work():
        Item.bulk_create([{"name": "kept"}])
        with pytest.raises(LostWritesError), atomic():
            write_third_batch_fails()
    assert names(warehouse) == ["kept", "taken"]


def test_leaves_the_session_usable_outside_of_units(warehouse: Database, taken: int) -> None:
    write_third_batch_fails()
    with pytest.raises(UniqueViolation):
        Item.bulk_update(
            [{"id": key, "name": "same"} for key in (taken, Item.create(name="b").id)], ["name"]
        )
    assert [item.name for item in Item.query.all()] == ["taken"]
    assert session.is_active
    global_registry.end_thread()  # without a warning: nothing is left behind


def test_warns_of_rows_that_nobody_commits(warehouse: Database) -> None:
    def write() -> None:
        Item.bulk_create([{"name": "a"}])

        global_registry.end_thread()

    with pytest.warns(UncommittedWritesWarning, match="1 write"):
        in_thread(write)
    assert names(warehouse) == []


def test_undoes_what_a_stopped_call_has_sent(warehouse: Database) -> None:
    stopped: list[str] = []

    def stop(conn: Any, cursor: Any, statement: str, *others: Any) -> None:
        stopped.append(statement)
        if len(stopped) == 3:
            raise KeyboardInterrupt

    engine = session.get_bind()
    event.listen(engine, "after_cursor_execute", stop)
    try:
        with unit_of_work(), pytest.raises(KeyboardInterrupt):
            Item.bulk_create(ROWS, batch_size=1)
        with unit_of_work():
            Item.create(name="kept")
    finally:
        event.remove(engine, "after_cursor_execute", stop)
    assert len(stopped) >= 3
    assert names(warehouse) == ["kept"]


# -- where nothing may be written ------------------------------------------------------------


WRITES: list[Callable[[], Any]] = [
    lambda: Item.bulk_create([{"name": "a"}]),
    lambda: Item.bulk_create([{"name": "a"}], returning=True, on_conflict="update"),
    lambda: Item.bulk_update([{"id": 1, "note": "n"}], ["note"]),
]


@pytest.mark.parametrize("write", WRITES)
def test_sends_nothing_in_a_read_only_unit(sent: Sent, write: Callable[[], Any]) -> None:
    with read_only(), pytest.raises(ReadOnlyError):
        write()
    assert [each for each in sent.statements if not each.startswith("SET")] == []


@pytest.mark.parametrize("write", WRITES)
def test_sends_nothing_after_the_commit(
    warehouse: Database, sent: Sent, write: Callable[[], Any]
) -> None:
    def callback() -> None:
        with pytest.raises(WriteAfterCommitError):
            write()
        called.append(True)

    called: list[bool] = []
    with unit_of_work():
        Shelf.create()
        on_commit(callback)
        sent.forget()
    assert called
    assert sent.starting("INSERT") == sent.starting("UPDATE") == []


def test_refuses_further_writes_after_lost_ones(warehouse: Database, taken: int) -> None:
    def go_on() -> None:
        write_and_fail(Shelf().save)
        with pytest.raises(LostWritesError):
            Item.bulk_create([{"name": "refused"}])

    with pytest.raises(LostWritesError), unit_of_work():
        go_on()
    assert names(warehouse) == ["taken"]


def test_changes_no_record_when_it_is_refused(warehouse: Database, taken: int) -> None:
    with read_only():
        record = Item.get(taken)
        assert record is not None
        record.note = "pending"
        with pytest.raises(ReadOnlyError):
            Item.bulk_update([record], ["note"])
        assert record.changes() == {"note": (None, "pending")}
        session.expunge_all()


def test_joins_what_is_written_otherwise_in_the_unit(warehouse: Database) -> None:
    with undone(), unit_of_work():
        Account.bulk_create([{"email": "a"}])
        Account.create(email="b")
        raise Undone
    assert warehouse.scalar("SELECT count(*) FROM account") == 0
