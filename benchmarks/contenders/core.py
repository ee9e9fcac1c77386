"""SQLAlchemy Core: tables and expressions, rows instead of records."""

from sqlalchemy import bindparam, delete, insert, select, update

from benchmarks import schema
from benchmarks.contenders import Work
from benchmarks.engines import engine_of
from benchmarks.rows import email, moved_people, people, wide_filters
from benchmarks.statements import upsert
from benchmarks.workloads import LISTED

person, wide = schema.person, schema.wide
CHANGE = (
    update(person)
    .where(person.c.id == bindparam("key"))
    .values(city=bindparam("city"), age=bindparam("age"))
)


class Contender:
    def __init__(self, url: str) -> None:
        self.engine = engine_of(url)

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.engine.begin() as connection:
            for row in rows:
                connection.execute(insert(person), row).inserted_primary_key  # noqa: B018

    def update(self, size: int) -> Work:
        with self.engine.begin() as connection:
            rows = connection.execute(select(person).where(person.c.id <= size)).all()
            yield
            for row in rows:
                connection.execute(CHANGE, {"key": row.id, "city": "Moved", "age": row.age + 1})

    def delete(self, size: int) -> Work:
        yield
        with self.engine.begin() as connection:
            for key in range(1, size + 1):
                connection.execute(delete(person).where(person.c.id == key))

    def get(self, size: int) -> Work:
        ages = 0
        yield
        with self.engine.connect() as connection:
            for key in range(1, size + 1):
                ages += connection.execute(select(person).where(person.c.id == key)).one().age
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        with self.engine.connect() as connection:
            for each in emails:
                statement = select(person).where(person.c.email == each)
                ages += connection.execute(statement).one().age
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        with self.engine.connect() as connection:
            for each in wanted:
                criteria = [wide.c[name] == value for name, value in each.items()]
                keys += connection.execute(select(wide).where(*criteria)).all()[0].id
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            with self.engine.connect() as connection:
                query = select(person).where(person.c.id <= LISTED)
                found += len(connection.execute(query).all())
        return found

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.engine.begin() as connection:
            connection.execute(insert(person), rows)

    def bulk_update(self, size: int) -> Work:
        with self.engine.begin() as connection:
            rows = connection.execute(select(person).where(person.c.id <= size)).all()
            yield
            connection.execute(
                CHANGE, [{"key": row.id, "city": "Moved", "age": row.age + 1} for row in rows]
            )

    def upsert(self, size: int) -> Work:
        rows = moved_people(size)
        yield
        with self.engine.begin() as connection:
            connection.execute(upsert(person, self.engine.dialect.name), rows)
