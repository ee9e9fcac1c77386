"""What is asked: every operator on every type of column with every value, and every relation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from tests.django_twin import rows
from tests.django_twin.oracle import RELATED_MODELS
from tests.django_twin.questions import TO_ONE, Record

Case = tuple[str, Any]

KINDS = {
    "Publisher": {"name": "text", "founded": "integer"},
    "Author": {"name": "text", "bio": "text", "born": "date"},
    "Profile": {"nick": "text", "public": "boolean"},
    "Tag": {"word": "text"},
    "Book": {
        "title": "text",
        "pages": "integer",
        "sold": "long",
        "rating": "float",
        "price": "decimal",
        "in_print": "boolean",
        "published": "date",
        "noted": "datetime",
        "moment": "moment",
        "opens": "time",
        "code": "uuid",
    },
}

_MISSES = [date(2001, 1, 1), date(2024, 12, 31)]
_TIMED = [*rows.DATETIMES[::5], datetime(2000, 1, 1), datetime(2020, 12, 31, 23, 59, 59, 999999)]
#: The moments of two of them, said by clocks elsewhere.
_ELSEWHERE = [
    rows.DATETIMES[3].replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=5, minutes=30))),
    rows.DATETIMES[-6].replace(tzinfo=UTC).astimezone(timezone(timedelta(hours=-11))),
]
VALUES: dict[str, Sequence[Any]] = {
    "text": [*rows.TEXTS, "zzz", "B\n", "éé", "本", "\ufe0f"],
    "word": [*rows.WORDS, "STRASSEN", "å"],
    "integer": [*rows.INTEGERS, 3, -100],
    "long": [*rows.LONGS, 2**53 - 1],
    "float": [*rows.FLOATS, 0.5],
    "decimal": [*rows.DECIMALS, Decimal("9.98"), Decimal("0")],
    "boolean": [True, False],
    "date": [*rows.DATES[::3], *_MISSES],
    "datetime": _TIMED,
    "moment": [value.replace(tzinfo=UTC) for value in _TIMED] + _ELSEWHERE,
    "time": [*rows.TIMES, time(1), time(0, 0, 0, 2)],
    "uuid": [*rows.UUIDS, UUID(int=5)],
}
#: Regular expressions that mean the same everywhere, but for ``$``.
_PATTERNS = (
    r"a b$ ^a ^$ a.b ^.$ a|b [ab]b ^(a|A) \\ % _ ä ^[Ää]$ a\.b \d ^.{2}$ 日 😀 ^\^ é \( \[ '"
).split()
#: LIKE patterns; one that ends with the escape character is an error on PostgreSQL.
_LIKES = ["", *r"% _ __ a% %b a_b a\%b a\_b \\ %\\% %\%% a%b A% %ä% Ä ^a$ %/% \a% %\b".split()]

#: Numbers that parts are compared with.
_PART_VALUES = {
    "year": [1001, 1999, 2000, 2001, 2003, 2016, 2020, 2024],
    "iso_year": [1001, 1999, 2000, 2004, 2005, 2009, 2010, 2015, 2020, 2024],
    "month": [1, 2, 3, 6, 12, 0, 13],
    "day": [1, 4, 28, 29, 31, 0],
    "week": [1, 9, 26, 52, 53, 0],
    "week_day": [*range(9)],
    "iso_week_day": [*range(9)],
    "quarter": [*range(6)],
    "hour": [0, 11, 12, 23, 24],
    "minute": [0, 1, 59],
    "second": [0, 59, 60],
}
_DATE_PARTS = "year iso_year month day week week_day iso_week_day quarter".split()
_TIME_PARTS = "hour minute second".split()
_PARTS = {
    "date": _DATE_PARTS,
    "time": _TIME_PARTS,
    "datetime": _DATE_PARTS + _TIME_PARTS,
    "moment": _DATE_PARTS + _TIME_PARTS,
}

_TEXT_OPERATORS = "iexact contains icontains startswith istartswith endswith iendswith".split()
#: What activebase has and Django has not.
OWN_OPERATORS = frozenset({"ne", "not_in", "like", "ilike"})


# -- every lookup ----------------------------------------------------------------------------


def cases_of(model: str, column: str) -> list[Case]:
    """Return all lookups of a column, each with all its values."""
    kind = KINDS[model][column]
    values = VALUES["word" if column == "word" else kind]
    parts = _PARTS.get(kind, [])
    if column == "born":  # `published` has them all
        values, parts = values[::4], ["iso_year", "week"]
    if kind == "text" and column not in ("word", "title"):
        values = ["", "a", "A", "a%b", "b\n", "\\%", "Ä", "日本", "it's", "zzz"]
    cases = list(_general(values))
    if kind == "text":
        cases += list(_textual(values))
    for part in parts:
        cases += [(f"{part}{suffix}", value) for suffix, value in _general(_PART_VALUES[part])]
    if kind in ("datetime", "moment"):
        cases += [(f"date{suffix}", value) for suffix, value in _general(VALUES["date"][::3])]
        cases += [(f"time{suffix}", value) for suffix, value in _general(VALUES["time"])]
    if kind == "boolean":  # which has no order
        ordered = ("gt", "gte", "lt", "lte", "range")
        cases = [case for case in cases if not case[0].endswith(ordered)]
    return [
        (f"{column}__{suffix.removeprefix('__')}".rstrip("_"), value) for suffix, value in cases
    ]


def _general(values: Sequence[Any]) -> Iterator[Case]:
    """Yield what every type takes; the operator begins with ``__``, as it follows a name."""
    step = 4 if len(values) > 15 else 2
    for value in values:
        yield from ((name, value) for name in ("", "__ne"))
    for value in values[::step]:
        yield from ((f"__{name}", value) for name in ("gt", "gte", "lt", "lte"))
    yield "__exact", values[-1]
    yield from ((name, None) for name in ("", "__exact", "__ne"))
    yield from (("__isnull", wanted) for wanted in (True, False))
    first, second, third = values[0], values[1], values[-1]
    for some in ([], [first], [second, third], [first, first], list(values), [None]):
        yield "__in", some
        yield "__not_in", some
    yield from ((name, [second, None]) for name in ("__in", "__not_in"))
    for low, high in zip(values[::step], [*values[step::step], values[0]], strict=True):
        yield "__range", (low, high)
    yield "__range", (third, third)


def _textual(values: Sequence[str]) -> Iterator[Case]:
    for value in values:
        yield from ((f"__{name}", value) for name in _TEXT_OPERATORS)
    yield "__iexact", None
    yield from ((f"__{name}", pattern) for name in ("regex", "iregex") for pattern in _PATTERNS)
    yield from ((f"__{name}", pattern) for name in ("like", "ilike") for pattern in _LIKES)


# -- relations -------------------------------------------------------------------------------


@cache
def paths_of(model: str, *, depth: int = 3) -> list[tuple[tuple[str, ...], str]]:
    """Return the paths of relations from a model, shortest first, each with where it leads."""
    paths: list[tuple[tuple[str, ...], str]] = [((), model)]
    for path, here in paths:
        if len(path) < depth:
            paths += [
                ((*path, name), other) for (of, name), other in RELATED_MODELS.items() if of == here
            ]
    return paths


def relation_cases(model: str) -> list[Case]:
    """Return the lookups whose value is a record, and the NULL tests, of a model's relations."""
    cases: list[Case] = []
    for path, other in paths_of(model, depth=2)[1:]:
        key = "__".join(path)
        cases += [(f"{key}__isnull", True), (f"{key}__isnull", False)]
        cases += [(f"{key}__pk", 1), (f"{key}__id__in", [1, 2]), (f"{key}__pk__gt", 3)]
        if path[-1] in TO_ONE:
            some = [Record(other, 1), Record(other, 3)]
            cases += [(key, None), (key, some[0]), (f"{key}__ne", some[0])]
            cases += [(f"{key}__in", it) for it in (some, [], [some[1], None])]
            cases += [(f"{key}__not_in", it) for it in (some, [], [None])]
    return cases
