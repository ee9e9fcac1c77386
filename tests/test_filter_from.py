"""`filter_from()`: whatever comes in, only what is listed is asked, and only by listed means."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from activebase import InvalidLookupError, configure, unit_of_work
from activebase.functions import DATE_PARTS
from activebase.lookups import MAX_VALUES, lookup_of
from activebase.operators import OPERATORS, Takes
from activebase.session import global_registry
from tests.catalog import SAMPLES, Node, Room, Thing
from tests.catalog_tables import create
from tests.core import on_sqlite
from tests.databases import EACH, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


def _keys() -> Iterator[str]:
    """Yield every lookup of `Thing`, but those with a regular expression: the server's own."""
    built_in = [name for name, known in OPERATORS.items() if known.takes is not Takes.ANYTHING]
    words = [*built_in, *DATE_PARTS, *(f"{part}__in" for part in DATE_PARTS)]
    words += [f"{part}__range" for part in DATE_PARTS] + ["", "year__gte", "date__lt"]
    for name in ("id", "pk", "least", "data", "slug", *SAMPLES):
        for word in words:
            key = f"{name}__{word}" if word else name
            try:
                lookup_of(Thing, key)
            except InvalidLookupError:
                continue
            if "regex" not in word:
                yield key


KEYS = sorted(_keys())
BOOLEANS = {"true": True, "TRUE": True, "1": True, "false": False, "False": False, "0": False}


def asked(value: Any, key: str) -> Any:
    """Return the bound value of the one lookup that text comes to."""
    compiled = Thing.query.filter_from({key: value}, allow={key}).compile()
    return next(iter(compiled.params.values()))


# What it reads


def test_reads_text_as_what_the_lookup_takes() -> None:
    assert asked("42", "count") == 42
    assert asked("1,2,3", "count__in") == asked(["1", 2, "3"], "count__in") == [1, 2, 3]
    assert asked("1.50", "price__gte") == Decimal("1.50")
    assert asked("2026-12-31", "day__lt") == date(2026, 12, 31)
    assert asked("2026-12-31T23:59:00", "at__lt") == datetime(2026, 12, 31, 23, 59)
    assert asked("12:30", "clock") == time(12, 30)
    assert asked("90", "lasts") == timedelta(seconds=90)
    assert asked(str(UUID(int=7)), "key") == UUID(int=7)
    assert asked("Ada, Bob", "name") == "Ada, Bob"
    assert asked("a,b", "name__in") == ["a", "b"]
    assert asked("5", "at__month") == 5
    assert asked("2026-12-31", "at__date") == date(2026, 12, 31)
    assert asked("7", "pk") == 7
    for text_, flag in BOOLEANS.items():
        query = Thing.query.filter_from({"name__isnull": text_}, allow={"name__isnull"})
        assert ("IS NULL" if flag else "IS NOT NULL") in str(query)


def test_takes_a_query_string() -> None:
    arguments = MultiDict([("count__in", "1"), ("count__in", "2"), ("name", "x"), ("name", "y")])
    for given_ in (arguments, ImmutableMultiDict(arguments)):
        query = Thing.query.filter_from(given_, allow={"count__in", "name", "price"})
        values = list(query.compile().params.values())
        assert [1, 2] in values
        assert "x" in values
    commas = MultiDict([("count__range", "1,5")])
    assert "BETWEEN" in str(Thing.query.filter_from(commas, allow={"count__range"}))


def test_filters_nothing_by_nothing() -> None:
    assert str(Thing.query.filter_from({}, allow=set())) == str(Thing.query)


def test_follows_paths_that_are_listed(engine: Engine) -> None:
    create(engine, Node)
    with unit_of_work():
        root = Node(name="root").save()
        Node(name="leaf", parent=root).save()
        for key, value in (
            ("parent", str(root.id)),
            ("parent__in", f"{root.id},99"),
            ("parent__name__icontains", "OO"),
            ("parent__isnull", "false"),
            ("parent_name", "root"),
            ("up__title", "root"),
        ):
            found = Node.query.filter_from({key: value}, allow={key})
            assert found.pluck("name") == ["leaf"], key
            assert found.filter_from({"name": "root"}, allow={"name"}).all() == []


# What it refuses


