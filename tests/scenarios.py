"""What a program may do inside a boundary: one function each, run by every boundary.

A scenario takes nothing and returns JSON. What it saw goes into the `witness`.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import insert, text
from sqlalchemy.exc import SQLAlchemyError

from activebase import (
    ActiveBaseError,
    atomic,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from tests.models import Entry, Member
from tests.witness import Witness

#: Of this process.
witness: Witness = None  # type: ignore[assignment]  # set by who runs the scenarios

SCENARIOS: dict[str, Callable[[], Any]] = {}

COUNT = "SELECT count(*) FROM member"


class Refused(Exception):
    """The program's own error."""


def scenario(function: Callable[[], Any]) -> Callable[[], Any]:
    SCENARIOS[function.__name__] = function
    return function


def count_committed() -> int:
    count: int = witness.scalar(COUNT)
    return count


def swallow(function: Callable[[], Any], errors: type[Exception] = SQLAlchemyError) -> None:
    try:
        function()
    except errors as error:
        witness.note(type(error).__name__)


def save(name: str) -> Member:
    return Member(name=name).save()


# -- success ---------------------------------------------------------------------------------


@scenario
def saves_two() -> int:
    save("ada")
    save("bob")
    return count_committed()


@scenario
def adds_without_a_flush() -> None:
    session.add(Member(name="ada"))


@scenario
def writes_by_core() -> None:
    session.execute(insert(Member).values(name="ada"))


@scenario
def uses_no_database() -> str:
    return "done"


@scenario
def tells_what_it_finds() -> dict[str, Any]:
    """Answer with all that an earlier unit could have left."""
    unit = current_unit()
    assert unit is not None
    found = {
        "records": len(session.new) + len(session.dirty) + len(session.identity_map),
        "in transaction": session.in_transaction(),
        "writes": unit.writes,
        "doomed": unit.doomed,
        "state": unit.state,
        "attempt": unit.attempt,
    }
    save("next")
    return found


# -- failure ---------------------------------------------------------------------------------


@scenario
def raises_after_a_save() -> None:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    session.add(Member(name="bob"))
    raise Refused("no")


@scenario
def violates_a_constraint() -> None:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    save("ada")


@scenario
def fails_at_commit() -> None:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    Entry(amount=1, member_id=4711).save()


@scenario
def fails_at_the_last_flush() -> None:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    session.add(Member(name="ada"))


@scenario
def is_doomed() -> str:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    unit = current_unit()
    assert unit is not None
    unit.doom("the order is too late")
    return "quiet"


@scenario
def is_doomed_by_an_inner_unit() -> str:
    save("ada")
    with unit_of_work() as inner:
        inner.doom("the order is too late")
    save("bob")
    return "quiet"


# -- lost writes -----------------------------------------------------------------------------


@scenario
def swallows_a_failed_save() -> None:
    save("ada")
    on_commit(lambda: witness.note("callback"))
    swallow(lambda: save("ada"))


@scenario
def swallows_a_failed_core_insert() -> None:
    save("ada")
    swallow(lambda: session.execute(insert(Member).values(name="ada")))


@scenario
def swallows_a_failed_select() -> None:
    save("ada")
    swallow(lambda: session.execute(text("SELECT nothing FROM nowhere")))


@scenario
def is_rolled_back_by_someone() -> None:
    save("ada")
    session.rollback()


@scenario
def is_closed_by_someone() -> None:
    save("ada")
    session.close()


@scenario
def is_removed_by_someone() -> None:
    save("ada")
    session.remove()


@scenario
def is_rolled_back_by_text() -> None:
    save("ada")
    session.execute(text("ROLLBACK"))


@scenario
def goes_on_after_lost_writes() -> None:
    save("ada")
    swallow(lambda: save("ada"))
    swallow(lambda: save("bob"), ActiveBaseError)
    # Reads are allowed, to render an answer.
    witness.note(f"{Member.query.count()} to read")


# -- no writes are lost ----------------------------------------------------------------------


@scenario
def swallows_an_error_before_any_write() -> None:
    swallow(lambda: session.execute(text("SELECT nothing FROM nowhere")))
    save("ada")


@scenario
def swallows_an_error_of_a_savepoint() -> None:
    save("ada")
    try:
        with atomic():
            save("bob")
            on_commit(lambda: witness.note("callback of the savepoint"))
            save("bob")
    except SQLAlchemyError:
        save("cyd")


# -- stray commits ---------------------------------------------------------------------------


STRAY: dict[str, Callable[[], Any]] = {
    "session_commit": lambda: session.commit(),
    "transaction_commit": lambda: session().get_transaction().commit(),
    "connection_commit": lambda: session.connection().commit(),
    "textual_commit": lambda: session.execute(text("COMMIT")),
}


def _commits_by(way: str) -> None:
    def commits() -> None:
        save("ada")
        on_commit(lambda: witness.note("callback"))
        STRAY[way]()
        raise Refused("it was let through")

    def swallows() -> None:
        save("ada")
        on_commit(lambda: witness.note("callback"))
        swallow(STRAY[way], Exception)
        witness.note(f"{count_committed()} committed")
        save("cyd")

    SCENARIOS[f"commits_by_{way}"] = commits
    SCENARIOS[f"swallows_{way}"] = swallows


for _way in STRAY:
    _commits_by(_way)


@scenario
def commits_by_session_begin() -> None:
    with session.begin():
        save("ada")
        on_commit(lambda: witness.note("callback"))


@scenario
def swallows_session_begin() -> None:
    swallow(commits_by_session_begin, Exception)
    witness.note(f"{count_committed()} committed")
    save("cyd")


# -- callbacks -------------------------------------------------------------------------------


@scenario
def registers_callbacks() -> None:
    on_commit(lambda: witness.note(f"first sees {count_committed()}"))
    save("ada")
    on_commit(lambda: witness.note(f"second sees {count_committed()}"))
    witness.note(f"the unit sees {count_committed()}")


@scenario
def registers_a_callback_that_writes() -> None:
    save("ada")

    @on_commit
    @unit_of_work
    def write() -> None:
        save("bob")
        on_commit(lambda: witness.note(f"the inner callback sees {count_committed()}"))


@scenario
def registers_a_callback_that_writes_without_a_unit() -> None:
    save("ada")
    on_commit(lambda: swallow(lambda: save("bob"), ActiveBaseError))


@scenario
def registers_a_callback_that_raises() -> None:
    save("ada")

    @on_commit
    def fail() -> None:
        raise Refused("no")

    on_commit(lambda: witness.note("the next one runs"))


@scenario
def registers_a_callback_that_must_not_fail() -> None:
    save("ada")

    @on_commit(robust=False)
    def fail() -> None:
        raise Refused("no")

    on_commit(lambda: witness.note("the next one runs"))


# -- inner units -----------------------------------------------------------------------------


@unit_of_work
def _service(name: str) -> None:
    save(name)


def _save_in_inner_units() -> None:
    with unit_of_work() as inner:
        save("ada")
        assert inner is current_unit()
    _service("bob")
    with atomic():
        save("cyd")
    witness.note(f"{count_committed()} committed")


@scenario
def saves_in_inner_units() -> None:
    _save_in_inner_units()


@scenario
def raises_after_inner_units() -> None:
    _save_in_inner_units()
    raise Refused("no")


@scenario
def survives_a_failed_inner_unit() -> None:
    save("ada")
    try:
        _service("ada")
    except SQLAlchemyError:
        save("bob")


@scenario
def keeps_what_an_independent_unit_wrote() -> None:
    with unit_of_work(independent=True):
        save("audit")
    save("ada")
    raise Refused("no")
