"""The demo service on a fresh database, with tasks that run at once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from activebase import unit_of_work
from demo_app import create_app
from demo_app.cli import read_prices
from demo_app.database import db
from demo_app.models import Price
from tests.databases import Database

EAGER = {"broker_url": "memory://", "task_always_eager": True, "task_eager_propagates": True}


@pytest.fixture
def app(database: Database) -> Iterator[Flask]:
    """The service with tables and prices, without users."""
    app = create_app({"SQLALCHEMY_DATABASE_URI": database.url, "CELERY": EAGER})
    with app.app_context():
        db.create_all()
        with unit_of_work():
            Price.bulk_create(read_prices())
    yield app
    with app.app_context():
        db.engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without an api key."""
    return app.test_client()


class Customer:
    """A registered user, over HTTP."""

    def __init__(self, app: Flask, name: str, fields: dict[str, Any]) -> None:
        self._client = app.test_client()
        self.email = f"{name}@example.com"
        body = {"name": name, "email": self.email} | fields
        answer = self._client.post("/register", json=body)
        assert answer.status_code == 201, answer.text
        self.headers = {"Authorization": f"Bearer {answer.json['token']}"}

    def get(self, path: str) -> Any:
        return self._client.get(path, headers=self.headers)

    def post(self, path: str, **fields: Any) -> Any:
        return self._client.post(path, json=fields, headers=self.headers)

    @property
    def balance(self) -> str:
        return str(self.post("/login").json["account"]["balance"])

    @property
    def portfolio(self) -> Any:
        number = self.post("/login").json["portfolios"][0]["id"]
        return self.get(f"/portfolios/{number}").json


@pytest.fixture
def customer(app: Flask) -> Callable[..., Customer]:
    """A function that registers a user: customer("ada", deposit=1000)."""

    def register(name: str, **fields: Any) -> Customer:
        return Customer(app, name, fields)

    return register
