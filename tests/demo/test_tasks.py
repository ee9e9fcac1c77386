"""Statements and revaluation."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from flask import Flask

from activebase import unit_of_work
from demo_app import services
from demo_app.models import Order, Portfolio, User
from demo_app.tasks import revalue_portfolios, write_statement
from tests.databases import Database
from tests.demo.conftest import Customer

Register = Callable[..., Customer]


def test_a_purchase_gets_its_statement(customer: Register) -> None:
    ada = customer("ada", deposit=1000)
    order = ada.post("/buy", symbol="IBM", quantity=2).json
    text = ada.get(f"/orders/{order['id']}").json["statement"]
    assert "ada: bought 2 IBM at 125.55 USD, 251.10 USD in all." in text


def test_an_order_that_is_rolled_back_gets_none(app: Flask, database: Database) -> None:
    @unit_of_work
    def buy_and_fail() -> None:
        user = services.register("Ada", "ada@example.com", deposit=Decimal(1000))
        services.buy(user.portfolios[0], "IBM", 1)
        raise RuntimeError("changed my mind")

    with app.app_context(), pytest.raises(RuntimeError, match="changed my mind"):
        buy_and_fail()
    for table in ("users", "orders", "statements"):
        assert database.scalar(f"SELECT count(*) FROM {table}") == 0


def test_a_statement_is_written_once_however_often_its_message_comes(
    app: Flask, customer: Register, database: Database
) -> None:
    customer("ada", deposit=1000).post("/buy", symbol="IBM", quantity=2)
    number = database.scalar("SELECT id FROM orders")
    with app.app_context():
        write_statement.delay(number)
        write_statement(number)
    assert database.scalar("SELECT count(*) FROM statements") == 1


def test_revaluation_stores_the_value_at_a_day(
    app: Flask, customer: Register, database: Database
) -> None:
    customer("ada", deposit=1000).post("/buy", symbol="IBM", quantity=2)
    with app.app_context():
        assert revalue_portfolios.delay("2000-01-31").get() == 1
        portfolio = Portfolio.query.one()
        assert (portfolio.value, portfolio.valued_on) == (Decimal("201.04"), date(2000, 1, 1))
    assert str(database.scalar("SELECT valued_on FROM portfolios")) == "2000-01-01"


def test_revaluation_takes_the_last_prices_by_default(app: Flask, customer: Register) -> None:
    customer("ada", deposit=1000).post("/buy", symbol="IBM", quantity=2)
    with app.app_context():
        revalue_portfolios.delay()
        assert Portfolio.query.one().value == Decimal("251.10")


def test_services_take_part_in_the_callers_unit(app: Flask, database: Database) -> None:
    with app.app_context(), unit_of_work():
        services.provision_user_with_key("Ada", "ada@example.com")
        assert User.query.count() == 1
        assert Order.query.count() == 0
        assert database.scalar("SELECT count(*) FROM users") == 0
    assert database.scalar("SELECT count(*) FROM users") == 1
