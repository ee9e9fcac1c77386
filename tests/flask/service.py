"""A small Flask service for each test, on each kind of session, and real servers to run it."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import waitress
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy_lite import SQLAlchemy as SQLAlchemyLite
from sqlalchemy import Engine, event
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import TestResponse

from activebase import UncommittedWritesWarning, session
from activebase.flask import ActiveBase
from activebase.scopes import current_scope
from tests.databases import Database
from tests.models import Base, Member

KINDS = ("own", "flask-sqlalchemy", "flask-sqlalchemy-lite")


@dataclass
class Service:
    """A Flask app with an ActiveBase, its database, and what the tests ask of them."""

    app: Flask
    database: Database
    extension: ActiveBase
    db: Any
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        with self.app.app_context():
            self.engine = self.extension.engine

    @property
    def session(self) -> Any:
        """The session as the app's own code would name it."""
        return self.extension.session if self.db is None else self.db.session

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client()

    def post(self, path: str = "/", **options: Any) -> TestResponse:
        """Send a request and read the answer to its end, as a server does."""
        return self.client.post(path, buffered=True, **options)

    def get(self, path: str = "/", **options: Any) -> TestResponse:
        """Send a request and read the answer to its end, as a server does."""
        return self.client.get(path, buffered=True, **options)

    def names(self) -> list[str]:
        """The names of the members that are committed."""
        return [name for (name,) in self.database.rows("SELECT name FROM member ORDER BY name")]

    @contextmanager
    def recorded(self) -> Iterator[list[str]]:
        """Note the connections that are taken from the pool and the statements that are sent."""
        seen: list[str] = []

        def checked_out(*_: object) -> None:
            seen.append("connection")

        def executed(_conn: object, _cursor: object, statement: str, *_: object) -> None:
            seen.append(statement)

        event.listen(self.engine, "checkout", checked_out)
        event.listen(self.engine, "before_cursor_execute", executed)
        try:
            yield seen
        finally:
            event.remove(self.engine, "checkout", checked_out)
            event.remove(self.engine, "before_cursor_execute", executed)


def make_app(
    database: Database,
    kind: str = "own",
    *,
    db: Any = None,
    commit_if: Callable[[Any], bool] | None = None,
    prepare: Callable[[Flask], object] = lambda app: None,
    **config: Any,
) -> Service:
    """Return a service, set up as a user would; its tables are there already or come later.

    Args:
        kind: one of `KINDS`.
        db: an extension to share with other apps; default a new one.
        commit_if: for `ActiveBase`.
        prepare: is given the app before any extension is.
        **config: Flask settings.
    """
    app = Flask("service")
    app.config.from_mapping(config)
    prepare(app)
    if kind == "own":
        app.config["ACTIVEBASE_DATABASE_URI"] = database.url
    elif kind == "flask-sqlalchemy":
        app.config["SQLALCHEMY_DATABASE_URI"] = database.url
        db = db or SQLAlchemy()
    else:
        app.config["SQLALCHEMY_ENGINES"] = {"default": database.url}
        db = db or SQLAlchemyLite()
    if db is not None:
        db.init_app(app)
    extension = ActiveBase(commit_if=commit_if) if commit_if else ActiveBase()
    extension.init_app(app, db)
    return Service(app, database, extension, db)


@contextmanager
def running(*arguments: Any, **options: Any) -> Iterator[Service]:
    """Yield the service of `make_app()`, with tables; close its connections at the end."""
    service = make_app(*arguments, **options)
    Base.metadata.create_all(service.engine)
    try:
        yield service
    finally:
        service.engine.dispose()


def saves(name: str) -> Callable[[], str]:
    """Return a view that saves a member."""

    def view() -> str:
        Member(name=name).save()
        return name

    view.__name__ = f"saves_{name}"
    return view


def assert_nothing_left(service: Service) -> None:
    """Check that no request has left its unit, session or connection behind."""
    left = {
        "scope": current_scope.get(),
        "session": session.registry.has(),
        "connections": service.engine.pool.checkedout(),  # type: ignore[attr-defined]  # QueuePool
    }
    assert left == {"scope": None, "session": False, "connections": 0}, left


@contextmanager
def warned() -> Iterator[list[str]]:
    """Collect the messages of UncommittedWritesWarning in all threads."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UncommittedWritesWarning)
        yield messages
    messages += [str(warning.message) for warning in caught]


# -- real servers ----------------------------------------------------------------------------


class _Quiet(WSGIRequestHandler):
    """Handles requests without a line on stderr for each."""

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


@contextmanager
def werkzeug_server(app: Flask) -> Iterator[int]:
    """Serve the app with a thread for each connection; yield the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def waitress_server(app: Flask, *, threads: int = 8) -> Iterator[int]:
    """Serve the app with a few threads that live on from request to request; yield the port."""
    sockets: dict[int, Any] = {}
    server: Any = waitress.create_server(
        app, map=sockets, host="127.0.0.1", port=0, threads=threads
    )
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            server.asyncore.loop(timeout=1, map=sockets, count=1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server.effective_port
    finally:
        stopping.set()
        server.pull_trigger()
        thread.join()
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(sockets)


SERVERS = {"werkzeug": werkzeug_server, "waitress": waitress_server}
