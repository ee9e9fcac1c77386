"""peewee."""

from typing import Any

import peewee
from sqlalchemy import make_url

from benchmarks.contenders import Work
from benchmarks.engines import SQLITE_PRAGMAS
from benchmarks.rows import WIDE_COLUMNS, email, moved_people, people, wide_filters
from benchmarks.workloads import DEPTH, LISTED, PAGE

database = peewee.DatabaseProxy()


class Base(peewee.Model):
    class Meta:
        database = database


class Person(Base):
    email = peewee.CharField(unique=True)
    name = peewee.CharField()
    city = peewee.CharField()
    age = peewee.IntegerField()


class Author(Base):
    name = peewee.CharField()


class Book(Base):
    author = peewee.ForeignKeyField(Author, backref="books")
    title = peewee.CharField()
    year = peewee.IntegerField()


class Event(Base):
    happened_at = peewee.DateTimeField()
    amount = peewee.IntegerField()


Wide = type("Wide", (Base,), {name: peewee.IntegerField() for name in WIDE_COLUMNS})


class Contender:
    def __init__(self, url: str) -> None:
        self.database = _database(url)
        database.initialize(self.database)
        self.database.connect()

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.database.atomic():
            for row in rows:
                Person.create(**row)

    def update(self, size: int) -> Work:
        with self.database.atomic():
            persons = list(Person.select().where(Person.id <= size))
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
                person.save()

    def update_unchanged(self, size: int) -> Work:
        rows = people(size)
        with self.database.atomic():
            persons = list(Person.select().where(Person.id <= size).order_by(Person.id))
            yield
            for person, row in zip(persons, rows, strict=True):
                person.name = row["name"]
                person.city = row["city"]
                person.age = row["age"]
                person.save()

    def delete(self, size: int) -> Work:
        with self.database.atomic():
            persons = list(Person.select().where(Person.id <= size))
            yield
            for person in persons:
                person.delete_instance()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        for key in range(1, size + 1):
            ages += Person.get_by_id(key).age
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        for each in emails:
            ages += Person.get(Person.email == each).age
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        for each in wanted:
            keys += list(Wide.select().filter(**each))[0].id  # noqa: RUF015
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            found += len(list(Person.select().where(Person.id <= LISTED)))
        return found

    def eager(self, size: int) -> Work:
        books = 0
        yield
        for _ in range(size):
            authors = Author.select().prefetch(Book.select())
            books += sum(len(author.books) for author in authors)
        return books

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.database.atomic():
            for some in peewee.chunked(rows, 1000):
                Person.insert_many(some).execute()

    def bulk_update(self, size: int) -> Work:
        with self.database.atomic():
            persons = list(Person.select().where(Person.id <= size))
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
            Person.bulk_update(persons, ["city", "age"], batch_size=1000)

    def upsert(self, size: int) -> Work:
        rows, kept = moved_people(size), [Person.name, Person.city, Person.age]
        changed = {field: getattr(peewee.EXCLUDED, field.name) for field in kept}
        yield
        with self.database.atomic():
            for some in peewee.chunked(rows, 1000):
                statement = Person.insert_many(some)
                statement.on_conflict(conflict_target=[Person.email], update=changed).execute()

    def offset_page(self, size: int) -> Work:
        amounts = 0
        yield
        for _ in range(size):
            query = Event.select().order_by(Event.happened_at, Event.id)
            found = list(query.limit(PAGE + 1).offset(DEPTH))
            amounts += sum(event.amount for event in found[:PAGE])
        return amounts


def _database(url: str) -> Any:
    found = make_url(url)
    if found.get_backend_name() == "sqlite":
        return peewee.SqliteDatabase(found.database, pragmas=SQLITE_PRAGMAS)
    # It takes psycopg2, or psycopg 3 with the class of its extension.
    from playhouse.postgres_ext import Psycopg3Database

    return Psycopg3Database(
        found.database,
        user=found.username,
        password=found.password or None,
        host=found.host or found.query.get("host"),
        port=found.port,
    )
