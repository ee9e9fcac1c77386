"""Prices, and what a portfolio is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from sqlalchemy import and_, func, select
from sqlalchemy.orm import selectinload

from demo_app.errors import UnknownSymbol
from demo_app.models import Investment, Portfolio, Price


@dataclass(frozen=True)
class Holding:
    """An investment at a price."""

    investment: Investment
    price: Decimal

    @property
    def value(self) -> Decimal:
        return self.investment.quantity * self.price


def latest_price(symbol: str) -> Decimal:
    """Return what one share costs now.

    Effect: SELECT.
    Raises: UnknownSymbol.
    """
    price = Price.query.filter_by(symbol=symbol).order_by(Price.date.desc()).first()
    if price is None:
        raise UnknownSymbol("There is no such symbol. GET /prices lists those that there are.")
    return price.price


def latest_prices(on: date | None = None) -> dict[str, Price]:
    """Return each symbol's last price, or its last one up to a day.

    Effect: SELECT.
    """
    latest = select(Price.symbol, func.max(Price.date).label("date")).group_by(Price.symbol)
    if on is not None:
        latest = latest.where(Price.date <= on)
    last = latest.subquery()
    query = Price.query.join(
        last, and_(Price.symbol == last.c.symbol, Price.date == last.c.date)
    ).order_by(Price.symbol)
    return {price.symbol: price for price in query.all()}


def holdings(portfolio: Portfolio, prices: Mapping[str, Price]) -> list[Holding]:
    """Return the portfolio's investments, each at its price."""
    return [
        Holding(investment, prices[investment.symbol].price)
        for investment in portfolio.investments
        if investment.symbol in prices
    ]


def worth(portfolio: Portfolio, prices: Mapping[str, Price]) -> Decimal:
    """Return what the portfolio's investments are worth at these prices, in dollars."""
    return sum((holding.value for holding in holdings(portfolio, prices)), Decimal(0))


def revalue_portfolios(on: date | None = None) -> int:
    """Store every portfolio's value at the last prices, or at those up to a day.

    Returns: the number of portfolios.
    Effect: flush.
    """
    prices = latest_prices(on)
    if not prices:
        return 0
    valued_on = max(price.date for price in prices.values())
    portfolios = Portfolio.query.options(selectinload(Portfolio.investments)).all()
    for portfolio in portfolios:
        portfolio.update(value=worth(portfolio, prices), valued_on=valued_on)
    return len(portfolios)
