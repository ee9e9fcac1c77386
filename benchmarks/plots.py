"""The pictures of docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from .contenders import HAND, OURS, TITLES
from .growth import TITLES as GROWTH_TITLES
from .growth import Growth
from .runner import Figures

#: Text as text, and the same file for the same figures.
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "activebase", "font.size": 9}
_OURS_COLOUR, _HAND_COLOUR = "#d1495b", "#30638e"
_COLOURS = {
    "driver": "#b0b0b0",
    "core": "#7a7a7a",
    "mixins": "#edae49",
    "flask_sa": "#00798c",
    "django_orm": "#3c6e47",
    "peewee_orm": "#8d6a9f",
    OURS: _OURS_COLOUR,
    HAND: _HAND_COLOUR,
}


def draw_ratios(figures: Sequence[Figures], path: Path) -> None:
    """Draw the ratios to SQLAlchemy by hand, a line a workload, a picture a database."""
    databases = list(dict.fromkeys(each.database for each in figures))
    with mpl.rc_context(_STYLE):
        height = 0.28 * len(figures) / len(databases) + 1.6
        drawing, axes = plt.subplots(
            1, len(databases), figsize=(11, height), sharey=True, squeeze=False
        )
        for axis, database in zip(axes[0], databases, strict=True):
            _draw_database(axis, [each for each in figures if each.database == database], database)
        handles, labels = axes[0][0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="upper center", ncols=7, frameon=False)
        drawing.tight_layout(rect=(0, 0, 1, 0.95))
        _save(drawing, path)


def _draw_database(axis: Any, figures: Sequence[Figures], database: str) -> None:
    places = range(len(figures))
    for name in (*(name for name in TITLES if name not in (HAND, OURS)), OURS):
        points = [(n, each) for n, each in enumerate(figures) if name in each.seconds]
        if not points:
            continue
        ratios = [each.ratio(name) for _, each in points]
        spreads = [each.spread(name) for _, each in points]
        errors = [
            [ratio - low for ratio, (low, _) in zip(ratios, spreads, strict=True)],
            [high - ratio for ratio, (_, high) in zip(ratios, spreads, strict=True)],
        ]
        axis.errorbar(
            ratios,
            [n for n, _ in points],
            xerr=errors,
            fmt="D" if name == OURS else "o",
            markersize=6 if name == OURS else 4,
            color=_COLOURS[name],
            elinewidth=1,
            label=TITLES[name],
        )
    axis.axvline(1, color=_HAND_COLOUR, linewidth=1)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_yticks(places, [each.workload.title for each in figures])
    axis.set_ylim(len(figures) - 0.5, -0.5)
    axis.grid(visible=True, alpha=0.3)
    axis.set_title(f"{database}: time, SQLAlchemy by hand = 1")


def draw_growth(growth: Growth, path: Path) -> None:
    """Draw cost and memory by the number of records."""
    with mpl.rc_context(_STYLE):
        drawing, axes = plt.subplots(1, len(growth.values) - 1, figsize=(11, 2.9))
        for axis, what in zip(axes, ("save", "query", "unit", "iterate"), strict=True):
            for name, by_size in growth.values[what].items():
                label = "iterate()" if what == "iterate" else TITLES[name]
                axis.plot(*_points(by_size), "o-", color=_COLOURS[name], label=label)
            if what == "iterate":
                axis.plot(
                    *_points(growth.values["all"][OURS]), "s--", color="#7a7a7a", label="all()"
                )
            axis.set_xscale("log")
            axis.set_ylim(bottom=0)
            axis.set_title(GROWTH_TITLES[what].replace("iterate() over", "memory over"), fontsize=8)
            axis.set_xlabel("records")
            axis.grid(visible=True, alpha=0.3)
            axis.legend(frameon=False, fontsize=8)
        drawing.tight_layout()
        _save(drawing, path)


def _points(by_size: dict[int, float] | Any) -> tuple[list[int], list[float]]:
    return list(by_size), list(by_size.values())


def _save(drawing: Any, path: Path) -> None:
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
