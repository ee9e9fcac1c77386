"""One way to connect for all that use SQLAlchemy by hand: the settings that activebase has, too."""

from typing import Any

from sqlalchemy import Engine, create_engine, event

#: So that nobody is faster by being less safe, or slower by waiting for the disk more often.
SQLITE_PRAGMAS = {"journal_mode": "wal", "synchronous": "normal", "foreign_keys": 1}


def engine_of(url: str) -> Engine:
    """Return an engine."""
    engine = create_engine(url, **options_for(url))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", set_pragmas)
    return engine


def options_for(url: str) -> dict[str, Any]:
    """Return the options of an engine: a server's connection is asked whether it still works."""
    return {} if url.startswith("sqlite") else {"pool_pre_ping": True}


def set_pragmas(connection: Any, record: object) -> None:
    """Set them on a new connection."""
    for name, value in SQLITE_PRAGMAS.items():
        connection.execute(f"PRAGMA {name} = {value}")
