"""Comparisons of a column with a plain value, made of a pattern in half the time.

What ``User.age >= 3`` finds out about the column, the operator and the type of the value is the
same for each value: it is found out once, and only the value is put in. The result is what
SQLAlchemy would have made, so that everything can be done with it, and its cached SQL is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import BinaryExpression, BindParameter, bindparam
from sqlalchemy.orm import ColumnProperty
from sqlalchemy.types import TypeDecorator, TypeEngine

from .kept import kept_by
from .lookups import Lookup, lookup_of
from .operators import Takes
from .values import plain_test


class Comparison:
    """A lookup of one column by an operator, for values of the column's own type."""

    def __init__(
        self, name: str, pattern: BinaryExpression[bool], is_plain: Callable[[Any], bool]
    ) -> None:
        self._name = name
        self._pattern = pattern
        self._type: TypeEngine[Any] = pattern.right.type
        self._is_plain = is_plain

    def with_value(self, value: Any) -> BinaryExpression[bool] | None:
        """Return the condition, None if it is another one for this value."""
        if not self._is_plain(value):
            return None
        pattern = self._pattern
        bound = BindParameter(self._name, value, type_=self._type, unique=True)
        return BinaryExpression(
            pattern.left,
            bound,
            pattern.operator,
            type_=pattern.type,
            negate=pattern.negate,
            modifiers=pattern.modifiers,
        )


def compared(model: type[Any], key: str, value: Any) -> BinaryExpression[bool] | None:
    """Return the condition of a lookup, None if it takes more than to put the value in.

    Raises:
        InvalidLookupError: an unknown name or operator.
    """
    known: dict[str, Comparison | None] = kept_by(model, "comparisons")
    if key not in known:
        known[key] = _comparison_of(lookup_of(model, key))
    comparison = known[key]
    return None if comparison is None else comparison.with_value(value)


def _comparison_of(lookup: Lookup) -> Comparison | None:
    if lookup.operator.takes is not Takes.VALUE or not compares_plainly(lookup):
        return None
    (name,), (type_,) = lookup.attributes, lookup.types
    is_plain = plain_test(type_)
    if lookup.relations or is_plain is None:
        return None
    (column,) = lookup.columns(lookup.model)
    pattern = lookup.operator.build(column, bindparam(name, type_=type_))
    if not isinstance(pattern, BinaryExpression) or not isinstance(pattern.right, BindParameter):
        return None
    return Comparison(name, pattern, is_plain)


def compares_plainly(lookup: Lookup) -> bool:
    """Tell whether one column is compared as SQLAlchemy does it, whatever the value is.

    Not so a hybrid, a part of a date, or what has a comparator or a type of the user's own that may
    look at the value.
    """
    if lookup.parts or len(lookup.attributes) != 1:
        return False
    found = lookup.mapper.attrs.get(lookup.attributes[0])
    (type_,) = lookup.types
    return (
        isinstance(found, ColumnProperty)
        and found.comparator_factory is ColumnProperty.Comparator
        and all(map(_is_sqlalchemys, type(found.columns[0].comparator).__mro__))
        and (
            not isinstance(type_, TypeDecorator)
            or type(type_).coerce_compared_value is TypeDecorator.coerce_compared_value
        )
    )


def _is_sqlalchemys(comparator: type) -> bool:
    return comparator.__module__.partition(".")[0] in ("sqlalchemy", "builtins", "typing")
