"""Names in an order, in `values()` and in `with_related()`: columns, joined relations, loaders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, TextClause, inspect, nulls_first, nulls_last
from sqlalchemy.orm import aliased, joinedload, selectinload
from sqlalchemy.orm.interfaces import LoaderOption
from sqlalchemy.sql.operators import asc_op, desc_op, nulls_first_op, nulls_last_op

from .attributes import Path, attributes_at, column_of, unknown_name, walk
from .errors import InvalidLookupError
from .kept import kept_by
from .shape import joins_by_itself

if TYPE_CHECKING:
    from .query import Query

Q = TypeVar("Q", bound="Query[Any]")


def order_terms(query: Q, name: str) -> tuple[Q, list[ColumnElement[Any]]]:
    """Return the terms for ``"name"`` or ``"-name"``, and the query joined to what they need.

    Raises:
        InvalidLookupError: an unknown name, or a path through a relation to many.
    """
    plain = name.removeprefix("-")
    query, columns = named_columns(query, plain, apart=True)
    return query, [column.desc() if name != plain else column.asc() for column in columns]


def named_columns(query: Q, name: str, *, apart: bool = False) -> tuple[Q, list[Any]]:
    """Return the column of a name, or those of a key; joins outwards through relations to one.

    Args:
        apart: whether a composite is wanted as its columns.
    Raises:
        InvalidLookupError: an unknown name, or a path through a relation to many.
    """
    model, mapper = query.entity()
    # Where it selects the model alone, asking SQLAlchemy would take longer than all the rest.
    selected = [] if query._gives_records else query.column_descriptions
    labelled = [found["expr"] for found in selected if found["name"] == name]
    if labelled and name not in mapper.all_orm_descriptors:
        return query, labelled
    path = walk(model, name)
    if path.rest:
        raise unknown_name(path.mapper, path.rest)
    query, entity = _joined(query, model, path)
    names = attributes_at(path) if apart or path.is_key else (path.attribute,)
    return query, [column_of(entity, path.mapper, found) for found in names]


def reversed_term(term: Any) -> Any:
    """Return a term of ORDER BY that sorts the other way round. Raises: TypeError for a text."""
    if isinstance(term, TextClause):
        raise TypeError(
            f"last() turns the order round, and can't turn the text {str(term)!r}. Order by "
            "columns, or by names."
        )
    modifier = getattr(term, "modifier", None)
    if modifier in _OTHER_NULLS:
        return _OTHER_NULLS[modifier](reversed_term(term.element))
    return term.element.asc() if modifier is desc_op else plain_term(term).desc()


def plain_term(term: Any) -> Any:
    """Return a term without ASC."""
    return term.element if getattr(term, "modifier", None) is asc_op else term


_OTHER_NULLS: dict[Any, Any] = {nulls_first_op: nulls_last, nulls_last_op: nulls_first}


def _joined(query: Q, model: type[Any], path: Path) -> tuple[Q, Any]:
    """Join the query to the end of a path, each relation of it once; returns what is there."""
    entity: Any = model
    mapper = inspect(model)
    for depth, name in enumerate(path.relations, start=1):
        relation = mapper.relationships[name]
        if relation.uselist:
            raise InvalidLookupError(
                f"{model.__name__}: {'__'.join(path.relations)} leads to many records, so it "
                "gives a row no one place. Expected a path of relations to one."
            )
        step, mapper = path.relations[:depth], relation.mapper
        if step not in query.joined:
            target = aliased(mapper.class_)
            query = query.outerjoin(getattr(entity, name).of_type(target))
            query.joined = {**query.joined, step: target}
        entity = query.joined[step]
    return query, entity


class Loader(NamedTuple):
    """What loads a path of relations."""

    option: LoaderOption
    #: Whether the JOIN of a relation to one may bring one of a relation to many.
    may_repeat: bool


def loader_of(model: type[Any], name: str) -> Loader:
    """Return what loads a path of relations: to-many by SELECT IN, to-one by JOIN.

    Raises:
        InvalidLookupError: it is no path of relations.
    """
    known: dict[str, Loader] = kept_by(model, "loaders")
    if name not in known:
        known[name] = _new_loader(model, name)
    return known[name]


def _new_loader(model: type[Any], name: str) -> Loader:
    path = walk(model, name)
    if not path.ends_with_relation:
        raise InvalidLookupError(
            f"{model.__name__}: {name} is no relation. Expected names of relations, as in "
            "with_related('posts', 'posts__comments')."
        )
    mapper = inspect(model)
    option: Any = None
    may_repeat = False
    for step in path.relations:
        relation = mapper.relationships[step]
        attribute = getattr(mapper.class_, step)
        if option is None:
            option = selectinload(attribute) if relation.uselist else joinedload(attribute)
        else:
            load = option.selectinload if relation.uselist else option.joinedload
            option = load(attribute)
        mapper = relation.mapper
        may_repeat = may_repeat or (not relation.uselist and joins_by_itself(mapper))
    return Loader(option, may_repeat)
