"""The demo's commands."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.databases import Database
from tests.demo.conftest import Customer


def run(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_loads_missing_prices_and_corrects_the_others(app: Flask, database: Database) -> None:
    before = database.rows("SELECT id, symbol, date, price FROM prices WHERE symbol <> 'GOOG'")
    database.execute("DELETE FROM prices WHERE symbol = 'GOOG'")
    database.execute("UPDATE prices SET price = 1 WHERE symbol = 'IBM'")
    assert run(app, "load-prices") == "560 prices loaded\n"
    assert run(app, "load-prices") == "560 prices loaded\n"
    after = database.rows("SELECT id, symbol, date, price FROM prices WHERE symbol <> 'GOOG'")
    assert sorted(after) == sorted(before)
    assert database.scalar("SELECT count(*) FROM prices") == 560


def test_imports_orders_in_bulk_and_none_of_them_twice(
    app: Flask, customer: Callable[..., Customer], database: Database
) -> None:
    ada = customer("ada")
    balance = ada.balance
    assert run(app, "import-orders", ada.email) == "560 orders imported\n"
    first = database.rows("SELECT id, reference FROM orders ORDER BY id")
    assert run(app, "import-orders", ada.email, "--monthly", "3") == "560 orders imported\n"
    assert database.rows("SELECT id, reference FROM orders ORDER BY id") == first
    assert database.rows("SELECT DISTINCT quantity FROM orders") == [(3,)]
    assert ada.balance == balance
    found = ada.get("/orders?symbol=IBM&created_at__year=2004&order=-created_at&limit=5").json
    assert [order["created_at"][:7] for order in found["orders"]] == [
        f"2004-{month:02}" for month in (12, 11, 10, 9, 8)
    ]


def test_seeds_users_who_have_traded_along_the_prices(
    app: Flask, client: FlaskClient, database: Database
) -> None:
    run(app, "seed", "--users", "3")
    assert database.scalar("SELECT count(*) FROM users") == 3
    assert database.scalar("SELECT count(*) FROM orders WHERE side = 'buy'") > 200
    assert database.scalar("SELECT count(*) FROM orders WHERE side = 'sell'") > 3
    assert database.scalar("SELECT count(*) FROM statements") == database.scalar(
        "SELECT count(*) FROM orders"
    )
    assert database.scalar("SELECT min(balance) FROM accounts") >= 0
    assert "Ben Lindqvist" in client.get("/").text


def test_seeding_again_does_nothing(app: Flask, database: Database) -> None:
    run(app, "seed", "--users", "1")
    orders = database.scalar("SELECT count(*) FROM orders")
    assert "nothing seeded" in run(app, "seed")
    assert database.scalar("SELECT count(*) FROM orders") == orders


def test_a_seed_that_fails_leaves_nothing(
    app: Flask, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("the last step fails")

    monkeypatch.setattr("demo_app.market.revalue_portfolios", fail)
    result = app.test_cli_runner().invoke(args=["seed", "--users", "1"])
    assert str(result.exception) == "the last step fails"
    for table in ("users", "orders", "statements"):
        assert database.scalar(f"SELECT count(*) FROM {table}") == 0


def test_has_the_worker_revalue(app: Flask, database: Database) -> None:
    run(app, "seed", "--users", "1")
    run(app, "revalue", "--day", "2005-06-15")
    assert str(database.scalar("SELECT valued_on FROM portfolios")) == "2005-06-01"


def test_has_the_worker_write_the_statements_that_are_missing(
    app: Flask, database: Database
) -> None:
    run(app, "seed", "--users", "1")
    before = database.rows("SELECT order_id, text FROM statements ORDER BY order_id")
    database.execute("DELETE FROM statements WHERE order_id <= 3")
    assert run(app, "write-statements") == "the worker will write 3 statements\n"
    assert database.rows("SELECT order_id, text FROM statements ORDER BY order_id") == before


def test_seeds_the_same_figures_at_every_run(app: Flask, client: FlaskClient) -> None:
    run(app, "seed", "--users", "2")
    page = client.get("/").text
    assert "185,313.57" in page
