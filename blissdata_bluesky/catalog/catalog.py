"""Registering runs: each once, under its uid, from any number of processes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, literal_column, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from tiled.catalog import orm
from tiled.catalog.adapter import RootNode
from tiled.queries import KeyPresent

from .adapter import RunsContainer
from .database import ANALYZE, Database, changing
from .queries import has_key
from .recent import RecentNodes
from .registration import ARCHIVED_MIMETYPE, MIMETYPE, ROOT_ID, Registration, node_row, source_row, source_values

_CATALOG_SPECS = [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}]
# a database that never saw ANALYZE answers full-text searches by reading everything
_ANALYZE_FIRST = 1000
BATCH = 500

_NODES: Any = orm.Node.__table__
_SOURCES: Any = orm.DataSource.__table__
# a literal: a bound value is not served by the index, which holds live runs only
_IS_LIVE = orm.DataSource.mimetype == literal_column(f"'{MIMETYPE}'")


class Catalog:
    """The list of runs in a SQLite file or in PostgreSQL, and the tree that Tiled serves of it.

    `uri`: a path, `sqlite:///…` or `postgresql://…`; None: a temporary file, removed by `shutdown`. `run_adapter` has
    `from_catalog(data_source, node, /, **parameters)`, which makes the adapter of what is inside a run and is called
    in a thread; the parameters are those of the data source: `file` for archived runs. Live runs are the others.
    Every method may be called from any number of processes on the same database at the same time.
    """

    def __init__(self, uri: str | Path | None, run_adapter: Any) -> None:
        self._database = Database(uri)
        self._added = 0
        self._next_analysis = _ANALYZE_FIRST
        context = self._database.context({MIMETYPE: run_adapter, ARCHIVED_MIMETYPE: run_adapter})
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
        """Register runs in this order.

        One that is registered already is skipped, unless it has a file: then its node becomes that of an archived
        run, for ever, and tells what the file tells. A stop document that the file does not have is added.
        """
        runs = list(runs)
        for first in range(0, len(runs), BATCH):
            some = runs[first : first + BATCH]
            async with changing(self._engine) as connection:
                added = await _insert(connection, self.tree.insert(orm.Node), some)
                known = [run for run in some if run.file and added.get(run.uid) is not run]
                await _archive(connection, known)
                known += await self._stop(connection, [run for run in some if not run.file and run.uid not in added])
            for run in known:
                self._recent.drop(run.uid)
            self._added += len(added)
        if self._added >= self._next_analysis:
            self._next_analysis = 2 * self._added
            async with changing(self._engine) as connection:
                await connection.execute(text(ANALYZE[self._engine.dialect.name]))

    async def update(self, run: Registration) -> bool:
        """Add how a run has ended; if its file has told so, only a stop document that the file lacks.

        False: no such run.
        """
        statement = _known([run.uid])
        async with changing(self._engine) as connection:
            node = (await connection.execute(statement)).first()
            if node is None:
                return False
            if node.mimetype == MIMETYPE or not node.metadata.keys() & {"stop", "incomplete"}:
                told = {**node.metadata, **run.metadata}
                await connection.execute(update(_NODES).where(_NODES.c.id == node.id).values(metadata=told))
            else:
                await self._stop(connection, [run])
        self._recent.drop(run.uid)
        return True

    async def _stop(self, connection: AsyncConnection, runs: Sequence[Registration]) -> list[Registration]:
        """Give stop documents to archived runs that have none, for their files are not whole; which runs these are."""
        stops = {run.uid: run for run in runs if run.stop is not None}
        if not stops:
            return []
        dialect = self._engine.dialect.name
        lacking = has_key(dialect, KeyPresent("incomplete")) & ~has_key(dialect, KeyPresent("stop"))
        statement = select(_NODES.c.id, _NODES.c.key, _NODES.c.metadata)
        statement = statement.where(_NODES.c.parent == ROOT_ID, _NODES.c.key.in_(stops), lacking)
        stopped = []
        for node in list(await connection.execute(statement)):
            told = {**node.metadata, "stop": stops[node.key].metadata["stop"]}
            await connection.execute(update(_NODES).where(_NODES.c.id == node.id).values(metadata=told))
            stopped.append(stops[node.key])
        return stopped

    async def remove(self, uids: Iterable[str]) -> None:
        """Take live runs off the list; archived ones stay on it, and unknown uids are no error."""
        uids = list(uids)
        live = exists().where(orm.DataSource.node_id == orm.Node.id, _IS_LIVE)
        async with changing(self._engine) as connection:
            for first in range(0, len(uids), BATCH):
                some = orm.Node.key.in_(uids[first : first + BATCH])
                await connection.execute(delete(orm.Node).where(orm.Node.parent == ROOT_ID, some, live))
        for uid in uids:
            self._recent.drop(uid)

    async def archived(self, after: int = 0) -> list[tuple[int, str, str]]:
        """Some archived runs, in the order of their registration: place in that order, uid, file.

        `after`: those that come after this place; none are returned when there are no more.
        """
        columns = (_NODES.c.id, _NODES.c.key, _SOURCES.c.parameters)
        joined = select(*columns).join(_SOURCES, _SOURCES.c.node_id == _NODES.c.id)
        archived = joined.where(
            _NODES.c.parent == ROOT_ID, _NODES.c.id > after, _SOURCES.c.mimetype == ARCHIVED_MIMETYPE
        )
        async with self._engine.connect() as connection:
            found = await connection.execute(archived.order_by(_NODES.c.id).limit(BATCH))
            return [(place, uid, str(parameters["file"])) for place, uid, parameters in found]

    async def remove_archived(self, files: Mapping[str, str]) -> int:
        """Take archived runs off the list: uid → file. Those that have another file by now stay on it.

        Returns how many there were.
        """
        async with changing(self._engine) as connection:
            nodes = await connection.execute(_known(list(files)))
            ids = [node.id for node in nodes if source_values(files[node.key])["parameters"] == node.parameters]
            await connection.execute(delete(orm.Node).where(orm.Node.id.in_(ids)))
        for uid in files:
            self._recent.drop(uid)
        return len(ids)

    async def uids(self) -> dict[str, bool]:
        """The uids of the live runs, in this order, each with whether it is known how the run ended."""
        dialect = self._engine.dialect.name
        ended = or_(has_key(dialect, KeyPresent("stop")), has_key(dialect, KeyPresent("incomplete")))
        # as a join, it would look at every run
        live = orm.Node.id.in_(select(orm.DataSource.node_id).where(_IS_LIVE))
        statement = select(orm.Node.key, ended).where(live).order_by(orm.Node.id)
        async with self._engine.connect() as connection:
            return {key: bool(known) for key, known in await connection.execute(statement)}


async def _insert(connection: AsyncConnection, statement: Any, runs: Sequence[Registration]) -> dict[str, Registration]:
    """Add the runs whose uids are new, and return them by uid."""
    new = statement.on_conflict_do_nothing(index_elements=["key", "parent"]).returning(orm.Node.id, orm.Node.key)
    # the first one of a uid is the one that is inserted
    by_uid = {run.uid: run for run in reversed(runs)}
    ids = {key: node_id for node_id, key in await connection.execute(new.values([node_row(run) for run in runs]))}
    if ids:
        sources = [source_row(node_id, by_uid[uid]) for uid, node_id in ids.items()]
        await connection.execute(insert(orm.DataSource), sources)
    return {uid: by_uid[uid] for uid in ids}


async def _archive(connection: AsyncConnection, runs: Sequence[Registration]) -> None:
    """Give files to runs that are registered; what does not change is not written."""
    if not runs:
        return
    nodes = {node.key: node for node in await connection.execute(_known([run.uid for run in runs]))}
    told: dict[int, dict[str, Any]] = {}
    sources: dict[int, dict[str, Any]] = {}
    for run in runs:
        if (node := nodes.get(run.uid)) is None:
            continue
        before = told.get(node.id, node.metadata)
        after = {key: value for key, value in before.items() if key != "incomplete"} | run.metadata
        if after != before:
            told[node.id] = after
        values = source_values(run.file)
        if values != {"mimetype": node.mimetype, "parameters": node.parameters}:
            sources[node.id] = values
    if told:
        statement = update(_NODES).where(_NODES.c.id == bindparam("node")).values(metadata=bindparam("told"))
        await connection.execute(statement, [{"node": node, "told": metadata} for node, metadata in told.items()])
    if sources:
        statement = update(_SOURCES).where(_SOURCES.c.node_id == bindparam("node"))
        await connection.execute(statement, [{"node": node, **values} for node, values in sources.items()])


def _known(uids: Sequence[str]) -> Any:
    columns = (_NODES.c.id, _NODES.c.key, _NODES.c.metadata, _SOURCES.c.mimetype, _SOURCES.c.parameters)
    joined = select(*columns).join(_SOURCES, _SOURCES.c.node_id == _NODES.c.id)
    return joined.where(_NODES.c.parent == ROOT_ID, _NODES.c.key.in_(uids))
