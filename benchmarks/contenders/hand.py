"""SQLAlchemy's ORM as its documentation writes it: the base of all ratios.

Where activebase flushes, so does this one: what is wrong is known at the line that wrote it.
"""

from typing import Any

from celery import Celery
from flask import Flask, request
from sqlalchemy import select, tuple_
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session, selectinload, sessionmaker

from benchmarks.boundaries import Boundaries, new_celery
from benchmarks.contenders import Work
from benchmarks.engines import engine_of
from benchmarks.models import models_on
from benchmarks.rows import email, moved_people, people, wide_filters
from benchmarks.statements import cursor_text, position_of, upsert
from benchmarks.workloads import DEPTH, LISTED, PAGE


class Base(DeclarativeBase):
    pass


models = models_on(Base)
Person, Author, Event, Wide = models.Person, models.Author, models.Event, models.Wide
Visit = models.Visit


class Contender(Boundaries):
    def __init__(self, url: str) -> None:
        self.engine = engine_of(url)

    def session(self) -> Session:
        return Session(self.engine, expire_on_commit=False)

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.session() as session, session.begin():
            for row in rows:
                session.add(Person(**row))
                session.flush()

    def update(self, size: int) -> Work:
        with self.session() as session, session.begin():
            persons = session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
                session.flush()

    def update_unchanged(self, size: int) -> Work:
        rows = people(size)
        with self.session() as session, session.begin():
            persons = session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person, row in zip(persons, rows, strict=True):
                person.name = row["name"]
                person.city = row["city"]
                person.age = row["age"]
                session.flush()

    def delete(self, size: int) -> Work:
        with self.session() as session, session.begin():
            persons = session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person in persons:
                session.delete(person)
                session.flush()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        with self.session() as session:
            for key in range(1, size + 1):
                person = session.get(Person, key)
                ages += person.age if person else 0
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        with self.session() as session:
            for each in emails:
                statement = select(Person).where(Person.email == each)
                person = session.scalars(statement).one_or_none()
                ages += person.age if person else 0
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        with self.session() as session:
            for each in wanted:
                criteria = [getattr(Wide, name) == value for name, value in each.items()]
                keys += session.scalars(select(Wide).where(*criteria)).all()[0].id
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            with self.session() as session:
                found += len(session.scalars(select(Person).where(Person.id <= LISTED)).all())
        return found

    def eager(self, size: int) -> Work:
        books = 0
        yield
        for _ in range(size):
            with self.session() as session:
                query = select(Author).options(selectinload(Author.books))
                authors = session.scalars(query).all()
                books += sum(len(author.books) for author in authors)
        return books

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.session() as session, session.begin():
            session.add_all(Person(**row) for row in rows)

    def bulk_create_records(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.session() as session, session.begin():
            persons = [Person(**row) for row in rows]
            session.add_all(persons)
            session.flush()
            return sum(person.id for person in persons)

    def bulk_update(self, size: int) -> Work:
        with self.session() as session, session.begin():
            persons = session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1

    def upsert(self, size: int) -> Work:
        rows = moved_people(size)
        yield
        with self.session() as session, session.begin():
            session.execute(upsert(Person, self.engine.dialect.name), rows)

    def offset_page(self, size: int) -> Work:
        amounts = 0
        yield
        for _ in range(size):
            with self.session() as session:
                query = select(Event).order_by(Event.happened_at, Event.id)
                found = session.scalars(query.offset(DEPTH).limit(PAGE + 1)).all()
                amounts += sum(event.amount for event in found[:PAGE])
        return amounts

    def cursor_page(self, size: int) -> Work:
        amounts = 0
        with self.session() as session:
            ordered = select(Event).order_by(Event.happened_at, Event.id)
            last = session.scalars(ordered.offset(DEPTH - 1).limit(1)).one()
        cursor = cursor_text(last.happened_at, last.id)
        yield
        for _ in range(size):
            with self.session() as session:
                place = tuple_(Event.happened_at, Event.id)
                query = select(Event).where(place > position_of(cursor))
                query = query.order_by(Event.happened_at, Event.id).limit(PAGE + 1)
                found = session.scalars(query).all()
                amounts += sum(event.amount for event in found[:PAGE])
                cursor_text(found[PAGE - 1].happened_at, found[PAGE - 1].id)
        return amounts

    # -- requests and tasks ----------------------------------------------------------------

    def flask_app(self) -> Flask:
        app = Flask(__name__)
        session = scoped_session(sessionmaker(self.engine, expire_on_commit=False))

        @app.post("/visits")
        def visit() -> Any:
            person = write_visit(session(), **request.get_json())
            session.commit()
            return {"age": person.age}, 201

        @app.get("/people/<int:key>")
        def people(key: int) -> Any:
            person = session.get(Person, key)
            return {"name": person.name, "email": person.email} if person else ({}, 404)

        @app.get("/health")
        def health() -> str:
            return "well"

        @app.teardown_appcontext
        def remove(error: BaseException | None) -> None:
            session.remove()

        return app

    def celery_app(self) -> Celery:
        app = new_celery()

        @app.task(name="visit")
        def visit(person: int, amount: int) -> int:
            with self.session() as session, session.begin():
                return write_visit(session, person, amount).age

        @app.task(name="nothing")
        def nothing() -> None:
            pass

        return app


def write_visit(session: Session, person: int, amount: int) -> Any:
    found = session.get_one(Person, person)
    for _ in range(2):
        session.add(Visit(person_id=found.id, amount=amount))
        session.flush()
    found.age += 1
    session.flush()
    return found