@pytest.mark.parametrize(
    "key",
    ["id", "pk", "name__contains", "NAME", "name ", "name__exact", "na", "", "name,count", "'"],
)
def test_refuses_a_key_that_is_not_listed(key: str) -> None:
    for allow in (
        {"name", "count__gte"},
        ["name", "count__gte"],
        frozenset({"name", "count__gte"}),
    ):
        with pytest.raises(InvalidLookupError, match="count__gte, name"):
            Thing.query.filter_from({"name": "x", key: "x"}, allow=allow)


class Everything(frozenset[str]):
    """A list that has whatever it is asked for."""

    def __contains__(self, key: object) -> bool:
        return True


@pytest.mark.parametrize("key", [None, 1, b"name", ("name",), object(), True])
def test_refuses_a_key_that_is_no_text(key: Any) -> None:
    with pytest.raises(InvalidLookupError):
        Thing.query.filter_from({key: "x"}, allow={"name"})
    with pytest.raises(InvalidLookupError):
        Thing.query.filter_from({key: "x"}, allow=Everything())


def test_takes_no_text_for_the_list() -> None:
    with pytest.raises(TypeError, match="allow"):  # "name" has "a" in it
        Thing.query.filter_from({"a": "x"}, allow="name")


def test_reaches_nothing_without_a_list() -> None:
    with pytest.raises(InvalidLookupError, match="none"):
        Thing.query.filter_from({"name": "x"}, allow=())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("count", ""),
        ("count", " 1"),
        ("count", "1.5"),
        ("count", "1_000"),
        ("count", "٤"),
        ("count", ["1"]),
        ("count", {"gt": 1}),
        ("count__in", "1,,2"),
        ("count__in", ""),
        ("count__in", 5),
        ("count__in", {"1": 2}),
        ("count__in", ["1"] * (MAX_VALUES + 1)),
        ("count__in", ",".join(["1"] * (MAX_VALUES + 1))),
        ("count__range", "1"),
        ("count__range", "1,2,3"),
        ("count__range", [1, None]),
        ("count__gt", None),
        ("count", Thing.least),
        ("count__in", [Thing.least]),
        ("count__in", Thing.query),
        ("name", text("1")),
        ("name", "a\0b"),
        ("name__contains", "\ud800"),
        ("name__in", ["ok", "\udfff"]),
        ("name", ["a"]),
        ("name", 5),
        ("name__isnull", "yes"),
        ("name__isnull", None),
        ("price", "1e-999999999"),
        ("price", "1" * 400),
        ("price", "NaN"),
        ("lasts", "86399999999999"),
        ("at", "9999-12-31T23:59:59-14:00"),
        ("at__year", "soon"),
        ("blob", "text"),
        ("data", "text"),
        ("data", {"a": 1}),
        ("flag", "yes"),
        ("id", Thing(id=1)),
    ],
)
def test_refuses_what_it_can_not_read(key: str, value: Any) -> None:
    with pytest.raises(InvalidLookupError) as caught:
        Thing.query.filter_from({key: value}, allow={key})
    assert "hunter" not in str(caught.value)


def test_refuses_text_for_a_key_of_several_columns() -> None:
    for key, value in (("pk", "a,1"), ("pk__in", "a,1"), ("pk", ["a", 1])):
        with pytest.raises(InvalidLookupError):
            Room.query.filter_from({key: value}, allow={key})


def test_says_nothing_of_the_values() -> None:
    for key in ("count", "day", "key", "flag", "count__in"):
        with pytest.raises(InvalidLookupError) as caught:
            Thing.query.filter_from({key: "hunter2"}, allow={key})
        assert "hunter2" not in str(caught.value)


# Anything at all


