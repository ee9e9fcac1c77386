"""`get_or_create()` and `update_or_create()`: read; else insert; else read what was in the way.

The insert runs in a savepoint, so that a conflict undoes nothing but the insert. It takes a unique
constraint to have one: without it two concurrent inserts both succeed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Column, ColumnElement, Select, inspect, literal, select
from sqlalchemy.orm import InstanceState, Mapper, Session
from sqlalchemy.orm.attributes import set_committed_value

from .attributes import PK, key_names, names_of
from .dialects import is_mysql
from .errors import (
    ConflictError,
    DeadlockDetected,
    SerializationFailure,
    TransientError,
    UniqueViolation,
    said_again,
)
from .journal import Journal, journal_of
from .query import Query
from .unit_of_work import Savepoint

if TYPE_CHECKING:
    from .base import MyBase

M = TypeVar("M", bound="MyBase")
S = TypeVar("S", bound=Select[Any])

#: How often it is tried in all, where a collision has undone nothing but the try itself.
ATTEMPTS = 10


class Wanted(Generic[M]):
    """A record that is asked for: how it is found, and what it is made of.

    Args:
        query: finds it.
        values: what the lookups say of it, for the constructor.
        defaults: further values, which win; callables are called each time a record is made.
    """

    def __init__(
        self,
        model: type[M],
        session: Session,
        query: Query[M],
        *,
        values: Mapping[str, Any],
        defaults: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.session = session
        self.query = query
        self.values = values
        self.defaults = defaults
        self.mapper: Mapper[M] = inspect(model)

    @property
    def journal(self) -> Journal:
        """The journal of the session."""
        return journal_of(self.session)

    @property
    def is_on_innodb(self) -> bool:
        """Whether missing rows can be locked, and plain reads keep to the first one's snapshot."""
        return is_mysql(self.session.get_bind(self.mapper).dialect)

    # -- reading ---------------------------------------------------------------------------

    def read(self) -> M | None:
        """Return the record or None. Effect: SELECT. Raises: MultipleResultsFound."""
        return self.query.limit(2).one_or_none()

    def read_newest(self) -> M | None:
        """Return the record as it was last committed, or None. Effect: SELECT."""
        with self._past_snapshot(self.query.limit(2)) as query:
            return query.execution_options(populate_existing=True).one_or_none()

    def lock(self) -> M | None:
        """Return the record as it was last committed, or None.

        Effect: SELECT FOR UPDATE, where the database can.
        """
        before = self.journal.held
        query = self.query.execution_options(populate_existing=True).limit(2)
        # Not the tables of outer joins, which PostgreSQL can't lock.
        found = query.with_for_update(of=list(self.mapper.tables)).one_or_none()
        if found is None:
            self._hold_again(before)
        return found

    @contextmanager
    def _past_snapshot(self, statement: S) -> Iterator[S]:
        """Yield the statement so that it finds what others have committed since the unit began.

        On InnoDB only a read that locks does. The failed INSERT holds a shared lock already, and so
        do those of others: to ask for more would be a deadlock.
        """
        before = self.journal.held
        yield statement.with_for_update(read=True) if self.is_on_innodb else statement
        self._hold_again(before)

    def _hold_again(self, before: int) -> None:
        # A lock that nobody has asked for, or on no row, is no loss to the unit when it goes.
        if not self.journal.has_snapshot:
            self.journal.held = before

    # -- writing ---------------------------------------------------------------------------

    def create(self, read_again: Callable[[], M | None]) -> tuple[M, bool]:
        """Insert the record, or else return the one that was in the way, with False.

        Effect: savepoint, flush.
        Raises:
            ConflictError: with a row that is not the one asked for.
            SerializationFailure: with a row that is gone again, or too new to be seen.
        """
        if not self.journal.takes_writes:
            self.journal.check_write()
        made: list[M] = []
        try:
            with _savepoint(self.session, f"{self.model.__name__}.get_or_create()", made):
                made.append(self.model(**(dict(self.values) | resolved(self.defaults))))
                made[0].save()
        except ConflictError as conflict:
            found = read_again()
            if found is not None:
                return found, False
            if made and isinstance(conflict, UniqueViolation):
                self._look_into(conflict, made[0])
            raise
        return made[0], True

    def _look_into(self, conflict: UniqueViolation, record: M) -> None:
        """Raise what tells more than the conflict, if the row in the way can't be found or used."""
        key = _same_key(self.mapper, record, conflict)
        # Of the table, not of the model: a query of the model may leave rows out on purpose.
        with self._past_snapshot(select(literal(1)).where(*key).limit(1)) as statement:
            if key and not self.session.scalar(statement, bind_arguments={"mapper": self.mapper}):
                raise _collision(self.model, conflict) from conflict
        if not hasattr(self.model, "__marks_deleted__"):
            return
        with self._past_snapshot(self.query.with_deleted().where(*key)) as query:
            if query.first() is not None:
                raise _deleted(self.model, conflict) from conflict

    def starts_anew(self) -> bool:
        """Roll back if nothing is lost with it; tell whether it can be tried again.

        What the database has ended is rolled back here, too, so that the session can be used on.
        """
        journal = self.journal
        is_shared = self.session.in_nested_transaction() or journal.is_borrowed
        if is_shared or journal.writes or journal.held:
            return False
        transaction = self.session.get_transaction()
        if transaction is not None:
            transaction.rollback()  # session.rollback() would drop the unit's callbacks as well
        return journal.lost is None


