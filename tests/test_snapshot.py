"""A refused `update()` leaves a record, and all that hangs on it, as they were."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import JSON, Engine, ForeignKey, MetaData, event
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.ext.mutable import MutableDict
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    attribute_keyed_dict,
    composite,
    mapped_column,
    relationship,
    synonym,
    validates,
)

from activebase import MyBase, session, unit_of_work
from activebase.assignment import assign
from activebase.changes import has_changes
from tests.databases import Database

pytest_plugins = ["tests.core_fixtures"]


class Base(MyBase, DeclarativeBase):
    metadata = MetaData()


@dataclass(frozen=True)
class Place:
    row: int
    column: int


class Owner(Base):
    __tablename__ = "owner"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    note: Mapped[str | None]
    secret: Mapped[str | None]
    items: Mapped[list["Item"]] = relationship(back_populates="owner")
    pets: DynamicMapped["Pet"] = relationship(back_populates="owner")
    logs: WriteOnlyMapped["Log"] = relationship()

    @validates("name")
    def _validate(self, name: str, value: str) -> str:
        if not value:
            raise ValueError(name)
        return value

    @validates("secret")
    def _hash(self, name: str, value: str) -> str:
        if value == "flushes":
            Owner(name="another").save()
        return f"hash of {value}"


class Log(Base):
    __tablename__ = "log"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))


class Pet(Base):
    __tablename__ = "pet"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    owner: Mapped[Owner | None] = relationship(back_populates="pets")


class Item(Base):
    __tablename__ = "item"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    size: Mapped[int]
    data: Mapped[dict[str, Any]] = mapped_column(MutableDict.as_mutable(JSON))
    place: Mapped[Place] = composite(mapped_column("row"), mapped_column("column"))
    owner_id: Mapped[int | None] = mapped_column(ForeignKey("owner.id"))
    nick = synonym("name")
    pet_name = synonym("nick")
    stickers = synonym("labels")
    owner: Mapped[Owner | None] = relationship(back_populates="items")
    labels: Mapped[list["Label"]] = relationship(back_populates="item")
    parts: Mapped[list["Part"]] = relationship(
        back_populates="item", cascade="all, delete-orphan", order_by="Part.id"
    )
    by_text: Mapped[dict[str, "Note"]] = relationship(
        collection_class=attribute_keyed_dict("text"), cascade="all, delete-orphan"
    )
    marks: Mapped[set["Mark"]] = relationship()
    single: Mapped["Single | None"] = relationship(
        back_populates="item", cascade="all, delete-orphan"
    )
    texts: AssociationProxy[list[str]] = association_proxy(
        "parts", "text", creator=lambda text: Part(text=text)
    )
    code: AssociationProxy[str] = association_proxy("single", "code")

    @validates("size")
    def _validate(self, name: str, value: int) -> int:
        if value < 0:
            raise ValueError(name)
        return value

    @hybrid_property
    def both(self) -> str:
        return self.name

    @both.inplace.setter
    def _set_both(self, value: str) -> None:
        self.name, self.place = value, Place(7, 7)

    @property
    def taken(self) -> str:
        return "" if self.owner is None else self.owner.name

    @taken.setter
    def taken(self, value: str) -> None:
        self.owner, self.labels, self.reason = None, [], value

    @property
    def password(self) -> str:
        raise AttributeError("it can only be set")

    @password.setter
    def password(self, value: str) -> None:
        self.name = f"hash of {value}"


class Label(Base):
    __tablename__ = "label"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    item_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"))
    item: Mapped[Item | None] = relationship(back_populates="labels")


class Part(Base):
    __tablename__ = "part"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    item: Mapped[Item] = relationship(back_populates="parts")

    @validates("text")
    def _validate(self, name: str, value: str) -> str:
        if not value:
            raise ValueError(name)
        return value


class Note(Base):
    __tablename__ = "note"

    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))


class Mark(Base):
    __tablename__ = "mark"

    id: Mapped[int] = mapped_column(primary_key=True)
    item_id: Mapped[int | None] = mapped_column(ForeignKey("item.id"))


class Single(Base):
    __tablename__ = "single"

    id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str]
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id"))
    item: Mapped[Item] = relationship(back_populates="single")


TABLES = ("owner", "item", "label", "part", "note", "mark", "single", "pet")


@pytest.fixture
def filled(engine: Engine) -> Iterator[None]:
    Base.metadata.create_all(engine)
    with unit_of_work():
        owner, other = Owner(name="first").save(), Owner(name="second").save()
        for _ in range(2):  # the second one has the same
            Item(
                name="a",
                size=1,
                data={"x": 1},
                place=Place(1, 2),
                owner=owner,
                labels=[Label(text="own")],
                parts=[Part(text="p"), Part(text="q")],
                by_text={"n": Note(text="n")},
                marks={Mark()},
                single=Single(code="c"),
            ).save()
        Label(text="free").save()
        Mark().save()
        assert other.items == []
        Pet(owner=owner).save()
        Pet(owner=other).save()
    yield
    Base.metadata.drop_all(engine)


def stored(database: Database) -> dict[str, list[Any]]:
    return {name: database.rows(f"SELECT * FROM {name} ORDER BY id") for name in TABLES}


VALUES: dict[str, tuple[str, Callable[[], Any]]] = {
    "column": ("name", lambda: "z"),
    "column that does not change": ("name", lambda: "a"),
    "synonym": ("nick", lambda: "z"),
    "synonym of a synonym": ("pet_name", lambda: "z"),
    "mutable": ("data", lambda: {"y": 2}),
    "composite": ("place", lambda: Place(8, 9)),
    "hybrid": ("both", lambda: "z"),
    "property": ("password", lambda: "z"),
    "another owner": ("owner", lambda: Owner.get_by(name="second")),
    "no owner": ("owner", lambda: None),
    "a new owner": ("owner", lambda: Owner(name="new")),
    "another's label": ("labels", lambda: Label.query.filter(item__id=2).all()),
    "a free label": ("labels", lambda: [Label.get_by(text="free")]),
    "a synonym's label": ("stickers", lambda: [Label.get_by(text="free")]),
    "a new label": ("labels", lambda: [Label(text="new")]),
    "no label": ("labels", list),
    "new parts": ("parts", lambda: [Part(text="new")]),
    "no parts": ("parts", list),
    "another's parts": ("parts", lambda: Part.query.filter(item__id=2).all()),
    "notes by text": ("by_text", lambda: {"new": Note(text="new")}),
    "a set": ("marks", lambda: {Mark(), Mark.get_by(item_id=None)}),
    "a single one": ("single", lambda: Single(code="new")),
    "none": ("single", lambda: None),
    "texts": ("texts", lambda: ["new"]),
    "a code": ("code", lambda: "new"),
}


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("given", VALUES)
@pytest.mark.parametrize("loaded", [False, True], ids=["not loaded", "loaded"])
def test_leaves_everything_as_it_was(database: Database, given: str, loaded: bool) -> None:
    name, value = VALUES[given]
    before = stored(database)
    with unit_of_work():
        owners = [(owner, [*owner.items]) for owner in Owner.query.all()]
        session.expire_all()
        item: Any = Item.get(1)
        if loaded and name != "password":
            getattr(item, name)
            owners = [(owner, [*owner.items]) for owner in Owner.query.all()]
        new = value()
        with pytest.raises(ValueError, match="size"):
            item.update(**{name: new}, size=-1)
        assert item.changes() == {}
        assert item.place == Place(1, 2)
        for owner, items in owners:
            assert {*owner.items} == {*items}
        Owner.create(name="flushed with all that waits")
        assert item.data.pop("x") == 1  # and changes in place are seen
    assert database.rows("SELECT data FROM item WHERE id = 1")[0][0] in ({}, "{}")
    after = stored(database)
    del before["owner"], after["owner"]
    assert [row for row in before.pop("item") if row[0] != 1] == after["item"][1:]
    assert [*after.pop("item")[0][:3]] == [1, "a", 1]
    assert before == after


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("given", ["another owner", "a free label", "another's label", "new parts"])
def test_leaves_a_new_record_as_it_was(database: Database, given: str) -> None:
    name, value = VALUES[given]
    before = stored(database)
    item: Any = Item(name="new", size=1)
    with unit_of_work():
        new = value()
        with pytest.raises(ValueError, match="size"):
            item.update(**{name: new}, size=-1)
        assert item not in session
        session.flush()
    assert stored(database) == before


@pytest.mark.usefixtures("filled")
def test_keeps_what_waits_for_its_insert(database: Database) -> None:
    with unit_of_work():
        item: Any = Item.get(1)
        part: Any = Part(text="waiting", item=item)
        session.add(part)
        other: Any = Item.get(2)
        for values in ({"item": None}, {"item": other}):
            with pytest.raises(ValueError, match="text"):
                part.update(**values, text="")
            assert part in session
            assert part.item is item
        with pytest.raises(ValueError, match="size"):
            other.update(parts=[part], size=-1)
    assert database.rows("SELECT item_id FROM part WHERE text = 'waiting'") == [(1,)]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("loaded", [False, True])
def test_undoes_what_a_setter_has_set_beside_columns(database: Database, loaded: bool) -> None:
    before = stored(database)
    with unit_of_work():
        item: Any = Item.get(1)
        if loaded:
            assert item.owner.name == "first"
            assert len(item.labels) == 1
        with pytest.raises(ValueError, match="size"):
            item.update(taken="x", size=-1)
        assert not hasattr(item, "reason")
        item.reason = "y"
        with pytest.raises(ValueError, match="size"):
            item.update(taken="x", size=-1)
        assert item.reason == "y"
        assert item.owner.name == "first"
    assert stored(database) == before


@pytest.mark.usefixtures("filled")
def test_makes_no_orphan_of_what_belongs_to_a_record_that_is_not_loaded(
    database: Database,
) -> None:
    before = database.rows("SELECT * FROM part ORDER BY id")
    with unit_of_work():
        item: Any = Item.get(1)
        with pytest.raises(ValueError, match="size"):
            item.update(parts=Part.query.filter(item__id=2).all(), size=-1)
    assert database.rows("SELECT * FROM part ORDER BY id") == before


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("new", [True, False])
def test_asks_no_validator_a_second_time(database: Database, new: bool) -> None:
    with unit_of_work():
        owner: Any = Owner() if new else Owner.get(1)
        owner.secret = "x"
        with pytest.raises(ValueError, match="name"):
            owner.update(secret="y", name="")
        assert owner.changes()["secret"][1] == "hash of x"
        owner.update(name="z")
    assert database.rows("SELECT secret FROM owner WHERE name = 'z'") == [("hash of x",)]


@pytest.mark.usefixtures("filled")
def test_writes_back_what_was_flushed_meanwhile(database: Database) -> None:
    with unit_of_work():
        owner: Any = Owner.get(1)
        with pytest.raises(ValueError, match="name"):
            owner.update(note="x", secret="flushes", name="")  # which saves another record
        assert (owner.note, owner.secret) == (None, None)
    rows = database.rows("SELECT name, note, secret FROM owner WHERE id = 1")
    assert rows == [("first", None, None)]


@pytest.mark.usefixtures("filled")
def test_leaves_nothing_that_looks_like_a_change() -> None:
    with unit_of_work(read_only=True):
        for case, (name, value) in VALUES.items():
            item: Any = Item.get(1)
            given = value()
            with pytest.raises(ValueError, match="size"):
                item.update(**{name: given}, size=-1)
            assert not has_changes(session()), case
            assert Owner.query.count() == 2


@pytest.mark.usefixtures("filled")
def test_keeps_the_order_of_what_is_loaded(database: Database) -> None:
    with unit_of_work():
        item, other = Item.query.order_by("id").all()
        first, second = item.parts
        with pytest.raises(ValueError, match="size"):
            other.update(parts=[first], size=-1)
        assert item.parts == [first, second]
        with pytest.raises(ValueError, match="text"):
            first.update(item=other, text="")
        assert item.parts == [first, second]


@pytest.mark.usefixtures("filled")
def test_puts_dynamic_relations_back(database: Database) -> None:
    before = database.rows("SELECT id, owner_id FROM pet ORDER BY id")
    for pets in ([], [2], [1, 2]):
        with unit_of_work():
            owner: Any = Owner.get(1)
            with pytest.raises(ValueError, match="name"):
                owner.update(pets=[Pet.get(number) for number in pets], name="")
        assert database.rows("SELECT id, owner_id FROM pet ORDER BY id") == before


@pytest.mark.usefixtures("filled")
def test_sets_a_relation_that_must_not_be_loaded(database: Database) -> None:
    with unit_of_work():
        item: Any = Item.query.strict().filter(id=1).one()
        item.update(single=Single(code="new"))
    assert database.rows("SELECT code FROM single WHERE item_id = 1") == [("new",)]


@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("given", VALUES)
@pytest.mark.parametrize("number", [1, 7], ids=["detached", "new"])
def test_sets_what_assignment_sets_outside_of_a_session(given: str, number: int) -> None:
    name, value = VALUES[given]

    def outcome(put: Callable[[Any, str, Any], None]) -> type[Exception] | None:
        with unit_of_work():
            item: Any = Item.get(number) or Item(id=7, name="b", size=1, data={}, place=Place(1, 1))
        with unit_of_work(read_only=True):
            try:
                put(item, name, value())
            except Exception as error:
                return type(error)
            finally:
                session.expunge_all()
        return None

    by_assignment = outcome(setattr)
    assert outcome(lambda item, name, new: assign(item, {name: new})) == by_assignment


@pytest.mark.usefixtures("filled")
def test_sets_a_relation_that_can_only_be_written(database: Database) -> None:
    with unit_of_work():
        Owner().update(name="new", logs=[Log(), Log()])
    assert database.scalar("SELECT count(*) FROM log WHERE owner_id IS NOT NULL") == 2


@pytest.mark.usefixtures("filled")
def test_brings_no_detached_record_in(database: Database) -> None:
    with unit_of_work():
        item: Any = Item.get(1)
    item.name = "local"
    with unit_of_work():
        with pytest.raises(ValueError, match="size"):
            item.update(size=-1)
        assert item not in session
    assert database.scalar("SELECT count(*) FROM item WHERE name = 'local'") == 0


@pytest.mark.usefixtures("filled")
def test_finishes_whatever_interrupts() -> None:
    with unit_of_work():
        item: Any = Item.get(1)
        label = item.labels[0]

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        event.listen(Item.labels, "append", interrupt)
        try:
            with pytest.raises(KeyboardInterrupt):
                item.update(name="z", labels=[], size=-1)
        finally:
            event.remove(Item.labels, "append", interrupt)
        assert item.name == "a"
        item.labels = [label]


@pytest.mark.usefixtures("filled")
def test_sends_nothing_while_it_sets(database: Database) -> None:
    with unit_of_work():
        item: Any = Item.get(1)
        with pytest.raises(ValueError, match="size"):
            item.update(name="sent", labels=[], size=-1)  # loads the old labels
        assert session.autoflush
    assert database.scalar("SELECT count(*) FROM item WHERE name = 'sent'") == 0


@pytest.mark.usefixtures("filled")
def test_does_not_touch_a_record_of_another_session(database: Database) -> None:
    with unit_of_work():
        item: Any = Item.get(1)
        with (
            unit_of_work(independent=True, read_only=True),
            pytest.raises(InvalidRequestError, match="already attached"),
        ):
            item.update(name="z")
        assert item.name == "a"
    with unit_of_work():
        twin: Any = Item.get(1)
        with pytest.raises(InvalidRequestError, match="already present"):
            item.update(name="z")
        assert (item.name, twin.name) == ("a", "a")
    assert database.scalar("SELECT count(*) FROM item WHERE name = 'z'") == 0
