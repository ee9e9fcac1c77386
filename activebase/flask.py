"""The Flask boundary: one unit of work per request, committed after ``after_request``.

A request commits when its response has a status below 400 and no exception left the view. An
exception rolls back even when an ``errorhandler`` turns it into a 200.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import GeneratorType
from typing import Any, TypeVar

import flask
from flask import Blueprint, Flask, current_app, got_request_exception, has_app_context, request
from flask.globals import app_ctx, request_ctx
from sqlalchemy import Engine
from sqlalchemy.orm import scoped_session
from werkzeug.exceptions import HTTPException, InternalServerError, default_exceptions

from .errors import ActiveBaseError, AlreadyConfiguredError, NotConfiguredError
from .flask_databases import session_of
from .scopes import (
    Scope,
    SessionRegistry,
    ambient_scopes,
    ambient_stray_commits,
    check_stray_commits,
)
from .session import global_registry, registry_of
from .timing import Timing
from .unit import UnitOfWork

R = TypeVar("R")
V = TypeVar("V", bound="Callable[..., Any] | Blueprint")
_MANUAL, _READ_ONLY = "activebase_manual", "activebase_read_only"
Predicate = Callable[[flask.Response], bool]

# What a request context and an app context carry of ours. Not the environ, the request or `g`: a
# context that was copied for a thread, or made from the same environ, shares those, and is another.
_SCOPE, _TIMING, _SCOPES = "activebase_scope", "activebase_timing", "activebase_scopes"


def _is_success(response: flask.Response) -> bool:
    return response.status_code < 400


class ActiveBase:
    """The Flask extension: ``ActiveBase(app)``, ``ActiveBase(app, db)``, or `init_app()` later.

    Args:
        app: the app; see `init_app()`.
        db: a Flask-SQLAlchemy or Flask-SQLAlchemy-Lite object.
        commit_if: tells by the response whether to commit; default: its status is below 400.
    """

    def __init__(
        self, app: Flask | None = None, db: Any = None, *, commit_if: Predicate = _is_success
    ) -> None:
        self._commit_if = commit_if
        if app is not None:
            self.init_app(app, db)

    def init_app(self, app: Flask, db: Any = None) -> None:
        """Give the app its boundary.

        The database is that of ``db``, or of the Flask-SQLAlchemy that the app has already; else
        ``ACTIVEBASE_DATABASE_URI`` or ``SQLALCHEMY_DATABASE_URI``; else what `configure()` sets up.

        Effect: none in the database.
        Raises:
            AlreadyConfiguredError: the app has an ActiveBase.
            NotConfiguredError: ``db`` was not given this app; the URL can't be read.
        """
        if "activebase" in app.extensions:
            raise AlreadyConfiguredError(
                f"ActiveBase is set up on the app {app.name!r} already. Make one ActiveBase and "
                "call init_app() once for each app."
            )
        app.config.setdefault("ACTIVEBASE_PROBLEM_DETAILS", True)
        app.config.setdefault("ACTIVEBASE_READ_ONLY_METHODS", frozenset())
        scoped = session_of(app, app.extensions.get("sqlalchemy") if db is None else db)
        if "ACTIVEBASE_STRAY_COMMITS" in app.config:
            check_stray_commits(app.config["ACTIVEBASE_STRAY_COMMITS"])
        app.extensions["activebase"] = _Boundary(app, scoped, self._commit_if)

    @property
    def session(self) -> scoped_session[Any]:
        """The scoped session of the current app."""
        return _boundary_of_current_app().scoped

    @property
    def engine(self) -> Engine:
        """The engine of the current app's session."""
        bind = _boundary_of_current_app().scoped.get_bind()
        return bind if isinstance(bind, Engine) else bind.engine


def manual_commit(view: V) -> V:
    """Mark a view, or a whole blueprint, that commits by itself, as Flask-Admin does.

    It gets a session of its own; what it does not commit is rolled back, with a warning.
    """
    setattr(view, _MANUAL, True)
    return view


def read_only_view(view: V) -> V:
    """Mark a view, or a whole blueprint, whose unit refuses writes."""
    setattr(view, _READ_ONLY, True)
    return view


