"""The list of runs in its database, SQLite or PostgreSQL, without a server."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException
from sqlalchemy import text
from tiled.queries import Comparison, Contains, Eq, FullText, In, KeyPresent, Like, NotEq, Regex
from tiled.server.core import NoEntry

from blissdata_bluesky.catalog import ARCHIVED_MIMETYPE, MIMETYPE, Catalog, Registrar, Registration
from blissdata_bluesky.errors import CatalogError

from .postgresql import a_database, a_server  # noqa: F401 - fixtures
from .registering import made_up


class NoRuns:
    """Nothing is inside."""


def with_catalog(uri: Path | str | None, use: Callable[[Catalog], Awaitable[Any]]) -> Any:
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


def test_registering_is_idempotent(catalog_uri: str) -> None:
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

    assert with_catalog(catalog_uri, register) == {one.uid: False, two.uid: True}
    assert with_catalog(catalog_uri, Catalog.uids) == {one.uid: False, two.uid: True}


def test_removing(catalog_uri: str) -> None:
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

    with_catalog(catalog_uri, remove)


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


async def told(catalog: Catalog, uid: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Mimetype, parameters and metadata of a run's node."""
    node = (await catalog.tree.lookup_adapter([uid])).node
    (source,) = node.data_sources
    return source.mimetype, source.parameters, node.metadata_


def test_a_live_run_becomes_an_archived_one_and_stays_it(catalog_uri: str) -> None:
    live, other, never_live = runs(3)
    archived = live._replace(stop={"exit_status": "success"}, file="2026/a.h5")

    async def become(catalog: Catalog) -> None:
        await catalog.register_many([live, other])
        await catalog.update(live._replace(incomplete="lost documents"))
        assert await told(catalog, live.uid) == (MIMETYPE, {}, {**live.metadata, "incomplete": "lost documents"})
        # the file has what Redis had lost
        await catalog.register_many([never_live._replace(file="2026/b.h5"), archived, archived])
        as_archived = (ARCHIVED_MIMETYPE, {"file": "2026/a.h5"}, archived.metadata)
        for _ in range(2):
            assert await told(catalog, live.uid) == as_archived
            # the follower of Redis comes late
            await catalog.register_many([live, archived, live])
            assert await catalog.update(live._replace(incomplete="the Redis copy is not whole"))
            await catalog.remove([live.uid, never_live.uid])
        assert await catalog.uids() == {other.uid: False}
        assert await catalog.tree.exact_len() == 3
        # it stopped after its file was registered
        assert await catalog.update(never_live._replace(stop={"num_events": {}}))
        assert (await told(catalog, never_live.uid))[1:] == (
            {"file": "2026/b.h5"},
            {**never_live.metadata, "stop": {"num_events": {}}},
        )
        await catalog.register_many([archived._replace(file="moved/a.h5")])
        assert (await told(catalog, live.uid))[1] == {"file": "moved/a.h5"}
        await catalog.remove([other.uid])
        assert await catalog.tree.search(FullText("scan")).exact_len() == 2

    with_catalog(catalog_uri, become)


