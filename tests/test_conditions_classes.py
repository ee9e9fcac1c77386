"""Lookups across relations between classes: in several tables, in one, with keys of two columns."""

from typing import Any

import pytest
from sqlalchemy import Engine

from activebase import InvalidLookupError, session, unit_of_work
from tests.catalog import Badge, Car, Desk, Engineer, Person, Room, Vehicle
from tests.catalog_tables import check_complement, create, names
from tests.databases import EACH, database_of

pytest_plugins = ["tests.core_fixtures"]

database = pytest.fixture(params=EACH)(database_of)


@pytest.fixture
def staff(engine: Engine) -> None:
    create(engine, Person, Engineer, Badge, Vehicle, Room, Desk)
    with unit_of_work():
        ada = Engineer(name="Ada", language="py", badge=Badge(colour="red")).save()
        bob = Engineer(name="Bob", lead=ada).save()
        cyd = Person(name="Cyd").save()
        van = Vehicle(plate="van", owner=cyd).save()
        mini = Car(plate="mini", doors=3, owner=ada, towed_by_id=van.id).save()
        Car(plate="limo", doors=5, owner=ada).save()
        Vehicle(plate="bike", owner=bob, towed_by_id=mini.id).save()
        big, small = Room(building="a", number=1, seats=9), Room(building="b", number=1)
        session.add_all([Desk(room=big), Desk(room=big), Desk(room=small), Desk(room_number=1)])


STAFF: list[tuple[Any, dict[str, Any], str]] = [
    (Person, {"vehicles__plate": "van"}, "Cyd"),
    (Person, {"vehicles__isnull": True}, ""),
    (Person, {"cars__isnull": True}, "Bob Cyd"),
    (Person, {"cars__doors__gte": 3}, "Ada"),
    (Person, {"badge": None}, "Bob Cyd"),
    (Person, {"badge__isnull": False}, "Ada"),
    (Person, {"badge__person_id__gt": 0}, "Ada"),
    (Person, {"badge__colour": "red"}, "Ada"),
    (Person, {"badge__colour__isnull": True}, "Bob Cyd"),
    (Person, {"vehicles__owner__name": "Ada"}, "Ada"),
    (Person, {"vehicles__owner__name": Person.name}, "Ada Bob Cyd"),
    (Person, {"vehicles__owner__id__ne": Person.id}, ""),
    (Engineer, {"name": "Ada", "language__isnull": False}, "Ada"),
    (Engineer, {"lead__name": "Ada"}, "Bob"),
    (Engineer, {"lead__language": "py"}, "Bob"),
    (Engineer, {"lead": None}, "Ada"),
    (Engineer, {"team__name": "Bob"}, "Ada"),
    (Engineer, {"team__lead__team__isnull": False}, "Ada"),
    (Engineer, {"team__vehicles__plate": "bike"}, "Ada"),
    (Engineer, {"vehicles__towed_by__doors": 3}, "Bob"),
    (Vehicle, {"owner__name": "Ada"}, "limo mini"),
    (Vehicle, {"owner__badge__colour": "red", "plate__startswith": "l"}, "limo"),
    (Vehicle, {"towed_by__doors": 3}, "bike"),
    (Vehicle, {"towed_by__plate": "van"}, ""),
    (Vehicle, {"towed_by__isnull": False}, "bike"),  # what tows the mini is no car
    (Vehicle, {"towed_by": None}, "limo mini van"),
    (Vehicle, {"towed_by__id__isnull": True}, "limo mini van"),
    (Vehicle, {"towed_by__owner__name": "Ada"}, "bike"),
    (Car, {"plate__contains": "i"}, "limo mini"),
    (Car, {"owner__name": "Bob"}, ""),
]

DESKS: list[tuple[dict[str, Any], list[int]]] = [
    ({"room": ("a", 1)}, [1, 2]),
    ({"room__pk": ["a", 1]}, [1, 2]),
    ({"room__pk": ("a", "1")}, [1, 2]),
    ({"room__ne": ("a", 1)}, [3]),
    ({"room__in": [("b", 1), ("b", 2), None]}, [3]),
    ({"room__in": [("b", 2**70)]}, []),
    ({"room__in": [("b", 1), ("b", 2**70)]}, [3]),
    ({"room__not_in": [("b", 1)]}, [1, 2]),
    ({"room__not_in": [("a", 2**70), ("b", 1)]}, [1, 2]),
    ({"room__not_in": []}, [1, 2, 3, 4]),
    ({"room": None}, [4]),
    ({"room__isnull": False}, [1, 2, 3]),
    ({"room__building": "a"}, [1, 2]),
    ({"room__building": "a", "room__number__gt": 1}, []),
    ({"room__building": "a", "room__seats": 9}, [1, 2]),
    ({"room__seats__isnull": True}, [3, 4]),
    ({"room__desks__id": 2}, [1, 2]),
    ({"room__in": Room.query.filter(seats=9)}, [1, 2]),
    ({"room__in": [("a", Desk.room_number)]}, [1, 2]),
]


def test_follows_relations_between_classes(staff: None) -> None:
    wrong = []
    with unit_of_work(read_only=True):
        for model, lookups, expected in STAFF:
            found = names(model.query.filter(**lookups))
            if found != expected:
                wrong.append((model, lookups, found, expected))
            check_complement(model, lookups, "id")
    assert wrong == []


def test_follows_keys_of_several_columns(staff: None) -> None:
    wrong = []
    with unit_of_work(read_only=True):
        for lookups, expected in DESKS:
            found = Desk.query.filter(**lookups).order_by("id").pluck("id")
            if found != expected:
                wrong.append((lookups, found, expected))
            check_complement(Desk, lookups, "id")
        assert Room.query.filter(desks__isnull=True).count() == 0
        assert Room.query.filter(pk__in=[("a", 1), ("z", 9)]).pluck("seats") == [9]
        assert Room.query.exclude(pk=("a", 1)).pluck("building") == ["b"]
        assert Room.query.filter(desks__room__building="a").pluck("building") == ["a"]
    assert wrong == []


@pytest.mark.parametrize(
    "key", [("a",), ("a", 1, 2), ("a", None), (None, None), "a1", 3, {"building": "a"}, ("a", "x")]
)
def test_refuses_what_is_no_key_of_several_columns(key: Any) -> None:
    for model, name in ((Room, "pk"), (Desk, "room")):
        with pytest.raises(InvalidLookupError):
            model.q(**{name: key})
    with pytest.raises(InvalidLookupError):
        Room.q(pk__in=[("a", 1), key])
