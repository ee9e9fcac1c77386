"""Conditions: the SQL of several lookups that hold together.

Conditions behind one relation share its EXISTS, so that they speak of one and the same related
row, and no row of the model comes back twice.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Exists,
    and_,
    exists,
    false,
    func,
    inspect,
    literal_column,
    not_,
    or_,
    true,
    tuple_,
)
from sqlalchemy.orm import Mapper, aliased

from .attributes import column_of, foreign_key, is_plain_column
from .comparisons import compared
from .errors import InvalidLookupError, check_no_text
from .kept import kept_by
from .lookups import Lookup, key_lookup, lookup_of
from .operators import EXACT, IN, IS_NULL, NOT_IN, Operator, Takes
from .values import is_expression
from .years import by_bounds


def conditions(model: type[Any], lookups: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Return conditions that together say that all lookups hold; each may be NULL for false.

    Raises:
        InvalidLookupError: an unknown name or operator, or a value that it does not take.
    """
    found: list[ColumnElement[bool]] = []
    others: dict[str, Any] = {}
    for key, value in lookups.items():
        comparison = compared(model, key, value)
        if comparison is None:
            others[key] = value
        else:
            found.append(comparison)
    if others:
        found.append(condition(model, others))
    return found


def condition(
    model: type[Any], lookups: Mapping[str, Any], *, null_safe: bool = False
) -> ColumnElement[bool]:
    """Return the condition that all lookups hold.

    Args:
        lookups: values by key, as ``{"author__name__icontains": "x"}``.
        null_safe: never NULL, so that NOT turns it round; else NULL may stand for false.
    Raises:
        InvalidLookupError: an unknown name or operator, or a value that it does not take.
    """
    whole = Group(model)
    for key, value in lookups.items():
        lookup = lookup_of(model, key)
        whole.add(Leaf(*by_bounds(lookup, *lookup.understand(value))))
    return whole.condition(null_safe=null_safe)


def condition_from(
    model: type[Any], mapping: Mapping[str, Any], allow: Collection[str]
) -> ColumnElement[bool]:
    """Return the condition that untrusted lookups hold; see `Query.filter_from`."""
    check_no_text(allow, "filter_from(allow=)")
    lookups: dict[str, Any] = {}
    for key in mapping:
        if not isinstance(key, str) or key not in allow:
            raise InvalidLookupError(
                f"This is no filter here. Expected one of: {', '.join(sorted(allow)) or 'none'}."
            )
        lookup = lookup_of(model, key)
        lookups[key] = lookup.from_text(_value_in(mapping, lookup))
    return condition(model, lookups)


def among_keys(model: type[Any], keys: Collection[Any]) -> ColumnElement[bool]:
    """Return the condition that the primary key is one of these."""
    lookup = key_lookup(model)
    return Leaf(lookup, *lookup.understand(keys)).condition(model, null_safe=False)


def _value_in(mapping: Mapping[str, Any], lookup: Lookup) -> Any:
    # A MultiDict of werkzeug has several values for one key: ?id__in=1&id__in=2
    getlist = getattr(mapping, "getlist", None)
    if getlist is not None and lookup.operator.takes in (Takes.LIST, Takes.RANGE):
        values = getlist(lookup.key)
        return values if len(values) > 1 else values[0]
    return mapping[lookup.key]


