"""Django."""

from typing import Any

import django
from django.conf import settings
from sqlalchemy import make_url

from benchmarks.contenders import Work
from benchmarks.engines import SQLITE_PRAGMAS
from benchmarks.rows import WIDE_COLUMNS, email, moved_people, people, wide_filters
from benchmarks.workloads import DEPTH, LISTED, PAGE


def _settings(url: str) -> dict[str, Any]:
    found = make_url(url)
    if found.get_backend_name() == "sqlite":
        pragmas = "; ".join(f"PRAGMA {name} = {value}" for name, value in SQLITE_PRAGMAS.items())
        options = {"init_command": pragmas, "transaction_mode": "IMMEDIATE"}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": found.database, "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": found.database,
        "USER": found.username,
        "PASSWORD": found.password or "",
        "HOST": found.host or found.query.get("host", ""),
        "PORT": found.port or "",
    }


class Contender:
    def __init__(self, url: str) -> None:
        settings.configure(DATABASES={"default": _settings(url)}, USE_TZ=False)
        django.setup()
        from django.db import models, transaction

        class Model(models.Model):
            class Meta:
                abstract = True
                app_label = "benchmarks"

        class Person(Model):
            id = models.AutoField(primary_key=True)
            email = models.CharField(max_length=100, unique=True)
            name = models.CharField(max_length=100)
            city = models.CharField(max_length=50)
            age = models.IntegerField()

            class Meta(Model.Meta):
                db_table = "person"

        class Author(Model):
            name = models.CharField(max_length=100)

            class Meta(Model.Meta):
                db_table = "author"

        class Book(Model):
            author = models.ForeignKey(Author, models.CASCADE, related_name="books")
            title = models.CharField(max_length=100)
            year = models.IntegerField()

            class Meta(Model.Meta):
                db_table = "book"

        class Event(Model):
            happened_at = models.DateTimeField()
            amount = models.IntegerField()

            class Meta(Model.Meta):
                db_table = "event"

        class Wide(Model):
            locals().update({name: models.IntegerField() for name in WIDE_COLUMNS})

            class Meta(Model.Meta):
                db_table = "wide"

        self.person, self.author, self.event, self.wide = Person, Author, Event, Wide
        self.atomic = transaction.atomic

    def save(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.atomic():
            for row in rows:
                self.person(**row).save()

    def update(self, size: int) -> Work:
        with self.atomic():
            persons = list(self.person.objects.filter(id__lte=size))
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
                person.save()

    def update_unchanged(self, size: int) -> Work:
        rows = people(size)
        with self.atomic():
            persons = list(self.person.objects.filter(id__lte=size).order_by("id"))
            yield
            for person, row in zip(persons, rows, strict=True):
                person.name = row["name"]
                person.city = row["city"]
                person.age = row["age"]
                person.save()

    def delete(self, size: int) -> Work:
        with self.atomic():
            persons = list(self.person.objects.filter(id__lte=size))
            yield
            for person in persons:
                person.delete()

    def get(self, size: int) -> Work:
        ages = 0
        yield
        for key in range(1, size + 1):
            ages += self.person.objects.get(pk=key).age
        return ages

    def get_by(self, size: int) -> Work:
        emails, ages = [email(n) for n in range(1, size + 1)], 0
        yield
        for each in emails:
            ages += self.person.objects.get(email=each).age
        return ages

    def filters(self, size: int, count: int) -> Work:
        wanted, keys = [wide_filters(number, count) for number in range(size)], 0
        yield
        for each in wanted:
            keys += list(self.wide.objects.filter(**each))[0].id  # noqa: RUF015
        return keys

    def list(self, size: int) -> Work:
        found = 0
        yield
        for _ in range(size):
            found += len(list(self.person.objects.filter(id__lte=LISTED)))
        return found

    def eager(self, size: int) -> Work:
        books = 0
        yield
        for _ in range(size):
            authors = self.author.objects.prefetch_related("books")
            books += sum(len(author.books.all()) for author in authors)
        return books

    def bulk_create(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.atomic():
            self.person.objects.bulk_create(self.person(**row) for row in rows)

    def bulk_create_records(self, size: int) -> Work:
        rows = people(size)
        yield
        with self.atomic():
            made = self.person.objects.bulk_create([self.person(**row) for row in rows])
            return sum(person.id for person in made)

    def bulk_update(self, size: int) -> Work:
        with self.atomic():
            persons = list(self.person.objects.filter(id__lte=size))
            yield
            for person in persons:
                person.city = "Moved"
                person.age += 1
            self.person.objects.bulk_update(persons, ["city", "age"], batch_size=1000)

    def upsert(self, size: int) -> Work:
        rows = moved_people(size)
        yield
        with self.atomic():
            self.person.objects.bulk_create(
                [self.person(**row) for row in rows],
                update_conflicts=True,
                unique_fields=["email"],
                update_fields=["name", "city", "age"],
            )

    def offset_page(self, size: int) -> Work:
        amounts = 0
        yield
        for _ in range(size):
            found = self.event.objects.order_by("happened_at", "id")[DEPTH : DEPTH + PAGE + 1]
            amounts += sum(event.amount for event in list(found)[:PAGE])
        return amounts
