"""What a statement does to the transaction, told by its first words."""

import pytest

from activebase.statements import Kind, kind_of, kind_on_mysql

READS = [
    "SELECT 1",
    "  select 1",
    "-- why\nSELECT 1",
    "/* why */ SELECT 1",
    "WITH a AS (SELECT 1) SELECT * FROM a",
    "(SELECT 1) UNION (SELECT 2)",
    "SAVEPOINT a",
    "ROLLBACK TO SAVEPOINT a",
    "ROLLBACK TO a",
    "ROLLBACK WORK TO SAVEPOINT a",
    "RELEASE SAVEPOINT a",
    "SHOW TABLES",
    "EXPLAIN SELECT 1",
    "VALUES (1)",
    "",
]
HOLDS = [
    "SELECT * FROM a FOR UPDATE",
    "select * from a for share",
    "SELECT * FROM a LOCK IN SHARE MODE",
]
WRITES = [
    "INSERT INTO a VALUES (1)",
    "update a set b = 1",
    "DELETE FROM a",
    "WITH a AS (SELECT 1) DELETE FROM b",
    "REPLACE INTO a VALUES (1)",
    "MERGE INTO a USING b",
    "CALL pay()",
    "COPY a FROM STDIN",
    "something new",
]
ROLLBACKS = ["ROLLBACK", "rollback;", "ROLLBACK AND CHAIN"]
COMMITS = ["COMMIT", "commit work", "SELECT 1; COMMIT", "DELETE FROM a;\ncommit;"]


@pytest.mark.parametrize(
    ("kind", "statements"),
    [
        (Kind.READ, READS),
        (Kind.HOLD, HOLDS),
        (Kind.WRITE, WRITES),
        (Kind.ROLLBACK, ROLLBACKS),
        (Kind.COMMIT, COMMITS),
    ],
)
def test_tells_the_same_of_plain_statements_everywhere(kind: Kind, statements: list[str]) -> None:
    for statement in statements:
        assert (kind_of(statement), kind_on_mysql(statement)) == (kind, kind), statement


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("CREATE TABLE a (b INT)", Kind.WRITE),
        ("TRUNCATE a", Kind.WRITE),
        ("LOCK TABLE a", Kind.HOLD),
        ("SET LOCAL a = 1", Kind.HOLD),
        ("SET a = 1", Kind.READ),
        ("BEGIN IMMEDIATE", Kind.READ),
        ("PRAGMA foreign_keys", Kind.READ),
        ("PREPARE TRANSACTION 'a'", Kind.COMMIT),
        ("ROLLBACK PREPARED 'a'", Kind.READ),
        ("-- done\nEND", Kind.COMMIT),
        ("ABORT", Kind.ROLLBACK),
        ("INSERT INTO a VALUES (';'); SELECT 1", Kind.WRITE),
    ],
)
def test_tells_what_a_statement_does_on_sqlite_and_postgresql(statement: str, kind: Kind) -> None:
    assert kind_of(statement) is kind


AUTOCOMMITS = [
    "CREATE TABLE a (b INT)",
    "create or replace table a (b int)",
    "\n  -- why\n# how\n/* whence */ CREATE INDEX a ON b (c)",
    "ALTER TABLE a ADD COLUMN b INT",
    "DROP TABLE a",
    "TRUNCATE TABLE a",
    "RENAME TABLE a TO b",
    "LOCK TABLES a WRITE",
    "UNLOCK TABLES",
    "BEGIN",
    "START TRANSACTION",
    "SET autocommit = 1",
    "SET SESSION autocommit=ON",
    "SET @@session.autocommit = 1",
    "SET names utf8mb4, autocommit = 1",
    "SET PASSWORD = ''",
    "SET STATEMENT max_statement_time = 1 FOR CREATE TABLE a (b INT)",
    "ANALYZE TABLE a",
    "ANALYZE LOCAL TABLE a",
    "OPTIMIZE TABLE a",
    "CHECK TABLE a",
    "FLUSH TABLES",
    "GRANT SELECT ON a TO b",
    "LOAD INDEX INTO CACHE a",
    "XA START 'a'",
    "/*!40000 ALTER TABLE a DISABLE KEYS */",
    "/*M!100100 DROP TABLE a */",
    "SELECT 1; DROP TABLE a",
]


@pytest.mark.parametrize("statement", AUTOCOMMITS)
def test_knows_what_commits_by_itself_on_mysql(statement: str) -> None:
    assert kind_on_mysql(statement) is Kind.AUTOCOMMIT


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("CREATE TEMPORARY TABLE a (b INT)", Kind.WRITE),
        ("CREATE OR REPLACE TEMPORARY TABLE a (b INT)", Kind.WRITE),
        ("DROP TEMPORARY TABLE a", Kind.WRITE),
        ("LOAD DATA INFILE 'a' INTO TABLE b", Kind.WRITE),
        ("BEGIN NOT ATOMIC DELETE FROM a; END", Kind.WRITE),
        ("BEGIN NOT ATOMIC DELETE FROM a; COMMIT; END", Kind.COMMIT),
        ("INSERT INTO a VALUES ('done; drop it')", Kind.WRITE),
        ("INSERT INTO a VALUES ('it''s; commit', \"x\\\"; commit\")", Kind.WRITE),
        ("/*! COMMIT */", Kind.COMMIT),
        ("SET STATEMENT max_statement_time = 1 FOR SELECT 1", Kind.READ),
        ("SET STATEMENT max_statement_time = 1 FOR DELETE FROM a", Kind.WRITE),
        ("SET autocommit = 0", Kind.READ),
        ("SET @a = 'autocommit = 1'", Kind.READ),
        ("SET LOCAL a = 1", Kind.READ),
        ("SET NAMES utf8mb4", Kind.READ),
        ("ANALYZE SELECT 1", Kind.READ),
        ("ANALYZE FORMAT=JSON UPDATE a SET b = 1", Kind.WRITE),
        ("DO RELEASE_LOCK('a')", Kind.READ),
        ("KILL 7", Kind.WRITE),
    ],
)
def test_tells_what_a_statement_does_on_mysql(statement: str, kind: Kind) -> None:
    assert kind_on_mysql(statement) is kind


def test_remembers_no_long_texts() -> None:
    long = f"INSERT INTO a VALUES ('{'x' * 5000}')"
    assert (kind_of(long), kind_on_mysql(long)) == (Kind.WRITE, Kind.WRITE)
