"""Registering runs: each once, under its uid, from any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tiled.catalog import orm
from tiled.catalog.adapter import RootNode
from tiled.queries import KeyPresent
from tiled.server.schemas import Management
from tiled.structures.core import StructureFamily

from .adapter import RunsContainer
from .clean import clean_mapping
from .database import Database
from .queries import has_key
from .recent import RecentNodes

MIMETYPE = "application/x-blissdata-bluesky-run"
_CATALOG_SPECS = [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}]
_RUN_SPECS = [{"name": "BlueskyRun", "version": "3.0"}]
_ROOT_ID = 0
# a database that never saw ANALYZE answers full-text searches by reading everything
_ANALYZE_EVERY = 1000
_BATCH = 500


class Registration(NamedTuple):
    """A run as it is to be registered."""

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None = None
    incomplete: str = ""
    """Why nothing more will come, although the run is not whole."""

    @property
    def metadata(self) -> dict[str, Any]:
        """What the node of the run tells: `start`, `stop` once there is one, and `incomplete` where it applies."""
        metadata: dict[str, Any] = {"start": clean_mapping(self.start)}
        if self.stop is not None:
            metadata["stop"] = clean_mapping(self.stop)
        return metadata | ({"incomplete": self.incomplete} if self.incomplete else {})


class Catalog:
    """The list of runs in a SQLite file or in PostgreSQL, and the tree that Tiled serves of it.

    `uri`: a path, `sqlite:///…` or `postgresql://…`; None: a temporary file, removed by `shutdown`. `run_adapter` has
    `from_catalog(data_source, node)`, which makes the adapter of what is inside a run and is called in a thread.
    Every method may be called from any number of processes on the same database at the same time.
    """

    def __init__(self, uri: str | Path | None, run_adapter: Any) -> None:
        self._database = Database(uri)
        self._unanalyzed = 0
        context = self._database.context({MIMETYPE: run_adapter})
        self._engine = context.engine
        self._recent = context.recent_nodes = RecentNodes()
        self.tree = RunsContainer(context, RootNode({}, _CATALOG_SPECS, None))

    async def startup(self) -> None:
        """Make what is missing in the database. May be repeated."""
        await self._database.prepare(self._engine)
        await self.tree.startup()

    async def shutdown(self) -> None:
        """Close connections and remove what is temporary. May be repeated."""
        await self.tree.shutdown()
        # Tiled knows the engine of the first start only
        await self._engine.dispose()
        self._database.forget()

    async def register(self, uid: str, start: Mapping[str, Any], stop: Mapping[str, Any] | None = None) -> None:
        """Register one run; nothing happens when its uid is registered already."""
        await self.register_many([Registration(uid, start, stop)])

    async def register_many(self, runs: Iterable[Registration]) -> None:
        """Register runs in this order, skipping those that are registered already."""
        rows = [_row(run) for run in runs]
        for first in range(0, len(rows), _BATCH):
            async with self._engine.begin() as connection:
                added = await self._insert(connection, rows[first : first + _BATCH])
            self._unanalyzed += added
        if self._unanalyzed >= _ANALYZE_EVERY:
            self._unanalyzed = 0
            async with self._engine.begin() as connection:
                await connection.execute(text("ANALYZE"))

    async def update(self, run: Registration) -> bool:
        """Add how a run has ended. False: no such run."""
        here = (orm.Node.parent == _ROOT_ID) & (orm.Node.key == run.uid)
        async with self._engine.begin() as connection:
            known = (await connection.execute(select(orm.Node.metadata_).where(here))).scalar()
            if known is None:
                return False
            await connection.execute(update(orm.Node).where(here).values(metadata_={**known, **run.metadata}))
        self._recent.drop(run.uid)
        return True

    async def remove(self, uids: Iterable[str]) -> None:
        """Take runs off the list; unknown uids are no error."""
        uids = list(uids)
        async with self._engine.begin() as connection:
            for first in range(0, len(uids), _BATCH):
                some = orm.Node.key.in_(uids[first : first + _BATCH])
                await connection.execute(delete(orm.Node).where(orm.Node.parent == _ROOT_ID, some))
        for uid in uids:
            self._recent.drop(uid)

    async def uids(self) -> dict[str, bool]:
        """The uids of all registered runs, in this order, each with whether it is known how the run ended."""
        dialect = self._engine.dialect.name
        ended = or_(has_key(dialect, KeyPresent("stop")), has_key(dialect, KeyPresent("incomplete")))
        ours = select(orm.Node.key, ended).join(orm.DataSource, orm.DataSource.node_id == orm.Node.id)
        statement = ours.where(orm.Node.parent == _ROOT_ID, orm.DataSource.mimetype == MIMETYPE).order_by(orm.Node.id)
        async with self._engine.connect() as connection:
            return {key: bool(known) for key, known in await connection.execute(statement)}

    async def _insert(self, connection: AsyncConnection, rows: list[dict[str, Any]]) -> int:
        statement = self.tree.insert(orm.Node).on_conflict_do_nothing(index_elements=["key", "parent"])
        new = (await connection.execute(statement.values(rows).returning(orm.Node.id))).scalars().all()
        if new:
            await connection.execute(insert(orm.DataSource), [_data_source(node_id) for node_id in new])
        return len(new)


def _row(run: Registration) -> dict[str, Any]:
    return {
        "key": run.uid,
        "parent": _ROOT_ID,
        "metadata_": run.metadata,
        "structure_family": StructureFamily.container,
        "specs": _RUN_SPECS,
    }


def _data_source(node_id: int) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "structure_family": StructureFamily.container,
        "mimetype": MIMETYPE,
        "parameters": {},
        "properties": {},
        "management": Management.external,
    }
