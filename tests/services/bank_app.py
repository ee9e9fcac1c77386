"""A bank whose transfers go wrong in every way, as a Celery app for a worker process."""

import os
import signal
from typing import Any

from celery import Celery, Task
from celery.exceptions import Reject
from redis import Redis
from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase, configure, on_commit
from activebase.celery import ActiveTask
from activebase.errors import CheckViolation, SerializationFailure


class BankBase(MyBase, DeclarativeBase):
    pass


class Account(BankBase):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(CheckConstraint("balance >= 0"))


class Booking(BankBase):
    """One line of the ledger."""

    __tablename__ = "booking"

    id: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[str]
    source: Mapped[int] = mapped_column(ForeignKey("account.id"))
    target: Mapped[int] = mapped_column(ForeignKey("account.id"))
    amount: Mapped[int]
    checked_by: Mapped[int | None] = mapped_column(
        ForeignKey("account.id", deferrable=True, initially="DEFERRED")
    )


#: What may befall a transfer. "once": a second run of the same message goes well.
TROUBLES = (
    "raise",
    "retry",
    "transient",
    "swallow",
    "commit fails",
    "reject",
    "unreadable result",
    "killed half-way once",
    "killed before the result once",
)

celery = Celery("bank", task_cls=ActiveTask, set_as_current=False)
if "TASKS_REDIS" in os.environ:  # in the worker; the test needs the models only
    celery.conf.update(
        broker_url=os.environ["TASKS_BROKER"],
        result_backend=os.environ["TASKS_REDIS"],
        task_default_queue=os.environ["TASKS_QUEUE"],
        broker_connection_retry_on_startup=True,
    )
    configure(os.environ["TASKS_DATABASE"])
    redis = Redis.from_url(os.environ["TASKS_REDIS"])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def move(self: Task, source: int, target: int, amount: int, trouble: str | None) -> Any:
    """Transfer an amount in three steps, with the trouble between the first and the second."""
    task_id = self.request.id
    first = redis.incr(f"runs of {task_id}") == 1
    on_commit(lambda: redis.incr(f"commits of {task_id}"))
    # In one order, so that two transfers can't wait for each other.
    found = {
        each: Account.query.filter_by(id=each).with_for_update().one()
        for each in sorted({source, target})
    }
    found[source].update(balance=found[source].balance - amount)
    if trouble == "raise":
        raise ValueError("on purpose")
    if trouble == "retry" and first:
        raise self.retry(countdown=0)
    if trouble == "transient" and first:
        raise SerializationFailure("on purpose")
    if trouble == "reject":
        raise Reject("on purpose", requeue=False)
    if trouble == "swallow":
        try:
            found[target].update(balance=-1)
        except CheckViolation:
            return amount
    if trouble == "killed half-way once" and first:
        die()
    found[target].update(balance=found[target].balance + amount)
    booking = Booking(task_id=task_id, source=source, target=target, amount=amount)
    if trouble == "commit fails":
        booking.checked_by = -1
    booking.save()
    if trouble == "killed before the result once" and first:
        on_commit(die)
    return object() if trouble == "unreadable result" else amount


transfer = celery.task(bind=True, name="transfer")(move)
transfer_late = celery.task(
    bind=True, name="transfer_late", acks_late=True, reject_on_worker_lost=True
)(move)
