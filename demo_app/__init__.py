"""A small brokerage on activebase: users buy and sell shares at real prices.

Read it in this order:

    database.py    the base of the models, on Flask-SQLAlchemy; money and time
    models.py      the tables, with every rule the database keeps
    market.py      prices, and what a portfolio is worth
    services.py    register, buy, liquidate, transfer: nobody commits, nobody passes a session
    tasks.py       what the Celery worker does
    listing.py     lists with filters and pages
    views.py       the JSON API and the page at /
    cli.py         load prices, seed users, import orders
    seed.py        ten years of buying and selling

A request, a task and a command are each one unit of work. It is committed by its boundary, once, at
the end; none of the modules above contains a commit. `run.py` starts it all:

    python -m demo_app.run
"""

from demo_app.app import create_app

__all__ = ["create_app"]
