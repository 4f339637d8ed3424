# SPDX-License-Identifier: Apache-2.0
"""The table as SQLAlchemy maps it."""
from sqlalchemy import Text, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    k: Mapped[str] = mapped_column(Text, primary_key=True)
    v: Mapped[dict] = mapped_column(JSONB)


def connect(url):
    """An engine whose connection is there already: connecting is not what is measured."""
    engine = create_engine(url)
    engine.connect().close()
    return engine
