"""What a request leaves in the database: all that it did, or nothing."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import abort, make_response, redirect, request
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from werkzeug.exceptions import HTTPException

from activebase import atomic, current_unit, on_commit, session, unit_of_work
from tests.flask.service import Service, saves
from tests.models import Member


@pytest.mark.parametrize("status", [200, 201, 204, 302, 399])
def test_commits_when_the_status_is_below_400(service: Service, status: int) -> None:
    @service.app.post("/")
    def view() -> Any:
        Member(name="ada").save()
        assert service.names() == []
        return "", status

    assert service.post().status_code == status
    assert service.names() == ["ada"]


@pytest.mark.parametrize("status", [400, 404, 500, 503])
def test_rolls_back_when_the_status_is_400_or_more(service: Service, status: int) -> None:
    @service.app.post("/")
    def view() -> Any:
        Member(name="ada").save()
        return "no", status

    response = service.post()
    assert (response.status_code, response.text) == (status, "no")
    assert service.names() == []


@pytest.mark.parametrize("answer", ["fine", redirect("/elsewhere")], ids=["200", "redirect"])
def test_rolls_back_when_an_errorhandler_makes_it_a_success(service: Service, answer: Any) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        raise ValueError

    @service.app.errorhandler(ValueError)
    def handle(error: ValueError) -> Any:
        return answer

    assert service.post().status_code < 400
    assert service.names() == []


def test_rolls_back_when_a_handler_answers_200_to_an_aborted_request(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        abort(409)

    @service.app.errorhandler(HTTPException)
    def handle(error: HTTPException) -> str:
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == []


def test_rolls_back_when_a_before_request_function_fails_and_is_answered_200(
    service: Service,
) -> None:
    service.app.post("/")(saves("ada"))

    @service.app.before_request
    def audit() -> None:
        Member(name="audit").save()
        raise ValueError

    @service.app.errorhandler(ValueError)
    def handle(error: ValueError) -> str:
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == []


def test_commits_what_before_request_view_and_after_request_wrote_together(
    service: Service,
) -> None:
    @service.app.before_request
    def before() -> None:
        Member(name="before").save()

    service.app.post("/")(saves("during"))

    @service.app.after_request
    def after(response: Any) -> Any:
        assert service.names() == []
        Member(name="later").save()
        return response

    assert service.post().status_code == 200
    assert service.names() == ["before", "during", "later"]


@pytest.mark.parametrize("answer", [None, object(), ("fine", "no status", 3, 4)])
def test_rolls_back_when_no_response_can_be_made_of_what_the_view_returned(
    service: Service, answer: Any
) -> None:
    @service.app.post("/")
    def view() -> Any:
        Member(name="ada").save()
        return answer

    assert service.post().status_code == 500
    assert service.names() == []


def test_rolls_back_when_another_extension_answers_exceptions_in_flask_s_place(
    service: Service,
) -> None:
    service.app.handle_user_exception = lambda e: "fine"  # type: ignore[method-assign]
    service.app.before_request_funcs[None] = [lambda: request.args["required"] and None]

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        raise ValueError

    assert service.post("/").text == "fine"
    assert service.post("/?required=yes").text == "fine"
    assert service.names() == []


def test_refuses_success_when_a_caught_error_has_undone_an_earlier_save(service: Service) -> None:
    service.database.execute("INSERT INTO member (name) VALUES ('ada')")

    @service.app.post("/")
    def view() -> str:
        Member(name="first").save()
        with suppress(IntegrityError):
            Member(name="ada").save()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == ["ada"]


def test_commits_when_the_caught_error_had_nothing_to_undo(service: Service) -> None:
    service.database.execute("INSERT INTO member (name) VALUES ('ada')")

    @service.app.post("/")
    def view() -> str:
        try:
            Member(name="ada").save()
        except IntegrityError:
            Member(name="ada 2").save()
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada", "ada 2"]


def test_commits_the_rest_when_the_error_stayed_inside_atomic(service: Service) -> None:
    service.database.execute("INSERT INTO member (name) VALUES ('ada')")

    @service.app.post("/")
    def view() -> str:
        Member(name="first").save()
        try:
            with atomic():
                Member(name="ada").save()
        except IntegrityError:
            Member(name="last").save()
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada", "first", "last"]


def test_refuses_success_when_a_failed_select_was_swallowed_after_a_save(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        with suppress(SQLAlchemyError):
            session.execute(text("SELECT * FROM nowhere"))
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


def test_commits_when_the_failed_select_came_before_the_first_save(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        try:
            session.execute(text("SELECT * FROM nowhere"))
        except SQLAlchemyError:
            Member(name="ada").save()
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada"]


@pytest.mark.parametrize(
    "answer",
    [lambda: abort(redirect("/elsewhere")), lambda: abort(make_response("fine", 201))],
    ids=["redirect", "response"],
)
def test_commits_when_the_exception_carries_an_answer_below_400(
    service: Service, answer: Callable[[], Any]
) -> None:
    @service.app.errorhandler(HTTPException)
    def handle(error: HTTPException) -> str:
        raise AssertionError("a response is no error")

    @service.app.post("/")
    def view() -> None:
        Member(name="ada").save()
        answer()

    assert service.post().status_code in (201, 302)
    assert service.names() == ["ada"]


def test_rolls_back_when_the_exception_carries_an_answer_of_400(service: Service) -> None:
    @service.app.post("/")
    def view() -> None:
        Member(name="ada").save()
        abort(make_response("no", 400))

    assert service.post().status_code == 400
    assert service.names() == []


WAYS_TO_COMMIT = {
    "session": lambda: session.commit(),
    "transaction": lambda: session.get_transaction().commit(),
    "connection": lambda: session.connection().commit(),
    "text": lambda: session.execute(text("COMMIT")),
}


@pytest.mark.parametrize("way", WAYS_TO_COMMIT)
def test_refuses_a_commit_in_a_service_function(service: Service, way: str) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        WAYS_TO_COMMIT[way]()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


@pytest.mark.parametrize("way", WAYS_TO_COMMIT)
def test_never_half_commits_when_a_refused_commit_is_swallowed(service: Service, way: str) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        with suppress(Exception):
            WAYS_TO_COMMIT[way]()
        Member(name="bob").save()
        return "fine"

    answered = service.post().status_code
    assert (answered, service.names()) in [(200, ["ada", "bob"]), (500, [])]


def test_refuses_success_after_a_rollback_in_a_service_function(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        service.session.rollback()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


def test_refuses_success_after_the_session_was_removed_in_a_service_function(
    service: Service,
) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        session.remove()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


def test_joins_an_inner_unit_of_work(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        with unit_of_work():
            Member(name="ada").save()
        assert service.names() == []
        return "fine"

    @service.app.post("/failing")
    def failing() -> str:
        with unit_of_work():
            Member(name="bob").save()
        raise ValueError

    assert service.post().status_code == 200
    assert service.post("/failing").status_code == 500
    assert service.names() == ["ada"]


def test_rolls_back_a_doomed_unit_and_answers_as_the_view_did(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        unit = current_unit()
        assert unit is not None
        unit.doom("only a rehearsal")
        return "fine"

    response = service.post()
    assert (response.status_code, response.text) == (200, "fine")
    assert service.names() == []


def test_runs_callbacks_after_the_commit_and_never_after_a_rollback(service: Service) -> None:
    seen: list[Any] = []

    @service.app.post("/<int:status>")
    def view(status: int) -> Any:
        Member(name=f"answered {status}").save()
        on_commit(lambda: seen.append((status, service.names())))
        return "", status

    service.post("/400")
    assert seen == []
    service.post("/200")
    assert seen == [(200, ["answered 200"])]


def test_hands_an_error_of_a_callback_to_the_handlers_while_the_commit_stands(
    service: Service,
) -> None:
    def fail() -> None:
        raise ValueError("no mail today")

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        on_commit(fail, robust=False)
        return "fine"

    @service.app.errorhandler(ValueError)
    def handle(error: ValueError) -> Any:
        return str(error), 502

    response = service.post()
    assert (response.status_code, response.text) == (502, "no mail today")
    assert service.names() == ["ada"]


def test_takes_no_connection_when_the_request_uses_no_database(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        assert service.session.is_active  # even when it asks for the session
        return "fine"

    with service.recorded() as seen:
        assert service.post().status_code == 200
        assert service.post("/missing").status_code == 404
    assert seen == []


def test_leaves_nothing_to_the_next_request(service: Service) -> None:
    @service.app.post("/<name>")
    def view(name: str) -> str:
        Member(name=name).save()
        session.add(Member(name=f"{name}, not flushed"))
        if name == "ada":
            raise ValueError
        return "fine"

    assert service.post("/ada").status_code == 500
    assert service.post("/bob").status_code == 200
    assert service.names() == ["bob", "bob, not flushed"]
