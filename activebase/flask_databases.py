"""Which session the requests of a Flask app work in: its own, or that of Flask-SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, current_app, has_app_context
from sqlalchemy import Engine
from sqlalchemy.orm import scoped_session, sessionmaker

from .base import MyBase
from .engines import instrument, make_engine
from .errors import NotConfiguredError
from .query import QueryProperty
from .session import adopt, global_registry, make_scoped_session, registry_of
from .session import session as global_session


def session_of(app: Flask, db: Any) -> scoped_session[Any]:
    """Return the scoped session of an app; see `ActiveBase.init_app()`."""
    if db is not None:
        return _session_of_extension(app, db)
    uri = app.config.get("ACTIVEBASE_DATABASE_URI") or app.config.get("SQLALCHEMY_DATABASE_URI")
    if uri is None:
        return global_session
    options = app.config.get("ACTIVEBASE_ENGINE_OPTIONS", {})
    factory = sessionmaker(make_engine(uri, **options), expire_on_commit=False)
    scoped = make_scoped_session(factory)
    global_registry.follow(registry_of(scoped), until_configured=False)
    return scoped


def _session_of_extension(app: Flask, db: Any) -> scoped_session[Any]:
    if app.extensions.get("sqlalchemy") != db:
        raise NotConfiguredError(
            f"The db given to ActiveBase is not set up on the app {app.name!r}. Call "
            "db.init_app(app) first."
        )
    if hasattr(db, "Model"):
        scoped = _adopt_flask_sqlalchemy(app, db)
    elif hasattr(db, "get_session"):
        scoped = _adopt_flask_sqlalchemy_lite(app, db)
    else:
        raise TypeError(
            "ActiveBase(app, db) takes a Flask-SQLAlchemy or Flask-SQLAlchemy-Lite object, got "
            f"{type(db).__name__}."
        )
    with app.app_context():
        engines: list[Engine] = list(db.engines.values())
    for engine in engines:
        instrument(engine)
    global_registry.follow(registry_of(scoped), until_configured=True)
    return scoped


def _adopt_flask_sqlalchemy(app: Flask, db: Any) -> scoped_session[Any]:
    scoped: scoped_session[Any] = db.session
    adopt(scoped, keep_scopes=False)
    # Its own teardown removes the session at the end of any app context, also of one inside a
    # unit; ours ends what belongs to the context.
    functions = app.teardown_appcontext_funcs
    functions[:] = [function for function in functions if _owner(function) is not db]
    db.Model.query = QueryProperty()
    if issubclass(db.Model, MyBase):
        db.Model.__repr__ = MyBase.__repr__
        if db.Model.session is global_session:
            db.Model.session = scoped
    return scoped


def _owner(function: Callable[..., Any]) -> object:
    return getattr(function, "__self__", None)


def _adopt_flask_sqlalchemy_lite(app: Flask, db: Any) -> scoped_session[Any]:
    with app.app_context():
        scoped = make_scoped_session(db.sessionmaker)
    theirs = db.get_session
    if not hasattr(theirs, "activebase"):

        def get_session(name: str = "default") -> Any:
            boundary = current_app.extensions.get("activebase") if has_app_context() else None
            return theirs(name) if boundary is None or name != "default" else boundary.scoped()

        get_session.activebase = True  # type: ignore[attr-defined]  # so that it is done once
        db.get_session = get_session  # what db.session calls
    return scoped
