"""What a query finds as rows in place of records: values, and aggregates over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, select

from .attributes import key_of, keys_of
from .errors import InvalidLookupError
from .ordering import named_columns
from .query import Query


def values(query: Query[Any], names: Sequence[Any]) -> list[dict[str, Any]]:
    """See `Query.values`."""
    wanted = names or [found.key for found in query.entity()[1].column_attrs]
    columns: list[Any] = []
    for name in wanted:
        query, column = _column(query, name)
        columns.append(column)
    keys = [name if isinstance(name, str) else name.key for name in wanted]
    found = query.run(_selecting(query, columns))
    return [dict(zip(keys, row, strict=True)) for row in found]


def pluck(query: Query[Any], name: Any) -> list[Any]:
    """See `Query.pluck`."""
    query, column = _column(query, name)
    return list(query.run(_selecting(query, [column])).scalars())


def aggregate(query: Query[Any], expressions: Mapping[str, Any]) -> dict[str, Any]:
    """See `Query.aggregate`."""
    if query.grouped:
        raise TypeError(
            "aggregate() is over all rows, and this query has GROUP BY. For one row a group "
            "write query.with_only_columns(column, func.sum(...)).all()."
        )
    if query.has_own_columns and query.is_distinct:
        raise TypeError(
            "aggregate() is over records, and DISTINCT here is about the columns that are "
            "selected. For those write select(func.count()).select_from(query.subquery())."
        )
    labelled = [_labelled(name, expression) for name, expression in expressions.items()]
    over = query.order_by(None)
    if query.narrowed:
        over = Query.of(query.entity()[0]).where(is_among(query))
    return dict(query.run(_selecting(over, labelled)).mappings().one())


def _column(query: Query[Any], name: Any) -> tuple[Query[Any], Any]:
    """Return what a name selects, and the query joined to it."""
    if not isinstance(name, str):
        return query, name
    query, columns = named_columns(query, name)
    if len(columns) > 1:
        raise InvalidLookupError(f"{name} is a key of several columns: name them one by one.")
    return query, columns[0]


def _selecting(query: Query[Any], columns: Sequence[Any]) -> Query[Any]:
    return query.with_only_columns(*columns, maintain_column_froms=True)


def _labelled(name: str, expression: Any) -> Any:
    if not isinstance(expression, SQLColumnExpression):
        raise TypeError(
            f"aggregate({name}=) takes an expression, as func.sum(Order.amount); "
            f"got {expression!r}."
        )
    return expression.label(name)


def is_among(query: Query[Any]) -> ColumnElement[bool]:
    """Return the condition that a record is one of those that a query finds."""
    model, mapper = query.entity()
    # An order that decides nothing would have to be selected as well, next to DISTINCT.
    ordered = query if query.sliced or query.distinct_on else query.order_by(None)
    found = _selecting(ordered, keys_of(model, mapper)).subquery()
    # A subquery in a subquery: MySQL can't read the table it writes, unless from a derived one.
    among: ColumnElement[bool] = key_of(model, mapper).in_(select(*found.columns))
    return among
