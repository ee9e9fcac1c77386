"""What a record tells: of its row, of its changes, of itself."""

import pytest
from sqlalchemy import Engine, event

from activebase import (
    InvalidLookupError,
    NotFoundError,
    UnknownAttributeError,
    session,
    unit_of_work,
)
from tests.core import names, on_postgres
from tests.databases import EACH, Database, database_of
from tests.library import Author, Book, Copy, Secret, Tag
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


def test_gets_by_the_primary_key(engine: Engine, statements: list[str]) -> None:
    with unit_of_work():
        ada = Member(name="ada").save()
        sent = len(statements)
        assert Member.get(1) is ada
        assert Member.get_or_404(1) is ada
        assert len(statements) == sent
        assert Member.get(4711) is None
        with pytest.raises(NotFoundError) as caught:
            Member.get_or_404(4711)
    assert (caught.value.model, caught.value.criteria) == (Member, 4711)


def test_gets_the_first_match(engine: Engine) -> None:
    with unit_of_work():
        ada = Member(name="ada", age=36).save()
        Member(name="bob", age=36).save()
        assert Member.get_by(name="ada") is ada
        assert Member.get_by(name="bob", age=36) is not None
        assert Member.get_by(name="bob", age=5) is None
        assert Member.get_by(email=None) is ada
        with pytest.raises(InvalidLookupError, match="Did you mean 'name'"):
            Member.get_by(nmae="ada")


def test_works_with_composite_keys(library: None, database: Database) -> None:
    with unit_of_work():
        copy = Copy(shelf=1, number=2).save()
        assert Copy.get((1, 2)) is copy
        assert Copy.get({"shelf": 1, "number": 2}) is copy
        assert Copy.get_or_404((1, 2)) is copy
        assert repr(copy) == "<Copy shelf=1 number=2>"
        session.expunge(copy)
        again = Copy.query.where(Copy.shelf == 1).get((1, 2))
        assert again is not None
        again.update(number=3)
    assert database.rows("SELECT shelf, number FROM copy") == [(1, 3)]


def test_reads_again_what_others_have_changed(engine: Engine, database: Database) -> None:
    with unit_of_work():
        Member(name="ada", age=1).save()
    with unit_of_work(read_only=True):
        ada = Member.get_or_404(1)
    database.execute("UPDATE member SET name = 'bob', age = 2")
    with unit_of_work():
        session.add(ada)
        assert ada.refresh("name") is ada
        assert (ada.name, ada.age) == ("bob", 1)
        assert ada.refresh().age == 2


@on_postgres
def test_holds_the_row_when_asked_to(engine: Engine, database: Database) -> None:
    database.execute("SET lock_timeout = '50ms'")
    with unit_of_work():
        ada = Member(name="ada").save()
    with unit_of_work():
        session.add(ada)
        ada.refresh(lock=True)
        with pytest.raises(Exception, match="lock timeout"):
            database.execute("UPDATE member SET name = 'bob'")
    database.execute("UPDATE member SET name = 'cyd'")
    assert names(database) == ["cyd"]


def test_tells_what_is_not_flushed(library: None) -> None:
    with unit_of_work():
        assert Tag(word="maths").changes() == {"word": (None, "maths")}
        book = Book(title="Notes").save()
        assert book.changes() == {}
        book.title = "Sketches"
        assert book.changes() == {"title": ("Notes", "Sketches")}
        book.title = "Notes"
        assert book.changes() == {}
        tag = Tag(word="maths")
        author = Author(name="Ada").save()
        author.tags.append(tag)
        book.author = author
        assert author.changes()["tags"] == ([], [tag])
        assert book.changes() == {"author": (None, author)}


def test_turns_into_a_dict(library: None) -> None:
    with unit_of_work():
        author = Author(name="Ada", tags=[Tag(word="maths")]).save()
        assert author.to_dict() == {"id": 1, "name": "Ada"}
        assert author.to_dict(only={"name"}) == {"name": "Ada"}
        assert author.to_dict(exclude={"id"}) == {"name": "Ada"}
        assert author.to_dict(only=["id"], include=["initial", "shout"]) == {
            "id": 1,
            "initial": "A",
            "shout": "ADA",
        }
        tags = [{"id": 1, "word": "maths", "author_id": 1}]
        assert author.to_dict(only=(), include=["tags"]) == {"tags": tags}
        assert Tag.query.one().to_dict(only=["author"]) == {"author": author.to_dict()}
        for option in ("only", "include", "exclude"):
            with pytest.raises(UnknownAttributeError, match="Did you mean 'name'"):
                author.to_dict(**{option: ["nmae"]})


def test_leaves_deferred_columns_out_of_a_dict(library: None, statements: list[str]) -> None:
    with unit_of_work():
        Secret(label="a", body="long").save()
    with unit_of_work():
        secret = Secret.query.one()
        sent = len(statements)
        assert secret.to_dict() == {"id": 1, "label": "a", "is_admin": False}
        assert len(statements) == sent
        assert secret.to_dict(include=["body"])["body"] == "long"


def test_shows_nothing_but_the_identity(library: None, statements: list[str]) -> None:
    secret = Secret(label="hunter2")
    assert repr(secret) == "<Secret (transient)>"
    with unit_of_work():
        session.add(secret)
        assert repr(secret) == "<Secret (pending)>"
        secret.save()
        assert repr(secret) == "<Secret id=1>"
        session.expire(secret)
        sent = len(statements)
        assert repr(secret) == "<Secret id=1>"
        assert len(statements) == sent
    assert repr(secret) == "<Secret id=1>"


def test_reads_nothing_again_that_is_not_stored(library: None, database: Database) -> None:
    with unit_of_work():
        author = Author(name="Ada").save()
        with pytest.raises(UnknownAttributeError, match="Did you mean 'name'"):
            author.refresh("nmae")
        with pytest.raises(UnknownAttributeError, match="is not stored"):
            author.refresh("initial")
        assert author.refresh("name", "id").name == "Ada"
