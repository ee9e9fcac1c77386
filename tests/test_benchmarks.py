"""The benchmarks run, and nobody wins by doing less."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest

from benchmarks import growth, startup
from benchmarks.__main__ import DATABASES
from benchmarks.contenders import HAND, OURS, TITLES, class_of
from benchmarks.report import Results, save
from benchmarks.runner import CheatError, Figures, Race, race
from benchmarks.workloads import WORKLOADS, Workload
from tests.databases import PostgresDatabases, fresh_sqlite

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=DATABASES)
def contest(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Race]:
    """All contenders on one database."""
    if request.param == "sqlite":
        fresh = fresh_sqlite(tmp_path_factory.mktemp("benchmarks"))
    else:
        databases: PostgresDatabases = request.getfixturevalue("postgres_databases")
        fresh = databases.fresh()
    with fresh as database, race(database.url, TITLES) as the_race:
        yield the_race


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda workload: workload.name)
def test_all_contenders_do_the_same(contest: Race, workload: Workload) -> None:
    figures = contest.run(workload, rounds=1, quick=True)
    assert {HAND, OURS} <= set(figures.seconds)
    assert set(figures.seconds) == {
        name for name in TITLES if hasattr(class_of(name), workload.method)
    }
    assert all(len(taken) == 1 and taken[0] > 0 for taken in figures.seconds.values())
    assert figures.ratio(HAND) == 1


class Idle:
    """A worker that says what it should, and does nothing."""

    def __init__(self, returned: object) -> None:
        self.returned = returned

    def run(self, method: str, size: int, **arguments: object) -> tuple[float, object]:
        return 0.001, self.returned


@pytest.mark.parametrize(
    ("name", "returned", "said"),
    [("save", None, "left"), ("get", 1, "returned"), ("bulk_update", None, "left")],
)
def test_tells_who_does_less(contest: Race, name: str, returned: object, said: str) -> None:
    (workload,) = (each for each in WORKLOADS if each.name == name)
    idle = Race(contest.engine, {OURS: Idle(returned)})  # type: ignore[dict-item]
    with pytest.raises(CheatError, match=rf"{OURS}, {name}: {said}"):
        idle.run(workload, rounds=1, quick=True)


def test_tells_the_median_of_the_ratios_and_their_quartiles() -> None:
    seconds = {HAND: [1.0, 2.0, 4.0, 1.0, 1.0], OURS: [2.0, 2.0, 2.0, 3.0, 1.0]}
    figures = Figures(WORKLOADS[0], "sqlite", 1000, seconds)
    assert figures.ratios(OURS) == [2.0, 1.0, 0.5, 3.0, 1.0]
    assert figures.ratio(OURS) == 1.0
    assert figures.spread(OURS) == (1.0, 2.0)
    assert figures.added(OURS) == 0.0


def test_measures_what_an_import_costs() -> None:
    found = startup.measure(rounds=1)
    assert 0.5 < found.time_ratio < 3
    assert 0.5 < found.memory_ratio < 2


@pytest.mark.parametrize("point", growth.POINTS)
def test_measures_each_point_of_the_growth(point: str) -> None:
    command = [sys.executable, "-m", "benchmarks.growth", *point.split(), "100"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) > 0


def test_puts_tables_and_pictures_on_the_page(contest: Race, tmp_path: Path) -> None:
    page = Path(__file__).parent.parent / "docs" / "performance.md"
    copyfile(page, tmp_path / page.name)
    before = page.read_text(encoding="utf-8")
    figures = [contest.run(each, rounds=1, quick=True) for each in WORKLOADS[-2:]]
    save(Results(figures, rounds=1), tmp_path)
    after = (tmp_path / page.name).read_text(encoding="utf-8")
    assert re.sub(r"-->\n.*?<!-- end", "", after, flags=re.S) == re.sub(
        r"-->\n.*?<!-- end", "", before, flags=re.S
    )
    name = contest.engine.dialect.name
    table = after.partition(f"<!-- {name} -->")[2].partition("<!-- end -->")[0]
    assert [line.split("|")[1].strip() for line in table.split("\n")[3:-1]] == [
        each.workload.title for each in figures
    ]
    assert "activebase" in (tmp_path / "performance.svg").read_text(encoding="utf-8")


def test_the_command_line_runs_what_it_is_asked_for() -> None:
    options = [
        "--quick",
        "--only",
        "get",
        "--database",
        "sqlite",
        "--contender",
        OURS,
        "--rounds",
        "1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"get by key .* by hand .* activebase \d", done.stdout)
    assert "Django 5" in done.stdout  # the versions
