"""What of a session's records is not flushed yet; asked without any SQL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import InstanceState, Session


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
