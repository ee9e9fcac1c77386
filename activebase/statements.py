"""What a statement does to the open transaction, told by its first words.

On the hot path this is one look-up of the statement's text: each is read once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import Enum
from functools import lru_cache

from sqlalchemy import Dialect

from .dialects import is_mysql


class Kind(Enum):
    """What a statement does to the transaction."""

    READ = "read"
    HOLD = "hold"  # reads, and holds locks or settings that only this transaction has
    WRITE = "write"
    COMMIT = "commit"
    AUTOCOMMIT = "autocommit"  # commits what was open, and itself, as MySQL does with CREATE TABLE
    ROLLBACK = "rollback"


READ, HOLD, WRITE = Kind.READ, Kind.HOLD, Kind.WRITE

KindOf = Callable[[str], Kind]

# What SQLAlchemy itself compiles starts like this: one look-up tells.
_BY_HEAD = {"SELECT": READ, "INSERT": WRITE, "UPDATE": WRITE, "DELETE": WRITE}
_BY_HEAD |= dict.fromkeys(("SAVEPO", "RELEAS"), READ)
_GAP = r"(?:[\s;(]|(?:--|\#)[^\n]*\n|/\*.*?\*/)*"
_FIRST_WORDS = re.compile(rf"{_GAP}(\w+)(?:\s+(\w+))?", re.DOTALL)
_ROW_LOCK = re.compile(
    r"\bFOR\s+(?:NO\s+KEY\s+|KEY\s+)?(?:UPDATE|SHARE)\b|\bLOCK\s+IN\s+SHARE\s+MODE\b",
    re.IGNORECASE,
)
_DML = re.compile(r"\b(?<!FOR\s)(?<!KEY\s)(?:INSERT|UPDATE|DELETE|MERGE)\b")
_TO_SAVEPOINT = re.compile(rf"{_GAP}ROLLBACK\s+(?:WORK\s+|TRANSACTION\s+)?TO\b", re.IGNORECASE)
_READS = frozenset(
    "SELECT VALUES TABLE SHOW PRAGMA SET RESET SAVEPOINT RELEASE DECLARE FETCH MOVE CLOSE LISTEN "
    "UNLISTEN LOCK DISCARD DESCRIBE DESC USE BEGIN START ATTACH DETACH DEALLOCATE".split()
)
_ENDS = {"COMMIT": Kind.COMMIT, "END": Kind.COMMIT, "ROLLBACK": Kind.ROLLBACK}
_ENDS["ABORT"] = Kind.ROLLBACK
_WORDS_THAT_COUNT = frozenset(
    (*_ENDS, *"INSERT UPDATE DELETE MERGE CREATE ALTER DROP TRUNCATE WITH PREPARE LOCK SET".split())
)
#: The kinds of several statements in one text, what does most first.
_BY_WEIGHT = (Kind.COMMIT, Kind.AUTOCOMMIT, Kind.ROLLBACK, WRITE, HOLD)


def kinds_of(dialect: Dialect) -> KindOf:
    """Return the function that tells the kind of a statement on this database."""
    return kind_on_mysql if is_mysql(dialect) else kind_of


def kind_of(statement: str) -> Kind:
    """Tell what a statement does; one that is not known counts as a write."""
    # Long texts are not worth their memory.
    return _cached(statement) if len(statement) < 5000 else _find(statement)


def kind_on_mysql(statement: str) -> Kind:
    """Tell what a statement does on MySQL or MariaDB, where many commit by themselves."""
    return _cached_on_mysql(statement) if len(statement) < 5000 else _find_on_mysql(statement)


def _find(statement: str) -> Kind:
    return _of_all(statement, _of_text)


def _of_all(statement: str, of_text: KindOf) -> Kind:
    if ";" not in statement:
        return _of_one(statement, of_text)
    # Several in one text, which some drivers send: what does most tells. What follows a semicolon
    # may be the rest of a literal as well, so there a word must be known to count.
    first, *later = statement.split(";")
    kinds = {_of_one(first, of_text)}
    kinds.update(of_text(each) for each in later if _counts(each))
    return next((kind for kind in _BY_WEIGHT if kind in kinds), READ)


def _counts(statement: str) -> bool:
    found = _FIRST_WORDS.match(statement)
    return found is not None and found[1].upper() in _WORDS_THAT_COUNT


def _of_one(statement: str, of_text: KindOf) -> Kind:
    kind = _BY_HEAD.get(statement[:6]) or of_text(statement)
    return HOLD if kind is READ and _ROW_LOCK.search(statement) else kind


def _of_text(statement: str) -> Kind:
    found = _FIRST_WORDS.match(statement)
    if found is None:
        return READ
    word, then = found[1].upper(), (found[2] or "").upper()
    if word in _ENDS:
        is_end = then != "PREPARED" and not _TO_SAVEPOINT.match(statement)
        return _ENDS[word] if is_end else READ
    if word == "PREPARE" and then == "TRANSACTION":
        return Kind.COMMIT
    if word == "LOCK" or (word == "SET" and then == "LOCAL"):
        return HOLD
    if word in ("WITH", "EXPLAIN", "PREPARE"):
        return WRITE if _DML.search(statement.upper()) else READ
    return READ if word in _READS else WRITE


# -- MySQL, MariaDB --------------------------------------------------------------------------

#: Statements that commit: https://mariadb.com/kb/en/sql-statements-that-cause-an-implicit-commit/
_AUTOCOMMITS = frozenset(
    "ALTER BACKUP BEGIN CACHE CHANGE CHECK CREATE DROP FLUSH GRANT IMPORT INSTALL LOCK OPTIMIZE "
    "RENAME REPAIR RESET REVOKE SHUTDOWN START STOP TRUNCATE UNINSTALL UNLOCK XA".split()
)
_READS_ON_MYSQL = frozenset("DO HANDLER HELP CHECKSUM".split())
_MAINTAINED = frozenset(("TABLE", "TABLES", "LOCAL", "NO_WRITE_TO_BINLOG"))
_TEMPORARY = re.compile(rf"{_GAP}(?:CREATE(?:\s+OR\s+REPLACE)?|DROP)\s+TEMPORARY\b", re.IGNORECASE)
_SET_AUTOCOMMIT = re.compile(
    rf"{_GAP}SET\s+(?:PASSWORD\b|(?:[^'\"]*[\s,.@])?AUTOCOMMIT\s*:?=(?!\s*(?:0|OFF|FALSE)\b))",
    re.IGNORECASE | re.DOTALL,
)
_SET_FOR_ONE = re.compile(rf"{_GAP}SET\s+STATEMENT\b.*?\bFOR\b", re.IGNORECASE | re.DOTALL)
_COMPOUND = re.compile(rf"{_GAP}BEGIN\s+NOT\s+ATOMIC\b", re.IGNORECASE)
_COMMITS = re.compile(r"\bCOMMIT\b", re.IGNORECASE)
#: The server runs what stands in comments like these.
_RUN_COMMENT = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)
_LITERAL = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"", re.DOTALL)


def _find_on_mysql(statement: str) -> Kind:
    if "/*" in statement:
        statement = _RUN_COMMENT.sub(r" \1 ", statement)
    if ";" in statement:
        statement = _LITERAL.sub("''", statement)
    if _COMPOUND.match(statement):
        return Kind.COMMIT if _COMMITS.search(statement) else WRITE
    return _of_all(statement, _of_text_on_mysql)


def _of_text_on_mysql(statement: str) -> Kind:
    if of_one := _SET_FOR_ONE.match(statement):
        return _of_one(statement[of_one.end() :].strip(), _of_text_on_mysql)
    found = _FIRST_WORDS.match(statement)
    word, then = (found[1].upper(), (found[2] or "").upper()) if found else ("", "")
    if word == "SET":
        return Kind.AUTOCOMMIT if _SET_AUTOCOMMIT.match(statement) else READ
    if word == "ANALYZE" and then not in _MAINTAINED:
        return WRITE if _DML.search(statement.upper()) else READ
    if word == "LOAD":
        return Kind.AUTOCOMMIT if then == "INDEX" else WRITE
    if _TEMPORARY.match(statement):
        return WRITE
    if word in _AUTOCOMMITS or word == "ANALYZE":
        return Kind.AUTOCOMMIT
    return READ if word in _READS_ON_MYSQL else _of_text(statement)


_cached = lru_cache(maxsize=1000)(_find)
_cached_on_mysql = lru_cache(maxsize=1000)(_find_on_mysql)
