"""On Flask-SQLAlchemy and Flask-SQLAlchemy-Lite: their session is the session."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase, Query, session, unit_of_work
from activebase.flask import ActiveBase
from tests.databases import Database, fresh_sqlite
from tests.flask.service import Service, assert_nothing_left, running, warned
from tests.models import Member


class Base(MyBase, DeclarativeBase):
    """What a team mixes into the models of its Flask-SQLAlchemy."""


db = SQLAlchemy(model_class=Base)
#: The same, without our verbs: what an app has that adds activebase later.
plain_db = SQLAlchemy()


class City(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Visit(db.Model):  # type: ignore[name-defined,misc]  # made at run time
    __bind_key__ = "visits"
    id: Mapped[int] = mapped_column(primary_key=True)
    city: Mapped[str]


class Town(plain_db.Model):  # type: ignore[name-defined,misc]  # made at run time
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


@pytest.fixture
def visits(tmp_path: Any) -> Iterator[Database]:
    """The database of the bind "visits"."""
    with fresh_sqlite(tmp_path) as database:
        yield database


@pytest.fixture
def cities(database: Database, visits: Database) -> Iterator[Service]:
    """A service on a Flask-SQLAlchemy with models and two binds."""
    with served(db, database, SQLALCHEMY_BINDS={"visits": visits.url}) as service:
        yield service


@contextmanager
def served(extension: SQLAlchemy, database: Database, **config: Any) -> Iterator[Service]:
    """Yield a service of `running()` that has the tables of the extension, too."""
    with running(database, "flask-sqlalchemy", db=extension, **config) as service:
        with service.app.app_context():
            extension.create_all()
        yield service
        assert_nothing_left(service)
        with service.app.app_context():
            for engine in extension.engines.values():
                engine.dispose()


def test_has_one_session_under_both_names_inside_a_request(service: Service) -> None:
    seen: list[bool] = []

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        own = service.session() if callable(service.session) else service.session
        seen.append(own is session())
        own.add(Member(name="bob"))
        return "fine"

    assert service.post().status_code == 200
    assert seen == [True]
    assert service.names() == ["ada", "bob"]


def test_has_one_session_under_both_names_outside_of_requests(service: Service) -> None:
    with service.app.app_context():
        own = service.session() if callable(service.session) else service.session
        assert own is session()
        with unit_of_work():
            inside = service.session() if callable(service.session) else service.session
            assert inside is session()
            assert inside is not own


def test_rolls_back_what_was_added_to_the_extension_s_session(service: Service) -> None:
    @service.app.post("/")
    def view() -> str:
        service.session.add(Member(name="ada"))
        service.session.flush()
        service.session.execute(text("UPDATE member SET name = 'eve'"))
        raise ValueError

    assert service.post().status_code == 500
    assert service.names() == []


def test_gives_db_model_our_query(cities: Service) -> None:
    @cities.app.post("/")
    def view() -> str:
        City(name="Rome").save()
        assert isinstance(City.query, Query)
        found = City.query.filter_by(name="Rome").first()
        assert found is City.query.get(found.id) is db.session.get(City, found.id)
        return f"{found!r} {City.query.count()}"

    assert cities.post().text == "<City id=1> 1"
    assert cities.database.rows("SELECT name FROM city") == [("Rome",)]


def test_gives_our_query_to_models_without_our_verbs(database: Database) -> None:
    with served(plain_db, database) as service:

        @service.app.post("/<name>")
        def view(name: str) -> str:
            plain_db.session.add(Town(name=name))
            plain_db.session.flush()
            assert isinstance(Town.query, Query)
            if name == "Atlantis":
                raise ValueError
            return str(Town.query.filter(Town.name == name).one().id)

        assert service.post("/Rome").text == "1"
        assert service.post("/Atlantis").status_code == 500
        assert database.rows("SELECT name FROM town") == [("Rome",)]


def test_keeps_what_flask_sqlalchemy_offers(cities: Service) -> None:
    @cities.app.get("/<int:number>")
    def view(number: int) -> str:
        page = db.paginate(select(City), per_page=10)
        return f"{db.get_or_404(City, number).name} {page.total}"

    with cities.app.app_context(), unit_of_work():
        City(name="Rome").save()
    assert cities.get("/1").text == "Rome 1"
    assert cities.get("/2").status_code == 404


@pytest.mark.parametrize("fails", [False, True])
def test_ends_all_databases_of_a_session_together(
    cities: Service, visits: Database, fails: bool
) -> None:
    @cities.app.post("/")
    def view() -> str:
        City(name="Rome").save()
        Visit(city="Rome").save()
        if fails:
            raise ValueError
        return "fine"

    assert cities.post().status_code == (500 if fails else 200)
    assert cities.database.scalar("SELECT count(*) FROM city") == (0 if fails else 1)
    assert visits.scalar("SELECT count(*) FROM visit") == (0 if fails else 1)


def test_refuses_success_when_writes_on_another_bind_were_undone(
    cities: Service, visits: Database
) -> None:
    @cities.app.post("/")
    def view() -> str:
        City(name="Rome").save()
        with suppress(Exception):
            Visit(city=None).save()
        return "fine"

    assert cities.post().status_code == 500
    assert cities.database.scalar("SELECT count(*) FROM city") == 0


def test_ends_the_session_of_a_plain_app_context_with_a_warning(cities: Service) -> None:
    with warned() as messages, cities.app.app_context():
        db.session.add(City(name="Rome"))
        db.session.flush()
    assert len(messages) == 1
    assert cities.database.scalar("SELECT count(*) FROM city") == 0


def test_leaves_an_app_without_our_extension_as_it_was(
    cities: Service, sqlite_database: Database
) -> None:
    bare = Flask("bare")
    bare.config["SQLALCHEMY_DATABASE_URI"] = sqlite_database.url
    bare.config["SQLALCHEMY_BINDS"] = {"visits": "sqlite://"}
    db.init_app(bare)
    with bare.app_context():
        db.create_all()

    @bare.post("/")
    def view() -> str:
        db.session.add(City(name="Rome"))
        db.session.commit()
        db.session.add(City(name="Oslo"))
        return "fine"

    assert bare.test_client().post("/").status_code == 200
    assert ("Rome",) in sqlite_database.rows("SELECT name FROM city")
    assert ("Oslo",) not in sqlite_database.rows("SELECT name FROM city")
    with bare.app_context():
        for engine in db.engines.values():
            engine.dispose()


def test_leaves_named_sessions_of_lite_to_lite(database: Database) -> None:
    with running(database, "flask-sqlalchemy-lite") as service:

        @service.app.post("/")
        def view() -> str:
            Member(name="ada").save()
            assert service.db.get_session("report") is not service.db.session
            assert service.db.get_session("default") is session()
            return str(service.db.get_session("report").scalar(text("SELECT 1")))

        assert service.post().text == "1"
        assert service.names() == ["ada"]
        assert_nothing_left(service)


def test_adopts_a_db_once_for_many_apps(sqlite_database: Database) -> None:
    with running(sqlite_database, "flask-sqlalchemy", db=plain_db) as first:
        before = plain_db.session.registry
        app = Flask("second")
        app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
        plain_db.init_app(app)
        ActiveBase(app)
        assert plain_db.session.registry is before
        assert_nothing_left(first)
