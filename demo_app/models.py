"""The tables. A rule that must always hold is a constraint here, whatever the code above does."""

from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from sqlalchemy import BigInteger, CheckConstraint, Date, Enum, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from activebase import UTCDateTime
from demo_app.database import Model, Money, now

SHORTEST_TOKEN = 32
SYMBOL = String(12)
CASH_LIMIT = Decimal(1_000_000)


class User(Model):
    """A customer."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    email: Mapped[str] = mapped_column(String(254), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)

    account: Mapped["Account"] = relationship(back_populates="user")
    api_keys: Mapped[list["ApiKey"]] = relationship(back_populates="user", order_by="ApiKey.id")
    portfolios: Mapped[list["Portfolio"]] = relationship(
        back_populates="user", order_by="Portfolio.id"
    )


class ApiKey(Model):
    """A secret that logs its user in."""

    __tablename__ = "api_keys"
    __table_args__ = (CheckConstraint(f"length(token) >= {SHORTEST_TOKEN}", name="token_length"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    token: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)

    user: Mapped[User] = relationship(back_populates="api_keys")

    @property
    def hint(self) -> str:
        """The start of the token: enough to recognise it, too little to use it."""
        return f"{self.token[:4]}..."


class Account(Model):
    """A user's cash. `cash_limit` is the most it may hold, as an insured deposit has it."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("balance >= 0", name="balance_not_negative"),
        CheckConstraint("balance <= cash_limit", name="balance_within_limit"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), unique=True)
    balance: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    cash_limit: Mapped[Decimal] = mapped_column(Money, default=CASH_LIMIT)

    user: Mapped[User] = relationship(back_populates="account")


class Portfolio(Model):
    """A user's investments. `value` and `valued_on` are those of the last monthly revaluation."""

    __tablename__ = "portfolios"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    value: Mapped[Decimal] = mapped_column(Money, default=Decimal(0))
    valued_on: Mapped[date | None] = mapped_column(Date)

    user: Mapped[User] = relationship(back_populates="portfolios")
    investments: Mapped[list["Investment"]] = relationship(
        back_populates="portfolio", order_by="Investment.symbol"
    )


class Investment(Model):
    """The shares of one symbol in one portfolio."""

    __tablename__ = "investments"
    __table_args__ = (
        UniqueConstraint("portfolio_id", "symbol"),
        CheckConstraint("quantity > 0", name="quantity_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    portfolio_id: Mapped[int] = mapped_column(ForeignKey("portfolios.id"))
    symbol: Mapped[str] = mapped_column(SYMBOL)
    quantity: Mapped[int] = mapped_column(BigInteger)

    portfolio: Mapped[Portfolio] = relationship(back_populates="investments")


class Price(Model):
    """What one share cost on a day."""

    __tablename__ = "prices"
    __table_args__ = (
        UniqueConstraint("symbol", "date"),
        CheckConstraint("price > 0", name="price_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    symbol: Mapped[str] = mapped_column(SYMBOL)
    date: Mapped[date]
    price: Mapped[Decimal] = mapped_column(Money)


class Side(StrEnum):
    """The two sides of a trade."""

    BUY = "buy"
    SELL = "sell"


class Order(Model):
    """A trade that was made: never deleted, and changed only if it was imported.

    `reference` is what another broker calls an order that was imported from there.
    """

    __tablename__ = "orders"
    __table_args__ = (
        CheckConstraint("quantity > 0", name="quantity_positive"),
        CheckConstraint("price > 0", name="price_positive"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    portfolio_id: Mapped[int] = mapped_column(ForeignKey("portfolios.id"), index=True)
    side: Mapped[Side] = mapped_column(
        Enum(
            Side,
            name="side",
            native_enum=False,
            create_constraint=True,
            values_callable=lambda sides: [side.value for side in sides],
        )
    )
    symbol: Mapped[str] = mapped_column(SYMBOL)
    quantity: Mapped[int] = mapped_column(BigInteger)
    price: Mapped[Decimal] = mapped_column(Money)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
    reference: Mapped[str | None] = mapped_column(String(100), unique=True)

    portfolio: Mapped[Portfolio] = relationship()
    statement: Mapped["Statement | None"] = relationship(back_populates="order")

    @property
    def total(self) -> Decimal:
        """What the shares cost or brought, in dollars."""
        return self.quantity * self.price


class Statement(Model):
    """The customer's record of an order, written by the worker: one for each order."""

    __tablename__ = "statements"

    id: Mapped[int] = mapped_column(primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id"), unique=True)
    text: Mapped[str] = mapped_column(String(1000))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)

    order: Mapped[Order] = relationship(back_populates="statement")


class Transfer(Model):
    """Cash that one account has given to another: never changed, never deleted."""

    __tablename__ = "transfers"
    __table_args__ = (
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("sender_id <> recipient_id", name="two_accounts"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sender_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    recipient_id: Mapped[int] = mapped_column(ForeignKey("accounts.id"), index=True)
    amount: Mapped[Decimal] = mapped_column(Money)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime, default=now)
