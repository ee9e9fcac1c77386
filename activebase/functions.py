"""SQL that each database spells differently: matching text, and parts of dates.

Each class is one function of SQL with a template per dialect; ``{0}`` is the column, ``{1}`` the
value. What is bound differs as well, a LIKE pattern here and a GLOB pattern there, so the value's
type (`Pattern`) writes it when the statement is sent. What SQLite lacks, `set_up_sqlite()` adds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, Literal

from sqlalchemy import (
    ColumnElement,
    Date,
    DateTime,
    Dialect,
    Integer,
    String,
    Time,
    TypeDecorator,
    cast,
)
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Enum, NullType, TypeEngine

from .errors import InvalidLookupError
from .values import plain_type

# -- patterns --------------------------------------------------------------------------------

Shape = Literal["whole", "contains", "startswith", "endswith", "like", "regex"]


class _Wildcard:
    """A place in a pattern that is no character of its own."""


_ANY = _Wildcard()  # any characters, or none
_ONE = _Wildcard()  # one character


def fold(text: str) -> str:
    """Return the text in lower case, character by character, as PostgreSQL's lower() has it."""
    if text.isascii():
        return text.lower()
    # str.lower() turns one character into two, and looks at the end of a word: databases do not.
    return "".join(character.lower()[0] for character in text)


def _pieces(value: str, shape: Shape) -> Iterator[str | _Wildcard]:
    if shape == "like":
        yield from _pieces_of_like(value)
        return
    if shape in ("contains", "endswith"):
        yield _ANY
    yield from value
    if shape in ("contains", "startswith"):
        yield _ANY


def _pieces_of_like(pattern: str) -> Iterator[str | _Wildcard]:
    characters = iter(pattern)
    for character in characters:
        if character == "\\":
            yield next(characters, "\\")
        else:
            yield {"%": _ANY, "_": _ONE}.get(character, character)


def _like(pieces: Iterable[str | _Wildcard]) -> str:
    # Not escaped with a backslash, which MySQL would read in the ESCAPE clause as well.
    spelled = {_ANY: "%", _ONE: "_", "%": "/%", "_": "/_", "/": "//"}
    return "".join(spelled.get(piece, str(piece)) for piece in pieces)


