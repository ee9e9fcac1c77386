"""Ten years of buying and selling, along the real prices.

The same users trade in the same way at every run: each has random numbers from a fixed seed. They
trade through the services, as a request does.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import groupby
from random import Random

from demo_app import market, services
from demo_app.models import Investment, Order, Portfolio, Price, Statement, User
from demo_app.tasks import statement_text

FIRST_NAMES = ("Ada", "Ben", "Chloé", "Dmitri", "Elif", "Farid", "Grace", "Hana", "Ines", "Jun")
LAST_NAMES = ("Okafor", "Lindqvist", "Moreau", "Tanaka", "Petrov", "Silva", "Novák")
LIQUIDATES = 0.04  # the chance that a user sells an investment in a month
BUYS = 0.75


@dataclass(frozen=True)
class Seeded:
    """How much has been made."""

    users: int
    orders: int


@dataclass(frozen=True)
class Investor:
    """A user with their habits."""

    user: User
    portfolio: Portfolio
    savings: Decimal  # a month, in dollars
    rng: Random

    def trade(self, prices: dict[str, Decimal], at: datetime) -> Iterator[Order]:
        """Save, perhaps sell and perhaps buy; yield the orders."""
        self.save()
        sold = self.liquidate(prices, at) if self.rng.random() < LIQUIDATES else None
        bought = self.buy(prices, at) if self.rng.random() < BUYS else None
        yield from (order for order in (sold, bought) if order)

    def save(self) -> None:
        """Pay a month's savings into the account."""
        services.update_balance(self.user.account, self.savings)

    def liquidate(self, prices: dict[str, Decimal], at: datetime) -> Order | None:
        """Sell one investment at random, if there is one."""
        investments = Investment.query.filter(portfolio=self.portfolio).order_by("id").all()
        if not investments:
            return None
        investment = self.rng.choice(investments)
        order = services.record_sale(investment, prices[investment.symbol], at)
        services.update_balance(self.user.account, order.total)
        return order

    def buy(self, prices: dict[str, Decimal], at: datetime) -> Order | None:
        """Buy shares of one symbol at random for a part of the cash, if it is enough for one."""
        symbol = self.rng.choice(sorted(prices))
        budget = self.user.account.balance * self.rng.randint(20, 80) / 100
        quantity = int(budget / prices[symbol])
        if not quantity:
            return None
        return services.record_purchase(self.portfolio, symbol, quantity, prices[symbol], at)


def seed(count: int) -> Seeded | None:
    """Create users and have each trade once a month at that month's prices.

    Returns: how much has been made; None when there already are users.
    Effect: flush.
    """
    if User.query.any():
        return None
    investors = [register_investor(number) for number in range(1, count + 1)]
    orders = [order for day, prices in months() for order in trade(investors, prices, day)]
    Statement.bulk_create({"order_id": order.id, "text": statement_text(order)} for order in orders)
    market.revalue_portfolios()
    return Seeded(users=len(investors), orders=len(orders))


def register_investor(number: int) -> Investor:
    """Create a user with an api key and some cash."""
    rng = Random(number)
    name = f"{FIRST_NAMES[number % len(FIRST_NAMES)]} {LAST_NAMES[number % len(LAST_NAMES)]}"
    deposit = Decimal(rng.randint(10, 80) * 100)
    key = services.provision_user_with_key(name, f"user{number}@example.com", deposit=deposit)
    savings = Decimal(rng.randint(4, 24) * 50)
    return Investor(key.user, key.user.portfolios[0], savings, rng)


def months() -> Iterator[tuple[date, dict[str, Decimal]]]:
    """Yield each month's first day with the price of each symbol."""
    history = Price.query.order_by("date", "symbol").all()
    for day, prices in groupby(history, key=lambda price: price.date):
        yield day, {price.symbol: price.price for price in prices}


def trade(investors: list[Investor], prices: dict[str, Decimal], day: date) -> Iterator[Order]:
    """Let everyone trade on a day; yield the orders."""
    at = datetime.combine(day, time(hour=15), tzinfo=UTC)
    for investor in investors:
        yield from investor.trade(prices, at)
