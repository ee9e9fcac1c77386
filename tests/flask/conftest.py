"""Fixtures for the tests of the Flask boundary."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from activebase import session
from activebase.scopes import current_scope
from activebase.session import global_registry
from tests.databases import Database
from tests.flask.service import KINDS, Service, assert_nothing_left, running

#: Where the session comes from, and the database behind it. Neither knows of the other, so that
#: not every pair is needed.
PAIRS = [(kind, "sqlite_database") for kind in KINDS]
PAIRS += [(kind, "postgres_database") for kind in ("own", "flask-sqlalchemy")]


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]}, {pair[1].removesuffix('_database')}")
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    """A service; the test runs once for each pair of session and database.

    At the end of the test nothing may be left of any request: no unit, session or connection.
    """
    kind, database = request.param
    with running(request.getfixturevalue(database), kind) as service:
        yield service
        assert_nothing_left(service)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Where the session comes from; the test runs once for each."""
    found: str = request.param
    return found


@pytest.fixture
def make_service(sqlite_database: Database) -> Iterator[Callable[..., Service]]:
    """A function that makes a service on SQLite: make_service("own", DEBUG=True).

    At the end of the test nothing may be left of any request, as with `service`.
    """
    with ExitStack() as stack:
        made: list[Service] = []

        def make(kind: str = "own", **options: Any) -> Service:
            service = stack.enter_context(running(sqlite_database, kind, **options))
            made.append(service)
            return service

        yield make
        for service in made:
            assert_nothing_left(service)


@pytest.fixture
def own(make_service: Callable[..., Service]) -> Service:
    """A service on SQLite and a session of its own, for what depends on neither."""
    return make_service()


@pytest.fixture(autouse=True)
def unconfigured() -> Iterator[None]:
    """Undo what `configure()`, the apps and a failed test have done to the global session."""
    yield
    current_scope.set(None)
    session.remove()
    global_registry.unfollow()
    session.session_factory.configure(bind=None)  # type: ignore[attr-defined]  # a sessionmaker
    global_registry.stray_commits = "raise"
