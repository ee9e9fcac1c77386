"""What a piece of work asked of the database, for debugging: statements and seconds."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Connection, Engine, event

_current: ContextVar[Timing | None] = ContextVar("activebase_timing", default=None)


class Timing:
    """Counts the statements that run between `start()` and `tell()`, on any engine."""

    def __init__(self) -> None:
        self.statements = 0
        self.seconds = 0.0
        self._began = 0.0
        self._outer: Timing | None = None  # of the request around a nested one

    @classmethod
    def start(cls) -> Timing:
        """Return a new count, which is the current one from here on."""
        if not event.contains(Engine, "before_cursor_execute", _before):
            event.listen(Engine, "before_cursor_execute", _before)
            event.listen(Engine, "after_cursor_execute", _after)
        timing = cls()
        timing._outer = _current.get()
        _current.set(timing)
        return timing

    def tell(self, response: Any, name: str, outcome: str, *, log: logging.Logger) -> None:
        """Put the figures into a ``Server-Timing`` header (milliseconds) and one log line."""
        _current.set(self._outer)
        milliseconds = self.seconds * 1000
        response.headers.add(
            "Server-Timing",
            f'db;dur={milliseconds:.1f};desc="{self.statements} statements", unit;desc="{outcome}"',
        )
        log.debug(
            "%s: %s statements, %.1f ms in the database, %s",
            name,
            self.statements,
            milliseconds,
            outcome,
        )


def _before(conn: Connection, cursor: Any, statement: str, *rest: Any) -> None:
    if timing := _current.get():
        timing._began = time.perf_counter()


def _after(conn: Connection, cursor: Any, statement: str, *rest: Any) -> None:
    timing = _current.get()
    if timing and not statement.startswith("BEGIN"):  # which nobody has asked for
        timing.statements += 1
        timing.seconds += time.perf_counter() - timing._began
