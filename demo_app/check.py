"""Try the running service over HTTP, and look at its database from outside."""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener
from uuid import uuid4

import psycopg
from kombu.connection import Connection
from sqlalchemy import URL, make_url

from demo_app.processes import free_port, is_free, run_command
from demo_app.run import Service, running

STATEMENT_WITHIN = 30.0  # seconds, the worker's start included
TRADING = ("users", "api_keys", "accounts", "portfolios", "investments", "orders", "transfers")

BAD_BODIES: tuple[tuple[str, bytes], ...] = (
    ("/buy", b""),
    ("/buy", b"{"),
    ("/buy", b"[" * 20_000),
    ("/buy", b'"IBM"'),
    ("/buy", b"{}"),
    ("/buy", b'{"symbol": "IBM", "quantity": 0}'),
    ("/buy", b'{"symbol": "IBM", "quantity": -3}'),
    ("/buy", b'{"symbol": "IBM", "quantity": 1.5}'),
    ("/buy", b'{"symbol": "IBM", "quantity": true}'),
    ("/buy", b'{"symbol": "IBM", "quantity": 1e400}'),
    ("/buy", b'{"symbol": "IBM", "quantity": 99999999999999999999}'),
    ("/buy", b'{"symbol": "NOSUCH", "quantity": 1}'),
    ("/buy", '{"symbol": "株", "quantity": 1}'.encode()),
    ("/buy", b'{"symbol": "IBM", "quantity": 1, "portfolio_id": 2147483647}'),
    ("/buy", b'{"symbol": "IBM", "quantity": 1000000}'),
    ("/buy", b'{"symbol": "' + b"A" * 100_000 + b'"}'),
    ("/liquidate-investment", b'{"investment_id": "1"}'),
    ("/liquidate-investment", b'{"investment_id": 2147483647}'),
    ("/transfer", b'{"to": "nobody@example.com", "amount": 1}'),
    ("/transfer", b'{"to": ["user1@example.com"], "amount": 1}'),
    ("/transfer", b'{"to": "user1@example.com", "amount": -1}'),
    ("/transfer", b'{"to": "user1@example.com", "amount": NaN}'),
    ("/transfer", b'{"to": "user1@example.com", "amount": "0.001"}'),
    ("/transfer", b'{"to": "user1@example.com", "amount": 999999999}'),
    ("/register", b'{"name": "", "email": "a@example.com"}'),
    ("/register", b'{"name": "A\\u0000", "email": "a@example.com"}'),
    ("/register", b'{"name": "A\\ud800", "email": "a@example.com"}'),
    ("/register", b'{"name": "A", "email": "no address"}'),
    ("/register", b'{"name": "A", "email": "USER1@example.com"}'),
    ("/register", b'{"name": "A", "email": "a@example.com", "deposit": 9, "cash_limit": 1}'),
)


@dataclass(frozen=True)
class Answer:
    """What the web server has answered."""

    status: int
    body: Any


class Api:
    """A client of the service."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self._url = url
        self._token = token
        self._opener = build_opener(ProxyHandler({}))  # a proxy can't know our port

    def get(self, path: str) -> Answer:
        return self._ask(Request(self._url + path))

    def post(self, path: str, **fields: Any) -> Answer:
        return self.post_raw(path, json.dumps(fields).encode())

    def post_raw(self, path: str, body: bytes) -> Answer:
        return self._ask(Request(self._url + path, data=body, method="POST"))

    def _ask(self, request: Request) -> Answer:
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=30) as response:
                return self._answer(response.status, response.read())
        except HTTPError as error:
            with error:
                return self._answer(error.code, error.read())

    def _answer(self, status: int, body: bytes) -> Answer:
        try:
            return Answer(status, json.loads(body))
        except ValueError:
            return Answer(status, body.decode(errors="replace"))


class Observer:
    """The second connection: the bare driver's, independent of the service."""

    def __init__(self, uri: URL) -> None:
        self._connection = _connect(uri)

    def rows(self, table: str) -> list[tuple[Any, ...]]:
        """Return all committed rows of a table."""
        cursor = self._connection.execute(f"SELECT * FROM {table} ORDER BY id")
        return [tuple(row) for row in cursor.fetchall()]

    def ids(self, table: str) -> set[int]:
        """Return the primary keys of all committed rows of a table."""
        return {row[0] for row in self.rows(table)}

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return all committed rows of all tables that requests write."""
        return {table: self.rows(table) for table in TRADING}

    def close(self) -> None:
        self._connection.close()


class Report:
    """Says each thing that was checked, and remembers whether one was wrong."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, fact: bool, sentence: str, seen: object = "") -> None:
        """Print a sentence as ok or FAILED, in that case with what was seen instead."""
        if fact:
            print(f"ok      {sentence}", flush=True)
        else:
            self.failed += 1
            print(f"FAILED  {sentence}; seen: {seen}", flush=True)


