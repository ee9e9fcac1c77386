"""Untrusted input: what a request may hold, checked before anything is read or written.

Types, lengths and ranges are checked here; whether a rule of the brokerage allows the request is up
to the services and the database.
"""

import re
import unicodedata
from decimal import Decimal
from typing import Any

from flask import Request

from demo_app.errors import InvalidInput

LARGEST_ID = 2**31 - 1
LARGEST_QUANTITY = 1_000_000
LARGEST_AMOUNT = Decimal(1_000_000_000)

# [0-9], not \d, which takes the digits of every script.
AMOUNT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,2})?")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+")
SYMBOL = re.compile(r"[A-Z0-9.]{1,12}")
REFUSED_CATEGORIES = {"Cc", "Cs"}  # control characters, halves of a surrogate pair


class Body:
    """The JSON object that a request carries. A field is read with the method for its type."""

    def __init__(self, request: Request) -> None:
        """Read the request's body.

        Raises: InvalidInput when it is no JSON object.
        """
        self._fields = _json_object(request)

    def has(self, field: str) -> bool:
        """Tell whether a field is given and not null."""
        return self._fields.get(field) is not None

    def text(self, field: str, *, longest: int) -> str:
        """Return a text without the spaces around it."""
        value = self._required(field)
        if not isinstance(value, str):
            raise InvalidInput(f"{field!r} must be a text.")
        if not value.strip() or len(value) > longest:
            raise InvalidInput(f"{field!r} must have 1 to {longest} characters.")
        if any(unicodedata.category(character) in REFUSED_CATEGORIES for character in value):
            raise InvalidInput(f"{field!r} holds a character that is no text.")
        return value.strip()

    def email(self, field: str) -> str:
        """Return an email address in lower case."""
        value = self.text(field, longest=200).lower()
        if not EMAIL.fullmatch(value):
            raise InvalidInput(f"{field!r} must be an email address.")
        return value

    def symbol(self, field: str) -> str:
        """Return a stock symbol in upper case."""
        value = self.text(field, longest=12).upper()
        if not SYMBOL.fullmatch(value):
            raise InvalidInput(f"{field!r} must be a stock symbol, such as IBM.")
        return value

    def integer(self, field: str, *, largest: int) -> int:
        """Return a whole number from 1 to `largest`."""
        value = self._required(field)
        # To Python, true is a number.
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
            raise InvalidInput(f"{field!r} must be a whole number from 1 to {largest}.")
        return value

    def record_id(self, field: str) -> int:
        """Return a primary key."""
        return self.integer(field, largest=LARGEST_ID)

    def money(self, field: str, *, smallest: Decimal = Decimal("0.01")) -> Decimal:
        """Return an amount of dollars with at most two places, from a number or a text."""
        value = self._required(field)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise InvalidInput(f"{field!r} must be an amount, such as 12.50.")
        if isinstance(value, int) and abs(value) > LARGEST_AMOUNT:
            raise InvalidInput(f"{field!r} must not be more than {LARGEST_AMOUNT}.")
        if not AMOUNT.fullmatch(str(value)):
            raise InvalidInput(f"{field!r} must be an amount with at most two places.")
        amount = Decimal(str(value))
        if not smallest <= amount <= LARGEST_AMOUNT:
            raise InvalidInput(f"{field!r} must be from {smallest} to {LARGEST_AMOUNT}.")
        return amount

    def _required(self, field: str) -> Any:
        if not self.has(field):
            raise InvalidInput(f"{field!r} is missing.")
        return self._fields[field]


def _json_object(request: Request) -> dict[str, Any]:
    try:
        body = request.get_json(force=True, silent=True)
    except RecursionError:  # thousands of opening brackets
        body = None
    if not isinstance(body, dict):
        raise InvalidInput("The body must be a JSON object.")
    return body
