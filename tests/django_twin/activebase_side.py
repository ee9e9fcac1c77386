"""How activebase is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from activebase import Query, read_only
from tests.django_twin.models import MODELS, Twin
from tests.django_twin.questions import Question, Record, Where, combine


def ask(question: Question) -> list[int]:
    """Return the primary keys: in the question's order, else in ascending order."""
    with read_only():
        return _keys(question)


def ask_all(questions: list[Question]) -> list[list[int] | Exception]:
    """Return the answers to many questions; an exception in the place of one that failed."""
    try:
        with read_only():
            return [_keys(question) for question in questions]
    except Exception:  # which may have been the end of the transaction for those behind it
        return [_keys_or_error(question) for question in questions]


def _keys_or_error(question: Question) -> list[int] | Exception:
    try:
        return ask(question)
    except Exception as error:
        return error


def _keys(question: Question) -> list[int]:
    query = narrow(question)
    if question.order:
        return query.order_by(*question.order).pluck("id")
    return sorted(query.pluck("id"))


def count(question: Question) -> int:
    """Return what `count()` says."""
    with read_only():
        return narrow(question).count()


def narrow(question: Question) -> Query[Any]:
    """Return the question as a query."""
    model = MODELS[question.model]
    query: Query[Any] = model.query
    for verb, tree in question.steps:
        step = getattr(query, verb)
        if isinstance(tree, Where):
            query = step(**values_of(tree.lookups))
        else:
            query = step(combine(tree, lambda where: _expression(model, where)))
    return query


def _expression(model: type[Twin], where: Where) -> Any:
    return model.q(**values_of(where.lookups))


def values_of(lookups: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lookups with the records that their values stand for."""
    return {key: _value_of(value) for key, value in lookups.items()}


def _value_of(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_value_of(it) for it in value)
    return MODELS[value.model].get(value.pk) if isinstance(value, Record) else value
