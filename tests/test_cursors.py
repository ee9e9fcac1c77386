"""Cursors as text: what they hold, and what is no cursor."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event

from activebase import InvalidLookupError, cursors
from activebase.keysets import keyset_of
from tests.databases import EACH, Database, database_of
from tests.pages import Sheet, keys
from tests.test_stored import MODELS, Valued

pytest_plugins = ["tests.core_fixtures", "tests.pages_fixtures"]

database = pytest.fixture(params=EACH)(database_of)

ORDER = cursors.fingerprint("sqlite", "Sheet", "sheet.id")
FEW = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def there_and_back(value: Any) -> Any:
    (found,) = cursors.decode(ORDER, cursors.encode(ORDER, [cursors.held(value)]))
    return found


def signed(payload: bytes, *, version: bytes = b"\x01", order: bytes = ORDER) -> str:
    """Return a cursor as one who has read the code could make it."""
    head = version + order
    checksum = blake2b(head + payload, digest_size=8).digest()
    return urlsafe_b64encode(head + checksum + payload).rstrip(b"=").decode()


# Values


VALUES = [
    *(
        None,
        True,
        False,
        0,
        -1,
        2**63,
        10**400,
        "",
        "a",
        "\0",
        "é日本\U0001f600",
        '"\\[]{}',
        "x" * 9999,
    ),
    *(0.0, -0.0, 0.1, 5e-324, 1.7976931348623157e308, float("inf"), float("-inf")),
    *(Decimal("1.50"), Decimal("1E-30"), Decimal("Infinity"), Decimal(10) ** 50),
    *(
        datetime(1, 1, 1),
        datetime(9999, 12, 31, 23, 59, 59, 999999),
        datetime(2024, 2, 29, tzinfo=UTC),
    ),
    datetime(2024, 2, 29, 1, 2, 3, 4, timezone(-timedelta(hours=5, minutes=30, seconds=7))),
    *(date(1, 1, 1), date(9999, 12, 31), time(0), time(23, 59, 59, 999999), time(1, tzinfo=UTC)),
    *(timedelta(0), timedelta.max, timedelta.min, timedelta(microseconds=-1)),
    *(UUID(int=0), UUID(int=2**128 - 1), b"", b"\x00\xff", bytes(range(256))),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{value!a:.30}")
def test_holds_a_value_as_it_is(value: Any) -> None:
    found = there_and_back(value)
    assert found == value
    assert type(found) is type(value)
    assert repr(found) == repr(value) or isinstance(value, datetime | time)


@FEW
@given(st.floats() | st.integers() | st.text() | st.binary() | st.dates() | st.decimals())
def test_holds_any_value_as_it_is(value: Any) -> None:
    assert repr(there_and_back(value)) == repr(value)


def test_holds_the_plain_value_of_a_subclass() -> None:
    class Word(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    class Moment(datetime): ...

    assert there_and_back(Word("x")) == "x"
    assert type(there_and_back(Word("x"))) is str
    assert there_and_back(Moment(2024, 2, 29)) == datetime(2024, 2, 29)


@pytest.mark.parametrize("value", [[1], (1,), {"a": 1}, {1}, object(), 1j], ids=repr)
def test_holds_nothing_that_could_not_be_read_again(value: Any) -> None:
    with pytest.raises(TypeError, match=f"can't hold a value of type {type(value).__name__}"):
        cursors.held(value)


def test_fits_into_a_url() -> None:
    cursor = cursors.encode(ORDER, ["ÿþ?>~" * 9])
    assert cursor.isascii()
    assert set(cursor) <= {*"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"}
    assert len(cursors.encode(ORDER, [2**31, 2**31])) < 60


def test_tells_orders_apart_in_every_process_alike() -> None:
    assert cursors.fingerprint("a", "b").hex() == "ffc151170352baa3"
    assert len({cursors.fingerprint(*parts) for parts in (["ab"], ["a", "b"], ["b", "a"])}) == 3


# What is none

GOOD = cursors.encode(ORDER, [5, "Ada"])


def refused(cursor: Any) -> str:
    with pytest.raises(InvalidLookupError, match=r"^The cursor .* Expected next_cursor") as raised:
        cursors.decode(ORDER, cursor)
    assert raised.value.status == 400
    return str(raised.value)


def test_is_refused_when_it_was_cut_off_or_prolonged() -> None:
    for end in range(len(GOOD)):
        refused(GOOD[:end])
        refused(GOOD[end + 1 :])
    for more in ("A", "=", "==", " ", "\n", "AAAA", "\0"):
        refused(GOOD + more)
        refused(more + GOOD)


def test_is_refused_when_a_single_bit_was_turned() -> None:
    for place, letter in enumerate(GOOD):
        for bit in range(8):
            changed = chr(ord(letter) ^ 1 << bit)
            refused(GOOD[:place] + changed + GOOD[place + 1 :])


def test_is_refused_when_it_is_of_another_version_or_order() -> None:
    assert "is of another version" in refused(signed(b"[5]", version=b"\x02"))
    other = cursors.fingerprint("sqlite", "Sheet", "sheet.place")
    assert "in another order" in refused(signed(b"[5]", order=other))
    assert cursors.decode(ORDER, signed(b"[5]")) == [5]


@pytest.mark.parametrize(
    "cursor",
    [None, 0, 1.5, True, b"", GOOD.encode(), [], [GOOD], {}, object(), str],
    ids=lambda cursor: type(cursor).__name__,
)
def test_is_refused_when_it_is_no_text(cursor: Any) -> None:
    assert "is no text" in refused(cursor)


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"5", b"{}", b'"x"', b"null", b"[5", b"[5]]", b"[5] [6]", b"[5],", b" [5]", b"\xff"),
        *(b"[{}]", b"[[]]", b'[["decimal"]]', b'[["decimal","1","2"]]', b'[["decimal",5]]'),
        *(b'[["eval","1"]]', b'[[["decimal"],"1"]]', b'[["decimal","x"]]', b'[["decimal",["1"]]]'),
        *(
            b'[["datetime","x"]]',
            b'[["date","2024-02-30"]]',
            b'[["time","25:00"]]',
            b'[["uuid","5"]]',
        ),
        *(
            b'[["microseconds","1e9"]]',
            b'[["microseconds","' + b"9" * 40 + b'"]]',
            b'[["bytes","*"]]',
        ),
        *(rb'["\ud800"]', rb'[["decimal","\udfff"]]', b'["' + b"\xed\xa0\x80" + b'"]'),
        *(b"[" * 100_000, b"[" + b"9" * 5000 + b"]"),
    ],
    ids=lambda payload: f"{payload!a:.25}",
)
def test_is_refused_when_its_values_can_t_be_read(payload: bytes) -> None:
    refused(signed(payload))


@FEW
@given(st.text() | st.text("ABCdef-_0=+/").map(lambda end: GOOD[:9] + end))
@example("\ud800")
@example("\u0661")
@example("A" * 1_000_000)
def test_is_refused_whatever_text_it_is(text: str) -> None:
    refused(text)


@FEW
@given(st.binary())
def test_is_refused_whatever_bytes_were_signed(payload: bytes) -> None:
    try:
        values = json.loads(payload)
    except ValueError:
        values = None
    if not isinstance(values, list):
        refused(signed(payload))


# In the database


@pytest.fixture
def valued(engine: Engine) -> None:
    Valued.metadata.create_all(engine)


@pytest.fixture
def sent(valued: None, filled: None, engine: Engine) -> list[str]:
    sent_statements: list[str] = []
    event.listen(
        engine, "before_cursor_execute", lambda *details: sent_statements.append(details[2])
    )
    return sent_statements


def forged() -> Iterator[Any]:
    """Yield values of every type, and of no sense, as a cursor holds them."""
    yield from (cursors.held(value) for value in VALUES if type(value) is not str)
    yield from ("1", "1'; DROP TABLE sheet; --", "awake", "x\0", "nan", "2024-02-29", [], "é" * 300)
    yield from (-(2**63) - 1, 2**31, 10**60, float("nan"), ["decimal", "NaN"], ["decimal", "sNaN"])
    yield from (["decimal", "1E+999999"], ["decimal", "-1E-999999"], ["decimal", "1E+400"])


def test_moves_to_another_position_at_most_whatever_values_it_was_given(sent: list[str]) -> None:
    """Also by one who knows how the checksum is made."""
    for name, (model, _) in MODELS.items():
        query = model.query.order_by("value")
        order = keyset_of(query).fingerprint
        shapes = set()
        for value in forged():
            cursor = signed(json.dumps([value, 5]).encode(), order=order)
            del sent[:]
            try:
                query.cursor(after=cursor)
            except InvalidLookupError:
                assert sent == [], name
            except Exception as error:
                error.add_note(f"values of {name}, {value!r} given")
                raise
            shapes |= {*sent}
        assert 0 < len(shapes) <= 4, name


def test_is_refused_with_more_values_or_fewer_or_others(
    sent: list[str], database: Database
) -> None:
    query = Sheet.query.order_by("weight")
    order = keyset_of(query).fingerprint
    payloads = [b"[1]", b"[1,2,3]", b"[1,null]", b"[null,null]", b"[1,true]"]
    if database.dialect != "sqlite":  # which has a place for any value in any column
        payloads += [b'[1,"x"]', b'["x",1]', b"[1,2.5]"]
    for payload in payloads:
        for give in ("after", "before"):
            with pytest.raises(InvalidLookupError, match="can't be read"):
                query.cursor(**{give: signed(payload, order=order)})
    assert sent == []
    assert keys(query.cursor(after=signed(b"[]", order=order))) == keys(query.cursor())


def test_holds_the_values_of_the_order_and_nothing_else_of_the_row(filled: None) -> None:
    cursor = Sheet.query.order_by("place").cursor(limit=1).next_cursor
    assert cursor
    raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    first = Sheet.query.order_by("place", "id").first()
    assert first
    assert json.loads(raw[17:]) == [first.place, first.id]
