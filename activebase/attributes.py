"""What the names in a lookup or an order mean on a model: attributes, relations, the key."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

from sqlalchemy import BooleanClauseList, ColumnElement, inspect, tuple_
from sqlalchemy.ext.associationproxy import AssociationProxyExtensionType
from sqlalchemy.ext.hybrid import HybridExtensionType
from sqlalchemy.orm import (
    ColumnProperty,
    CompositeProperty,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
)
from sqlalchemy.sql.operators import and_ as and_op

from .errors import InvalidLookupError, did_you_mean
from .values import is_expression

#: Names the primary key, whatever it is called.
PK = "pk"


class Path(NamedTuple):
    """A name like ``author__publisher__city``, taken apart."""

    relations: tuple[str, ...]
    #: The attribute at its end; `PK` for the key, also of the last relation if it ends with one.
    attribute: str
    #: What follows the attribute.
    rest: str
    #: The mapper that has the attribute.
    mapper: Mapper[Any]
    #: Whether the name ends with a relation.
    ends_with_relation: bool

    @property
    def is_key(self) -> bool:
        """Whether it names the primary key: as `PK`, unless the model has its own "pk"."""
        own = PK in self.mapper.all_orm_descriptors
        return self.ends_with_relation or (self.attribute == PK and not own)


def walk(model: type[Any], name: str, *, operators: Collection[str] = ()) -> Path:
    """Follow a name from a model through its relations.

    Args:
        operators: words that may follow a relation, so that they are no unknown attribute.
    Raises:
        InvalidLookupError: the model, or a related one, has no attribute of that name.
    """
    mapper: Mapper[Any] = inspect(model)
    relations: list[str] = []
    rest = name
    while True:
        found, after = _split(mapper, rest)
        if not found:
            ends = bool(relations) and (not rest or rest.partition("__")[0] in operators)
            if not ends:
                raise unknown_name(mapper, rest, operators if relations else ())
            return Path(tuple(relations), PK, rest, mapper, True)
        proxy = _behind_proxy(mapper, found)
        if proxy:
            rest = "__".join(word for word in (*proxy, after) if word)
            continue
        relation = mapper.relationships.get(found)
        if relation is None:
            return Path(tuple(relations), found, after, mapper, False)
        relations.append(found)
        mapper, rest = relation.mapper, after


def _split(mapper: Mapper[Any], text: str) -> tuple[str, str]:
    """Split the longest known name off the front; ("", text) if there is none."""
    names = names_of(mapper)
    for end in range(min(len(text), max(map(len, names))), 0, -1):
        # Two underscores with nothing behind them lead nowhere.
        is_end = end == len(text) or (text.startswith("__", end) and end + 2 < len(text))
        if is_end and text[:end] in names:
            name = text[:end]
            synonym = mapper.synonyms.get(name)
            return (name if synonym is None else synonym.name), text[end + 2 :]
    return "", text


def names_of(mapper: Mapper[Any]) -> set[str]:
    """Return the names of a model that a lookup may begin with."""
    methods = HybridExtensionType.HYBRID_METHOD
    descriptors = mapper.all_orm_descriptors.items()
    return {PK, *(name for name, found in descriptors if found.extension_type is not methods)}


def unknown_name(
    mapper: Mapper[Any], name: str, others: Collection[str] = ()
) -> InvalidLookupError:
    """Return the error for a name that a model does not have."""
    known = [*names_of(mapper), *others]
    word = name.partition("__")[0]
    word = name if word in known else word
    return InvalidLookupError(
        f"{mapper.class_.__name__} has no attribute {word!r}.{did_you_mean(word, known)}"
    )


def _behind_proxy(mapper: Mapper[Any], name: str) -> tuple[str, str] | None:
    """Return what an association proxy stands for: a relation, and an attribute behind it."""
    descriptor = mapper.all_orm_descriptors.get(name)
    kind = getattr(descriptor, "extension_type", None)
    if kind is not AssociationProxyExtensionType.ASSOCIATION_PROXY:
        return None
    proxy = getattr(mapper.class_, name)
    return proxy.target_collection, proxy.value_attr


# -- columns ---------------------------------------------------------------------------------


def key_names(mapper: Mapper[Any]) -> list[str]:
    """Return the names of the attributes that make up the primary key."""
    return [mapper.get_property_by_column(column).key for column in mapper.primary_key]


def keys_of(entity: Any, mapper: Mapper[Any]) -> list[Any]:
    """Return the attributes that make up the primary key, of a model or an alias of it."""
    return [getattr(entity, name) for name in key_names(mapper)]


def key_of(entity: Any, mapper: Mapper[Any]) -> Any:
    """Return the primary key as SQL: a column, or a tuple of several."""
    columns = keys_of(entity, mapper)
    return columns[0] if len(columns) == 1 else tuple_(*columns)


def attributes_at(path: Path) -> tuple[str, ...]:
    """Return the attributes that a path ends at: several for a key or a composite of several."""
    if path.is_key:
        return tuple(key_names(path.mapper))
    composite = composite_of(path.mapper, path.attribute)
    return (path.attribute,) if composite is None else tuple(part.key for part in composite.props)


def composite_of(mapper: Mapper[Any], name: str) -> CompositeProperty[Any] | None:
    """Return the composite of a name, None if it is something else."""
    found = mapper.composites.get(name)
    return found if isinstance(found, CompositeProperty) else None


def parts_of(composite: CompositeProperty[Any], value: Any) -> tuple[Any, ...] | None:
    """Return what a value of a composite has for each of its columns, None if it is no such value.

    Source: `sqlalchemy.orm.composite`.
    """
    kind = composite.composite_class
    if isinstance(kind, type) and not isinstance(value, kind):
        return None
    if hasattr(value, "__composite_values__"):
        return tuple(value.__composite_values__())
    if not is_dataclass(value) or isinstance(value, type):
        return None
    return tuple(getattr(value, field.name) for field in fields(value) if field.init)


def column_of(entity: Any, mapper: Mapper[Any], name: str) -> Any:
    """Return an attribute of a model, or of an alias of it, as SQL.

    Raises:
        InvalidLookupError: it is no SQL: a hybrid that only works for a record.
    """
    if name == PK and PK not in mapper.all_orm_descriptors:
        (name,) = key_names(mapper)
    try:
        column = getattr(entity, name)
    except Exception as error:
        raise _no_sql(mapper, name) from error
    if not is_expression(column):
        raise _no_sql(mapper, name)
    return column


def _no_sql(mapper: Mapper[Any], name: str) -> InvalidLookupError:
    return InvalidLookupError(
        f"{mapper.class_.__name__}.{name} works for a record only, not in SQL: give the hybrid an "
        "expression (@name.inplace.expression), or name a column."
    )


def is_plain_column(mapper: Mapper[Any], name: str) -> bool:
    """Tell whether an attribute is a column, rather than an expression or a hybrid."""
    found = mapper.attrs.get(name)
    return isinstance(found, ColumnProperty)


def foreign_key(mapper: Mapper[Any], name: str) -> dict[str, str] | None:
    """Return the foreign key that a relation to one is made of, by attribute: {theirs: own}.

    None for any other relation, and where the join asks for more than that they are equal, or a
    row with the key may be of another class than the related one.
    """
    relation: RelationshipProperty[Any] = mapper.relationships[name]
    pairs = relation.local_remote_pairs or []
    remote = relation.mapper
    if relation.direction is not RelationshipDirection.MANYTOONE or remote.single:
        return None
    if {theirs for _, theirs in pairs} != set(remote.local_table.primary_key):
        return None
    if not _is_made_of(relation.primaryjoin, pairs):
        return None
    return {
        remote.get_property_by_column(theirs).key: mapper.get_property_by_column(own).key
        for own, theirs in pairs
    }


def _is_made_of(join: ColumnElement[bool], pairs: Iterable[tuple[Any, Any]]) -> bool:
    """Tell whether a join asks for these columns to be equal, and for nothing else."""
    equal = [own == theirs for own, theirs in pairs]
    is_and = isinstance(join, BooleanClauseList) and join.operator is and_op
    # Of classes in several tables SQLAlchemy may ask for the same twice.
    parts = join.get_children() if is_and else [join]
    return all(any(part.compare(each) for each in equal) for part in parts)
