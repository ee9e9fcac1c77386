"""The verbs of a record: they flush, and never commit."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import CheckConstraint, Engine, event, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm.exc import FlushError

from activebase import (
    MyModel,
    ProtectedAttributeError,
    UniqueViolation,
    UnknownAttributeError,
    atomic,
    session,
    unit_of_work,
)
from tests.core import names
from tests.databases import EACH, Database, database_of
from tests.library import Author, Book, Copy, Loan, Novel, Secret, Tag
from tests.models import Member

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def library(engine: Engine) -> None:
    Author.metadata.create_all(engine)


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """What is sent to the database from here on."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    return sent


# save, create, update, delete


def test_saves_by_a_flush_and_returns_the_record(engine: Engine, database: Database) -> None:
    with unit_of_work():
        ada = Member(name="ada")
        assert ada.save() is ada
        assert ada.id == 1
        assert names(database) == []
    assert names(database) == ["ada"]


def test_sends_nothing_for_a_record_without_changes(engine: Engine, statements: list[str]) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        sent = len(statements)
        ada.save()
        ada.update(name="ada")
        assert len(statements) == sent


def test_creates_by_the_constructor_and_a_flush(engine: Engine, database: Database) -> None:
    with unit_of_work():
        assert Member.create(name="ada", age=36).id == 1
        assert names(database) == []
    assert database.rows("SELECT name, age FROM member") == [("ada", 36)]


def test_updates_attributes_and_returns_the_record(engine: Engine, database: Database) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        assert ada.update(name="bob", age=5) is ada
    assert database.rows("SELECT name, age FROM member") == [("bob", 5)]


def test_deletes_by_a_flush_and_returns_none(engine: Engine, database: Database) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        Member(name="bob").save()
        result: Any = ada.delete()  # type: ignore[func-returns-value]  # that is what is asked
        assert result is None
        assert Member.get(1) is None
    assert names(database) == ["bob"]


@pytest.mark.parametrize(
    "write",
    [
        lambda: Member(name="bob").save(),
        lambda: Member.create(name="bob"),
        lambda: Member.query.one().update(age=1),
        lambda: Member.query.one().delete(),
    ],
    ids=["save", "create", "update", "delete"],
)
def test_never_commits(engine: Engine, database: Database, write: Callable[[], Any]) -> None:
    with unit_of_work():
        Member(name="ada").save()
    write()
    assert database.rows("SELECT name, age FROM member") == [("ada", None)]
    session.rollback()
    assert database.rows("SELECT name, age FROM member") == [("ada", None)]


def test_saves_what_hangs_on_the_record(library: None, database: Database) -> None:
    with unit_of_work():
        Author(name="Ada", books=[Book(title="Notes")]).save()
    assert database.rows("SELECT title, author_id FROM book") == [("Notes", 1)]


# Names


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [("nmae", "'name'"), ("shelf_mark", "'shelfmark'"), ("nothing_like_it", None)],
)
def test_refuses_an_unknown_name_before_anything_is_set(
    library: None, database: Database, wrong: str, hint: str | None
) -> None:
    with unit_of_work():
        author = Author(name="Ada").save()
        book = Book(title="Notes", author=author).save()
        record: Any = author if wrong == "nmae" else book
        with pytest.raises(UnknownAttributeError) as caught:
            record.update(**{"id": 99, wrong: 1})
        assert record.changes() == {}
        with pytest.raises(UnknownAttributeError):
            type(record).create(**{wrong: 1})
    assert f"{type(record).__name__}.{wrong} does not exist" in str(caught.value)
    assert ("Did you mean" in str(caught.value)) == (hint is not None)
    assert hint is None or hint in str(caught.value)
    assert database.scalar("SELECT count(*) FROM book") == 1


def test_takes_hybrids_and_properties_that_have_a_setter(library: None, database: Database) -> None:
    with unit_of_work():
        author = Author.create(name="Ada", initial="B", motto="hello")
        assert (author.name, author.mottos) == ("Bda", ["hello"])
        author.update(initial="C", motto="world")
        assert author.mottos == ["hello", "world"]
        for name in ("shout", "query", "metadata", "save", "_private"):
            with pytest.raises(UnknownAttributeError, match=name):
                author.update(**{name: 1})
    assert database.rows("SELECT name FROM author") == [("Cda",)]


