"""The third opinion: what each lookup means, over plain rows and in plain Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import cache, reduce
from typing import Any

from tests.django_twin.questions import Lookup, Question, Record, Where, combine, parse
from tests.django_twin.rows import BOOK_TAGS, ROWS, Row

#: The model that a relation leads to, and the column that says so: of its own row, or of theirs.
TO_ONE = {
    ("Book", "author"): ("Author", "author_id"),
    ("Book", "publisher"): ("Publisher", "publisher_id"),
    ("Author", "publisher"): ("Publisher", "publisher_id"),
    ("Author", "mentor"): ("Author", "mentor_id"),
    ("Profile", "author"): ("Author", "author_id"),
}
FROM_THEIRS = {
    ("Publisher", "authors"): ("Author", "publisher_id"),
    ("Publisher", "books"): ("Book", "publisher_id"),
    ("Author", "pupils"): ("Author", "mentor_id"),
    ("Author", "profile"): ("Profile", "author_id"),
    ("Author", "books"): ("Book", "author_id"),
}

#: By model and relation, the model that it leads to.
RELATED_MODELS = {relation: other for relation, (other, _) in (TO_ONE | FROM_THEIRS).items()}
RELATED_MODELS |= {("Book", "tags"): "Tag", ("Tag", "books"): "Book"}


def model_at(model: str, path: Sequence[str]) -> str:
    """Return the model that a path leads to."""
    return reduce(lambda here, name: RELATED_MODELS[here, name], path, model)


Condition = tuple[Lookup, Any]


class Oracle:
    """Answers questions on the rows of `rows`.

    Args:
        dialect: whose regular expressions and small letters are meant.
    """

    def __init__(self, dialect: str) -> None:
        self._operators = _OPERATORS | _insensitive(dialect) | _regular(dialect)

    def ask(self, question: Question) -> list[int]:
        """Return the primary keys, in ascending order."""
        everyone = frozenset(row["id"] for row in ROWS[question.model])
        kept = everyone

        def leaf(where: Where) -> frozenset[int]:
            return self._matching(question.model, where)

        for verb, tree in question.steps:
            found = combine(tree, leaf, lambda keys: everyone - keys)
            kept = kept & found if verb == "filter" else kept - found
        return sorted(kept)

    def _matching(self, model: str, where: Where) -> frozenset[int]:
        conditions = [(parse(key), value) for key, value in where.lookups.items()]
        return frozenset(row["id"] for row in ROWS[model] if self._matches(model, row, conditions))

    def _matches(self, model: str, row: Row | None, conditions: list[Condition]) -> bool:
        """Tell whether they all hold; those along one relation for one and the same related row.

        Args:
            row: None for the row that is missing where a relation leads nowhere.
        """
        own = [(lookup, value) for lookup, value in conditions if not lookup.path]
        if not all(self._holds(row, lookup, value) for lookup, value in own):
            return False
        pk = row and row["id"]
        beyond: dict[str, list[Condition]] = {}
        for lookup, value in conditions:
            if lookup.path:
                first, *rest = lookup.path
                shorter = Lookup(tuple(rest), lookup.column, lookup.part, lookup.operator)
                beyond.setdefault(first, []).append((shorter, value))
        return all(
            any(self._matches(other, it, group) for other, it in related(model, pk, name))
            for name, group in beyond.items()
        )

    def _holds(self, row: Row | None, lookup: Lookup, wanted: Any) -> bool:
        if row is None:
            return holds_of_nothing(lookup, wanted)
        value = row[lookup.column]
        if lookup.part and value is not None:
            value = part_of(value, lookup.part)
        if isinstance(wanted, list | tuple):
            wanted = [it.pk if isinstance(it, Record) else it for it in wanted]
        elif isinstance(wanted, Record):
            wanted = wanted.pk
        if wanted is None:
            return (value is None) == (lookup.operator in ("exact", "iexact"))
        if lookup.operator == "isnull":
            return (value is None) == wanted
        if lookup.operator == "not_in":
            return set(wanted) <= {None} or (value is not None and value not in wanted)
        return value is not None and self._operators[lookup.operator](value, wanted)


@cache
def related(model: str, pk: int | None, name: str) -> list[tuple[str, Row | None]]:
    """Return the related rows with their model; None where there is no such row."""
    other = RELATED_MODELS[model, name]
    found: list[tuple[str, Row | None]] = [
        (other, row) for row in ROWS[other] if _are_related(model, pk, name, row)
    ]
    return found or [(other, None)]


def _are_related(model: str, pk: int | None, name: str, row: Row) -> bool:
    if pk is None:
        return False
    if (model, name) in TO_ONE:
        return bool(ROWS[model][pk - 1][TO_ONE[model, name][1]] == row["id"])
    if (model, name) in FROM_THEIRS:
        return bool(row[FROM_THEIRS[model, name][1]] == pk)
    return ((pk, row["id"]) if name == "tags" else (row["id"], pk)) in _PAIRS


_PAIRS = frozenset(BOOK_TAGS)


def holds_of_nothing(lookup: Lookup, wanted: Any) -> bool:
    """Tell whether a lookup finds the row that is not there: it asks for NULL, or for nothing."""
    if lookup.operator == "isnull":
        return wanted is True
    if lookup.operator == "not_in":
        return set(wanted) <= {None}
    return wanted is None and lookup.operator in ("exact", "iexact")


def part_of(value: Any, part: str) -> Any:
    """Return a part of a date, a datetime or a time."""
    if part in _PARTS:
        return _PARTS[part](value)
    return getattr(value, part)


_PARTS: dict[str, Callable[[Any], Any]] = {
    "date": datetime.date,
    "time": lambda value: value.replace(tzinfo=None).time(),
    "iso_year": lambda value: value.isocalendar().year,
    "week": lambda value: value.isocalendar().week,
    "week_day": lambda value: value.isoweekday() % 7 + 1,
    "iso_week_day": date.isoweekday,
    "quarter": lambda value: (value.month + 2) // 3,
}

Operator = Callable[[Any, Any], bool]

_OPERATORS: dict[str, Operator] = {
    "exact": lambda value, wanted: value == wanted,
    "ne": lambda value, wanted: value != wanted,
    "in": lambda value, wanted: value in wanted,
    "gt": lambda value, wanted: value > wanted,
    "gte": lambda value, wanted: value >= wanted,
    "lt": lambda value, wanted: value < wanted,
    "lte": lambda value, wanted: value <= wanted,
    "range": lambda value, wanted: wanted[0] <= value <= wanted[1],
    "contains": lambda value, wanted: wanted in value,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "like": lambda value, wanted: like(value, wanted),
}


def _lower(text: str) -> str:
    """Return the text in lower case, letter by letter: none becomes two, none looks around."""
    return "".join(letter.lower()[0] for letter in text)


def _insensitive(dialect: str) -> dict[str, Operator]:
    """Return the ``i`` forms; MariaDB's LOWER() has no small letter for the capital ``ẞ``."""

    def fold(text: str) -> str:
        kept = "ẞ" if dialect == "mariadb" else ""
        return "".join(letter if letter in kept else _lower(letter) for letter in text)

    def folded(plain: Operator) -> Operator:
        return lambda value, wanted: plain(fold(value), fold(wanted))

    names = ("exact", "contains", "startswith", "endswith", "like")
    return {f"i{name}": folded(_OPERATORS[name]) for name in names}


def like(text: str, pattern: str) -> bool:
    """Match as LIKE does, with the backslash before what stands for itself."""
    words = re.findall(r"\\.|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    regex = "".join(wild.get(word) or re.escape(word[-1]) for word in words)
    return re.fullmatch(regex, text, re.DOTALL) is not None


def _regular(dialect: str) -> dict[str, Operator]:
    """Return the regular expressions; PostgreSQL's take a line break for any other character."""
    flags = re.DOTALL if dialect == "postgresql" else 0

    def search(value: str, pattern: str, *, flags: int = flags) -> bool:
        if dialect == "postgresql":
            pattern = pattern.replace("$", r"\Z")
        return re.search(pattern, value, flags) is not None

    return {
        "regex": search,
        "iregex": lambda value, pattern: search(value, pattern, flags=flags | re.IGNORECASE),
    }
