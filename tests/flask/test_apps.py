"""Setting up: one extension or many apps, in every order, each on its own engine."""

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import URL, make_url, text
from sqlalchemy.exc import ArgumentError

from activebase import NotConfiguredError, configure, current_unit, session, unit_of_work
from activebase.errors import AlreadyConfiguredError
from activebase.flask import ActiveBase
from tests.databases import Database, fresh_sqlite
from tests.flask.service import KINDS, Service, assert_nothing_left, make_app, running, saves
from tests.models import Base, Member


@pytest.fixture
def other_database(tmp_path: Any) -> Iterator[Database]:
    with fresh_sqlite(tmp_path) as database:
        yield database


@pytest.fixture
def configured(sqlite_database: Database) -> Iterator[Database]:
    """The test's database, set up by `configure()`."""
    engine = configure(sqlite_database.url)
    Base.metadata.create_all(engine)
    yield sqlite_database
    session.remove()
    engine.dispose()


def count(database: Database) -> int:
    found: int = database.scalar("SELECT count(*) FROM member")
    return found


# -- settings --------------------------------------------------------------------------------


def test_makes_an_engine_from_either_setting(sqlite_database: Database) -> None:
    for name in ("ACTIVEBASE_DATABASE_URI", "SQLALCHEMY_DATABASE_URI"):
        app = Flask("service")
        app.config[name] = sqlite_database.url
        extension = ActiveBase(app)
        with app.app_context():
            assert str(extension.engine.url) == sqlite_database.url


def test_prefers_its_own_setting_and_takes_a_url_object(
    sqlite_database: Database, other_database: Database
) -> None:
    app = Flask("service")
    url: URL = make_url(sqlite_database.url)
    app.config.update(ACTIVEBASE_DATABASE_URI=url, SQLALCHEMY_DATABASE_URI=other_database.url)
    extension = ActiveBase(app)
    with app.app_context():
        assert extension.engine.url == url


def test_uses_what_configure_has_set_up_without_a_setting(configured: Database) -> None:
    app = Flask("service")
    ActiveBase(app)
    app.post("/")(saves("ada"))
    assert app.test_client().post("/").status_code == 200
    assert count(configured) == 1


def test_uses_what_configure_sets_up_later(sqlite_database: Database) -> None:
    app = Flask("service")
    ActiveBase(app)
    app.post("/")(saves("ada"))
    engine = configure(sqlite_database.url)
    Base.metadata.create_all(engine)
    assert app.test_client().post("/").status_code == 200
    assert count(sqlite_database) == 1
    engine.dispose()


def test_keeps_the_app_s_rule_for_stray_commits_when_configure_comes_later(
    sqlite_database: Database,
) -> None:
    app = Flask("service")
    app.config["ACTIVEBASE_STRAY_COMMITS"] = "allow"
    ActiveBase(app)
    engine = configure(sqlite_database.url)
    Base.metadata.create_all(engine)

    @app.post("/")
    def view() -> str:
        Member(name="ada").save()
        session.commit()
        return "fine"

    assert app.test_client().post("/").status_code == 200
    engine.dispose()


def test_says_how_to_set_up_a_database_when_there_is_none() -> None:
    app = Flask("service")
    app.testing = True
    ActiveBase(app)
    app.post("/")(saves("ada"))
    with pytest.raises(NotConfiguredError, match=r"configure\('sqlite:///app.db'\)"):
        app.test_client().post("/")
    assert current_unit() is None


@pytest.mark.parametrize("url", ["nonsense", "sqlight:///app.db", "postgresql+nodriver://h/db"])
def test_refuses_a_wrong_url_when_the_app_is_made(url: str) -> None:
    app = Flask("service")
    app.config["ACTIVEBASE_DATABASE_URI"] = url
    with pytest.raises(ArgumentError) as refused:
        ActiveBase(app)
    assert isinstance(refused.value, NotConfiguredError)
    assert url not in str(refused.value)
    app.config["ACTIVEBASE_DATABASE_URI"] = "sqlite://"
    ActiveBase(app)  # nothing is left of the attempt


def test_passes_engine_options_on(sqlite_database: Database) -> None:
    app = Flask("service")
    app.config.update(
        ACTIVEBASE_DATABASE_URI=sqlite_database.url, ACTIVEBASE_ENGINE_OPTIONS={"pool_size": 3}
    )
    extension = ActiveBase(app)
    with app.app_context():
        assert extension.engine.pool.size() == 3  # type: ignore[attr-defined]  # of a QueuePool


