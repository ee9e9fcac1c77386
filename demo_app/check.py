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
from celery import Celery
from sqlalchemy import URL, make_url

from demo_app.processes import free_port, is_free, run_command
from demo_app.run import Service, running

WORKER_WITHIN = 30.0  # seconds, its start included
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
            Trial(service, observer, report).run()
            stopped = {child.name: child.stop() for child in (service.web, service.worker)}
        report.check(set(stopped.values()) == {0}, "web server and worker end with code 0", stopped)
        report.check(is_free(port), f"port {port} is free again")
        if report.failed:
            print(f"\n{service.web.log_end()}\n\n{service.worker.log_end()}")
    print("all is well" if not report.failed else f"{report.failed} failed")
    return not report.failed


class Trial:
    """What is tried, in this order."""

    def __init__(self, service: Service, observer: Observer, report: Report) -> None:
        self._service = service
        self._observer = observer
        self._check = report.check
        self._guest = Api(service.url)
        self._foo = self._register("Foo Bar", "foo@example.com", deposit="5000.00")

    def run(self) -> None:
        """Try everything. Raises: DemoError when a process of the service has ended."""
        self.start()
        self.purchase()
        self.failing_liquidation()
        self.revaluation()
        self.liquidation()
        self.list_of_users()
        self.bad_input()

    def start(self) -> None:
        page = self._guest.get("/")
        shown = page.status == 200 and "Portfolios" in page.body
        self._check(shown, "the page at / is there", page)
        counts = {table: len(self._observer.rows(table)) for table in ("prices", "users", "orders")}
        self._check(all(counts.values()), f"the database holds {counts}", counts)
        answer = self._guest.post("/buy", symbol="IBM", quantity=1)
        self._check(answer.status == 401, "a purchase without an api key is answered 401", answer)

    def purchase(self) -> None:
        answer = self._foo.post("/buy", symbol="IBM", quantity=10)
        bought = f"a purchase is answered 201: {answer.body}"
        self._check(answer.status == 201, bought, answer)
        self._check_statement(answer.body["id"])

    def failing_liquidation(self) -> None:
        # The account may hold 1000 USD, and does. Shares for some of it, then a gift: the proceeds
        # of the shares don't fit any more. Nothing is faked: the database refuses the second step.
        full = self._register("Full Up", "full@example.com", deposit=1000, cash_limit=1000)
        portfolio = full.post("/buy", symbol="IBM", quantity=5).body["portfolio_id"]
        self._foo.post("/transfer", to="full@example.com", amount="500.00")
        (investment,) = full.get(f"/portfolios/{portfolio}").body["investments"]
        before = self._observer.everything()
        answer = full.post("/liquidate-investment", investment_id=investment["id"])
        refused = answer.status == 422 and "balance_within_limit" in answer.body["detail"]
        why = f"a liquidation whose second step fails is answered 422: {answer.body}"
        self._check(refused, why, answer)
        after = self._observer.everything()
        self._check(
            after == before and investment["id"] in self._observer.ids("investments"),
            "its first step is undone: a second connection sees the investment, and no new order",
            {table: after[table] for table in after if after[table] != before[table]},
        )

    def revaluation(self) -> None:
        number = self._foo.post("/login").body["portfolios"][0]["id"]
        run_command("revalue", self._service.environment)
        self._wait(lambda: self._foo.get(f"/portfolios/{number}").body["valued_on"])
        portfolio = self._foo.get(f"/portfolios/{number}").body
        self._check(
            portfolio["valued_on"] == "2010-03-01" and portfolio["value"] == portfolio["worth"],
            f"the worker has stored the value on {portfolio['valued_on']}: {portfolio['value']}",
            portfolio,
        )

    def liquidation(self) -> None:
        number = self._foo.post("/login").body["portfolios"][0]["id"]
        (investment,) = self._foo.get(f"/portfolios/{number}").body["investments"]
        answer = self._foo.post("/liquidate-investment", investment_id=investment["id"])
        sold = f"a liquidation is answered 200: {answer.body}"
        self._check(answer.status == 200, sold, answer)
        gone = investment["id"] not in self._observer.ids("investments")
        self._check(gone, "a second connection sees that the investment is gone")
        self._check_statement(answer.body["order"]["id"])

    def list_of_users(self) -> None:
        answer = self._foo.get("/users")
        listed = answer.status == 200 and all(user["keys"] for user in answer.body["users"])
        count = len(answer.body["users"])
        self._check(listed, f"{count} users are listed with their keys", answer)
        names: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = self._foo.get(f"/users?order=-name&limit=5{cursor}").body
            names += [user["name"] for user in page["users"]]
            cursor = page["next"] and f"&after={page['next']}"
        total = self._foo.get("/users?page=1&per_page=5").body["total"]
        by_cursor = len(names) == total and names == sorted(names, reverse=True)
        self._check(by_cursor, f"all {total} users come page by page, each of them once", names)

    def bad_input(self) -> None:
        before = self._observer.everything()
        statuses = [self._foo.post_raw(path, body).status for path, body in BAD_BODIES]
        refused = all(400 <= status < 500 for status in statuses)
        self._check(refused, f"{len(statuses)} bad requests are all answered 4xx", statuses)
        self._check(self._observer.everything() == before, "and have written nothing")

    def _register(self, name: str, email: str, **fields: Any) -> Api:
        answer = self._guest.post("/register", name=name, email=email, **fields)
        return Api(self._service.url, answer.body["token"])

    def _check_statement(self, order: int) -> None:
        started = time.monotonic()
        statement = self._wait(lambda: self._foo.get(f"/orders/{order}").body["statement"])
        seconds = time.monotonic() - started
        written = f"{seconds:.1f} s later the worker has written: {statement}"
        self._check(bool(statement), written, "no statement")

    def _wait(self, ask: Callable[[], Any]) -> Any:
        """Ask until the answer is true; return the last answer."""
        deadline = time.monotonic() + WORKER_WITHIN
        while not (answer := ask()) and time.monotonic() < deadline:
            self._service.check()
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
    name = f"brokerage-{uuid4().hex[:12]}"
    yield name
    broker = os.environ.get("DEMO_BROKER_URL")
    if broker:
        _delete_queue(broker, name)


def _delete_queue(broker: str, name: str) -> None:
    celery = Celery(broker=broker)
    celery.conf.task_default_queue = name
    with celery.connection_for_write() as connection:
        queue = celery.amqp.queues[name].bind(connection.default_channel)
        queue.declare()  # in Redis, only who has declared a queue knows all that belongs to it
        queue.delete()
        queue.exchange.delete()


def _connect(uri: URL) -> Any:
    if uri.get_backend_name() == "sqlite":
        return sqlite3.connect(str(uri.database), isolation_level=None)
    conninfo = uri.set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(conninfo, autocommit=True)
