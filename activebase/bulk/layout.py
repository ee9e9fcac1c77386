"""What bulk statements need to know of a model: its columns, keys and defaults."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from sqlalchemy import Column, Dialect, Index, Table, UniqueConstraint, inspect
from sqlalchemy.orm import Mapper
from sqlalchemy.types import TypeEngine

from activebase.attributes import foreign_key, key_names
from activebase.errors import (
    ProtectedAttributeError,
    UnknownAttributeError,
    check_no_text,
    did_you_mean,
)
from activebase.kept import kept_by

#: A default of Python's: takes SQLAlchemy's execution context, or what stands for it.
Default = Callable[[Any], Any]
#: Makes of a value what the driver takes.
Processor = Callable[[Any], Any]


class Layout:
    """The columns of a model, by attribute, and what becomes of those that a row leaves out."""

    def __init__(self, mapper: Mapper[Any]) -> None:
        if not isinstance(mapper.local_table, Table):
            raise TypeError(
                f"{mapper.class_.__name__} is mapped to a {type(mapper.local_table).__name__}: "
                "bulk statements write tables only."
            )
        self.mapper = mapper
        self.model = mapper.class_
        self.table = mapper.local_table
        #: Whether a row is one row of one table; with joined-table inheritance it is not.
        self.is_plain = len(mapper.tables) == 1
        self.columns = _columns_of(mapper)
        #: The attribute of each column.
        self.names = {column: name for name, column in reversed(self.columns.items())}
        self.key = tuple(self.columns[name] for name in key_names(mapper))
        self.relations = _relations_of(mapper, self.columns)
        version: Any = mapper.version_id_col
        self.version: Column[Any] | None = version
        self.defaults = dict(_defaults_of(mapper, self.table))
        #: What an INSERT must not name for rows that leave it out: the database finds its value.
        self.left_out = {
            column
            for column in (*self.table.columns, *self.columns.values())
            if column not in self.defaults and _is_left_out(column)
        }
        #: Columns whose default asks SQLAlchemy's context for more than the row.
        self.contextual: set[Column[Any]] = set()

    @classmethod
    def of(cls, model: type[Any]) -> Layout:
        """Return the layout of a model. Effect: none; it is made once."""
        kept = kept_by(model, "bulk")
        if "layout" not in kept:
            kept["layout"] = cls(inspect(model))
        layout: Layout = kept["layout"]
        return layout

    def check_names(self, names: Collection[Any], verb: str) -> None:
        """Refuse names of a dict that are protected, or neither column nor relation to one.

        Raises:
            ProtectedAttributeError, UnknownAttributeError
        """
        for name in names:
            if name in self.model.__protected__:
                raise ProtectedAttributeError(
                    f"{self.model.__name__}.{name} is protected: {verb}() does not take it from a "
                    "dict. Give it a record where the code means to."
                )
            if name not in self.columns and name not in self.relations:
                raise self._unknown(name, verb)

    def columns_named(self, names: Collection[str], what: str) -> list[Column[Any]]:
        """Return the columns that an option names; a relation to one stands for its own.

        Args:
            what: the option, for messages.
        Raises:
            UnknownAttributeError
            TypeError: a text in place of a list.
        """
        check_no_text(names, what)
        found: list[Column[Any]] = []
        for name in names:
            if name in self.relations:
                found += self.relations[name].values()
            elif name in self.columns:
                found.append(self.columns[name])
            else:
                raise self._unknown(name, what)
        return list(dict.fromkeys(found))

    def _unknown(self, name: Any, verb: str) -> UnknownAttributeError:
        full = f"{self.model.__name__}.{name}"
        if name in self.mapper.relationships:
            return UnknownAttributeError(
                f"{full} is a relation that is no foreign key of {self.table.name}: {verb} is "
                "about the rows of one table. Write the related records by themselves."
            )
        if isinstance(name, str) and hasattr(self.model, name):
            return UnknownAttributeError(
                f"{full} is no column, so {verb} can't use it. Name columns, or give bulk_create() "
                "a record that has set it."
            )
        known = [*self.columns, *self.relations]
        return UnknownAttributeError(f"{full} does not exist.{did_you_mean(str(name), known)}")

    def unique_keys(self) -> Iterator[tuple[tuple[Column[Any], ...], Index | None]]:
        """Yield what keeps the table's rows apart, the primary key first: columns, partial index.

        Indexes on expressions are left out: nobody can name them.
        """
        yield tuple(self.table.primary_key.columns), None
        for constraint in self.table.constraints:
            if isinstance(constraint, UniqueConstraint):
                yield tuple(constraint.columns), None
        for index in self.table.indexes:
            if index.unique and len(index.expressions) == len(index.columns):
                yield tuple(index.columns), index if is_partial(index) else None


def processor_of(type_: TypeEngine[Any], dialect: Dialect) -> Processor | None:
    """Return what makes of a column's value what the driver takes; None: it takes the value."""
    return type_.dialect_impl(dialect).bind_processor(dialect)


def is_partial(index: Index) -> bool:
    """Tell whether an index is about some of the rows."""
    return any(options.get("where") is not None for options in index.dialect_options.values())


def in_python(default: Any) -> Default | None:
    """Return how Python finds a column's default or onupdate; None if it does not."""
    if default is None or not (default.is_scalar or default.is_callable):
        return None
    value = default.arg
    # A function without arguments has been wrapped by SQLAlchemy: all take the context.
    return (lambda context: value) if default.is_scalar else value


def _columns_of(mapper: Mapper[Any]) -> dict[str, Column[Any]]:
    found: dict[str, Column[Any]] = {}
    for prop in mapper.column_attrs:
        own = [c for c in prop.columns if isinstance(c, Column) and c.table in mapper.tables]
        if own:
            found[prop.key] = own[0]
    for name, synonym in mapper.synonyms.items():
        if synonym.name in found:
            found[name] = found[synonym.name]
    return found


def _relations_of(
    mapper: Mapper[Any], columns: dict[str, Column[Any]]
) -> dict[str, dict[str, Column[Any]]]:
    """Return the relations to one by foreign key, each as {their attribute: own column}."""
    found: dict[str, dict[str, Column[Any]]] = {}
    for name in mapper.relationships.keys():  # noqa: SIM118  # iterated, it gives no names
        pairs = foreign_key(mapper, name)
        if pairs is not None and all(mine in columns for mine in pairs.values()):
            found[name] = {theirs: columns[mine] for theirs, mine in pairs.items()}
    return found


def _defaults_of(mapper: Mapper[Any], table: Table) -> Iterator[tuple[Column[Any], Default]]:
    """Yield what Python fills in, in the order of the table, as SQLAlchemy does."""
    first, identity = mapper.version_id_generator, mapper.polymorphic_identity
    for column in table.columns:
        default = in_python(column.default)
        if column is mapper.version_id_col and callable(first):
            yield column, lambda context: first(None)
        elif column is mapper.polymorphic_on and identity is not None:
            yield column, lambda context: identity
        elif default is not None:
            yield column, default


def _is_left_out(column: Column[Any]) -> bool:
    return (
        column.default is not None
        or column.server_default is not None
        or column is column.table.autoincrement_column
        or column.type.should_evaluate_none  # for such, as JSON, None is a value of its own
    )
