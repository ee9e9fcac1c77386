"""Commands: `flask --app demo_app <command>`.

A command is one unit of work, as a request is. Each that writes says so with @unit_of_work.
"""

import csv
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from flask import Blueprint

from activebase import unit_of_work
from demo_app.database import db
from demo_app.models import Order, Portfolio, Price, Side
from demo_app.seed import seed
from demo_app.tasks import revalue_portfolios, write_statement

PRICES = Path(__file__).with_name("data") / "monthly_prices.csv"

commands = Blueprint("commands", __name__, cli_group=None)


@commands.cli.command("create-tables")
def create_tables() -> None:
    """Create the tables that are missing."""
    db.create_all()


@commands.cli.command("load-prices")
@unit_of_work
def load_prices() -> None:
    """Load the monthly prices; those that are there get the price that the file has now."""
    loaded = Price.bulk_create(
        read_prices(), on_conflict="update", conflict_columns=["symbol", "date"]
    )
    click.echo(f"{loaded} prices loaded")


@commands.cli.command("import-orders")
@click.argument("email")
@click.option("--monthly", default=1, type=click.IntRange(1, 1000), show_default=True)
@unit_of_work
def import_orders(email: str, monthly: int) -> None:
    """Import a user's savings plan at another broker: some shares of every symbol a month.

    The orders are those that the file of prices gives. Imported again, when the file has been
    corrected, they are updated, and none is there twice.
    """
    portfolio = Portfolio.query.filter(user__email=email).order_by("id").first_or_404()
    imported = Order.bulk_create(
        (planned_order(portfolio, price, monthly) for price in read_prices()),
        on_conflict="update",
        conflict_columns=["reference"],
        update_columns=["price", "quantity"],
    )
    click.echo(f"{imported} orders imported")


@commands.cli.command("seed")
@click.option("--users", "count", default=12, type=click.IntRange(1, 100), show_default=True)
@unit_of_work
def seed_users(count: int) -> None:
    """Create users who have bought and sold month by month along the prices."""
    made = seed(count)
    if made is None:
        click.echo("users are already there, nothing seeded")
    else:
        click.echo(f"{made.users} users seeded, with {made.orders} orders")


@commands.cli.command("revalue")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Take the prices up to this day.")
@unit_of_work
def revalue(day: datetime | None) -> None:
    """Have the worker store the value of every portfolio."""
    revalue_portfolios.delay_on_commit(day and day.date().isoformat())
    click.echo("the worker will revalue all portfolios")


@commands.cli.command("write-statements")
@unit_of_work
def write_statements() -> None:
    """Have the worker write the statements that are missing, as after a broker was down."""
    orders = Order.query.filter(statement=None).order_by("id").pluck(Order.id)
    for number in orders:
        write_statement.delay_on_commit(number)
    click.echo(f"the worker will write {len(orders)} statements")


def read_prices() -> list[dict[str, Any]]:
    """Read the file of prices; returns the values of one Price for each of its rows."""
    with PRICES.open(encoding="utf-8", newline="") as file:
        return [
            {
                "symbol": row["symbol"],
                "date": parse_day(row["date"]),
                "price": Decimal(row["price"]),
            }
            for row in csv.DictReader(file)
        ]


def planned_order(portfolio: Portfolio, price: dict[str, Any], quantity: int) -> dict[str, Any]:
    """Return the values of the Order that a savings plan has made at a price."""
    return {
        "reference": f"plan {portfolio.id} {price['date']} {price['symbol']}",
        "portfolio_id": portfolio.id,
        "side": Side.BUY,
        "symbol": price["symbol"],
        "quantity": quantity,
        "price": price["price"],
        "created_at": datetime.combine(price["date"], time(hour=9), tzinfo=UTC),
    }


def parse_day(text: str) -> date:
    """Return the day that the file writes as "Jan 1 2000"."""
    return datetime.strptime(text, "%b %d %Y").replace(tzinfo=UTC).date()
