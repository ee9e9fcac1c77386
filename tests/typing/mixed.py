"""Samples of the mixins: their columns are attributes of the model."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from activebase import Query
from activebase.mixins import SoftDelete, Timestamps, Versioned
from tests.typing.holds import assert_type
from tests.typing.models import Base, DataBase


class Account(Timestamps, SoftDelete, Versioned, Base):
    __tablename__ = "typed_account"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[str]


class Place(Timestamps, DataBase):
    """A mixin on a dataclass, whose constructor does not take its columns."""

    __tablename__ = "typed_place"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]


def attributes() -> None:
    account = Account.create(owner="Foo")
    assert_type(account.created_at, datetime)
    assert_type(account.updated_at, datetime)
    assert_type(account.version, int)
    assert_type(account.deleted_at, datetime | None)
    assert_type(account.is_deleted, bool)
    assert_type(Place(name="Rome").save().created_at, datetime)


def in_queries() -> None:
    query = Account.query
    assert_type(query, Query[Account])
    assert_type(query.order_by(Account.created_at.desc(), "-version"), Query[Account])
    assert_type(query.with_deleted().filter(Account.is_deleted), Query[Account])
    assert_type(query.pluck(Account.updated_at), list[datetime])
    assert_type(query.pluck(Account.deleted_at), list[datetime | None])
    assert_type(query.pluck(Account.version), list[int])


def deleting() -> None:
    account = Account.create(owner="Foo")
    account.delete()
    assert_type(account.restore(), Account)
    account.hard_delete()
