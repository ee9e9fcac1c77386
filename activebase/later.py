"""Modules that are loaded when they are first used: so ``import activebase`` takes no time."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Later:
    """Stands for a module of this package, and loads it when it is first asked for a name.

    For who reads the code, and for type checkers, it is the module::

        if TYPE_CHECKING:
            from . import dml
        else:
            dml = Later("dml")
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        found = getattr(import_module(f".{self._name}", __package__), name)
        setattr(self, name, found)  # the next time this method is not called
        return found
