"""Errors as answers: problem details as the last resort, the app's own handlers before them."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import pytest
from flask import Blueprint, got_request_exception
from sqlalchemy import text
from sqlalchemy.exc import DataError, IntegrityError, NoResultFound, SQLAlchemyError
from werkzeug.exceptions import HTTPException, InternalServerError, NotFound

import activebase
from activebase import ActiveBaseError, LostWritesError, NotFoundError, UnknownAttributeError
from tests.flask.service import Service
from tests.models import Document, Entry, Member

STATUS = {
    "NotFoundError": 404,
    "ConflictError": 409,
    "UniqueViolation": 409,
    "ForeignKeyViolation": 409,
    "ExclusionViolation": 409,
    "InvalidDataError": 422,
    "NotNullViolation": 422,
    "CheckViolation": 422,
    "InvalidValueError": 422,
    "StaleRecordError": 409,
    "TransientError": 503,
    "SerializationFailure": 503,
    "DeadlockDetected": 503,
    "LockTimeout": 503,
    "ConnectionLost": 503,
    "CommitUnknownError": 500,
    "UnitOfWorkError": 500,
    "LostWritesError": 500,
    "StrayCommitError": 500,
    "WriteAfterCommitError": 500,
    "ReadOnlyError": 500,
    "NestedUnitError": 500,
    "InvalidLookupError": 400,
}
WITHOUT = {
    "ActiveBaseError",
    "NotConfiguredError",
    "UnknownAttributeError",
    "ProtectedAttributeError",
}


def test_knows_the_status_of_every_public_error() -> None:
    public = {
        name
        for name in activebase.__all__
        if isinstance(getattr(activebase, name), type)
        and issubclass(getattr(activebase, name), ActiveBaseError)
    }
    assert public == STATUS.keys() | WITHOUT


def raises(service: Service, error: BaseException) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        raise error


@pytest.mark.parametrize("name", STATUS)
def test_answers_with_problem_details(own: Service, name: str) -> None:
    raises(own, getattr(activebase, name)("the secret reason"))
    response = own.post()
    assert response.status_code == STATUS[name]
    assert response.mimetype == "application/problem+json"
    problem = {
        "type": "about:blank",
        "title": HTTPStatus(STATUS[name]).phrase,
        "status": STATUS[name],
    }
    if STATUS[name] < 500:
        problem["detail"] = "the secret reason"
    assert {**response.json, "title": response.json["title"].title()} == {
        **problem,
        "title": problem["title"].replace("Unprocessable Content", "Unprocessable Entity"),
    }
    assert own.names() == []


@pytest.mark.parametrize("name", sorted(name for name in STATUS if STATUS[name] >= 500))
def test_tells_a_handler_for_the_status_nothing_that_clients_must_not_see(
    own: Service, name: str
) -> None:
    @own.app.errorhandler(HTTPException)
    def handle(error: HTTPException) -> Any:
        return {"description": error.description}, error.code  # as many apps do

    raises(own, getattr(activebase, name)("the secret reason"))
    response = own.post()
    assert response.status_code == STATUS[name]
    assert "secret" not in response.text
    assert own.names() == []


@pytest.mark.parametrize("name", sorted(WITHOUT))
def test_answers_a_mistake_in_the_code_as_any_other(own: Service, name: str) -> None:
    raises(own, getattr(activebase, name)("the secret reason"))
    response = own.post()
    assert (response.status_code, response.mimetype) == (500, "text/html")
    assert "secret" not in response.text
    assert own.names() == []


REAL: dict[str, tuple[Callable[[], Any], int]] = {
    "missing": (lambda: Member.get_or_404(4711), 404),
    "taken": (lambda: Member(name="taken").save(), 409),
    "empty": (lambda: Member(name=None).save(), 422),
    "negative": (lambda: Entry(amount=-1).save(), 422),
    "too large": (lambda: Member(name="bob", age=2**70).save(), 422),
    "unknown": (lambda: Member.create(name="bob", aeg=3), 500),
    "unknown lookup": (lambda: Member.get_by(nmae="bob"), 400),
}


@pytest.mark.parametrize("case", REAL)
def test_answers_what_the_database_refuses_and_writes_nothing(service: Service, case: str) -> None:
    service.database.execute("INSERT INTO member (name) VALUES ('taken')")
    action, status = REAL[case]

    @service.app.post("/")
    def view() -> str:
        action()
        return "fine"

    response = service.post()
    assert response.status_code == status
    assert "4711" not in response.text
    assert "bob" not in response.text
    assert service.names() == ["taken"]
    assert service.database.scalar("SELECT count(*) FROM entry") == 0


def test_answers_409_when_another_request_changed_the_record(service: Service) -> None:
    service.database.execute("INSERT INTO document (title, version) VALUES ('draft', 1)")

    @service.app.post("/")
    def view() -> str:
        document = Document.query.one()
        session = service.session
        if service.database.dialect == "sqlite":
            # One writer only: as if the record had been read before.
            session.execute(text("UPDATE document SET version = 2"))
        else:
            service.database.execute("UPDATE document SET version = 2")
        document.update(title="final")
        return "fine"

    assert service.post().status_code == 409
    assert service.database.scalar("SELECT title FROM document") == "draft"


@pytest.mark.parametrize(
    "error", [activebase.UniqueViolation, activebase.ConflictError, IntegrityError, SQLAlchemyError]
)
def test_prefers_the_apps_handler_for_the_error_or_a_base_of_it(
    service: Service, error: type[Exception]
) -> None:
    raises(service, activebase.UniqueViolation("taken"))

    @service.app.errorhandler(error)
    def handle(raised: Exception) -> Any:
        return f"handled {raised}", 418

    response = service.post()
    assert (response.status_code, response.text) == (418, "handled taken")
    assert service.names() == []


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (NotFoundError("x"), NoResultFound),
        (activebase.InvalidValueError("x"), DataError),
        (LostWritesError("x"), RuntimeError),
        (UnknownAttributeError("x"), TypeError),
        (activebase.InvalidLookupError("x"), ValueError),
    ],
)
def test_prefers_the_handler_for_the_error_that_code_without_activebase_catches(
    own: Service, error: Exception, base: type[Exception]
) -> None:
    raises(own, error)
    own.app.register_error_handler(base, lambda raised: ("handled", 418))
    assert own.post().status_code == 418


@pytest.mark.parametrize("code", [404, NotFound, HTTPException])
def test_prefers_the_apps_handler_for_the_status(service: Service, code: Any) -> None:
    raises(service, NotFoundError("There is no Member."))

    @service.app.errorhandler(code)
    def handle(http: HTTPException) -> Any:
        return f"{http.code} {http.description} {type(http.__cause__).__name__}", 418

    response = service.post()
    assert response.status_code == 418
    assert response.text == "404 There is no Member. NotFoundError"


def test_prefers_a_handler_that_answers_with_the_exception_it_was_given(own: Service) -> None:
    raises(own, NotFoundError("There is no Member."))

    @own.app.errorhandler(HTTPException)
    def handle(http: HTTPException) -> HTTPException:
        http.description = "Nothing here."
        return http

    response = own.post()
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "Nothing here." in response.text


def test_prefers_the_handlers_of_the_blueprint(own: Service) -> None:
    pages = Blueprint("pages", __name__)

    @pages.post("/")
    def view() -> str:
        raise NotFoundError("There is no Member.")

    pages.register_error_handler(404, lambda http: ("blueprint", 418))
    own.app.register_error_handler(404, lambda http: ("app", 419))
    own.app.register_blueprint(pages)
    assert own.post().text == "blueprint"


@pytest.mark.parametrize("code", [500, InternalServerError])
def test_gives_the_handler_for_500_the_original_exception(own: Service, code: Any) -> None:
    raises(own, LostWritesError("2 writes"))

    @own.app.errorhandler(code)
    def handle(http: InternalServerError) -> Any:
        return f"{http.original_exception!r}", 500

    assert own.post().text == "LostWritesError('2 writes')"


def test_rolls_back_when_the_handler_for_the_status_answers_200(service: Service) -> None:
    raises(service, NotFoundError("There is no Member."))
    service.app.register_error_handler(404, lambda http: "fine")
    assert service.post().status_code == 200
    assert service.names() == []


def test_leaves_errors_to_flask_when_problem_details_are_off(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(ACTIVEBASE_PROBLEM_DETAILS=False)
    raises(service, NotFoundError("There is no Member."))
    response = service.post()
    assert (response.status_code, response.mimetype) == (500, "text/html")
    assert service.names() == []


def test_asks_for_the_app_s_handlers_when_problem_details_are_off(
    make_service: Callable[..., Service],
) -> None:
    service = make_service(ACTIVEBASE_PROBLEM_DETAILS=False)
    raises(service, NotFoundError("There is no Member."))
    service.app.register_error_handler(NotFoundError, lambda error: ("handled", 404))
    response = service.post()
    assert (response.status_code, response.text) == (404, "handled")
    assert service.names() == []


def test_answers_the_error_of_a_handler_like_any_other(service: Service) -> None:
    raises(service, activebase.UniqueViolation("taken"))

    @service.app.errorhandler(IntegrityError)
    def handle(raised: Exception) -> Any:
        raise ValueError("the handler is broken")

    response = service.post()
    assert response.status_code == 500
    assert "broken" not in response.text
    assert service.names() == []


@pytest.mark.parametrize(("name", "times"), [("LostWritesError", 1), ("NotFoundError", 0)])
def test_logs_and_signals_what_is_answered_with_500_once(
    own: Service, caplog: pytest.LogCaptureFixture, name: str, times: int
) -> None:
    raises(own, getattr(activebase, name)("the secret reason"))
    seen: list[BaseException] = []

    def note(sender: object, exception: BaseException, **_: object) -> None:
        seen.append(exception)

    with got_request_exception.connected_to(note, own.app), caplog.at_level(logging.ERROR):
        own.post()
    assert [type(error).__name__ for error in seen] == [name] * times
    assert caplog.text.count("Traceback") == times


def test_lets_a_handler_read_and_write_in_a_unit_of_its_own(service: Service) -> None:
    service.database.execute("INSERT INTO member (name) VALUES ('bob')")
    raises(service, ValueError("of the view"))

    @service.app.errorhandler(ValueError)
    def handle(raised: ValueError) -> str:
        found = Member.query.count()
        with activebase.unit_of_work():
            Member(name=f"failure {found}").save()
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["bob", "failure 1"]


def test_refuses_a_write_in_a_handler_without_a_unit_of_its_own(service: Service) -> None:
    raises(service, ValueError("of the view"))

    @service.app.errorhandler(ValueError)
    def handle(raised: ValueError) -> str:
        Member(name="failure").save()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


@pytest.mark.parametrize(
    "setting", [{"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}, {"DEBUG": True}]
)
def test_writes_nothing_when_the_exception_passes_to_the_caller(
    make_service: Callable[..., Service], kind: str, setting: dict[str, bool]
) -> None:
    service = make_service(kind, **setting)
    raises(service, ValueError("of the view"))
    with pytest.raises(ValueError, match="of the view"):
        service.post()
    assert service.names() == []


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_writes_nothing_when_the_process_is_told_to_end(
    service: Service, error: type[BaseException]
) -> None:
    raises(service, error())
    with pytest.raises(error):
        service.post()
    assert service.names() == []
