"""What a record holds before its attributes are set, so that it can have it again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    InstanceState,
    Mapper,
    RelationshipDirection,
    RelationshipProperty,
)
from sqlalchemy.orm.attributes import flag_modified, instance_state, set_committed_value
from sqlalchemy.orm.exc import DetachedInstanceError, UnmappedColumnError

_MISSING: Any = object()


def state_of(record: Any) -> InstanceState[Any]:
    """Return SQLAlchemy's state of a record."""
    state: InstanceState[Any] = instance_state(record)
    return state


class Snapshot:
    """What a record holds: its columns, what else is in it, and the relations given to `keep()`.

    Columns are put back behind SQLAlchemy's events, for validators may refuse what the database
    holds, or change it once more; relations through them, so that the other side hears of it.
    Whoever sets attributes must not let the session flush meanwhile.
    """

    def __init__(self, record: Any) -> None:
        state = state_of(record)
        self._record = record
        self._values = dict(state.dict)
        self._unflushed = dict(state.committed_state)  # former values by name
        self._belonged_to = dict(state.parents)  # by which SQLAlchemy knows orphans
        self._waiting: set[object] | None = None
        self._undo: list[Callable[[], None]] = []
        self._untouched: list[tuple[InstanceState[Any], str]] = []  # relations without a change

    def keep(self, name: str, given: Any) -> None:
        """Keep what an attribute that is no plain column is about, before it is set.

        Args:
            given: what it is about to be set to: records that leave others for this one.
        """
        state = state_of(self._record)
        mapper: Mapper[Any] = state.mapper
        if self._waiting is None:
            self._waiting = set(state.session.new) if state.session is not None else set()
        synonym = mapper.synonyms.get(name)
        if synonym is not None:
            self.keep(synonym.name, given)
        elif name in mapper.relationships:
            self._keep_relation(mapper.relationships[name], given)
        elif name not in mapper.attrs:
            target = getattr(mapper.all_orm_descriptors.get(name), "target_collection", None)
            if target is not None:  # an association proxy
                self._keep_target(mapper.relationships[target])
            else:
                self._keep_loaded(mapper)

    def put_back(self) -> None:
        """Have the record hold it again; raises nothing of its own."""
        state = state_of(self._record)
        try:
            for undo in reversed(self._undo):
                with suppress(Exception):
                    undo()
            if self._waiting is not None and state.session is not None:
                for new in state.session.new:
                    if new not in self._waiting:  # it came with the values
                        state.session.expunge(new)
            for touched, name in self._untouched:  # to have the same again is no change
                touched.committed_state.pop(name, None)
            state.parents = self._belonged_to
        finally:
            columns = {column.key for column in state.mapper.column_attrs}
            for name in columns:
                self._put_back_column(name)
            for composite in state.mapper.composites:
                state.dict.pop(composite.key, None)  # made of its columns when it is read
            self._put_back_others(set(state.mapper.attrs.keys()))

    # -- columns ---------------------------------------------------------------------------

    def _put_back_column(self, name: str) -> None:
        state = state_of(self._record)
        old, now = self._values.get(name, _MISSING), state.dict.get(name, _MISSING)
        if now is old or now is _MISSING:
            return
        if old is _MISSING:
            _unset(self._record, name)
            return
        was_flushed = name not in state.committed_state  # by someone, while it was set
        set_committed_value(self._record, name, old)
        if was_flushed:
            flag_modified(self._record, name)
        elif name in self._unflushed:
            state.committed_state[name] = self._unflushed[name]
        if is_mutable(old):
            old._parents[state] = name  # as setting it does; there is no other way

    def _put_back_others(self, mapped: set[str]) -> None:
        """Put back what setters have left in the record beside its mapped attributes."""
        state = state_of(self._record)
        for name in (self._values.keys() | state.dict.keys()) - mapped:
            if name not in self._values:
                del state.dict[name]
            else:
                state.dict[name] = self._values[name]

    # -- relations -------------------------------------------------------------------------

    def _keep_relation(self, relation: RelationshipProperty[Any], given: Any) -> None:
        name, state = relation.key, state_of(self._record)
        if relation.lazy == "write_only":
            return  # it can only be added to
        self._note_untouched(self._record, name)
        if relation.lazy == "dynamic":  # its records know of it, and itself nothing but changes
            present = list(getattr(self._record, name)) if state.persistent else []
            self._keep_places(relation, [*_records(relation.mapper.class_, given), *present])
            return
        self._keep_places(relation, given)
        if name not in state.dict and relation.direction is RelationshipDirection.MANYTOONE:
            self._undo.append(partial(self._read_again, relation))
        else:
            try:
                old = getattr(self._record, name)  # which setting it would load as well
            except (InvalidRequestError, DetachedInstanceError):  # as if it must not be loaded
                self._undo.append(partial(self._read_again, relation))
                return
            reverse = _reverse(relation)
            if reverse is not None:
                for each in _records(relation.mapper.class_, old):
                    self._note_untouched(each, reverse.key)
            old = _copy(old) if relation.uselist else old
            self._undo.append(partial(setattr, self._record, name, old))

    def _keep_places(self, relation: RelationshipProperty[Any], given: Any) -> None:
        """Keep what the other side of a relation holds now: who leaves whom, and in which order."""
        reverse = _reverse(relation)
        if reverse is None:
            return
        others = _records(relation.mapper.class_, given)
        if reverse.uselist:
            others += _records(relation.mapper.class_, _at_hand(self._record, relation))
        for other in others:
            self._note_untouched(other, reverse.key)
            loaded = state_of(other).dict.get(reverse.key, _MISSING)
            if reverse.uselist and loaded is not _MISSING:
                self._undo.append(partial(setattr, other, reverse.key, _copy(loaded)))
            elif not reverse.uselist:
                place = Snapshot(other)
                place._keep_places(reverse, None)
                if loaded is not _MISSING:
                    place._undo.append(partial(setattr, other, reverse.key, loaded))
                elif reverse.direction is RelationshipDirection.MANYTOONE:
                    place._undo.append(partial(place._read_again, reverse))
                self._undo.append(place.put_back)

    def _note_untouched(self, record: Any, name: str) -> None:
        state = state_of(record)
        if name not in state.committed_state:
            self._untouched.append((state, name))

    def _keep_target(self, relation: RelationshipProperty[Any]) -> None:
        """Keep what an association proxy sets: a relation, or an attribute of what it leads to."""
        self._keep_relation(relation, None)
        target = None if relation.uselist else state_of(self._record).dict.get(relation.key)
        if target is not None:
            self._undo.append(Snapshot(target).put_back)

    def _keep_loaded(self, mapper: Mapper[Any]) -> None:
        """Keep all relations: a setter may set any. None is loaded for it."""
        for relation in mapper.relationships:
            if relation.key in state_of(self._record).dict:
                self._keep_relation(relation, None)
            elif relation.direction is RelationshipDirection.MANYTOONE:
                self._undo.append(partial(self._read_again, relation))
            else:
                self._undo.append(partial(self._set_former, relation))

    def _read_again(self, relation: RelationshipProperty[Any]) -> None:
        """Have a relation that was not loaded be read again when it is asked for."""
        name = relation.key
        if name in state_of(self._record).dict:
            setattr(self._record, name, None)  # so that the record that it was set to hears of it
            _unset(self._record, name)
            old = _at_hand(self._record, relation)
            if old is not None:  # and this one, which has been left
                setattr(self._record, name, None)
                setattr(self._record, name, old)

    def _set_former(self, relation: RelationshipProperty[Any]) -> None:
        """Give back what setting a relation has loaded, and have it be read again."""
        name, state = relation.key, state_of(self._record)
        if name in state.dict:
            history = state.attrs[name].history
            former = [*(history.unchanged or ()), *(history.deleted or ())]
            with suppress(Exception):  # dicts are read again only
                setattr(self._record, name, former if relation.uselist else (former or [None])[0])
            _unset(self._record, name)


