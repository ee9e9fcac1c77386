"""Rows for the tests of SoftDelete: `pytest_plugins = ["tests.newsroom_fixtures"]`."""

import pytest
from sqlalchemy import Engine

from activebase import unit_of_work
from tests.newsroom import Desk, Label, Newsroom, Story, Writer


@pytest.fixture
def newsroom_rows(engine: Engine) -> None:
    """Of the writers, bob is deleted; of their stories, each second one."""
    Newsroom.metadata.create_all(engine)
    with unit_of_work():
        desk = Desk(name="news").save()
        for name in ("ann", "bob"):
            writer = Writer(name=name, desk=desk).save()
            for number in "12":
                label = Label(word=f"{name}{number}")
                Story(title=f"{name}{number}", writer=writer, labels=[label]).save()
        writer.delete()
        for record in Story.query.filter(title__endswith="2").all():
            record.delete()
        for label in Label.query.exclude(word="ann1").all():
            label.delete()
