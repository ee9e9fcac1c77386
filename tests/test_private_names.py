"""The private names of other packages that the library uses: a rename must go red here."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task
from flask import Flask, got_request_exception
from flask.globals import app_ctx, request_ctx
from sqlalchemy import create_engine, inspect
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import InstanceState, Session
from werkzeug import Response

import activebase
from tests.library import Author, Book, Library

pytest_plugins = ["tests.celery_fixtures"]

#: Each has a test below.
FOREIGN = {
    "__header__",
    "_async_wrapper",
    "_commit_all_states",
    "_dump_pydantic_arguments",
    "_find_error_handler",
    "_get_current_object",
    "_identity_lookup",
    "_on_close",
    "_parents",
    "_proxied",
}

#: Python documents them, underscore and all.
OF_PYTHON = {"_replace", "__annotations__", "__cause__", "__code__", "__dict__", "__doc__"}
OF_PYTHON |= {"__composite_values__"}  # SQLAlchemy does
OF_PYTHON |= {
    "__enter__",
    "__getitem__",
    "__exit__",
    "__init__",
    "__mro__",
    "__name__",
    "__qualname__",
    "__setattr__",
}
OF_PYTHON |= {"__call__", "__members__", "__module__", "__self__", "__traceback__", "__wrapped__"}

MODULES = sorted(Path(activebase.__file__).parent.glob("**/*.py"))


def private_names(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Return the private names that a module uses on objects, and those that it defines."""
    used: set[str] = set()
    defined: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            (used if isinstance(node.ctx, ast.Load) else defined).add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            defined.add(node.id)
        elif isinstance(node, ast.Call):
            used.update(keyword.arg for keyword in node.keywords if keyword.arg)
            used.update(
                argument.value
                for argument in node.args[1:2]
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                if isinstance(node.func, ast.Name) and node.func.id.endswith("attr")
            )
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            used.update(alias.name for alias in node.names)
    return used, defined


def test_knows_every_private_name_of_another_package_that_the_library_uses() -> None:
    used: set[str] = set()
    defined: set[str] = set()
    for module in MODULES:
        of_module = private_names(ast.parse(module.read_text()))
        used |= of_module[0]
        defined |= of_module[1]
    foreign = {name for name in used - defined - OF_PYTHON if name.startswith("_")}
    assert foreign - FOREIGN == set(), "pin it below, or do without it"
    assert FOREIGN - foreign == set(), "no longer used: drop its test"


# SQLAlchemy


def test_asks_the_session_for_a_record_by_the_method_that_hides_deleted_ones() -> None:
    asked: list[type] = []

    class Asked(Session):
        def _identity_lookup(self, mapper: Any, key: Any, *args: Any, **options: Any) -> Any:
            asked.append(mapper.class_)
            return super()._identity_lookup(mapper, key, *args, **options)

    engine = create_engine("sqlite://")
    Library.metadata.create_all(engine)
    with Asked(engine) as session:
        book = Book(kind="book", title="x", author=Author(name="Ada"))
        session.add(book)
        session.flush()
        assert session.get(Book, book.id) is book
        session.expire(book)
        assert book.author.name == "Ada"
        assert asked == [Book, Author]


def test_takes_a_record_for_flushed_in_all_of_its_attributes() -> None:
    engine = create_engine("sqlite://")
    Library.metadata.create_all(engine)
    with Session(engine) as session:
        author = Author(name="Ada")
        session.add(author)
        session.flush()
        author.name = "Grace"
        state: Any = inspect(author)
        InstanceState._commit_all_states([(state, state.dict)], session.identity_map)
        assert author not in session.dirty
        assert not state.attrs.name.history.has_changes()
        assert author.name == "Grace"
    engine.dispose()


def test_tells_a_mutable_value_whose_it_is() -> None:
    author = Author(name="Ada")
    state: Any = inspect(author)
    value = MutableDict(a=1)
    assert not value._parents
    value._parents[state] = "name"
    value["b"] = 2  # tells the record, as of the attribute that it is the value of
    assert "name" not in state.unmodified


def test_finds_the_engine_that_a_variant_with_other_options_is_of() -> None:
    engine = create_engine("sqlite://")
    variant: Any = engine.execution_options(mine=1).execution_options(mine=2)
    while hasattr(variant, "_proxied"):
        variant = variant._proxied
    assert variant is engine
    assert engine.execution_options(mine=1).dialect is engine.dialect
    engine.dispose()


# Flask, and what it stands on


def test_finds_the_error_handler_of_an_app() -> None:
    app = Flask("named")

    @app.errorhandler(LookupError)
    def handle(error: LookupError) -> str:
        return "fine"

    with app.test_request_context():
        assert app._find_error_handler(KeyError(), []) is handle
        assert app._find_error_handler(ValueError(), []) is None


def test_finds_the_contexts_behind_flask_s_proxies() -> None:
    app = Flask("named")
    with app.app_context() as context:
        assert app_ctx._get_current_object() is context  # type: ignore[attr-defined]  # a LocalProxy
    with app.test_request_context() as of_request:
        assert request_ctx._get_current_object() is of_request  # type: ignore[attr-defined]


def test_hands_a_wrapper_for_async_receivers_to_a_signal() -> None:
    app = Flask("named")
    heard: list[Any] = []

    async def listen(sender: Any, **told: Any) -> None:
        heard.append(told["exception"])

    error = ValueError()
    with got_request_exception.connected_to(listen, sender=app):
        got_request_exception.send(app, _async_wrapper=app.ensure_sync, exception=error)
    assert heard == [error]


def test_finds_what_a_response_has_to_call_when_it_is_closed() -> None:
    response: Any = Response()
    assert response._on_close == []
    response.call_on_close(print)
    assert response._on_close == [print]


# Celery


@pytest.fixture
def celery(celery_state: None) -> Iterator[Celery]:
    app = Celery("named", set_as_current=False)
    yield app
    app.close()


def test_checks_the_arguments_of_a_task_by_its_header(celery: Celery) -> None:
    @celery.task
    def add(x: int, y: int) -> int:
        return x + y

    add.__header__(1, y=2)
    with pytest.raises(TypeError):
        add.__header__(1)


def test_tells_a_task_that_makes_plain_data_of_its_models(celery: Celery) -> None:
    @celery.task
    def plain() -> None: ...

    @celery.task(bind=True, _dump_pydantic_arguments=lambda self, args, kwargs: (("plain",), {}))
    def dumps(self: Task, word: str) -> str:
        return word

    # None unless the task was made with pydantic=True; else what apply_async() calls.
    assert "_dump_pydantic_arguments" in vars(Task)
    assert plain._dump_pydantic_arguments is None
    celery.conf.update(task_always_eager=True)
    assert dumps.apply_async(["a model"]).get() == "plain"
