"""What the worker does. A task is one unit of work: it commits once, at its end, or not at all."""

from datetime import date

from celery import shared_task

from demo_app import market
from demo_app.models import Order, Side, Statement

VERBS = {Side.BUY: "bought", Side.SELL: "sold"}


# acks_late: a message is done when its task is done, so that a killed worker's comes again.
@shared_task(acks_late=True, reject_on_worker_lost=True)
def write_statement(order_id: int) -> None:
    """Write the order's statement, unless it has one: a message may be delivered twice."""
    order = Order.get_or_404(order_id)
    Statement.get_or_create(order_id=order.id, defaults={"text": lambda: statement_text(order)})


@shared_task
def revalue_portfolios(day: str | None = None) -> int:
    """Store every portfolio's value at the last prices, or at those up to `day` ("2010-03-01")."""
    return market.revalue_portfolios(date.fromisoformat(day) if day else None)


def statement_text(order: Order) -> str:
    """Return what the customer gets to read about an order."""
    return (
        f"Order {order.id} of {order.created_at:%d %B %Y}, {order.portfolio.user.name}: "
        f"{VERBS[order.side]} {order.quantity} {order.symbol} at {order.price} USD, "
        f"{order.total} USD in all."
    )