def test_searching_sorting_and_paging_of_live_and_archived_runs(catalog_uri: str) -> None:
    some = [
        Registration(
            f"{number:08x}-0000-4000-8000-000000000000",
            {
                "scan_id": number,
                "plan_name": ("scan", "count")[number % 2],
                "time": 1e9 - number,
                "motors": [f"m{number % 5}"],
                "sample": {"name": f"hg-{number:04d} oxide"},
            },
            {"exit_status": "success"} if number % 3 else None,
            file=f"{number}.h5" if number % 4 else "",
        )
        for number in range(40)
    ]
    questions: list[tuple[Any, Callable[[int], bool]]] = [
        (Eq("start.scan_id", 7), lambda n: n == 7),
        (Eq("start.plan_name", "count"), lambda n: n % 2 == 1),
        (NotEq("start.plan_name", "count"), lambda n: n % 2 == 0),
        (In("start.scan_id", [3, 5, 99]), lambda n: n in {3, 5}),
        (Comparison("ge", "start.scan_id", 30), lambda n: n >= 30),
        (Contains("start.motors", "m2"), lambda n: n % 5 == 2),
        (Regex("start.sample.name", "hg-00[12]1"), lambda n: n in {11, 21}),
        (FullText("hg-0033 oxide"), lambda n: n == 33),
        (Like("start.uid", "0000001%"), lambda n: 16 <= n < 32),
        (KeyPresent("stop"), lambda n: n % 3 > 0),
    ]

    async def ask(catalog: Catalog) -> None:
        await catalog.register_many([run._replace(stop=None, file="") for run in some])
        await catalog.register_many([run for run in some if run.file])
        for run in some:
            await catalog.update(run)
        for query, expected in questions:
            found = await catalog.tree.search(query).keys_range(0, 100)
            assert found == [run.uid for number, run in enumerate(some) if expected(number)], query
        both = catalog.tree.search(Eq("start.plan_name", "scan")).sort([("start.time", 1)])
        assert await both.keys_range(2, 3) == [some[n].uid for n in (34, 32, 30)]
        keys, cursor = await catalog.tree.keys_page(None, 15)
        more, _ = await catalog.tree.keys_page(cursor, 15)
        assert [*keys, *more] == [run.uid for run in some[:30]]

    with_catalog(catalog_uri, ask)


ODD = (
    "sample 1",
    "Sample 1",
    "sample 1 b",
    "sample  1",
    "a/b_c-d",
    "a/b-c-d",
    "---",
    "",
    " ",
    'quoted "sample 1"',
    "back\\slash",
    "a\tb",
    "Ångström",
    "Angstrom",
    "1",
    "true",
    "null",
    "x" * 3000,
)


def test_equality_is_exact_for_all_texts(catalog_uri: str) -> None:
    some = [
        Registration(str(uuid.uuid4()), {"sample": {"name": text}, "samples": [text], "time": float(number)})
        for number, text in enumerate(ODD)
    ]
    numbers = [Registration(str(uuid.uuid4()), {"sample": {"name": value}}) for value in (1, True, None, ["sample 1"])]

    async def ask(catalog: Catalog) -> None:
        await catalog.register_many([*some, *numbers])
        for run, value in zip(some, ODD, strict=True):
            assert await catalog.tree.search(Eq("start.sample.name", value)).keys_range(0, 9) == [run.uid], value
            in_a_list = await catalog.tree.search(Eq("start.samples.0", value)).keys_range(0, 9)
            # SQLite knows no places in lists
            assert in_a_list == ([run.uid] if catalog_uri.startswith("postgresql") else []), value
        for value in ("sample", "sample 2", "samples"):
            assert await catalog.tree.search(Eq("start.sample.name", value)).exact_len() == 0

    with_catalog(catalog_uri, ask)


