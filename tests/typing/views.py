"""Samples of the Flask extension; they are checked, and not run."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Flask, Response
from sqlalchemy import Engine
from sqlalchemy.orm import scoped_session

from activebase.flask import ActiveBase, manual_commit, read_only_view
from tests.typing.holds import assert_type
from tests.typing.models import User

extension = ActiveBase()


def make_app() -> Flask:
    app = Flask("sample")
    extension.init_app(app)
    return app


def extensions(app: Flask, db: object) -> None:
    ActiveBase(app)
    ActiveBase(app, db)
    ActiveBase(app, commit_if=lambda response: response.status_code < 500)
    ActiveBase(commit_if=is_fine).init_app(app, db)
    assert_type(extension.session, scoped_session[Any])
    assert_type(extension.engine, Engine)


def is_fine(response: Response) -> bool:
    return response.status_code == 200


def views(app: Flask) -> None:
    @app.get("/users/<int:pk>")
    @read_only_view
    def show(pk: int) -> dict[str, Any]:
        return User.get_or_404(pk).to_dict()

    @app.post("/users")
    @manual_commit
    def add() -> str:
        return User.create(name="x").name

    assert_type(show(1), dict[str, Any])
    assert_type(add(), str)
    assert_type(manual_commit(Blueprint("admin", __name__)), Blueprint)
