"""UPDATE and DELETE of all the rows that a query finds, in one statement."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Select, delete, update
from sqlalchemy.orm import Mapper, Session
from sqlalchemy.sql.visitors import iterate

from .attributes import foreign_key
from .errors import ProtectedAttributeError, UnknownAttributeError, did_you_mean
from .lookups import lookup_of
from .operators import IS_NULL
from .rows import is_among

if TYPE_CHECKING:
    from .query import Query


def update_rows(query: Query[Any], values: Mapping[str, Any]) -> int:
    """See `Query.update`."""
    model, mapper = query.entity()
    _refuse_slices(query, "update")
    columns: dict[str, Any] = {}
    for name, value in values.items():
        columns |= _assignments(mapper, name, value)
    if not columns:
        return 0
    version = mapper.version_id_col
    if version is not None and mapper.version_id_generator is not False:
        name = mapper.get_property_by_column(version).key
        columns.setdefault(name, getattr(model, name) + 1)
    statement = update(model).where(*_criteria(query, mapper)).values(columns)
    return _run(query, mapper, statement)


def delete_rows(query: Query[Any]) -> int:
    """See `Query.delete`."""
    model, mapper = query.entity()
    _refuse_slices(query, "delete")
    marks = getattr(model, "__marks_deleted__", None)
    if marks is not None:
        return update_rows(query, marks())
    if len(mapper.tables) > 1:
        raise TypeError(
            f"{model.__name__} is stored in several tables, and one DELETE empties one. Delete "
            "the records one by one: for record in query.all(): record.delete()"
        )
    return _run(query, mapper, delete(model).where(*_criteria(query, mapper)))


def _refuse_slices(query: Query[Any], verb: str) -> None:
    if query.sliced or query.grouped or query.distinct_on:
        raise TypeError(
            f"{verb}() writes every row that matches: it takes no LIMIT, OFFSET, GROUP BY or "
            f"DISTINCT ON. Narrow it with filter(), or write "
            f"filter(pk__in=query.pluck('pk')).{verb}()."
        )


def _run(query: Query[Any], mapper: Mapper[Any], statement: Any) -> int:
    # Which rows match, the database is asked: Python has other rules for comparing text, and none
    # for datetimes with and without a zone. It is not asked where no record is at hand.
    session: Session = query._session().registry()
    if session.autoflush:  # before looking: what is pending becomes a record at hand
        session.flush()
    records = session.identity_map.values()
    is_loaded = any(isinstance(record, mapper.class_) for record in records)
    options = {"synchronize_session": "fetch" if is_loaded else False}
    return int(query.run(statement.execution_options(**options)).rowcount)


# -- values ----------------------------------------------------------------------------------


def _assignments(mapper: Mapper[Any], name: str, value: Any) -> dict[str, Any]:
    """Return the values by attribute that setting one name comes to."""
    synonym = mapper.synonyms.get(name)
    plain = name if synonym is None else synonym.name
    model = mapper.class_
    if {name, plain} & set(getattr(model, "__protected__", ())):
        raise ProtectedAttributeError(
            f"{model.__name__}.{name} is protected: update() does not set it."
        )
    own = foreign_key(mapper, plain) if plain in mapper.relationships else None
    if own is not None:
        return _keys_of(mapper, plain, own, value)
    if not _is_settable(mapper, plain):
        known = [found.key for found in mapper.column_attrs if _is_settable(mapper, found.key)]
        raise UnknownAttributeError(
            f"{model.__name__}.{name} is no column, so one UPDATE can't set it."
            f"{did_you_mean(name, known)}"
        )
    _check_table(mapper, plain)
    return {plain: value}


def _keys_of(mapper: Mapper[Any], name: str, own: Mapping[str, str], value: Any) -> dict[str, Any]:
    """Return the values of a relation's foreign key: for a record, its key, or None."""
    lookup = lookup_of(mapper.class_, name)
    operator, (key,) = lookup.understand(value)
    if operator is IS_NULL:
        return dict.fromkeys(own.values())
    keys = key if len(lookup.attributes) > 1 else (key,)
    for mine in own.values():
        _check_table(mapper, mine)
    return {own[theirs]: part for theirs, part in zip(lookup.attributes, keys, strict=True)}


def _is_settable(mapper: Mapper[Any], name: str) -> bool:
    found = mapper.column_attrs.get(name)
    if found is not None:
        return isinstance(found.columns[0], Column)
    hybrid = mapper.all_orm_descriptors.get(name)
    return name in mapper.composites or getattr(hybrid, "update_expr", None) is not None


def _check_table(mapper: Mapper[Any], name: str) -> None:
    found = mapper.column_attrs.get(name)
    if found is not None and found.columns[0].table is not mapper.local_table:
        raise TypeError(
            f"{mapper.class_.__name__}.{name} is stored in the table of a parent class: update it "
            "through the parent's query."
        )


# -- rows ------------------------------------------------------------------------------------


def _criteria(query: Query[Any], mapper: Mapper[Any]) -> list[ColumnElement[bool]]:
    """Return the WHERE of the statement: the query's own, or that the row is among its rows."""
    where = query.whereclause
    froms = query.get_final_froms()
    is_one_table = len(froms) == 1 and froms[0] is mapper.local_table
    mysql = query.dialect_name in ("mysql", "mariadb")
    if is_one_table and not (mysql and where is not None and _has_subquery(where)):
        return [] if where is None else [where]
    return [is_among(query)]


def _has_subquery(where: ColumnElement[bool]) -> bool:
    return any(isinstance(part, Select) for part in iterate(where))
