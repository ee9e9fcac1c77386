"""Lists over HTTP: filters, an order, and pages by number or by cursor.

?name__icontains=ada&created_at__year=2026        lookups, as far as the list allows them
?order=-created_at                                likewise
?page=2&per_page=10                               a page by its number, with the total
?limit=10&after=<cursor>                          the next page, whatever has come or gone
"""

from collections.abc import Callable, Collection
from typing import Any, TypeVar

from werkzeug.datastructures import MultiDict

from activebase import CursorPage, InvalidLookupError, Page, Query

T = TypeVar("T")

BY_NUMBER = ("page", "per_page")
BY_CURSOR = ("after", "before", "limit")


def listed(
    name: str,
    query: Query[T],
    arguments: MultiDict[str, str],
    *,
    filters: Collection[str],
    orders: Collection[str],
    to_json: Callable[[T], dict[str, Any]],
) -> dict[str, Any]:
    """Return the page that the arguments ask for: the items under a name, and where to go on.

    Args:
        filters: the lookups that may be used.
        orders: what may be ordered by; the first is the default. Each may have a minus.
    Effect: SELECT.
    Raises: InvalidLookupError for what can't be read or is not listed, answered 400.
    """
    rest = arguments.copy()
    order = rest.pop("order", next(iter(orders)))
    if order.removeprefix("-") not in orders:
        raise InvalidLookupError(f"There is no such order. Expected one of: {', '.join(orders)}.")
    position = {key: rest.pop(key) for key in (*BY_NUMBER, *BY_CURSOR) if key in rest}
    found = query.filter_from(rest, allow=filters).order_by(order)
    if position.keys() & set(BY_NUMBER):
        return _by_number(name, found.paginate(**_only(position, BY_NUMBER)), to_json)
    return _by_cursor(name, found.cursor(**_only(position, BY_CURSOR)), to_json)


def _only(position: dict[str, str], names: Collection[str]) -> dict[str, Any]:
    wrong = position.keys() - set(names)
    if wrong:
        raise InvalidLookupError("Pages go by number (page, per_page) or by cursor, not by both.")
    return position


def _by_number(name: str, page: Page[T], to_json: Callable[[T], Any]) -> dict[str, Any]:
    items = [to_json(item) for item in page]
    return {name: items, "page": page.page, "pages": page.pages, "total": page.total}


def _by_cursor(name: str, page: CursorPage[T], to_json: Callable[[T], Any]) -> dict[str, Any]:
    items = [to_json(item) for item in page]
    return {name: items, "next": page.next_cursor, "previous": page.prev_cursor}
