"""What of a session's records is not flushed yet; asked without any SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import flag_modified, set_committed_value


def has_changes(session: Session) -> bool:
    """Tell whether a flush would write anything."""
    return bool(session.new or session.deleted or any(map(is_changed, session.dirty)))


def is_changed(record: object) -> bool:
    """Tell whether an attribute differs from what was read, without any SQL.

    `Session.is_modified` would load the former value of a relation that was set.
    """
    state: InstanceState[Any] = inspect(record)
    touched = set(state.mapper.attrs.keys()) - state.unmodified
    relations = state.mapper.relationships.keys()
    return any(key in relations or state.attrs[key].history.has_changes() for key in touched)


def take_for_flushed(session: Session, states: Iterable[InstanceState[Any]]) -> None:
    """Forget that records were changed, in all of their attributes.

    Without it, the next flush looks at each once more, and that takes half as long as to write it.
    """
    # There is no public way: `set_committed_value()` leaves the record marked as changed.
    pairs = ((state, state.dict) for state in states)
    InstanceState._commit_all_states(pairs, session.identity_map)


def count_others(session: Session, record: object) -> int:
    """Count the unflushed records that do not belong to the one that was saved."""
    state: InstanceState[Any] = inspect(record)
    own = {id(record), *(id(row[0]) for row in state.mapper.cascade_iterator("save-update", state))}
    changed = filter(is_changed, session.dirty)
    return sum(id(other) not in own for other in (*session.new, *session.deleted, *changed))


class Unflushed:
    """What of a session is not flushed yet, to be put back after a rollback."""

    def __init__(self, session: Session) -> None:
        self._new = list(session.new)
        self._deleted = list(session.deleted)
        self._columns: list[tuple[object, dict[str, Any]]] = []
        #: Records that can't be put back: relations of theirs have changed.
        self.lost = 0
        for record in filter(is_changed, session.dirty):
            state: InstanceState[Any] = inspect(record)
            touched = set(state.mapper.attrs.keys()) - state.unmodified
            if touched.isdisjoint(state.mapper.relationships.keys()):
                columns = touched.intersection(state.mapper.column_attrs.keys(), state.dict)
                self._columns.append((record, {name: state.dict[name] for name in columns}))
            else:
                self.lost += 1

    def put_back(self, session: Session) -> None:
        """Give it back to the session. Effect: SELECT for the cascades of what is to be deleted."""
        session.add_all(self._new)
        for record, values in self._columns:
            for name, value in values.items():
                set_committed_value(record, name, value)
                flag_modified(record, name)
        for record in self._deleted:
            session.delete(record)
