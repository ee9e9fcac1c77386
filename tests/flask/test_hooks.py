"""Hooks, registered before or after the extension: all run inside the unit, whatever the order."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, abort, after_this_request, g, request
from flask import session as cookie

from activebase import WriteAfterCommitError, current_unit, session, unit_of_work
from tests.flask.service import Service, assert_nothing_left, saves
from tests.models import Member

Register = Callable[[Flask], object]


@pytest.fixture(params=["before the extension", "after the extension"])
def with_hooks(
    request: pytest.FixtureRequest, make_service: Callable[..., Service]
) -> Callable[[Register], Service]:
    """A function that makes a service whose hooks come before or after the extension."""

    def make(register: Register) -> Service:
        if request.param == "before the extension":
            return make_service(prepare=register)
        service = make_service()
        register(service.app)
        return service

    return make


WithHooks = Callable[[Register], Service]


def pages(app: Flask) -> Blueprint:
    """A blueprint with a view that saves a member."""
    blueprint = Blueprint("pages", __name__)
    blueprint.post("/")(saves("ada"))
    return blueprint


@pytest.mark.parametrize("on", ["app", "blueprint"])
def test_commits_what_hooks_write(with_hooks: WithHooks, on: str) -> None:
    def register(app: Flask) -> None:
        blueprint = pages(app)
        target: Any = app if on == "app" else blueprint

        @target.before_request
        def before() -> None:
            Member(name="before").save()

        @target.after_request
        def after(response: Any) -> Any:
            Member(name="later").save()
            return response

        app.register_blueprint(blueprint)

    service = with_hooks(register)
    assert service.post().status_code == 200
    assert service.names() == ["ada", "before", "later"]


@pytest.mark.parametrize("on", ["app", "blueprint", "this request"])
def test_rolls_back_when_an_after_request_function_fails(with_hooks: WithHooks, on: str) -> None:
    def fail(response: Any) -> Any:
        raise ValueError

    def register(app: Flask) -> None:
        blueprint = pages(app)
        if on == "app":
            app.after_request(fail)
        elif on == "blueprint":
            blueprint.after_request(fail)
        else:

            @blueprint.before_request
            def promise() -> None:
                after_this_request(fail)

        app.register_blueprint(blueprint)

    service = with_hooks(register)
    assert service.post().status_code == 500
    assert service.names() == []


def test_rolls_back_when_the_handler_for_500_hides_a_failed_after_request_function(
    with_hooks: WithHooks,
) -> None:
    def register(app: Flask) -> None:
        app.register_blueprint(pages(app))
        app.register_error_handler(500, lambda error: ("fine", 200))

        @app.after_request
        def fail(response: Any) -> Any:
            if "failed" not in g:
                g.failed = True
                raise ValueError
            return response

    service = with_hooks(register)
    response = service.post()
    assert (response.status_code, response.text) == (200, "fine")
    assert service.names() == []


def test_goes_by_the_status_that_the_after_request_functions_leave(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        app.register_blueprint(pages(app))

        @app.after_request
        def refuse(response: Any) -> Any:
            response.status_code = 403
            return response

    service = with_hooks(register)
    assert service.post().status_code == 403
    assert service.names() == []


def test_lets_a_url_value_preprocessor_load_a_record_for_the_view(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        @app.url_value_preprocessor
        def load(endpoint: str | None, values: dict[str, Any] | None) -> None:
            assert values is not None
            values["member"] = Member.get_or_404(values.pop("number"))

        @app.post("/<int:number>")
        def rename(member: Member) -> str:
            assert member in session
            member.update(name="bob")
            return "fine"

    service = with_hooks(register)
    service.database.execute("INSERT INTO member (id, name) VALUES (7, 'ada')")
    assert service.post("/8").status_code == 404
    assert service.post("/7").status_code == 200
    assert service.names() == ["bob"]


def test_skips_the_view_when_a_before_request_function_answers(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        app.register_blueprint(pages(app))

        @app.before_request
        def answer() -> str:
            Member(name="before").save()
            return "closed"

    service = with_hooks(register)
    assert service.post().text == "closed"
    assert service.names() == ["before"]


@pytest.mark.parametrize("on", ["app", "blueprint"])
def test_refuses_a_write_in_a_teardown_function(with_hooks: WithHooks, on: str) -> None:
    refused: list[str] = []

    def tear_down(error: BaseException | None) -> None:
        try:
            Member(name="late").save()
        except WriteAfterCommitError as raised:
            refused.append(str(raised))

    def register(app: Flask) -> None:
        blueprint = pages(app)
        target: Any = app if on == "app" else blueprint
        target.teardown_request(tear_down)
        app.register_blueprint(blueprint)

    service = with_hooks(register)
    assert service.post().status_code == 200
    assert len(refused) == 1
    assert service.names() == ["ada"]


def test_lets_a_teardown_function_write_in_a_unit_of_its_own(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        app.register_blueprint(pages(app))

        @app.teardown_request
        def tear_down(error: BaseException | None) -> None:
            with unit_of_work():
                Member(name=f"late, after {Member.query.first().name}").save()

    service = with_hooks(register)
    assert service.post().status_code == 200
    assert service.names() == ["ada", "late, after ada"]


@pytest.mark.parametrize("on", ["app", "blueprint"])
def test_removes_the_session_when_a_teardown_function_fails(with_hooks: WithHooks, on: str) -> None:
    def fail(error: BaseException | None) -> None:
        assert Member.query.count() == 1  # takes a connection again
        raise LookupError

    def register(app: Flask) -> None:
        blueprint = pages(app)
        target: Any = app if on == "app" else blueprint
        target.teardown_request(fail)
        app.register_blueprint(blueprint)

    service = with_hooks(register)
    with pytest.raises(LookupError):
        service.post()
    assert_nothing_left(service)
    assert service.names() == ["ada"]


def test_rolls_back_when_view_and_teardown_function_both_fail(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        @app.post("/")
        def view() -> str:
            Member(name="ada").save()
            raise SystemExit  # passes all handlers by

        @app.teardown_request
        def fail(error: BaseException | None) -> None:
            raise LookupError

    service = with_hooks(register)
    with pytest.raises(LookupError):
        service.post()
    assert_nothing_left(service)
    assert service.names() == []


def test_gives_a_context_back_when_its_teardown_function_fails(own: Service) -> None:
    @own.app.teardown_appcontext
    def fail(error: BaseException | None) -> None:
        raise LookupError

    with pytest.raises(LookupError), own.app.app_context():
        assert Member.query.count() == 0
    assert_nothing_left(own)


def test_opens_one_unit_for_all_that_runs_before_the_answer(with_hooks: WithHooks) -> None:
    seen: list[Any] = []

    def note(*_: Any) -> None:
        seen.append((current_unit(), session()))

    def register(app: Flask) -> None:
        app.url_value_preprocessor(note)
        app.before_request(note)

        @app.post("/")
        def view() -> str:
            note()
            return "fine"

        @app.after_request
        def after(response: Any) -> Any:
            note()
            return response

    service = with_hooks(register)
    assert service.post().status_code == 200
    assert len(seen) == 4
    assert len(set(seen)) == 1
    unit = seen[0][0]
    assert (unit.name, unit.state, unit.closed) == ("POST /", "committed", True)


def test_answers_for_an_unknown_address_inside_a_unit(with_hooks: WithHooks) -> None:
    def register(app: Flask) -> None:
        @app.before_request
        def count() -> None:
            Member(name=f"visit of {request.path}").save()

    service = with_hooks(register)
    assert service.post("/missing").status_code == 404
    assert service.names() == []


def test_writes_nothing_when_the_cookie_can_not_be_made(own: Service) -> None:
    own.app.secret_key = "key"

    @own.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        cookie["member"] = object()  # which is no JSON: Flask fails after all after_request
        return "fine"

    assert own.post().status_code == 500
    assert own.names() == []


def test_never_applies_hooks_of_one_blueprint_to_another(own: Service) -> None:
    quiet, loud = Blueprint("quiet", __name__), Blueprint("loud", __name__)
    quiet.post("/quiet")(saves("ada"))
    loud.post("/loud")(saves("bob"))

    @loud.after_request
    def refuse(response: Any) -> Any:
        abort(403)

    own.app.register_blueprint(quiet)
    own.app.register_blueprint(loud)
    assert own.post("/quiet").status_code == 200
    assert own.post("/loud").status_code in (403, 500)
    assert own.names() == ["ada"]
