"""MyBase: the Active Record verbs. They flush; the boundary commits."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from inspect import getattr_static
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, overload

from sqlalchemy import ColumnElement, MetaData, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import (
    DeclarativeBase,
    Session,
    scoped_session,
)

from .assignment import (
    assign,
    check_can_join,
    check_names,
    constructor_names,
    has_related,
    is_collection,
    of_one_version,
    unknown_attribute,
)
from .errors import NotFoundError, check_no_text, models
from .kept import forget_found
from .later import Later
from .query import Query, QueryProperty
from .session import flush_for, registry_of
from .session import session as global_session
from .snapshot import state_of

if TYPE_CHECKING:
    from . import bulk, conditions, prepared
    from . import get_or_create as creation
    from .bulk import Action
    from .get_or_create import Wanted
else:
    bulk, conditions = Later("bulk"), Later("conditions")
    creation, prepared = Later("get_or_create"), Later("prepared")

R = TypeVar("R", bound="MyBase")

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
        check_names(cls, values, also=constructor_names(cls))
        return cls(**values).save()

    @classmethod
    def get_or_create(
        cls, *, defaults: Mapping[str, Any] | None = None, **lookups: Any
    ) -> tuple[Self, bool]:
        """Return the record that matches, with False; else make it and return it with True.

        When a concurrent insert of the same row comes first, that row is returned. It takes a
        unique constraint on what is looked up: else both are inserted.

        Args:
            defaults: further values for a new record, which win over the lookups; callables are
                called, and only when one is made.
            **lookups: as of `filter()`; those without an operator are values of a new record.
        Effect: SELECT; a missing record is inserted in a savepoint.
        Raises:
            InvalidLookupError, UnknownAttributeError, ProtectedAttributeError: before any SQL.
            MultipleResultsFound: more than one matches.
            ConflictError: the new record is in conflict with a row that does not match.
        Source: Django's `get_or_create`.
        """
        return creation.get_or_create(_wanted(cls, lookups, defaults or {}))

    @classmethod
    def update_or_create(
        cls,
        *,
        defaults: Mapping[str, Any] | None = None,
        create_defaults: Mapping[str, Any] | None = None,
        **lookups: Any,
    ) -> tuple[Self, bool]:
        """Update the record that matches and return it with False; else make it, as above.

        Its row is locked FOR UPDATE until the unit ends, where the database can.

        Args:
            defaults: what is set; of a new record as well unless ``create_defaults`` is given.
            create_defaults: further values for a new record, in place of ``defaults``.
            **lookups: see `get_or_create`.
        Effect: SELECT FOR UPDATE, flush; a missing record is inserted in a savepoint.
        Raises: see `get_or_create`.
        Source: Django's `update_or_create`.
        """
        changes = defaults or {}
        wanted = _wanted(cls, lookups, changes if create_defaults is None else create_defaults)
        check_names(cls, changes)
        return creation.update_or_create(wanted, changes)

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

        A column that has its value already is left alone, unless someone listens to its being set.

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
            check_no_text(only, "update(only=)")
            values = {name: data[name] for name in only if name in data} | values
        check_names(type(self), values)
        session, state = _session_of(type(self)), state_of(self)
        is_here = state.session is session
        if not is_here:
            check_can_join(self, session)
        assign(self, values)
        if type(self).save is not MyBase.save:
            return self.save()  # the model's own
        if not is_here or self in session.deleted or has_related(self):
            session.add(self)
        flush_for(session, self)
        return self

    def delete(self) -> None:
        """Delete the record and flush. Effect: flush."""
        session = _session_of(type(self))
        session.delete(self)
        flush_for(session, self)

    @overload
    @classmethod
    def bulk_create(
        cls,
        rows: Iterable[Self | Mapping[str, Any]],
        *,
        on_conflict: Action | None = None,
        conflict_columns: Collection[str] | None = None,
        update_columns: Collection[str] | None = None,
        batch_size: int | None = None,
        returning: Literal[True],
    ) -> list[Self]: ...

    @overload
    @classmethod
    def bulk_create(
        cls,
        rows: Iterable[Self | Mapping[str, Any]],
        *,
        on_conflict: Action | None = None,
        conflict_columns: Collection[str] | None = None,
        update_columns: Collection[str] | None = None,
        batch_size: int | None = None,
        returning: Literal[False] = False,
    ) -> int: ...

    @overload
    @classmethod
    def bulk_create(
        cls,
        rows: Iterable[Self | Mapping[str, Any]],
        *,
        on_conflict: Action | None = None,
        conflict_columns: Collection[str] | None = None,
        update_columns: Collection[str] | None = None,
        batch_size: int | None = None,
        returning: bool = False,
    ) -> int | list[Self]: ...

    @classmethod
    def bulk_create(
        cls,
        rows: Iterable[Self | Mapping[str, Any]],
        *,
        on_conflict: Action | None = None,
        conflict_columns: Collection[str] | None = None,
        update_columns: Collection[str] | None = None,
        batch_size: int | None = None,
        returning: bool = False,
    ) -> int | list[Self]:
        """Insert many rows; returns how many were written, or with ``returning`` the records.

        Args:
            rows: new records, which stay as they are, or dicts by attribute; one row or none is
                written for each.
            on_conflict: of a row with one that is there: None raises, "ignore" skips the row,
                "update" changes the other one.
            conflict_columns: the key that is meant; default for "ignore" any, for "update" the
                primary key if rows give it, else the only unique constraint.
            update_columns: what "update" sets; default all that the row gives but its keys.
            batch_size: rows in one statement.
            returning: return what was written, as records of the session, in the order of ``rows``.
        Effect: flush, one INSERT for each batch; of relationships nothing is cascaded.
        Raises:
            UnknownAttributeError, ProtectedAttributeError, TypeError, ValueError: before any SQL.
            ConflictError, InvalidDataError: as `save()`; nothing of ``rows`` is written.
        Source: Django's `bulk_create`.
        """
        options = bulk.Options(on_conflict, conflict_columns, update_columns, batch_size)
        create = bulk.bulk_create_records if returning else bulk.bulk_create
        return create(_session_of(cls), cls, rows, options)

    @classmethod
    def bulk_update(
        cls,
        records: Iterable[Self | Mapping[str, Any]],
        fields: Collection[str],
        *,
        batch_size: int | None = None,
    ) -> int:
        """Write these attributes of many records; returns how many rows were found.

        Args:
            records: saved records, or dicts by attribute with the primary key and the fields.
            fields: names of attributes that are columns.
            batch_size: rows in one statement.
        Effect: flush of everything else, one UPDATE for each batch.
        Raises:
            UnknownAttributeError, ProtectedAttributeError, TypeError, ValueError: before any SQL.
            StaleRecordError: a version counter did not match; nothing is written.
        Source: Django's `bulk_update`.
        """
        return bulk.bulk_update(_session_of(cls), cls, records, fields, batch_size=batch_size)

    # -- reading ---------------------------------------------------------------------------

    @classmethod
    def get(cls, pk: Any) -> Self | None:
        """Return the record with this primary key, or None.

        Args:
            pk: the value; a tuple, or a dict by attribute, for a composite key.
        Effect: none if the session has the record, else SELECT.
        """
        record: Self | None = prepared.record_by_key(_session_of(cls), cls, pk)
        return record

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
    def get_by(cls, **lookups: Any) -> Self | None:
        """Return the first record that the lookups find, or None.

        Args:
            **lookups: as `Query.filter` takes: ``get_by(email__iexact=e)``.
        Effect: SELECT; the statement is made once for the names of the lookups.
        Raises:
            InvalidLookupError: an unknown name or operator, or a value that it does not take.
        """
        made = prepared.prepared(cls, tuple(lookups))
        parameters = made.parameters(lookups)
        if parameters is None:
            return Query.of(cls).filter(**lookups).first()
        record: Self | None = made.first(_session_of(cls), parameters)
        return record

    @classmethod
    def q(cls, **lookups: Any) -> ColumnElement[bool]:
        """Return lookups as an expression, for ``|``, ``&`` and ``~``; it is never NULL.

        ``User.query.filter(User.q(name__icontains="x") | ~User.q(age__lt=3))``

        Raises:
            InvalidLookupError: an unknown name or operator, or a value that it does not take.
        Source: Django's `Q`.
        """
        return conditions.condition(cls, lookups, null_safe=True)

    def refresh(self, *names: str, lock: bool = False) -> Self:
        """Read the record, or the named attributes, again; returns the record.

        Args:
            lock: hold the row FOR UPDATE until the unit ends, where the database can.
        Effect: flush, SELECT.
        Raises:
            UnknownAttributeError: the model has no such name.
            NotFoundError: the row is gone.
        """
        known = state_of(self).mapper.attrs.keys()
        for name in names:
            if name not in known:
                why = "is not stored, so it can't be read again"
                raise unknown_attribute(type(self), name, known, why)
        session = _session_of(type(self))
        session.flush()
        try:
            if names and lock:
                names = (*names, *of_one_version(self))
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
        for attribute in state_of(self).attrs:
            history = attribute.history
            if not history.has_changes():
                continue
            removed, kept, added = (
                list(part or ()) for part in (history.deleted, history.unchanged, history.added)
            )
            old: Any = removed[0] if removed else None
            new: Any = added[0] if added else None
            if is_collection(self, attribute.key):
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
        for given in (only, exclude, include):
            check_no_text(given, "to_dict()")
        mapper = state_of(self).mapper
        columns = [prop.key for prop in mapper.column_attrs if not prop.deferred]
        names = [*(columns if only is None else only), *include]
        for name in (*names, *exclude):
            static = getattr_static(type(self), name, callable)
            if callable(static) or isinstance(static, classmethod | staticmethod):
                raise unknown_attribute(type(self), name, [*mapper.all_orm_descriptors.keys()])
        return {name: _plain(getattr(self, name)) for name in names if name not in exclude}

    def __repr__(self) -> str:
        # Identity only, as it is known without SQL: a column might hold a secret.
        state = state_of(self)
        name = type(self).__name__
        if state.identity is None:
            return f"<{name} ({'pending' if state.pending else 'transient'})>"
        keys = [state.mapper.get_property_by_column(c).key for c in state.mapper.primary_key]
        pairs = " ".join(f"{k}={v!r}" for k, v in zip(keys, state.identity, strict=True))
        return f"<{name} {pairs}>"


@event.listens_for(MyBase, "attribute_instrument", propagate=True)
def _has_new_attribute(cls: type[MyBase], key: str, attribute: object) -> None:
    forget_found(cls)


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


def _wanted(cls: type[R], lookups: Mapping[str, Any], defaults: Mapping[str, Any]) -> Wanted[R]:
    query = Query.of(cls).filter(**lookups)
    values = creation.plain_values(cls, lookups)
    check_names(cls, [*values, *defaults], also=constructor_names(cls))
    return creation.Wanted(cls, _session_of(cls), query, values=values, defaults=defaults)


def _plain(value: Any) -> Any:
    if isinstance(value, MyBase):
        return value.to_dict()
    if isinstance(value, list | set | tuple):
        return [_plain(item) for item in value]
    return value
