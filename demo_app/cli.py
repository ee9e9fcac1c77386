"""Commands: `flask --app demo_app <command>`.

A command is one unit of work, as a request is. Each that writes says so with @unit_of_work.
"""

import csv
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import click
from flask import Blueprint

from activebase import session, unit_of_work
from demo_app.database import db
from demo_app.models import Order, Price
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
    """Load the monthly prices that are missing."""
    stored = {(price.symbol, price.date) for price in Price.query.all()}
    missing = [price for price in read_prices() if (price.symbol, price.date) not in stored]
    session.add_all(missing)
    click.echo(f"{len(missing)} prices loaded")


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
    orders = Order.query.filter(~Order.statement.has()).order_by(Order.id).all()
    for order in orders:
        write_statement.delay_on_commit(order.id)
    click.echo(f"the worker will write {len(orders)} statements")


def read_prices() -> list[Price]:
    """Read the file of prices.

    Effect: none; the prices are not added to the session.
    """
    with PRICES.open(encoding="utf-8", newline="") as file:
        return [
            Price(symbol=row["symbol"], date=parse_day(row["date"]), price=Decimal(row["price"]))
            for row in csv.DictReader(file)
        ]


def parse_day(text: str) -> date:
    """Return the day that the file writes as "Jan 1 2000"."""
    return datetime.strptime(text, "%b %d %Y").replace(tzinfo=UTC).date()
