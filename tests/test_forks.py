"""A process that is forked inside a unit: the child has no part in it, however it ends."""

import pytest
from sqlalchemy import Engine

from tests.core import names, run_python
from tests.databases import Database

pytest_plugins = ["tests.core_fixtures"]

FORK = """
import os, sys
from sqlalchemy import create_engine, text
from activebase import configure, unit_of_work
from tests.models import Member

url, child_ends_by, parent_ends_by = sys.argv[1:]
engine = configure(url)
parent = os.getpid()

def count():
    other = create_engine(url)
    with other.connect() as connection:
        return connection.scalar(text("SELECT count(*) FROM member"))

def work():
    with unit_of_work() as unit:
        Member(name="ada").save()
        pid = os.fork()
        if pid == 0:
            if child_ends_by == "sys.exit":
                sys.exit(0)
            if child_ends_by == "error":
                raise LookupError
            return  # which leaves the block as if all were well
        _, status = os.waitpid(pid, 0)
        assert count() == 0, "the child has committed what is its parent's"
        Member(name="bob").save()
        if parent_ends_by == "error":
            raise KeyError
    print(unit.state, os.waitstatus_to_exitcode(status))

try:
    work()
except (KeyError, LookupError) as error:
    print(type(error).__name__) if os.getpid() == parent else None
"""


@pytest.mark.parametrize("child", ["return", "sys.exit", "error"])
def test_leaves_the_parent_s_unit_alone(engine: Engine, database: Database, child: str) -> None:
    done = run_python(FORK, database.url, child, "return")
    assert done.stderr == ""
    assert done.stdout == "committed 0\n"
    assert names(database) == ["ada", "bob"]


def test_commits_nothing_of_a_parent_that_fails(engine: Engine, database: Database) -> None:
    done = run_python(FORK, database.url, "return", "error")
    assert done.stderr == ""
    assert done.stdout == "KeyError\n"
    assert names(database) == []
