"""What the models stand on: Flask-SQLAlchemy with activebase's verbs, and exact money."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, MetaData, Numeric
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator, TypeEngine

from activebase import MyBase

CENT = Decimal("0.01")

# Every constraint has a name: errors can tell which rule was broken, migrations can change it.
NAMES = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
}


class Base(MyBase, DeclarativeBase):
    """The base of the models: `MyBase` brings save(), update(), delete() and query."""

    metadata = MetaData(naming_convention=NAMES)


db = SQLAlchemy(model_class=Base)

if TYPE_CHECKING:
    Model = Base  # type checkers can't follow db.Model, which is made at run time from Base
else:
    Model = db.Model


class Money(TypeDecorator[Decimal]):
    """An exact amount of US dollars, as a Decimal with two places.

    NUMERIC(18, 2), but on SQLite, which would make it a float, a whole number of cents.
    """

    impl = Numeric(18, 2)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(Numeric(18, 2))

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> Decimal | int | None:
        if value is None:
            return None
        amount = Decimal(value).quantize(CENT)
        return int(amount / CENT) if dialect.name == "sqlite" else amount

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        if value is None:
            return None
        return value * CENT if dialect.name == "sqlite" else Decimal(value)


def now() -> datetime:
    """Return the current moment in UTC."""
    return datetime.now(UTC)