def _glob(pieces: Iterable[str | _Wildcard]) -> str:
    spelled = {_ANY: "*", _ONE: "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(spelled.get(piece, str(piece)) for piece in pieces)


class Pattern(TypeDecorator[str]):
    """Text to look for, sent as the pattern that the database at hand understands."""

    impl = String
    cache_ok = True

    def __init__(self, shape: Shape, folded: bool = False) -> None:
        super().__init__()
        self.shape: Shape = shape
        self.folded = folded

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what is sent."""
        if value is None:
            return None
        if self.shape == "regex":
            return self._regex(value, dialect)
        if dialect.name != "sqlite":
            return _like(_pieces(value, self.shape))
        text = fold(value) if self.folded else value
        if self.shape in ("whole", "contains"):
            return text
        pattern = _glob(_pieces(text, self.shape))
        if len(pattern.encode()) > _LONGEST_GLOB:
            raise _Unmatchable(f"{self.shape} takes up to {_LONGEST_GLOB:,} bytes on SQLite.")
        return pattern

    def _regex(self, value: str, dialect: Dialect) -> str:
        if dialect.name == "sqlite":
            _check_regex(value)
        if dialect.name in ("mysql", "mariadb"):
            return ("(?i)" if self.folded else "(?-i)") + value
        return value


_LONGEST_GLOB = 50_000  # SQLITE_MAX_LIKE_PATTERN_LENGTH, unless SQLite was built otherwise


class _Unmatchable(InvalidLookupError, DontWrapMixin):
    """An `InvalidLookupError` that SQLAlchemy raises as it is, from inside a statement, too."""


def _check_regex(pattern: str) -> None:
    """Refuse a wrong pattern before any row is looked at."""
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise _Unmatchable(
            f"regex takes a regular expression of Python's on SQLite, which this is not: {error}."
        ) from None


# -- matching text ---------------------------------------------------------------------------


class _Templated(FunctionElement[Any]):
    """A function that is written by the template for the dialect."""

    inherit_cache = True
    default: ClassVar[str]
    mysql: ClassVar[str]
    sqlite: ClassVar[str]


@compiles(_Templated)
def _compile(element: _Templated, compiler: Any, **options: Any) -> str:
    dialect = compiler.dialect.name.replace("mariadb", "mysql")
    template = getattr(element, dialect, element.default)
    return template.format(*(compiler.process(clause, **options) for clause in element.clauses))


class TextMatch(_Templated):
    """A comparison of a column with a `Pattern`.

    It has no Boolean type on purpose: SQLAlchemy would write ``(...) = 1`` on databases without
    one, and no index would serve that.
    """

    inherit_cache = True
    pattern: ClassVar[Pattern]


def _text_match(name: str, pattern: Pattern, **templates: str) -> type[TextMatch]:
    namespace = {"inherit_cache": True, "pattern": pattern, **templates}
    return type(f"_{name}", (TextMatch,), namespace)


# MariaDB compares by the column's collation, which as a rule folds case and accents.
_BINARY = "{1} COLLATE utf8mb4_bin ESCAPE '/'"
_LOWER = "LOWER({1}) COLLATE utf8mb4_bin ESCAPE '/'"


def _sensitive(name: Shape, **templates: str) -> type[TextMatch]:
    known = {
        "default": "({0} LIKE {1} ESCAPE '/')",
        "mysql": f"({{0}} LIKE {_BINARY})",
        "sqlite": "({0} GLOB {1})",
    }
    return _text_match(name, Pattern(name), **(known | templates))


def _insensitive(name: str, shape: Shape, **templates: str) -> type[TextMatch]:
    known = {
        "default": "({0} ILIKE {1} ESCAPE '/')",
        "mysql": f"(LOWER({{0}}) LIKE {_LOWER})",
        "sqlite": "(activebase_fold({0}) GLOB {1})",
    }
    return _text_match(name, Pattern(shape, folded=True), **(known | templates))


TEXT_MATCHES: dict[str, type[TextMatch]] = {
    "contains": _sensitive("contains", sqlite="(instr({0}, {1}) > 0)"),
    # The first half is what an index of MariaDB can serve.
    "startswith": _sensitive(
        "startswith", mysql=f"({{0}} LIKE {{1}} ESCAPE '/' AND {{0}} LIKE {_BINARY})"
    ),
    "endswith": _sensitive("endswith"),
    "like": _sensitive("like"),
    "iexact": _insensitive(
        "iexact",
        "whole",
        # An index on lower(column) serves this.
        default="(lower({0}) LIKE lower({1}) ESCAPE '/')",
        sqlite="(activebase_fold({0}) = {1})",
    ),
    "icontains": _insensitive(
        "icontains", "contains", sqlite="(instr(activebase_fold({0}), {1}) > 0)"
    ),
    "istartswith": _insensitive("istartswith", "startswith"),
    "iendswith": _insensitive("iendswith", "endswith"),
    "ilike": _insensitive("ilike", "like"),
    "regex": _text_match(
        "regex",
        Pattern("regex"),
        default="({0} ~ {1})",
        mysql="({0} REGEXP {1})",
        sqlite="activebase_regex({1}, {0}, 0)",
    ),
    "iregex": _text_match(
        "iregex",
        Pattern("regex", folded=True),
        default="({0} ~* {1})",
        mysql="({0} REGEXP {1})",
        sqlite="activebase_regex({1}, {0}, 1)",
    ),
}


def as_text(column: Any) -> Any:
    """Return the column, cast to text where it is none."""
    type_: TypeEngine[Any] = getattr(column, "type", None) or NullType()
    plain = plain_type(type_)
    is_text = isinstance(plain, String) and not isinstance(plain, Enum)
    return column if is_text or isinstance(plain, NullType) else cast(column, String)


# -- parts of dates --------------------------------------------------------------------------


class DatePart(_Templated):
    """A part of a date: a number, the date of a moment, or its time."""

    inherit_cache = True
    of_date: ClassVar[bool]
    of_time: ClassVar[bool]


class _InUTC(_Templated):
    inherit_cache = True
    default = "timezone('UTC', {0})"
    mysql = sqlite = "{0}"


# On SQLite the parts are cut out of the text: strftime() rounds 59.999999 seconds up.
def _cut(start: int, length: int) -> str:
    return f"CAST(substr({{0}}, {start}, {length}) AS INTEGER)"


_THURSDAY = "date(substr({0}, 1, 10), '-3 days', 'weekday 4')"  # of the same ISO week
_WEEKDAY = "CAST(strftime('%w', substr({0}, 1, 10)) AS INTEGER)"  # from 0, Sunday


def _date_part(
    name: str, default: str, *, mysql: str, sqlite: str, type_: TypeEngine[Any], of: str
) -> type[DatePart]:
    namespace = {
        "inherit_cache": True,
        "default": default,
        "mysql": mysql,
        "sqlite": sqlite,
        "type": type_,
        "of_date": "date" in of,
        "of_time": "time" in of,
    }
    return type(f"_{name}", (DatePart,), namespace)


def _number(name: str, field: str, *, mysql: str = "", sqlite: str, of: str) -> type[DatePart]:
    extract = f"EXTRACT({field} FROM {{0}})"
    return _date_part(name, extract, mysql=mysql or extract, sqlite=sqlite, type_=Integer(), of=of)


DATE_PARTS: dict[str, type[DatePart]] = {
    "year": _number("year", "YEAR", sqlite=_cut(1, 4), of="date"),
    "month": _number("month", "MONTH", sqlite=_cut(6, 2), of="date"),
    "day": _number("day", "DAY", sqlite=_cut(9, 2), of="date"),
    "hour": _number("hour", "HOUR", sqlite=_cut(12, 2), of="time"),
    "minute": _number("minute", "MINUTE", sqlite=_cut(15, 2), of="time"),
    "quarter": _number("quarter", "QUARTER", sqlite=f"(({_cut(6, 2)} + 2) / 3)", of="date"),
    "iso_year": _number(
        "iso_year",
        "ISOYEAR",
        mysql="(YEARWEEK({0}, 3) DIV 100)",
        sqlite=f"CAST(strftime('%Y', {_THURSDAY}) AS INTEGER)",
        of="date",
    ),
    "week": _number(
        "week",
        "WEEK",
        mysql="WEEK({0}, 3)",
        sqlite=f"((CAST(strftime('%j', {_THURSDAY}) AS INTEGER) - 1) / 7 + 1)",
        of="date",
    ),
    "week_day": _date_part(
        "week_day",
        "(EXTRACT(DOW FROM {0}) + 1)",
        mysql="DAYOFWEEK({0})",
        sqlite=f"({_WEEKDAY} + 1)",
        type_=Integer(),
        of="date",
    ),
    "iso_week_day": _date_part(
        "iso_week_day",
        "EXTRACT(ISODOW FROM {0})",
        mysql="(WEEKDAY({0}) + 1)",
        sqlite=f"(({_WEEKDAY} + 6) % 7 + 1)",
        type_=Integer(),
        of="date",
    ),
    "second": _date_part(
        "second",
        "FLOOR(EXTRACT(SECOND FROM {0}))",
        mysql="EXTRACT(SECOND FROM {0})",
        sqlite=_cut(18, 2),
        type_=Integer(),
        of="time",
    ),
    "date": _date_part(
        "date",
        "CAST({0} AS DATE)",
        mysql="CAST({0} AS DATE)",
        sqlite="substr({0}, 1, 10)",
        type_=Date(),
        of="date",
    ),
    "time": _date_part(
        "time",
        "CAST({0} AS TIME)",
        mysql="CAST({0} AS TIME(6))",
        # CURRENT_TIMESTAMP has no fraction, and SQLAlchemy's values always have one.
        sqlite="substr(substr({0}, 12) || '.000000', 1, 15)",
        type_=Time(),
        of="time",
    ),
}


def date_part(name: str, column: Any) -> ColumnElement[Any] | None:
    """Return a part of a column, None if a column of its type has no such part."""
    part = DATE_PARTS[name]
    type_: TypeEngine[Any] = getattr(column, "type", None) or NullType()
    plain = plain_type(type_)
    if isinstance(plain, DateTime):
        return part(_InUTC(column) if plain.timezone else column)
    if isinstance(plain, Date):
        return part(column) if part.of_date and name != "date" else None
    if isinstance(plain, Time):
        return part(_OnSomeDay(column)) if part.of_time and name != "time" else None
    return part(column) if isinstance(plain, NullType) else None


class _OnSomeDay(_Templated):
    """A time as SQLite's parts expect it: behind a date."""

    inherit_cache = True
    default = mysql = "{0}"
    sqlite = "('0001-01-01 ' || {0})"


# -- SQLite ----------------------------------------------------------------------------------


def set_up_sqlite(connection: Any) -> None:
    """Add to a connection of the `sqlite3` module what lookups need and SQLite lacks."""
    connection.create_function("activebase_fold", 1, _fold, deterministic=True)
    connection.create_function("activebase_regex", 3, _regex, deterministic=True)


def _fold(value: Any) -> Any:
    return fold(value) if isinstance(value, str) else value


def _regex(pattern: str | None, text: Any, folded: int) -> bool | None:
    if pattern is None or text is None:
        return None
    return re.search(pattern, str(text), re.IGNORECASE if folded else 0) is not None
