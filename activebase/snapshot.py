"""What a record holds before its attributes are set, so that it can have it again."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
)
from sqlalchemy.orm.attributes import instance_state, set_committed_value

_MISSING: Any = object()


def state_of(record: Any) -> InstanceState[Any]:
    """Return SQLAlchemy's state of a record."""
    state: InstanceState[Any] = instance_state(record)
    return state


class Snapshot:
    """What a record holds: its columns, and the relations and others that are named to `keep()`.

    Whoever sets attributes must not let the session flush meanwhile.
    """

    def __init__(self, record: Any) -> None:
        state = state_of(record)
        self._record = record
        self._values = dict(state.dict)
        self._changed = set(state.committed_state)  # and not flushed yet
        self._waiting: set[object] | None = None
        self._undo: list[Callable[[], None]] = []

    def keep(self, name: str, given: Any) -> None:
        """Keep what an attribute that is no plain column is about, before it is set.

        Args:
            given: what it is about to be set to: records that leave others for this one.
        """
        mapper: Mapper[Any] = state_of(self._record).mapper
        synonym = mapper.synonyms.get(name)
        if synonym is not None:
            self.keep(synonym.name, given)
        elif name in mapper.relationships:
            self._keep_relation(name, mapper.relationships[name], given)
        elif name not in mapper.attrs:
            target = getattr(mapper.all_orm_descriptors.get(name), "target_collection", None)
            if target is not None:  # an association proxy
                self.keep(target, None)
            if target is None or not mapper.relationships[target].uselist:
                # A setter may set anything; what is no column, it has to set again itself.
                with suppress(Exception):  # it may be one that can only be set
                    old = getattr(self._record, name)
                    self._undo.append(partial(setattr, self._record, name, old))

    def put_back(self) -> None:
        """Have the record hold it again; raises nothing."""
        for undo in reversed(self._undo):
            with suppress(Exception):
                undo()
        state = state_of(self._record)
        for column in state.mapper.column_attrs:
            self._put_back_column(column.key)
        for composite in state.mapper.composites:
            state.dict.pop(composite.key, None)  # made of its columns when it is read

    def _put_back_column(self, name: str) -> None:
        state = state_of(self._record)
        old = self._values.get(name, _MISSING)
        if state.dict.get(name, _MISSING) is old:
            return
        if old is _MISSING:
            _unset(self._record, name)
            return
        attribute: Any = getattr(type(self._record), name)
        if name in self._changed or attribute.dispatch.set:  # who listens may know the value
            with suppress(Exception):  # a validator may refuse what the database holds
                setattr(self._record, name, old)
        if name not in self._changed:
            set_committed_value(self._record, name, old)

    # -- relations -------------------------------------------------------------------------

    def _keep_relation(self, name: str, relation: RelationshipProperty[Any], given: Any) -> None:
        state = state_of(self._record)
        self._keep_places(relation, given)
        if self._waiting is None:
            self._waiting = set(state.session.new) if state.session is not None else set()
        is_stored = relation.lazy in ("write_only", "dynamic")
        if name not in state.dict and _is_many_to_one(relation):
            self._undo.append(partial(self._read_again, name))
        elif is_stored:
            self._undo.append(self._expunge_new)
        else:
            old = getattr(self._record, name)  # which setting it would load as well
            self._undo.append(partial(self._relate, name, _copy(old) if relation.uselist else old))

    def _keep_places(self, relation: RelationshipProperty[Any], given: Any) -> None:
        """Keep where the given records are now: they go back once this one has let them go."""
        back: Any = relation.back_populates  # a name, or the attribute itself
        reverse = relation.mapper.relationships.get(getattr(back, "key", back))
        if reverse is None or reverse.uselist:
            return
        for other in _records(relation.mapper.class_, given):
            if reverse.key in state_of(other).dict or _is_many_to_one(reverse):
                place = Snapshot(other)
                place.keep(reverse.key, None)
                self._undo.append(place.put_back)

    def _relate(self, name: str, old: Any) -> None:
        try:
            setattr(self._record, name, old)
        finally:
            self._expunge_new()

    def _read_again(self, name: str) -> None:
        """Have a relation that was not loaded be read again, and its other side know of it."""
        self._relate(name, None)
        _unset(self._record, name)
        if state_of(self._record).persistent:
            old = getattr(self._record, name)
            self._relate(name, None)
            self._relate(name, old)

    def _expunge_new(self) -> None:
        """Let records go that have come into the session with the values."""
        session = state_of(self._record).session
        if session is not None:
            for new in session.new:
                if new not in (self._waiting or ()):
                    session.expunge(new)


def _is_many_to_one(relation: RelationshipProperty[Any]) -> bool:
    return relation.direction is RelationshipDirection.MANYTOONE


def _records(model: type[Any], given: Any) -> list[Any]:
    """Return the records in the value of a relation; what else is there, SQLAlchemy refuses."""
    several = given.values() if isinstance(given, dict) else given
    found = [*several] if isinstance(several, Collection) else [given]
    return [each for each in found if isinstance(each, model)]


def _copy(collection: Any) -> Any:
    kinds = (kind for kind in (dict, set) if isinstance(collection, kind))
    return next(kinds, list)(collection)


def _unset(record: Any, name: str) -> None:
    state = state_of(record)
    if name not in state.dict:
        return
    if state.persistent and state.session is not None:
        state.session.expire(record, [name])
    else:
        delattr(record, name)
