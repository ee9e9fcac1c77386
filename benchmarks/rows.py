"""The rows that every contender writes and reads: each follows from its number, from 1."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

CITIES = ("Oslo", "Lima", "Kyiv", "Perth", "Quito", "Turin", "Busan")
WIDE_COLUMNS = tuple(f"c{n:02}" for n in range(1, 21))
#: How many rows the table `wide` has.
WIDE_ROWS = 50
AUTHORS, BOOKS_EACH = 200, 10

_START = datetime(2025, 1, 1)


def person(number: int) -> dict[str, Any]:
    """Return a person without the key."""
    return {
        "email": email(number),
        "name": f"Person {number}",
        "city": CITIES[number % len(CITIES)],
        "age": number % 90,
    }


def email(number: int) -> str:
    """Return the unique column of a person."""
    return f"person{number}@example.org"


def people(size: int) -> list[dict[str, Any]]:
    """Return the people 1 to size."""
    return [person(number) for number in range(1, size + 1)]


def moved_people(size: int) -> list[dict[str, Any]]:
    """Return the people 1 to size, a year older and elsewhere."""
    return [row | {"city": "Moved", "age": row["age"] + 1} for row in people(size)]


def ages(size: int) -> int:
    """Return the sum of the ages of the people 1 to size."""
    return sum(number % 90 for number in range(1, size + 1))


def wide(number: int) -> dict[str, int]:
    """Return a row of twenty numbers."""
    return {name: number * place for place, name in enumerate(WIDE_COLUMNS, 1)}


def wide_filters(number: int, count: int) -> dict[str, int]:
    """Return what the first columns of a wide row are equal to; it finds that row alone."""
    row = wide(number % WIDE_ROWS + 1)
    return {name: row[name] for name in WIDE_COLUMNS[:count]}


def event(number: int) -> dict[str, Any]:
    """Return an event without the key; two have the same time."""
    return {"happened_at": _START + timedelta(minutes=number // 2), "amount": number % 1000}


def authors() -> Iterator[dict[str, Any]]:
    """Yield the authors with their keys."""
    for number in range(1, AUTHORS + 1):
        yield {"id": number, "name": f"Author {number}"}


def books() -> Iterator[dict[str, Any]]:
    """Yield the books with their keys."""
    for number in range(AUTHORS * BOOKS_EACH):
        yield {
            "id": number + 1,
            "author_id": number // BOOKS_EACH + 1,
            "title": f"Book {number}",
            "year": 1900 + number % 120,
        }
