"""A bank over HTTP: many transfers at once, some of which fail in every way a request can."""

import http.client
import json
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from flask import abort, redirect, request
from sqlalchemy import CheckConstraint, String
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from activebase import session
from tests.flask.service import SERVERS, Service
from tests.models import Base

ACCOUNTS, OPENING, THREADS, TRANSFERS = 6, 1000, 8, 25


class Account(Base):
    __tablename__ = "bank_account"
    # Not at the column: other tests make all tables of `Base` on MariaDB, which has no names there.
    __table_args__ = (CheckConstraint("balance >= 0", name="covered"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int]


class Transfer(Base):
    """A line of the ledger."""

    __tablename__ = "bank_transfer"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    amount: Mapped[int]


class Refused(Exception):  # the bank's own
    """Answered with 402 by an errorhandler."""


class Hidden(Exception):  # the bank's own
    """Answered with 299 by an errorhandler, though nothing may be written."""


#: How a transfer may end after all its writes; each is as likely as the others.
ENDINGS = ["done"] * 4 + ["crash", "refused", "hidden", "aborted", "caught", "status", "covered"]


@pytest.fixture
def bank(service: Service) -> Iterator[Service]:
    with service.app.app_context():
        Base.metadata.create_all(service.engine)
    for number in range(ACCOUNTS):
        service.database.execute(f"INSERT INTO bank_account VALUES ({number}, {OPENING})")
    service.app.post("/transfer")(transfer)
    service.app.register_error_handler(Refused, lambda error: ("refused", 402))
    service.app.register_error_handler(Hidden, lambda error: ("hidden", 299))
    return service


def transfer() -> Any:
    order = request.get_json()
    source, target, amount = order["source"], order["target"], order["amount"]
    # In one order for all, so that no two wait for each other.
    accounts = {
        number: session.get(Account, number, with_for_update=True)
        for number in sorted((source, target))
    }
    accounts[source].update(balance=accounts[source].balance - amount)
    Transfer(id=order["id"], amount=amount).save()
    end(order)
    accounts[target].update(balance=accounts[target].balance + amount)
    if order["ending"] == "redirected":
        abort(redirect("/elsewhere"))
    return "done", 400 if order["ending"] == "status" else 200


def end(order: dict[str, Any]) -> None:
    match order["ending"]:
        case "crash":
            raise RuntimeError
        case "refused":
            raise Refused
        case "hidden":
            raise Hidden
        case "aborted":
            abort(409)
        case "covered":
            session.get(Account, order["source"]).update(balance=-1)
        case "caught":
            with suppress(IntegrityError):
                Transfer(id=order["id"], amount=0).save()


def customer(port: int, seed: int) -> tuple[set[str], list[int]]:
    """Send transfers; return the ids of those answered with success, and all statuses."""
    chance = random.Random(seed)
    done: set[str] = set()
    statuses: list[int] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for _ in range(TRANSFERS):
        source, target = chance.sample(range(ACCOUNTS), 2)
        order = {
            "id": uuid4().hex,
            "source": source,
            "target": target,
            "amount": chance.randint(1, OPENING // 2),
            "ending": chance.choice([*ENDINGS, "redirected"]),
        }
        connection.request(
            "POST", "/transfer", json.dumps(order), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        response.read()
        statuses.append(response.status)
        if response.status in (200, 302):
            done.add(order["id"])
    connection.close()
    return done, statuses


def test_keeps_the_sum_and_a_ledger_of_exactly_what_was_answered_with_success(
    bank: Service,
) -> None:
    server = SERVERS["werkzeug"]
    with server(bank.app) as port, ThreadPoolExecutor(THREADS) as pool:
        runs = list(pool.map(lambda seed: customer(port, seed), range(THREADS)))

    done = set().union(*(ids for ids, _ in runs))
    statuses = [status for _, each in runs for status in each]
    database = bank.database
    assert database.scalar("SELECT sum(balance) FROM bank_account") == ACCOUNTS * OPENING
    assert database.scalar("SELECT min(balance) FROM bank_account") >= 0
    assert {number for (number,) in database.rows("SELECT id FROM bank_transfer")} == done
    assert len(statuses) == THREADS * TRANSFERS
    assert set(statuses) >= {200, 302, 299, 400, 402, 409, 422, 500}, "all endings were met"
    assert 503 not in statuses
