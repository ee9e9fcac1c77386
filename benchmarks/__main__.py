"""Run the benchmarks: ``python -m benchmarks [--quick] [--save] [--only NAME ...]``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.databases import PostgresDatabases, fresh_sqlite
from tests.servers import POSTGRES

from . import growth, report, startup
from .contenders import HAND, TITLES
from .runner import Figures, race
from .workloads import WORKLOADS

ROUNDS, QUICK_ROUNDS = 11, 3


def main() -> None:
    """Run what was asked for; print the tables, and save them if that was asked for."""
    options = _options()
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    contenders = [name for name in TITLES if name in {HAND, *options.contender}]
    wanted = [each for each in WORKLOADS if not options.only or each.name in options.only]
    say(f"{report.machine()}\n{report.versions()}\n")
    figures: list[Figures] = []
    with ExitStack() as stack:
        for database in options.database:
            url = stack.enter_context(DATABASES[database]())
            say(f"{database}: {rounds} rounds, median (first to third quartile) of the ratios\n")
            with race(url, contenders) as the_race:
                for workload in wanted:
                    found = the_race.run(workload, rounds=rounds, quick=options.quick)
                    figures.append(found)
                    say(report.line(found))
            of_database = [each for each in figures if each.database == database]
            say(f"\n{report.ratios_table(of_database)}\n")
    everything = report.Results(figures, rounds=rounds)
    if not options.only:
        everything.startup = startup.measure(rounds=rounds)
        say(report.startup_table(everything.startup))
        everything.growth = growth.measure(quick=options.quick)
        say(report.growth_table(everything.growth))
    if options.save:
        report.save(everything, Path(options.save))


def say(text: str) -> None:
    """Print a text at once: a run takes its time."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


@contextmanager
def sqlite_url() -> Iterator[str]:
    """Yield the URL of an empty SQLite database in a file."""
    with (
        TemporaryDirectory(prefix="activebase-") as directory,
        fresh_sqlite(Path(directory)) as database,
    ):
        yield database.url


@contextmanager
def postgres_url() -> Iterator[str]:
    """Yield the URL of an empty PostgreSQL database: on the tests' server, or on one of its own."""
    with POSTGRES.running() as server:
        databases = PostgresDatabases(server)
        try:
            with databases.fresh() as database:
                yield database.url
        finally:
            databases.close()


DATABASES = {"sqlite": sqlite_url, "postgresql": postgres_url}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a tenth of the size, a few rounds: for a look")
    add("--rounds", type=int, metavar="N", help=f"default {ROUNDS}, quick {QUICK_ROUNDS}")
    names = [each.name for each in WORKLOADS]
    add("--only", nargs="+", choices=names, metavar="WORKLOAD", help=", ".join(names))
    add("--contender", nargs="+", choices=TITLES, default=list(TITLES), help="default all")
    add("--database", nargs="+", choices=DATABASES, default=list(DATABASES), help="default both")
    add("--save", metavar="FOLDER", help="write the tables and the pictures there: docs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