class _Boundary:
    """What one app does around each of its requests.

    A request passes `begin` (before all else), `_undoing` (around the view and what comes before
    it), `finish` (around all that comes after it) and `tear_down`, in this order.
    """

    def __init__(self, app: Flask, scoped: scoped_session[Any], commit_if: Predicate) -> None:
        self.scoped = scoped
        self.registry = registry_of(scoped)
        self._app = app
        self._has_db = "sqlalchemy" in app.extensions
        self._commit_if = commit_if
        self._marks: dict[tuple[str | None, str], tuple[bool, bool]] = {}
        self._handle_user_exception = app.handle_user_exception
        self._handle_exception = app.handle_exception
        # What leaves a view, or a function before it, is seen here before a handler, the app's or
        # that of an extension which has replaced handle_user_exception, makes an answer of it.
        app.preprocess_request = self._undoing(app.preprocess_request)  # type: ignore[method-assign]
        app.dispatch_request = self._undoing(app.dispatch_request)  # type: ignore[method-assign]
        app.handle_user_exception = self.handle_user_exception  # type: ignore[method-assign]
        app.handle_exception = self.handle_exception  # type: ignore[method-assign]
        # First of all that runs for a request, so that what comes before the view may load records.
        app.url_value_preprocessors.setdefault(None, []).insert(0, self.begin)
        self._process_response = app.process_response
        app.process_response = self.finish  # type: ignore[method-assign]
        # Around all teardown functions: one of them may raise, and the rest are not called then.
        self._do_teardown_request = app.do_teardown_request
        app.do_teardown_request = self.tear_down  # type: ignore[method-assign]
        self._do_teardown_appcontext = app.do_teardown_appcontext
        app.do_teardown_appcontext = self.tear_down_context  # type: ignore[method-assign]

    def begin(self, endpoint: str | None, values: dict[str, Any] | None) -> None:
        """Open the unit of the request."""
        context = _context()
        marks = vars(context)
        if _SCOPE in marks:
            return
        if "sqlalchemy" in self._app.extensions and not self._has_db:
            raise NotConfiguredError(
                "Flask-SQLAlchemy was set up after ActiveBase: its session would have no boundary. "
                "Call db.init_app(app) before ActiveBase(app)."
            )
        if self._app.debug:
            marks[_TIMING] = Timing.start()
        method = context.request.method
        is_manual, is_read_only = self._marks_of(endpoint, method)
        if is_manual:
            scope = Scope(self.registry)
            scope.enter()
        else:
            scope = UnitOfWork.begin(
                session=self.scoped,
                read_only=is_read_only
                or method in self._app.config["ACTIVEBASE_READ_ONLY_METHODS"],
                name=f"{method} {context.request.path}",
            )
        marks[_SCOPE] = scope

    def finish(self, response: flask.Response) -> flask.Response:
        """Apply the after_request functions, then end the unit: commit on success, else roll back.

        Around them all, and the session cookie, not one of them: whichever of them fails, and in
        whichever order they were registered, nothing is committed yet. Flask calls it again for a
        500, and we for a commit that failed: then the unit has ended.
        """
        response = self._process_response(response)
        marks = vars(_context())
        scope = marks.get(_SCOPE)
        unit = scope if isinstance(scope, UnitOfWork) else None
        if unit is not None and unit.state == "open":
            if self._commit_if(response):
                try:
                    unit.commit()
                except Exception as error:
                    # A new answer, made as if the view had raised.
                    answer = self._app.make_response(self.handle_user_exception(error))
                    response = self._process_response(answer)
            else:
                unit.rollback()
        if unit is not None:
            _watch_body(response, unit)
        if timing := marks.pop(_TIMING, None):
            outcome = "manual" if unit is None else unit.state
            timing.tell(response, _request_name(), outcome, log=self._app.logger)
        return response

    def tear_down(self, *args: Any, **kwargs: Any) -> None:
        """Roll back what is open and close the session, when all teardown functions have run.

        May be called twice, and in a thread that has copied the context, which owns no scope.
        """
        scope = vars(_context()).pop(_SCOPE, None)
        try:
            self._do_teardown_request(*args, **kwargs)
        finally:
            if isinstance(scope, UnitOfWork):
                scope.close()
            elif scope is not None:
                try:
                    scope.end(_request_name())
                finally:
                    scope.leave()

    def _undoing(self, function: Callable[[], R]) -> Callable[[], R]:
        def run() -> R:
            try:
                return function()
            except Exception as error:
                unit = _unit_of_request()
                if unit is not None and not _is_answer(error):
                    unit.rollback()
                raise

        return run

    def tear_down_context(self, *args: Any, **kwargs: Any) -> None:
        """Close the sessions of an app context, when all teardown functions have run."""
        context = app_ctx._get_current_object()  # type: ignore[attr-defined]  # of a LocalProxy
        try:
            self._do_teardown_appcontext(*args, **kwargs)
        finally:
            for scope in vars(context).pop(_SCOPES, {}).values():
                scope.end(f"the app context of {self._app.name!r}")

    def handle_user_exception(self, e: Exception) -> Any:
        """Let the app answer; ours is the last resort for errors of ours."""
        is_ours = isinstance(e, ActiveBaseError) and e.status is not None
        if not is_ours or not self._app.config["ACTIVEBASE_PROBLEM_DETAILS"] or self._handles(e):
            return self._handle_user_exception(e)
        return self._problem(e)

    def _handles(self, error: Exception) -> bool:
        # Only this tells a handler that answers with the very exception from no handler at all.
        return self._app._find_error_handler(error, request.blueprints) is not None

    def handle_exception(self, e: Exception) -> flask.Response:
        """Roll back: an after_request function raised, or a handler."""
        unit = _unit_of_request()
        if unit is not None:
            unit.rollback()
        return self._handle_exception(e)

    def _problem(self, error: Any) -> Any:
        """Answer with RFC 9457 problem details, unless the app has a handler for the status."""
        status: int = error.status
        if status == 500:
            http: HTTPException = InternalServerError(original_exception=error)
        else:
            http = default_exceptions[status](str(error) if status < 500 else None)
        http.__cause__ = error
        if status >= 500:
            got_request_exception.send(
                self._app, _async_wrapper=self._app.ensure_sync, exception=error
            )
            self._app.log_exception((type(error), error, error.__traceback__))
        if self._handles(http):
            return self._app.handle_http_exception(http)
        problem = {"type": "about:blank", "title": http.name, "status": status}
        if status < 500:
            problem["detail"] = str(error)
        response = self._app.json.response(problem)
        response.status_code = status
        response.mimetype = "application/problem+json"
        return response

    def _marks_of(self, endpoint: str | None, method: str) -> tuple[bool, bool]:
        """Tell whether a view is marked `manual_commit` and `read_only_view`; found out once."""
        marks = self._marks.get((endpoint, method))
        if marks is None:
            marks = self._is_marked(endpoint, _MANUAL), self._is_marked(endpoint, _READ_ONLY)
            self._marks[endpoint, method] = marks
        return marks

    def _is_marked(self, endpoint: str | None, mark: str) -> bool:
        view = self._app.view_functions.get(endpoint) if endpoint else None
        if view is None:
            return False
        view_class = getattr(view, "view_class", None)
        method = getattr(view_class, request.method.lower(), None)
        blueprints = (self._app.blueprints.get(name) for name in request.blueprints)
        return any(hasattr(each, mark) for each in (view, view_class, method, *blueprints))


