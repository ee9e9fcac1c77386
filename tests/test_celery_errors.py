"""Errors of ours on their way through a result backend."""

import pickle

import pytest
from celery import Celery

from activebase import errors, unit_of_work
from activebase.errors import ActiveBaseError, NotConfiguredError, NotFoundError, UniqueViolation
from tests.core import on_sqlite
from tests.models import Member

pytest_plugins = ["tests.core_fixtures", "tests.celery_fixtures"]

ERRORS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type)
    and issubclass(kind, ActiveBaseError)
    and kind.__module__ == errors.__name__
]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_comes_back_through_json(celery: Celery, kind: type[Exception]) -> None:
    backend = celery.backend
    stored = backend.encode(backend.prepare_exception(kind("what, and what to do")))
    error = backend.exception_to_python(backend.decode(stored))
    assert type(error) is kind
    assert str(error) == "what, and what to do"


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_comes_back_through_pickle(kind: type[Exception]) -> None:
    error = pickle.loads(pickle.dumps(kind("what, and what to do")))
    assert type(error) is kind
    assert str(error) == "what, and what to do"


@on_sqlite
@pytest.mark.usefixtures("engine")
def test_an_error_of_the_driver_keeps_its_rule_in_a_pickle() -> None:
    @unit_of_work
    def save_twice() -> None:
        Member(name="ada").save()
        Member(name="ada").save()

    with pytest.raises(UniqueViolation) as caught:
        save_twice()
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (str(copy), copy.table, copy.columns) == (str(caught.value), "member", ("name",))


def test_a_missing_record_keeps_its_model_in_a_pickle() -> None:
    copy = pickle.loads(pickle.dumps(NotFoundError("There is none.", model=Member, criteria=7)))
    assert (str(copy), copy.model, copy.criteria) == ("There is none.", Member, 7)


@pytest.mark.usefixtures("unconfigured")
def test_a_task_needs_no_database_until_it_uses_one(celery: Celery) -> None:
    celery.conf.update(task_always_eager=True)

    @celery.task
    def use(what: str) -> str:
        return str(Member.query.count()) if what == "database" else what

    assert use.delay("nothing").get() == "nothing"
    with pytest.raises(NotConfiguredError, match=r"configure\("):
        use.delay("database").get()
