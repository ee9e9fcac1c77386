"""Who owns a session, and what its end says about writes that nobody committed."""

import gc
import threading
import warnings
import weakref
from contextvars import copy_context
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine

from activebase import (
    UncommittedWritesWarning,
    UnitOfWork,
    current_unit,
    session,
    unit_of_work,
)
from activebase.flask import ActiveBase
from activebase.scopes import current_scope, thread_scopes
from tests.core import in_thread, names, run_python
from tests.databases import Database
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]


# Threads and contexts


def test_gives_each_thread_a_session_of_its_own(engine: Engine) -> None:
    mine = session()
    assert session() is mine
    assert in_thread(lambda: session() is mine) is False


def test_gives_each_unit_a_session_of_its_own(engine: Engine) -> None:
    outside = session()
    with unit_of_work() as unit:
        assert session() is unit.session
        assert session() is not outside
        with unit_of_work():
            assert session() is unit.session
        with unit_of_work(independent=True, read_only=True):
            assert session() is not unit.session
        assert session() is unit.session
    assert session() is outside


def test_follows_a_copied_context_into_another_thread(engine: Engine, database: Database) -> None:
    with unit_of_work() as unit:
        ada = Member(name="ada").save()

        def rename() -> bool:
            ada.update(name="bob")
            return session() is unit.session and current_unit() is unit

        assert in_thread(rename, copy_context())
    assert names(database) == ["bob"]


def test_shows_no_unit_to_a_thread_with_a_context_of_its_own(engine: Engine) -> None:
    with unit_of_work() as unit:
        assert in_thread(current_unit) is None
        assert in_thread(lambda: session() is unit.session) is False


def test_is_not_seen_any_more_from_a_context_that_outlives_it(engine: Engine) -> None:
    with unit_of_work():
        left_behind = copy_context()
    assert left_behind.run(current_unit) is None
    assert left_behind.run(lambda: session() is session.registry.outside().session)


def chain() -> int:
    """Count the scopes that a look-up of the innermost one would pass."""
    scope, length = current_scope.get(), 0
    while scope is not None:
        scope, length = scope.outer, length + 1
    return length


@pytest.mark.parametrize("ended", ["elsewhere", "the outer one first", "never"])
def test_keeps_no_scope_that_has_ended_in_another_context(engine: Engine, ended: str) -> None:
    lengths = []
    units: list[UnitOfWork] = []
    with unit_of_work():
        before = chain()
        for _ in range(20):
            units.append(UnitOfWork.begin())
            lengths.append(chain())
            if ended == "elsewhere":  # as the body of a streamed answer may
                in_thread(units[-1].close, copy_context())
            elif len(units) % 2 == 0 and ended == "the outer one first":
                units[-2].close()
                units[-1].close()
        if ended == "never":
            assert max(lengths) == before + 20  # or the chain can't be measured like this
            for unit in reversed(units):
                unit.close()
        else:
            assert max(lengths) <= before + 2
        assert current_unit() is not None
    assert current_unit() is None
    with unit_of_work():
        assert chain() == 1
    current_scope.set(None)  # the last of them, which the next unit would pass over


# Writes that nobody committed


def save_in_a_thread(*members: str) -> None:
    def run() -> None:
        for name in members:
            Member(name=name).save()

    thread = threading.Thread(target=run, name="importer")
    thread.start()
    thread.join()
    gc.collect()


def test_warns_once_when_a_thread_ends_with_uncommitted_writes(
    engine: Engine, database: Database
) -> None:
    with pytest.warns(UncommittedWritesWarning) as warned:
        save_in_a_thread("ada", "bob")
    (warning,) = warned.list
    assert "2 writes" in str(warning.message)
    assert "thread 'importer'" in str(warning.message)
    assert "with unit_of_work():" in str(warning.message)
    assert names(database) == []
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


