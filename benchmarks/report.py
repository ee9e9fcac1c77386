"""Tables of what was measured, on the screen and in docs/performance.md."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from sqlite3 import sqlite_version

from .contenders import HAND, OURS, TITLES
from .growth import TITLES as GROWTH_TITLES
from .growth import Growth
from .runner import Figures
from .startup import Startup

_PACKAGES = (
    "SQLAlchemy",
    "Flask",
    "Flask-SQLAlchemy",
    "celery",
    "sqlalchemy-mixins",
    "Django",
    "peewee",
    "psycopg",
)


@dataclass
class Results:
    """Everything that a run has measured."""

    figures: Sequence[Figures]
    rounds: int
    startup: Startup | None = None
    growth: Growth | None = None

    def of(self, database: str) -> list[Figures]:
        """Return the figures on one database."""
        return [each for each in self.figures if each.database == database]

    @property
    def databases(self) -> list[str]:
        """The databases, in the order of the run."""
        return list(dict.fromkeys(each.database for each in self.figures))


def machine() -> str:
    """Return what the run runs on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.machine()}"
    return f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {system}"


def versions() -> str:
    """Return the versions of everything that is compared."""
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return f"Python {platform.python_version()}, SQLite {sqlite_version}, {packages}"


def line(figures: Figures) -> str:
    """Return the figures of a workload as a line."""
    by_hand = min(figures.seconds[HAND]) / figures.size * 1e6
    parts = [f"{figures.workload.title:<28} by hand {by_hand:9.1f} µs each"]
    parts += [f"{TITLES[name]} {_cell(figures, name)}" for name in figures.seconds if name != HAND]
    return "; ".join(parts)


def _cell(figures: Figures, name: str) -> str:
    low, high = figures.spread(name)
    return f"{figures.ratio(name):.2f} ({low:.2f} to {high:.2f})"


# -- Markdown --------------------------------------------------------------------------------


def ratios_table(figures: Sequence[Figures]) -> str:
    """Return the ratios of all contenders, a row a workload."""
    names = [name for name in TITLES if any(name in each.seconds for each in figures)]
    head = ["", "by hand, µs", *(TITLES[name] for name in names if name != HAND)]
    return _table(head, (_row(each, names) for each in figures))


def _row(figures: Figures, names: Iterable[str]) -> list[str]:
    cells = [figures.workload.title, f"{min(figures.seconds[HAND]) / figures.size * 1e6:,.1f}"]
    for name in names:
        if name == OURS:
            cells.append(f"**{figures.ratio(name):.2f}** ({_spread(figures, name)})")
        elif name != HAND:
            cells.append(f"{figures.ratio(name):.2f}" if name in figures.seconds else "")
    return cells


def _spread(figures: Figures, name: str) -> str:
    low, high = figures.spread(name)
    return f"{low:.2f} to {high:.2f}"


def added_table(figures: Sequence[Figures]) -> str:
    """Return what is added to a request, a task and a call, in microseconds."""
    rows = [each for each in figures if each.workload.tells_microseconds]
    return _table(
        ["", *dict.fromkeys(each.database for each in rows)],
        (
            [
                title,
                *(f"{each.added(OURS):.1f} µs" for each in rows if each.workload.title == title),
            ]
            for title in dict.fromkeys(each.workload.title for each in rows)
        ),
    )


def startup_table(startup: Startup) -> str:
    """Return what an import costs."""
    return _table(
        ["", "import activebase", "import sqlalchemy.orm", "ratio"],
        [
            [
                "time",
                f"{startup.seconds * 1e3:.0f} ms",
                f"{startup.seconds_of_base * 1e3:.0f} ms",
                f"{startup.time_ratio:.2f}",
            ],
            [
                "memory",
                f"{startup.memory / 1e6:.1f} MB",
                f"{startup.memory_of_base / 1e6:.1f} MB",
                f"{startup.memory_ratio:.2f}",
            ],
        ],
    )


def growth_table(growth: Growth) -> str:
    """Return values by size."""
    sizes = list(next(iter(growth.values["save"].values())))
    rows = [
        [f"{GROWTH_TITLES[what]}: {TITLES[name]}", *(f"{by_size[size]:.1f}" for size in sizes)]
        for what, of_what in growth.values.items()
        for name, by_size in of_what.items()
    ]
    return _table(["", *(f"{size:,}" for size in sizes)], rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def save(results: Results, folder: Path) -> None:
    """Put the tables into ``performance.md``, between its marks, and draw the pictures."""
    from . import plots  # which is slow to import

    page = folder / "performance.md"
    text = page.read_text(encoding="utf-8")
    parts = {"machine": f"{machine()}.\n{versions()}.\n{results.rounds} rounds."}
    for database in results.databases:
        parts[database] = ratios_table(results.of(database))
    parts["added"] = added_table(results.figures)
    if results.startup is not None:
        parts["startup"] = startup_table(results.startup)
    if results.growth is not None:
        parts["growth"] = growth_table(results.growth)
        plots.draw_growth(results.growth, folder / "growth.svg")
    for name, part in parts.items():
        mark = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        text = re.sub(
            mark, lambda found, part=part: f"{found[1]}{part}\n{found[2]}", text, flags=re.S
        )
    page.write_text(text, encoding="utf-8")
    plots.draw_ratios(results.figures, folder / "performance.svg")
