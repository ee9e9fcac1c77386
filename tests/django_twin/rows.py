"""What is in the tables: each value that some lookup, quoting or calendar could trip over."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import cycle, islice
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Engine, insert

from tests.django_twin.models import MODELS, Twin, book_tag

T = TypeVar("T")
Row = dict[str, Any]

#: Letters whose case every rule folds alike: on these all databases must agree.
TEXTS = [
    *("", " ", "a", "A", "b", "ab", "aB", "AB", "Ab", "a b", " a", "a ", "a\nb", "b\n", "\ta"),
    *("%", "%%", "_", "__", "a%b", "a_b", "axb", "a%", "_b", "100%"),
    *("\\", "\\\\", "a\\b", "\\%", "\\_", "a\\%b", "/", "a/b", "/%", "!", "^a$", "a.b", "a|b"),
    *("'", '"', "it's", "`", "a;b--", "(a)", "[ab]", "a*", "?", ":a", "%s", "%(a)s", "{a}"),
    *("ä", "Ä", "xÄx", "é", "É", "e\u0301", "яб", "ЯБ", "日本", "日本語", "😀", "a😀b"),
    *("a\u00a0b", "\u200b", "null", "None", "0", "1", "true"),
]

#: Letters whose folding depends on the rule: to lower case, to upper case, or Unicode's casefold.
WORDS = [
    *("i", "I", "ı", "İ", "k", "K", "\u212a", "s", "S", "ſ", "σ", "ς", "Σ", "ǆ", "ǅ", "Ǆ"),  # noqa: RUF001  # alike on purpose
    *("ß", "ẞ", "ss", "SS", "straße", "STRASSE", "STRAẞE", "fi", "ﬁ", "FI", "a", "A", "ä", "Ä"),
]

INTEGERS = [0, 1, -1, 2, 7, -7, 10, 100, 2**31 - 1, -(2**31)]
LONGS = [0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -(2**63)]
FLOATS = [0.0, 0.1, 1.5, -2.25, 3.0, 1e10, 1e-7, -0.1]
DECIMALS = [Decimal(text) for text in ("0.00", "0.10", "9.99", "-5.00", "10.00", "12345678.90")]
UUIDS = [UUID(int=number) for number in (0, 1, 2**64, 2**127, 2**128 - 1)]
TIMES = [
    *(time(0), time(0, 0, 0, 1), time(0, 0, 59), time(0, 1), time(11, 59, 59, 999999), time(12)),
    *(time(12, 0, 0, 500000), time(23, 0), time(23, 59), time(23, 59, 59), time.max),
]

#: Years of every kind: that begin on each day of the week, leap years, with 53 ISO weeks.
_TURNS = [1999, 2000, 2004, 2009, 2015, 2019, 2020, 2022, 2023]
DATES = [
    *(date(year, 12, 28) + timedelta(days) for year in _TURNS for days in range(8)),
    *(date(2000, 2, 29), date(2023, 2, 28), date(2023, 3, 1), date(2024, 2, 29), date(1900, 3, 1)),
    *(
        date(2024, month, day)
        for month, day in ((3, 31), (4, 1), (6, 30), (7, 1), (9, 30), (10, 1))
    ),
    *(date(1969, 12, 31), date(1970, 1, 1), date(1001, 1, 1), date(9998, 12, 31)),
]
DATETIMES = [
    datetime.combine(day, moment)
    for day, moment in zip(DATES, cycle([time.max, time(0), *TIMES]), strict=False)
]


def _some(values: Sequence[T], number: int, *, without_every: int = 0) -> list[T | None]:
    """Return that many of the values in turn; every so many-th is None."""
    found: list[T | None] = list(islice(cycle(values), number))
    if without_every:
        found[without_every - 1 :: without_every] = [None] * (number // without_every)
    return found


def _rows(columns: dict[str, list[Any]]) -> list[Row]:
    columns = {"id": list(range(1, len(next(iter(columns.values()))) + 1)), **columns}
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _publishers() -> list[Row]:
    names = [None, "", "a%b", "Ä", "a_b", "ab"]
    return _rows({"name": names, "founded": [None, 1999, 0, -1, 1999, None]})


def _authors() -> list[Row]:
    """Twins by name, a chain of mentors, one who is her own, one nobody knows anything of."""
    names = ["a", "A", "a", "a%b", "a_b", "\\", "ä", "Ä", "", "it's", "日本", "b", "b\n", "x"]
    return _rows(
        {
            "name": names,
            "bio": _some(["", "a", "a%b", "Ä", "\\%", "b", "AB"], 14, without_every=3),
            "born": _some(DATES[::7], 14, without_every=4),
            "publisher_id": _some([1, 2, 3, 4, 3], 14, without_every=5),
            "mentor_id": [None, 1, 1, 2, 4, 6, 1, 4, None, 3, 3, None, 5, None],
        }
    )


def _profiles() -> list[Row]:
    return _rows(
        {
            "nick": ["a", None, "Ä", "a%b", "", None, "b"],
            "public": [True, False, None, True, False, None, True],
            "author_id": [1, 2, 3, 5, 7, 9, 14],
        }
    )


def _books() -> list[Row]:
    """One for each date, of a few authors; the last but one is all NULL, the last two by nobody."""
    number = len(DATES)
    rows = _rows(
        {
            "title": _some(TEXTS, number, without_every=17),
            "pages": _some(INTEGERS, number, without_every=7),
            "sold": _some(LONGS, number, without_every=9),
            "rating": _some(FLOATS, number, without_every=11),
            "price": _some(DECIMALS, number, without_every=13),
            "in_print": _some([True, False, None], number),
            "published": _some(DATES, number, without_every=19),
            "noted": _some(DATETIMES[::-1], number, without_every=16),
            "moment": [
                moment and moment.replace(tzinfo=UTC)
                for moment in _some(DATETIMES, number, without_every=18)
            ],
            "opens": _some(TIMES, number, without_every=12),
            "code": _some(UUIDS, number, without_every=6),
            "author_id": _some([1, 2, 3, 4, 5, 6, 7, 8, 1, 1, 2], number, without_every=8),
            "publisher_id": _some([1, 2, 3, 4, 3], number),
        }
    )
    nothing = dict.fromkeys(rows[0]) | {"publisher_id": 5}
    return [*rows, nothing | {"id": number + 1}, nothing | {"id": number + 2, "title": "a"}]


def _pairs(books: list[Row], tags: list[Row]) -> list[tuple[int, int]]:
    """Give every third book no tag, others one to four; the last tags have no book."""
    used = len(tags) - 3
    return [
        (book["id"], (book["id"] * 7 + number * 5) % used + 1)
        for book in books
        for number in range(book["id"] % 3 * 2)
    ]


#: The rows of every table by the model's name.
ROWS: dict[str, list[Row]] = {
    "Publisher": _publishers(),
    "Author": _authors(),
    "Profile": _profiles(),
    "Book": _books(),
    "Tag": _rows({"word": WORDS}),
}
#: Which book has which tag, by their primary keys.
BOOK_TAGS = _pairs(ROWS["Book"], ROWS["Tag"])


def create(engine: Engine) -> None:
    """Create the tables and fill them."""
    Twin.metadata.create_all(engine)
    with engine.begin() as connection:
        for name, rows in ROWS.items():
            connection.execute(insert(MODELS[name]), rows)
        pairs = [{"book_id": book, "tag_id": tag} for book, tag in BOOK_TAGS]
        connection.execute(insert(book_tag), pairs)