def _watch_body(response: flask.Response, unit: UnitOfWork) -> None:
    """Have writes refused in what is run for the response after the unit's end."""
    if getattr(response, "_on_close", True):  # most have none; there is no public name
        response.close = partial(_close_response, unit, response)  # type: ignore[method-assign]
    is_generator = isinstance(response.response, GeneratorType)
    if response.is_streamed and (is_generator or not response.direct_passthrough):
        response.response = _Streamed(response.response, unit)


class _Streamed:
    """A streamed body: the unit, ended, is current while it is made, so writes are refused."""

    def __init__(self, chunks: Any, unit: UnitOfWork) -> None:
        self._chunks: Iterator[Any] = iter(chunks)
        self._close = getattr(chunks, "close", None)
        self._unit = unit

    def __iter__(self) -> _Streamed:
        return self

    def __next__(self) -> Any:
        try:
            with self._unit.aftermath():
                return next(self._chunks)
        except BaseException:  # the end of the body is one
            self._unit.release()
            raise

    def close(self) -> None:
        try:
            if self._close is not None:
                with self._unit.aftermath():
                    self._close()
        finally:
            self._unit.release()

    def __del__(self) -> None:
        self._unit.release()


def _close_response(unit: UnitOfWork, response: flask.Response) -> None:
    """Close a response; what its `call_on_close()` functions write is refused, too."""
    del response.close  # this function, so that nothing refers to itself
    try:
        with unit.aftermath():
            response.close()
    finally:
        unit.release()


def _request_name() -> str:
    return f"{request.method} {request.path}"


def _context() -> Any:
    return request_ctx._get_current_object()  # type: ignore[attr-defined]  # of a LocalProxy


def _unit_of_request() -> UnitOfWork | None:
    scope = vars(_context()).get(_SCOPE)
    return scope if isinstance(scope, UnitOfWork) else None


def _is_answer(error: Exception) -> bool:
    """Tell whether the exception is a response below 400, as of ``abort(redirect(...))``."""
    if not isinstance(error, HTTPException):
        return False
    status = error.response.status_code if error.response is not None else error.code
    return status is not None and status < 400


# -- app contexts ----------------------------------------------------------------------------


def _boundary_of_current_app() -> _Boundary:
    boundary = current_app.extensions.get("activebase")
    if not isinstance(boundary, _Boundary):
        raise NotConfiguredError(
            f"The app {current_app.name!r} has no ActiveBase. Call ActiveBase(app) when it is made."
        )
    return boundary


def _registry_of_current_app() -> SessionRegistry | None:
    boundary = current_app.extensions.get("activebase") if has_app_context() else None
    return None if boundary is None else boundary.registry


def _scope_of_app_context(registry: SessionRegistry, *, make: bool) -> Scope | None:
    """Return the scope that the app context is for a registry, where the app has an ActiveBase."""
    if not has_app_context() or "activebase" not in current_app.extensions:
        return None
    context = app_ctx._get_current_object()  # type: ignore[attr-defined]  # of a LocalProxy
    scopes: dict[SessionRegistry, Scope] = vars(context).setdefault(_SCOPES, {})
    if make and registry not in scopes:
        scopes[registry] = Scope(registry)
    return scopes.get(registry)


def _stray_commits_of_app() -> str | None:
    return current_app.config.get("ACTIVEBASE_STRAY_COMMITS") if has_app_context() else None


global_registry.current_app_registry = _registry_of_current_app
ambient_scopes.append(_scope_of_app_context)
ambient_stray_commits.append(_stray_commits_of_app)
