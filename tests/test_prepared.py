"""`get()` does what `Session.get` does, by a statement that is made once."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine, ForeignKey, String, event, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    scoped_session,
    sessionmaker,
)

from activebase import MyBase, session, unit_of_work
from activebase.mixins import SoftDelete
from tests.databases import EACH, Database, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


class Zoo(MyBase, DeclarativeBase):
    type_annotation_map = {str: String(50)}  # noqa: RUF012  # MariaDB wants a length


class Keeper(Zoo):
    __tablename__ = "keeper"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    animals: Mapped[list["Animal"]] = relationship(lazy="joined", order_by="Animal.id")


class Animal(Zoo):
    __tablename__ = "animal"
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "animal"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    keeper_id: Mapped[int | None] = mapped_column(ForeignKey("keeper.id"))


class Bird(Animal):
    __tablename__ = "bird"
    __mapper_args__ = {"polymorphic_identity": "bird"}  # noqa: RUF012

    id: Mapped[int] = mapped_column(ForeignKey("animal.id"), primary_key=True)
    wings: Mapped[int]


class Cage(Zoo):
    __tablename__ = "cage"

    row: Mapped[int] = mapped_column(primary_key=True)
    place: Mapped[int] = mapped_column(primary_key=True)


class Ticket(Zoo):
    __tablename__ = "ticket"

    code: Mapped[UUID] = mapped_column(primary_key=True, default=uuid4)
    pk: Mapped[int]


class Guest(SoftDelete, Zoo):
    __tablename__ = "guest"

    name: Mapped[str] = mapped_column(primary_key=True)


@pytest.fixture
def sent(engine: Engine) -> list[str]:
    """What is sent to the database from here on."""
    Zoo.metadata.create_all(engine)
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *details: statements.append(details[2]))
    return statements


def test_finds_what_the_session_has_without_asking(sent: list[str]) -> None:
    with unit_of_work():
        ada = Keeper(name="ada").save()
        sent.clear()
        assert Keeper.get(ada.id) is ada
        assert Keeper.query.get(ada.id) is ada
        assert sent == []


def test_asks_once_for_what_the_session_has_not(sent: list[str]) -> None:
    with unit_of_work():
        Keeper(name="ada").save()
    with unit_of_work():
        sent.clear()
        ada = Keeper.get(1)
        assert ada is not None
        assert Keeper.get(1) is ada
        assert Keeper.get(2) is None
        assert len([statement for statement in sent if "SELECT" in statement]) == 2


def test_reads_a_record_again_that_is_expired(sent: list[str], database: Database) -> None:
    with unit_of_work():
        Keeper(name="ada").save()
    with unit_of_work(read_only=True):
        ada = Keeper.get(1)
        assert ada is not None
        session.expire(ada)
        sent.clear()
        assert Keeper.get(1) is ada
        assert ada.name == "ada"
        assert [statement.split()[0] for statement in sent] == ["SELECT"]


@pytest.mark.parametrize("key", ["1", "x", 1.0, None, 2**70, True, b"1", (1,), {"id": 1}])
def test_takes_a_key_as_the_session_does(sent: list[str], key: Any) -> None:
    with unit_of_work():
        Keeper(name="ada").save()

    def outcome(get: Any) -> Any:
        try:
            with unit_of_work(read_only=True):
                found = get()
                return found and found.name
        except Exception as error:
            return type(error)

    expected = outcome(lambda: session.get(Keeper, key))
    assert outcome(lambda: Keeper.get(key)) == expected
    assert outcome(lambda: Keeper.query.get(key)) == expected


def test_takes_keys_of_several_columns_of_text_and_of_uuids(sent: list[str]) -> None:
    with unit_of_work():
        Cage(row=1, place=2).save()
        ticket = Ticket(pk=7).save()
        Guest(name="eve").save()
    with unit_of_work():
        assert Cage.get((1, 2)) is not None
        assert Cage.get({"row": 1, "place": 3}) is None
        assert Ticket.get(ticket.code) is not None
        assert Ticket.get(uuid4()) is None
        assert Guest.get("eve") is not None
        assert Guest.get("") is None


def test_loads_what_the_model_loads_by_join(sent: list[str]) -> None:
    with unit_of_work():
        Keeper(name="ada", animals=[Animal(), Bird(wings=2), Animal()]).save()
    with unit_of_work():
        ada = Keeper.get(1)
        assert ada is not None
        assert [type(animal) for animal in ada.animals] == [Animal, Bird, Animal]
        assert [keeper.name for keeper in Keeper.query.all()] == ["ada"]
        first = Keeper.query.filter(name="ada").options(joinedload(Keeper.animals)).first()
        assert first is ada


def test_gives_the_record_of_a_subclass(sent: list[str]) -> None:
    with unit_of_work():
        Animal().save()
        Bird(wings=2).save()
    with unit_of_work():
        bird = Animal.get(2)
        assert isinstance(bird, Bird)
        assert Bird.get(2) is bird
        assert Bird.get(1) is None
        assert Animal.get(1) is not None
        assert Bird.get(1) is None  # it is known now, as another one


def test_hides_deleted_records(sent: list[str]) -> None:
    with unit_of_work():
        Guest(name="eve").save().delete()
    with unit_of_work():
        assert Guest.get("eve") is None
        hidden = Guest.query.with_deleted().get("eve")
        assert hidden is not None
        assert Guest.get("eve") is None


def test_flushes_what_is_waiting(sent: list[str]) -> None:
    with unit_of_work():
        session.add(Cage(row=4, place=4))
        session.add(Guest(name="new"))
        assert Guest.get("new") is not None


def test_finds_the_columns_and_relations_of_a_subclass_that_is_made_later(sent: list[str]) -> None:
    class Reptiles(MyBase, DeclarativeBase):
        pass

    class Reptile(Reptiles):
        __tablename__ = "reptile"
        __mapper_args__ = {  # noqa: RUF012
            "polymorphic_on": "kind",
            "polymorphic_identity": "reptile",
            "with_polymorphic": "*",
        }
        id: Mapped[int] = mapped_column(primary_key=True)
        kind: Mapped[str] = mapped_column(String(20))

    engine = session.get_bind()
    Reptiles.metadata.create_all(engine)
    with unit_of_work():
        Reptile().save()
    with unit_of_work():
        assert len(Reptile.query.all()) == 1
        assert Reptile.get(1) is not None

    class Snake(Reptile):
        __tablename__ = "snake"
        __mapper_args__ = {"polymorphic_identity": "snake"}  # noqa: RUF012
        id: Mapped[int] = mapped_column(ForeignKey("reptile.id"), primary_key=True)
        length: Mapped[int]
        eggs: Mapped[list["Egg"]] = relationship(lazy="joined")

    class Egg(Reptiles):
        __tablename__ = "egg"
        id: Mapped[int] = mapped_column(primary_key=True)
        snake_id: Mapped[int] = mapped_column(ForeignKey("snake.id"))

    Reptiles.metadata.create_all(engine)
    with unit_of_work():
        Snake(length=3, eggs=[Egg(), Egg()]).save()
    try:
        with unit_of_work():
            sent.clear()
            snake = Reptile.query.order_by("id").all()[-1]
            assert isinstance(snake, Snake)
            assert (snake.length, len(snake.eggs)) == (3, 2)
            assert len([statement for statement in sent if "SELECT" in statement]) == 1
        with unit_of_work():
            assert isinstance(Reptile.get(2), Snake)
    finally:
        Reptiles.metadata.drop_all(engine)


def test_is_the_same_in_a_session_of_sqlalchemy_s(sent: list[str]) -> None:
    with unit_of_work():
        Keeper(name="ada").save()
    with Session(session.get_bind()) as other:
        found = other.scalars(Keeper.query.filter(id=1)).unique().one()
        again = aliased(Keeper)
        assert found.name == "ada"
        assert other.scalars(select(again.name)).all() == ["ada"]


class Badge(Zoo):
    __tablename__ = "badge"

    id: Mapped[int] = mapped_column(primary_key=True)
    keeper_id: Mapped[int] = mapped_column(ForeignKey("keeper.id"))
    keeper: Mapped[Keeper] = relationship()


READS: dict[str, Any] = {
    "all": lambda query: query.all()[0],
    "first": lambda query: query.first(),
    "last": lambda query: query.last(),
    "one": lambda query: query.one(),
    "page": lambda query: query.paginate().items[0],
    "cursor": lambda query: query.cursor().items[0],
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_gives_each_record_once_where_a_related_one_brings_a_join(
    sent: list[str], read: Any
) -> None:
    with unit_of_work():
        ada = Keeper(name="ada", animals=[Animal(), Animal()]).save()
        Badge(keeper=ada).save()
    with unit_of_work():
        badge = read(Badge.query.with_related("keeper"))
        assert len(badge.keeper.animals) == 2


def test_asks_once_where_a_related_one_brings_a_join(sent: list[str]) -> None:
    with unit_of_work():
        Badge(keeper=Keeper(name="ada", animals=[Animal()]).save()).save()
    with unit_of_work():
        sent.clear()
        assert len(Badge.query.with_related("keeper").all()) == 1
        assert len([statement for statement in sent if "SELECT" in statement]) == 1


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_gives_each_record_once_where_an_event_adds_a_join(sent: list[str], read: Any) -> None:
    def join(state: Any) -> None:
        if state.is_select and state.statement.column_descriptions[0]["expr"] is Badge:
            state.statement = state.statement.options(
                joinedload(Badge.keeper).joinedload(Keeper.animals)
            )

    with unit_of_work():
        ada = Keeper(name="ada", animals=[Animal(), Animal()]).save()
        Badge(keeper=ada).save()
    event.listen(Session, "do_orm_execute", join)
    try:
        with unit_of_work():
            badge = read(Badge.query)
            assert len(badge.keeper.animals) == 2
            assert Badge.get(1) is badge
        with unit_of_work():
            assert Badge.get(1) is not None
            assert Badge.get_by(id=1) is not None
    finally:
        event.remove(Session, "do_orm_execute", join)


class TenantSession(Session):
    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        found = super().get(entity, ident, **options)
        return None if found is not None and found.name == "foreign" else found


class Tenants(MyBase, DeclarativeBase):
    session = scoped_session(sessionmaker(class_=TenantSession))


class Room(Tenants):
    __tablename__ = "room"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))


def test_asks_a_session_that_gets_in_its_own_way(engine: Engine) -> None:
    Tenants.session.configure(bind=engine)
    Tenants.metadata.create_all(engine)
    try:
        with unit_of_work(session=Tenants.session):
            Room(name="foreign").save()
            Room(name="own").save()
        with unit_of_work(session=Tenants.session):
            assert Room.get(1) is None
            assert Room.query.get(1) is None
            assert Room.get(2) is not None
    finally:
        Tenants.metadata.drop_all(engine)
