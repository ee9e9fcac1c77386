"""The rounds: every contender once, in an order that rotates, and what comes of it is verified."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

from sqlalchemy import Engine, text

from . import schema
from .contenders import HAND, class_of
from .engines import engine_of
from .worker import Worker, worker
from .workloads import EVENTS, LEFT, PEOPLE, Workload


class CheatError(Exception):
    """A contender has not done what was asked."""


@dataclass(frozen=True)
class Figures:
    """How long each contender took, in seconds, a number a round."""

    workload: Workload
    database: str
    size: int
    seconds: Mapping[str, Sequence[float]]

    def ratios(self, contender: str) -> list[float]:
        """Return the ratio to SQLAlchemy by hand, round by round."""
        pairs = zip(self.seconds[contender], self.seconds[HAND], strict=True)
        return [own / by_hand for own, by_hand in pairs]

    def ratio(self, contender: str) -> float:
        """Return the median of the ratios."""
        return median(self.ratios(contender))

    def spread(self, contender: str) -> tuple[float, float]:
        """Return the first and the third quartile of the ratios."""
        ratios = self.ratios(contender)
        if len(ratios) < 2:
            return ratios[0], ratios[0]
        low, _, high = quantiles(ratios, n=4, method="inclusive")
        return low, high

    def added(self, contender: str) -> float:
        """Return the microseconds that one call takes longer than by hand: the median."""
        pairs = zip(self.seconds[contender], self.seconds[HAND], strict=True)
        return median((own - by_hand) / self.size * 1e6 for own, by_hand in pairs)


class Race:
    """Contenders on one database, each in its process."""

    def __init__(self, engine: Engine, workers: Mapping[str, Worker]) -> None:
        self.engine = engine
        self.workers = workers

    def run(self, workload: Workload, *, rounds: int, quick: bool) -> Figures:
        """Run a workload, once to warm up and then the rounds.

        Raises:
            CheatError: a contender read or wrote something else than it should.
        """
        able = [name for name in self.workers if hasattr(class_of(name), workload.method)]
        size = workload.sized(quick=quick)
        seconds: dict[str, list[float]] = {name: [] for name in able}
        for number in range(rounds + 1):
            turn = number % len(able)
            for name in (*able[turn:], *able[:turn]):
                found = self._run_one(name, workload, size)
                if number:
                    seconds[name].append(found)
        return Figures(workload, self.engine.dialect.name, size, seconds)

    def _run_one(self, name: str, workload: Workload, size: int) -> float:
        with self.engine.connect() as connection:
            schema.refill(connection, workload.people(size))
        seconds, returned = self.workers[name].run(workload.method, size, **workload.arguments)
        expected = workload.returns(size)
        if returned != expected:
            raise CheatError(f"{name}, {workload.name}: returned {returned}, not {expected}.")
        with self.engine.connect() as connection:
            left = tuple(connection.execute(text(LEFT)).one())
        if left != workload.left_by(size):
            raise CheatError(f"{name}, {workload.name}: left {left}, not {workload.left_by(size)}.")
        return seconds


@contextmanager
def race(url: str, contenders: Iterable[str]) -> Iterator[Race]:
    """Fill an empty database, and start a process for each contender."""
    engine = engine_of(url)
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        with engine.connect() as connection:
            schema.create(connection, people=PEOPLE, events=EVENTS)
        yield Race(engine, {name: stack.enter_context(worker(name, url)) for name in contenders})
