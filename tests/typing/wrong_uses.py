"""What mypy and pyright must refuse; nothing here is run.

Each line says what the two report. When one no longer does, its comment is unused, and that is an
error by itself.
"""
# ruff: noqa: B018
# pyright: reportUnknownMemberType=false
# It would only say that an unknown name is of an unknown type.

from __future__ import annotations

from sqlalchemy import ColumnElement

from activebase import (
    ConflictError,
    NotFoundError,
    Page,
    Query,
    configure,
    on_commit,
    register_lookup,
    session,
    unit_of_work,
)
from tests.typing.mixed import Account
from tests.typing.models import Note, Novel, Point, Post, User
from tests.typing.units import Service, plain, reader, repeated


def none_is_not_looked_at(query: Query[User]) -> None:
    query.first().name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    query.last().name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    query.one_or_none().name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    query.get(1).name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    User.get(1).name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    User.get_by(id=1).name  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    query.pluck(User.email)[0].upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    query.cursor().next_cursor.upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]


def a_name_that_is_not_there(query: Query[User]) -> None:
    query.frist()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    query.one().nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    query.all().name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    query.iterate().name  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    query.paginate().itmes  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    query.cursor().total  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    User.get_or_404(1).nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    User(name="x").save().nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    User.create(name="x").update(name="y").refresh().nmae  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    Note.query.one().deleted_at  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def another_type(page: Page[User]) -> None:
    number: int = User.query.pluck(User.name)[0]  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    post: Post = User.query.one()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    novels: list[Novel] = User.query.all()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    query: Query[Post] = User.query.limit(3)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    posts: Page[Post] = page  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    record: User = User.get_or_create(name="x")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    names: list[User] = User.query.with_only_columns(User.name).all()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    count: int = User.bulk_create([{"name": "x"}], returning=True)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    version: str = Account.query.one().version  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    del number, post, novels, query, posts, record, names, count, version


def another_argument(query: Query[User]) -> None:
    query.filter("name = 'x'")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query.exclude(User.name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query.filter_from({"name": "x"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    query.iterate(100)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    query.aggregate(total="sum(age)")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query.with_related(User.posts)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    query.paginate(1, 20)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    query.cursor("x")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    query.cursor(after=b"x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    User.get_or_create({"name": "x"})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    User.q(User.age > 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    User.bulk_create([{"name": "x"}], on_conflict="replace")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    Point(1, z=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Point("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    configure("sqlite://", stray_commits="refuse")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def a_signature_that_is_kept() -> None:
    plain()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    plain(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    plain("x", agee=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    repeated("x", 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    reader(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Service().method()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    unit_of_work(retry=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    unit_of_work(session, retries=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    on_commit(callback=3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    register_lookup("odd")(one_argument)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def one_argument(column: ColumnElement[int]) -> ColumnElement[bool]:
    return column > 3


def errors(error: ConflictError, missing: NotFoundError) -> None:
    error.columns.append("x")  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
    error.constraint.upper()  # type: ignore[union-attr]  # pyright: ignore[reportOptionalMemberAccess]
    missing.constraint  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
