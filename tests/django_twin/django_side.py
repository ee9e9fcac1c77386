"""How Django is asked: in a process of its own, where it can change no other test's world.

Importing Django's SQLite backend alone changes what every `sqlite3` connection takes as a value.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from multiprocessing import get_context
from typing import Any

from sqlalchemy import make_url

from tests.django_twin.questions import Question, Record, Where, combine


class Django:
    """Answers questions by Django's ORM."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def ask(self, question: Question) -> list[int]:
        """Return the primary keys: in the question's order, else in ascending order and once."""
        return self._pool.submit(_run, _ask, question).result()

    def ask_all(self, questions: list[Question]) -> list[list[int]]:
        """Return the answers to many questions, on one journey."""
        return self._pool.submit(_run, _ask_all, questions).result()

    def count(self, question: Question) -> int:
        """Return the number of distinct records that Django counts."""
        return self._pool.submit(_run, _count, question).result()

    def refuses(self, question: Question) -> bool:
        """Tell whether Django raises an error of its own before it asks the database."""
        return self._pool.submit(_run, _refuses, question).result()

    def sql(self, question: Question) -> str:
        """Return what Django sends, for a look at it."""
        return self._pool.submit(_run, _sql, question).result()


@contextmanager
def django_on(url: str) -> Iterator[Django]:
    """Yield Django on a database; disconnected when the block ends."""
    settings = _settings_of(url)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=_set_up, initargs=(settings,)) as pool:
        yield Django(pool)
        pool.submit(_disconnect).result()


def _settings_of(url: str) -> dict[str, Any]:
    parts = make_url(url)
    engine = {"sqlite": "sqlite3"}.get(parts.get_backend_name(), parts.get_backend_name())
    return {
        "ENGINE": f"django.db.backends.{engine}",
        "NAME": parts.database,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.host or parts.query.get("host", ""),
        "PORT": parts.port or "",
    }


# -- in the process --------------------------------------------------------------------------


def _set_up(database: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    warnings.simplefilter("error")
    settings.configure(
        DATABASES={"default": database},
        INSTALLED_APPS=["tests.django_twin.django_app"],
        USE_TZ=True,
        TIME_ZONE="UTC",
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()


def _disconnect() -> None:
    from django.db import connections

    connections.close_all()


def _run(function: Callable[[Any], Any], asked: Any) -> Any:
    """Say what went wrong in words: Django's errors can't be read where Django is not set up."""
    try:
        return function(asked)
    except Exception as error:
        raise RuntimeError(f"Django raises {type(error).__name__}: {error}") from None


def _ask(question: Question) -> list[int]:
    keys = _rows(question).values_list("pk", flat=True)
    return list(keys) if question.order else sorted(set(keys))


def _ask_all(questions: list[Question]) -> list[list[int]]:
    return [_ask(question) for question in questions]


def _count(question: Question) -> int:
    found: int = _rows(question).distinct().count()
    return found


def _refuses(question: Question) -> bool:
    from django.core.exceptions import FieldError, ValidationError

    try:
        str(_rows(question).query)
    except (FieldError, ValidationError, TypeError, ValueError):
        return True
    return False


def _sql(question: Question) -> str:
    return str(_rows(question).values_list("pk").query)


def _rows(question: Question) -> Any:
    from tests.django_twin.django_app.models import MODELS

    rows: Any = MODELS[question.model]._default_manager.all()
    for verb, tree in question.steps:
        rows = getattr(rows, verb)(combine(tree, _q))
    return rows.order_by(*question.order)


def _q(where: Where) -> Any:
    from django.db.models import Q

    return Q(**{key: _value_of(value) for key, value in where.lookups.items()})


def _value_of(value: Any) -> Any:
    from tests.django_twin.django_app.models import MODELS

    if isinstance(value, list | tuple):
        return type(value)(_value_of(it) for it in value)
    if isinstance(value, Record):
        return MODELS[value.model](pk=value.pk)
    is_naive = isinstance(value, datetime) and value.tzinfo is None
    return value.replace(tzinfo=UTC) if is_naive else value
