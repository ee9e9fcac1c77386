"""What is asked: combinations of lookups, by hypothesis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from math import prod
from statistics import fmean
from typing import Any

from hypothesis import strategies as st

from tests.django_twin.lookups import (
    KINDS,
    OWN_OPERATORS,
    Case,
    cases_of,
    paths_of,
    relation_cases,
)
from tests.django_twin.oracle import model_at, related
from tests.django_twin.questions import (
    TO_MANY,
    And,
    Not,
    Or,
    Question,
    Tree,
    Where,
    leaves,
    parse,
)
from tests.django_twin.rows import ROWS


@dataclass(frozen=True)
class Scope:
    """What lookups are drawn from, so that most questions are some that Django can answer.

    Args:
        model: the model that is asked for.
        own: whether with operators that Django lacks.
        many: whether with relations to many.
        number: how many lookups, at most.
    """

    model: str
    own: bool
    many: bool
    number: int


@st.composite
def wheres(draw: st.DrawFn, scope: Scope) -> Where:
    """Give the lookups of one call: on the columns of one path, or of two."""
    paths = [draw(_some_path(scope))]
    lookups: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, scope.number))):
        path, here = paths[-1]
        suffix, value = draw(_some_case(here, own=scope.own))
        lookups["__".join([*path, suffix])] = value
        if len(paths) == 1 and draw(_flags):
            paths.append(draw(_some_path(scope)))
    if draw(_seldom):
        key, value = draw(_some_relation(scope))
        lookups[key] = value
    return Where(lookups)


_flags = st.booleans()
_seldom = st.sampled_from([False] * 7 + [True])


@cache
def _some_path(scope: Scope) -> st.SearchStrategy[tuple[tuple[str, ...], str]]:
    return st.sampled_from([it for it in paths_of(scope.model) if _is_in(scope, it[0])])


@cache
def _some_case(model: str, *, own: bool) -> st.SearchStrategy[Case]:
    """Give a lookup of a column, each column as often as the others."""
    columns = [_usable(cases_of(model, column), own=own) for column in KINDS[model]]
    return st.sampled_from([st.sampled_from(cases) for cases in columns]).flatmap(lambda it: it)


@cache
def _some_relation(scope: Scope) -> st.SearchStrategy[Case]:
    cases = _usable(relation_cases(scope.model), own=scope.own)
    found = [case for case in cases if _is_in(scope, parse(case[0]).path)]
    return st.sampled_from(found or [("pk__gt", 3)])


def _is_in(scope: Scope, path: tuple[str, ...]) -> bool:
    return scope.many or not TO_MANY.intersection(path)


def _usable(cases: list[Case], *, own: bool) -> list[Case]:
    return [case for case in cases if own or parse(case[0]).operator not in OWN_OPERATORS]


@cache
def trees(scope: Scope) -> st.SearchStrategy[Tree]:
    """Give what `q()` is combined to with ``&``, ``|`` and ``~``: up to four calls."""

    def joined(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        return st.builds(And, inner, inner) | st.builds(Or, inner, inner) | st.builds(Not, inner)

    return st.recursive(wheres(scope), joined, max_leaves=4)


def questions(
    tree: Callable[[Scope], st.SearchStrategy[Tree]] = wheres,
    *,
    number: int = 4,
    steps: int = 1,
    verbs: Sequence[str] = ("filter", "exclude"),
) -> st.SearchStrategy[Question]:
    """Give questions.

    Args:
        tree: `wheres` or `trees`.
        number: how many lookups in one call, at most.
        steps: how many calls are chained, at most.
        verbs: of which each call takes one.
    """

    def of(scope: Scope) -> st.SearchStrategy[Question]:
        step = st.tuples(st.sampled_from(verbs), tree(scope))
        chained = st.lists(step, min_size=1, max_size=steps).map(tuple)
        return st.builds(partial(Question, scope.model), chained).filter(_is_affordable)

    scopes = st.builds(
        Scope,
        model=st.sampled_from(sorted(KINDS)),
        own=st.sampled_from([True, False, False, False]),
        many=st.sampled_from([True, True, False]),
        number=st.just(number),
    )
    return scopes.flatmap(of)


# -- what Django can answer in time ------------------------------------------------------------


def _is_affordable(question: Question) -> bool:
    """Tell whether Django's joins, a row for each pair, triple ... of related rows, are few."""
    number = float(len(ROWS[question.model]))
    for verb, tree in question.steps:
        if verb == "filter":
            number *= prod(_related_rows(question.model, path) for path in _joins(tree))
    return number < 20_000


def _joins(tree: Tree) -> set[tuple[str, ...]]:
    paths = {parse(key).path for where in leaves(tree) for key in where.lookups}
    return {path[:length] for path in paths for length in range(1, len(path) + 1)}


@cache
def _related_rows(model: str, path: tuple[str, ...]) -> float:
    """Return how many rows the last relation of a path leads to, on average."""
    here, name = model_at(model, path[:-1]), path[-1]
    return fmean(len(related(here, row["id"], name)) for row in ROWS[here])
