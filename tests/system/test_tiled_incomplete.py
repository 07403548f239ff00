"""A file that is not whole, and a Redis that has the run: Tiled shows all of it as long as it is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
import pytest
import redis
from tiled.client import from_uri

from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.catalog import Registrar, Registration, catalog_of
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .damaging import damage
from .emitted import EmittedRun, give, scalar_run
from .tiled_runs import eventually

ROWS, FIRST_LOST = 20, 7


@contextmanager
def served(url: str, root: Path) -> Iterator[Any]:
    """A client of a server of both."""
    with TiledServer(url, archive=root) as server, dask.config.set(scheduler="synchronous"):
        client = from_uri(server.url)
        yield client
        client.context.http_client.close()


@pytest.mark.parametrize("server", ["was there before", "comes later"])
def test_rows_and_stop_come_from_redis(redis_url: str, tmp_path: Path, server: str) -> None:
    root, journal = tmp_path / "archive", tmp_path / "journal"
    root.mkdir()
    emitted = scalar_run(ROWS)
    emitted.stop()
    with ExitStack() as stack:
        registrar = stack.enter_context(Registrar(catalog_of(root)))
        archiver = Archiver(journal, root, lambda done: registrar.register(map(registration, done)))
        if server == "was there before":
            client = stack.enter_context(served(redis_url, root))
        with BlissdataWriter(redis_url, journal=journal, archive=root) as writer:
            give(writer, emitted.documents)
            (path,) = journal.glob("*.finished-journal")
            damage(path, 2 + FIRST_LOST)
            archiver.run(lambda: False)
        if server == "comes later":
            client = stack.enter_context(served(redis_url, root))
        node = eventually(lambda: run if "stop" in (run := client[emitted.uid]).metadata else None)
        # of the archive, which is to have the run when Redis forgets it
        assert "journal is damaged" in node.metadata["incomplete"]
        assert node.metadata["stop"]["num_events"] == {"primary": ROWS}
        assert_rows(node, emitted, ROWS)
        assert [name for name, _ in node.documents()][-1] == "stop"
        with redis.Redis.from_url(redis_url) as database:
            database.flushall()
        node = client[emitted.uid]
        assert "journal is damaged" in node.metadata["incomplete"]
        assert_rows(node, emitted, FIRST_LOST)
        assert [name for name, _ in node.documents()] == ["start", "descriptor", *["event"] * FIRST_LOST]


def registration(run: Any) -> Registration:
    return Registration(run.uid, run.start, run.stop, run.incomplete, run.file)


def assert_rows(node: Any, emitted: EmittedRun, rows: int) -> None:
    table = node["primary"].base["internal"].read()
    assert list(table["integer"]) == list(range(rows))
    events = [document for name, document in node.documents() if name.startswith("event")]
    found = [value for event in events for value in _listed(event["data"]["integer"])]
    assert found == [document["data"]["integer"] for name, document in emitted.documents if name == "event"][:rows]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
