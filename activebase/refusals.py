"""What the guards refuse, in words: what happened, and what to do instead."""

from __future__ import annotations

from .errors import (
    LostWritesError,
    NestedUnitError,
    ReadOnlyError,
    StrayCommitError,
    WriteAfterCommitError,
)


class EndedElsewhere(Exception):  # no error of anyone's
    """The cause of lost writes where no one has raised anything."""


def lost_writes(writes: int, where: str, cause: BaseException | None) -> LostWritesError:
    """Return the error for writes (0: locks and a snapshot) of ``where`` that were undone."""
    count = "1 write" if writes == 1 else f"{writes} writes"
    if not writes:
        count = "Row locks, settings or the snapshot"
    if isinstance(cause, EndedElsewhere):
        why = "behind the session, through a raw cursor or by the server"
    else:
        why = f"after {type(cause).__name__}" if cause else "by session.rollback() or close()"
    error = LostWritesError(
        f"{count} of {where} had succeeded and were undone {why}, so it can't be committed: half "
        "of it is missing. Let the error pass, or put what may fail into `with atomic():`."
    )
    error.__cause__ = cause
    return error


def write_after_end(name: str, state: str) -> WriteAfterCommitError:
    """Return the error for a write after a unit's end."""
    return WriteAfterCommitError(
        f"A write after {name} has ended ({state}): nothing would ever commit it. Write before "
        "the unit ends, or open one here: `with unit_of_work():`."
    )


def write_in_read_only(name: str) -> ReadOnlyError:
    """Return the error for a write in a read-only unit."""
    return ReadOnlyError(
        f"A write inside {name}, which is read-only. Move it out, or open the unit without "
        "read_only."
    )


def stray_commit(what: str, name: str) -> StrayCommitError:
    """Return the error for a commit by anyone but the boundary."""
    return StrayCommitError(
        f"{what} inside {name}: only the boundary commits, once, at its end. Remove the commit; "
        "`with unit_of_work(independent=True):` is for what must be kept whatever happens, "
        "`with allow_commit():` for code that can't be changed."
    )


def commit_by_itself(name: str) -> StrayCommitError:
    """Return the error for a statement that MySQL can't undo."""
    return StrayCommitError(
        f"A statement that commits by itself inside {name}: MySQL and MariaDB commit what is open "
        "before CREATE, ALTER, DROP, TRUNCATE, LOCK TABLES and the like, and can't undo them. Run "
        "it outside of units, on a connection of its own: `with engine.begin() as connection:`."
    )


def waits_for_itself(name: str, holder: str) -> NestedUnitError:
    """Return the error for a unit that SQLite, with its one writer, would never let begin."""
    return NestedUnitError(
        f"{name} would wait for {holder}: that holds the write lock of this SQLite database until "
        "it ends. Open it before or after that one, join it (`with unit_of_work():`), or use a "
        "database with row locks."
    )
