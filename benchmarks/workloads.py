"""The workloads: what each contender is asked to do, and what must have come of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .rows import AUTHORS, BOOKS_EACH, WIDE_ROWS, ages, event

#: A page of events, and how many events stand before it.
PAGE, DEPTH = 20, 100_000
EVENTS = 110_000
#: How many people a list has.
LISTED = 1_000
#: The most people that a workload starts with.
PEOPLE = 20_000

#: How many people are left, the sum of their ages, how many have moved, and how many visits.
LEFT = """
    SELECT count(*), coalesce(sum(age), 0), count(CASE WHEN city = 'Moved' THEN 1 END),
           (SELECT count(*) FROM visit)
    FROM person
"""
Left = tuple[int, int, int, int]


def _all_people(size: int) -> Left:
    return size, ages(size), 0, 0


def _all_moved(size: int) -> Left:
    return size, ages(size) + size, size, 0


def _visited(size: int) -> Left:
    return 1, ages(1) + size, 0, 2 * size


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Something that each contender does."""

    name: str
    title: str
    #: How many records, requests or calls; in a quick run, a tenth.
    size: int
    #: How many people there are at the start.
    people: Callable[[int], int] = lambda size: size
    #: What is left in the database, as `LEFT` reads it; default what it starts with.
    left: Callable[[int], Left] | None = None
    #: What the contender returns.
    returns: Callable[[int], Any] = lambda size: None
    #: The contenders' method, and what it takes beside the size.
    method: str = ""
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    #: Whether what is added to a call is told, in microseconds.
    tells_microseconds: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", self.method or self.name)

    def sized(self, *, quick: bool) -> int:
        """Return the size of a run."""
        return max(1, self.size // 10) if quick else self.size

    def left_by(self, size: int) -> Left:
        """Return what is left in the database after a run."""
        return _all_people(self.people(size)) if self.left is None else self.left(size)


def _none(size: int) -> int:
    return 0


def _half(size: int) -> int:
    return size // 2


def _one(size: int) -> int:
    return 1


def _same(size: int) -> int:
    return size


def _wide_keys(size: int) -> int:
    return sum(number % WIDE_ROWS + 1 for number in range(size))


def _page_amounts(size: int) -> int:
    return size * sum(event(DEPTH + number)["amount"] for number in range(1, PAGE + 1))


def _keys(size: int) -> int:
    return size * (size + 1) // 2


def _filters(count: int) -> Workload:
    return Workload(
        name=f"filters_{count}",
        title=f"{count} keyword filter{'s' if count > 1 else ''}",
        size=300,
        method="filters",
        arguments={"count": count},
        returns=_wide_keys,
        people=_none,
    )


def _boundary(name: str, title: str, size: int, **options: Any) -> Workload:
    given = {"people": _one, **options}
    return Workload(name=name, title=title, size=size, **given)


WORKLOADS = (
    Workload(name="save", title="save, one by one", size=1000, people=_none, left=_all_people),
    Workload(name="update", title="update, changed values", size=1000, left=_all_moved),
    Workload(name="update_unchanged", title="update, the same values", size=1000),
    Workload(name="delete", title="delete, one by one", size=1000, left=lambda size: (0, 0, 0, 0)),
    Workload(name="get", title="get by key", size=1000, returns=ages),
    Workload(name="get_by", title="get by unique column", size=1000, returns=ages),
    _filters(1),
    _filters(5),
    _filters(20),
    Workload(
        name="list",
        title="list of 1,000",
        size=20,
        people=lambda size: LISTED,
        returns=lambda size: size * LISTED,
    ),
    Workload(
        name="eager",
        title="200 with 10 related each",
        size=10,
        returns=lambda size: size * AUTHORS * BOOKS_EACH,
        people=_none,
    ),
    Workload(
        name="bulk_create", title="bulk create 20,000", size=PEOPLE, people=_none, left=_all_people
    ),
    Workload(
        name="bulk_create_records",
        title="the same, with records back",
        size=PEOPLE,
        people=_none,
        left=_all_people,
        returns=_keys,
    ),
    Workload(name="bulk_update", title="bulk update 20,000", size=PEOPLE, left=_all_moved),
    Workload(name="upsert", title="upsert 20,000", size=PEOPLE, people=_half, left=_all_moved),
    Workload(
        name="offset_page",
        title="page by offset at 100,000",
        size=20,
        people=_none,
        returns=_page_amounts,
    ),
    Workload(
        name="cursor_page",
        title="page by cursor at 100,000",
        size=200,
        people=_none,
        returns=_page_amounts,
    ),
    _boundary("http_write", "HTTP, writes", 200, left=_visited, returns=_same),
    _boundary("http_read", "HTTP, reads", 500, returns=_same),
    _boundary("http_nothing", "HTTP, no database", 1000, returns=_same, tells_microseconds=True),
    _boundary("task_write", "Celery task, writes", 200, left=_visited),
    _boundary("task_nothing", "Celery task, no database", 1000, tells_microseconds=True),
    _boundary("task_call", "Celery call", 500, tells_microseconds=True),
)
