"""Debug mode: what a request asked of the database, in a header and one log line."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response

from activebase import session
from activebase.flask import manual_commit
from tests.flask.service import Service
from tests.models import Entry, Member

MakeService = Callable[..., Service]


@pytest.fixture
def debugged(make_service: MakeService, kind: str) -> Service:
    """A service in debug mode, with a view that writes and reads."""
    service = make_service(kind, DEBUG=True)

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        return str(Member.query.count())

    return service


def sent(seen: list[str]) -> int:
    return len([statement for statement in seen if statement.startswith(("SELECT", "INSERT"))])


def test_tells_statements_time_and_outcome_in_a_header(debugged: Service) -> None:
    with debugged.recorded() as seen:
        header = debugged.post().headers["Server-Timing"]
    database, unit = header.split(", ")
    assert database.startswith("db;dur=")
    assert float(database.split("dur=")[1].split(";")[0]) > 0
    told = int(database.split('desc="')[1].split()[0])
    assert sent(seen) == 2
    assert 2 <= told <= len([what for what in seen if what != "connection"])
    assert unit == 'unit;desc="committed"'


@pytest.mark.parametrize(
    ("path", "outcome"), [("/refused", "rolled back"), ("/missing", "rolled back")]
)
def test_tells_a_rollback(debugged: Service, path: str, outcome: str) -> None:
    @debugged.app.post("/refused")
    def refused() -> Any:
        return "no", 400

    header = debugged.post(path).headers["Server-Timing"]
    assert header.endswith(f'unit;desc="{outcome}"')
    assert "0 statements" in header


def test_tells_a_rollback_when_the_commit_failed(debugged: Service) -> None:
    @debugged.app.post("/refused")
    def refused() -> str:
        Entry(amount=1, member_id=4711).save()
        return "fine"

    response = debugged.post("/refused")
    assert response.status_code == 409
    assert response.headers["Server-Timing"].endswith('unit;desc="rolled back"')


def test_tells_of_views_that_commit_themselves(debugged: Service) -> None:
    @debugged.app.post("/manual")
    @manual_commit
    def manual() -> str:
        Member(name="ada").save()
        session.commit()
        return "fine"

    assert debugged.post("/manual").headers["Server-Timing"].endswith('unit;desc="manual"')


def test_tells_once_of_a_streamed_answer(debugged: Service) -> None:
    @debugged.app.post("/stream")
    def stream() -> Response:
        Member(name="ada").save()
        return Response(iter(["one", "two"]))

    assert len(debugged.post("/stream").headers.getlist("Server-Timing")) == 1


def test_writes_one_log_line(debugged: Service, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=debugged.app.logger.name):
        debugged.post()
    lines = [record.message for record in caplog.records if "statements" in record.message]
    assert len(lines) == 1
    assert "committed" in lines[0]


def test_counts_each_request_for_itself_when_one_is_inside_another(
    make_service: MakeService,
) -> None:
    service = make_service(DEBUG=True)

    @service.app.post("/inner")
    def inner() -> str:
        Member(name="inner").save()
        return "fine"

    @service.app.post("/outer")
    def outer() -> str:
        service.post("/inner")
        Member(name="outer").save()
        return "fine"

    alone = service.post("/inner").headers["Server-Timing"]
    service.database.execute("DELETE FROM member")
    header = service.post("/outer").headers["Server-Timing"]
    assert header.split('"')[1] == alone.split('"')[1] != "0 statements"


def test_tells_nothing_outside_of_debug_mode(service: Service) -> None:
    service.app.post("/")(lambda: str(Member.query.count()))
    assert "Server-Timing" not in service.post().headers