@pytest.mark.parametrize("again", ["the same", "another"])
def test_refuses_a_second_init_app(sqlite_database: Database, again: str) -> None:
    service = make_app(sqlite_database)
    extension = service.extension if again == "the same" else ActiveBase()
    with pytest.raises(AlreadyConfiguredError, match="'service' already"):
        extension.init_app(service.app)
    Base.metadata.create_all(service.engine)
    service.app.post("/")(saves("ada"))
    assert service.post().status_code == 200
    assert service.names() == ["ada"]
    service.engine.dispose()


def test_serves_the_apps_of_a_factory_with_one_extension(
    sqlite_database: Database, other_database: Database
) -> None:
    extension = ActiveBase()
    for database in (sqlite_database, other_database):
        app = Flask("service")
        app.config["ACTIVEBASE_DATABASE_URI"] = database.url
        extension.init_app(app)
        app.post("/")(saves("ada"))
        with app.app_context():
            Base.metadata.create_all(extension.engine)
        assert app.test_client().post("/").status_code == 200
        assert count(database) == 1
        with app.app_context():
            extension.engine.dispose()


def test_says_so_when_the_current_app_has_no_extension() -> None:
    extension = ActiveBase()
    with Flask("bare").app_context(), pytest.raises(NotConfiguredError, match="'bare' has no"):
        _ = extension.session


# -- several apps ----------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS], ids="+".join)
def test_runs_each_app_on_its_own_engine_whichever_came_last(
    sqlite_database: Database, other_database: Database, kinds: tuple[str, str]
) -> None:
    with (
        running(sqlite_database, kinds[0]) as first,
        running(other_database, kinds[1]) as second,
    ):
        services = [first, second]
        for number, service in enumerate(services):

            @service.app.post("/<name>")
            def view(name: str) -> str:
                Member(name=name).save()
                session.add(Member(name=f"{name} too"))
                return "fine"

            assert service.post(f"/{number}").status_code == 200
        assert first.post("/again").status_code == 200
        assert first.names() == ["0", "0 too", "again", "again too"]
        assert second.names() == ["1", "1 too"]
        for service in services:
            with service.app.app_context(), unit_of_work():
                Member(name="script").save()
            assert "script" in service.names()
            assert_nothing_left(service)


def test_answers_a_request_to_another_app_on_that_app_s_engine(
    sqlite_database: Database, other_database: Database
) -> None:
    with running(sqlite_database) as outer, running(other_database) as inner:
        inner.app.post("/")(saves("inner"))

        @outer.app.post("/")
        def view() -> str:
            Member(name="outer").save()
            assert inner.post().status_code == 200
            Member(name="outer 2").save()
            return "fine"

        assert outer.post().status_code == 200
        assert (outer.names(), inner.names()) == (["outer", "outer 2"], ["inner"])


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite"])
def test_shares_one_db_among_apps(
    sqlite_database: Database, other_database: Database, kind: str
) -> None:
    with (
        running(sqlite_database, kind) as first,
        running(other_database, kind, db=first.db) as second,
    ):
        for service in (first, second):
            service.app.post("/<name>")(lambda name: saves(name)())
        for number, service in enumerate((first, second, first)):
            assert service.post(f"/{number}").status_code == 200
        assert first.names() == ["0", "2"]
        assert second.names() == ["1"]


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite"])
def test_keeps_one_app_s_rule_for_stray_commits_from_the_others(
    sqlite_database: Database, other_database: Database, kind: str
) -> None:
    lenient = running(sqlite_database, kind, ACTIVEBASE_STRAY_COMMITS="allow")
    with lenient as first, running(other_database, kind, db=first.db) as second:
        for service in (first, second):

            @service.app.post("/")
            def view() -> str:
                Member(name="ada").save()
                session.commit()
                return "fine"

        assert first.post().status_code == 200
        assert second.post().status_code == 500
        assert second.names() == []


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_keeps_no_dropped_app_alive(kind: str, shared: bool, tmp_path: Any) -> None:
    gone: list[weakref.ref[Any]] = []
    db: Any = None
    if shared and kind != "own":
        db = make_app(Database("sqlite://", dialect="sqlite", connect=lambda: None), kind).db
    for _ in range(200 if kind == "own" else 50):
        with fresh_sqlite(tmp_path) as database:
            service = make_app(database, kind, db=db)
            service.app.post("/")(lambda: "fine")
            assert service.post().status_code == 200
            with service.app.app_context():
                session.execute(text("SELECT 1"))
            service.engine.dispose()
            gone += [weakref.ref(service.app), weakref.ref(service.engine)]
            del service
    while gc.collect() > 0:  # SQLAlchemy's own weak caches need a second pass
        pass
    assert [ref() for ref in gone if ref() is not None] == []


