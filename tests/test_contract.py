"""One contract for every boundary: a unit happens completely, or leaves no trace."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import create_engine

from tests import scenarios
from tests.boundaries import BOUNDARIES, CLEAN, Boundary, Outcome
from tests.databases import EACH, Database, fresh_sqlite
from tests.models import Base
from tests.queues import empty_redis_database
from tests.scenarios import SCENARIOS
from tests.witness import Witness


class Contract:
    """A boundary and its database, seen from outside."""

    def __init__(self, boundary: Boundary, database: Database, witness: Witness) -> None:
        self._boundary = boundary
        self.database = database
        self.witness = witness

    def run(self, name: str) -> Outcome:
        """Run a scenario; whatever becomes of it, nothing may be left in the process."""
        self.witness.forget()
        outcome = self._boundary.run(name)
        assert self._boundary.left() == CLEAN
        return outcome

    @property
    def names(self) -> list[str]:
        """The members that are committed."""
        return [name for (name,) in self.database.rows("SELECT name FROM member ORDER BY id")]

    @property
    def commits(self) -> int:
        return self.witness.commits

    @property
    def noted(self) -> list[str]:
        return self.witness.noted

    def empty(self) -> None:
        self.database.execute("DELETE FROM entry")
        self.database.execute("DELETE FROM member")


BOTH = [(name, dialect) for name in BOUNDARIES for dialect in EACH]


@pytest.fixture(scope="module", params=BOTH, ids=lambda each: f"{each[0]}, {each[1]}")
def opened(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Contract]:
    """A boundary on a database; it serves all tests of the module, as a real process would."""
    name, dialect = request.param
    directory = tmp_path_factory.mktemp("contract")
    with ExitStack() as stack:
        if dialect == "sqlite":
            database = stack.enter_context(fresh_sqlite(directory))
        else:
            servers = {"postgresql": "postgres_databases", "mariadb": "mariadb_databases"}
            databases = request.getfixturevalue(servers[dialect])
            database = stack.enter_context(databases.fresh())
        engine = create_engine(database.url)
        Base.metadata.create_all(engine)
        engine.dispose()
        witness = scenarios.witness = Witness(database.url, directory)
        witness.watch()
        stack.callback(witness.leave)
        needs: dict[str, Any] = {}
        if name == "celery worker":
            server = request.getfixturevalue("redis_server_url")
            needs["redis_url"] = stack.enter_context(empty_redis_database(server))
        boundary = stack.enter_context(BOUNDARIES[name](database, witness=witness, **needs))
        yield Contract(boundary, database, witness)


@pytest.fixture
def contract(opened: Contract) -> Contract:
    """The boundary with empty tables."""
    opened.empty()
    return opened


# Success


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("saves_two", ["ada", "bob"]),
        ("adds_without_a_flush", ["ada"]),
        ("writes_by_core", ["ada"]),
    ],
)
def test_commits_once_on_success(contract: Contract, name: str, saved: list[str]) -> None:
    assert contract.run(name).error is None
    assert contract.names == saved
    assert contract.commits == 1


def test_shows_nothing_before_the_commit(contract: Contract) -> None:
    assert contract.run("saves_two") == Outcome(result=0)
    assert contract.names == ["ada", "bob"]


def test_takes_no_connection_for_a_unit_without_database_work(contract: Contract) -> None:
    assert contract.run("uses_no_database") == Outcome(result="done")
    assert contract.witness.is_silent


# Failure


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("raises_after_a_save", "Refused"),
        ("violates_a_constraint", "UniqueViolation"),
        ("fails_at_the_last_flush", "UniqueViolation"),
        ("raises_after_inner_units", "Refused"),
    ],
)
def test_leaves_no_trace_of_a_failed_unit(contract: Contract, name: str, error: str) -> None:
    assert contract.run(name) == Outcome(error=error)
    assert contract.names == []
    assert contract.commits == 0
    assert "callback" not in contract.noted


def test_leaves_no_trace_when_the_commit_fails(contract: Contract) -> None:
    assert contract.run("fails_at_commit") == Outcome(error="ForeignKeyViolation")
    assert contract.names == []
    assert contract.database.scalar("SELECT count(*) FROM entry") == 0
    assert contract.noted == []


@pytest.mark.parametrize("name", ["is_doomed", "is_doomed_by_an_inner_unit"])
def test_rolls_a_doomed_unit_back_without_an_error(contract: Contract, name: str) -> None:
    assert contract.run(name) == Outcome(result="quiet")
    assert contract.names == []
    assert contract.commits == 0
    assert contract.noted == []


# Lost writes


@pytest.mark.parametrize(
    "name",
    [
        "swallows_a_failed_save",
        "swallows_a_failed_core_insert",
        "swallows_a_failed_select",
        "is_rolled_back_by_someone",
        "is_closed_by_someone",
        "is_removed_by_someone",
        "is_rolled_back_by_text",
        "goes_on_after_lost_writes",
    ],
)
def test_refuses_to_commit_what_is_left_after_lost_writes(contract: Contract, name: str) -> None:
    assert contract.run(name) == Outcome(error="LostWritesError")
    assert contract.names == []
    assert contract.commits == 0
    assert "callback" not in contract.noted


def test_refuses_further_writes_and_allows_reads_after_lost_writes(contract: Contract) -> None:
    contract.run("goes_on_after_lost_writes")
    assert contract.noted == ["UniqueViolation", "LostWritesError", "0 to read"]


def test_goes_on_when_an_error_undid_no_writes(contract: Contract) -> None:
    assert contract.run("swallows_an_error_before_any_write").error is None
    assert contract.names == ["ada"]
    assert contract.commits == 1


def test_undoes_a_failed_savepoint_alone(contract: Contract) -> None:
    assert contract.run("swallows_an_error_of_a_savepoint").error is None
    assert contract.names == ["ada", "cyd"]
    assert contract.commits == 1
    assert contract.noted == []


# Stray commits


@pytest.mark.parametrize("way", [*scenarios.STRAY, "session_begin"])
def test_refuses_a_stray_commit(contract: Contract, way: str) -> None:
    assert contract.run(f"commits_by_{way}") == Outcome(error="StrayCommitError")
    assert contract.names == []
    assert contract.commits == 0
    assert "callback" not in contract.noted


@pytest.mark.parametrize("way", ["session_commit", "transaction_commit"])
def test_goes_on_intact_after_a_swallowed_stray_commit(contract: Contract, way: str) -> None:
    assert contract.run(f"swallows_{way}").error is None
    assert contract.noted == ["StrayCommitError", "0 committed", "callback"]
    assert contract.names == ["ada", "cyd"]
    assert contract.commits == 1


@pytest.mark.parametrize("way", ["connection_commit", "textual_commit", "session_begin"])
def test_commits_all_or_raises_after_a_swallowed_stray_commit(contract: Contract, way: str) -> None:
    outcome = contract.run(f"swallows_{way}")
    assert "0 committed" in contract.noted
    if outcome.error is None:
        assert (contract.names, contract.commits) == (["ada", "cyd"], 1)
    else:
        assert (contract.names, contract.commits) == ([], 0)
        assert outcome.error == "LostWritesError"
        assert "callback" not in contract.noted


# Callbacks


def test_runs_callbacks_in_order_and_only_after_the_commit(contract: Contract) -> None:
    assert contract.run("registers_callbacks").error is None
    assert contract.noted == ["the unit sees 0", "first sees 1", "second sees 1"]


def test_lets_a_callback_open_its_own_unit_and_register_more(contract: Contract) -> None:
    assert contract.run("registers_a_callback_that_writes").error is None
    assert contract.names == ["ada", "bob"]
    assert contract.commits == 2
    assert contract.noted == ["the inner callback sees 2"]


def test_refuses_a_write_of_a_callback_without_a_unit(contract: Contract) -> None:
    assert contract.run("registers_a_callback_that_writes_without_a_unit").error is None
    assert contract.names == ["ada"]
    assert contract.noted == ["WriteAfterCommitError"]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("registers_a_callback_that_raises", None),
        ("registers_a_callback_that_must_not_fail", "Refused"),
    ],
)
def test_lets_the_commit_stand_when_a_callback_raises(
    contract: Contract, name: str, error: str | None
) -> None:
    assert contract.run(name).error == error
    assert contract.names == ["ada"]
    assert contract.commits == 1
    assert contract.noted == ["the next one runs"]


# Inner units


def test_commits_inner_units_with_the_outer_one_only(contract: Contract) -> None:
    assert contract.run("saves_in_inner_units").error is None
    assert contract.noted == ["0 committed"]
    assert contract.names == ["ada", "bob", "cyd"]
    assert contract.commits == 1


def test_undoes_a_failed_inner_unit_alone(contract: Contract) -> None:
    assert contract.run("survives_a_failed_inner_unit").error is None
    assert contract.names == ["ada", "bob"]
    assert contract.commits == 1


def test_keeps_what_an_independent_unit_committed(contract: Contract) -> None:
    assert contract.run("keeps_what_an_independent_unit_wrote") == Outcome(error="Refused")
    assert contract.names == ["audit"]
    assert contract.commits == 1


# The next unit


@pytest.mark.parametrize("name", SCENARIOS)
def test_begins_clean_whatever_the_unit_before_did(contract: Contract, name: str) -> None:
    contract.run(name)
    contract.empty()
    found = contract.run("tells_what_it_finds")
    clean = {"records": 0, "in transaction": False, "writes": 0, "doomed": None}
    assert found == Outcome(result={**clean, "state": "open", "attempt": 1})
    assert contract.names == ["next"]
    assert contract.commits == 1
    assert contract.noted == []
