"""The demo's commands."""

from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.databases import Database


def run(app: Flask, *arguments: str) -> str:
    result = app.test_cli_runner().invoke(args=arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_loads_the_missing_prices_only(app: Flask, database: Database) -> None:
    database.execute("DELETE FROM prices WHERE symbol = 'GOOG'")
    assert run(app, "load-prices") == "68 prices loaded\n"
    assert run(app, "load-prices") == "0 prices loaded\n"
    assert database.scalar("SELECT count(*) FROM prices") == 560


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
