"""What goes around the session: its driver, sessions of old, other engines, one connection."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select, text
from sqlalchemy.orm import scoped_session, sessionmaker

from activebase import (
    LostWritesError,
    NestedUnitError,
    StrayCommitError,
    UnitOfWork,
    UnitOfWorkError,
    configure,
    on_commit,
    session,
    unit_of_work,
)
from tests.archive import Record
from tests.core import Undone, names, undone
from tests.databases import EACH, Database, database_of, fresh_sqlite
from tests.models import Base, Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def save(name: str) -> Member:
    return Member(name=name).save()


# The driver


RAW_COMMITS: dict[str, Callable[[], Any]] = {
    "commit": lambda: session.connection().connection.commit(),
    "cursor": lambda: session.connection().connection.cursor().execute("COMMIT"),
}


@pytest.mark.parametrize("commit", RAW_COMMITS)
@pytest.mark.parametrize("goes_on", [True, False])
def test_raises_when_someone_has_committed_through_the_driver(
    engine: Engine, database: Database, commit: str, goes_on: bool
) -> None:
    ran: list[str] = []

    def work() -> None:
        with unit_of_work():
            save("ada")
            on_commit(lambda: ran.append("the unit did not commit"))
            RAW_COMMITS[commit]()
            if goes_on:
                save("bob")

    with pytest.raises(LostWritesError, match="behind the session"):
        work()
    assert "bob" not in names(database)
    assert ran == []


TEXTS = [";commit", "; ;  COMMIT", "select 1; commit", "VALUES (1);\n-- done\nEND"]
TEXTS += ["INSERT INTO member (name) VALUES ('bob'); commit"]


@pytest.mark.parametrize("statements", TEXTS)
def test_refuses_a_commit_behind_a_semicolon(
    engine: Engine, database: Database, statements: str
) -> None:
    def work() -> None:
        with unit_of_work():
            save("ada")
            session.execute(text(statements))

    with pytest.raises(StrayCommitError):
        work()
    assert names(database) == []


@pytest.mark.parametrize(
    "insert",
    [
        lambda: session.execute(text("INSERT INTO member (name) VALUES ('a;b')")),
        lambda: session.execute(text("INSERT INTO member (name) VALUES (:n)"), {"n": "; commit"}),
        lambda: save("; commit"),
        lambda: save("x; ROLLBACK"),
        lambda: save("a;b") and session.scalars(select(Member).where(Member.name == "a;b")).one(),
        lambda: save("a;b") and session.scalar(text("SELECT id FROM member WHERE name = 'a;b'")),
    ],
)
def test_takes_no_semicolon_in_a_value_for_a_commit(
    engine: Engine, database: Database, insert: Callable[[], Any]
) -> None:
    with unit_of_work() as unit:
        insert()
        assert unit.writes == 1
    assert len(names(database)) == 1


def test_counts_no_read_with_a_semicolon_in_a_literal_as_a_write(
    engine: Engine, database: Database
) -> None:
    with unit_of_work() as unit:
        assert session.scalar(text("SELECT 'a;b'")) == "a;b"
        assert unit.writes == 0


# A session of old


@pytest.mark.parametrize("has_written", [True, False])
def test_refuses_writes_in_a_session_that_was_removed(
    engine: Engine, database: Database, has_written: bool
) -> None:
    ran: list[str] = []

    def work() -> None:
        with unit_of_work():
            captured = session()
            if has_written:
                save("ada")
            session.remove()
            on_commit(lambda: ran.append("committed"))
            captured.add(Member(name="bob"))
            with pytest.raises(UnitOfWorkError):
                captured.flush()
            captured.close()

    if has_written:
        with pytest.raises(LostWritesError):
            work()
    else:
        work()
    assert names(database) == []
    assert ran == ([] if has_written else ["committed"])
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


# Engines


@pytest.mark.parametrize("variant_first", [True, False])
def test_guards_an_engine_whose_variant_was_met_first(
    engine: Engine, database: Database, variant_first: bool
) -> None:
    parent = create_engine(database.url)
    variant = parent.execution_options(mine=1)
    of_variant = scoped_session(sessionmaker(variant))
    of_parent = scoped_session(sessionmaker(parent))
    order = [of_variant, of_parent] if variant_first else [of_parent, of_variant]
    for number, scoped in enumerate(order):
        with unit_of_work(session=scoped):
            scoped.add(Member(name=f"committed {number}"))

    def work(scoped: scoped_session[Any]) -> None:
        with unit_of_work(session=scoped):
            scoped.add(Member(name="ada"))
            scoped.flush()
            scoped.connection().commit()

    for scoped in order:
        with pytest.raises(StrayCommitError):
            work(scoped)
    parent.dispose()
    assert names(database) == ["committed 0", "committed 1"]


@pytest.fixture
def two(engine: Engine, database: Database, tmp_path: Path) -> Iterator[tuple[Any, Database]]:
    """A scoped session over `database` and, for records, another database; and that one."""
    with fresh_sqlite(tmp_path) as other:
        first, second = create_engine(database.url), create_engine(other.url)
        Record.metadata.create_all(second)
        yield scoped_session(sessionmaker(first, binds={Record: second})), other
        first.dispose()
        second.dispose()


@pytest.mark.parametrize("uses", ["both", "the first", "the second", "the second to read"])
def test_commits_all_engines_of_a_session(
    two: tuple[Any, Database], database: Database, uses: str
) -> None:
    scoped, other = two
    with unit_of_work(session=scoped):
        if uses != "the second":
            scoped.add(Member(name="ada"))
            scoped.flush()
        if uses == "the second to read":
            assert scoped.scalars(select(Record)).all() == []
        elif uses != "the first":
            scoped.add(Record(title="kept"))
    assert names(database) == ([] if uses == "the second" else ["ada"])
    written = uses in ("both", "the second")
    assert other.scalar("SELECT count(*) FROM record") == int(written)


def test_commits_when_a_connection_of_another_engine_was_never_used(
    two: tuple[Any, Database], database: Database
) -> None:
    scoped, _ = two
    with unit_of_work(session=scoped):
        scoped.connection(bind_arguments={"mapper": Record})
        scoped.add(Member(name="ada"))
    assert names(database) == ["ada"]


def test_undoes_all_engines_of_a_session(two: tuple[Any, Database], database: Database) -> None:
    scoped, other = two
    with undone(), unit_of_work(session=scoped):
        scoped.add_all([Member(name="ada"), Record(title="undone")])
        scoped.flush()
        raise Undone
    assert names(database) == []
    assert other.scalar("SELECT count(*) FROM record") == 0


# One connection for all


@pytest.fixture
def memory_engine(unconfigured: None) -> Iterator[Engine]:
    engine = configure("sqlite://")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def check_out(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.scalar(text("SELECT 1"))


def check_out_raw(engine: Engine) -> None:
    raw = engine.raw_connection()
    raw.cursor().execute("SELECT 1")
    raw.close()


def write_in_another_unit(engine: Engine) -> None:
    inner = UnitOfWork.begin(name="inner")
    try:
        save("inner")
        inner.commit()
    finally:
        inner.close()


def swallow_in_another_unit(engine: Engine) -> None:
    inner = UnitOfWork.begin(name="inner")
    try:
        with suppress(NestedUnitError):
            save("inner")
        inner.commit()
    finally:
        inner.close()


def write_independently(engine: Engine) -> None:
    with unit_of_work(independent=True):
        save("inner")


@pytest.mark.parametrize(
    "meanwhile",
    [
        check_out,
        check_out_raw,
        write_in_another_unit,
        swallow_in_another_unit,
        write_independently,
    ],
)
@pytest.mark.parametrize("fails", [True, False])
def test_never_commits_half_on_the_one_connection_of_an_in_memory_database(
    memory_engine: Engine, meanwhile: Callable[[Engine], None], fails: bool
) -> None:
    outcome = "committed"
    try:
        with unit_of_work():
            save("ada")
            with suppress(UnitOfWorkError):
                meanwhile(memory_engine)
            save("bob")
            if fails:
                raise Undone
    except (LostWritesError, Undone):
        outcome = "refused"
    with unit_of_work():
        kept = sorted(member.name for member in Member.query.all())
    assert (outcome, kept) in [("refused", [])] + [("committed", ["ada", "bob"])] * (not fails)
