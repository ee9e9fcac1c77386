"""How cost and memory grow with the records of one unit: they should not.

``python -m benchmarks.growth CONTENDER WHAT SIZE`` measures one point in a process of its own.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from sqlalchemy import insert, select

from activebase import unit_of_work

from . import schema
from .contenders import HAND, OURS
from .contenders.active import Contender as Active
from .contenders.active import Event as ActiveEvent
from .contenders.active import Person as ActivePerson
from .contenders.hand import Contender as ByHand
from .contenders.hand import Event, Person
from .engines import engine_of
from .rows import event, people

SIZES, QUICK_SIZES = (100, 1_000, 10_000, 100_000), (100, 1_000)
_REPEATS = {100: 15, 1_000: 9, 10_000: 3, 100_000: 1}

#: What is measured: microseconds a record; of the last two, megabytes at the peak.
TITLES = {
    "save": "save() in one unit, µs a record",
    "query": "a query in a unit with so many records, µs",
    "unit": "one unit of work for each record, µs",
    "iterate": "iterate() over so many rows, MB",
    "all": "all() of so many rows, MB",
}


@dataclass(frozen=True)
class Growth:
    """Values by size, by contender, by what was measured."""

    values: Mapping[str, Mapping[str, Mapping[int, float]]]


def measure(*, quick: bool) -> Growth:
    """Measure every point, the contenders in turn."""
    sizes = QUICK_SIZES if quick else SIZES
    values: dict[str, dict[str, dict[int, float]]] = {}
    for what in TITLES:
        names = [OURS, HAND] if f"{HAND} {what}" in POINTS else [OURS]
        values[what] = {name: {size: _point(name, what, size) for size in sizes} for name in names}
    return Growth(values)


def _point(contender: str, what: str, size: int) -> float:
    command = [sys.executable, "-m", __spec__.name, contender, what, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return float(json.loads(done.stdout))


# -- in a process of its own -----------------------------------------------------------------


def _seconds(run: Callable[[], Any]) -> float:
    gc.collect()
    began = perf_counter()
    run()
    return perf_counter() - began


def _peak(run: Callable[[], Any]) -> float:
    """Return how many megabytes Python has allocated at the most."""
    tracemalloc.start()
    run()
    _, peak = tracemalloc.get_traced_memory()
    return peak / 1e6


def save_ours(active: Active, size: int) -> float:
    """Return the microseconds that one save() takes."""
    rows = people(size)

    def run() -> None:
        with unit_of_work():
            for row in rows:
                ActivePerson(**row).save()

    return _seconds(run) / size * 1e6


def save_by_hand(hand: ByHand, size: int) -> float:
    """Return the microseconds that one add() and flush() take."""
    rows = people(size)

    def run() -> None:
        with hand.session() as session, session.begin():
            for row in rows:
                session.add(Person(**row))
                session.flush()

    return _seconds(run) / size * 1e6


def query_ours(active: Active, size: int) -> float:
    """Return the microseconds that a query takes in a unit that holds so many records."""
    with unit_of_work():
        kept = ActiveEvent.query.filter(id__lte=size).all()

        def run() -> None:
            for number in range(1, 301):
                ActiveEvent.query.filter(amount=number).order_by("id").first()

        run()
        taken = _seconds(run)
    return taken / 300 * 1e6 if kept else 0


def query_by_hand(hand: ByHand, size: int) -> float:
    """Return the microseconds that a query takes in a session that holds so many records."""
    with hand.session() as session, session.begin():
        kept = session.scalars(select(Event).where(Event.id <= size)).all()

        def run() -> None:
            for number in range(1, 301):
                query = select(Event).where(Event.amount == number).order_by(Event.id).limit(1)
                session.scalars(query).first()

        run()
        taken = _seconds(run)
    return taken / 300 * 1e6 if kept else 0


def unit_ours(active: Active, size: int) -> float:
    """Return the microseconds that a unit with one save() takes, after so many others."""
    rows = people(size)

    def run() -> None:
        for row in rows:
            with unit_of_work():
                ActivePerson(**row).save()

    return _seconds(run) / size * 1e6


def unit_by_hand(hand: ByHand, size: int) -> float:
    """Return the microseconds that a session with one flush takes, after so many others."""
    rows = people(size)

    def run() -> None:
        for row in rows:
            with hand.session() as session, session.begin():
                session.add(Person(**row))
                session.flush()

    return _seconds(run) / size * 1e6


def iterate_ours(active: Active, size: int) -> float:
    """Return the megabytes that iterate() takes at the most."""

    def run() -> None:
        with unit_of_work(read_only=True):
            for _ in ActiveEvent.query.filter(id__lte=size).iterate():
                pass

    return _peak(run)


def all_ours(active: Active, size: int) -> float:
    """Return the megabytes that all() takes at the most."""

    def run() -> None:
        with unit_of_work(read_only=True):
            ActiveEvent.query.filter(id__lte=size).all()

    return _peak(run)


POINTS: dict[str, Callable[[Any, int], float]] = {
    f"{OURS} save": save_ours,
    f"{HAND} save": save_by_hand,
    f"{OURS} query": query_ours,
    f"{HAND} query": query_by_hand,
    f"{OURS} unit": unit_ours,
    f"{HAND} unit": unit_by_hand,
    f"{OURS} iterate": iterate_ours,
    f"{OURS} all": all_ours,
}


def main() -> None:
    """Measure one point on a new SQLite database, and print it."""
    name, what, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with TemporaryDirectory(prefix="activebase-") as directory:
        values = [
            _measured(f"sqlite:///{Path(directory) / f'{number}.db'}", name, what, size)
            for number in range(1 if what in ("iterate", "all") else _REPEATS[size])
        ]
    sys.stdout.write(json.dumps(median(values)))


def _measured(url: str, name: str, what: str, size: int) -> float:
    engine = engine_of(url)
    schema.metadata.create_all(engine)
    if what in ("query", "iterate", "all"):
        with engine.begin() as connection:
            connection.execute(insert(schema.event), [event(n) for n in range(1, size + 1)])
    engine.dispose()
    contender = Active(url) if name == OURS else ByHand(url)
    return POINTS[f"{name} {what}"](contender, size)


if __name__ == "__main__":
    main()
