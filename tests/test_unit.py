"""UnitOfWork: the state machine with four calls."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import PendingRollbackError

from activebase import (
    ConnectionLost,
    LostWritesError,
    UniqueViolation,
    UnitOfWork,
    UnitOfWorkError,
    atomic,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from tests.core import kill_connection, names, on_servers
from tests.databases import EACH, Database, database_of
from tests.models import Entry, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def checked_out(engine: Engine) -> int:
    count: int = engine.pool.checkedout()  # type: ignore[attr-defined]  # of a QueuePool
    return count


def test_goes_from_open_to_committed(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin(name="import")
    assert current_unit() is unit
    assert (unit.state, unit.writes, unit.attempt, unit.read_only) == ("open", 0, 1, False)
    assert repr(unit) == "<UnitOfWork 'import': open>"
    Member(name="ada").save()
    assert unit.writes == 1
    assert names(database) == []
    unit.commit()
    assert (unit.state, unit.writes) == ("committed", 1)
    assert names(database) == ["ada"]
    unit.close()
    assert current_unit() is None
    assert checked_out(engine) == 0


def test_goes_from_open_to_rolled_back(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    unit.rollback()
    assert (unit.state, unit.writes) == ("rolled back", 0)
    unit.rollback()
    unit.close()
    assert names(database) == []


def test_rolls_back_what_is_open_when_closed(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    unit.close()
    unit.close()
    assert unit.state == "rolled back"
    assert names(database) == []
    assert checked_out(engine) == 0


def test_undoes_nothing_by_a_rollback_after_the_commit(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    unit.commit()
    unit.rollback()
    unit.close()
    assert unit.state == "committed"
    assert names(database) == ["ada"]


@pytest.mark.parametrize("end", [UnitOfWork.commit, UnitOfWork.rollback])
@pytest.mark.parametrize("late", [UnitOfWork.commit, lambda unit: unit.doom("late")])
def test_refuses_to_commit_or_doom_what_has_ended(
    engine: Engine, end: Callable[[UnitOfWork], None], late: Callable[[UnitOfWork], None]
) -> None:
    unit = UnitOfWork.begin()
    end(unit)
    with pytest.raises(UnitOfWorkError, match="has ended"):
        late(unit)
    unit.close()


def test_never_joins(engine: Engine, database: Database) -> None:
    outer = UnitOfWork.begin(name="outer")
    inner = UnitOfWork.begin(name="inner")
    assert current_unit() is inner
    Member(name="ada").save()
    inner.commit()
    inner.close()
    assert names(database) == ["ada"]
    assert current_unit() is outer
    Member(name="bob").save()
    outer.close()
    assert names(database) == ["ada"]


def test_restores_the_scope_when_units_end_out_of_order(engine: Engine, database: Database) -> None:
    outer = UnitOfWork.begin()
    inner = UnitOfWork.begin()
    outer.close()
    assert current_unit() is inner
    inner.close()
    assert current_unit() is None


def test_ends_in_a_rollback_when_the_last_flush_fails(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    session.add(Member(name="ada"))
    with pytest.raises(UniqueViolation):
        unit.commit()
    assert unit.state == "rolled back"
    unit.close()
    assert names(database) == []
    assert checked_out(engine) == 0


def test_stays_rolled_back_after_a_refused_commit(engine: Engine, database: Database) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    session.rollback()
    with pytest.raises(LostWritesError, match=r"session\.rollback\(\)"):
        unit.commit()
    assert unit.state == "rolled back"
    unit.close()
    assert names(database) == []


def test_tells_the_log_why_a_doomed_unit_is_rolled_back(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "activebase"), unit_of_work() as unit:
        Member(name="ada").save()
        unit.doom("the client went away")
    assert "the client went away" in caplog.text
    assert unit.state == "rolled back"
    assert names(database) == []


def test_counts_the_writes_that_stand(engine: Engine) -> None:
    with unit_of_work() as unit:
        session.execute(text("INSERT INTO member (name) VALUES ('ada')"))
        Member(name="bob").save()
        savepoint = session.begin_nested()
        Member(name="cyd").save()
        assert unit.writes == 3
        savepoint.rollback()
        assert unit.writes == 2
        Member.query.all()
        assert unit.writes == 2


# Connections that are gone


@on_servers
def test_hides_no_error_behind_a_rollback_that_fails(
    engine: Engine, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    error = ZeroDivisionError("the first error")

    def work() -> None:
        with unit_of_work():
            Member(name="ada").save()
            kill_connection(database)
            raise error

    with pytest.raises(ZeroDivisionError) as caught:
        work()
    assert caught.value is error
    assert names(database) == []
    assert checked_out(engine) == 0
    with unit_of_work():
        Member(name="bob").save()
    assert names(database) == ["bob"]


@on_servers
def test_reports_a_connection_that_is_lost_before_a_statement(
    engine: Engine, database: Database
) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    kill_connection(database)
    with pytest.raises(ConnectionLost) as caught:
        Member(name="bob").save()
    assert caught.value.connection_invalidated
    with pytest.raises(LostWritesError) as refused:
        unit.commit()
    assert refused.value.__cause__ is caught.value
    unit.close()
    assert names(database) == []
    assert checked_out(engine) == 0


@on_servers
def test_goes_on_with_a_new_connection_when_nothing_was_lost_with_the_old(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        kill_connection(database)
        with pytest.raises(ConnectionLost):
            Member.query.all()
        session.rollback()
        Member(name="ada").save()
    assert names(database) == ["ada"]


def read_without_flush() -> None:
    with session.no_autoflush:
        assert Member.query.all() == []


@on_servers
@pytest.mark.parametrize(
    "go_on",
    [
        lambda: Member(name="ada").save(),
        lambda: session.add(Member(name="ada")),
        lambda: session.execute(text("INSERT INTO member (name) VALUES ('ada')")),
        lambda: (Member.query.all(), atomic(lambda: Member(name="ada").save())()),
        lambda: (read_without_flush(), Member(name="ada").save()),
    ],
    ids=["save", "add", "core", "atomic", "read"],
)
def test_goes_on_by_itself_when_nothing_was_lost_with_the_connection(
    engine: Engine, database: Database, go_on: Callable[[], Any]
) -> None:
    called: list[int] = []
    with unit_of_work():
        on_commit(lambda: called.append(1))
        session.add(Member(name="waiting"))
        with session.no_autoflush:
            kill_connection(database)
            with pytest.raises(ConnectionLost):
                Member.query.all()
        go_on()
    assert names(database) in (["waiting", "ada"], ["ada", "waiting"])
    assert called == [1]
    assert checked_out(engine) == 0


def test_takes_two_losses_before_the_next_use_for_one(engine: Engine, database: Database) -> None:
    with unit_of_work():
        session.connection()
        for _ in range(2):  # as of two databases inside a savepoint
            session().recover_before_use(ConnectionError())
        Member(name="ada").save()
    assert names(database) == ["ada"]


@on_servers
def test_keeps_a_get_bind_that_someone_has_set(engine: Engine, database: Database) -> None:
    asked: list[object] = []

    def get_bind(*args: Any, **options: Any) -> Engine:
        asked.append(options)
        return engine

    with unit_of_work():
        session().get_bind = get_bind
        kill_connection(database)
        for _ in range(2):
            with pytest.raises(ConnectionLost):
                Member.query.all()
            asked.clear()
            Member.query.all()
            assert session().get_bind is get_bind
            assert len(asked) == 1
            kill_connection(database)
        with pytest.raises(ConnectionLost):
            Member.query.all()
        Member(name="ada").save()
    assert names(database) == ["ada"]


@on_servers
def test_goes_on_when_the_connection_was_lost_inside_a_savepoint(
    engine: Engine, database: Database
) -> None:
    @atomic
    def lose_the_connection() -> None:
        kill_connection(database)
        for _ in range(2):
            with pytest.raises((ConnectionLost, PendingRollbackError)) as caught:
                Member.query.all()
        raise caught.value

    with unit_of_work():
        with pytest.raises(PendingRollbackError):
            lose_the_connection()
        Member(name="ada").save()
    assert names(database) == ["ada"]


@on_servers
def test_ends_as_it_should_when_a_lost_connection_was_the_last_thing(
    engine: Engine, database: Database
) -> None:
    for read_only in (True, False):
        with unit_of_work(read_only=read_only):
            kill_connection(database)
            with pytest.raises(ConnectionLost):
                Member.query.all()
    assert checked_out(engine) == 0


def lose_the_connection(database: Database) -> None:
    with session.no_autoflush:
        kill_connection(database)
        with pytest.raises(ConnectionLost):
            session.execute(text("SELECT 1"))


def fail_to_flush(database: Database) -> None:
    kill_connection(database)
    with pytest.raises(ConnectionLost):
        Member.get_or_404(1).update(name="lost")


CHANGES: dict[str, tuple[Callable[[Member], Any], list[str]]] = {
    "update": (lambda ada: ada.update(name="bob"), ["bob"]),
    "set": (lambda ada: setattr(ada, "name", "bob"), ["bob"]),
    "set a new one as well": (
        lambda ada: (setattr(ada, "name", "bob"), Member(name="cyd").save()),
        ["bob", "cyd"],
    ),
    "delete": (lambda ada: ada.delete(), []),
    "mark for deletion": (lambda ada: session.delete(ada), []),
    "dml": (lambda ada: Member.query.update(name="bob"), ["bob"]),
}


@on_servers
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "lose",
    [
        lose_the_connection,
        fail_to_flush,
        lambda database: (lose_the_connection(database), session.rollback()),
        lambda database: (lose_the_connection(database), session.rollback(), Member.query.all()),
    ],
    ids=["statement", "flush", "rollback", "rollback and read"],
)
def test_writes_what_is_changed_after_the_loss(
    engine: Engine, database: Database, lose: Callable[[Database], Any], change: str
) -> None:
    with unit_of_work():
        Member(name="ada").save()
    make, expected = CHANGES[change]
    with unit_of_work():
        ada = Member.get_or_404(1)
        lose(database)
        make(ada)
    assert names(database) == expected
    assert checked_out(engine) == 0


@on_servers
def test_keeps_unflushed_changes_over_the_loss(engine: Engine, database: Database) -> None:
    with unit_of_work():
        Member(name="ada").save()
        Member(name="bob").save()
    with unit_of_work():
        ada, bob = Member.query.order_by("id").all()
        ada.name = "changed"
        session.delete(bob)
        session.add(Member(name="new"))
        lose_the_connection(database)
    assert names(database) == ["changed", "new"]


@on_servers
def test_tells_of_changed_relations_that_were_lost(engine: Engine, database: Database) -> None:
    with unit_of_work():
        member = Member(name="ada").save()
        entry = Entry(member=member, amount=1).save()

    def work(go_on: Callable[[], Any]) -> None:
        with unit_of_work():
            found = Entry.get_or_404(entry.id)
            found.member = Member.query.one()
            other = Member(name="other")
            found.member = other
            lose_the_connection(database)
            go_on()

    for go_on in (lambda: Member(name="x").save(), lambda: Member.query.all(), lambda: None):
        with pytest.raises(LostWritesError) as caught:
            work(go_on)
        assert isinstance(caught.value.__cause__, ConnectionLost)
    assert names(database) == ["ada"]
    assert checked_out(engine) == 0


@on_servers
def test_reports_a_connection_that_is_lost_at_the_last_flush_as_lost(
    engine: Engine, database: Database
) -> None:
    unit = UnitOfWork.begin()
    Member(name="ada").save()
    session.add(Member(name="bob"))
    with session.no_autoflush:
        kill_connection(database)
    on_commit(lambda: pytest.fail("nothing was committed"))
    with pytest.raises(ConnectionLost):
        unit.commit()
    unit.close()
    assert names(database) == []


@on_servers
def test_dooms_the_unit_when_the_connection_is_lost_inside_a_savepoint(
    engine: Engine, database: Database
) -> None:
    @atomic
    def lose_the_connection() -> None:
        kill_connection(database)
        Member(name="bob").save()

    def work() -> None:
        with unit_of_work():
            Member(name="ada").save()
            with pytest.raises(ConnectionLost):
                lose_the_connection()
            with pytest.raises(LostWritesError):
                Member(name="cyd").save()

    with pytest.raises(LostWritesError):
        work()
    assert names(database) == []
    assert checked_out(engine) == 0
