"""A writer, a Tiled server and a client of it, for the tests of both. Tiled is imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter


@pytest.fixture
def writer(redis_url: str, tmp_path: Path) -> Iterator[BlissdataWriter]:
    """A writer with a journal of its own."""
    with BlissdataWriter(redis_url, journal=tmp_path / "journal") as writer:
        yield writer


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client


@pytest.fixture
def runs(redis_url: str) -> Iterator[RedisRuns]:
    with RedisRuns(redis_url) as runs:
        yield runs


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    """A `TiledServer` of the same Redis."""
    from blissdata_bluesky.tiled import TiledServer

    with TiledServer(redis_url) as server:
        yield server


@pytest.fixture
def client(server: Any) -> Iterator[Any]:
    """An unmodified client of the server, as users make it."""
    import dask
    from tiled.client import from_uri

    # dask, with which the client reads tables, would keep its threads for ever
    with dask.config.set(scheduler="synchronous"):
        client = from_uri(server.url)
        yield client
        client.context.http_client.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Where detectors write."""
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def devices(RE: Any, tmp_path: Path) -> Any:
    """`sources.Devices`, connected."""
    from .sources import Devices

    devices = Devices(tmp_path)
    devices.connect()
    return devices


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A `fidelity.Station`."""
    from .fidelity import open_station

    with open_station(tmp_path_factory.mktemp("station")) as station:
        yield station
