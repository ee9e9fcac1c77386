"""sqlalchemy-mixins, on a scoped session."""

from sqlalchemy.orm import DeclarativeBase, scoped_session, sessionmaker
from sqlalchemy_mixins import ActiveRecordMixin, SmartQueryMixin

from benchmarks.contenders import Work
from benchmarks.engines import engine_of
from benchmarks.models import models_on
from benchmarks.rows import email, people, wide_filters
from benchmarks.workloads import LISTED


class Base(DeclarativeBase, ActiveRecordMixin, SmartQueryMixin):
    __abstract__ = True


models = models_on(Base)
Person, Wide = models.Person, models.Wide


class Contender:
    def __init__(self, url: str) -> None:
        factory = sessionmaker(engine_of(url), expire_on_commit=False)
        self.session = scoped_session(factory)
        Base.set_session(self.session)

    # Its save(commit=False) does not flush; what needs the key does that itself.

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        for row in rows:
            Person.create(commit=False, **row)
            self.session.flush()
        self.session.commit()
        self.session.remove()

    def update(self, size: int) -> Work:
        persons = Person.where(id__le=size).all()
        yield
        for person in persons:
            person.update(commit=False, city="Moved", age=person.age + 1)
            self.session.flush()
        self.session.commit()
        self.session.remove()

    def update_unchanged(self, size: int) -> Work:
        rows, persons = people(size), Person.where(id__le=size).all()
        yield
        for person, row in zip(persons, rows, strict=True):
            person.update(commit=False, name=row["name"], city=row["city"], age=row["age"])
            self.session.flush()
        self.session.commit()
        self.session.remove()

    def delete(self, size: int) -> Work:
        persons = Person.where(id__le=size).all()
        yield
        for person in persons:
            person.delete(commit=False)
            self.session.flush()
        self.session.commit()
        self.session.remove()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        for key in range(1, size + 1):
            ages += Person.find(key).age
        self.session.remove()
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        for each in emails:
            ages += Person.where(email=each).first().age
        self.session.remove()
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        for each in wanted:
            keys += Wide.where(**each).all()[0].id
        self.session.remove()
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            found += len(Person.where(id__le=LISTED).all())
            self.session.remove()
        return found
