"""A COMMIT that fails: the client never sees a success, the app answers as to any exception."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Blueprint, after_this_request
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, ProgrammingError
from werkzeug.exceptions import Conflict, HTTPException

from activebase import (
    ActiveBaseError,
    CommitUnknownError,
    ConflictError,
    ForeignKeyViolation,
    on_commit,
    session,
)
from tests.databases import Database
from tests.flask.service import Service, assert_nothing_left, running
from tests.models import Entry, Member


@pytest.fixture
def refused(service: Service) -> Iterator[Service]:
    """A service with a view whose every save succeeds, and whose COMMIT does not."""

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        Entry(amount=1, member_id=4711).save()
        return "fine"

    yield service
    assert service.names() == []
    assert service.database.scalar("SELECT count(*) FROM entry") == 0


def test_answers_409_when_the_app_has_no_handler(refused: Service) -> None:
    response = refused.post()
    assert (response.status_code, response.mimetype) == (409, "application/problem+json")


@pytest.mark.parametrize(
    "error",
    [ForeignKeyViolation, ConflictError, IntegrityError, DBAPIError, ActiveBaseError, Exception],
)
def test_lets_the_apps_handler_for_the_error_answer(
    refused: Service, error: type[Exception]
) -> None:
    @refused.app.errorhandler(error)
    def handle(raised: Exception) -> Any:
        return type(raised).__name__, 418

    response = refused.post()
    assert (response.status_code, response.text) == (418, "ForeignKeyViolation")


@pytest.mark.parametrize("code", [409, Conflict, HTTPException])
def test_lets_the_apps_handler_for_the_status_answer(refused: Service, code: Any) -> None:
    @refused.app.errorhandler(code)
    def handle(raised: HTTPException) -> Any:
        return type(raised.__cause__).__name__, 418

    response = refused.post()
    assert (response.status_code, response.text) == (418, "ForeignKeyViolation")


def test_writes_nothing_even_when_the_handler_answers_200(refused: Service) -> None:
    @refused.app.errorhandler(ConflictError)
    def handle(raised: Exception) -> str:
        return "fine"

    assert refused.post().status_code == 200


def test_applies_the_other_after_request_functions_to_the_answer(refused: Service) -> None:
    @refused.app.after_request
    def mark(response: Any) -> Any:
        response.headers.add("X-Status", str(response.status_code))
        return response

    response = refused.post()
    assert response.status_code == 409
    assert response.headers.getlist("X-Status") == ["409"]


def test_applies_the_after_request_functions_of_the_blueprint_first(
    make_service: Callable[..., Service],
) -> None:
    service = make_service("own")
    pages = Blueprint("pages", __name__)

    @pages.post("/")
    def view() -> str:
        Entry(amount=1, member_id=4711).save()
        return "fine"

    def append(word: str) -> Callable[[Any], Any]:
        def function(response: Any) -> Any:
            response.headers.add("X-Seen", word)
            return response

        return function

    async def append_later(response: Any) -> Any:
        return append("async")(response)

    service.app.after_request(append("app"))
    pages.after_request(append("blueprint"))
    pages.after_request(append_later)
    service.app.register_blueprint(pages)
    response = service.post()
    assert response.status_code == 409
    assert response.headers.getlist("X-Seen") == ["async", "blueprint", "app"]


def test_applies_the_functions_of_after_this_request_to_the_answer(own: Service) -> None:
    @own.app.post("/<int:member>")
    def view(member: int) -> str:
        @after_this_request
        def mark(response: Any) -> Any:
            response.headers["X-Status"] = str(response.status_code)
            return response

        Entry(amount=1, member_id=member).save()
        return "fine"

    response = own.post("/4711")
    assert response.status_code == 409
    assert response.headers.get("X-Status") == "409"


def test_answers_500_when_an_after_request_function_fails_on_the_answer(own: Service) -> None:
    @own.app.post("/")
    def view() -> str:
        Entry(amount=1, member_id=4711).save()
        return "fine"

    @own.app.after_request
    def check(response: Any) -> Any:
        if response.status_code == 409:
            raise ValueError
        return response

    assert own.post().status_code == 500
    assert own.database.scalar("SELECT count(*) FROM entry") == 0


def test_answers_500_when_the_handler_fails(refused: Service) -> None:
    @refused.app.errorhandler(ConflictError)
    def handle(raised: Exception) -> str:
        raise ValueError

    assert refused.post().status_code == 500


def test_answers_in_testing_mode_as_in_production(refused: Service) -> None:
    refused.app.testing = True
    assert refused.post().status_code == 409


def test_answers_for_a_flush_that_fails_at_the_end_of_the_unit(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        session.add(Member(name=None))
        return "fine"

    assert service.post().status_code == 422
    assert service.names() == []


def test_lets_an_error_that_is_not_ours_through_to_the_handler_for_500(service: Service) -> None:
    service.database.execute("DROP TABLE entry")

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        session.add(Entry(amount=1))
        return "fine"

    @service.app.errorhandler(500)
    def handle(error: Any) -> Any:
        return type(error.original_exception).__name__, 500

    response = service.post()
    assert response.status_code == 500
    assert response.text in (OperationalError.__name__, ProgrammingError.__name__)
    assert service.names() == []


def test_lets_an_error_that_is_not_ours_through_to_the_test(service: Service) -> None:
    service.database.execute("DROP TABLE entry")
    service.app.testing = True

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        session.add(Entry(amount=1))
        return "fine"

    with pytest.raises((OperationalError, ProgrammingError)):
        service.post()
    assert service.names() == []


def test_runs_no_callback(refused: Service) -> None:
    seen: list[str] = []

    @refused.app.before_request
    def register() -> None:
        on_commit(lambda: seen.append("sent"))

    assert refused.post().status_code == 409
    assert seen == []


def test_leaves_the_next_request_alone(refused: Service) -> None:
    @refused.app.post("/next")
    def succeeding() -> str:
        Member(name="bob").save()
        return "fine"

    assert refused.post().status_code == 409
    assert refused.post("/next").status_code == 200
    assert refused.names() == ["bob"]
    refused.database.execute("DELETE FROM member")


def test_answers_500_when_it_cannot_be_known_whether_the_commit_took_effect(
    kind: str, postgres_database: Database
) -> None:
    with running(postgres_database, kind) as service:

        @service.app.post("/")
        def view() -> str:
            Member(name="ada").save()
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            postgres_database.execute(f"SELECT pg_terminate_backend({pid}, 5000)")
            return "fine"

        @service.app.errorhandler(CommitUnknownError)
        def handle(raised: Exception) -> Any:
            return "ask the bank", 500

        response = service.post()
        assert (response.status_code, response.text) == (500, "ask the bank")
        assert service.names() == []
        assert_nothing_left(service)
