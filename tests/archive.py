"""A second database: a base with a scoped session of its own."""

from typing import Any, ClassVar

from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from activebase import MyBase

archive: scoped_session[Any] = scoped_session(sessionmaker())


class Archive(MyBase, DeclarativeBase):
    session: ClassVar[scoped_session[Any]] = archive


class Record(Archive):
    __tablename__ = "record"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