# -- Flask-SQLAlchemy and configure() --------------------------------------------------------


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite"])
def test_uses_the_db_that_the_app_has_already(sqlite_database: Database, kind: str) -> None:
    with running(sqlite_database, kind) as given:
        app = Flask("service")
        app.config.update(given.app.config)
        db = type(given.db)()
        db.init_app(app)
        extension = ActiveBase(app)  # without db
        service = Service(app, sqlite_database, extension, db)
        with app.app_context():
            assert extension.engine is db.engine
        app.post("/")(saves("ada"))
        assert service.post().status_code == 200
        assert service.names() == ["ada"]
        service.engine.dispose()


def test_never_loses_the_writes_of_a_db_that_comes_after_the_extension(
    sqlite_database: Database,
) -> None:
    app = Flask("service")
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlite_database.url
    extension = ActiveBase(app)
    db = SQLAlchemy()
    try:
        db.init_app(app)
    except Exception as error:
        assert "before" in str(error) or "first" in str(error)  # noqa: PT017  # either is right
        return
    with app.app_context():
        Base.metadata.create_all(db.engine)

    @app.post("/")
    def view() -> str:
        db.session.add(Member(name="ada"))
        db.session.flush()
        return "fine"

    answered = app.test_client().post("/").status_code
    with app.app_context():
        db.engine.dispose()
        extension.engine.dispose()
    assert (answered, count(sqlite_database)) in [(200, 1), (500, 0)]


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite"])
def test_refuses_a_db_that_is_not_set_up_on_the_app(sqlite_database: Database, kind: str) -> None:
    with running(sqlite_database, kind) as service:
        db = type(service.db)()
        for app in (Flask("bare"), service.app):
            app.extensions.pop("activebase", None)
            with pytest.raises(NotConfiguredError, match=r"db.init_app\(app\) first"):
                ActiveBase(app, db)


def test_refuses_what_is_no_db() -> None:
    app = Flask("service")
    app.extensions["sqlalchemy"] = "an impostor"
    with pytest.raises(TypeError, match="got str"):
        ActiveBase(app, "an impostor")


@pytest.mark.parametrize("kind", ["flask-sqlalchemy", "flask-sqlalchemy-lite"])
def test_gives_the_global_session_back_to_a_later_configure(
    sqlite_database: Database, other_database: Database, kind: str
) -> None:
    with running(sqlite_database, kind) as service:
        engine = configure(other_database.url)
        Base.metadata.create_all(engine)
        with unit_of_work():
            Member(name="script").save()
        with service.app.app_context(), unit_of_work():
            Member(name="script in a context").save()

        @service.app.post("/")
        def view() -> str:
            service.session.add(Member(name="ada"))  # the app's own session is still bounded
            return "fine"

        assert service.post().status_code == 200
        assert service.names() == ["ada"]
        assert count(other_database) == 2
        engine.dispose()


def test_keeps_an_app_with_a_setting_of_its_own_on_its_engine_after_a_configure(
    make_service: Callable[..., Service], other_database: Database
) -> None:
    service = make_service()
    engine = configure(other_database.url)
    Base.metadata.create_all(engine)
    service.app.post("/")(saves("ada"))
    assert service.post().status_code == 200
    with unit_of_work():
        Member(name="script").save()
    assert service.names() == ["ada"]
    assert other_database.rows("SELECT name FROM member") == [("script",)]
    engine.dispose()


def test_refuses_configure_inside_a_request(
    make_service: Callable[..., Service], other_database: Database
) -> None:
    service = make_service()

    @service.app.post("/")
    def view() -> str:
        Member(name="ada").save()
        configure(other_database.url)
        return "fine"

    assert service.post().status_code == 500
    assert service.names() == []
