"""The database behind a catalog: where it is, its tables and indexes, and that one process at a time changes it."""

from __future__ import annotations

import shutil
import tempfile
import uuid
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tiled.alembic_utils import UninitializedDatabase
from tiled.catalog.adapter import Context
from tiled.catalog.core import REQUIRED_REVISION, check_catalog_database, initialize_database
from tiled.server.settings import DatabaseSettings
from tiled.utils import ensure_specified_sql_driver

from .paths import index_statements
from .registration import MIMETYPE

ANALYZE = {"sqlite": "ANALYZE", "postgresql": "ANALYZE nodes, data_sources"}
# any number that others are not likely to use
_LOCK_ID = 6_277_101_735_386
_ONE_AT_A_TIME = {"sqlite": "BEGIN IMMEDIATE", "postgresql": f"SELECT pg_advisory_xact_lock({_LOCK_ID})"}
# among 100,000 archived runs, the follower finds its live ones by this
_LIVE_INDEX = f"CREATE INDEX IF NOT EXISTS ix_blissdata_live ON data_sources (node_id) WHERE mimetype = '{MIMETYPE}'"


def catalog_of(archive: Path) -> Path:
    """Where the catalog of an archive is, unless something else is said."""
    return archive / "catalog.db"


class _OwnSettings(DatabaseSettings):
    """Equal to itself only: Tiled shares an engine between equal settings, but an engine belongs to one event loop."""

    __eq__ = object.__eq__
    __hash__ = object.__hash__


class Database:
    """A SQLite file or a PostgreSQL database; without `uri` a SQLite file that lives as long as the catalog."""

    def __init__(self, uri: str | Path | None) -> None:
        self._temporary = None if uri is not None else Path(tempfile.gettempdir(), f"blissdata-catalog-{uuid.uuid4()}")
        place = self._temporary / "catalog.db" if self._temporary is not None else uri
        self.settings = _OwnSettings(uri=str(ensure_specified_sql_driver(place)), pool_pre_ping=False)

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
            await _create(engine)
        async with changing(engine) as connection:
            for statement in (*index_statements(engine.dialect.name), _LIVE_INDEX):
                await connection.execute(text(statement))

    def forget(self) -> None:
        """Remove what is temporary."""
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction; among all processes on the database, one of these at a time."""
    async with engine.begin() as connection:
        await connection.execute(text(_ONE_AT_A_TIME[engine.dialect.name]))
        yield connection


class _OneConnection:
    """What `initialize_database` takes for an engine, so that all it does is one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self.dialect = connection.dialect
        self._connection = connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        yield self._connection


async def _create(engine: AsyncEngine) -> None:
    """Make the tables, all or none of them."""
    async with engine.connect() as connection:
        await connection.execute(text(_ONE_AT_A_TIME[engine.dialect.name]))
        if await connection.run_sync(lambda it: MigrationContext.configure(it).get_current_heads()):
            # another process was faster
            return
        # what `tiled catalog init` does with alembic in a process of its own, which takes two seconds
        await connection.execute(
            text("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        )
        await connection.execute(
            text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": REQUIRED_REVISION}
        )
        # it commits
        await initialize_database(_OneConnection(connection))


def _tune_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
