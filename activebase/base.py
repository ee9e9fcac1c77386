"""MyBase: the Active Record verbs. They flush; the boundary commits."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from inspect import Parameter, getattr_static, signature
from typing import Any, ClassVar, Self
from weakref import WeakKeyDictionary

from sqlalchemy import MetaData, inspect
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    InstanceState,
    Mapper,
    RelationshipProperty,
    Session,
    scoped_session,
)
from sqlalchemy.orm.attributes import set_committed_value

from .errors import (
    InvalidLookupError,
    NotFoundError,
    ProtectedAttributeError,
    UnknownAttributeError,
    did_you_mean,
    models,
)
from .query import QueryProperty
from .session import flush_for, registry_of
from .session import session as global_session

#: Names every constraint, so that migrations and error messages can speak of it.
NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class MyBase:
    """Mix into a declarative base: ``class Base(MyBase, DeclarativeBase)``.

    ``save()``, ``update()`` and ``delete()`` flush the session and never commit. When one fails it
    raises, and the session can be used on: outside a savepoint the transaction has been rolled
    back, inside one that is left to the savepoint.
    """

    #: The scoped session of the models; a base for another database brings its own.
    session: ClassVar[scoped_session[Any]] = global_session
    #: All records of the model, as a `Select` that can run itself.
    query: ClassVar[QueryProperty] = QueryProperty()
    #: Names that `create()` and `update()` refuse.
    __protected__: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        models.add(cls)
        if isinstance(own := vars(cls).get("session"), scoped_session):
            registry_of(own)  # so that its sessions are guarded before the first boundary, too

    # -- writing ---------------------------------------------------------------------------

    @classmethod
    def create(cls, **values: Any) -> Self:
        """Make a record and save it; takes what the constructor takes.

        Effect: flush.
        Raises:
            UnknownAttributeError, ProtectedAttributeError: before anything is made.
        """
        _check_names(cls, values, also=_constructor_names(cls))
        return cls(**values).save()

    def save(self) -> Self:
        """Add the record to the session and flush; returns the record.

        Effect: flush: its key and its defaults are set, nothing is committed.
        """
        session = _session_of(type(self))
        session.add(self)
        flush_for(session, self)
        return self

    def update(
        self,
        data: Mapping[str, Any] | None = None,
        /,
        *,
        only: Collection[str] | None = None,
        **values: Any,
    ) -> Self:
        """Set attributes and flush; returns the record.

        Args:
            data: untrusted values, as from a form; needs ``only``.
            only: the names that are taken from ``data``; others are ignored.
            **values: attribute values.
        Effect: flush; nothing is changed when one of the values is refused.
        Raises:
            UnknownAttributeError, ProtectedAttributeError: before anything is set.
            TypeError: ``data`` without ``only``, or ``only`` without ``data``.
        """
        if (data is None) != (only is None):
            raise TypeError(
                "update() takes a mapping together with only={...}, the names it may set. For "
                "values of your own write update(name=value)."
            )
        if data is not None and only is not None:
            values = {name: data[name] for name in only if name in data} | values
        _check_names(type(self), values)
        _assign(self, values)
        return self.save()

    def delete(self) -> None:
        """Delete the record and flush. Effect: flush."""
        session = _session_of(type(self))
        session.delete(self)
        flush_for(session, self)

    # -- reading ---------------------------------------------------------------------------

    @classmethod
    def get(cls, pk: Any) -> Self | None:
        """Return the record with this primary key, or None.

        Args:
            pk: the value; a tuple, or a dict by attribute, for a composite key.
        Effect: none if the session has the record, else SELECT.
        """
        return _session_of(cls).get(cls, pk)

    @classmethod
    def get_or_404(cls, pk: Any) -> Self:
        """Return the record with this primary key. Raises: NotFoundError. Effect: see `get`."""
        record = cls.get(pk)
        if record is None:
            raise NotFoundError(
                f"There is no {cls.__name__} with this primary key.", model=cls, criteria=pk
            )
        return record

    @classmethod
    def get_by(cls, **values: Any) -> Self | None:
        """Return the first record with these attribute values, or None. Effect: SELECT.

        Raises:
            InvalidLookupError: the model has no attribute of that name.
        """
        known = inspect(cls).all_orm_descriptors.keys()
        for name in values:
            if name not in known:
                raise InvalidLookupError(
                    f"{cls.__name__} has no attribute {name!r}.{did_you_mean(name, known)}"
                )
        return cls.query.filter_by(**values).first()

    def refresh(self, *names: str, lock: bool = False) -> Self:
        """Read the record, or the named attributes, again; returns the record.

        Args:
            lock: hold the row FOR UPDATE until the unit ends, where the database can.
        Effect: flush, SELECT.
        Raises:
            NotFoundError: the row is gone.
        """
        session = _session_of(type(self))
        session.flush()
        try:
            session.refresh(self, names or None, with_for_update=lock or None)
        except InvalidRequestError as error:
            if self not in session:
                raise  # the record was never saved, or belongs to a unit that has ended
            raise NotFoundError(
                f"{self!r} can't be read again: its row is gone.", model=type(self)
            ) from error
        return self

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """Return what was set and not yet flushed: ``{name: (old, new)}``. Effect: none.

        The old value is None where it had not been read. Collections are given as lists.
        """
        changed: dict[str, tuple[Any, Any]] = {}
        for attribute in _state(self).attrs:
            history = attribute.history
            if not history.has_changes():
                continue
            removed, kept, added = (
                list(part or ()) for part in (history.deleted, history.unchanged, history.added)
            )
            old: Any = removed[0] if removed else None
            new: Any = added[0] if added else None
            if _is_collection(self, attribute.key):
                old, new = kept + removed, kept + added
            changed[attribute.key] = (old, new)
        return changed

    def to_dict(
        self,
        *,
        only: Collection[str] | None = None,
        exclude: Collection[str] = (),
        include: Collection[str] = (),
    ) -> dict[str, Any]:
        """Return the record as a dict of Python values, by attribute name.

        Args:
            only: these names; default: all columns that are not deferred.
            exclude: names to leave out.
            include: further names: relations (as dicts), hybrids, properties.
        Effect: SELECT for what is not loaded.
        Raises:
            UnknownAttributeError: the model has no such name.
        """
        mapper = _state(self).mapper
        columns = [prop.key for prop in mapper.column_attrs if not prop.deferred]
        names = [*(columns if only is None else only), *include]
        for name in (*names, *exclude):
            static = getattr_static(type(self), name, callable)
            if callable(static) or isinstance(static, classmethod | staticmethod):
                raise _unknown(type(self), name, [*mapper.all_orm_descriptors.keys()])
        return {name: _plain(getattr(self, name)) for name in names if name not in exclude}

    def __repr__(self) -> str:
        # Identity only, as it is known without SQL: a column might hold a secret.
        state = _state(self)
        name = type(self).__name__
        if state.identity is None:
            return f"<{name} ({'pending' if state.pending else 'transient'})>"
        keys = [state.mapper.get_property_by_column(c).key for c in state.mapper.primary_key]
        pairs = " ".join(f"{k}={v!r}" for k, v in zip(keys, state.identity, strict=True))
        return f"<{name} {pairs}>"


class MyModel(MyBase, DeclarativeBase):
    """The ready-made base: `MyBase` with a naming convention for constraints."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


