"""The HTTP side: a JSON API and the page at /.

A request is one unit of work, committed after the view has returned. An error that leaves a view
undoes it all, so a view only says what shall happen.
"""

import re
from decimal import Decimal
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from activebase import Query
from activebase.flask import read_only_view
from demo_app import market, services
from demo_app.errors import NotLoggedIn
from demo_app.inputs import LARGEST_ID, LARGEST_QUANTITY, Body
from demo_app.listing import listed
from demo_app.models import CASH_LIMIT, Investment, Order, Portfolio, User

pages = Blueprint("pages", __name__)
api = Blueprint("api", __name__)

ID = f"<int(max={LARGEST_ID}):record_id>"
PAGE = 100
USER_FILTERS = frozenset(
    """name__icontains email__iexact created_at__year created_at__gte created_at__lt
    portfolios__investments__symbol portfolios__investments__symbol__in""".split()
)
ORDER_FILTERS = frozenset(
    """side symbol symbol__in portfolio portfolio__name__icontains quantity__gte quantity__lte
    price__gte price__lte created_at__year created_at__gte created_at__lt reference__isnull
    statement__isnull""".split()
)
TOKEN = re.compile(r"[A-Za-z0-9_-]{1,100}")


@pages.get("/")
def index() -> ResponseReturnValue:
    """Show all portfolios with their values."""
    prices = market.latest_prices()
    portfolios = Portfolio.query.with_related("user__account", "investments").strict()
    page = portfolios.order_by("id").paginate(page=request.args.get("page", "1"), per_page=PAGE)
    rows = [
        {
            "portfolio": portfolio,
            "holdings": market.holdings(portfolio, prices),
            "worth": market.worth(portfolio, prices),
        }
        for portfolio in page
    ]
    return render_template("index.html", rows=rows, page=page, prices=prices.values())


@pages.get("/health")
def health() -> ResponseReturnValue:
    """Say that the web server runs."""
    return {"status": "ok"}


@api.post("/register")
def register() -> ResponseReturnValue:
    """Register a user and answer with their api key: the only time that it is shown."""
    body = Body(request)
    key = services.provision_user_with_key(
        body.text("name", longest=100),
        body.email("email"),
        deposit=body.money("deposit") if body.has("deposit") else Decimal(0),
        cash_limit=body.money("cash_limit") if body.has("cash_limit") else CASH_LIMIT,
    )
    return {"user": user_json(key.user), "token": key.token}, 201


@api.post("/login")
@read_only_view
def login() -> ResponseReturnValue:
    """Answer who the api key belongs to, with their account and portfolios."""
    user = current_user()
    return {
        "user": user_json(user),
        "account": user.account.to_dict(only=("id", "balance", "cash_limit")),
        "portfolios": [item.to_dict(only=("id", "name")) for item in user.portfolios],
    }


@api.get("/users")
def users() -> ResponseReturnValue:
    """List users with their keys: as many statements for many users as for one."""
    current_user()
    return listed(
        "users",
        User.query.with_related("api_keys").strict(),
        request.args,
        filters=USER_FILTERS,
        orders=("id", "name", "email", "created_at"),
        to_json=lambda user: user_json(user) | {"keys": keys_json(user)},
    )


@api.get("/prices")
def prices() -> ResponseReturnValue:
    """List the latest price of each symbol."""
    latest = market.latest_prices().values()
    return {"prices": [price.to_dict(only=("symbol", "date", "price")) for price in latest]}


@api.get(f"/portfolios/{ID}")
def portfolio(record_id: int) -> ResponseReturnValue:
    """Show a portfolio with its investments and values."""
    found = own_portfolios(current_user()).get_or_404(record_id)
    return portfolio_json(found)


@api.post("/buy")
def buy() -> ResponseReturnValue:
    """Buy shares at the latest price."""
    user, body = current_user(), Body(request)
    order = services.buy(
        chosen_portfolio(user, body),
        body.symbol("symbol"),
        body.integer("quantity", largest=LARGEST_QUANTITY),
    )
    return order_json(order), 201


@api.post("/liquidate-investment")
def liquidate_investment() -> ResponseReturnValue:
    """Sell all shares of an investment and pay them out: both or nothing."""
    user, body = current_user(), Body(request)
    mine = Investment.query.filter(portfolio__user=user)
    investment = mine.get_or_404(body.record_id("investment_id"))
    order = services.liquidate_investment(investment)
    account = services.update_balance(user.account, order.total)
    return {"order": order_json(order), "balance": account.balance}


@api.post("/transfer")
def transfer() -> ResponseReturnValue:
    """Move cash to another user's account."""
    user, body = current_user(), Body(request)
    amount = body.money("amount")
    recipient = User.query.filter(email=body.email("to")).one_or_404()
    moved = services.transfer(user, recipient, amount)
    return {"id": moved.id, "amount": moved.amount, "balance": user.account.balance}, 201


@api.get(f"/orders/{ID}")
def order(record_id: int) -> ResponseReturnValue:
    """Show an order and, once the worker has written it, its statement."""
    found = own_orders(current_user()).get_or_404(record_id)
    return order_json(found) | {"statement": found.statement and found.statement.text}


@api.get("/orders")
def orders() -> ResponseReturnValue:
    """List the user's orders, oldest first."""
    return listed(
        "orders",
        own_orders(current_user()),
        request.args,
        filters=ORDER_FILTERS,
        orders=("id", "created_at", "symbol", "price", "quantity"),
        to_json=order_json,
    )


def current_user() -> User:
    """Return the user whose api key the request carries: `Authorization: Bearer <token>`.

    Raises: NotLoggedIn.
    """
    credentials = request.authorization
    token = credentials.token if credentials and credentials.type == "bearer" else None
    if not token or not TOKEN.fullmatch(token):
        raise NotLoggedIn("Send your api key: Authorization: Bearer <token>.")
    return services.login(token)


def own_portfolios(user: User) -> Query[Portfolio]:
    """Return the query for the user's portfolios: anybody else's don't exist for them."""
    return Portfolio.query.filter(user=user).order_by("id")


def own_orders(user: User) -> Query[Order]:
    """Return the query for the orders in the user's portfolios."""
    return Order.query.filter(portfolio__user=user)


def chosen_portfolio(user: User, body: Body) -> Portfolio:
    """Return the user's portfolio that the request names, by default their first."""
    mine = own_portfolios(user)
    if body.has("portfolio_id"):
        return mine.get_or_404(body.record_id("portfolio_id"))
    return mine.first_or_404()


def user_json(user: User) -> dict[str, Any]:
    return user.to_dict(only=("id", "name", "email"))


def keys_json(user: User) -> list[dict[str, Any]]:
    return [{"id": key.id, "hint": key.hint} for key in user.api_keys]


def order_json(order: Order) -> dict[str, Any]:
    fields = ("id", "portfolio_id", "side", "symbol", "quantity", "price", "created_at")
    return order.to_dict(only=fields, include=("total",))


def portfolio_json(portfolio: Portfolio) -> dict[str, Any]:
    prices = market.latest_prices()
    return portfolio.to_dict(only=("id", "name", "value", "valued_on")) | {
        "worth": market.worth(portfolio, prices),
        "investments": [
            holding.investment.to_dict(only=("id", "symbol", "quantity"))
            | {"price": holding.price, "value": holding.value}
            for holding in market.holdings(portfolio, prices)
        ],
    }
