"""Contexts inside contexts, async views, other threads: each request keeps its own unit."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from flask import Response, copy_current_request_context, current_app, request

from activebase import (
    NestedUnitError,
    UncommittedWritesWarning,
    current_unit,
    on_commit,
    session,
    unit_of_work,
)
from tests.databases import Database
from tests.flask.service import Service, assert_nothing_left, running, saves, warned
from tests.models import Member

# -- async views -----------------------------------------------------------------------------


def test_commits_what_an_async_view_wrote_in_another_thread(service: Service) -> None:
    seen: list[Any] = []

    @service.app.before_request
    def before() -> None:
        Member(name="before").save()
        seen.append((threading.get_ident(), session()))

    @service.app.post("/")
    async def view() -> str:
        await asyncio.sleep(0)
        Member(name="ada").save()
        seen.append((threading.get_ident(), session()))
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada", "before"]
    (_, first), (_, second) = seen
    assert first is second


def test_rolls_back_what_a_failing_async_view_wrote(service: Service) -> None:
    @service.app.post("/")
    async def view() -> str:
        Member(name="ada").save()
        raise ValueError

    @service.app.errorhandler(ValueError)
    async def handle(error: ValueError) -> str:
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == []


def test_refuses_a_commit_in_an_async_view(service: Service) -> None:
    @service.app.post("/")
    async def view() -> str:
        Member(name="ada").save()
        session.commit()
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []


# -- requests inside requests ----------------------------------------------------------------


def calls(service: Service, path: str, *, then: Callable[[], Any]) -> None:
    """Add a view that sends a request to another one, then goes on."""

    @service.app.post("/outer")
    def outer() -> Any:
        before = current_unit()  # which has read nothing yet: on SQLite it would hold the lock
        response = service.post(path)
        assert current_unit() is before
        assert before is not None
        assert before.state == "open"
        Member(name=f"outer, told {response.status_code}").save()
        return then()


def fail() -> Any:
    raise ValueError


def test_commits_an_inner_request_when_the_outer_one_fails(service: Service) -> None:
    service.app.post("/inner")(saves("inner"))
    calls(service, "/inner", then=fail)
    assert service.post("/outer").status_code == 500
    assert service.names() == ["inner"]


def test_commits_the_outer_request_when_the_inner_one_fails(service: Service) -> None:
    @service.app.post("/inner")
    def inner() -> str:
        Member(name="inner").save()
        raise ValueError

    calls(service, "/inner", then=lambda: "fine")
    assert service.post("/outer").status_code == 200
    assert service.names() == ["outer, told 500"]


def test_keeps_requests_apart_inside_a_shared_app_context(service: Service) -> None:
    service.app.post("/inner")(saves("inner"))
    calls(service, "/inner", then=fail)
    with service.app.app_context():
        assert service.post("/outer").status_code == 500
        assert service.post("/inner").status_code == 409
        assert current_unit() is None
    assert service.names() == ["inner"]


def test_refuses_an_inner_writer_that_would_wait_for_the_outer_one(
    sqlite_database: Database, kind: str
) -> None:
    with running(sqlite_database, kind) as service:
        service.app.post("/inner")(saves("inner"))

        @service.app.post("/outer")
        def outer() -> str:
            Member(name="outer").save()
            return str(service.post("/inner").status_code)

        assert service.post("/outer").text == "500"
        assert service.names() == ["outer"]


def test_runs_the_callbacks_of_each_request_after_its_own_commit(service: Service) -> None:
    seen: list[tuple[str, list[str]]] = []

    @service.app.post("/inner")
    def inner() -> str:
        on_commit(lambda: seen.append(("inner", service.names())))
        Member(name="inner").save()
        return "fine"

    @service.app.post("/outer")
    def outer() -> str:
        on_commit(lambda: seen.append(("outer", service.names())))
        service.post("/inner")
        Member(name="outer").save()
        return "fine"

    assert service.post("/outer").status_code == 200
    assert seen == [("inner", ["inner"]), ("outer", ["inner", "outer"])]


def test_keeps_the_unit_when_a_view_calls_another_app_with_its_own_environ(
    make_service: Callable[..., Service],
) -> None:
    outer, inner = make_service(), make_service()

    inner.app.post("/")(lambda: "fine")

    @outer.app.post("/")
    def outer_view() -> Any:
        Member(name="outer").save()
        Response.from_app(inner.app, request.environ, buffered=True)
        raise ValueError

    outer.app.register_error_handler(ValueError, lambda error: "fine")
    assert outer.post().status_code == 200
    assert outer.names() == []


def test_dispatches_another_request_by_hand_in_a_unit_of_its_own(service: Service) -> None:
    service.app.post("/inner")(saves("inner"))

    @service.app.post("/outer")
    def outer() -> Any:
        with current_app.test_request_context("/inner", method="POST"):
            current_app.full_dispatch_request()
        assert service.names() == ["inner"]
        raise ValueError

    assert service.post("/outer").status_code == 500
    assert service.names() == ["inner"]


@pytest.mark.parametrize("fails", ["neither", "outer", "inner"])
def test_gives_a_request_on_a_copied_environ_a_unit_of_its_own(
    service: Service, fails: str
) -> None:
    @service.app.post("/inner")
    def inner() -> str:
        Member(name="inner").save()
        return fail() if fails == "inner" else "fine"

    @service.app.post("/batch")
    def batch() -> Any:
        before = current_unit()
        with current_app.request_context({**request.environ, "PATH_INFO": "/inner"}):
            try:
                current_app.full_dispatch_request()
            except ValueError:
                assert fails == "inner"
        assert current_unit() is before
        assert service.names() == ([] if fails == "inner" else ["inner"])
        Member(name="outer").save()
        return fail() if fails == "outer" else "fine"

    assert service.post("/batch").status_code == (500 if fails == "outer" else 200)
    kept = {"neither": ["inner", "outer"], "outer": ["inner"], "inner": ["outer"]}
    assert service.names() == kept[fails]


# -- contexts --------------------------------------------------------------------------------


def test_uses_the_unit_s_session_inside_an_inner_app_context(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        with service.app.app_context():
            assert service.session.query(Member).count() == 1
            Member(name="bob").save()
        assert service.names() == []
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == ["ada", "bob"]


def test_removes_the_session_when_the_app_context_outlives_the_request(service: Service) -> None:
    service.app.post("/<name>")(lambda name: saves(name)())
    with service.app.app_context():
        assert service.post("/ada").status_code == 200
        assert_nothing_left(service)
        assert service.post("/bob").status_code == 200
        assert_nothing_left(service)
    assert service.names() == ["ada", "bob"]


def test_bears_a_second_teardown_when_the_client_keeps_the_context(service: Service) -> None:
    service.app.post("/<name>")(lambda name: saves(name)())
    with service.app.test_client() as client:
        assert client.post("/ada").status_code == 200
        assert request.path == "/ada"
        assert_nothing_left(service)
        assert client.post("/bob").status_code == 200
        assert Member.query.count() == 2
    assert service.names() == ["ada", "bob"]


def test_warns_of_writes_in_an_app_context_without_a_unit(service: Service) -> None:
    with warned() as messages, service.app.app_context():
        Member(name="ada").save()
        Member(name="bob").save()
    assert len(messages) == 1
    assert "2 writes were" in messages[0]
    assert "the app context of 'service'" in messages[0]
    assert service.names() == []


def test_warns_of_writes_in_a_test_request_context(service: Service) -> None:
    with (
        pytest.warns(UncommittedWritesWarning, match="1 write was"),
        service.app.test_request_context("/"),
    ):
        Member(name="ada").save()
    assert service.names() == []


def test_commits_a_unit_in_a_test_request_context(service: Service) -> None:
    with service.app.test_request_context("/"):
        with unit_of_work():
            Member(name="ada").save()
        assert service.names() == ["ada"]


def test_gives_each_app_context_a_session_of_its_own(service: Service) -> None:
    with service.app.app_context():
        outer = service.session
        first = session()
        with service.app.app_context():
            second = session()
            assert second is not first
        assert session() is first
        assert outer is service.session


# -- threads ---------------------------------------------------------------------------------


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function, name="helper")
    thread.start()
    thread.join()


def test_warns_of_writes_in_a_background_thread(own: Service) -> None:
    @own.app.post("/")
    def view() -> str:
        in_thread(lambda: Member(name="ada").save())
        return "fine"

    with warned() as messages:
        assert own.post().status_code == 200
    assert len(messages) == 1
    assert "1 write was" in messages[0]
    assert "the thread 'helper'" in messages[0]
    assert "unit_of_work()" in messages[0]
    assert own.names() == []


def test_warns_of_writes_in_a_background_thread_with_an_app_context(service: Service) -> None:
    def work() -> None:
        with service.app.app_context():
            Member(name="ada").save()

    @service.app.post("/")
    def view() -> str:
        in_thread(work)
        return "fine"

    with warned() as messages:
        assert service.post().status_code == 200
    assert len(messages) == 1
    assert service.names() == []


def test_commits_a_unit_of_a_background_thread(service: Service) -> None:
    def work() -> None:
        with service.app.app_context(), unit_of_work():
            Member(name="helper").save()

    @service.app.post("/")
    def view() -> str:
        in_thread(work)
        Member(name="ada").save()
        raise ValueError

    assert service.post().status_code == 500
    assert service.names() == ["helper"]


def test_keeps_the_unit_when_a_thread_copies_the_request_context(service: Service) -> None:
    paths: list[str] = []

    @service.app.post("/members")
    def view() -> str:
        Member(name="ada").save()
        in_thread(copy_current_request_context(lambda: paths.append(request.path)))
        Member(name="bob").save()
        return "fine"

    assert service.post("/members").status_code == 200
    assert paths == ["/members"]
    assert service.names() == ["ada", "bob"]


def test_leaves_no_trace_when_a_view_fails_after_a_thread_has_copied_its_context(
    service: Service,
) -> None:
    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        in_thread(copy_current_request_context(lambda: None))
        assert service.names() == []
        Member(name="bob").save()
        raise ValueError

    @service.app.errorhandler(ValueError)
    def handle(error: ValueError) -> str:
        return "fine"

    assert service.post().status_code == 200
    assert service.names() == []


def test_keeps_the_caller_s_unit_open_while_it_sends_requests(service: Service) -> None:
    service.app.post("/")(saves("ada"))
    with service.app.app_context(), suppress(LookupError), unit_of_work() as unit:
        assert service.post().status_code == 200
        assert current_unit() is unit
        raise LookupError
    assert service.names() == ["ada"]


def test_says_so_when_a_request_would_wait_for_its_caller(
    sqlite_database: Database, kind: str
) -> None:
    with running(sqlite_database, kind) as service:
        service.app.testing = True
        service.app.config["ACTIVEBASE_PROBLEM_DETAILS"] = False
        service.app.post("/")(saves("ada"))
        with service.app.app_context(), unit_of_work():
            Member(name="caller").save()
            with pytest.raises(NestedUnitError):
                service.post()
        assert service.names() == ["caller"]
