"""Samples of lookups of one's own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, func

from activebase import register_lookup
from tests.typing.holds import assert_type
from tests.typing.models import User


@register_lookup("longer_than")
def longer_than(column: ColumnElement[Any], value: int) -> ColumnElement[bool]:
    return func.length(column) > value


def the_function_stays_as_it_is() -> None:
    condition: ColumnElement[bool] = longer_than(column=User.__table__.c.name, value=3)
    assert_type(User.query.filter(condition).all(), list[User])
    assert_type(User.query.filter(name__longer_than=3).all(), list[User])
