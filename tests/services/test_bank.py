"""A bank through a worker: whatever befalls a transfer, no money is made or lost."""

from random import Random

import pytest
from celery.result import AsyncResult
from sqlalchemy import create_engine

from tests.databases import Database
from tests.services.bank_app import TROUBLES, BankBase
from tests.services.sites import site

ACCOUNTS, DEPOSIT = 6, 1000

#: How often a transfer with this trouble is committed; else never.
COMMITS = {None: 1, "retry": 1, "transient": 1, "killed before the result once": 1}
#: The same where a killed process's message comes again: at least once is all Celery says.
LATE_COMMITS = COMMITS | {"killed half-way once": 1, "killed before the result once": 2}


def open_accounts(database: Database) -> None:
    engine = create_engine(database.url)
    BankBase.metadata.create_all(engine)
    engine.dispose()
    for number in range(1, ACCOUNTS + 1):
        database.execute(f"INSERT INTO account (id, balance) VALUES ({number}, {DEPOSIT})")


def expected_balances(database: Database) -> dict[int, int]:
    """Return what the accounts must hold according to the ledger."""
    balances = dict.fromkeys(range(1, ACCOUNTS + 1), DEPOSIT)
    for source, target, amount in database.rows("SELECT source, target, amount FROM booking"):
        balances[source] -= amount
        balances[target] += amount
    return balances


@pytest.mark.parametrize("task", ["transfer", "transfer_late"])
def test_the_sum_never_changes_and_the_ledger_is_what_the_tasks_did(
    database: Database, redis_url: str, task: str
) -> None:
    open_accounts(database)
    random = Random(f"{task} {database.dialect}")
    troubles = [None] * 40 + [trouble for trouble in TROUBLES for _ in range(2)]
    random.shuffle(troubles)
    bank = site(
        database, redis_url, pool="prefork", concurrency=3, module="tests.services.bank_app"
    )
    with bank as branch:
        sent: list[tuple[AsyncResult, str | None]] = []
        for trouble in troubles:
            source, target = random.sample(range(1, ACCOUNTS + 1), 2)
            args = [source, target, random.randint(1, 20), trouble]
            sent.append((branch.client.send_task(task, args), trouble))
        for result, _ in sent:
            result.get(timeout=30, propagate=False)
            # Seen in the middle of it all:
            assert database.scalar("SELECT sum(balance) FROM account") == ACCOUNTS * DEPOSIT
        bookings = dict(database.rows("SELECT task_id, count(*) FROM booking GROUP BY task_id"))
        for result, trouble in sent:
            expected = (LATE_COMMITS if task == "transfer_late" else COMMITS).get(trouble, 0)
            commits = int(branch.redis.get(f"commits of {result.id}") or 0)
            assert (commits, bookings.pop(result.id, 0)) == (expected, expected), trouble
            lost = trouble == "killed before the result once" and task == "transfer"
            assert (result.state == "SUCCESS") == (expected > 0 and not lost), trouble
        assert bookings == {}
    assert dict(database.rows("SELECT id, balance FROM account")) == expected_balances(database)