# -- sessions --------------------------------------------------------------------------------


def _session_of(cls: type[MyBase]) -> Session:
    scoped: object = cls.session
    if not isinstance(scoped, scoped_session):  # but a column of that name
        scoped = global_session
    made: Session = scoped.registry()
    return made


# -- attributes ------------------------------------------------------------------------------


def _state(record: MyBase) -> InstanceState[Any]:
    state: InstanceState[Any] = inspect(record)
    return state


def _once_per_class(function: Callable[[type], frozenset[str]]) -> Callable[[type], frozenset[str]]:
    """Keep what a function tells of a class, as long as the class lives."""
    known: WeakKeyDictionary[type, frozenset[str]] = WeakKeyDictionary()

    def look_up(cls: type) -> frozenset[str]:
        if cls not in known:
            known[cls] = function(cls)
        return known[cls]

    return look_up


@_once_per_class
def _settable(cls: type) -> frozenset[str]:
    """Return the names that can be set: mapped attributes, hybrids and properties with a setter."""
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
    return frozenset(names)


@_once_per_class
def _constructor_names(cls: type) -> frozenset[str]:
    """Return what the model's own constructor, as of a dataclass, takes beside attributes."""
    named = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
    return frozenset(p.name for p in signature(cls).parameters.values() if p.kind in named)


def _check_names(cls: type[MyBase], values: Collection[str], *, also: Collection[str] = ()) -> None:
    settable = _settable(cls)
    for name in values:
        if name in cls.__protected__:
            raise ProtectedAttributeError(
                f"{cls.__name__}.{name} is protected: create() and update() do not set it. Assign "
                "it (record.name = value) where the code means to."
            )
        if name not in settable and name not in also:
            raise _unknown(cls, name, settable)


def _unknown(cls: type, name: str, known: Collection[str]) -> UnknownAttributeError:
    has_it = getattr_static(cls, name, None) is not None
    what = "can't be set: it has no setter" if has_it else "does not exist"
    return UnknownAttributeError(f"{cls.__name__}.{name} {what}.{did_you_mean(name, known)}")


def _assign(record: MyBase, values: Mapping[str, Any]) -> None:
    """Set all values or, when one is refused, none."""
    undo: list[Callable[[], None]] = []
    try:
        for name, value in values.items():
            undo.append(_putting_back(record, name))
            setattr(record, name, value)
    except BaseException:
        for put_back in reversed(undo):
            put_back()
        raise


def _putting_back(record: MyBase, name: str) -> Callable[[], None]:
    """Return a function that gives the attribute its present value again."""
    state = _state(record)
    prop = state.mapper.attrs.get(name)
    if prop is None:
        return functools.partial(setattr, record, name, getattr(record, name))
    if name not in state.dict:
        return functools.partial(_unset, record, name)
    old = state.dict[name]
    if isinstance(prop, RelationshipProperty):
        waiting = set(state.session.new) if state.session is not None else set()
        return functools.partial(_relate, record, name, list(old) if prop.uselist else old, waiting)
    if state.attrs[name].history.has_changes():
        return functools.partial(setattr, record, name, old)
    # Not setattr: a validator may refuse what the database holds.
    return functools.partial(set_committed_value, record, name, old)


def _relate(record: MyBase, name: str, old: Any, waiting: Collection[object]) -> None:
    """Set a relation again; records that came into the session with the other value go out."""
    setattr(record, name, old)
    session = _state(record).session
    if session is not None:
        for new in session.new:
            if new not in waiting:
                session.expunge(new)


def _unset(record: MyBase, name: str) -> None:
    state = _state(record)
    if name not in state.dict:
        return
    if state.persistent and state.session is not None:
        state.session.expire(record, [name])
    else:
        delattr(record, name)


def _is_collection(record: MyBase, name: str) -> bool:
    prop = _state(record).mapper.attrs.get(name)
    return isinstance(prop, RelationshipProperty) and bool(prop.uselist)


def _plain(value: Any) -> Any:
    if isinstance(value, MyBase):
        return value.to_dict()
    if isinstance(value, list | set | tuple):
        return [_plain(item) for item in value]
    return value
