"""What the brokerage does.

No function here commits and none takes a session: each is a part of the unit of work that its
caller is in, be it a request, a task or a command, and what it writes stays or goes with the whole.

Locks are always taken in one order, so that no two units wait for each other: accounts by id, then
investments. Whoever trades holds the account first, so the trades of one user happen one after the
other.
"""

import secrets
from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import joinedload

from demo_app import market
from demo_app.database import now
from demo_app.errors import InsufficientFunds, InvalidTransfer, NotLoggedIn
from demo_app.models import (
    CASH_LIMIT,
    SHORTEST_TOKEN,
    Account,
    ApiKey,
    Investment,
    Order,
    Portfolio,
    Side,
    Transfer,
    User,
)
from demo_app.tasks import write_statement

# A locked read returns the row as it is now, also when the session has read it before the lock.
FRESH = {"populate_existing": True}


def register(
    name: str, email: str, *, deposit: Decimal = Decimal(0), cash_limit: Decimal = CASH_LIMIT
) -> User:
    """Create a user with an account and an empty portfolio.

    Effect: flush.
    Raises: UniqueViolation for an email that is taken; CheckViolation for a deposit over the limit.
    """
    user = User.create(name=name, email=email)
    Account.create(user=user, balance=deposit, cash_limit=cash_limit)
    Portfolio.create(user=user, name="Main")
    return user


def provision_user_with_key(
    name: str, email: str, *, deposit: Decimal = Decimal(0), cash_limit: Decimal = CASH_LIMIT
) -> ApiKey:
    """Register a user and give them an api key; `key.user` is the user.

    Effect: flush.
    Raises: what register() raises.
    """
    user = register(name, email, deposit=deposit, cash_limit=cash_limit)
    return ApiKey.create(user=user, token=secrets.token_urlsafe(SHORTEST_TOKEN))


def login(token: str) -> User:
    """Return the user whose api key this is.

    Effect: SELECT.
    Raises: NotLoggedIn.
    """
    query = ApiKey.query.filter_by(token=token).options(joinedload(ApiKey.user))
    key = query.one_or_none()
    if key is None:
        raise NotLoggedIn("This api key is not valid.")
    return key.user


def buy(portfolio: Portfolio, symbol: str, quantity: int) -> Order:
    """Buy shares at the latest price; the worker writes the statement once it is committed.

    Effect: flush; locks the user's account.
    Raises: UnknownSymbol, InsufficientFunds.
    """
    order = record_purchase(portfolio, symbol, quantity, market.latest_price(symbol))
    write_statement.delay_on_commit(order.id)
    return order


def record_purchase(
    portfolio: Portfolio, symbol: str, quantity: int, price: Decimal, at: datetime | None = None
) -> Order:
    """Pay for shares, put them into the portfolio and store the order.

    Effect: flush; locks the user's account.
    Raises: InsufficientFunds.
    """
    update_balance(portfolio.user.account, -quantity * price)
    holding = Investment.query.filter_by(portfolio_id=portfolio.id, symbol=symbol)
    investment = holding.with_for_update().execution_options(**FRESH).one_or_none()
    if investment is None:
        Investment.create(portfolio=portfolio, symbol=symbol, quantity=quantity)
    else:
        investment.update(quantity=investment.quantity + quantity)
    return record_order(portfolio, Side.BUY, symbol, quantity, price, at)


def liquidate_investment(investment: Investment) -> Order:
    """Sell all shares of an investment at the latest price: the first step of two.

    The caller pays `order.total` out with update_balance(), in the same unit of work.

    Effect: flush; locks the user's account, then the investment, and deletes it.
    Raises: NotFoundError when somebody else has just sold it.
    """
    order = record_sale(investment, market.latest_price(investment.symbol))
    write_statement.delay_on_commit(order.id)
    return order


def record_sale(investment: Investment, price: Decimal, at: datetime | None = None) -> Order:
    """Take an investment out of its portfolio and store the order.

    Effect: flush; locks the user's account, then the investment, and deletes it.
    Raises: NotFoundError when somebody else has just sold it.
    """
    portfolio = investment.portfolio
    portfolio.user.account.refresh(lock=True)
    mine = Investment.query.filter_by(id=investment.id).with_for_update()
    investment = mine.execution_options(**FRESH).one_or_404()
    symbol, quantity = investment.symbol, investment.quantity
    investment.delete()
    return record_order(portfolio, Side.SELL, symbol, quantity, price, at)


def record_order(
    portfolio: Portfolio,
    side: Side,
    symbol: str,
    quantity: int,
    price: Decimal,
    at: datetime | None = None,
) -> Order:
    """Store an order that was made at a moment, by default now.

    Effect: flush.
    """
    return Order.create(
        portfolio=portfolio,
        side=side,
        symbol=symbol,
        quantity=quantity,
        price=price,
        created_at=at or now(),
    )


def update_balance(account: Account, amount: Decimal) -> Account:
    """Add dollars to an account's cash, or take them off when the amount is negative.

    Effect: flush; locks the account.
    Raises: InsufficientFunds; CheckViolation for a balance over the account's limit.
    """
    account.refresh(lock=True)
    balance = account.balance + amount
    if balance < 0:
        raise InsufficientFunds(
            f"This needs {-amount} USD; the account holds {account.balance} USD."
        )
    return account.update(balance=balance)


def transfer(sender: User, recipient: User, amount: Decimal) -> Transfer:
    """Move cash from one user to another.

    Effect: flush; locks both accounts.
    Raises: InvalidTransfer, InsufficientFunds; CheckViolation for a balance over the recipient's
        limit.
    """
    if sender.id == recipient.id:
        raise InvalidTransfer("A transfer needs two accounts.")
    source, target = lock_accounts(sender, recipient)
    update_balance(source, -amount)
    update_balance(target, amount)
    return Transfer.create(sender_id=source.id, recipient_id=target.id, amount=amount)


def lock_accounts(*users: User) -> list[Account]:
    """Return the users' accounts, locked in the order of their ids and given in the users' order.

    Effect: SELECT; locks the accounts.
    """
    query = Account.query.filter(Account.user_id.in_([user.id for user in users]))
    locked = query.order_by(Account.id).with_for_update().execution_options(**FRESH)
    accounts = {account.user_id: account for account in locked.all()}
    return [accounts[user.id] for user in users]
