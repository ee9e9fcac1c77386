"""get_or_create() and update_or_create(): what they find, make and refuse."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import MultipleResultsFound

from activebase import (
    ForeignKeyViolation,
    InvalidLookupError,
    LostWritesError,
    ProtectedAttributeError,
    UniqueViolation,
    UnitOfWork,
    UnknownAttributeError,
    session,
    unit_of_work,
)
from tests.core import Undone, undone
from tests.databases import EACH, Database, database_of
from tests.goods import EITHER, Article, Coupon, Machine, Maker, Part, articles
from tests.library import Author, Book, Copy, Loan, Secret

pytest_plugins = ["tests.core_fixtures", "tests.goods_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def statements(goods: None, engine: Engine) -> list[str]:
    """What is sent to the database from here on."""
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: sent.append(details[2]))
    return sent


def never() -> Any:
    raise AssertionError("a default was asked for that is not needed")


# Finding and making


def test_makes_what_is_missing(goods: None, database: Database) -> None:
    with unit_of_work():
        lamp, created = Article.get_or_create(sku="lamp", defaults={"price": 5})
        assert created
        assert lamp.id is not None
        assert articles(database) == []
    assert articles(database) == [("lamp", 5)]


def test_gives_what_is_there_and_leaves_it_as_it_is(lamp: None, database: Database) -> None:
    with unit_of_work():
        found, created = Article.get_or_create(sku="lamp", defaults={"price": never})
        assert (found.id, found.price, created) == (1, 5, False)
    assert articles(database) == [("lamp", 5)]


def test_updates_what_is_there(lamp: None, database: Database) -> None:
    with unit_of_work():
        found, created = Article.update_or_create(
            sku="lamp", defaults={"price": lambda: 8}, create_defaults={"price": never}
        )
        assert (found.id, found.price, created) == (1, 8, False)
    assert articles(database) == [("lamp", 8)]


def test_makes_what_can_not_be_updated(goods: None, database: Database) -> None:
    with unit_of_work():
        assert Article.update_or_create(sku="lamp", defaults={"price": lambda: 5})[1]
        made, created = Article.update_or_create(
            sku="sofa", defaults={"price": never}, create_defaults={"price": 9}
        )
        assert (made.price, created) == (9, True)
        assert Article.update_or_create(
            sku="rug", defaults={"price": never}, create_defaults={}
        ) == (Article.get_by(sku="rug"), True)
    assert articles(database) == [("lamp", 5), ("sofa", 9), ("rug", 0)]


def test_finds_by_any_lookup_and_makes_of_the_plain_ones(goods: None, database: Database) -> None:
    with unit_of_work():
        for _ in range(2):
            Article.get_or_create(
                sku__iexact="LAMP",
                price=3,
                price__lt=4,
                maker__isnull=True,
                defaults={"sku": "lamp"},
            )
    assert articles(database) == [("lamp", 3)]


def test_makes_of_the_default_where_a_lookup_has_the_name_too(
    goods: None, database: Database
) -> None:
    with unit_of_work():
        Article.get_or_create(sku="lamp", price=1, defaults={"price": 2})
    assert articles(database) == [("lamp", 2)]


def test_finds_an_attribute_called_defaults(goods: None, database: Database) -> None:
    with unit_of_work():
        for _ in range(2):
            Article.get_or_create(defaults__exact="x", defaults={"defaults": "x", "sku": "lamp"})
    assert database.rows("SELECT sku, defaults FROM article") == [("lamp", "x")]


def test_takes_none_for_null(goods: None, database: Database) -> None:
    with unit_of_work():
        made, created = Article.get_or_create(barcode=None, defaults={"sku": "lamp"})
        assert (made.barcode, created) == (None, True)
        assert Article.get_or_create(barcode=None) == (made, False)
    assert articles(database) == [("lamp", 0)]


def test_takes_primary_keys(goods: None, database: Database) -> None:
    with unit_of_work():
        for _ in range(2):
            lamp, _ = Article.get_or_create(pk=3, defaults={"sku": "lamp"})
            copy, _ = Copy.get_or_create(pk=(1, 2))
            assert (lamp.id, copy.shelf, copy.number) == (3, 1, 2)
        Copy.update_or_create(shelf=2, number=2, defaults={"number": 5})
    assert database.rows("SELECT id, sku FROM article") == [(3, "lamp")]
    assert database.rows("SELECT shelf, number FROM copy ORDER BY 1, 2") == [(1, 2), (2, 5)]


def test_takes_records_and_hybrids(goods: None, database: Database) -> None:
    with unit_of_work():
        ada, _ = Author.get_or_create(initial="A", defaults={"name": "Ada"})
        for _ in range(2):
            Book.get_or_create(author=ada, title="Notes")
            Book.update_or_create(title="Diary", defaults={"author": ada})
    assert database.rows("SELECT name FROM author") == [("Ada",)]
    assert database.rows("SELECT title, author_id FROM book ORDER BY id") == [
        ("Notes", 1),
        ("Diary", 1),
    ]


def test_gives_the_constructor_of_a_dataclass_what_it_takes(
    goods: None, database: Database
) -> None:
    with unit_of_work():
        for _ in range(2):
            Loan.get_or_create(note="x", defaults={"urgent": True})
        with pytest.raises(UnknownAttributeError, match="urgent"):
            Loan.update_or_create(note="x", defaults={"urgent": True})
        Loan.update_or_create(note="y", defaults={}, create_defaults={"urgent": True})
    assert database.rows("SELECT note, days FROM loan ORDER BY id") == [("x", 1), ("y", 1)]


@EITHER
def test_finds_subclasses_and_makes_what_it_is_asked_on(
    goods: None, database: Database, verb: str
) -> None:
    with unit_of_work():
        drill = Machine.create(sku="drill", maker=Maker(name="acme"))
        assert getattr(Article, verb)(sku="drill") == (drill, False)
        saw, created = getattr(Machine, verb)(sku="saw", defaults={"watts": 500})
        assert created
        assert getattr(Machine, verb)(watts=500, defaults={"price": 1}) == (saw, False)
    assert database.rows("SELECT kind, sku FROM article ORDER BY id") == [
        ("machine", "drill"),
        ("machine", "saw"),
    ]


@EITHER
def test_finds_what_waits_in_the_session(goods: None, database: Database, verb: str) -> None:
    with unit_of_work(), session.no_autoflush:
        waiting = Maker(name="acme")
        session.add(waiting)
        assert getattr(Maker, verb)(name="acme") == (waiting, False)
    assert database.rows("SELECT name FROM maker") == [("acme",)]


@EITHER
def test_makes_again_what_the_unit_has_deleted(lamp: None, database: Database, verb: str) -> None:
    with unit_of_work():
        session.delete(Article.query.one())
        made, created = getattr(Article, verb)(pk=1, defaults={"sku": "lamp", "price": 6})
        assert (made.price, created) == (6, True)
    assert articles(database) == [("lamp", 6)]


# Refusing


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda verb: verb(skuu=1), InvalidLookupError, "'sku'"),
        (lambda verb: verb(sku__startwith="l"), InvalidLookupError, "'startswith'"),
        (lambda verb: verb(sku__in=None), InvalidLookupError, "sku__in"),
        (lambda verb: verb(sku="lamp", defaults={"prise": 1}), UnknownAttributeError, "'price'"),
        (lambda verb: verb(maker__name="x", defaults={"maker__name": 1}), TypeError, "maker__name"),
    ],
)
@EITHER
def test_refuses_unknown_names_before_any_sql(
    statements: list[str],
    verb: str,
    call: Callable[[Any], Any],
    error: type[Exception],
    says: str,
) -> None:
    with unit_of_work():
        with pytest.raises(error, match=says):
            call(getattr(Article, verb))
        assert statements == []


@EITHER
def test_refuses_protected_names(goods: None, statements: list[str], verb: str) -> None:
    with unit_of_work():
        with pytest.raises(ProtectedAttributeError):
            getattr(Secret, verb)(label="x", defaults={"is_admin": True})
        with pytest.raises(ProtectedAttributeError):
            getattr(Secret, verb)(is_admin=True)
        assert statements == []


def test_refuses_names_of_either_kind_of_defaults(goods: None, statements: list[str]) -> None:
    with unit_of_work():
        with pytest.raises(UnknownAttributeError):
            Article.update_or_create(sku="lamp", defaults={"prise": 1}, create_defaults={})
        with pytest.raises(UnknownAttributeError):
            Article.update_or_create(sku="lamp", create_defaults={"prise": 1})
        assert statements == []


@EITHER
def test_refuses_to_choose_between_several(lamp: None, database: Database, verb: str) -> None:
    database.execute("INSERT INTO article (kind, sku, price) VALUES ('article', 'lamp 2', 5)")
    with unit_of_work(), pytest.raises(MultipleResultsFound):
        getattr(Article, verb)(price=5)
    assert articles(database) == [("lamp", 5), ("lamp 2", 5)]


@EITHER
def test_raises_a_conflict_with_another_row_and_goes_on(
    lamp: None, database: Database, verb: str
) -> None:
    database.execute("UPDATE article SET barcode = '123'")
    with unit_of_work():
        Article(sku="rug").save()
        with pytest.raises(UniqueViolation) as caught:
            getattr(Article, verb)(sku="sofa", defaults={"barcode": "123"})
        assert caught.value.columns == ("barcode",)
        assert not session.new
        Article(sku="desk").save()
    assert articles(database) == [("lamp", 5), ("rug", 0), ("desk", 0)]


@EITHER
def test_raises_a_conflict_of_another_kind(goods: None, database: Database, verb: str) -> None:
    with unit_of_work():
        Article(sku="rug").save()
        with pytest.raises(ForeignKeyViolation):
            getattr(Article, verb)(sku="sofa", defaults={"maker_id": 99})
    assert articles(database) == [("rug", 0)]


def test_loses_the_unit_to_a_conflict_of_an_update_as_update_does(
    lamp: None, database: Database
) -> None:
    unit = UnitOfWork.begin()
    Article(sku="rug", barcode="123").save()
    with pytest.raises(UniqueViolation):
        Article.update_or_create(sku="lamp", defaults={"barcode": "123"})
    with pytest.raises(LostWritesError):
        unit.commit()
    unit.close()
    assert articles(database) == [("lamp", 5)]


@EITHER
def test_says_that_a_deleted_record_is_in_the_way(
    goods: None, database: Database, verb: str
) -> None:
    with unit_of_work():
        gone = Coupon.create(code="summer")
        gone.delete()
        with pytest.raises(UniqueViolation, match=r"a deleted record matches.* same code.*restore"):
            getattr(Coupon, verb)(code="summer")
        Coupon(code="winter").save()
        with pytest.raises(UniqueViolation, match="another row has the same code"):
            getattr(Coupon, verb)(code="summer", defaults={"code": "winter"})
        Coupon.query.with_deleted().filter(code="summer").one().restore()
        assert getattr(Coupon, verb)(code="summer") == (gone, False)
    assert database.scalar("SELECT count(*) FROM coupon") == 2


def test_undoes_what_was_made_for_a_record_that_is_refused(lamp: None, database: Database) -> None:
    acme = Maker(name="acme")
    part = Part()
    with unit_of_work():
        with pytest.raises(UniqueViolation):
            Article.get_or_create(
                sku__gt="lamp",
                defaults={"sku": "lamp", "maker": lambda: acme.save(), "parts": [part]},
            )
        assert not session.new
        assert acme not in session
        assert part not in session
        assert database.scalar("SELECT count(*) FROM maker") == 0
        acme.save()
        part.save()
    assert articles(database) == [("lamp", 5)]
    assert database.scalar("SELECT count(*) FROM maker") == 1
    assert database.rows("SELECT article_id FROM part") == [(None,)]


def test_leaves_related_records_as_they_were(lamp: None, database: Database) -> None:
    with unit_of_work():
        acme, part = Maker(name="acme").save(), Part().save()
        assert acme.articles == []
        with pytest.raises(UniqueViolation):
            Article.get_or_create(
                sku__gt="lamp", defaults={"sku": "lamp", "maker": acme, "parts": [part]}
            )
        assert acme.articles == []
        assert part.article is None
        acme.update(name="acme inc")
    assert articles(database) == [("lamp", 5)]
    assert database.rows("SELECT name FROM maker") == [("acme inc",)]
    assert database.rows("SELECT article_id FROM part") == [(None,)]


def test_passes_on_what_a_default_raises(goods: None, database: Database) -> None:
    def fail() -> Any:
        Maker(name="acme").save()
        raise Undone

    with unit_of_work():
        Maker(name="before").save()
        with undone():
            Article.get_or_create(sku="lamp", defaults={"price": fail})
    assert articles(database) == []
    assert database.rows("SELECT name FROM maker") == [("before",)]