def check_service(folder: Path) -> bool:
    """Run the service in a folder, with a database and a queue of its own, and try it.

    Returns: whether everything was as it should be.
    """
    report = Report()
    port = free_port()
    with temporary_database(folder) as uri, temporary_queue() as queue:
        environment = {
            "PORT": str(port),
            "DEMO_DATABASE_URI": uri.render_as_string(hide_password=False),
            "DEMO_QUEUE": queue,
        }
        with closing(Observer(uri)) as observer, running(folder, environment) as service:
            _check_running(service, observer, report)
            stopped = {child.name: child.stop() for child in (service.web, service.worker)}
        report.check(set(stopped.values()) == {0}, "web server and worker end with code 0", stopped)
        report.check(is_free(port), f"port {port} is free again")
        if report.failed:
            print(f"\n{service.web.log_end()}\n\n{service.worker.log_end()}")
    print("all is well" if not report.failed else f"{report.failed} failed")
    return not report.failed


def _check_running(service: Service, observer: Observer, report: Report) -> None:
    guest = Api(service.url)
    _check_start(guest, observer, report)
    token = _register(guest, "Foo Bar", "foo@example.com", deposit="5000.00")
    foo = Api(service.url, token)
    _check_purchase(foo, report)
    _check_failing_liquidation(guest, foo, service.url, observer, report)
    _check_revaluation(foo, service, report)
    _check_liquidation(foo, observer, report)
    _check_users(foo, report)
    _check_bad_input(foo, observer, report)
    service.check()


def _check_start(guest: Api, observer: Observer, report: Report) -> None:
    page = guest.get("/")
    report.check(page.status == 200 and "Portfolios" in page.body, "the page at / is there", page)
    counts = {table: len(observer.rows(table)) for table in ("prices", "users", "orders")}
    report.check(all(counts.values()), f"the database holds {counts}", counts)
    answer = guest.post("/buy", symbol="IBM", quantity=1)
    report.check(answer.status == 401, "a purchase without an api key is answered 401", answer)


def _check_purchase(foo: Api, report: Report) -> None:
    answer = foo.post("/buy", symbol="IBM", quantity=10)
    bought = f"a purchase of 10 IBM is answered 201: {answer.body}"
    report.check(answer.status == 201, bought, answer)
    started = time.monotonic()
    statement = _wait(lambda: foo.get(f"/orders/{answer.body['id']}").body["statement"])
    report.check(
        bool(statement),
        f"{time.monotonic() - started:.1f} s later the worker has written: {statement}",
        "no statement",
    )


def _check_failing_liquidation(
    guest: Api, foo: Api, url: str, observer: Observer, report: Report
) -> None:
    # The account may hold 1000 USD, and does. Shares for some of it, then a gift: the proceeds of
    # the shares don't fit any more. Nothing is faked: the database refuses the second step.
    token = _register(guest, "Full Up", "full@example.com", deposit=1000, cash_limit=1000)
    full = Api(url, token)
    portfolio = full.post("/buy", symbol="IBM", quantity=5).body["portfolio_id"]
    foo.post("/transfer", to="full@example.com", amount="500.00")
    (investment,) = full.get(f"/portfolios/{portfolio}").body["investments"]
    before = observer.everything()
    answer = full.post("/liquidate-investment", investment_id=investment["id"])
    refused = answer.status == 422 and "balance_within_limit" in json.dumps(answer.body)
    report.check(refused, "a liquidation whose second step fails is answered 422", answer)
    report.check(
        observer.everything() == before and investment["id"] in observer.ids("investments"),
        "its first step is undone: a second connection sees the investment, and no new order",
        observer.rows("investments"),
    )


