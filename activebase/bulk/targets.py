"""What `bulk_update()` is to update: records and dicts, and their place in the session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ClauseElement, Column, SQLColumnExpression
from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import flag_dirty, instance_state, set_committed_value

from activebase.changes import take_for_flushed
from activebase.errors import StaleRecordError
from activebase.snapshot import is_mutable

from .defaults import NeedsContext, RowContext
from .layout import Layout, in_python

Values = dict[Column[Any], list[Any]]


class Targets:
    """Records and dicts with new values of some columns, the fields."""

    def __init__(self, session: Session, layout: Layout, fields: Collection[str]) -> None:
        self.session = session
        self.layout = layout
        self.version = layout.version
        columns = layout.columns_named(fields, "fields")
        if not columns:
            raise ValueError("fields is empty: name the attributes that bulk_update() writes.")
        for column in columns:
            if column in layout.key or column is self.version:
                raise ValueError(
                    f"bulk_update() finds rows by {layout.model.__name__}.{layout.names[column]} "
                    "and can't set it. Leave it out of fields."
                )
        self.fields = {layout.names[column]: column for column in columns}
        self._finders = [layout.names[column] for column in layout.key]
        if self.version is not None:
            self._finders.append(layout.names[self.version])
        self._given: list[Any] = []
        self._states: list[InstanceState[Any] | None] = []  # None for a dict
        self._keys: list[tuple[Any, ...]] = []
        self._is_in_session = True  # all of it
        self._was_flushed = False

    def __len__(self) -> int:
        return len(self._given)

    # -- before any SQL --------------------------------------------------------------------

    def add(self, records: Iterable[Any]) -> None:
        """Take what is to be updated. Raises: see `MyBase.bulk_update`."""
        checked: set[tuple[Any, ...]] = set()
        for place, given in enumerate(records):
            if isinstance(given, self.layout.model):
                self._states.append(self._checked_state(given, place))
                self._given.append(given)
            elif isinstance(given, Mapping):
                names = tuple(given)
                if names not in checked:
                    self._check_names(names, place)
                    checked.add(names)
                self._check_key(given, place)
                self._states.append(None)
                self._given.append(given if isinstance(given, dict) else dict(given))
                self._is_in_session = False
            else:
                raise TypeError(
                    f"bulk_update() takes records of {self.layout.model.__name__} and dicts; "
                    f"records[{place}] is of type {type(given).__name__}."
                )
        self._values = {name: self._values_of(name) for name in self.fields}
        self._check_values()

    def _checked_state(self, record: Any, place: int) -> InstanceState[Any]:
        state: InstanceState[Any] = instance_state(record)
        if record in self.session:
            return state
        if not state.detached and state.session not in (None, self.session):
            raise ValueError(
                f"records[{place}] belongs to another session. Give a dict of its key and the "
                "fields."
            )
        if not state.detached or state.was_deleted:
            raise ValueError(
                f"bulk_update() takes saved records; records[{place}] has no row. Save it, or "
                "leave it out."
            )
        self._is_in_session = False
        return state

    def _check_names(self, names: tuple[str, ...], place: int) -> None:
        others = [name for name in names if name not in self._finders]
        self.layout.check_names(others, "bulk_update")
        missing = [name for name in (*self._finders, *self.fields) if name not in names]
        if missing:
            raise ValueError(
                f"records[{place}] does not give {', '.join(missing)}: a dict for bulk_update() "
                "has the primary key, the version if there is one, and every field."
            )

    def _check_key(self, given: Mapping[str, Any], place: int) -> None:
        for name in self._finders:
            if given[name] is None:
                raise ValueError(f"records[{place}] can't be found: its {name} is None.")

    def _check_values(self) -> None:
        for name, values in self._values.items():
            for kind in set(map(type, values)):
                if issubclass(kind, ClauseElement | SQLColumnExpression):
                    raise ValueError(
                        f"{self.layout.model.__name__}.{name} holds an SQL expression, and bulk "
                        "statements take values only. Write query.filter(...).update(...)."
                    )

    def _values_of(self, name: str) -> list[Any]:
        return [
            getattr(given, name) if state is not None else given[name]
            for given, state in zip(self._given, self._states, strict=True)
        ]

    # -- the session, before ---------------------------------------------------------------

    def settle(self) -> bool:
        """Take the fields of records for flushed; tells whether anything else has to be flushed.

        Else the flush that comes first would write the fields, record by record.
        """
        settled: set[int] = set()
        clean: list[InstanceState[Any]] = []
        others = bool(self.session.new or self.session.deleted)
        in_savepoint = self.session.in_nested_transaction()
        fields = self.fields.keys()
        for given, state in zip(self._given, self._states, strict=True):
            if state is None or state.key is None:
                continue  # a dict; or pending, so that its INSERT has all of it
            changed = state.committed_state.keys()
            if state.modified and not in_savepoint and changed <= fields:
                clean.append(state)
            elif state.modified:
                others = others or not changed <= fields
                for name in changed & fields:
                    set_committed_value(given, name, vars(given)[name])
            elif in_savepoint and given in self.session:
                flag_dirty(given)  # so that it is read again if the savepoint is undone
            settled.add(id(given))
        take_for_flushed(self.session, clean)
        self._was_flushed = others or any(id(one) not in settled for one in self.session.dirty)
        return self._was_flushed

    # -- values ----------------------------------------------------------------------------

    def collect(self) -> tuple[Values, Values]:
        """Return what rows are found by, and what is set; the last of a key wins."""
        self._find_keys()
        values: Values = {column: self._values[name] for name, column in self.fields.items()}
        self._add_onupdates(values)
        found: Values = {
            column: [key[number] for key in self._keys]
            for number, column in enumerate(self.layout.key)
        }
        if self.version is not None:
            versions = found[self.version] = self._values_of(self._finders[-1])
            if callable(following := self.layout.mapper.version_id_generator):
                values[self.version] = list(map(following, versions))
        return found, values

    def _find_keys(self) -> None:
        self._keys = [
            tuple(state.identity or ()) if state is not None else self._key_of(given)
            for given, state in zip(self._given, self._states, strict=True)
        ]
        last = {key: number for number, key in enumerate(self._keys)}
        if len(last) < len(self._keys):
            self._given = [self._given[number] for number in last.values()]
            self._states = [self._states[number] for number in last.values()]
            self._keys = list(last)
        elif not self._was_flushed:
            return
        self._values = {name: self._values_of(name) for name in self.fields}

    def _key_of(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(given[self.layout.names[column]] for column in self.layout.key)

    def _add_onupdates(self, values: Values) -> None:
        context = RowContext(dict(values))
        for table in {column.table for column in values}:
            for column in table.columns:
                onupdate = in_python(column.onupdate)
                if onupdate is None or column in values or column is self.version:
                    continue
                try:
                    values[column] = [onupdate(context.at(n)) for n in range(len(self))]
                except NeedsContext:
                    continue  # SQLAlchemy finds it, row by row

    # -- the session, afterwards -----------------------------------------------------------

    def check(self, matched: int) -> None:
        """Refuse that a row of a model with versions did not match. Raises: StaleRecordError."""
        if self.version is not None and matched != len(self):
            raise StaleRecordError(
                f"{len(self) - matched} records of {self.layout.model.__name__} were changed or "
                "deleted by someone else since they were read, so the write was refused. Read "
                "them again, then repeat the change."
            )

    def tell(self, values: Values) -> None:
        """Give the records, and those that the session has for dicts, what was written."""
        known = {self.layout.names[c]: new for c, new in values.items() if c in self.layout.names}
        others = {name: new for name, new in known.items() if name not in self.fields}
        listened = [name for name in known if getattr(self.layout.model, name).dispatch.set]
        unknown = self._set_by_database(values)
        if self._is_in_session and not others and not unknown:
            return
        for number, (given, state) in enumerate(zip(self._given, self._states, strict=True)):
            record = given if state is not None and given in self.session else None
            if state is not None:
                _set(given, others, number)
            if record is None:
                record = self._find(number)
                if record is not None:
                    tracked = [n for n in listened if _is_tracked(record, n, known[n][number])]
                    _set(record, known, number)
                    if tracked:  # an empty list would mean all
                        self.session.expire(record, tracked)
            if record is not None and unknown:
                self.session.expire(record, unknown)

    def _find(self, number: int) -> Any:
        """Return the record that the session has of a dict's row, or a detached record's."""
        if not self.session.identity_map:
            return None
        key = self.layout.mapper.identity_key_from_primary_key(self._keys[number])
        record = self.session.identity_map.get(key)
        if record is not None and self.session.in_nested_transaction():
            flag_dirty(record)  # so that it is read again if the savepoint is undone
        return record

    def _set_by_database(self, values: Values) -> list[str]:
        """Return the attributes whose new values only the database knows."""
        tables = {column.table for column in values}
        found = [
            name
            for column, name in self.layout.names.items()
            if column.table in tables and column not in values and _is_changed(column)
        ]
        if self.version is not None and self.version not in values:
            found.append(self._finders[-1])
        return found


def _is_tracked(record: Any, name: str, new: Any) -> bool:
    """Tell whether a value has to know whose it is, to tell of its changes: loading tells it."""
    present = vars(record).get(name)
    return is_mutable(present) or (present is None and isinstance(new, dict | list | set))


def _is_changed(column: Column[Any]) -> bool:
    return column.onupdate is not None or column.server_onupdate is not None


def _set(record: Any, known: Mapping[str, list[Any]], number: int) -> None:
    for name, values in known.items():
        set_committed_value(record, name, values[number])
