"""The mixins in class definitions: any order, any base, and what is refused."""

from itertools import permutations
from typing import Any

import pytest
from sqlalchemy import ForeignKey, Integer, String, inspect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from activebase import MyBase
from activebase.mixins import SoftDelete, Timestamps, Versioned
from tests.core import run_python
from tests.newsroom import Asset, Contract, Draft, Retainer, Story

OF_MIXINS = ["created_at", "updated_at", "deleted_at", "version"]


@pytest.fixture
def depot() -> Any:
    """A base of the test's own."""

    class Depot(MyBase, DeclarativeBase):
        pass

    return Depot


def test_stand_in_any_order_before_and_behind_the_base(depot: Any) -> None:
    for number, bases in enumerate(permutations((Timestamps, SoftDelete, Versioned, depot))):
        body = {
            "__tablename__": f"box{number}",
            "__module__": __name__,
            "id": mapped_column(Integer, primary_key=True),
            "kind": mapped_column(String),
            "__mapper_args__": {"polymorphic_on": "kind"},
        }
        box: Any = type(f"Box{number}", bases, body)
        assert box.__mapper__.version_id_col is box.__table__.c.version
        assert box.__mapper__.polymorphic_on is box.__table__.c.kind
        assert box.delete is not MyBase.delete
        assert [column.name for column in box.__table__.columns] == ["id", "kind", *OF_MIXINS]


def test_put_their_columns_behind_those_of_the_model() -> None:
    for model in (Story, Draft):
        assert [column.name for column in model.__table__.columns][-4:] == OF_MIXINS


def test_keep_the_mapper_arguments_of_the_model() -> None:
    asset = inspect(Asset)
    assert asset.polymorphic_on is Asset.__table__.c.kind
    assert asset.version_id_col is Asset.__table__.c.version
    assert [mapper.version_id_col for mapper in asset.self_and_descendants] == (
        [asset.version_id_col] * 3
    )
    assert inspect(Retainer).polymorphic_identity == "Retainer"
    assert inspect(Retainer).version_id_col is Contract.__table__.c.version


def test_keep_the_mapper_arguments_of_abstract_bases_and_other_mixins(depot: Any) -> None:
    class Tracked(Versioned):
        pass

    class Base(SoftDelete, Tracked, depot):
        __abstract__ = True
        __mapper_args__ = {"eager_defaults": True}  # noqa: RUF012

    class Ferry(Base):
        __tablename__ = "ferry"
        id: Mapped[int] = mapped_column(primary_key=True)

    class Boat(Base):
        __tablename__ = "boat"
        id: Mapped[int] = mapped_column(primary_key=True)
        version: Mapped[int] = mapped_column("row_version")
        __mapper_args__ = {"eager_defaults": False}  # noqa: RUF012

    assert inspect(Ferry).version_id_col is Ferry.__table__.c.version
    assert inspect(Ferry).eager_defaults is True
    assert inspect(Boat).version_id_col is Boat.__table__.c.row_version
    assert inspect(Boat).eager_defaults is False
    assert "deleted_at" in Boat.__table__.columns


def test_refuse_to_hold_for_half_of_a_hierarchy(depot: Any) -> None:
    class Vehicle(depot):
        __tablename__ = "vehicle"
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(TypeError, match=r"Bus is Versioned, but Vehicle.* Mix Versioned into"):

        class Bus(Versioned, Vehicle):
            __tablename__ = "bus"
            id: Mapped[int] = mapped_column(ForeignKey("vehicle.id"), primary_key=True)

    with pytest.raises(TypeError, match=r"Van is SoftDelete, but Vehicle.* Mix SoftDelete into"):

        class Van(SoftDelete, Vehicle):
            pass


def test_refuse_a_mapping_that_would_not_lock(depot: Any) -> None:
    with pytest.raises(TypeError, match="Tram is Versioned, but its mapping has no version_id_col"):

        class Tram(Versioned, depot):
            __tablename__ = "tram"
            id: Mapped[int] = mapped_column(primary_key=True)

            __mapper_args__ = {"version_id_col": None}  # noqa: RUF012

    class Rail(Versioned, depot):
        __tablename__ = "rail"
        id: Mapped[int] = mapped_column(primary_key=True)

    with pytest.raises(TypeError, match="Metro is Versioned, but its mapping"):

        class Metro(Rail):
            __tablename__ = "metro"
            id: Mapped[int] = mapped_column(primary_key=True)

            __mapper_args__ = {"concrete": True}  # noqa: RUF012


def test_listens_only_once_there_is_a_model_to_hide() -> None:
    look = """
from sqlalchemy import event
from sqlalchemy.orm import Mapped, mapped_column
from activebase import MyModel
from activebase.session import ActiveSession
import activebase.hiding, activebase.mixins

def listens():
    return (
        event.contains(ActiveSession, "do_orm_execute", activebase.hiding._hide_deleted),
        "_identity_lookup" in vars(ActiveSession),
    )

class Plain(activebase.mixins.Timestamps, activebase.mixins.Versioned, MyModel):
    __tablename__ = "plain"
    id: Mapped[int] = mapped_column(primary_key=True)

assert listens() == (False, False)

class Soft(activebase.mixins.SoftDelete, MyModel):
    __tablename__ = "soft"
    id: Mapped[int] = mapped_column(primary_key=True)

assert listens() == (True, True)
"""
    done = run_python(look)
    assert done.returncode == 0, done.stderr
