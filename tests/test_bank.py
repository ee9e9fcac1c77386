"""A bank: threads that transfer at random, failing at random. Money is neither made nor lost."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import CheckConstraint, Engine, String, func, select, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import (
    CheckViolation,
    MyBase,
    UnitOfWorkError,
    atomic,
    configure,
    on_commit,
    read_only,
    session,
    unit_of_work,
)
from tests.core import Undone
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)

THREADS, TRANSFERS, ACCOUNTS, BALANCE = 8, 25, 6, 100


class Bank(MyBase, DeclarativeBase):
    pass


class Account(Bank):
    __tablename__ = "bank_account"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    balance: Mapped[int] = mapped_column(CheckConstraint("balance >= 0"))


class Transfer(Bank):
    __tablename__ = "bank_transfer"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    amount: Mapped[int]


@pytest.fixture
def bank(database: Database, unconfigured: None) -> Iterator[Engine]:
    options: dict[str, Any] = {"pragmas": {"busy_timeout": 30_000}}
    if database.dialect == "postgresql":  # whose deadlocks else take a second each
        options = {"connect_args": {"options": "-c deadlock_timeout=10ms"}}
    engine = configure(database.url, pool_size=THREADS + 1, **options)
    Bank.metadata.create_all(engine)
    with unit_of_work():
        session.add_all(Account(id=number, balance=BALANCE) for number in range(ACCOUNTS))
    yield engine
    engine.dispose()


def nothing() -> None: ...


def fail() -> None:
    raise Undone("a bug")


def swallow_a_failed_write() -> None:
    with suppress(CheckViolation):
        session.execute(text("UPDATE bank_account SET balance = -1"))


def swallow_a_failed_savepoint() -> None:
    with suppress(Undone), atomic():
        session.execute(text("UPDATE bank_account SET balance = balance + 7"))
        fail()


HANG_UP = {
    "postgresql": "SELECT pg_terminate_backend(pg_backend_pid())",
    "mariadb": "KILL CONNECTION_ID()",
}


def lose_the_connection() -> None:
    """Have the server hang up; SQLite has none that could."""
    hang_up = HANG_UP.get(session.connection().dialect.name)
    if hang_up:
        session.execute(text(hang_up))


INCIDENTS = [
    *[nothing] * 9,
    fail,
    swallow_a_failed_write,
    swallow_a_failed_savepoint,
    lambda: session.rollback(),
    lose_the_connection,
]


class Clerk:
    """Transfers in a thread of its own, and keeps a list of what was answered with success."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.answered: list[str] = []
        self.confirmed: list[str] = []
        self.refused = 0

    def work(self) -> None:
        for _ in range(TRANSFERS):
            number = uuid4().hex
            try:
                self.transfer(number)
            except (Undone, SQLAlchemyError, UnitOfWorkError):
                self.refused += 1
            else:
                self.answered.append(number)

    @unit_of_work(retries=5)
    def transfer(self, number: str) -> None:
        source, target = self._random.sample(range(ACCOUNTS), 2)
        amount = self._random.randint(1, BALANCE // 2)
        on_commit(lambda: self.confirmed.append(number))
        Transfer(id=number, amount=amount).save()
        for account, change in ((source, -amount), (target, amount)):
            self._random.choice(INCIDENTS)()
            record = Account.get_or_404(account).refresh(lock=True)
            record.update(balance=record.balance + change)
        self._random.choice(INCIDENTS)()


@read_only
def total() -> int:
    return session.scalar(select(func.sum(Account.balance))) or 0


def test_keeps_the_books_while_eight_threads_transfer_and_fail(
    bank: Engine, database: Database
) -> None:
    clerks = [Clerk(seed) for seed in range(THREADS)]
    with ThreadPoolExecutor(THREADS) as pool:
        done = [pool.submit(clerk.work) for clerk in clerks]
        while wait(done, timeout=0.05).not_done:
            assert total() == ACCOUNTS * BALANCE
        for each in done:
            each.result()

    assert database.scalar("SELECT sum(balance) FROM bank_account") == ACCOUNTS * BALANCE
    answered = sorted(number for clerk in clerks for number in clerk.answered)
    ledger = sorted(number for (number,) in database.rows("SELECT id FROM bank_transfer"))
    assert answered == ledger
    assert sorted(number for clerk in clerks for number in clerk.confirmed) == ledger
    # It was no fair-weather day, nor a day off.
    assert len(ledger) > THREADS
    assert sum(clerk.refused for clerk in clerks) > THREADS
    assert bank.pool.checkedout() == 0  # type: ignore[attr-defined]  # of a QueuePool
