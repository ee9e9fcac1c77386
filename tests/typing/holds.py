"""`assert_type()` that is checked at run time as well: what is declared is what there is."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

if TYPE_CHECKING:
    from typing import assert_type as assert_type
else:

    def assert_type(value: object, expected: object) -> Any:
        """Return the value. Raises: TypeError if it is not what the type says."""
        if not holds(value, expected):
            raise TypeError(f"{value!r} is no {expected}")
        return value


def holds(value: Any, expected: Any) -> bool:
    """Tell whether a value is of a type, as far as a value shows it."""
    if expected is Any:
        return True
    if expected is None:
        return value is None
    origin, arguments = get_origin(expected), get_args(expected)
    if origin in (Union, types.UnionType):
        return any(holds(value, one) for one in arguments)
    if origin is Literal:
        return value in arguments
    if origin is None:
        return isinstance(value, expected)
    check = _OF_CONTENTS.get(origin)
    return isinstance(value, origin) and (check is None or check(value, arguments))


def _items(value: Any, arguments: Any) -> bool:
    return all(holds(item, arguments[0]) for item in value)


def _pairs(value: Any, arguments: Any) -> bool:
    key, item = arguments
    return all(holds(k, key) and holds(i, item) for k, i in value.items())


def _places(value: Any, arguments: Any) -> bool:
    if arguments[-1] is Ellipsis:
        return _items(value, arguments)
    return len(value) == len(arguments) and all(map(holds, value, arguments))


def _class(value: Any, arguments: Any) -> bool:
    return arguments[0] is Any or issubclass(value, arguments[0])


_OF_CONTENTS: dict[Any, Callable[[Any, Any], bool]] = {
    list: _items,
    dict: _pairs,
    tuple: _places,
    type: _class,
}
