"""Models that the tests of the core and of the boundaries share."""

import re
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, MetaData, String
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from activebase import MyBase
from activebase.base import NAMING_CONVENTION


class Base(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {str: String(200)}  # noqa: RUF012  # MariaDB wants a length


class Member(Base):
    __tablename__ = "member"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50), unique=True)
    email: Mapped[str | None] = mapped_column(String(100), unique=True)
    age: Mapped[int | None]
    entries: Mapped[list["Entry"]] = relationship(back_populates="member")


class Entry(Base):
    """A row whose foreign key is only checked by COMMIT; on MariaDB, which can't, at once."""

    __tablename__ = "entry"
    __table_args__ = (CheckConstraint("amount >= 0", name="not_negative"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    member_id: Mapped[int | None] = mapped_column(
        ForeignKey("member.id", deferrable=True, initially="DEFERRED")
    )
    member: Mapped[Member | None] = relationship(back_populates="entries")


class Document(Base):
    """A row with a version counter."""

    __tablename__ = "document"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    version: Mapped[int] = mapped_column()

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012  # SQLAlchemy reads a plain dict


@compiles(ForeignKeyConstraint, "mysql", "mariadb")
def _without_deferral(constraint: ForeignKeyConstraint, compiler: Any, **options: Any) -> str:
    sql: str = compiler.visit_foreign_key_constraint(constraint, **options)
    return re.sub(" DEFERRABLE| INITIALLY DEFERRED", "", sql)