ODD_TEXT = st.sampled_from(
    [
        "", "0", "-1", "1e5", "1e-300", "9" * 400, "0." + "0" * 2000 + "1", "NaN", "inf", "true",
        "2026-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "24:00",
        "12:00+02:00", "-86399999999999", "999999999999999999", "\0", "a\0", "\ud800", "%", "_",
        "\\", "'", '"', "'; DROP TABLE thing; --", ") OR 1=1 --", "x" * 60_000, "é" * 30_000, "[",
        "*", "🎉", "\u0131", "1,2", ",", "r", "RED", "s", "{}", "null", "%s", "%(x)s", ":x", "?",
        "\r\n", "00000000-0000-0000-0000-000000000005",
    ]
)  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, 2**63, -(2**63) - 1, 2**64, 10**400])
    | st.floats()
    | st.decimals()
    | ODD_TEXT
    | st.text()
    | st.binary()
    | st.dates().map(str)
    | st.datetimes().map(str)
    | st.integers().map(str)
    | st.builds(object)
    | st.sampled_from([Decimal("sNaN"), 1j, UUID(int=5), timedelta.max, Thing, Thing.count])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2)
        | st.lists(inner, max_size=3).map(lambda items: ",".join(map(str, items)))
    ),
    max_leaves=5,
)
WORDS = st.sampled_from(
    "id name parent labels pk query save metadata __class__ __table__ registry session isnull in"
    " exact year word nodes _sa_class_manager".split()
)
ANY_KEY = st.lists(WORDS | st.text(max_size=3), max_size=4).map("__".join) | st.text()
MAPPINGS = st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3)
FUZZ = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@settings(max_examples=600, **FUZZ)
@given(st.dictionaries(ANY_KEY | st.integers() | st.binary() | st.none(), VALUES, min_size=1))
def test_reaches_only_what_is_listed(mapping: Mapping[Any, Any]) -> None:
    allow = {"name", "parent__name"}
    try:
        query = Node.query.filter_from(mapping, allow=allow)
    except InvalidLookupError:
        return
    assert set(mapping) <= allow
    assert str(query).count("WHERE") <= 2


@settings(max_examples=600, **FUZZ)
@given(MAPPINGS)
def test_holds_no_text_from_outside(mapping: dict[str, Any]) -> None:
    """The SQL is made of the keys alone, which are listed; values are bound."""
    try:
        query = Thing.query.filter_from(mapping, allow=KEYS)
    except InvalidLookupError:
        return
    said = str(query).replace("ESCAPE '/'", "").replace("timezone('UTC'", "")
    for value in mapping.values():
        for part in value if isinstance(value, list | tuple) else [value]:
            if isinstance(part, str) and len(part) > 3 and not part.isdigit():
                assert part not in said
    assert not any(mark in said for mark in ("DROP", "--", ";", "'", "1=1"))


def test_has_the_same_sql_whatever_the_text(engine: Engine) -> None:
    for key in ("name", "name__icontains", "name__like", "name__in", "body__startswith"):
        texts = [
            "a",
            "%",
            "'",
            "'; DROP TABLE thing; --",
            "\\",
            "%s",
            ":x",
            "?",
            "🎉",
            "/*",
            "x" * 9,
        ]
        said = {
            str(Thing.query.filter_from({key: each}, allow={key}).compile(engine)) for each in texts
        }
        assert len(said) == 1, key


@pytest.fixture(scope="module", params=EACH)
def fuzzed(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """One database for all examples, with a thing and an empty one."""
    databases = {"postgresql": "postgres_databases", "mariadb": "mariadb_databases"}
    if request.param == "sqlite":
        engine = configure(
            f"sqlite:///{request.getfixturevalue('tmp_path_factory').mktemp('f')}/f.db"
        )
        yield from _filled(engine)
        return
    with request.getfixturevalue(databases[request.param]).fresh() as database:
        yield from _filled(configure(database.url))


def _filled(engine: Engine) -> Iterator[Engine]:
    create(engine, Thing)
    with unit_of_work():
        Thing(**{name: sample for name, (sample, _) in SAMPLES.items()}).save()
        Thing().save()
    yield engine
    global_registry.end_thread()
    engine.dispose()


@settings(max_examples=700, **FUZZ)
@given(mapping=MAPPINGS)
def test_runs_or_refuses(fuzzed: Engine, mapping: dict[str, Any]) -> None:
    """Whatever gets through runs, without an error or a warning from the server."""
    configure(fuzzed)
    try:
        with unit_of_work(read_only=True):
            found = Thing.query.filter_from(mapping, allow=KEYS).pluck("id")
    except InvalidLookupError:
        return
    assert set(found) <= {1, 2}


@on_sqlite
def test_filters_by_json(engine: Engine) -> None:
    create(engine, Thing)
    body = json.loads('{"count__in": [1, "2", null], "flag": true, "price__lt": 1.5, "at": null}')
    with unit_of_work(read_only=True):
        assert Thing.query.filter_from(body, allow=set(body)).all() == []
    with pytest.raises(InvalidLookupError):
        Thing.query.filter_from(json.loads('{"count": {"$gt": ""}}'), allow={"count"})
