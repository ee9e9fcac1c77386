"""activebase."""

from functools import cached_property
from typing import Any

from celery import Celery
from flask import Flask, request
from sqlalchemy.orm import DeclarativeBase

from activebase import MyBase, configure, unit_of_work
from activebase.celery import ActiveTask
from activebase.flask import ActiveBase
from benchmarks.boundaries import Boundaries, new_celery
from benchmarks.contenders import Work
from benchmarks.models import models_on
from benchmarks.rows import email, moved_people, people, wide_filters
from benchmarks.workloads import DEPTH, LISTED, PAGE


class Base(MyBase, DeclarativeBase):
    pass


models = models_on(Base)
Person, Author, Event, Wide = models.Person, models.Author, models.Event, models.Wide
Visit = models.Visit


class Contender(Boundaries):
    def __init__(self, url: str) -> None:
        configure(url)

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with unit_of_work():
            for row in rows:
                Person(**row).save()

    def update(self, size: int) -> Work:
        with unit_of_work():
            persons = Person.query.filter(id__lte=size).all()
            yield
            for person in persons:
                person.update(city="Moved", age=person.age + 1)

    def update_unchanged(self, size: int) -> Work:
        rows = people(size)
        with unit_of_work():
            persons = Person.query.filter(id__lte=size).all()
            yield
            for person, row in zip(persons, rows, strict=True):
                person.update(name=row["name"], city=row["city"], age=row["age"])

    def delete(self, size: int) -> Work:
        with unit_of_work():
            persons = Person.query.filter(id__lte=size).all()
            yield
            for person in persons:
                person.delete()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        with unit_of_work():
            for key in range(1, size + 1):
                person = Person.get(key)
                ages += person.age if person else 0
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        with unit_of_work():
            for each in emails:
                person = Person.get_by(email=each)
                ages += person.age if person else 0
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        with unit_of_work():
            for each in wanted:
                keys += Wide.query.filter(**each).all()[0].id
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            with unit_of_work():
                found += len(Person.query.filter(id__lte=LISTED).all())
        return found

    def eager(self, size: int) -> Work:
        books = 0
        yield
        for _ in range(size):
            with unit_of_work():
                authors = Author.query.with_related("books").all()
                books += sum(len(author.books) for author in authors)
        return books

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with unit_of_work():
            Person.bulk_create(rows)

    def bulk_create_records(self, size: int) -> Work:
        rows = people(size)
        yield
        with unit_of_work():
            return sum(person.id for person in Person.bulk_create(rows, returning=True))

    def bulk_update(self, size: int) -> Work:
        with unit_of_work():
            persons = Person.query.filter(id__lte=size).all()
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
            Person.bulk_update(persons, ["city", "age"])

    def upsert(self, size: int) -> Work:
        rows = moved_people(size)
        yield
        with unit_of_work():
            Person.bulk_create(rows, on_conflict="update")

    def offset_page(self, size: int) -> Work:
        amounts = 0
        yield
        for _ in range(size):
            with unit_of_work():
                query = Event.query.order_by("happened_at", "id")
                page = query.paginate(page=DEPTH // PAGE + 1, per_page=PAGE)
                amounts += sum(event.amount for event in page)
        return amounts

    def cursor_page(self, size: int) -> Work:
        amounts, cursor = 0, self.cursor_at_depth
        yield
        for _ in range(size):
            with unit_of_work():
                page = Event.query.order_by("happened_at", "id").cursor(after=cursor, limit=PAGE)
                amounts += sum(event.amount for event in page)
                page.next_cursor  # noqa: B018
        return amounts

    @cached_property
    def cursor_at_depth(self) -> str | None:
        """The cursor of the page behind so many events, for which they have to be read once."""
        with unit_of_work():
            query = Event.query.order_by("happened_at", "id")
            return query.cursor(limit=DEPTH, max_limit=None).next_cursor

    # -- requests and tasks ----------------------------------------------------------------

    def flask_app(self) -> Flask:
        app = Flask(__name__)
        ActiveBase(app)

        @app.post("/visits")
        def visit() -> Any:
            return {"age": write_visit(**request.get_json()).age}, 201

        @app.get("/people/<int:key>")
        def people(key: int) -> Any:
            person = Person.get_or_404(key)
            return {"name": person.name, "email": person.email}

        @app.get("/health")
        def health() -> str:
            return "well"

        return app

    def celery_app(self) -> Celery:
        app = new_celery(task_cls=ActiveTask)

        @app.task(name="visit")
        def visit(person: int, amount: int) -> int:
            return write_visit(person, amount).age

        @app.task(name="nothing")
        def nothing() -> None:
            pass

        return app


def write_visit(person: int, amount: int) -> Any:
    found = Person.get_or_404(person)
    for _ in range(2):
        Visit(person_id=found.id, amount=amount).save()
    return found.update(age=found.age + 1)
