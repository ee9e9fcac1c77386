"""The contenders: one module each, with a class `Contender` that takes the database's URL.

A method does one workload. It is a generator: what stands before its ``yield`` prepares, and is
not timed; what stands after it is, up to the commit; it returns what was read, or None. A
workload that a contender has no method for is not a thing that it does.
"""

from collections.abc import Generator
from importlib import import_module
from types import ModuleType
from typing import Any

#: What a workload's method returns.
Work = Generator[None, None, Any]

#: Title by module, in the order of the tables; the base of all ratios is `HAND`.
TITLES = {
    "driver": "driver",
    "core": "SQLAlchemy Core",
    "hand": "SQLAlchemy by hand",
    "active": "activebase",
    "mixins": "sqlalchemy-mixins",
    "flask_sa": "Flask-SQLAlchemy",
    "django_orm": "Django",
    "peewee_orm": "peewee",
}
HAND, OURS = "hand", "active"


def class_of(name: str) -> type[Any]:
    """Return the class of a contender, without a connection yet."""
    module: ModuleType = import_module(f"{__name__}.{name}")
    found: type[Any] = module.Contender
    return found