def test_copes_with_a_hybrid_that_only_works_for_a_record(library: None) -> None:
    with unit_of_work():
        author = Author.create(name="Ada")
        assert author.to_dict(include=["length"])["length"] == 3
        with pytest.raises(UnknownAttributeError, match="length can't be set"):
            author.update(length=1)


def test_refuses_protected_names_everywhere_but_in_plain_assignment(
    library: None, database: Database
) -> None:
    with unit_of_work():
        secret = Secret.create(label="a")
        with pytest.raises(ProtectedAttributeError, match="is_admin"):
            secret.update(label="b", is_admin=True)
        with pytest.raises(ProtectedAttributeError, match="is_admin"):
            Secret.create(label="c", is_admin=True)
        with pytest.raises(ProtectedAttributeError):
            secret.update({"is_admin": True}, only={"is_admin"})
        secret.is_admin = True
        secret.save()
    assert database.rows("SELECT label, is_admin FROM secret") in ([("a", 1)], [("a", True)])


def test_takes_only_the_named_keys_of_an_untrusted_mapping(
    engine: Engine, database: Database
) -> None:
    form = {"name": "bob", "age": 5, "id": 99, "csrf_token": "x"}
    with unit_of_work():
        ada = Member(name="ada").save()
        ada.update(form, only={"name", "email"})
        ada.update(form, only={"name"}, email="bob@example.com")
        with pytest.raises(UnknownAttributeError):
            ada.update(form, only={"csrf_token"})
    row = "SELECT id, name, age, email FROM member"
    assert database.rows(row) == [(1, "bob", None, "bob@example.com")]


def test_completes_a_record_that_is_in_the_session_already(
    library: None, database: Database
) -> None:
    with unit_of_work():
        book = Book()
        session.add(book)
        book.update(title="Notes")
    assert database.rows("SELECT title FROM book") == [("Notes",)]


@pytest.mark.parametrize(("data", "only"), [({"name": "bob"}, None), (None, {"name"})])
def test_refuses_a_mapping_without_only_and_only_without_a_mapping(
    engine: Engine, data: Any, only: Any
) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        with pytest.raises(TypeError, match="only"):
            ada.update(data, only=only)
        assert ada.name == "ada"


def test_takes_no_text_for_a_list_of_names(engine: Engine) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        for ask in (
            lambda: ada.update({"name": "bob"}, only="name"),
            lambda: ada.to_dict(only="name"),
            lambda: ada.to_dict(exclude="name"),
            lambda: ada.to_dict(include="name"),
        ):
            with pytest.raises(TypeError, match=r"takes a collection of names, as \['name'\]"):
                ask()
        assert ada.name == "ada"


# When it fails


def test_puts_the_old_values_back_when_a_validator_refuses_one(
    library: None, database: Database
) -> None:
    with unit_of_work():
        tags = [Tag(word="old")]
        author = Author(name="Ada", tags=tags).save()
        book = Book(title="Notes", author=author).save()
        session.refresh(book, ["author"])
        with pytest.raises(ValueError, match="year"):
            book.update(title="New", author=None, year=-1)
        assert (book.title, book.author, book.year) == ("Notes", author, None)
        with pytest.raises(ValueError, match="name"):
            author.update(tags=[], motto="x", name="")
        assert (author.tags, author.motto) == (tags, "")
        assert (book.changes(), author.changes()) == ({}, {})
    assert database.rows("SELECT title, author_id, year FROM book") == [("Notes", 1, None)]
    assert database.rows("SELECT word, author_id FROM tag") == [("old", 1)]


def test_saves_no_new_record_that_a_refused_update_was_given(
    library: None, database: Database
) -> None:
    with unit_of_work():
        author = Author(name="Ada", tags=[Tag(word="old")]).save()
        with pytest.raises(ValueError, match="name"):
            author.update(tags=[Tag(word="new")], name="")
    assert database.rows("SELECT word, author_id FROM tag") == [("old", 1)]


