"""What is found out about a model once, and kept as long as the model lives."""

from __future__ import annotations

from threading import Lock
from typing import Any

_FOUND_OUT = "_activebase_found_out"
_lock = Lock()


def kept_by(model: type[Any], what: str) -> dict[Any, Any]:
    """Return a dict that lives as long as the model, for what is found out once for it."""
    # On the class itself: what is kept refers to the model, and would keep it alive elsewhere.
    own: dict[str, dict[Any, Any]] | None = model.__dict__.get(_FOUND_OUT)
    return (_kept_by_now(model) if own is None else own).setdefault(what, {})


def forget_found(model: type[Any]) -> None:
    """Find everything out anew: the model has a new attribute, its first ones included.

    For its base classes too, whose queries may read the tables of subclasses.
    """
    for each in model.__mro__:
        found = each.__dict__.get(_FOUND_OUT)
        if found is not None:
            found.clear()


def _kept_by_now(model: type[Any]) -> dict[str, dict[Any, Any]]:
    with _lock:  # the same one for all threads
        if _FOUND_OUT not in model.__dict__:
            setattr(model, _FOUND_OUT, {})
        own: dict[str, dict[Any, Any]] = model.__dict__[_FOUND_OUT]
        return own