def test_warns_for_each_thread_anew(engine: Engine) -> None:
    for _ in range(2):
        with pytest.warns(UncommittedWritesWarning, match="1 write was"):
            save_in_a_thread("ada")


def test_does_not_warn_of_reads_nor_of_what_was_committed_or_rolled_back(engine: Engine) -> None:
    def run() -> None:
        Member.query.all()
        Member(name="ada").save()
        session.rollback()
        Member(name="bob").save()
        session.commit()
        Member(name="cyd").save()
        session.rollback()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        in_thread(run)
        gc.collect()
    assert warned == []


def test_collects_the_session_of_a_dead_thread(engine: Engine) -> None:
    seen: list[weakref.ref[Any]] = []

    def run() -> None:
        Member.query.all()
        seen.append(weakref.ref(session()))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    gc.collect()
    assert seen[0]() is None
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


def test_warns_when_an_app_context_ends_with_uncommitted_writes(
    engine: Engine, database: Database
) -> None:
    app = Flask("shop")
    ActiveBase(app)
    match = "1 write .* the app context of 'shop'"
    with pytest.warns(UncommittedWritesWarning, match=match), app.app_context():
        Member(name="ada").save()
    assert names(database) == []


PROGRAM = """
import sys
from activebase import configure, session, unit_of_work
from tests.models import Member
configure(sys.argv[1])
with unit_of_work():
    Member(name="kept").save()
Member(name="ada").save()
Member(name="bob").save()
"""


def test_warns_when_a_process_ends_with_uncommitted_writes(
    engine: Engine, database: Database
) -> None:
    done = run_python(PROGRAM, database.url)
    assert done.returncode == 0
    assert done.stderr.count("UncommittedWritesWarning: 2 writes") == 1
    assert names(database) == ["kept"]


def test_says_nothing_when_a_process_ends_without_uncommitted_writes(
    engine: Engine, database: Database
) -> None:
    done = run_python(PROGRAM + "session.commit()", database.url)
    assert (done.returncode, done.stderr) == (0, "")
    assert names(database) == ["kept", "ada", "bob"]


# Forks

FORK = """
import gc, os, sys
from sqlalchemy import text
from activebase import configure, current_unit, session, unit_of_work
from tests.models import Member

engine = configure(sys.argv[1])
is_server = engine.dialect.name == "postgresql"

def who():
    return session.scalar(text("SELECT pg_backend_pid()")) if is_server else 0

def child():
    assert current_unit() is None, "the child is in its parent's unit"
    with unit_of_work():
        Member(name="child").save()
        return who()

Member.query.all()  # the thread's session holds a connection as well
with unit_of_work(read_only=not is_server):  # SQLite lets one write
    if is_server:
        Member(name="ada").save()
    mine = who()
    with engine.connect() as connection:  # one that waits in the pool when the child is made
        idle = connection.scalar(text("SELECT pg_backend_pid()")) if is_server else 0
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            answer = child()
        except BaseException as error:
            answer = repr(error)
        gc.collect()  # what is left of the parent's sessions must not speak for it
        os.write(writing, str(answer).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    theirs = os.read(reading, 1000).decode()
    assert who() == mine
    if is_server:
        Member(name="bob").save()
print(mine, idle, theirs)
"""


def test_gives_a_forked_child_connections_of_its_own(engine: Engine, database: Database) -> None:
    done = run_python(FORK, database.url)
    assert done.returncode == 0, done.stderr
    mine, idle, theirs = done.stdout.strip().split(" ", 2)
    assert theirs.isdigit(), theirs
    if database.dialect == "postgresql":
        assert theirs not in (mine, idle)
        assert sorted(names(database)) == ["ada", "bob", "child"]
    else:
        assert names(database) == ["child"]


def test_makes_nothing_when_asked_whether_there_is_a_session(engine: Engine) -> None:
    def look() -> tuple[bool, int]:
        before = len(thread_scopes)
        return session.registry.has(), len(thread_scopes) - before

    assert in_thread(look) == (False, 0)
