"""What bulk statements write: records and dicts, taken apart into columns of values.

Names are looked at once for each shape of row, values column by column: work in Python for each
row would cost more than the database does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ClauseElement, Column, Null, SQLColumnExpression
from sqlalchemy.orm import InstanceState
from sqlalchemy.orm.attributes import instance_state

from .layout import Layout


class _Missing:
    """Stands where a row gives no value; None is a value."""


MISSING: Any = _Missing()

#: Values by column, all lists of one length.
Columns = dict[Column[Any], list[Any]]


class Shape:
    """Rows that have the same names, in the same order."""

    def __init__(self, layout: Layout, kind: type[Any], names: tuple[str, ...]) -> None:
        self.layout = layout
        self.kind = kind  # dict, or the class of the records
        self.names = names
        self.of_records = kind is not dict
        self.places: list[int] = []  # in what was given
        self.sources: list[Mapping[str, Any]] = []


class Rows:
    """Rows that go into one table, column by column."""

    def __init__(self, layout: Layout, places: list[int], columns: Columns) -> None:
        self.layout = layout
        self.places = places  # in what was given
        self.columns = columns
        #: Columns that some of the rows leave out.
        self.holes: set[Column[Any]] = set()
        #: Columns that the rows give themselves, before defaults were filled in.
        self.given: set[Column[Any]] = set(columns)

    def __len__(self) -> int:
        return len(self.places)

    def slice(self, start: int, stop: int) -> Rows:
        """Return some neighbouring rows."""
        columns = {column: values[start:stop] for column, values in self.columns.items()}
        rows = Rows(self.layout, self.places[start:stop], columns)
        rows.given = self.given
        return rows

    def pick(self, chosen: Sequence[int]) -> Rows:
        """Return some of the rows; a column that none of them gives is left out."""
        columns = {}
        for column, values in self.columns.items():
            picked = [values[number] for number in chosen]
            if picked[0] is not MISSING or any(value is not MISSING for value in picked):
                columns[column] = picked
        rows = Rows(self.layout, [self.places[number] for number in chosen], columns)
        rows.given &= self.given
        rows.holes = {
            column
            for column in self.holes & columns.keys()
            if any(value is MISSING for value in columns[column])
        }
        return rows


def shapes_of(model: type[Any], rows: Iterable[Any], verb: str) -> list[Shape]:
    """Sort rows by their shape, and check the names. Effect: none.

    Args:
        rows: records of the model and dicts.
    Raises:
        UnknownAttributeError, ProtectedAttributeError: for a name in a dict.
        TypeError, ValueError: for what is no row, or no new record.
    """
    found: dict[tuple[Any, ...], Shape] = {}
    shape: Shape | None = None
    for place, row in enumerate(rows):
        kind = type(row)
        if kind is dict:
            source = row
        elif isinstance(row, model):
            state = instance_state(row)
            if state.key is not None or state.session_id is not None:
                _check_new(state, place, verb)
            source = vars(row)
        elif isinstance(row, Mapping):
            kind, source = dict, dict(row)
        else:
            raise TypeError(
                f"{verb}() takes records of {model.__name__} and dicts; rows[{place}] is of type "
                f"{kind.__name__}."
            )
        names = tuple(source)
        if shape is None or shape.kind is not kind or shape.names != names:  # of the row before
            shape = found.get((kind, names))
        if shape is None:
            shape = found[kind, names] = _new_shape(model, kind, names, verb)
        shape.places.append(place)
        shape.sources.append(source)
    return list(found.values())


def _check_new(state: InstanceState[Any], place: int, verb: str) -> None:
    if not state.transient:
        known = "is pending in a session, which will insert it" if state.pending else "has a row"
        raise ValueError(
            f"{verb}() takes new records; rows[{place}] {known} already. Leave it out, or give a "
            "dict of its values."
        )


def _new_shape(model: type[Any], kind: type[Any], names: tuple[str, ...], verb: str) -> Shape:
    if kind is dict:
        layout = Layout.of(model)
        layout.check_names(names, f"{verb}()")
        return Shape(layout, kind, names)
    return Shape(Layout.of(kind), kind, names)


def rows_of(shapes: Iterable[Shape]) -> list[Rows]:
    """Take rows apart, those of one model together, in the order in which they were given.

    Effect: none; a record that is still pending, and that a relation names, is flushed.
    Raises:
        ValueError: for what can't be written in bulk: SQL expressions, related records.
    """
    by_layout: dict[int, list[Rows]] = {}
    for shape in shapes:
        columns = _values_of(shape)
        rows = Rows(shape.layout, shape.places, columns)
        _find_holes(rows, of_records=shape.of_records)
        by_layout.setdefault(id(shape.layout), []).append(rows)
    return [_joined(parts) for parts in by_layout.values()]


def _values_of(shape: Shape) -> Columns:
    layout, sources = shape.layout, shape.sources
    columns: Columns = {}
    own = [name for name in shape.names if name in layout.columns]
    for name, values in zip(own, _transposed(own, sources), strict=True):
        if layout.columns[name] in columns:
            raise _given_twice(layout, layout.columns[name])
        columns[layout.columns[name]] = values
    for name in shape.names:
        if name in layout.mapper.relationships:
            related = [source[name] for source in sources]
            _add_relation(columns, shape, name, related)
    return columns


def _transposed(names: Sequence[str], sources: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    if len(names) < 2:
        return [[source[name] for source in sources] for name in names]
    return list(map(list, zip(*map(itemgetter(*names), sources), strict=True)))


def _given_twice(layout: Layout, column: Column[Any]) -> ValueError:
    return ValueError(
        f"A row gives {layout.model.__name__}.{layout.names[column]} twice, by two names of the "
        "column, or by the column and by the relation. Leave one of them out."
    )


def _add_relation(columns: Columns, shape: Shape, name: str, related: list[Any]) -> None:
    layout = shape.layout
    pairs = layout.relations.get(name)
    if shape.of_records and all(_is_nothing(value) for value in related):
        return  # what a dataclass sets; the foreign key may be given by itself
    if pairs is None:
        if layout.mapper.relationships[name].viewonly:
            return
        raise ValueError(
            f"{layout.model.__name__}.{name} holds related records, and bulk_create() does not "
            "cascade. Write them by themselves, or save() the record."
        )
    for theirs, column in pairs.items():
        if column in columns and not shape.of_records:
            raise _given_twice(layout, column)
        mine = columns.get(column, [None] * len(related))
        if shape.of_records:
            _check_other_side(layout, name, related)
        columns[column] = [
            old if value is None else _key_of(layout, name, value, theirs)
            for value, old in zip(related, mine, strict=True)
        ]


def _check_other_side(layout: Layout, name: str, related: list[Any]) -> None:
    """Refuse a new record that is in a collection of one that a session has.

    Each flush would find it there, and warn that it is in no session.
    """
    relation = layout.mapper.relationships[name]
    if not (relation.back_populates or relation.backref):
        return
    for value in related:
        if value is not None and instance_state(value).session is not None:
            raise ValueError(
                f"{layout.model.__name__}.{name} holds a record of the session, which knows the "
                "new one as related, and would wait for it to be saved. Give the foreign key, "
                f"or a dict with {name}."
            )


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list | set | dict) and not value)


def _key_of(layout: Layout, name: str, value: Any, theirs: str) -> Any:
    remote = layout.mapper.relationships[name].mapper.class_
    if not isinstance(value, remote):
        raise ValueError(
            f"{layout.model.__name__}.{name} takes a record of {remote.__name__} or None, got "
            f"{type(value).__name__}."
        )
    state = instance_state(value)
    if state.pending and state.session is not None:
        state.session.flush()
    key = getattr(value, theirs)
    if key is None:
        raise ValueError(
            f"{layout.model.__name__}.{name} holds a {remote.__name__} without a key, and "
            "bulk_create() does not cascade. Save that record first."
        )
    return key


def _find_holes(rows: Rows, *, of_records: bool) -> None:
    """Take None for missing where a flush would: in keys, and in a record's column with a default.

    A dict says what it means: None is NULL there.
    """
    layout = rows.layout
    gone: list[Column[Any]] = []
    for column, values in rows.columns.items():
        types = set(map(type, values))
        _check_types(layout, column, types)
        if type(None) not in types:
            continue
        has_default = column in layout.defaults or column in layout.left_out
        if column.primary_key or (
            of_records and has_default and not column.type.should_evaluate_none
        ):
            if len(types) == 1:
                gone.append(column)
            rows.columns[column] = [MISSING if value is None else value for value in values]
            rows.holes.add(column)
    for column in gone:
        del rows.columns[column]
        rows.holes.discard(column)
        rows.given.discard(column)


def _check_types(layout: Layout, column: Column[Any], types: set[type]) -> None:
    for kind in types:
        if kind is Null and column.type.should_evaluate_none:
            continue  # SQL's NULL, where None is JSON's
        if issubclass(kind, ClauseElement | SQLColumnExpression):
            raise ValueError(
                f"{layout.model.__name__}.{layout.names[column]} holds an SQL expression, and bulk "
                "statements take values only. Save such records one by one, or write "
                "query.filter(...).update(...)."
            )


def _joined(parts: list[Rows]) -> Rows:
    """Put rows of different shapes together, in the order in which they were given."""
    if len(parts) == 1:
        return parts[0]
    places = [place for part in parts for place in part.places]
    order = sorted(range(len(places)), key=places.__getitem__)
    joined = Rows(parts[0].layout, [places[number] for number in order], {})
    for column in dict.fromkeys(column for part in parts for column in part.columns):
        values: list[Any] = []
        for part in parts:
            own = part.columns.get(column)
            values += [MISSING] * len(part) if own is None else own
            if own is None or column in part.holes:
                joined.holes.add(column)
        joined.columns[column] = [values[number] for number in order]
    joined.given = set(joined.columns)
    return joined
