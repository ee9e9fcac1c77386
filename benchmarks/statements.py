"""What is written by hand in more than one place."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from importlib import import_module
from json import dumps, loads
from typing import Any


def upsert(target: Any, dialect: str) -> Any:
    """Return INSERT of people that updates those whose e-mail is there."""
    statement = import_module(f"sqlalchemy.dialects.{dialect}").insert(target)
    changed = {name: statement.excluded[name] for name in ("name", "city", "age")}
    return statement.on_conflict_do_update(index_elements=["email"], set_=changed)


def cursor_text(happened_at: datetime, key: int) -> str:
    """Return a position in the events as an opaque text."""
    return urlsafe_b64encode(dumps([happened_at.isoformat(), key]).encode()).decode()


def position_of(cursor: str) -> tuple[datetime, int]:
    """Return what `cursor_text` was given."""
    happened_at, key = loads(urlsafe_b64decode(cursor))
    return datetime.fromisoformat(happened_at), int(key)
