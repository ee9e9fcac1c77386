"""Through real sockets: werkzeug's threaded server and waitress."""

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Response, request, stream_with_context

from activebase import session
from tests.flask.service import SERVERS, Service, assert_nothing_left, saves
from tests.models import Entry, Member


@pytest.fixture(params=SERVERS)
def serve(request: pytest.FixtureRequest) -> Any:
    """A context manager that serves an app and gives the port."""
    return SERVERS[request.param]


def ask(port: int, path: str = "/", *, method: str = "POST") -> tuple[int, str]:
    """Send one request; return status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, for up to 5 seconds."""
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def is_released(service: Service) -> bool:
    return service.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool


def test_commits_and_rolls_back_over_http(service: Service, serve: Any) -> None:
    @service.app.post("/<name>/<int:status>")
    def view(name: str, status: int) -> Any:
        Member(name=name).save()
        if status == 500:
            raise ValueError
        return name, status

    @service.app.post("/entry")
    def entry() -> str:
        Entry(amount=1, member_id=4711).save()
        return "fine"

    with serve(service.app) as port:
        assert ask(port, "/ada/200") == (200, "ada")
        assert ask(port, "/bob/400")[0] == 400
        assert ask(port, "/eve/500")[0] == 500
        assert ask(port, "/ada/201")[0] == 409
        assert ask(port, "/entry")[0] == 409
        assert ask(port, "/missing")[0] == 404
        eventually(lambda: is_released(service))
    assert service.names() == ["ada"]
    assert service.database.scalar("SELECT count(*) FROM entry") == 0


def test_gives_concurrent_requests_a_session_each(service: Service, serve: Any) -> None:
    together = threading.Barrier(4, timeout=10)

    @service.app.post("/<name>")
    def view(name: str) -> Any:
        mine = session()
        together.wait()  # all four are inside, none has touched the database
        Member(name=name).save()
        assert session() is mine
        return str(id(mine)), 200 if name in "ab" else 400

    with serve(service.app) as port, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda name: ask(port, f"/{name}"), "abcd"))
    assert [status for status, _ in answers] == [200, 200, 400, 400]
    assert len({text for _, text in answers}) == 4
    assert service.names() == ["a", "b"]


def test_leaves_nothing_to_the_next_request_on_the_same_thread(service: Service) -> None:
    seen: list[Any] = []

    @service.app.post("/<how>")
    def view(how: str) -> Any:
        seen.append((threading.get_ident(), session()))
        Member(name=how).save()
        if how == "raises":
            raise ValueError
        if how == "streams":
            return Response(iter(["one", "two"]))
        return how

    with SERVERS["waitress"](service.app, threads=1) as port:
        statuses = [ask(port, f"/{how}")[0] for how in ("raises", "streams", "missing/x", "last")]
    assert statuses == [500, 200, 404, 200]
    assert len({thread for thread, _ in seen}) == 1
    assert len({id(used) for _, used in seen}) == 3
    assert service.names() == ["last", "streams"]


def test_streams_from_the_database_and_closes_the_session(service: Service, serve: Any) -> None:
    @service.app.post("/")
    def view() -> Response:
        for number in range(50):
            Member(name=f"{number:02}").save()

        def body() -> Iterator[str]:
            for name in session.scalars(Member.query.with_only_columns(Member.name)):
                yield f"{name} "

        return Response(stream_with_context(body()))

    with serve(service.app) as port:
        status, text = ask(port)
        eventually(lambda: is_released(service))
    assert (status, len(text.split())) == (200, 50)


def test_cuts_a_streamed_answer_off_when_its_body_writes(service: Service, serve: Any) -> None:
    @service.app.post("/")
    def view() -> Response:
        Member(name="ada").save()

        def body() -> Iterator[str]:
            yield "one"
            Member(name="bob").save()
            yield "two"

        return Response(stream_with_context(body()), headers={"Content-Length": "6"})

    with serve(service.app) as port:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            ask(port)
        eventually(lambda: is_released(service))
        assert ask(port, "/missing")[0] == 404
    assert service.names() == ["ada"]


def test_closes_the_session_when_the_client_goes_away_halfway(service: Service, serve: Any) -> None:
    ended = threading.Event()
    begun = threading.Event()

    @service.app.post("/")
    def view() -> Response:
        Member(name="ada").save()

        def body() -> Iterator[bytes]:
            try:
                while True:
                    assert Member.query.count() == 1
                    begun.set()
                    yield b"x" * 65536
            finally:
                ended.set()

        return Response(stream_with_context(body()))

    with serve(service.app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            assert client.recv(100)
            assert begun.wait(5)
        assert ended.wait(10)
        eventually(lambda: is_released(service))
    assert service.names() == ["ada"]


def test_keeps_the_commit_when_the_client_does_not_wait_for_the_answer(
    service: Service, serve: Any
) -> None:
    gone = threading.Event()

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        assert gone.wait(5)
        return "fine"

    with serve(service.app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        gone.set()
        eventually(lambda: service.names() == ["ada"] and is_released(service))


def test_writes_nothing_when_the_client_goes_away_before_its_input_is_complete(
    service: Service,
) -> None:
    saved = threading.Event()

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        saved.set()
        return str(len(request.get_data()))

    with SERVERS["werkzeug"](service.app) as port:  # waitress asks the app once it has all
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            assert saved.wait(5)
        eventually(lambda: is_released(service))
    assert service.names() == []


def test_takes_no_connection_for_requests_without_database_work(own: Service, serve: Any) -> None:
    own.app.post("/")(lambda: "fine")
    with own.recorded() as seen, serve(own.app) as port:
        assert [ask(port)[0] for _ in range(5)] == [200] * 5
    assert seen == []
    assert_nothing_left(own)


def test_serves_on_after_a_failed_teardown_function(make_service: Callable[..., Service]) -> None:
    options = {"pool_size": 5, "max_overflow": 0, "pool_timeout": 1}
    own = make_service(ACTIVEBASE_ENGINE_OPTIONS=options)
    own.app.post("/<name>")(lambda name: saves(name)())

    @own.app.teardown_request
    def fail(error: BaseException | None) -> None:
        assert Member.query.count() >= 0
        raise LookupError

    with SERVERS["waitress"](own.app, threads=1) as port:
        for number in range(8):  # more than the pool has connections
            ask(port, f"/{number}")
    assert len(own.names()) == 8
    assert is_released(own)