class Leaf:
    """A condition on one attribute."""

    def __init__(self, lookup: Lookup, operator: Operator, arguments: tuple[Any, ...]) -> None:
        self.lookup = lookup
        self.operator = operator
        self.arguments = arguments
        is_null = operator is IS_NULL and arguments == (True,)
        #: Whether it holds for no related row at all, too.
        self.accepts_missing = is_null or (operator is NOT_IN and arguments == ([],))
        #: Whether it asks for nothing but whether there is a row.
        self.asks_for_row = operator is IS_NULL and lookup.of_key

    def condition(self, entity: Any, *, null_safe: bool) -> ColumnElement[bool]:
        """Return its SQL for a model or an alias of it."""
        return self._of(self.lookup.columns(entity), null_safe=null_safe)

    def is_about(self, names: Collection[str]) -> bool:
        """Tell whether these attributes are all that it looks at."""
        return not self.lookup.parts and set(self.lookup.attributes) <= set(names)

    def through(
        self, entity: Any, mapper: Mapper[Any], own: Mapping[str, str], *, null_safe: bool
    ) -> ColumnElement[bool]:
        """Return its SQL with the foreign key's columns in place of those they refer to."""
        names = [own[name] for name in self.lookup.attributes]
        columns = [column_of(entity, mapper, name) for name in names]
        return self._of(columns, null_safe=null_safe)

    def _of(self, columns: list[Any], *, null_safe: bool) -> ColumnElement[bool]:
        if self.lookup.composite is not None:
            return self._of_composite(columns)
        if self.operator is IS_NULL:
            (flag,) = self.arguments
            nulls = [self.operator.build(column, flag) for column in columns]
            return or_(*nulls) if flag else and_(*nulls)
        column = columns[0] if len(columns) == 1 else tuple_(*columns)
        built = self.operator.build(column, *self.arguments)
        if not null_safe or self.accepts_missing:
            return built
        if self._may_be_null_by_itself:
            return func.coalesce(built, false())
        # A column that can't be NULL is, behind an outer join.
        return and_(built, *(part.is_not(None) for part in columns))

    def _of_composite(self, columns: list[Any]) -> ColumnElement[bool]:
        """Return the SQL for a composite, which is NULL if all of its columns are."""
        is_null = and_(*(column.is_(None) for column in columns))
        (given,) = self.arguments
        if self.operator is IS_NULL:
            return is_null if given else not_(is_null)
        wanted = given if self.operator.takes is Takes.LIST else [given]
        equal = [and_(*map(operator.eq, columns, values)) for values in wanted]
        found: ColumnElement[bool] = func.coalesce(or_(false(), *equal), false())
        if self.operator in (EXACT, IN):
            return found
        return true() if self.accepts_missing else and_(not_(found), not_(is_null))

    @property
    def _may_be_null_by_itself(self) -> bool:
        """Whether it may be NULL though the column is not."""
        if self.operator.takes is Takes.ANYTHING or any(map(_has_sql, self.arguments)):
            return True
        lookup = self.lookup
        return not lookup.of_key and not is_plain_column(lookup.mapper, lookup.attributes[0])


def _has_sql(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_sql, value))
    return is_expression(value) and not isinstance(value, BindParameter)


class Group:
    """Conditions on one row: of the model, or of what a path of relations leads to."""

    def __init__(self, model: type[Any], path: tuple[str, ...] = ()) -> None:
        self.model = model
        self.path = path
        self.leaves: list[Leaf] = []
        self.groups: dict[str, Group] = {}

    def add(self, leaf: Leaf) -> None:
        """Put a condition where its path of relations leads."""
        group = self
        for name in leaf.lookup.relations:
            path = (*group.path, name)
            group = group.groups.setdefault(name, Group(group.model, path))
        group.leaves.append(leaf)

    def condition(self, *, null_safe: bool = False) -> ColumnElement[bool]:
        """Return the SQL that holds for a row if all conditions do."""
        entity = _target(self.model, self.path)
        found = [leaf.condition(entity, null_safe=null_safe) for leaf in self.leaves]
        for name, group in self.groups.items():
            found.append(group._of_related(entity, name, null_safe=null_safe))
        return and_(*found) if found else true()

    def _of_related(self, entity: Any, name: str, *, null_safe: bool) -> ColumnElement[bool]:
        """Return the SQL that holds for a row if there is such a related one."""
        parent: Mapper[Any] = inspect(entity).mapper
        own = None if self.groups else foreign_key(parent, name)
        if own and all(leaf.is_about(own) for leaf in self.leaves):
            return and_(
                *(leaf.through(entity, parent, own, null_safe=null_safe) for leaf in self.leaves)
            )
        row = _related(self.model, self.path)[1]
        if all(leaf.asks_for_row for leaf in self.leaves) and not self.groups:
            return self._row(row)
        found = row.where(self.condition())
        return or_(found, not_(row)) if self._accepts_missing else found

    def _row(self, row: Exists) -> ColumnElement[bool]:
        wanted = {leaf.accepts_missing for leaf in self.leaves}
        if wanted == {True}:
            return not_(row)
        return row if wanted == {False} else false()

    @property
    def _accepts_missing(self) -> bool:
        return all(leaf.accepts_missing for leaf in self.leaves) and all(
            group._accepts_missing for group in self.groups.values()
        )


def _target(model: type[Any], path: tuple[str, ...]) -> Any:
    """Return what is at the end of a path: the model itself, or an alias of the related one."""
    return _related(model, path)[0] if path else model


def _related(model: type[Any], path: tuple[str, ...]) -> tuple[Any, Exists]:
    """Return an alias of what is at the end of a path, and EXISTS for its row; both made once.

    Always an alias: the related model may stand further out as well.

    Source: SQLAlchemy's `any()` and `has()`, which of a relation within one table, to one of the
    classes in it, ask the outer row as well for that class.
    """
    known: dict[tuple[str, ...], tuple[Any, Exists]] = kept_by(model, "related")
    found = known.get(path)
    if found is None:
        relation = getattr(_target(model, path[:-1]), path[-1])
        target = aliased(relation.property.mapper.class_, flat=True)
        row = exists(literal_column("1")).select_from(target).where(relation.of_type(target))
        found = known.setdefault(path, (target, row.correlate_except(target)))
    return found
