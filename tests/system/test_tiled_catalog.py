"""The list of runs in its database, without a server."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from sqlalchemy import text
from tiled.queries import Eq, FullText, Like
from tiled.server.core import NoEntry

from blissdata_bluesky.catalog import Catalog, Registration


class NoRuns:
    """Nothing is inside."""


def with_catalog(uri: Path | None, use: Callable[[Catalog], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        catalog = Catalog(uri, NoRuns)
        # Tiled does both twice
        await catalog.startup()
        await catalog.startup()
        try:
            return await use(catalog)
        finally:
            await catalog.shutdown()
            await catalog.shutdown()

    return asyncio.run(main())


def runs(count: int) -> list[Registration]:
    return [Registration(str(uuid.uuid4()), {"scan_id": i, "plan_name": "scan", "time": 1e9 + i}) for i in range(count)]


def test_registering_is_idempotent(tmp_path: Path) -> None:
    one, two = runs(2)

    async def register(catalog: Catalog) -> dict[str, bool]:
        await catalog.register_many([one])
        await catalog.register_many([two, one, two])
        await catalog.register(one.uid, {"scan_id": "another"})
        assert await catalog.update(two._replace(stop={"exit_status": "success"}))
        assert not await catalog.update(Registration("nothing", {}))
        node = await catalog.tree.lookup_adapter([one.uid])
        assert node.metadata() == {"start": {"scan_id": 0, "plan_name": "scan", "time": 1e9}}
        return await catalog.uids()

    assert with_catalog(tmp_path / "catalog.db", register) == {one.uid: False, two.uid: True}
    assert with_catalog(tmp_path / "catalog.db", Catalog.uids) == {one.uid: False, two.uid: True}


def test_two_processes_may_register_the_same_runs(tmp_path: Path) -> None:
    some = runs(50)

    async def main() -> int:
        first, second = (Catalog(tmp_path / "catalog.db", NoRuns) for _ in range(2))
        await first.startup()
        await second.startup()
        await asyncio.gather(*(catalog.register_many([run]) for run in some for catalog in (first, second)))
        count = len(await second.uids())
        await first.shutdown()
        await second.shutdown()
        return count

    assert asyncio.run(main()) == len(some)


def test_removing(tmp_path: Path) -> None:
    some = runs(5)

    async def remove(catalog: Catalog) -> None:
        await catalog.register_many(some)
        await catalog.tree.lookup_adapter([some[0].uid])
        await catalog.remove([some[0].uid, "nothing"])
        with pytest.raises(NoEntry):
            await catalog.tree.lookup_adapter([some[0].uid])
        assert await catalog.tree.search(FullText("scan")).exact_len() == 4
        async with catalog._engine.connect() as connection:
            for table in ("nodes", "data_sources"):
                count = (await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar()
                assert count == 4 + (table == "nodes")

    with_catalog(tmp_path / "catalog.db", remove)


def test_a_temporary_catalog_is_removed() -> None:
    async def where(catalog: Catalog) -> Path:
        place = catalog._database._temporary
        assert place is not None
        assert place.is_dir()
        return place

    assert not with_catalog(None, where).exists()


@pytest.mark.parametrize("query", [Eq("start.scan_id", 3), Eq("start.plan_name", "scan"), Like("start.uid", "abcde%")])
def test_the_usual_searches_use_an_index(query: Any) -> None:
    async def plan(catalog: Catalog) -> str:
        await catalog.register_many(runs(10))
        tree = catalog.tree.search(query)
        statement = tree.apply_conditions(text_of_listing(tree))
        async with catalog._engine.connect() as connection:
            compiled = statement.compile(connection.engine, compile_kwargs={"literal_binds": True})
            return str((await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")).all())

    found = with_catalog(None, plan)
    assert "USING" in found
    assert "ix_blissdata_" in found, found


def text_of_listing(tree: Any) -> Any:
    from sqlalchemy import select
    from tiled.catalog import orm

    return tree._scope_statement(select(orm.Node.key)).order_by(*tree.order_by_clauses)


def test_a_database_that_cannot_answer_is_unavailable(tmp_path: Path) -> None:
    async def ask(catalog: Catalog) -> None:
        async with catalog._engine.begin() as connection:
            await connection.execute(text("ALTER TABLE nodes RENAME TO gone"))
        with pytest.raises(HTTPException) as refused:
            await catalog.tree.exact_len()
        assert refused.value.status_code == 503

    with_catalog(tmp_path / "catalog.db", ask)
