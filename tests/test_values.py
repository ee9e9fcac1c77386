"""What the columns of each type take in a lookup, on every database."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Engine, StaticPool, create_engine, func

from activebase import InvalidLookupError, InvalidValueError, configure, unit_of_work
from activebase.functions import DATE_PARTS
from activebase.lookups import lookup_of
from activebase.operators import OPERATORS, Takes
from tests.catalog import SAMPLES, Thing
from tests.catalog_tables import Statements, create
from tests.core import on_mariadb, on_postgres, on_sqlite
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures", "tests.catalog_fixtures"]

database = pytest.fixture(params=EACH)(database_of)

#: Without those that other tests register.
BUILT_IN = [name for name, known in OPERATORS.items() if known.takes is not Takes.ANYTHING]
#: What only the type itself knows.
DECORATED = {"seen", "slug", "cost"}


@pytest.fixture
def things(engine: Engine) -> None:
    """A thing with every value, and one with none."""
    create(engine, Thing)
    with unit_of_work():
        values = {name: sample for name, (sample, _) in SAMPLES.items()}
        Thing(**values, slug="Ada", cost=Decimal("1.50"), least=50).save()
        Thing().save()


def found(**lookups: Any) -> list[int]:
    """Return the ids of what is found."""
    return sorted(Thing.query.filter(**lookups).pluck("id"))


# Taken


AS_TEXT = {
    "flag": ["true", "True", "1"],
    "small": ["7", "+7", "007"],
    "count": ["70"],
    "big": [str(2**40)],
    "price": ["9.95", "9.950", "995e-2"],
    "weight": ["1.5", "15e-1"],
    "colour": ["RED", "r"],
    "size": ["s"],
    "key": [str(UUID(int=5)), UUID(int=5).hex, "{00000000-0000-0000-0000-000000000005}"],
    "day": ["2026-02-28"],
    "at": ["2026-02-28T12:00", "2026-02-28 12:00:00", "2026-02-28T13:00+01:00"],
    "moment": ["2026-02-28T12:00Z", "2026-02-28T12:00", "2026-02-28T02:00-10:00"],
    "clock": ["23:59", "23:59:00"],
    "lasts": ["5400", "5400.0"],
}
AS_OTHERS: dict[str, list[Any]] = {
    "flag": [1],
    "small": [7.0, Decimal("7.00")],
    "count": [70.0, Decimal("70.0")],
    "price": [Decimal("9.95"), 9.95],
    "weight": [Decimal("1.5")],
    "day": [datetime(2026, 2, 28, 23), datetime(2026, 2, 28, tzinfo=UTC)],
    "at": [datetime(2026, 2, 28, 13, tzinfo=timezone(timedelta(hours=1)))],
    "moment": [
        datetime(2026, 2, 28, 12),
        datetime(2026, 2, 28, 1, tzinfo=timezone(-timedelta(hours=11))),
    ],
    "blob": [bytearray(b"\x00\xff"), memoryview(b"\x00\xff")],
    "slug": ["Ada", "ADA", "ada"],
    "cost": [Decimal("1.5")],
}


def test_finds_a_value_of_every_type(things: None) -> None:
    with unit_of_work(read_only=True):
        for name, (sample, _) in SAMPLES.items():
            for value in (sample, *AS_TEXT.get(name, ()), *AS_OTHERS.get(name, ())):
                assert found(**{name: value}) == [1], (name, value)
                assert found(**{f"{name}__in": [value, None]}) == [1], (name, value)
                assert found(**{f"{name}__ne": value}) == [], (name, value)
                assert found(**{f"{name}__range": (value, value)}) == [1], (name, value)
            assert found(**{name: None}) == [2]
            assert found(**{f"{name}__ne": None}) == [1]


def test_reads_the_same_text_from_outside(things: None) -> None:
    with unit_of_work(read_only=True):
        for name, texts in AS_TEXT.items():
            for text in texts:
                query = Thing.query.filter_from({name: text}, allow={name})
                assert query.pluck("id") == [1], (name, text)
                several = {f"{name}__in": f"{text},{text}"}
                assert Thing.query.filter_from(several, allow=several).pluck("id") == [1]


def test_compares_values_that_the_column_could_not_hold(things: None) -> None:
    with unit_of_work(read_only=True):
        for name in ("small", "count", "big"):
            for huge in (2**15, 2**31, 2**62, 2**63, 10**30, 10**400, Decimal("1e200")):
                if name != "big" or huge > 2**40:
                    assert found(**{f"{name}__lt": huge}) == [1], (name, huge)
                assert found(**{f"{name}__gt": -huge}) == [1], (name, huge)
                assert found(**{name: huge}) == []
                assert found(**{f"{name}__ne": huge}) == [1]
                assert found(**{f"{name}__in": [huge, 7, 70, 2**40]}) == [1]
            assert found(**{f"{name}__in": [-(10**40)]}) == []
        assert found(small=7.5) == []
        assert (found(small__gt=6.5), found(small__lt=7.5), found(small__gt=7.5)) == ([1], [1], [])
        assert found(small__range=(Decimal("6.9"), 7.1)) == [1]
        assert found(price="9.949999") == found(price="9.951") == []
        assert found(price__gt="9.9499999999") == found(price__lt="9.95000001") == [1]
        assert found(price__lt=10**20) == found(weight__lt=10**200) == [1]
        assert found(price__gt="1e-300") == found(weight__gt="1e-300") == [1]


def test_compares_booleans(things: None) -> None:
    with unit_of_work(read_only=True):
        assert found(flag__gt=False) == found(flag__gte=True) == found(flag__lte="1") == [1]
        assert found(flag__lt=True) == found(flag__gt=True) == []
        assert found(flag__range=(False, True)) == [1]


def test_takes_other_columns_and_expressions(things: None) -> None:
    with unit_of_work(read_only=True):
        assert found(count__gt=Thing.least) == [1]
        assert found(count__gt=Thing.least + 19) == [1]
        assert found(count__gt=Thing.least + 20) == []
        assert found(count__in=[Thing.least, 70]) == found(count__range=(Thing.least, 99)) == [1]
        assert found(count=Thing.query.with_only_columns(func.max(Thing.count)).scalar_subquery())
        assert found(name__ne=Thing.body) == found(at__year=func.abs(2026)) == [1]
        assert Thing.get_by(count__gt=Thing.least).id == 1  # type: ignore[union-attr]


# Refused


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - DECORATED))
def test_refuses_a_value_of_another_type(name: str) -> None:
    for wrong in SAMPLES[name][1]:
        for lookups in (
            {name: wrong},
            {f"{name}__ne": wrong},
            {f"{name}__gte": wrong},
            {f"{name}__in": [wrong]},
            {f"{name}__not_in": [SAMPLES[name][0], wrong]},
            {f"{name}__range": (SAMPLES[name][0], wrong)},
        ):
            with pytest.raises(InvalidLookupError, match=rf"Thing: {name}\w* takes "):
                Thing.q(**lookups)


@pytest.mark.parametrize("operator", ["contains", "iexact", "startswith", "like", "iregex"])
def test_refuses_to_look_for_what_is_no_text(operator: str) -> None:
    for wrong in (1, b"x", True, ["x"], date(2026, 1, 1), object(), Thing.body):
        for name in ("name", "count", "day", "key", "slug"):
            with pytest.raises(InvalidLookupError, match="takes text"):
                Thing.q(**{f"{name}__{operator}": wrong})


@pytest.mark.parametrize(
    ("part", "wrong"),
    [
        ("year", "soon"),
        ("year", date(2026, 1, 1)),
        ("month", "1.5"),
        ("week_day", b"1"),
        ("hour", "noon"),
        ("date", "2026-02-30"),
        ("date", 2026),
        ("time", "25:00"),
        ("date__year", "x"),
    ],
)
def test_refuses_a_wrong_part_of_a_date(part: str, wrong: Any) -> None:
    for key, value in ((part, wrong), (f"{part}__gte", wrong), (f"{part}__in", [wrong])):
        with pytest.raises(InvalidLookupError):
            Thing.q(**{f"at__{key}": value})


@pytest.mark.parametrize("name", sorted(set(SAMPLES) - {"day", "at", "moment", "seen", "clock"}))
def test_refuses_parts_of_what_is_no_date(name: str) -> None:
    for part in DATE_PARTS:
        with pytest.raises(InvalidLookupError, match=part):
            Thing.q(**{f"{name}__{part}": 1})


def test_refuses_parts_that_a_date_or_a_time_does_not_have() -> None:
    for key in ("day__hour", "day__date", "day__time", "clock__year", "clock__time", "clock__week"):
        with pytest.raises(InvalidLookupError, match="asks for the"):
            Thing.q(**{key: 1})


@on_sqlite
def test_sends_nothing_for_what_a_decorated_type_refuses(
    things: None, statements: Statements
) -> None:
    with unit_of_work(read_only=True):
        for wrong in ("yesterday", datetime(2026, 1, 1), 5):
            with pytest.raises(InvalidValueError, match="UTCDateTime"):
                found(seen=wrong)
    assert statements == []


@on_sqlite
def test_refuses_patterns_that_sqlite_would_choke_on(things: None, statements: Statements) -> None:
    with unit_of_work(read_only=True):
        for operator in ("startswith", "endswith", "like", "istartswith", "iendswith", "ilike"):
            with pytest.raises(InvalidLookupError, match="50,000 bytes"):
                found(**{f"name__{operator}": "é" * 30_000})
        for wrong in ("(", "[", "*", "a{2,1}", "\\", "(?P<", "(?z)"):
            for operator in ("regex", "iregex"):
                with pytest.raises(InvalidLookupError, match="regular expression"):
                    found(**{f"name__{operator}": wrong})
        assert statements == []
        assert found(name__contains="x" * 200_000) == found(name__iexact="é" * 200_000) == []


# NULL


def test_is_never_null(things: None) -> None:
    """Every operator on every column that may be NULL."""
    asked = 0
    with unit_of_work(read_only=True):
        for name, (sample, _) in SAMPLES.items():
            conditions = []
            for operator in BUILT_IN:
                try:
                    lookup_of(Thing, f"{name}__{operator}")
                except InvalidLookupError:
                    continue  # text in bytes
                takes = OPERATORS[operator].takes.name
                values = {"TEXT": "x", "LIST": [sample], "FLAG": True, "RANGE": (sample, sample)}
                conditions.append(Thing.q(**{f"{name}__{operator}": values.get(takes, sample)}))
            conditions.append(Thing.q(**{f"{name}__lt": getattr(Thing, name)}))
            asked += len(conditions)
            for condition in conditions:
                assert Thing.query.filter(condition.is_(None)).count() == 0, str(condition)
        for part in DATE_PARTS:
            value: Any = {"date": date(2026, 1, 1), "time": time(1)}.get(part, 1)
            assert Thing.query.filter(Thing.q(**{f"at__{part}": value}).is_(None)).count() == 0
    assert asked > 300


# Text


TEXTS = [
    "Ada",
    "ada",
    "ÄDA",
    "äda",
    "a%a",
    "a_a",
    "a\\a",
    "a/a",
    "a*a",
    "a?a",
    "a[a",
    "aXa",
    "a\na",
]
TEXT_CASES: dict[tuple[str, str], list[str]] = {
    ("contains", "d"): ["Ada", "ada", "äda"],
    ("contains", "D"): ["ÄDA"],
    ("icontains", "ÄD"): ["ÄDA", "äda"],
    ("icontains", "%"): ["a%a"],
    ("contains", "_"): ["a_a"],
    ("contains", "\\"): ["a\\a"],
    ("contains", "/"): ["a/a"],
    ("icontains", "*"): ["a*a"],
    ("contains", "["): ["a[a"],
    ("startswith", "A"): ["Ada"],
    ("startswith", "ä"): ["äda"],
    ("istartswith", "ä"): ["ÄDA", "äda"],
    ("startswith", "a%"): ["a%a"],
    ("startswith", "a?"): ["a?a"],
    ("startswith", "a["): ["a[a"],
    ("startswith", ""): TEXTS,
    ("endswith", "A"): ["ÄDA"],
    ("endswith", "_a"): ["a_a"],
    ("endswith", "\\a"): ["a\\a"],
    ("iendswith", "DA"): ["Ada", "ada", "ÄDA", "äda"],
    ("iexact", "ÄDa"): ["ÄDA", "äda"],
    ("iexact", "A%A"): ["a%a"],
    ("iexact", "A_A"): ["a_a"],
    ("iexact", "A\\A"): ["a\\a"],
    ("like", "a_a"): [text for text in TEXTS if len(text) == 3 and text[0] + text[2] == "aa"],
    ("like", "a\\_a"): ["a_a"],
    ("like", "a\\%a"): ["a%a"],
    ("like", "a\\\\a"): ["a\\a"],
    ("like", "A%"): ["Ada"],
    ("ilike", "ä%A"): ["ÄDA", "äda"],
    ("like", "%*%"): ["a*a"],
    ("like", "a"): [],
    ("regex", "^A"): ["Ada"],
    ("regex", "d.$"): ["Ada", "ada", "äda"],
    ("iregex", "^ada$"): ["Ada", "ada"],
}


def test_tells_case_apart_and_takes_wildcards_for_themselves(engine: Engine) -> None:
    create(engine, Thing)
    with unit_of_work():
        for text in TEXTS:
            Thing(name=text).save()
        Thing(name=None).save()
        for (operator, value), expected in TEXT_CASES.items():
            query = Thing.query.filter(**{f"name__{operator}": value})
            assert sorted(query.pluck("name")) == sorted(expected), (operator, value)


@pytest.mark.parametrize("pool", [None, StaticPool])
def test_finds_text_on_an_engine_that_was_connected_before(
    sqlite_database: Database, unconfigured: None, pool: Any
) -> None:
    given = create_engine(sqlite_database.url, poolclass=pool)
    create(given, Thing)
    configure(given)
    with unit_of_work():
        Thing(name="ÄDA").save()
        assert found(name__icontains="äd") == found(name__iregex="^.da$") == [1]
    given.dispose()


@on_mariadb
def test_leaves_equality_to_the_collation(engine: Engine) -> None:
    create(engine, Thing)
    with unit_of_work():
        for text in ("Ada", "ada", "äda"):
            Thing(name=text).save()
        assert len(found(name="ADA")) == len(found(name__in=["ADA"])) == 3
        assert found(name__ne="ADA") == []
        assert found(name__contains="ada") == [2]


@on_postgres
def test_gives_a_typed_error_for_a_wrong_expression_of_the_server(things: None) -> None:
    with unit_of_work(read_only=True), pytest.raises(InvalidValueError):
        found(name__regex="(")


@on_mariadb
def test_gives_the_same_error_on_mariadb(things: None) -> None:
    with unit_of_work(read_only=True), pytest.raises(InvalidValueError):
        found(name__regex="(")