def _reverse(relation: RelationshipProperty[Any]) -> RelationshipProperty[Any] | None:
    """Return the other side of a relation, None if it has none."""
    back: Any = relation.back_populates  # a name, or the attribute itself
    return relation.mapper.relationships.get(getattr(back, "key", back))


def _records(model: type[Any], given: Any) -> list[Any]:
    """Return the records in the value of a relation; what else is there, SQLAlchemy refuses."""
    several = given.values() if isinstance(given, dict) else given
    found = [*several] if isinstance(several, Collection) else [given]
    return [each for each in found if isinstance(each, model)]


def _at_hand(record: Any, relation: RelationshipProperty[Any]) -> Any:
    """Return the value of a relation without any SQL; None if there is none."""
    state, keys = state_of(record), relation.mapper.primary_key
    if relation.key in state.dict:
        return state.dict[relation.key]
    is_by_key = relation.direction is RelationshipDirection.MANYTOONE
    own = {theirs: mine for mine, theirs in relation.local_remote_pairs or ()}
    if state.session is None or not is_by_key or own.keys() != set(keys):
        return None
    with suppress(UnmappedColumnError, KeyError):
        names = [state.mapper.get_property_by_column(own[key]).key for key in keys]
        key = relation.mapper.identity_key_from_primary_key(tuple(state.dict[n] for n in names))
        return state.session.identity_map.get(key)
    return None


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


def is_mutable(value: Any) -> bool:
    """Tell whether a value tells its record when it is changed in place."""
    mutable = sys.modules.get("sqlalchemy.ext.mutable")  # not loaded, there is none
    return mutable is not None and isinstance(value, mutable.MutableBase)
