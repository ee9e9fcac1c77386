"""Models with the mixins, in every order and shape, for their tests."""

from sqlalchemy import Column, ForeignKey, MetaData, String, Table
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    MappedAsDataclass,
    declared_attr,
    mapped_column,
    relationship,
)

from activebase import MyBase
from activebase.base import NAMING_CONVENTION
from activebase.mixins import SoftDelete, Timestamps, Versioned


class Newsroom(MyBase, DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Desk(Newsroom):
    """Not soft-deleted itself, with writers who are."""

    __tablename__ = "desk"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    writers: Mapped[list["Writer"]] = relationship(
        back_populates="desk", cascade="all, delete-orphan"
    )


class Writer(SoftDelete, Newsroom):
    __tablename__ = "writer"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(50))
    desk_id: Mapped[int | None] = mapped_column(ForeignKey("desk.id"))
    editor_id: Mapped[int | None] = mapped_column(ForeignKey("writer.id"))
    desk: Mapped[Desk | None] = relationship(back_populates="writers")
    editor: Mapped["Writer | None"] = relationship(remote_side=[id])
    stories: Mapped[list["Story"]] = relationship(
        back_populates="writer", cascade="all, delete-orphan"
    )


story_label = Table(
    "story_label",
    Newsroom.metadata,
    Column("story_id", ForeignKey("story.id"), primary_key=True),
    Column("label_id", ForeignKey("label.id"), primary_key=True),
)


class Story(Newsroom, Versioned, SoftDelete, Timestamps):
    """The mixins behind the base."""

    __tablename__ = "story"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(50))
    writer_id: Mapped[int | None] = mapped_column(ForeignKey("writer.id"))
    writer: Mapped[Writer | None] = relationship(back_populates="stories")
    comments: Mapped[list["Comment"]] = relationship(
        back_populates="story", cascade="all, delete-orphan"
    )
    labels: Mapped[list["Label"]] = relationship(secondary=story_label, back_populates="stories")


class Comment(SoftDelete, Newsroom):
    __tablename__ = "comment"

    id: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str] = mapped_column(String(50))
    story_id: Mapped[int | None] = mapped_column(ForeignKey("story.id"))
    story: Mapped[Story | None] = relationship(back_populates="comments")


class Label(SoftDelete, Newsroom):
    __tablename__ = "label"

    id: Mapped[int] = mapped_column(primary_key=True)
    word: Mapped[str] = mapped_column(String(50), unique=True)
    stories: Mapped[list[Story]] = relationship(secondary=story_label, back_populates="labels")


class Asset(Timestamps, SoftDelete, Versioned, Newsroom):
    """The root of a hierarchy, with mapper arguments of its own."""

    __tablename__ = "asset"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    file: Mapped[str] = mapped_column(String(50))

    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "asset"}  # noqa: RUF012


class Photo(Asset):
    """In the table of its root."""

    width: Mapped[int | None]

    __mapper_args__ = {"polymorphic_identity": "photo"}  # noqa: RUF012


class Film(Asset):
    """In a table of its own as well."""

    __tablename__ = "film"

    id: Mapped[int] = mapped_column(ForeignKey("asset.id"), primary_key=True)
    seconds: Mapped[int] = mapped_column(default=0)

    __mapper_args__ = {"polymorphic_identity": "film"}  # noqa: RUF012


class Contract(Versioned, Newsroom):
    """A hierarchy whose mapper arguments are computed."""

    __tablename__ = "contract"

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    fee: Mapped[int] = mapped_column(default=0)

    @declared_attr.directive
    def __mapper_args__(cls):  # type: ignore[no-untyped-def]  # noqa: N805  # as SQLAlchemy wants it
        return {"polymorphic_on": cls.kind, "polymorphic_identity": cls.__name__}


class Retainer(Contract):
    pass


class Draft(MappedAsDataclass, Timestamps, SoftDelete, Versioned, Newsroom, kw_only=True):
    __tablename__ = "draft"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    text: Mapped[str] = mapped_column(String(50))
