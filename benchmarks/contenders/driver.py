"""The driver alone: SQL and tuples, no objects. What no layer can be faster than, row by row."""

from typing import Any

from sqlalchemy import make_url

from benchmarks.contenders import Work
from benchmarks.engines import SQLITE_PRAGMAS
from benchmarks.rows import email, moved_people, people, wide_filters
from benchmarks.workloads import LISTED

PERSON = "SELECT id, email, name, city, age FROM person"
INSERT = "INSERT INTO person (email, name, city, age) VALUES (?, ?, ?, ?)"

EXCLUDED = "name = excluded.name, city = excluded.city, age = excluded.age"


class Contender:
    def __init__(self, url: str) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.connection = _connect(url)

    def _sql(self, statement: str) -> str:
        return statement if self.is_sqlite else statement.replace("?", "%s")

    def save(self, size: int) -> Work:
        rows, statement = people(size), self._sql(f"{INSERT} RETURNING id")
        cursor = self.connection.cursor()
        yield
        for row in rows:
            cursor.execute(statement, tuple(row.values())).fetchone()
        self.connection.commit()

    def update(self, size: int) -> Work:
        statement = self._sql("UPDATE person SET city = ?, age = ? WHERE id = ?")
        cursor = self.connection.cursor()
        rows = cursor.execute(f"{PERSON} WHERE id <= {size}").fetchall()
        yield
        for key, _, _, _, age in rows:
            cursor.execute(statement, ("Moved", age + 1, key))
        self.connection.commit()

    def delete(self, size: int) -> Work:
        statement = self._sql("DELETE FROM person WHERE id = ?")
        cursor = self.connection.cursor()
        yield
        for key in range(1, size + 1):
            cursor.execute(statement, (key,))
        self.connection.commit()

    def get(self, size: int) -> Work:
        statement, cursor, ages = self._sql(f"{PERSON} WHERE id = ?"), self.connection.cursor(), 0
        yield
        for key in range(1, size + 1):
            ages += cursor.execute(statement, (key,)).fetchone()[4]
        self.connection.rollback()
        return ages

    def get_by(self, size: int) -> Work:
        statement, ages = self._sql(f"{PERSON} WHERE email = ?"), 0
        cursor, emails = self.connection.cursor(), [email(n) for n in range(1, size + 1)]
        yield
        for each in emails:
            ages += cursor.execute(statement, (each,)).fetchone()[4]
        self.connection.rollback()
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted = [wide_filters(number, count) for number in range(size)]
        cursor, keys = self.connection.cursor(), 0
        yield
        for each in wanted:
            where = " AND ".join(f"{name} = ?" for name in each)
            statement = self._sql(f"SELECT * FROM wide WHERE {where}")
            keys += cursor.execute(statement, tuple(each.values())).fetchall()[0][0]
        self.connection.rollback()
        return keys

    def list(self, size: int) -> Work:
        cursor, found = self.connection.cursor(), 0
        yield
        for _ in range(size):
            rows = cursor.execute(self._sql(f"{PERSON} WHERE id <= ?"), (LISTED,)).fetchall()
            self.connection.rollback()
            found += len(rows)
        return found

    def bulk_create(self, size: int) -> Work:
        rows, cursor = people(size), self.connection.cursor()
        yield
        cursor.executemany(self._sql(INSERT), [tuple(row.values()) for row in rows])
        self.connection.commit()

    def bulk_update(self, size: int) -> Work:
        cursor = self.connection.cursor()
        rows = cursor.execute(f"{PERSON} WHERE id <= {size}").fetchall()
        yield
        changed = [("Moved", row[4] + 1, row[0]) for row in rows]
        cursor.executemany(self._sql("UPDATE person SET city = ?, age = ? WHERE id = ?"), changed)
        self.connection.commit()

    def upsert(self, size: int) -> Work:
        rows, cursor = moved_people(size), self.connection.cursor()
        statement = f"{INSERT} ON CONFLICT (email) DO UPDATE SET {EXCLUDED}"
        yield
        cursor.executemany(self._sql(statement), [tuple(row.values()) for row in rows])
        self.connection.commit()


def _connect(url: str) -> Any:
    found = make_url(url)
    if found.get_backend_name() == "sqlite":
        import sqlite3

        connection = sqlite3.connect(found.database or "", isolation_level="IMMEDIATE")
        for name, value in SQLITE_PRAGMAS.items():
            connection.execute(f"PRAGMA {name} = {value}")
        return connection
    import psycopg

    return psycopg.connect(found.set(drivername="postgresql").render_as_string(hide_password=False))
