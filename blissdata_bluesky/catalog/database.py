"""The database behind a catalog: where it is, its tables and indexes."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import weakref
from pathlib import Path
from typing import Any

from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine
from tiled.alembic_utils import UninitializedDatabase
from tiled.catalog.adapter import Context
from tiled.catalog.core import REQUIRED_REVISION, check_catalog_database, initialize_database
from tiled.server.settings import DatabaseSettings
from tiled.utils import ensure_specified_sql_driver

from .paths import index_statements


class Database:
    """A SQLite file or a PostgreSQL database; without `uri` a SQLite file that lives as long as the catalog."""

    def __init__(self, uri: str | Path | None) -> None:
        self._temporary = None if uri is not None else Path(tempfile.gettempdir(), f"blissdata-catalog-{uuid.uuid4()}")
        place = self._temporary / "catalog.db" if self._temporary is not None else uri
        self.settings = DatabaseSettings(uri=str(ensure_specified_sql_driver(place)), pool_pre_ping=False)

    def context(self, adapters_by_mimetype: dict[str, Any]) -> Context:
        """Tiled's own object that holds the engine. Nothing is connected yet."""
        context = Context(self.settings, adapters_by_mimetype=adapters_by_mimetype)
        if context.engine.dialect.name == "sqlite":
            event.listen(context.engine.sync_engine, "connect", _tune_sqlite)
        return context

    async def prepare(self, engine: AsyncEngine) -> None:
        """Make tables and indexes that are missing; harmless when nothing is.

        Raises tiled's DatabaseUpgradeNeeded for tables of an older Tiled.
        """
        if self._temporary is not None:
            self._temporary.mkdir(mode=0o700, exist_ok=True)
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        try:
            await check_catalog_database(engine)
        except UninitializedDatabase:
            await initialize_database(engine)
            await _stamp(engine)
        async with engine.begin() as connection:
            for statement in index_statements(engine.dialect.name):
                await connection.execute(text(statement))

    def forget(self) -> None:
        """Remove what is temporary."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


async def _stamp(engine: AsyncEngine) -> None:
    # what `tiled catalog init` does with alembic in a process of its own, which takes two seconds
    async with engine.begin() as connection:
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
        await connection.execute(
            text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REQUIRED_REVISION}
        )


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()
