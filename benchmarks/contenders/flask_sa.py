"""Flask-SQLAlchemy: its session is SQLAlchemy's, in an application context."""

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event, select
from sqlalchemy.orm import DeclarativeBase, selectinload

from benchmarks.contenders import Work
from benchmarks.engines import options_for, set_pragmas
from benchmarks.models import models_on
from benchmarks.rows import email, moved_people, people, wide_filters
from benchmarks.statements import upsert
from benchmarks.workloads import DEPTH, LISTED, PAGE


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
models = models_on(db.Model)
Person, Author, Event, Wide = models.Person, models.Author, models.Event, models.Wide


class Contender:
    def __init__(self, url: str) -> None:
        self.app = Flask(__name__)
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.app.config["SQLALCHEMY_ENGINE_OPTIONS"] = options_for(url)
        db.init_app(self.app)
        self.app.app_context().push()
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", set_pragmas)

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.app.app_context():
            for row in rows:
                db.session.add(Person(**row))
                db.session.flush()
            db.session.commit()

    def update(self, size: int) -> Work:
        with self.app.app_context():
            persons = db.session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
                db.session.flush()
            db.session.commit()

    def update_unchanged(self, size: int) -> Work:
        rows = people(size)
        with self.app.app_context():
            persons = db.session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person, row in zip(persons, rows, strict=True):
                person.name = row["name"]
                person.city = row["city"]
                person.age = row["age"]
                db.session.flush()
            db.session.commit()

    def delete(self, size: int) -> Work:
        with self.app.app_context():
            persons = db.session.scalars(select(Person).where(Person.id <= size)).all()
            yield
            for person in persons:
                db.session.delete(person)
                db.session.flush()
            db.session.commit()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        with self.app.app_context():
            for key in range(1, size + 1):
                person = db.session.get(Person, key)
                ages += person.age if person else 0
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        with self.app.app_context():
            for each in emails:
                ages += Person.query.filter_by(email=each).first().age
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        with self.app.app_context():
            for each in wanted:
                keys += Wide.query.filter_by(**each).all()[0].id
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            with self.app.app_context():
                query = select(Person).where(Person.id <= LISTED)
                found += len(db.session.scalars(query).all())
        return found

    def eager(self, size: int) -> Work:
        books = 0
        yield
        for _ in range(size):
            with self.app.app_context():
                query = select(Author).options(selectinload(Author.books))
                authors = db.session.scalars(query).all()
                books += sum(len(author.books) for author in authors)
        return books

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.app.app_context():
            db.session.add_all(Person(**row) for row in rows)
            db.session.commit()

    def upsert(self, size: int) -> Work:
        rows = moved_people(size)
        yield
        with self.app.app_context():
            db.session.execute(upsert(Person, db.engine.dialect.name), rows)
            db.session.commit()

    def offset_page(self, size: int) -> Work:
        amounts = 0
        yield
        for _ in range(size):
            with self.app.app_context():
                query = select(Event).order_by(Event.happened_at, Event.id)
                page = db.paginate(query, page=DEPTH // PAGE + 1, per_page=PAGE, count=False)
                amounts += sum(event.amount for event in page)
        return amounts
