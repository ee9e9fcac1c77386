"""The operators of lookups: the last word of ``name__icontains``, and what each takes."""

from __future__ import annotations

import operator
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, bindparam, false, literal, true
from sqlalchemy.orm import QueryableAttribute
from sqlalchemy.types import TypeEngine

from .functions import DATE_PARTS, TEXT_MATCHES, TextMatch, as_text

#: A lookup of the user's own: gets the column and the value as given.
Custom = TypeVar("Custom", bound=Callable[[Any, Any], ColumnElement[bool]])


class Takes(Enum):
    """What an operator is compared with."""

    VALUE = "a value"
    TEXT = "text"
    LIST = "a list"
    RANGE = "two values"
    FLAG = "True or False"
    ANYTHING = "what the lookup takes"


class Operator(NamedTuple):
    """One operator: what it takes, and the SQL it makes of a column and that."""

    name: str
    takes: Takes
    build: Callable[..., ColumnElement[bool]]
    #: The type of the bound value, None for the column's.
    type_: TypeEngine[Any] | None = None


def _contains(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    return false() if _is_empty(values) else column.in_(_expressions_in(values))


def _lacks(column: ColumnElement[Any], values: Any) -> ColumnElement[bool]:
    return true() if _is_empty(values) else column.not_in(_expressions_in(values))


def _expressions_in(values: Any) -> Any:
    """Return a list as SQLAlchemy 2.0 takes it: with the columns of attributes in it."""
    if not isinstance(values, list):
        return values
    return [each.expression if isinstance(each, QueryableAttribute) else each for each in values]


def _is_empty(values: Any) -> bool:
    return isinstance(values, list) and not values


def _is_null(column: ColumnElement[Any], flag: bool) -> ColumnElement[bool]:
    return column.is_(None) if flag else column.is_not(None)


def _comparison(name: str, compare: Callable[[Any, Any], Any]) -> Operator:
    def build(column: Any, value: Any) -> ColumnElement[bool]:
        # SQLAlchemy writes a plain bool as TRUE, and has that compared by = and != only.
        built: ColumnElement[bool] = compare(
            column, literal(value) if isinstance(value, bool) else value
        )
        return built

    return Operator(name, Takes.VALUE, build)


def _text_operator(name: str, match: type[TextMatch]) -> Operator:
    def build(column: Any, value: Any) -> ColumnElement[bool]:
        if isinstance(value, str):
            value = bindparam(None, value, match.pattern, unique=True)
        return match(as_text(column), value)

    return Operator(name, Takes.TEXT, build, match.pattern)


EXACT = Operator("exact", Takes.VALUE, lambda column, value: column == value)
NOT_EQUAL = Operator("ne", Takes.VALUE, lambda column, value: column != value)
IS_NULL = Operator("isnull", Takes.FLAG, _is_null)
IN = Operator("in", Takes.LIST, _contains)
NOT_IN = Operator("not_in", Takes.LIST, _lacks)
_COMPARISONS = (
    EXACT,
    NOT_EQUAL,
    IS_NULL,
    IN,
    NOT_IN,
    _comparison("gt", operator.gt),
    _comparison("gte", operator.ge),
    _comparison("lt", operator.lt),
    _comparison("lte", operator.le),
    Operator("range", Takes.RANGE, lambda column, low, high: column.between(low, high)),
)
_MATCHES = [_text_operator(name, match) for name, match in TEXT_MATCHES.items()]

OPERATORS: dict[str, Operator] = {known.name: known for known in (*_COMPARISONS, *_MATCHES)}
IEXACT = OPERATORS["iexact"]

#: For relations and keys of several columns: what asks which record it is.
OF_RECORDS = frozenset({"exact", "ne", "in", "not_in", "isnull"})
#: For parts of dates.
OF_PARTS = frozenset(known.name for known in _COMPARISONS)

_BUILT_IN = frozenset(OPERATORS)


def register_lookup(name: str) -> Callable[[Custom], Custom]:
    """Add an operator: ``@register_lookup("similar")`` on ``def similar(column, value)``.

    Args:
        name: one word; registered again, the newer function is taken.
    Raises:
        ValueError: the name is taken by activebase, or is no word.
    Source: Django's `register_lookup`, for all columns.
    """
    if not name.isidentifier() or "__" in name or name in _BUILT_IN or name in DATE_PARTS:
        raise ValueError(
            f"register_lookup() takes a new name of one word, without '__'; got {name!r}."
        )

    def register(function: Custom) -> Custom:
        OPERATORS[name] = Operator(name, Takes.ANYTHING, function)
        return function

    return register
