"""A database that all three read, and the comparison of their answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import make_url

from activebase import configure
from tests.core_fixtures import _unconfigure
from tests.databases import Database
from tests.django_twin import activebase_side, rows
from tests.django_twin.decisions import decisions
from tests.django_twin.django_side import Django, django_on
from tests.django_twin.lookups import KINDS
from tests.django_twin.oracle import Oracle, model_at
from tests.django_twin.questions import Lookup, Question, leaves, parse


@dataclass(frozen=True)
class Twins:
    """Args:

    dialect: sqlite, postgresql or mariadb.
    django: None where Django has no driver.
    folds: whether the database itself can fold letters beyond ASCII.
    orders_by_code_point: whether text is in the order of Python's.
    """

    dialect: str
    django: Django | None
    folds: bool
    orders_by_code_point: bool

    @property
    def oracle(self) -> Oracle:
        return Oracle(self.dialect)

    def decisions(self, question: Question) -> set[str]:
        """Return why Django's answer would be another one."""
        return decisions(question, dialect=self.dialect, folds=self.folds)

    def complaints(self, questions: list[Question]) -> list[str]:
        """Return what is wrong with activebase's answers; empty if nothing is."""
        asked = [it for it in questions if self.django and not self.decisions(it)]
        told = self.django.ask_all(asked) if self.django else []
        by_django = dict(zip(map(id, asked), told, strict=True))
        answers = activebase_side.ask_all(questions)
        found = (
            self._complaint(question, answer, by_django.get(id(question)))
            for question, answer in zip(questions, answers, strict=True)
        )
        return [complaint for complaint in found if complaint]

    def check(self, question: Question) -> None:
        """Fail unless activebase's answer is what it should be."""
        complaints = self.complaints([question])
        assert not complaints, complaints[0]

    def check_count(self, question: Question) -> None:
        """Fail unless what `count()` says is what it should be."""
        counted = activebase_side.count(question)
        if self.django and not self.decisions(question):
            assert counted == self.django.count(question), question
        if self._is_for_oracle(question):
            assert counted == len(self.oracle.ask(question)), question

    def _complaint(
        self, question: Question, answer: list[int] | Exception, by_django: list[int] | None
    ) -> str | None:
        if isinstance(answer, Exception):
            return f"{question}\n  raises {type(answer).__name__}: {answer}"
        wanted = {"Django": by_django}
        if self._is_for_oracle(question):
            wanted["the oracle"] = self.oracle.ask(question)
        told = [
            f"\n  {who}: without {_less(answer, keys)}, and with {_less(keys, answer)}"
            for who, keys in wanted.items()
            if keys is not None and keys != answer
        ]
        return f"{question}\n  activebase: {answer}{''.join(told)}" if told else None

    def _is_for_oracle(self, question: Question) -> bool:
        """Tell whether Python knows the answer; a database may have its own order and folding."""
        if question.order:
            return False
        return all(
            self._is_pythons(question.model, parse(key), value)
            for _, tree in question.steps
            for where in leaves(tree)
            for key, value in where.lookups.items()
        )

    def _is_pythons(self, model: str, lookup: Lookup, value: Any) -> bool:
        kind = KINDS[model_at(model, lookup.path)].get(lookup.column)
        if lookup.operator in ("gt", "gte", "lt", "lte", "range"):
            if kind == "uuid":  # MariaDB's order begins with the last of the five groups
                return self.dialect != "mariadb"
            return kind != "text" or self.orders_by_code_point
        if lookup.operator.startswith("i") and isinstance(value, str):
            is_plain = value.isascii() and lookup.column != "word"
            return is_plain or self.folds or self.dialect == "sqlite"
        return True


@contextmanager
def twins_on(database: Database, *, collation: str = "") -> Iterator[Twins]:
    """Fill a database, and yield who reads it; the global session is on it meanwhile.

    Args:
        collation: of MariaDB's text; by default equal means equal, so that Python can tell.
    """
    for statement in _PREPARATIONS.get(database.dialect, ()):
        name = make_url(database.url).database
        database.execute(statement.format(name, collation or "utf8mb4_nopad_bin"))
    _unconfigure()
    engine = configure(database.url)
    try:
        rows.create(engine)
        if database.dialect == "mariadb":
            yield Twins("mariadb", None, folds=True, orders_by_code_point=True)
            return
        folds, is_binary = (bool(database.scalar(sql)) for sql in _PROBES[database.dialect])
        with django_on(database.url) as django:
            yield Twins(database.dialect, django, folds, is_binary)
    finally:
        _unconfigure()
        engine.dispose()


_PREPARATIONS = {
    "postgresql": [
        # Where moments of columns with a time zone are read by a clock that is not UTC's.
        "ALTER DATABASE {} SET timezone = 'America/New_York'",
        # Each statement runs once, so compiling it is never worth its second.
        "ALTER DATABASE {} SET jit = off",
    ],
    "mariadb": ["ALTER DATABASE {} COLLATE {}"],
}
_PROBES = {
    "sqlite": ["SELECT upper('ä') = 'Ä'", "SELECT 1"],
    "postgresql": [
        "SELECT upper('ä') = 'Ä'",
        "SELECT datcollate IN ('C', 'C.UTF-8', 'POSIX') FROM pg_database"
        " WHERE datname = current_database()",
    ],
}


def _less(keys: list[int], others: list[int]) -> list[int]:
    return sorted(set(keys) - set(others))[:10]
