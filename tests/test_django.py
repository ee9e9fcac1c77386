"""Lookups, against Django's own ORM on the same rows, and against a few lines of plain Python.

The rows, the models of both and what is asked are in tests/django_twin. Where activebase decides
otherwise than Django (docs/explanation/django.md) Python alone is the judge; so it is on MariaDB,
for which Django wants another driver.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings

from activebase import InvalidLookupError, read_only
from tests.databases import fresh_sqlite
from tests.django_twin import decisions
from tests.django_twin.activebase_side import ask, values_of
from tests.django_twin.generated import questions, trees
from tests.django_twin.lookups import KINDS, OWN_OPERATORS, cases_of, relation_cases
from tests.django_twin.models import MODELS
from tests.django_twin.questions import And, Not, Or, Question, Tree, Where
from tests.django_twin.twins import Twins, twins_on

DOCS = Path(__file__).parent.parent / "docs" / "explanation" / "django.md"

#: The same examples in every run. One that fails is not made smaller, which would take minutes.
generated = settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    report_multiple_bugs=False,
)

pytestmark = pytest.mark.slow
on = pytest.mark.parametrize
on_djangos = on("twins", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "mariadb"])
def twins(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Twins]:
    """The filled database, once for all tests: they only read."""
    dialect, _, collation = request.param.partition(" ")
    if dialect == "sqlite":
        fresh = fresh_sqlite(tmp_path_factory.mktemp("twins"))
    else:
        server = "postgres" if dialect == "postgresql" else dialect
        fresh = request.getfixturevalue(f"{server}_databases").fresh()
    with fresh as database, twins_on(database, collation=collation) as found:
        yield found


def both_ways(model: str, **lookups: Any) -> list[Question]:
    return [Question(model, ((verb, Where(lookups)),)) for verb in ("filter", "exclude")]


# -- every lookup ------------------------------------------------------------------------------


@on(("model", "column"), [(model, column) for model in KINDS for column in KINDS[model]])
def test_every_lookup_of_a_column_finds_and_excludes_the_same(
    twins: Twins, model: str, column: str
) -> None:
    asked = [both_ways(model, **{key: value}) for key, value in cases_of(model, column)]
    assert_none(twins.complaints([question for two in asked for question in two]))


@on("model", list(KINDS))
def test_every_relation_finds_and_excludes_the_same(twins: Twins, model: str) -> None:
    asked = [both_ways(model, **{key: value}) for key, value in relation_cases(model)]
    assert_none(twins.complaints([question for two in asked for question in two]))


@on_djangos
@on(
    "lookups",
    [
        {"pages__contains": "1"},
        {"pages__startswith": "-"},
        {"pages__endswith": "0"},
        {"pages__icontains": "47"},
        {"pages__iexact": "7"},
        {"pages__regex": "^-?7$"},
        {"sold__startswith": "9007"},
        {"published__contains": "-12-"},
        {"published__startswith": "2020"},
        {"published__iregex": "29$"},
    ],
    ids=lambda lookups: next(iter(lookups)),
)
def test_finds_text_in_numbers_and_dates(twins: Twins, lookups: dict[str, Any]) -> None:
    asked = both_ways("Book", **lookups)
    assert twins.django
    assert [ask(it) for it in asked] == twins.django.ask_all(asked)
    assert len(ask(asked[0])) > 0


def assert_none(complaints: list[str]) -> None:
    assert not complaints, f"{len(complaints)} complaints\n" + "\n".join(complaints[:10])


# -- combinations ------------------------------------------------------------------------------


@generated
@given(questions())
def test_up_to_four_lookups_in_one_call_find_and_exclude_the_same(
    twins: Twins, question: Question
) -> None:
    twins.check(question)
    twins.check_count(question)


@settings(generated, max_examples=75)
@given(questions(steps=3, number=2))
def test_chained_calls_find_the_same(twins: Twins, question: Question) -> None:
    twins.check(question)


@settings(generated, max_examples=75)
@given(questions(trees, number=2))
def test_lookups_joined_by_and_or_and_not_find_the_same(twins: Twins, question: Question) -> None:
    twins.check(question)


@settings(generated, max_examples=50)
@given(questions(verbs=["filter"]))
def test_get_by_gives_one_of_those_that_filter_finds(twins: Twins, question: Question) -> None:
    [(_, tree)] = question.steps
    assert isinstance(tree, Where)
    found = ask(question)
    with read_only():
        record = MODELS[question.model].get_by(**values_of(tree.lookups))
        assert record.id in found if record else found == []


# -- order -------------------------------------------------------------------------------------


@on_djangos
@on("direction", ["", "-"], ids=["ascending", "descending"])
@on(
    ("model", "terms"),
    [
        *(("Book", column) for column in KINDS["Book"]),
        ("Book", "author__name"),
        ("Book", "author__publisher__founded"),
        ("Book", "author__mentor__mentor__born author__mentor__bio"),
        ("Book", "publisher__name author__profile__nick -pages"),
        ("Author", "profile__public -name"),
        ("Author", "bio -born"),
    ],
)
@on("lookups", [{}, {"books__pages__gt": 0, "publisher__isnull": False}], ids=["all", "some"])
def test_the_order_is_the_same_and_so_is_the_place_of_null(
    twins: Twins, model: str, terms: str, direction: str, lookups: dict[str, Any]
) -> None:
    if model == "Book":
        lookups = {f"author__{key}": value for key, value in lookups.items()}
    first, *others = terms.split()
    order = (f"{direction}{first}", *others, "-id")
    question = Question(model, (("filter", Where(lookups)),), order)
    assert twins.django
    assert ask(question) == list(dict.fromkeys(twins.django.ask(question)))


# -- what is refused ---------------------------------------------------------------------------

_WITHOUT_NONE = (
    "contains icontains startswith istartswith endswith iendswith regex iregex "
    "gt gte lt lte".split()
)


@on_djangos
@on(
    "lookups",
    [
        *({f"title__{operator}": None} for operator in _WITHOUT_NONE),
        {"title__isnull": 1},
        {"title__isnull": "false"},
        {"title__sounds_like": "a"},
        {"titel": "a"},
        {"author__titel": "a"},
        {"published__hour": 1},
        {"opens__year": 1},
        {"title__year": 1},
        {"pages": "many"},
        {"published": "soon"},
        {"author": "a"},
    ],
    ids=lambda lookups: next(iter(lookups)),
)
def test_refuses_what_django_refuses(twins: Twins, lookups: dict[str, Any]) -> None:
    for question in both_ways("Book", **lookups):
        with pytest.raises(InvalidLookupError):
            ask(question)
        assert twins.django
        assert twins.django.refuses(question)


# -- decisions ---------------------------------------------------------------------------------


def found_by(model: str, *steps: Tree | tuple[str, Tree]) -> Question:
    return Question(model, tuple(it if isinstance(it, tuple) else ("filter", it) for it in steps))


PAGES = Where({"books__pages": 1})
IN_PRINT = Where({"books__in_print": False})
ONE_OF_BOTH = Where({"books__pages": 1, "books__in_print": False})
APART = Where({"author__mentor__name__gt": "!", "publisher__authors__profile__public": True})
#: Question that Django answers otherwise, on both databases.
OTHERWISE = [
    (decisions.EXCLUDE, found_by("Author", ("exclude", ONE_OF_BOTH))),
    (decisions.EXCLUDE, found_by("Author", Not(ONE_OF_BOTH))),
    (decisions.SEPARATE_Q, found_by("Author", And(PAGES, IN_PRINT))),
    (decisions.SEPARATE_Q, found_by("Author", And(PAGES, Not(IN_PRINT)))),
    (decisions.SEPARATE_Q, found_by("Author", Or(PAGES, Not(IN_PRINT)))),
    (decisions.MIXED_JOINS, found_by("Book", ("exclude", APART))),
    (decisions.ROUNDING, found_by("Book", Where({"pages": 1.5}))),
    (decisions.ROUNDING, found_by("Book", Where({"pages__gt": -1.5}))),
    (decisions.ROUNDING, found_by("Book", Where({"pages__in": [1.5, 2]}))),
    (decisions.ROUNDING, found_by("Book", Where({"published__year__lt": 2020.5}))),
    (decisions.RANGES, found_by("Book", Where({"pages__lt": 10**30}))),
]
ON_SQLITE = [
    (decisions.CASE, found_by("Book", Where({"title__contains": "a"}))),
    (decisions.CASE, found_by("Book", Where({"title__startswith": "a"}))),
    (decisions.CASE, found_by("Book", Where({"title__endswith": "a"}))),
    (decisions.FOLDING, found_by("Book", Where({"title__iexact": "ä"}))),
    (decisions.FOLDING, found_by("Book", Where({"title__icontains": "É"}))),
]


@on(
    ("twins", "decision", "question"),
    [
        *((dialect, *it) for dialect in ("sqlite", "postgresql") for it in OTHERWISE),
        *(("sqlite", *it) for it in ON_SQLITE),
    ],
    indirect=["twins"],
)
def test_the_answer_is_what_the_page_says_where_django_has_another(
    twins: Twins, decision: str, question: Question
) -> None:
    applying = twins.decisions(question) or {decisions.ROUNDING, decisions.RANGES}
    assert decision in applying
    assert twins.django
    assert ask(question) == twins.oracle.ask(question) != twins.django.ask(question)


@on("twins", ["mariadb"], indirect=True)
@on("question", [question for _, question in OTHERWISE])
def test_the_answer_is_the_same_on_mariadb(twins: Twins, question: Question) -> None:
    twins.check(question)


@on("twins", ["mariadb utf8mb4_general_ci"], indirect=True)
def test_a_collation_that_knows_no_case_changes_only_what_compares_by_it(twins: Twins) -> None:
    operators = (*_WITHOUT_NONE[:8], "like", "ilike")
    asked = [
        question
        for key, value in cases_of("Book", "title")
        if key.endswith(operators)
        for question in both_ways("Book", **{key: value})
    ]
    assert_none(twins.complaints(asked))
    assert ask(found_by("Book", Where({"title": "A"}))) == ask(
        found_by("Book", Where({"title": "a"}))
    )


@on_djangos
def test_django_lacks_the_operators_that_are_said_to_be_lacking(twins: Twins) -> None:
    assert twins.django
    for operator in OWN_OPERATORS:
        value = ["a"] if operator == "not_in" else "a"
        assert twins.django.refuses(found_by("Book", Where({f"title__{operator}": value})))


@on_djangos
def test_no_row_repeats_for_its_related_rows_as_it_does_with_django(twins: Twins) -> None:
    question = replace(found_by("Author", Where({"books__pages__gte": 1})), order=("id",))
    assert twins.django
    repeated = twins.django.ask(question)
    assert len(repeated) > len(set(repeated))
    assert ask(question) == sorted(set(repeated))


@on_djangos
@on(
    "lookups",
    [
        {"title__range": ("a", None)},
        {"title__in": "ab"},
        {"title": 1},
        {"title__contains": 1},
        {"author__gt": 3},
        {"published__year__contains": "0"},
    ],
    ids=lambda lookups: next(iter(lookups)),
)
def test_refuses_what_django_makes_something_of(twins: Twins, lookups: dict[str, Any]) -> None:
    for question in both_ways("Book", **lookups):
        with pytest.raises(InvalidLookupError):
            ask(question)
        assert twins.django
        assert not twins.django.refuses(question)


def test_an_order_is_added_to_the_one_before(twins: Twins) -> None:
    with read_only():
        apart = MODELS["Book"].query.order_by("in_print").order_by("-id")
        assert apart.pluck("id") == MODELS["Book"].query.order_by("in_print", "-id").pluck("id")


def test_the_page_has_all_decisions_and_no_other() -> None:
    headings = re.findall(r"^## (.+)$", DOCS.read_text(), re.MULTILINE)
    named = {value for name, value in vars(decisions).items() if re.fullmatch("[A-Z_]{3,}", name)}
    assert set(headings) == {heading for heading in named if isinstance(heading, str)}
