"""What the brokerage refuses, and how it says so.

    BrokerageError             400
    ├── NotLoggedIn            401
    ├── UnknownSymbol          404
    ├── InsufficientFunds      409
    ├── InvalidTransfer        409
    └── InvalidInput           422

They leave the view, so the request's unit of work is rolled back. What the database refuses (a
second user with the same email, a balance over its limit) needs nothing here: activebase answers in
the same format, `application/problem+json`.
"""

from http import HTTPStatus
from typing import ClassVar

from flask import Flask, Response, jsonify


class BrokerageError(Exception):
    """The request is understood and refused; the text is for the customer."""

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST


class NotLoggedIn(BrokerageError):
    """No api key, or one that nobody has."""

    status = HTTPStatus.UNAUTHORIZED


class UnknownSymbol(BrokerageError):
    """Nobody trades this symbol."""

    status = HTTPStatus.NOT_FOUND


class InsufficientFunds(BrokerageError):
    """The account holds less than the order or transfer needs."""

    status = HTTPStatus.CONFLICT


class InvalidTransfer(BrokerageError):
    """A transfer from an account to itself."""

    status = HTTPStatus.CONFLICT


class InvalidInput(BrokerageError):
    """A field is missing or holds something it can't."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY


def init_app(app: Flask) -> None:
    """Have the app answer these errors."""
    app.register_error_handler(BrokerageError, _answer)


def _answer(error: BrokerageError) -> Response:
    response = jsonify(
        type="about:blank",
        title=error.status.phrase,
        status=error.status,
        detail=str(error),
    )
    response.status_code = error.status
    response.mimetype = "application/problem+json"
    if error.status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response
