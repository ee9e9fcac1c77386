"""Django's models of the tables."""

from typing import Any

from django.db import models
from django.db.models import DO_NOTHING


class MicrosecondsMixin:
    """Write as SQLAlchemy does: on SQLite, where these are text, always with six digits."""

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        """Return what is sent to the database."""
        adapted = super().get_db_prep_value(value, connection, prepared)  # type: ignore[misc]
        without = connection.vendor == "sqlite" and adapted is not None and "." not in adapted
        return f"{adapted}.000000" if without else adapted


class DateTimeField(MicrosecondsMixin, models.DateTimeField):
    pass


class TimeField(MicrosecondsMixin, models.TimeField):
    pass


class Twin(models.Model):
    class Meta:
        abstract = True
        managed = False


class Publisher(Twin):
    name = models.CharField(max_length=200, null=True)
    founded = models.IntegerField(null=True)

    class Meta(Twin.Meta):
        db_table = "twin_publisher"


class Author(Twin):
    name = models.CharField(max_length=200)
    bio = models.CharField(max_length=200, null=True)
    born = models.DateField(null=True)
    publisher = models.ForeignKey(Publisher, DO_NOTHING, null=True, related_name="authors")
    mentor = models.ForeignKey("self", DO_NOTHING, null=True, related_name="pupils")

    class Meta(Twin.Meta):
        db_table = "twin_author"


class Profile(Twin):
    nick = models.CharField(max_length=200, null=True)
    public = models.BooleanField(null=True)
    author = models.OneToOneField(Author, DO_NOTHING, related_name="profile")

    class Meta(Twin.Meta):
        db_table = "twin_profile"


class Tag(Twin):
    word = models.CharField(max_length=200)

    class Meta(Twin.Meta):
        db_table = "twin_tag"


class Book(Twin):
    title = models.CharField(max_length=200, null=True)
    pages = models.IntegerField(null=True)
    sold = models.BigIntegerField(null=True)
    rating = models.FloatField(null=True)
    price = models.DecimalField(max_digits=10, decimal_places=2, null=True)
    in_print = models.BooleanField(null=True)
    published = models.DateField(null=True)
    noted = DateTimeField(null=True)
    moment = DateTimeField(null=True)
    opens = TimeField(null=True)
    code = models.UUIDField(null=True)
    author = models.ForeignKey(Author, DO_NOTHING, null=True, related_name="books")
    publisher = models.ForeignKey(Publisher, DO_NOTHING, related_name="books")
    tags = models.ManyToManyField(Tag, related_name="books", db_table="twin_book_tag")

    class Meta(Twin.Meta):
        db_table = "twin_book"


MODELS: dict[str, type[Twin]] = {
    model.__name__: model for model in (Publisher, Author, Profile, Book, Tag)
}
