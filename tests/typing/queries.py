"""Samples of `Query`: every step keeps its type, every end has one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    CTE,
    Executable,
    Exists,
    ScalarResult,
    Select,
    Subquery,
    exists,
    func,
    or_,
    select,
    text,
    true,
)
from sqlalchemy.orm import aliased, joinedload, selectinload

from activebase import CursorPage, Page, Query, session
from tests.typing.holds import assert_type
from tests.typing.models import Post, User


def steps() -> None:
    query = User.query
    assert_type(query, Query[User])
    assert_type(query.filter(User.age > 3, name__icontains="x"), Query[User])
    assert_type(query.filter(User.q(age=3) | User.q(name="x")), Query[User])
    assert_type(query.exclude(User.age > 3, name="x"), Query[User])
    assert_type(query.filter_from({"name": "x"}, allow={"name"}), Query[User])
    assert_type(query.where(User.age > 3), Query[User])
    assert_type(query.filter_by(name="x"), Query[User])
    assert_type(query.order_by("-joined_at", User.name, User.age.desc()), Query[User])
    assert_type(query.order_by(None), Query[User])
    assert_type(query.limit(3).offset(2), Query[User])
    assert_type(query.slice(2, 3), Query[User])
    assert_type(query.fetch(3), Query[User])
    assert_type(query.distinct(), Query[User])
    assert_type(query.group_by(User.id).having(func.count() > 1), Query[User])
    assert_type(query.join(User.posts), Query[User])
    assert_type(query.join(Post, Post.author_id == User.id), Query[User])
    assert_type(query.outerjoin(User.posts), Query[User])
    assert_type(query.options(selectinload(User.posts)), Query[User])
    assert_type(query.options(joinedload(User.posts)).strict(), Query[User])
    assert_type(query.with_related("posts", "posts__author"), Query[User])
    assert_type(query.with_deleted(), Query[User])
    assert_type(query.execution_options(populate_existing=True), Query[User])
    assert_type(query.with_for_update(skip_locked=True), Query[User])


def criteria() -> None:
    """Whatever `where()` takes, `filter()` and `exclude()` take."""
    query = User.query
    assert_type(query.filter(User.name == "Foo", User.email.is_(None)).all(), list[User])
    assert_type(query.filter(or_(User.age > 3, ~User.name.like("x%"))).all(), list[User])
    assert_type(query.filter(func.lower(User.name) == "foo", true()).all(), list[User])
    assert_type(query.filter(User.active, User.checked, text("1 = 1")).all(), list[User])
    assert_type(query.filter(User.posts.any(Post.title == "x")).all(), list[User])
    assert_type(query.exclude(User.age.in_([1, 2]), User.next_age > 3).all(), list[User])
    assert_type(query.exclude(exists().where(Post.author_id == User.id)).all(), list[User])
    assert_type(Post.query.filter(Post.author.has(User.age > 3)).all(), list[Post])
    assert_type(Post.query.filter(Post.author == User.query.one()).all(), list[Post])


def records() -> None:
    query = User.query.filter(name="Foo")
    assert_type(query.all(), list[User])
    assert_type(query.first(), User | None)
    assert_type(query.last(), User | None)
    assert_type(query.one(), User)
    assert_type(query.one_or_none(), User | None)
    assert_type(query.get(1), User | None)
    assert_type(query.first_or_404(), User)
    assert_type(query.one_or_404(), User)
    assert_type(query.get_or_404(1), User)
    assert_type(query.in_bulk([1, 2]), dict[Any, User])
    assert_type(query.iterate(), Iterator[User])
    for user in query.iterate(batch=10):
        assert_type(user, User)


def numbers() -> None:
    assert_type(User.query.count(), int)
    assert_type(User.query.any(), bool)
    assert_type(User.query.update(age=User.age + 1, email=None), int)
    assert_type(Post.query.filter(title="x").delete(), int)


def values() -> None:
    query = User.query
    assert_type(query.values("name", "age"), list[dict[str, Any]])
    assert_type(query.values(User.name), list[dict[str, Any]])
    assert_type(query.pluck(User.name), list[str])
    assert_type(query.pluck(User.email), list[str | None])
    assert_type(query.pluck(User.next_age), list[int])
    assert_type(query.pluck(User.age + 1), list[int])
    assert_type(query.pluck("name"), list[Any])
    assert_type(query.aggregate(total=func.sum(User.age), most=func.max(User.age)), dict[str, Any])
    assert_type(Post.query.pluck("author__name"), list[Any])


def pages() -> None:
    page = User.query.paginate(page="1", per_page=10, max_per_page=100)
    assert_type(page, Page[User])
    assert_type(page.items, list[User])
    assert_type([user.name for user in page], list[str])
    assert_type(len(page), int)
    assert_type(page.page, int)
    assert_type(page.per_page, int)
    assert_type(page.total, int)
    assert_type(page.pages, int)
    assert_type(page.has_next, bool)
    assert_type(page.has_prev, bool)
    assert_type(page.next_num, int | None)
    assert_type(page.prev_num, int | None)
    assert_type(page.iter_pages(left_edge=1), Iterator[int | None])


def cursor_pages() -> None:
    page = User.query.order_by("-age").cursor(limit=10)
    assert_type(page, CursorPage[User])
    assert_type(page.items, list[User])
    assert_type([user.name for user in page], list[str])
    assert_type(page.next_cursor, str | None)
    assert_type(page.prev_cursor, str | None)
    assert_type(page.has_next, bool)
    assert_type(page.has_prev, bool)
    assert_type(User.query.order_by("-age").cursor(after=page.next_cursor), CursorPage[User])
    assert_type(User.query.order_by("-age").cursor(before=page.prev_cursor), CursorPage[User])


def as_a_select() -> None:
    query = User.query.filter(age__gt=3)
    statement: Select[Any] = query
    assert_type(query.subquery(), Subquery)
    assert_type(query.cte("grown_ups"), CTE)
    assert_type(query.exists(), Exists)
    either: Executable = query.union(User.query.filter(name="x"))
    assert_type(User.query.where(User.id.in_(query.with_only_columns(User.id))), Query[User])
    session.execute(either).all()
    assert_type(session.scalars(query), ScalarResult[Any])
    assert_type(session.scalars(statement).all(), Sequence[Any])
    assert_type(session.scalars(select(User).where(User.age > 3)).first(), User | None)
    session.scalars(select(User).from_statement(query)).all()
    grown_up = aliased(User, query.subquery())
    assert_type(session.scalars(select(grown_up)).all(), Sequence[User])


def other_columns() -> None:
    """What a query selects instead of the record is no record any more."""
    query = User.query
    assert_type(query.with_only_columns(User.name), Query[str])
    assert_type(query.with_only_columns(User.name).all(), list[str])
    assert_type(query.with_only_columns(User.name).first(), str | None)
    assert_type(query.with_only_columns(User.name, User.age), Query[Any])
    assert_type(query.with_only_columns(User.name, User.age).all(), list[Any])
    assert_type(query.add_columns(User.name), Query[Any])
