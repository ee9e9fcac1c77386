"""README.md and docs/: every block runs, every link leads somewhere, the reference is complete.

A page is a program. Its ```python blocks, in order, are one script, run in a process and a
directory of the page's own. A block whose first line is ``# app.py`` belongs to that file instead,
an ```ini block is a pytest.ini, and ```console blocks run with the files as far as they are written
by then. Line numbers in a traceback are those of the page.
"""

import inspect
import os
import re
import shlex
import subprocess
import sys
import textwrap
import typing
from collections import Counter
from collections.abc import Callable, Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import activebase
import activebase.celery
import activebase.errors
import activebase.flask
from activebase import engines

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]

#: Blocks that are shown and not run, by page; the page says why in a comment above the block.
NOT_RUN = {
    "docs/tutorial.md": 1,
}


@dataclass
class Block:
    language: str
    code: str
    line: int  # of its first line of code, from 1
    not_run: str | None

    @property
    def file(self) -> str | None:
        """The file it belongs to, None for the page's script."""
        found = re.match(r"# ([\w/]+\.py)\n", self.code)
        return found[1] if found and self.language == "python" else None

    @property
    def padded(self) -> str:
        """The code, below as many empty lines as it has above itself on the page."""
        return "\n" * (self.line - 1) + self.code


_FENCE = re.compile(
    r"(?:^<!-- not run: (?P<reason>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>.*)\n(?P<code>(?:.*\n)*?)^ *```$",
    re.MULTILINE,
)


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            language=found["language"],
            code=textwrap.dedent(found["code"]),
            line=text.count("\n", 0, found.start("code")) + 1,
            not_run=found["reason"],
        )
        for found in _FENCE.finditer(text)
    ]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def merged(blocks: list[Block]) -> str:
    """Return the blocks as one text, each at its own line."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


# -- blocks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_the_page_runs(page: Path, tmp_path: Path) -> None:
    script: list[Block] = []
    files: dict[str, list[Block]] = {}
    for block in blocks_of(page):
        if block.not_run:
            if block.language == "python":
                compile(block.padded, name_of(page), "exec")
        elif block.file:
            files.setdefault(block.file, []).append(block)
            (tmp_path / block.file).write_text(merged(files[block.file]))
        elif block.language == "python":
            script.append(block)
        elif block.language == "ini":
            (tmp_path / "pytest.ini").write_text(block.code)
        elif block.language == "console":
            _run_console(block, tmp_path)
    if script:
        path = tmp_path / f"{page.stem.replace('-', '_')}_md.py"
        path.write_text(merged(script))
        _run([sys.executable, path.name], tmp_path)


def _run_console(block: Block, directory: Path) -> None:
    """Run the commands, and compare what they print with the lines below them."""
    for shown in re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]:
        line, _, expected = shown.partition("\n")
        command, *arguments = shlex.split(line)
        if command == "make":
            assert arguments[0] in _make_targets(), f"no such target: {line}"
        elif command == "pip":
            assert arguments[0] == "install"
            assert all(_can_be_installed(requirement) for requirement in arguments[1:]), line
        else:
            module = [sys.executable] if command == "python" else [sys.executable, "-m", command]
            printed = _run([*module, *arguments], directory)
            assert expected.strip() in printed, f"{line} printed:\n{printed}"


def _make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _can_be_installed(requirement: str) -> bool:
    """Tell whether it is this project, with extras that exist."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    found = re.fullmatch(r"\.(?:\[([\w,]+)\])?", requirement)
    extras = found[1].split(",") if found and found[1] else []
    return bool(found) and set(extras) <= set(setup["options.extras_require"])