def get_or_create(wanted: Wanted[M]) -> tuple[M, bool]:
    """Return the record and whether it was made; see `MyBase.get_or_create`."""

    def once(attempt: int) -> tuple[M, bool]:
        found = wanted.read()
        return wanted.create(wanted.read_newest) if found is None else (found, False)

    return _insistently(wanted, once)


def update_or_create(wanted: Wanted[M], changes: Mapping[str, Any]) -> tuple[M, bool]:
    """Return the record, changed or made, and whether it was made; see `MyBase`."""
    if not wanted.journal.takes_writes:
        wanted.journal.check_write()

    def once(attempt: int) -> tuple[M, bool]:
        # InnoDB locks the gap where a row is missing, for all who ask: two such are a deadlock as
        # soon as both insert. So look first; after a collision it is likely to be there.
        looks_first = attempt == 1 and wanted.is_on_innodb
        found = None if looks_first and wanted.read() is None else wanted.lock()
        created = False
        if found is None:
            found, created = wanted.create(wanted.lock)
        if not created:
            found.update(**resolved(changes))
        return found, created

    return _insistently(wanted, once)


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, with what callables return in their place."""
    return {name: value() if callable(value) else value for name, value in values.items()}


def plain_values(model: type[Any], lookups: Mapping[str, Any]) -> dict[str, Any]:
    """Return what lookups say of a record: those without an operator or a path, by attribute.

    Source: Django's `get_or_create`.
    """
    mapper: Mapper[Any] = inspect(model)
    names = names_of(mapper)
    values = {name: value for name, value in lookups.items() if name in names}
    if PK not in values or PK in mapper.all_orm_descriptors:
        return values
    key = values.pop(PK)
    parts = key if len(mapper.primary_key) > 1 else (key,)
    return dict(zip(key_names(mapper), parts, strict=True)) | values


def _insistently(wanted: Wanted[M], once: Callable[[int], tuple[M, bool]]) -> tuple[M, bool]:
    """Call it again after a collision, for as long as that has undone nothing else."""
    wanted.session.flush()  # a failure of this one is not ours to repeat: what waited would be lost
    attempt = 1
    while True:
        try:
            return once(attempt)
        except TransientError as error:
            is_collision = isinstance(error, DeadlockDetected | SerializationFailure)
            if not wanted.starts_anew() or not is_collision or attempt == ATTEMPTS:
                raise
        attempt += 1


@contextmanager
def _savepoint(session: Session, name: str, made: Collection[object]) -> Iterator[None]:
    """Open a savepoint; when the block fails, the session lets go of what was made in it."""
    savepoint = Savepoint(session, name)
    try:
        yield
    except BaseException:
        savepoint.undo()
        for record in made:
            _let_go(record)
        raise
    savepoint.release()


def _let_go(record: object) -> None:
    """Take a record that was not saved out of the relations of others that were not, either.

    Who saves one of those later does not mean to save the record, too. What the relations of saved
    ones had got was forgotten with the savepoint.
    """
    state: InstanceState[Any] = inspect(record)
    for relation in state.mapper.relationships:
        related: Any = state.dict.get(relation.key)
        if relation.uselist:
            for other in _members(related or ()):
                if inspect(other).transient:
                    related.remove(other)
        elif related is not None and inspect(related).transient:
            _load_nothing(related, relation.back_populates)
            setattr(record, relation.key, None)


def _load_nothing(record: object, collection: str | None) -> None:
    """Have a collection that was not loaded hold just what was added to it."""
    state: InstanceState[Any] = inspect(record)
    relation = state.mapper.relationships.get(collection or "")
    if relation is None or not relation.uselist or relation.lazy in ("dynamic", "write_only"):
        return
    if relation.key not in state.dict:
        set_committed_value(record, relation.key, ())


def _members(collection: Any) -> list[Any]:
    return list(collection.values() if isinstance(collection, dict) else collection)


def _same_key(
    mapper: Mapper[Any], record: object, conflict: ConflictError
) -> list[ColumnElement[bool]]:
    """Return what finds the row with which a record is in conflict; empty if that is unknown."""
    state: InstanceState[Any] = inspect(record)
    known = state.dict
    equal = {
        column.name: column == known[attribute.key]
        for attribute in mapper.column_attrs
        for column in attribute.columns
        if attribute.key in known and isinstance(column, Column)
        if getattr(column.table, "name", None) == conflict.table
    }
    names = conflict.columns
    return [equal[name] for name in names] if all(name in equal for name in names) else []


def _collision(model: type, conflict: ConflictError) -> SerializationFailure:
    return SerializationFailure(
        f"{model.__name__}: a concurrent transaction has inserted a row with the same "
        f"{', '.join(conflict.columns)}, and it can't be seen in this one; run the whole unit "
        "again (retries=).",
        orig=conflict.orig,
        statement=conflict.statement,
    )


def _deleted(model: type, conflict: ConflictError) -> ConflictError:
    return said_again(
        conflict,
        f"{model.__name__}: a deleted record matches, and its row still has the same "
        f"{', '.join(conflict.columns) or 'values'}. Find it with .with_deleted() and restore() "
        "it, or make the unique constraint an index of the rows that are not deleted.",
    )
