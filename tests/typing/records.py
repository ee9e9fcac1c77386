"""Samples of `MyBase`: what a record and its class give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.orm import scoped_session

from activebase import Query
from tests.typing.holds import assert_type
from tests.typing.models import Note, Novel, Point, Reading, User


def writing() -> None:
    user = User(name="x")
    assert_type(user.save(), User)
    assert_type(user.id, int)
    assert_type(user.email, str | None)
    assert_type(User.create(name="y"), User)
    assert_type(user.update(name="z"), User)
    assert_type(user.update(name="z").save().name, str)
    form: Mapping[str, str] = {"name": "Bar", "age": "1"}
    assert_type(user.update(form, only={"name"}), User)
    assert_type(user.update({"email": None}, only=["email"], age=3), User)
    user.delete()


def reading() -> None:
    user = User.create(name="x")
    assert_type(User.get(1), User | None)
    assert_type(User.get({"id": 1}), User | None)
    assert_type(User.get_or_404(user.id), User)
    assert_type(User.get_by(name__iexact="foo", age__gte=18), User | None)
    assert_type(user.refresh(), User)
    assert_type(user.refresh("name", "age", lock=True), User)
    assert_type(user.changes(), dict[str, tuple[Any, Any]])
    assert_type(user.to_dict(only={"name"}, exclude=["age"], include=("posts",)), dict[str, Any])
    assert_type(User.q(name="x"), ColumnElement[bool])
    combined: ColumnElement[bool] = User.q(name="x") | ~User.q(age__lt=3) & (User.age > 3)
    assert_type(User.query.filter(combined).all(), list[User])


def making_what_is_missing() -> None:
    assert_type(User.get_or_create(name="Foo"), tuple[User, bool])
    user, created = User.get_or_create(name="Bar", defaults={"age": lambda: 3})
    assert_type(user, User)
    assert_type(created, bool)
    assert_type(User.update_or_create(name="Foo", defaults={"age": 4}), tuple[User, bool])
    made = User.update_or_create(name="Foo", defaults={}, create_defaults={"age": 4})
    assert_type(made, tuple[User, bool])


def of_each_form() -> None:
    assert_type(Note.create(text="x").save(), Note)
    assert_type(Note.query.first(), Note | None)
    assert_type(Note.__protected__, frozenset[str])
    assert_type(Point(x=1, y=2).save(), Point)
    assert_type(Point(3).save().x, int)
    assert_type(Point.query.all(), list[Point])
    assert_type(Novel.query, Query[Novel])
    assert_type(Novel.query.filter(title="x").first(), Novel | None)
    assert_type(Novel.create(title="x", chapters=3), Novel)
    assert_type(Novel.get_or_create(title="x"), tuple[Novel, bool])


def in_a_session_of_its_own() -> None:
    assert_type(User.session, scoped_session[Any])
    assert_type(Reading.session, scoped_session[Any])


def helper(model: type[User], **values: Any) -> User:
    """What users write: a function over a model's class."""
    assert_type(model.query, Query[User])
    return model.query.filter(**values).first() or model.create(**values)


def over_a_class() -> None:
    assert_type(helper(User, name="Foo"), User)
