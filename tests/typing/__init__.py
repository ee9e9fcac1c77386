"""Samples of typed code: mypy and pyright check them, tests/test_typing.py runs them.

`make lint` checks them with the newest SQLAlchemy and with the oldest. Each function is a sample;
a new public name needs a line in one of them.
"""
