"""What is asked: a model, and steps that narrow it, in a form that is nobody's query yet."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")

#: The relations that lead to one record or to many; a name means the same on every model.
TO_ONE = frozenset({"author", "publisher", "mentor", "profile"})
TO_MANY = frozenset({"authors", "books", "pupils", "tags"})


@dataclass(frozen=True)
class Record:
    """A record as a value: ``author=Record("Author", 3)``."""

    model: str
    pk: int


@dataclass(frozen=True)
class Where:
    """The lookups of one call."""

    lookups: Mapping[str, Any]


@dataclass(frozen=True)
class And:
    left: Tree
    right: Tree


@dataclass(frozen=True)
class Or:
    left: Tree
    right: Tree


@dataclass(frozen=True)
class Not:
    inner: Tree


Tree = Where | And | Or | Not


@dataclass(frozen=True)
class Question:
    """Which records?

    Args:
        model: the model's name.
        steps: ("filter", tree) and ("exclude", tree), in order.
        order: strings for `order_by`.
    """

    model: str
    steps: tuple[tuple[str, Tree], ...] = ()
    order: tuple[str, ...] = ()


def combine(
    tree: Tree, leaf: Callable[[Where], T], invert: Callable[[T], T] = operator.invert
) -> T:
    """Build what a tree says out of its leaves, with ``&``, ``|`` and ``~``."""
    match tree:
        case Where():
            return leaf(tree)
        case Not():
            return invert(combine(tree.inner, leaf, invert))
        case And() | Or():
            join = operator.and_ if isinstance(tree, And) else operator.or_
            return join(combine(tree.left, leaf, invert), combine(tree.right, leaf, invert))


@dataclass(frozen=True)
class Lookup:
    """A lookup's key, taken apart: ``author__born__year__gte``."""

    path: tuple[str, ...]
    column: str
    part: str | None
    operator: str


PARTS = frozenset(
    "date day hour iso_week_day iso_year minute month quarter second time week week_day "
    "year".split()
)


def parse(key: str) -> Lookup:
    """Take a key apart; a relation without a column means its primary key."""
    words = key.split("__")
    path = []
    while words and words[0] in TO_ONE | TO_MANY:
        path.append(words.pop(0))
    is_column = words and words[0] not in {"isnull", "in", "exact", "ne", "not_in"}
    column = words.pop(0) if is_column else "id"
    part = words.pop(0) if words and words[0] in PARTS else None
    operator_ = words.pop(0) if words else "exact"
    assert not words, key
    return Lookup(tuple(path), "id" if column == "pk" else column, part, operator_)


def leaves(tree: Tree) -> list[Where]:
    """Return the sets of lookups in a tree."""
    match tree:
        case Where():
            return [tree]
        case Not():
            return leaves(tree.inner)
        case And() | Or():
            return leaves(tree.left) + leaves(tree.right)
