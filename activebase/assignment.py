"""Setting attributes by name: which may be set, and all or none of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date
from inspect import Parameter, getattr_static, signature
from typing import Any
from uuid import UUID

from sqlalchemy import inspect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Mapper, RelationshipProperty, Session
from sqlalchemy.orm.attributes import InstrumentedAttribute

from .errors import ProtectedAttributeError, UnknownAttributeError, did_you_mean
from .kept import kept_by
from .snapshot import Snapshot, state_of


def _settable(cls: type) -> Collection[str]:
    """Return the names that can be set: mapped attributes, hybrids and properties with a setter."""
    kept = kept_by(cls, "settable")
    if not kept:
        kept |= dict.fromkeys(_find_settable(cls))
    return kept


def _find_settable(cls: type) -> set[str]:
    from sqlalchemy.ext.hybrid import hybrid_property  # not for `import activebase`

    mapper: Mapper[Any] = inspect(cls)
    names = set(mapper.attrs.keys())
    for name, descriptor in mapper.all_orm_descriptors.items():
        if not isinstance(descriptor, hybrid_property) or descriptor.fset is not None:
            names.add(name)
    for owner in cls.__mro__:
        names |= {
            name
            for name, value in vars(owner).items()
            if isinstance(value, property) and value.fset is not None
        }
    return names


def constructor_names(cls: type) -> Collection[str]:
    """Return what the model's own constructor, as of a dataclass, takes beside attributes."""
    kept = kept_by(cls, "constructor")
    if "names" not in kept:
        named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
        parameters = signature(cls).parameters.values()
        kept["names"] = frozenset(p.name for p in parameters if p.kind in named)
    names: frozenset[str] = kept["names"]
    return names


def check_names(cls: type[Any], values: Collection[str], *, also: Collection[str] = ()) -> None:
    """Raise for a name that `create()` or `update()` does not set."""
    settable = _settable(cls)
    for name in values:
        if name in cls.__protected__:
            raise ProtectedAttributeError(
                f"{cls.__name__}.{name} is protected: create() and update() do not set it. Assign "
                "it (record.name = value) where the code means to."
            )
        if name not in settable and name not in also:
            raise unknown_attribute(cls, name, settable)


def unknown_attribute(
    cls: type, name: str, known: Collection[str], why: str = "can't be set: it has no setter"
) -> UnknownAttributeError:
    """Return the error for a name that a model does not have, or not for this: ``why``."""
    has_it = getattr_static(cls, name, None) is not None
    what = why if has_it else "does not exist"
    return UnknownAttributeError(f"{cls.__name__}.{name} {what}.{did_you_mean(name, known)}")


#: Types whose equal values are the same for everyone: 0.0 equals -0.0, and is another one.
_SAME_IF_EQUAL = frozenset({str, int, bool, bytes, date, UUID, type(None)})


def assign(record: Any, values: Mapping[str, Any]) -> None:
    """Set all values or, when one is refused, none.

    A column that has the value is left alone, unless someone listens to its being set: what
    SQLAlchemy notes of a change that is none, and forgets at the flush, is half of the cost.
    """
    state = state_of(record)
    columns, present, session = _columns(type(record)), state.dict, state.session
    before: Snapshot | None = None
    autoflush = session is not None and session.autoflush
    if session is not None:
        session.autoflush = False  # what is half set must not be sent
    try:
        for name, value in values.items():
            column = columns.get(name)
            if (
                column is not None
                and name in present
                and _is_same(present[name], value)
                and not column.dispatch.set
            ):
                continue
            if before is None:
                before = Snapshot(record)
            if column is None:
                before.keep(name, value)
            setattr(record, name, value)
    except BaseException:
        if before is not None:
            before.put_back()
        raise
    finally:
        if session is not None:
            session.autoflush = autoflush


def check_can_join(record: Any, session: Session) -> None:
    """Refuse a record that a session would not take, while nothing is set yet.

    Raises:
        InvalidRequestError: as `Session.add`.
    """
    state = state_of(record)
    if state.session not in (None, session):
        raise InvalidRequestError(
            f"{record!r} is already attached to another session, whose unit would write what is "
            "set here. Read it again in this one: get()."
        )
    if state.key is not None and session.identity_map.get(state.key) not in (None, record):
        raise InvalidRequestError(
            f"{record!r} was read before, and another instance of it is already present in this "
            "session. Update that one, or merge() this one."
        )


def _is_same(old: Any, new: Any) -> bool:
    return type(old) is type(new) and type(new) in _SAME_IF_EQUAL and bool(old == new)


def _columns(cls: type) -> dict[str, InstrumentedAttribute[Any]]:
    """Return the attributes that set a column and nothing else."""
    kept = kept_by(cls, "columns")
    if not kept and getattr(cls, "__setattr__") is object.__setattr__:  # noqa: B009  # mypy
        mapper: Mapper[Any] = inspect(cls)
        found = {prop.key: getattr(cls, prop.key) for prop in mapper.column_attrs}
        kept |= {n: each for n, each in found.items() if isinstance(each, InstrumentedAttribute)}
    return kept


def has_related(record: Any) -> bool:
    """Tell whether records that are saved with this one are loaded, so that some may be new."""
    kept = kept_by(type(record), "saved with")
    if "names" not in kept:
        mapper: Mapper[Any] = inspect(type(record))
        relations = mapper.relationships
        kept["names"] = {each.key for each in relations if each.cascade.save_update}
    return not kept["names"].isdisjoint(record.__dict__)


def of_one_version(record: Any) -> list[str]:
    """Return the columns that a version counter speaks for: read one, and all must be read."""
    state = state_of(record)
    version = state.mapper.version_id_col
    if version is None:
        return []
    loaded = [prop.key for prop in state.mapper.column_attrs if prop.key in state.dict]
    return [*loaded, state.mapper.get_property_by_column(version).key]


def is_collection(record: Any, name: str) -> bool:
    """Tell whether an attribute is a relation to many."""
    prop = state_of(record).mapper.attrs.get(name)
    return isinstance(prop, RelationshipProperty) and bool(prop.uselist)