def test_processes_create_a_catalog_and_register_at_the_same_time(catalog_uri: str) -> None:
    numbers = list(range(60))
    jobs = [
        {"numbers": numbers, "archived": False, "at_once": 1},
        {"numbers": numbers[::-1], "archived": True, "at_once": 20},
    ]
    with _registering() as one, _registering() as other:
        processes = [one, other]
        for process, job in zip(processes, jobs, strict=True):
            _tell(process, {"uri": catalog_uri, **job})
        said = [process.communicate(timeout=100)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said

    async def check(catalog: Catalog) -> None:
        assert await catalog.uids() == {}
        assert await catalog.tree.exact_len() == len(numbers)
        for number in (0, 30, 59):
            run = made_up(number, archived=True)
            assert await told(catalog, run.uid) == (ARCHIVED_MIMETYPE, {"file": run.file}, run.metadata)

    with_catalog(catalog_uri, check)


def test_changes_wait_for_each_other(catalog_uri: str) -> None:
    live = runs(400)
    archived = [run._replace(stop={"exit_status": "success"}, file=f"{run.uid}.h5") for run in live]

    async def main() -> None:
        first, second = (Catalog(catalog_uri, NoRuns) for _ in range(2))
        try:
            await asyncio.gather(first.startup(), second.startup())
            for _ in range(5):
                # in opposite orders, PostgreSQL would find that each waits for the other
                await asyncio.gather(first.register_many(live), second.register_many(live[::-1]))
                await asyncio.gather(first.register_many(archived), second.remove([run.uid for run in live[::-1]]))
                assert await first.uids() == {}
                assert await first.tree.exact_len() == len(live)
                async with first._engine.begin() as connection:
                    await connection.execute(text("DELETE FROM nodes WHERE parent = 0"))
        finally:
            await first.shutdown()
            await second.shutdown()

    asyncio.run(main())


@pytest.mark.parametrize("kills", [2, pytest.param(30, marks=pytest.mark.long)])
def test_a_kill_while_the_catalog_is_created_leaves_none_or_a_whole_one(tmp_path: Path, kills: int) -> None:
    for number in range(kills):
        uri = tmp_path / f"{number}.db"
        with _registering() as process:
            _tell(process, {"uri": str(uri), "numbers": [1], "archived": True, "at_once": 1})
            time.sleep(0.02 + 0.08 * number / kills)
            process.kill()
        with Registrar(uri) as registrar:
            registrar.register([made_up(1, archived=True)])
        with sqlite3.connect(uri) as database:
            assert database.execute("SELECT count(*) FROM data_sources").fetchone() == (1,)
        database.close()


@contextmanager
def _registering() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.system.registering"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parents[2],
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def _tell(process: subprocess.Popen[str], job: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()


def test_registering_waits_for_another_that_is_writing(tmp_path: Path) -> None:
    uri = tmp_path / "catalog.db"
    with Registrar(uri) as registrar:
        other = sqlite3.connect(uri, check_same_thread=False, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.execute, ["COMMIT"])
        timer.start()
        registrar.register(made_up(number, archived=True) for number in range(3))
        timer.join()
        assert other.execute("SELECT count(*) FROM nodes").fetchone() == (4,)
        other.close()
    registrar.close()


def test_threads_may_share_a_registrar(tmp_path: Path) -> None:
    uri = tmp_path / "catalog.db"
    with Registrar(uri) as registrar:
        registrar.register([])
        some = [[made_up(10 * part + number, archived=True) for number in range(10)] for part in range(4)]
        threads = [threading.Thread(target=registrar.register, args=(runs,)) for runs in some]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert with_catalog(uri, lambda catalog: catalog.tree.exact_len()) == 40


def test_a_catalog_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"no/such/x.db cannot be used \(unable to open.*give a SQLite file"):
        Registrar(tmp_path / "no" / "such" / "x.db")
    with pytest.raises(CatalogError, match="mysql is not supported") as refused:
        Registrar("mysql://ann:sesame@localhost/x")
    assert "sesame" not in str(refused.value)


def test_the_live_ones_are_found_by_an_index(tmp_path: Path) -> None:
    live, *archived = runs(2000)

    async def plan(catalog: Catalog) -> str:
        statements: list[str] = []
        await catalog.register_many([run._replace(file="x.h5") for run in archived])
        await catalog.register_many([live])
        from sqlalchemy import event

        def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            statements.append(statement.replace("?", repr(parameters[0])))

        event.listen(catalog._engine.sync_engine, "before_cursor_execute", note)
        assert await catalog.uids() == {live.uid: False}
        event.remove(catalog._engine.sync_engine, "before_cursor_execute", note)
        async with catalog._engine.connect() as connection:
            return str((await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statements[-1]}")).all())

    assert "SCAN data_sources USING INDEX ix_blissdata_live" in with_catalog(tmp_path / "catalog.db", plan)
