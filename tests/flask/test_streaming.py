"""Bodies that are made after the commit: they may read, and write in a unit of their own."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Response, abort, stream_with_context

from activebase import WriteAfterCommitError, current_unit, session, unit_of_work
from tests.flask.service import Service, assert_nothing_left
from tests.models import Member

Body = Callable[[], Iterator[str]]


def keep(body: Iterator[str]) -> Iterator[str]:
    return body


@pytest.fixture(params=[keep, stream_with_context], ids=["plain", "stream_with_context"])
def in_context(request: pytest.FixtureRequest) -> Any:
    """How the view makes a body of its generator."""
    return request.param


def streams(service: Service, body: Body, in_context: Any) -> None:
    @service.app.post("/")
    def view() -> Response:
        Member(name="ada").save()
        return Response(in_context(body()))


def test_refuses_a_write_in_the_body(service: Service) -> None:
    refused: list[bool] = []

    def body() -> Iterator[str]:
        yield "one"
        assert service.names() == ["ada"]
        try:
            Member(name="bob").save()
        except WriteAfterCommitError:
            refused.append(True)
        yield "two"

    streams(service, body, stream_with_context)
    assert service.post().text == "onetwo"
    assert refused == [True]
    assert service.names() == ["ada"]


def test_refuses_a_write_in_a_body_without_context(own: Service) -> None:
    def body() -> Iterator[str]:
        yield "one"
        Member(name="bob").save()
        yield "two"

    streams(own, body, keep)
    with pytest.raises(WriteAfterCommitError):
        own.post()
    assert own.names() == ["ada"]


def test_refuses_a_flush_of_what_the_body_has_added(own: Service, in_context: Any) -> None:
    def body() -> Iterator[str]:
        yield "one"
        session.add(Member(name="bob"))
        session.flush()

    streams(own, body, in_context)
    with pytest.raises(WriteAfterCommitError):
        own.post()
    assert own.names() == ["ada"]


def test_lets_the_body_read(own: Service, in_context: Any) -> None:
    def rows() -> Iterator[str]:
        yield from session.scalars(Member.query.with_only_columns(Member.name))
        yield f", {Member.query.count()}"

    streams(own, rows, in_context)
    assert own.post().text == "ada, 1"


def test_lets_the_body_write_in_a_unit_of_its_own(service: Service) -> None:
    def body() -> Iterator[str]:
        yield "one"
        with unit_of_work():
            Member(name="bob").save()
        yield "two"

    streams(service, body, stream_with_context)
    assert service.post().text == "onetwo"
    assert service.names() == ["ada", "bob"]


def test_closes_the_session_when_the_body_has_been_sent(service: Service) -> None:
    def body() -> Iterator[str]:
        yield str(Member.query.count())
        assert service.engine.pool.checkedout() == 1  # type: ignore[attr-defined]  # a QueuePool

    streams(service, body, stream_with_context)
    response = service.client.post("/")
    assert response.text == "1"
    assert_nothing_left(service)


def test_closes_the_session_when_the_body_is_dropped_halfway(
    service: Service,
) -> None:
    def body() -> Iterator[str]:
        for _ in range(100):
            yield str(Member.query.count())

    streams(service, body, stream_with_context)
    response = service.client.post("/")
    assert next(response.iter_encoded()) == b"1"
    response.close()
    assert_nothing_left(service)
    assert service.names() == ["ada"]


def test_closes_the_session_when_the_body_fails(service: Service) -> None:
    def body() -> Iterator[str]:
        yield str(Member.query.count())
        raise ValueError

    streams(service, body, stream_with_context)
    with pytest.raises(ValueError):  # noqa: PT011  # of our own
        service.post()
    assert_nothing_left(service)


def test_closes_the_session_when_the_body_is_never_asked_for(own: Service, in_context: Any) -> None:
    def body() -> Iterator[str]:
        yield str(Member.query.count())

    streams(own, body, in_context)
    own.app.add_url_rule("/", "head", own.app.view_functions["view"], methods=["HEAD"])
    assert own.client.head("/").status_code == 200
    assert_nothing_left(own)
    assert own.names() == ["ada"]


def test_rolls_back_when_a_streamed_answer_is_an_error(own: Service, in_context: Any) -> None:
    def body() -> Iterator[str]:
        yield str(Member.query.count())

    @own.app.post("/")
    def view() -> Any:
        Member(name="ada").save()
        return Response(in_context(body()), status=400)

    response = own.post()
    assert (response.status_code, response.text) == (400, "0")
    assert own.names() == []


def test_commits_what_a_body_wrote_that_was_read_inside_the_request(own: Service) -> None:
    def body() -> Iterator[str]:
        Member(name="bob").save()
        yield "fine"

    streams(own, body, keep)

    @own.app.after_request
    def measure(response: Response) -> Response:
        response.headers["X-Length"] = str(len(response.get_data()))
        return response

    assert own.post().headers["X-Length"] == "4"
    assert own.names() == ["ada", "bob"]


def test_answers_for_a_failed_commit_before_the_body_begins(own: Service) -> None:
    begun: list[bool] = []

    def body() -> Iterator[str]:
        begun.append(True)
        yield "fine"

    @own.app.post("/")
    def view() -> Response:
        session.add(Member(name=None))
        return Response(body())

    assert own.post().status_code == 422
    assert begun == []


def test_refuses_a_write_in_a_body_that_is_passed_through(own: Service) -> None:
    def body() -> Iterator[bytes]:
        yield b"one"
        Member(name="bob").save()
        yield b"two"

    @own.app.post("/")
    def view() -> Response:
        Member(name="ada").save()
        return Response(body(), direct_passthrough=True)

    with pytest.raises(WriteAfterCommitError):
        own.post()
    assert own.names() == ["ada"]


def test_never_loses_a_write_of_a_close_function_in_silence(own: Service) -> None:
    @own.app.post("/")
    def view() -> Response:
        Member(name="ada").save()
        response = Response("fine")
        response.call_on_close(lambda: Member(name="bob").save())
        return response

    with pytest.raises(WriteAfterCommitError):
        own.post()
    assert own.names() == ["ada"]


@pytest.mark.parametrize("path", ["/missing", "/aborted", "/streamed"])
def test_leaves_no_unit_in_the_thread_while_an_answer_is_unread(own: Service, path: str) -> None:
    @own.app.get("/aborted")
    def aborted() -> None:
        abort(400)

    @own.app.get("/streamed")
    def streamed() -> Response:
        return Response(iter(["one", "two"]))

    unread = own.client.get(path)  # as most tests of error answers do
    assert current_unit() is None
    with own.app.app_context(), unit_of_work():
        Member(name="ada").save()
    assert own.names() == ["ada"]
    unread.close()


def test_does_not_refuse_the_caller_s_writes_while_an_answer_is_unread(own: Service) -> None:
    unread = own.client.get("/missing")
    with own.app.app_context():
        Member(name="ada").save()
        session.commit()
    assert own.names() == ["ada"]
    unread.close()


def test_refuses_a_write_in_a_body_that_another_thread_sends(own: Service) -> None:
    def body() -> Iterator[str]:
        yield "one"
        Member(name="bob").save()
        yield "two"

    streams(own, body, keep)
    response = own.client.post("/")
    with ThreadPoolExecutor(1) as pool, pytest.raises(WriteAfterCommitError):
        pool.submit(response.get_data).result()
    response.close()
    assert own.names() == ["ada"]
