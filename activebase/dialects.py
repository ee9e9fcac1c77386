"""What SQLAlchemy calls the databases."""

from __future__ import annotations

from sqlalchemy import Dialect

_MYSQL = frozenset(("mysql", "mariadb"))


def is_mysql(dialect: Dialect) -> bool:
    """Tell whether it is MySQL or MariaDB, whichever of the two names the URL begins with."""
    return dialect.name in _MYSQL
