"""Samples of bulk writes."""

from __future__ import annotations

from typing import Any

from tests.typing.holds import assert_type
from tests.typing.models import User


def creating() -> None:
    rows: list[dict[str, Any]] = [{"name": "a"}, {"name": "b", "age": 3}]
    assert_type(User.bulk_create(rows), int)
    assert_type(User.bulk_create([User(name="c"), User(name="d")]), int)
    assert_type(User.bulk_create((User(name=name) for name in "ef"), batch_size=1), int)
    assert_type(User.bulk_create(rows, on_conflict="ignore"), int)
    assert_type(User.bulk_create(rows, on_conflict="ignore", returning=False), int)


def upserting() -> None:
    rows: list[dict[str, Any]] = [{"name": "a", "age": 3}]
    written = User.bulk_create(
        rows, on_conflict="update", conflict_columns=["name"], update_columns=["age"]
    )
    assert_type(written, int)
    records = User.bulk_create(
        rows, on_conflict="update", conflict_columns=["name"], returning=True
    )
    assert_type(records, list[User])


def giving_records_back() -> None:
    assert_type(User.bulk_create([{"name": "a"}], returning=True), list[User])
    assert_type(User.bulk_create([User(name="b")], returning=True), list[User])


def giving_either_back(records_back: bool) -> None:
    written = User.bulk_create([{"name": "a"}], returning=records_back)
    assert_type(written, int | list[User])


def updating() -> None:
    user = User.create(name="x")
    user.age = 3
    assert_type(User.bulk_update([user], ["age"]), int)
    assert_type(User.bulk_update(User.query.all(), fields={"age"}), int)
