"""Importing activebase costs nothing: no framework, no engine, no session."""

import json

from tests.core import run_python

LOOK = """
import json, sys
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.orm import Session
from sqlalchemy.pool import Pool

engines, sessions = [], []
event.listen(Pool, "connect", lambda *rest: engines.append("connected"))
create_engine, make_session = sqlalchemy.create_engine, Session.__init__

def counted_engine(*args, **kwargs):
    engines.append("made")
    return create_engine(*args, **kwargs)

def counted_session(self, *args, **kwargs):
    sessions.append("made")
    make_session(self, *args, **kwargs)

sqlalchemy.create_engine, Session.__init__ = counted_engine, counted_session
import {module}
from activebase import session
print(json.dumps({{
    "loaded": sorted({{name.partition(".")[0] for name in sys.modules}}),
    "engines": engines,
    "sessions": sessions,
    "has": session.registry.has(),
}}))
"""


def look(module: str) -> dict[str, list[str]]:
    done = run_python(LOOK.format(module=module))
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_loads_no_framework() -> None:
    loaded = look("activebase")["loaded"]
    assert "sqlalchemy" in loaded
    assert not {"flask", "werkzeug", "celery", "kombu", "click", "psycopg"} & set(loaded)


def test_opens_no_engine_and_makes_no_session() -> None:
    found = look("activebase")
    assert (found["engines"], found["sessions"], found["has"]) == ([], [], False)


def test_keeps_the_integrations_apart() -> None:
    assert "celery" not in look("activebase.flask")["loaded"]
    assert "flask" not in look("activebase.celery")["loaded"]


def test_offers_each_public_name() -> None:
    import activebase

    assert sorted(activebase.__all__) == activebase.__all__
    missing = [name for name in activebase.__all__ if not hasattr(activebase, name)]
    assert missing == []


LATER = """
import sys
import activebase

assert not {"activebase.bulk", "activebase.pagination", "activebase.mixins"} & set(sys.modules)
assert activebase.mixins.SoftDelete is activebase.SoftDelete
assert activebase.pagination.Page is activebase.Page
for name in activebase.__all__:
    assert getattr(activebase, name) is not None, name
assert not hasattr(activebase, "nothing")
try:
    activebase.nothing
except AttributeError as error:
    print(error)
"""


def test_loads_at_the_first_use_what_an_import_leaves_out() -> None:
    done = run_python(LATER)
    assert done.stdout.strip() == "module 'activebase' has no attribute 'nothing'", done.stderr
