"""The demo's HTTP API: what is answered, and what a second connection sees."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from demo_app.check import BAD_BODIES, TRADING
from demo_app.database import db
from tests.databases import Database
from tests.demo.conftest import Customer

Register = Callable[..., Customer]


def everything(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    tables = (*TRADING, "statements")
    return {table: database.rows(f"SELECT * FROM {table} ORDER BY id") for table in tables}


@contextmanager
def counted_statements(app: Flask) -> Iterator[list[str]]:
    statements: list[str] = []

    def count(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        statements.append(statement)

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", count)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", count)


def test_registers_a_user_with_account_portfolio_and_key(
    client: FlaskClient, database: Database
) -> None:
    answer = client.post(
        "/register", json={"name": "Ada", "email": "Ada@Example.com", "deposit": "12.50"}
    )
    assert answer.status_code == 201
    assert answer.json["user"]["email"] == "ada@example.com"
    assert len(answer.json["token"]) >= 32
    assert database.rows("SELECT name, email FROM users") == [("Ada", "ada@example.com")]
    for table in ("accounts", "portfolios", "api_keys"):
        assert database.scalar(f"SELECT count(*) FROM {table}") == 1


def test_refuses_an_email_that_is_taken(client: FlaskClient, database: Database) -> None:
    body = {"name": "Ada", "email": "ada@example.com"}
    assert client.post("/register", json=body).status_code == 201
    answer = client.post("/register", json=body)
    assert answer.status_code == 409
    assert answer.mimetype == "application/problem+json"
    assert database.scalar("SELECT count(*) FROM users") == 1


def test_leaves_no_user_behind_when_the_account_is_refused(
    client: FlaskClient, database: Database
) -> None:
    body = {"name": "Ada", "email": "ada@example.com", "deposit": 2, "cash_limit": 1}
    answer = client.post("/register", json=body)
    assert answer.status_code == 422
    assert "ck_accounts_balance_within_limit" in answer.text
    assert database.scalar("SELECT count(*) FROM users") == 0


@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer x", "Bearer ü", "Basic YTpi", "Bearer " + "a" * 5000]
)
def test_answers_401_without_a_valid_key(client: FlaskClient, header: str | None) -> None:
    answer = client.get("/users", headers={"Authorization": header} if header else {})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_logs_in_by_api_key(customer: Register) -> None:
    answer = customer("ada", deposit=5).post("/login").json
    assert answer["user"]["email"] == "ada@example.com"
    assert answer["account"]["balance"] == "5.00"
    assert [portfolio["name"] for portfolio in answer["portfolios"]] == ["Main"]


def test_lists_users_with_keys_in_as_many_statements_for_many_as_for_few(
    app: Flask, customer: Register
) -> None:
    ada = customer("ada")
    with counted_statements(app) as few:
        ada.get("/users")
    for number in range(5):
        customer(f"user{number}")
    with counted_statements(app) as many:
        answer = ada.get("/users")
    assert len(answer.json["users"]) == 6
    assert all(len(user["keys"]) == 1 for user in answer.json["users"])
    assert len(many) == len(few)


def test_shows_no_token_in_the_list_of_users(customer: Register) -> None:
    ada = customer("ada")
    token = ada.headers["Authorization"].removeprefix("Bearer ")
    assert token not in ada.get("/users").text


def test_lists_users_page_by_page_with_cursors(customer: Register) -> None:
    ada = customer("ada")
    for name in ("ben", "cem", "dan"):
        customer(name)
    seen: list[str] = []
    after = ""
    while True:
        page = ada.get(f"/users?order=-name&limit=3{after}").json
        seen += [user["name"] for user in page["users"]]
        if page["next"] is None:
            break
        customer(f"new{len(seen)}")  # before the page in this order, so that none is shown twice
        after = f"&after={page['next']}"
    assert seen == ["dan", "cem", "ben", "ada"]
    back = ada.get(f"/users?order=-name&limit=3&before={page['previous']}").json
    assert [user["name"] for user in back["users"]] == ["dan", "cem", "ben"]


def test_lists_users_page_by_page_with_numbers(customer: Register) -> None:
    ada = customer("ada")
    for name in ("ben", "cem"):
        customer(name)
    answer = ada.get("/users?page=2&per_page=2&order=name").json
    assert [user["name"] for user in answer.pop("users")] == ["cem"]
    assert answer == {"page": 2, "pages": 2, "total": 3}


def test_lists_users_by_filters(customer: Register) -> None:
    ada, ben = customer("ada"), customer("ben", deposit=1000)
    ben.post("/buy", symbol="IBM", quantity=1)
    ben.post("/buy", symbol="MSFT", quantity=1)

    def names(query: str) -> list[str]:
        return [user["name"] for user in ada.get(f"/users?{query}").json["users"]]

    assert names("name__icontains=B") == ["ben"]
    assert names("email__iexact=ADA@example.com") == ["ada"]
    assert names("portfolios__investments__symbol__in=IBM,MSFT") == ["ben"]
    assert names("created_at__gte=2999-01-01") == []


@pytest.mark.parametrize(
    "query",
    [
        "after=x",
        "page=0",
        "page=one",
        "page=1&after=x",
        "limit=-1",
        "order=token",
        "order=--name",
        "created_at__gte=soon",
        "account__balance__gte=1",
        "api_keys__token__startswith=a",
        "name__icontains=%00",
    ],
)
def test_refuses_a_list_that_it_does_not_offer(customer: Register, query: str) -> None:
    ada = customer("ada")
    for path in ("/users", "/orders"):
        answer = ada.get(f"{path}?{query}")
        assert answer.status_code == 400, answer.text
        assert answer.mimetype == "application/problem+json"


def test_refuses_the_cursor_of_another_list(customer: Register) -> None:
    ada = customer("ada")
    customer("ben")
    cursor = ada.get("/users?limit=1").json["next"]
    assert ada.get(f"/users?limit=1&after={cursor}").status_code == 200
    assert ada.get(f"/users?limit=1&order=name&after={cursor}").status_code == 400
    assert ada.get(f"/orders?after={cursor}").status_code == 400


def test_buys_at_the_latest_price(customer: Register, database: Database) -> None:
    ada = customer("ada", deposit=1000)
    answer = ada.post("/buy", symbol="ibm", quantity=3)
    assert answer.status_code == 201
    assert answer.json["price"] == "125.55"
    assert answer.json["total"] == "376.65"
    assert ada.balance == "623.35"
    assert database.rows("SELECT side, symbol, quantity FROM orders") == [("buy", "IBM", 3)]
    assert database.rows("SELECT symbol, quantity FROM investments") == [("IBM", 3)]


def test_adds_to_an_investment_that_is_there(customer: Register, database: Database) -> None:
    ada = customer("ada", deposit=1000)
    ada.post("/buy", symbol="IBM", quantity=3)
    ada.post("/buy", symbol="IBM", quantity=2)
    assert database.rows("SELECT symbol, quantity FROM investments") == [("IBM", 5)]


def test_shows_a_portfolio_with_values(customer: Register) -> None:
    ada = customer("ada", deposit=1000)
    ada.post("/buy", symbol="IBM", quantity=2)
    ada.post("/buy", symbol="MSFT", quantity=1)
    assert [
        (item["symbol"], item["quantity"], item["value"]) for item in ada.portfolio["investments"]
    ] == [("IBM", 2, "251.10"), ("MSFT", 1, "28.80")]
    assert ada.portfolio["worth"] == "279.90"


def test_refuses_a_purchase_that_the_account_cannot_pay(
    customer: Register, database: Database
) -> None:
    ada = customer("ada", deposit=100)
    before = everything(database)
    answer = ada.post("/buy", symbol="IBM", quantity=1)
    assert answer.status_code == 409
    assert "the account holds 100.00 USD" in answer.json["detail"]
    assert everything(database) == before


def test_liquidates_an_investment_and_pays_it_out(customer: Register, database: Database) -> None:
    ada = customer("ada", deposit=1000)
    ada.post("/buy", symbol="IBM", quantity=3)
    (investment,) = ada.portfolio["investments"]
    answer = ada.post("/liquidate-investment", investment_id=investment["id"])
    assert answer.status_code == 200
    assert answer.json["balance"] == ada.balance == "1000.00"
    assert database.scalar("SELECT count(*) FROM investments") == 0
    assert database.rows("SELECT side FROM orders ORDER BY id") == [("buy",), ("sell",)]


def test_undoes_a_liquidation_whose_second_step_fails(
    customer: Register, database: Database
) -> None:
    ada, full = customer("ada", deposit=1000), customer("full", deposit=1000, cash_limit=1000)
    full.post("/buy", symbol="IBM", quantity=5)
    assert ada.post("/transfer", to=full.email, amount=500).status_code == 201
    (investment,) = full.portfolio["investments"]
    before = everything(database)
    answer = full.post("/liquidate-investment", investment_id=investment["id"])
    assert answer.status_code == 422
    assert everything(database) == before


def test_nobody_sees_or_sells_what_belongs_to_somebody_else(customer: Register) -> None:
    ada, eve = customer("ada", deposit=1000), customer("eve", deposit=1000)
    order = ada.post("/buy", symbol="IBM", quantity=1).json
    (investment,) = ada.portfolio["investments"]
    assert eve.get(f"/orders/{order['id']}").status_code == 404
    assert eve.get(f"/portfolios/{order['portfolio_id']}").status_code == 404
    answer = eve.post("/liquidate-investment", investment_id=investment["id"])
    assert answer.status_code == 404
    answer = eve.post("/buy", symbol="IBM", quantity=1, portfolio_id=order["portfolio_id"])
    assert answer.status_code == 404


def test_transfers_cash(customer: Register, database: Database) -> None:
    ada, ben = customer("ada", deposit=100), customer("ben")
    answer = ada.post("/transfer", to=ben.email, amount="30.25")
    assert answer.status_code == 201
    assert (ada.balance, ben.balance) == ("69.75", "30.25")
    assert database.scalar("SELECT count(*) FROM transfers") == 1


@pytest.mark.parametrize(
    ("to", "amount", "status"),
    [
        ("ben@example.com", "100.01", 409),
        ("ada@example.com", "1", 409),
        ("full@example.com", "1", 422),
        ("nobody@example.com", "1", 404),
    ],
)
def test_refuses_a_transfer_as_a_whole(
    customer: Register, database: Database, to: str, amount: str, status: int
) -> None:
    ada = customer("ada", deposit=100)
    customer("ben")
    customer("full", deposit=10, cash_limit=10)
    before = everything(database)
    assert ada.post("/transfer", to=to, amount=amount).status_code == status
    assert everything(database) == before


def test_answers_bad_input_with_4xx_and_writes_nothing(
    client: FlaskClient, customer: Register, database: Database
) -> None:
    ada = customer("user1", deposit=1000)
    before = everything(database)
    statuses = {
        body[:60]: client.post(path, data=body, headers=ada.headers).status_code
        for path, body in BAD_BODIES
    }
    assert {body: status for body, status in statuses.items() if not 400 <= status < 500} == {}
    assert everything(database) == before


@pytest.mark.parametrize("path", ["/orders/0", "/orders/99999999999999999999", "/portfolios/7"])
def test_answers_404_for_what_is_not_there(customer: Register, path: str) -> None:
    assert customer("ada").get(path).status_code == 404


def test_takes_names_of_all_scripts(client: FlaskClient, database: Database) -> None:
    name = "Ελένη 山田 👩‍🔬"
    client.post("/register", json={"name": name, "email": "ελένη@παράδειγμα.example"})
    assert database.scalar("SELECT name FROM users") == name


def test_page_lists_portfolios_with_values(client: FlaskClient, customer: Register) -> None:
    ada = customer("<b>ada</b>".replace("/", ""), deposit=1000)
    ada.post("/buy", symbol="IBM", quantity=2)
    page = client.get("/").text
    assert "251.10" in page
    assert "748.90" in page
    assert "<b>ada" not in page


def test_page_takes_as_many_statements_for_many_portfolios_as_for_few(
    app: Flask, client: FlaskClient, customer: Register
) -> None:
    customer("ada", deposit=1000).post("/buy", symbol="IBM", quantity=1)
    with counted_statements(app) as few:
        client.get("/")
    for number in range(4):
        customer(f"user{number}", deposit=1000).post("/buy", symbol="IBM", quantity=1)
    with counted_statements(app) as many:
        client.get("/")
    assert len(many) == len(few)


def test_parallel_purchases_never_spend_more_than_there_is(customer: Register) -> None:
    ada = customer("ada", deposit=300)
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(lambda _: ada.post("/buy", symbol="IBM", quantity=1), range(6))
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [201, 201, 409, 409, 409, 409]
    assert ada.balance == "48.90"
    assert ada.portfolio["investments"][0]["quantity"] == 2


def test_parallel_liquidations_pay_once(customer: Register) -> None:
    ada = customer("ada", deposit=300)
    ada.post("/buy", symbol="IBM", quantity=2)
    number = ada.portfolio["investments"][0]["id"]
    with ThreadPoolExecutor(4) as pool:
        answers = pool.map(
            lambda _: ada.post("/liquidate-investment", investment_id=number), range(4)
        )
        statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 404, 404, 404]
    assert ada.balance == "300.00"


def test_parallel_transfers_keep_the_sum_and_never_deadlock(
    customer: Register, database: Database
) -> None:
    ada, ben = customer("ada", deposit=50), customer("ben", deposit=50)
    with ThreadPoolExecutor(6) as pool:
        answers = pool.map(
            lambda turn: (
                ada.post("/transfer", to=ben.email, amount=7)
                if turn % 2
                else ben.post("/transfer", to=ada.email, amount=11)
            ),
            range(24),
        )
        statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 409}
    assert float(ada.balance) + float(ben.balance) == 100
    assert database.scalar("SELECT count(*) FROM transfers") == statuses.count(201)
