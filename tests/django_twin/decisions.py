"""Where activebase decides otherwise than Django: see docs/explanation/django.md.

Django's answer to a question to which one of these applies is not the one that is wanted.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

from tests.django_twin.lookups import OWN_OPERATORS
from tests.django_twin.oracle import model_at
from tests.django_twin.questions import (
    TO_MANY,
    And,
    Lookup,
    Not,
    Or,
    Question,
    Tree,
    Where,
    leaves,
    parse,
)

#: Each is a heading of that page. The first six make that Django isn't asked, or not trusted.
OWN = "Operators that Django lacks"
CASE = "Case counts on SQLite, too"
FOLDING = "Case is folded for all of Unicode"
EXCLUDE = "exclude() is about one related row"
SEPARATE_Q = "Each q() may meet another row"
MIXED_JOINS = "exclude() follows each relation by itself"
ROUNDING = "Numbers are not rounded"
RANGES = "NULL is on no side of any number"
REPEATS = "Rows never repeat"
REFUSED = "What can't be meant is refused"
UTC = "Parts of dates are those in UTC"
ORDER = "order_by() adds"


def decisions(question: Question, *, dialect: str, folds: bool) -> set[str]:
    """Return which of them apply to a question.

    Args:
        dialect: the database's.
        folds: whether the database itself can fold letters beyond ASCII.
    """
    found = set()
    for verb, tree in question.steps:
        for where in leaves(tree):
            for key, value in where.lookups.items():
                found |= set(_of_lookup(parse(key), value, dialect, folds=folds))
        negated = verb == "exclude"
        found |= set(_of_tree(tree, negated=negated))
        if _mixes_joins(question.model, tree, negated=negated):
            found.add(MIXED_JOINS)
    return found


def _of_lookup(lookup: Lookup, value: Any, dialect: str, *, folds: bool) -> Iterator[str]:
    if lookup.operator in OWN_OPERATORS:
        yield OWN
    elif lookup.operator in _SENSITIVE and dialect == "sqlite" and _has_ascii_letters(value):
        yield CASE
    elif lookup.operator in _FOLDING and value is not None:
        in_word = lookup.column == "word" and (folds or dialect == "sqlite")
        if in_word or (dialect == "sqlite" and not value.isascii()):
            yield FOLDING


_SENSITIVE = frozenset({"contains", "startswith", "endswith"})
_FOLDING = frozenset({"iexact", "icontains", "istartswith", "iendswith"})


def _has_ascii_letters(text: str) -> bool:
    return any(letter.isascii() and letter.isalpha() for letter in text)


def _of_tree(tree: Tree, *, negated: bool) -> Iterator[str]:
    match tree:
        case Where():
            paths = [_to_many_path(key) for key in tree.lookups]
            if negated and _share(paths):
                yield EXCLUDE
        case Not():
            yield from _of_tree(tree.inner, negated=True)
        case And() | Or():
            yield from _of_tree(tree.left, negated=negated)
            yield from _of_tree(tree.right, negated=negated)
            if _across(tree.left) & _across(tree.right):
                yield SEPARATE_Q


def _to_many_path(key: str) -> tuple[str, ...]:
    """Return the path up to its first relation to many; empty where it has none."""
    path = parse(key).path
    for length, name in enumerate(path, start=1):
        if name in TO_MANY:
            return path[:length]
    return ()


def _across(tree: Tree) -> set[tuple[str, ...]]:
    return {_to_many_path(key) for where in leaves(tree) for key in where.lookups} - {()}


def _mixes_joins(model: str, tree: Tree, *, negated: bool) -> bool:
    """Tell whether several relations of one call meet a table twice, and one to many is negated.

    Django then may tie the subquery for that one to the joins of another, by the wrong keys.
    """
    paths = {parse(key).path for where in leaves(tree) for key in where.lookups} - {()}
    many = _across(tree) if negated else _negated_across(tree)
    joins = {path[:length] for path in paths for length in range(1, len(path) + 1)}
    visited = [model, *(model_at(model, path) for path in joins)]
    return len(paths) > 1 and bool(many) and len(set(visited)) < len(visited)


def _negated_across(tree: Tree) -> set[tuple[str, ...]]:
    match tree:
        case Where():
            return set()
        case Not():
            return _across(tree.inner)
        case And() | Or():
            return _negated_across(tree.left) | _negated_across(tree.right)


def _share(paths: list[tuple[str, ...]]) -> bool:
    return any(one == other != () for one, other in combinations(paths, 2))