def _run(command: list[str], directory: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, f"{shlex.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_block_says_what_it_is_so_that_no_code_escapes_the_tests() -> None:
    languages = {block.language for page in PAGES for block in blocks_of(page)}
    assert languages <= {"python", "console", "text", "ini"}
    for page in PAGES:
        fences = re.findall(r"^ *```", page.read_text(), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), page


def test_no_more_blocks_are_left_unrun_than_are_listed_here() -> None:
    unrun = Counter(name_of(page) for page in PAGES for block in blocks_of(page) if block.not_run)
    assert unrun == Counter(NOT_RUN)
    comments = [page.read_text().count("<!-- not run:") for page in PAGES]
    assert sum(comments) == sum(NOT_RUN.values()), "a comment that is not right above its block"


def test_the_boundary_that_the_docs_show_is_the_one_that_the_tests_run() -> None:
    tested = (ROOT / "tests" / "click_boundary.py").read_text()
    page = DOCS / "how-to" / "other-boundaries.md"
    shown = [block.code for block in blocks_of(page) if block.file == "click_boundary.py"]
    assert shown == [f"# click_boundary.py\n{tested}"]


# -- links -----------------------------------------------------------------------------------


def _links_of(page: Path) -> Iterator[str]:
    prose = _FENCE.sub("", page.read_text())
    return (found[1] for found in re.finditer(r"\]\(([^)\s]+)\)", prose))


def _anchors_of(page: Path) -> set[str]:
    prose = _FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_internal_link_of_the_page_leads_somewhere(page: Path) -> None:
    for link in _links_of(page):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in _anchors_of(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = [link.partition("#")[0] for link in _links_of(page) if "://" not in link]
        waiting += [(page.parent / link).resolve() for link in links if link]
    assert set(DOCS.rglob("*.md")) <= reached


# -- the reference ---------------------------------------------------------------------------

API = DOCS / "reference" / "api.md"


def _headings(text: str) -> dict[str, str]:
    """Return what stands in backquotes in headings: by name, what is in parentheses."""
    return dict(re.findall(r"^### `(\w+)([^`]*)`", text, re.MULTILINE))


def _rows(text: str) -> dict[str, str]:
    """Return what stands in backquotes at the start of tables' rows: by name, the rest."""
    return dict(re.findall(r"^\| `(\w+)([^`]*)`", text, re.MULTILINE))


def _section(name: str) -> str:
    found = re.search(rf"^### `{name}`.*?(?=^##|\Z)", API.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"api.md has no section on {name}"
    return found[0]


def _signature(function: Callable[..., Any]) -> str:
    """Return a signature without types; of an overloaded function, that of its last overload."""
    shown = (*typing.get_overloads(function), function)[-2 if typing.get_overloads(function) else 0]
    parameters = inspect.signature(getattr(shown, "__func__", shown)).parameters.values()
    own = [p.replace(annotation=p.empty) for p in parameters if p.name not in ("self", "cls")]
    return str(inspect.Signature(own)).replace("'", '"')


def test_the_reference_has_every_public_name() -> None:
    known = set(_headings(API.read_text()))
    errors = set(_rows((DOCS / "reference" / "errors.md").read_text()))
    assert known | errors >= set(activebase.__all__)
    assert known >= {"ActiveBase", "manual_commit", "read_only_view"}
    assert known >= {"ActiveTask", "celery_init_app"}


FUNCTIONS: list[Callable[..., Any]] = [
    activebase.allow_commit,
    activebase.atomic,
    activebase.configure,
    activebase.current_unit,
    activebase.on_commit,
    activebase.read_only,
    activebase.register_lookup,
    activebase.unit_of_work,
    activebase.flask.manual_commit,
    activebase.flask.read_only_view,
    activebase.celery.celery_init_app,
]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_the_reference_gives_the_signature_of_the_function(function: Callable[..., Any]) -> None:
    assert _headings(API.read_text())[function.__name__] == _signature(function)


CLASSES: list[type] = [
    activebase.MyBase,
    activebase.Query,
    activebase.Page,
    activebase.CursorPage,
    activebase.Timestamps,
    activebase.SoftDelete,
    activebase.Versioned,
    activebase.UnitOfWork,
    activebase.flask.ActiveBase,
    activebase.celery.ActiveTask,
]
#: Public in the code, and not meant for users: how scopes and guards reach into a unit.
INTERNAL = {
    "UnitOfWork": {"abandon", "forget_session", "holds_sqlite_lock", "journal", "lock_holder"},
    "ActiveTask": {"abstract"},
    "Query": {"of", "inherit_cache", "joined", "run", "items", "entity", "dialect_name"},
}


@pytest.mark.parametrize("of", CLASSES, ids=lambda of: of.__name__)
def test_the_reference_lists_the_methods_of_the_class(of: type) -> None:
    rows = _rows(_section(of.__name__))
    own = {name: value for name, value in vars(of).items() if not name.startswith("_")}
    own = {name: own[name] for name in own.keys() - INTERNAL.get(of.__name__, set())}
    assert rows.keys() >= own.keys()
    for name, value in own.items():
        method = getattr(value, "__func__", value)
        if inspect.isfunction(method):
            assert rows[name] == _signature(method), name


def _errors() -> dict[str, type]:
    defined = vars(activebase.errors).items()
    return {
        name: value
        for name, value in defined
        if isinstance(value, type) and issubclass(value, Exception | Warning)
        if value.__module__ == activebase.errors.__name__ and not name.startswith("_")
    }


def test_the_reference_tells_what_every_error_is_and_its_status() -> None:
    text = (DOCS / "reference" / "errors.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \| ([^|]*) \|", text, re.MULTILINE)
    told = {name: (set(re.findall(r"`(\w+)`", bases)), status) for name, bases, status in rows}
    actual = {
        name: (
            {base.__name__ for base in error.__bases__},
            str(getattr(error, "status", None) or "none"),
        )
        for name, error in _errors().items()
    }
    assert told == actual


def test_the_reference_lists_the_settings() -> None:
    text = (DOCS / "reference" / "settings.md").read_text()
    rows = _rows(text)
    source = "".join(path.read_text() for path in (ROOT / "activebase").glob("flask*.py"))
    keys = set(re.findall(r'"((?:ACTIVEBASE|SQLALCHEMY)_[A-Z_]+)"', source))
    assert {name for name in rows if name.isupper() and "_" in name} == keys
    options = inspect.signature(activebase.configure).parameters
    assert rows.keys() >= options.keys()
    pragmas = dict(re.findall(r"^\| `PRAGMA (\w+)` \| `(\w+)` \|", text, re.MULTILINE))
    assert pragmas == {name: str(value) for name, value in engines.SQLITE_PRAGMAS.items()}
    assert f"`pool_recycle={engines.POOL_RECYCLE}`" in text