def _check_revaluation(foo: Api, service: Service, report: Report) -> None:
    number = foo.post("/login").body["portfolios"][0]["id"]
    run_command("revalue", service.environment)
    _wait(lambda: foo.get(f"/portfolios/{number}").body["valued_on"])
    portfolio = foo.get(f"/portfolios/{number}").body
    report.check(
        portfolio["valued_on"] == "2010-03-01" and portfolio["value"] == portfolio["worth"],
        f"the worker has stored the value on {portfolio['valued_on']}: {portfolio['value']} USD",
        portfolio,
    )


def _check_liquidation(foo: Api, observer: Observer, report: Report) -> None:
    account = foo.post("/login").body
    portfolio = foo.get(f"/portfolios/{account['portfolios'][0]['id']}").body
    (investment,) = portfolio["investments"]
    answer = foo.post("/liquidate-investment", investment_id=investment["id"])
    report.check(answer.status == 200, f"a liquidation is answered 200: {answer.body}", answer)
    gone = investment["id"] not in observer.ids("investments")
    report.check(gone, "a second connection sees that the investment is gone")
    order = answer.body["order"]["id"]
    statement = _wait(lambda: foo.get(f"/orders/{order}").body["statement"])
    report.check(bool(statement), f"the worker has written: {statement}", "no statement")


def _check_users(foo: Api, report: Report) -> None:
    answer = foo.get("/users")
    listed = answer.status == 200 and all(user["keys"] for user in answer.body["users"])
    report.check(listed, f"{len(answer.body['users'])} users are listed with their keys", answer)


def _check_bad_input(foo: Api, observer: Observer, report: Report) -> None:
    before = observer.everything()
    statuses = [foo.post_raw(path, body).status for path, body in BAD_BODIES]
    refused = all(400 <= status < 500 for status in statuses)
    report.check(refused, f"{len(statuses)} bad requests are all answered 4xx", statuses)
    report.check(observer.everything() == before, "and have written nothing")


def _register(guest: Api, name: str, email: str, **fields: Any) -> str:
    answer = guest.post("/register", name=name, email=email, **fields)
    token: str = answer.body["token"]
    return token


def _wait(ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true; return the last answer."""
    deadline = time.monotonic() + STATEMENT_WITHIN
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return answer


@contextmanager
def temporary_database(folder: Path) -> Iterator[URL]:
    """Yield a new database: a SQLite file, or one on the server that DEMO_DATABASE_URI names."""
    server = os.environ.get("DEMO_DATABASE_URI", "sqlite://")
    if make_url(server).get_backend_name() == "sqlite":
        yield URL.create("sqlite", database=str(folder / "demo.db"))
        return
    uri = make_url(server).set(database=f"brokerage_{uuid4().hex[:12]}")
    with closing(_connect(make_url(server))) as admin:
        admin.execute(f"CREATE DATABASE {uri.database}")
        try:
            yield uri
        finally:
            admin.execute(f"DROP DATABASE {uri.database} WITH (FORCE)")


@contextmanager
def temporary_queue() -> Iterator[str]:
    """Yield the name of a new queue; remove it from the broker that DEMO_BROKER_URL names."""
    queue = f"brokerage-{uuid4().hex[:12]}"
    yield queue
    broker = os.environ.get("DEMO_BROKER_URL")
    if broker:
        with Connection(broker) as connection:  # type: ignore[no-untyped-call]  # kombu is half typed
            connection.default_channel.queue_delete(queue)


def _connect(uri: URL) -> Any:
    if uri.get_backend_name() == "sqlite":
        return sqlite3.connect(str(uri.database), isolation_level=None)
    conninfo = uri.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(conninfo, autocommit=True)
