"""The samples of typed code run, and what they say of types is so. `make lint` checks them."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import pytest

import activebase
from activebase import CursorPage, MyBase, Page, Query, configure, unit_of_work
from activebase.mixins import SoftDelete, Timestamps, Versioned
from activebase.shape import ShapedSelect
from tests.databases import Database
from tests.typing import bulk, errors, lookups, mixed, queries, records, units
from tests.typing.holds import assert_type
from tests.typing.models import Base, DataBase, Elsewhere, Note, Post, User

#: What other modules of the library ask of a query, and users do not.
OF_THE_LIBRARY = {
    "dialect_name",
    "distinct_on",
    "entity",
    "grouped",
    "has_own_columns",
    "inherit_cache",
    "items",
}
OF_THE_LIBRARY |= {
    "is_distinct",
    "joined",
    "limited",
    "narrowed",
    "of",
    "ordering",
    "run",
    "sliced",
}

IN_A_UNIT = (bulk, errors, lookups, mixed, queries, records)
SAMPLES = Path(__file__).with_name("typing")


def samples(*modules: ModuleType) -> list[Any]:
    """Return the functions that take nothing, as parameters of a test."""
    return [
        pytest.param(function, id=f"{module.__name__.rsplit('.')[-1]}.{name}")
        for module in modules
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not inspect.signature(function).parameters
    ]


@pytest.fixture
def tables(sqlite_database: Database) -> Iterator[None]:
    """The tables of the samples, and a user with a post."""
    engine = configure(sqlite_database.url)
    for base in (Base, DataBase, Elsewhere, Note):
        base.metadata.create_all(engine)
    Elsewhere.session.session_factory.configure(bind=engine)
    with unit_of_work():
        User(name="Foo", email="foo@example.org", posts=[Post(title="x")]).save()
    yield
    engine.dispose()


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("sample", samples(*IN_A_UNIT))
def test_a_sample_gives_the_types_that_it_says(sample: Callable[[], object]) -> None:
    with unit_of_work():
        sample()


@pytest.mark.usefixtures("tables")
@pytest.mark.parametrize("sample", samples(units))
def test_a_sample_of_boundaries_gives_the_types_that_it_says(
    sample: Callable[[], object],
) -> None:
    sample()


# -- the samples are whole -------------------------------------------------------------------

PUBLIC = [MyBase, Page, CursorPage, Query, ShapedSelect, Timestamps, SoftDelete, Versioned]


def test_every_public_name_has_a_sample() -> None:
    public = {name for kind in PUBLIC for name in [*vars(kind), *kind.__annotations__]}
    public |= set(activebase.__all__)
    asked = {name for name in public if not name.startswith("_")} - OF_THE_LIBRARY

    assert asked - names_in_samples() == set()


def names_in_samples() -> set[str]:
    """Return the names and attributes that are used where the checkers find no fault."""
    trees = [
        ast.parse(path.read_text()) for path in SAMPLES.glob("*.py") if path.stem != "wrong_uses"
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, str),
        (None, str),
        ("x", int | None),
        ([1, "x"], list[int]),
        ({"x": "y"}, dict[str, int]),
        ((1, "x"), tuple[int, bool]),
        ((1,), tuple[int, int]),
        ((1, "x"), tuple[int, ...]),
        (str, type[int]),
        ("closed", Literal["open"]),
        ([], Iterator[int]),
        (User, User),
    ],
)
def test_a_sample_fails_where_the_value_is_of_another_type(value: object, expected: object) -> None:
    with pytest.raises(TypeError):
        assert_type(value, expected)
