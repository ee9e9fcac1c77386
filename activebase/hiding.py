"""How deleted records are hidden: what `SoftDelete` does to the sessions of its models.

A mark, `deleted_at`, is all that tells them. `watch_sessions()` has every session put the criteria
``deleted_at IS NULL`` on its statements, keeps marked records from being found in the session
itself, and lets a real DELETE see them, for foreign keys know nothing of marks.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from datetime import datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import (
    Column,
    ColumnElement,
    CompoundSelect,
    Executable,
    event,
    inspect,
    select,
    tuple_,
)
from sqlalchemy.orm import (
    InstanceState,
    Mapped,
    Mapper,
    ORMExecuteState,
    RelationshipDirection,
    RelationshipProperty,
    Session,
    UserDefinedOption,
    mapped_column,
    with_loader_criteria,
    with_parent,
)
from sqlalchemy.orm.attributes import set_committed_value

from .kept import kept_by
from .session import ActiveSession
from .utc import UTCDateTime

#: The execution option that shows deleted records: ``execution_options(with_deleted=True)``.
WITH_DELETED = "with_deleted"


class Marked:
    """A model whose records are hidden once `deleted_at` is set."""

    if TYPE_CHECKING:
        deleted_at: Mapped[datetime | None]
    else:
        deleted_at = mapped_column(UTCDateTime, nullable=True, sort_order=1002)


def _is_live(model: type[Marked]) -> ColumnElement[bool]:
    return model.deleted_at.is_(None)


class _Hides(UserDefinedOption):
    """Tells that a statement has the criteria; goes with them to the loads of its records."""

    __slots__ = ()
    propagate_to_loaders = True


_HIDE = (with_loader_criteria(Marked, _is_live, include_aliases=True), _Hides())


def watch_sessions() -> None:
    """Listen to all sessions; called for the first model to hide, so that others pay nothing.

    Effect: none in the database.
    """
    if not event.contains(ActiveSession, "do_orm_execute", _hide_deleted):
        event.listen(ActiveSession, "do_orm_execute", _hide_deleted)
        event.listen(ActiveSession, "before_flush", _take_deleted_along)
        # A private name: get() and lazy loads ask it before any SQL, and there is no event.
        setattr(ActiveSession, "_identity_lookup", _look_up_live)  # noqa: B010  # not typed


# -- statements ------------------------------------------------------------------------------


def _hidden_of(mapper: Mapper[Any] | None) -> MutableMapping[Executable, Any]:
    """Return a model's SELECTs with the criteria: the key in the cache of those that are run more
    than once is made once. They are kept with the model, for they refer to it.
    """
    if mapper is None:
        return {}
    of_model = kept_by(mapper.class_, "hidden")
    known: MutableMapping[Executable, Any] = of_model.setdefault("selects", WeakKeyDictionary())
    return known


def _hide_deleted(state: ORMExecuteState) -> None:
    """Put the criteria on a statement: any may join, load or nest a model that has them.

    The execution option goes with a query to its eager loads; the criteria go with its records to
    lazy loads as well.
    """
    statement: Any = state.statement
    if state.execution_options.get(WITH_DELETED):
        if isinstance(statement, CompoundSelect):
            # Before SQLAlchemy 2.0.44 its key in the statement cache is the same without them.
            state.update_execution_options(compiled_cache=None)
    elif state.is_select:
        hidden = _hidden_of(state.bind_mapper)
        if statement in hidden:
            state.statement = hidden[statement]
        elif not any(isinstance(option, _Hides) for option in state.user_defined_options):
            state.statement = hidden[statement] = statement.options(*_HIDE)
    elif state.is_insert:
        # from_statement(insert().returning()) counts as an INSERT, and has no SELECT either.
        if getattr(statement, "select", None) is not None:
            state.statement = statement.options(*_HIDE)
    elif (state.is_update or state.is_delete) and not state.is_executemany:  # by primary keys
        among = _among_live(state.bind_mapper)
        state.statement = statement.options(*_HIDE) if among is None else statement.where(among)


def _among_live(mapper: Mapper[Any] | None) -> ColumnElement[bool] | None:
    """Return what bulk DML of a joined subclass needs: its own table does not hold the mark."""
    if mapper is None or not issubclass(mapper.class_, Marked):
        return None
    mark: Column[Any] = mapper.columns["deleted_at"]
    if mark.table is mapper.local_table:
        return None
    live = select(*mark.table.primary_key).where(mark.is_(None))
    return tuple_(*mapper.local_table.primary_key).in_(live)


# -- records in the session ------------------------------------------------------------------


def _look_up_live(
    session: ActiveSession, mapper: Mapper[Any], key: Any, *args: Any, **options: Any
) -> Any:
    """Find a record in the session; a deleted one is left to the SELECT, which may hide it.

    `Session.get()` and lazy loads of a to-one relation ask this first, and there is no event.
    """
    found = super(ActiveSession, session)._identity_lookup(mapper, key, *args, **options)
    if not isinstance(found, Marked):
        return found
    state: InstanceState[Any] = inspect(found)
    return found if state.dict.get("deleted_at") is None else None


# -- DELETE ----------------------------------------------------------------------------------


def _take_deleted_along(session: Session, *_: object) -> None:
    """Before rows go for good, load what refers to them, deleted or not.

    A cascade that overlooked marked rows would leave them to the foreign key, which refuses.
    """
    done: set[int] = set()
    while waiting := [record for record in session.deleted if id(record) not in done]:
        for record in waiting:
            done.add(id(record))
            for relation in _that_miss_deleted(record):
                _load_all(session, record, relation)


def _that_miss_deleted(record: object) -> list[RelationshipProperty[Any]]:
    state: InstanceState[Any] = inspect(record)
    return [
        relation
        for relation in state.mapper.relationships
        if issubclass(relation.mapper.class_, Marked)
        and relation.direction is not RelationshipDirection.MANYTOONE
        and not (relation.viewonly or relation.passive_deletes)
        and relation.lazy not in ("dynamic", "write_only")
        and not state.attrs[relation.key].history.has_changes()
    ]


def _load_all(session: Session, record: object, relation: RelationshipProperty[Any]) -> None:
    of_record = with_parent(record, getattr(type(record), relation.key))
    statement = select(relation.mapper).where(of_record).execution_options(with_deleted=True)
    related = session.scalars(statement).unique().all()
    value = related if relation.uselist else next(iter(related), None)
    set_committed_value(record, relation.key, value)
    if relation.cascade.delete:
        for child in related:
            session.delete(child)
