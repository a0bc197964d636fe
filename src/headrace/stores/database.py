"""Relational tables behind one URL: SQLite here, a server later. Schemas are Alembic migrations, applied when a service opens.

Each service has its own tables and its own ``migrations`` folder beside its code; no service reads another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import (
    Connection,
    CursorResult,
    Dialect,
    Engine,
    ExceptionContext,
    Insert,
    create_engine,
    event,
)
from sqlalchemy.sql.compiler import SQLCompiler

from headrace.disk import unavailable
from headrace.errors import StorageUnavailable, UnusableDirectory

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000")
"""FULL: a commit that was answered is on the disk."""


def sqlite_url(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path}"


def open_database(url: str, package: str) -> Engine:
    """An engine whose tables are those of `package`'s newest migration. Call in a thread: migrations take their time.

    Args:
        package: a service's package with a ``migrations`` folder (``env.py``, ``versions/``).
    """
    # the connection that was used last has its statements prepared and its pages read
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"), pool_use_lifo=True)
    if url.startswith("sqlite"):
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        event.listen(engine, "connect", _pragmas)
    event.listen(engine, "handle_error", _full)
    config = Config()
    config.set_main_option("script_location", str(files(package) / "migrations"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OSError as error:
        engine.dispose()
        raise UnusableDirectory(path=url, reason=error.strerror) from error
    except BaseException:
        engine.dispose()
        raise
    return engine


class Inserting:
    """Puts rows into a table by the text that SQLAlchemy once made of a statement. To find that text again, and to look at each
    value, costs it four times of what SQLite needs for the row: felt where a registration writes five.

    Args:
        columns: all that a row gives; their values must be what the driver takes as they are.
    """

    def __init__(self, statement: Insert, *columns: str) -> None:
        self._statement, self._columns = statement, columns
        self._texts: dict[str, tuple[str, list[str] | None]] = {}

    def __call__(self, connection: Connection, row: Mapping[str, Any]) -> CursorResult[Any]:
        """Put one row."""
        text, places = self._texts.get(connection.dialect.name) or self._text(connection.dialect)
        return connection.exec_driver_sql(text, tuple(row[each] for each in places) if places else dict(row))

    def _text(self, dialect: Dialect) -> tuple[str, list[str] | None]:
        """The text, and the columns in the order of its places if these have no names."""
        made = self._statement.compile(dialect=dialect, column_keys=list(self._columns))
        assert isinstance(made, SQLCompiler)
        found = self._texts[dialect.name] = str(made), list(made.positiontup) if made.positiontup else None
        return found


def _full(context: ExceptionContext) -> None:
    """A disk that is full or failing passes: it is not a mistake of ours, or of the caller."""
    original = context.original_exception
    if unavailable(original):
        raise StorageUnavailable(detail=str(original)) from original


def _pragmas(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    for pragma in PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()