def test_puts_back_what_was_changed_but_not_flushed(library: None, database: Database) -> None:
    with unit_of_work():
        book = Book(title="Notes").save()
        book.title = "Changed"
        with pytest.raises(ValueError, match="year"):
            book.update(title="New", year=-1)
        assert book.title == "Changed"
    assert database.rows("SELECT title FROM book") == [("Changed",)]


def test_puts_back_what_was_not_loaded(library: None, database: Database) -> None:
    with unit_of_work():
        book = Book(title="Notes").save()
        session.expire(book)
        with pytest.raises(ValueError, match="year"):
            book.update(title="New", year=-1)
        assert book.title == "Notes"
    new = Book()
    with pytest.raises(ValueError, match="year"):
        new.update(title="New", year=-1)
    assert new.title is None
    assert new not in session


@pytest.mark.parametrize(
    "write",
    [
        lambda: Member(name="ada").save(),
        lambda: Member.query.filter_by(name="bob").one().update(name="ada"),
        lambda: Member(id=1, name="cyd").save(),
        lambda: Member.create(name=None),
    ],
)
def test_leaves_the_session_usable_outside_of_units(
    engine: Engine, database: Database, write: Callable[[], Any]
) -> None:
    for name in ("ada", "bob"):
        Member(name=name).save()
    session.commit()
    with pytest.raises((SQLAlchemyError, FlushError)):
        write()
    assert Member.query.count() == 2
    Member(name="dan").save()
    session.commit()
    assert names(database) == ["ada", "bob", "dan"]


def test_raises_a_typed_error_when_a_row_is_still_needed(library: None, database: Database) -> None:
    with unit_of_work():
        copy = Copy(shelf=1, number=1).save()
        Loan(shelf=1, number=1).save()
    with pytest.raises(IntegrityError), unit_of_work():
        copy.delete()
    assert database.scalar("SELECT count(*) FROM copy") == 1


def test_leaves_a_failure_inside_a_savepoint_to_the_savepoint(
    engine: Engine, database: Database
) -> None:
    with unit_of_work():
        Member(name="ada").save()
        with pytest.raises(UniqueViolation), atomic():
            Member(name="ada").save()
        savepoint = session.begin_nested()
        with pytest.raises(UniqueViolation):
            Member(name="ada").save()
        savepoint.rollback()
        Member(name="bob").save()
    assert names(database) == ["ada", "bob"]


# What SQLAlchemy offers


def test_works_with_inheritance(library: None, database: Database) -> None:
    with unit_of_work():
        novel = Novel.create(title="Middlemarch", chapters=86)
        Book.create(title="Notes")
        assert Novel.query.all() == [novel]
        assert Book.query.count() == 2
        assert Book.get(novel.id) is novel
        assert novel.update(title="Felix Holt", chapters=51).changes() == {}
        with pytest.raises(UnknownAttributeError):
            Book.create(title="Notes", chapters=1)
    assert database.rows("SELECT title, chapters FROM book ORDER BY id") == [
        ("Felix Holt", 51),
        ("Notes", None),
    ]


def test_works_with_dataclasses(library: None, database: Database) -> None:
    with unit_of_work():
        loan = Loan(shelf=None, number=None, note="x")
        assert (loan.note, loan.days) == ("x", 14)
        loan.save()
        assert Loan.create(note="y", days=3, urgent=True).days == 1
        with pytest.raises(UnknownAttributeError):
            Loan.create(dyas=3)
    assert database.rows("SELECT note, days FROM loan ORDER BY id") == [("x", 14), ("y", 1)]


def test_gives_the_ready_made_base_names_for_its_constraints(
    engine: Engine, database: Database
) -> None:
    assert MyModel.metadata.naming_convention["uq"] == "uq_%(table_name)s_%(column_0_N_name)s"
    table = Member.__table__
    assert {str(each.name) for each in table.constraints} >= {"pk_member", "uq_member_name"}
    checks = [c for c in Copy.__table__.constraints if isinstance(c, CheckConstraint)]
    assert [str(check.name) for check in checks] == ["ck_copy_counted_from_one"]


def test_is_a_plain_mapped_class(library: None) -> None:
    with unit_of_work():
        session.add_all([Author(name="Ada"), Author(name="Bob")])
        session.flush()
        found = session.scalars(select(Author).where(Author.initial == "B")).one()
        assert found.name == "Bob"
