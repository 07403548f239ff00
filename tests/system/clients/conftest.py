"""A writer whose files somebody else writes, and blisswriter, which does it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .blisswriter import BlissWriter


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """The root of the files."""
    return tmp_path / "archive"


@pytest.fixture
def writer(redis_url: str, tmp_path: Path, archive: Path) -> Iterator[BlissdataWriter]:
    """It publishes the layout of each run's file, and leaves writing it to others."""
    with BlissdataWriter(redis_url, journal=tmp_path / "journal", archive=archive, file_writer=None) as writer:
        yield writer


@pytest.fixture(scope="module")
def running_blisswriter(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BlissWriter]:
    """One for all runs of a module: it goes on when its Redis is emptied."""
    connect(redis_server.url).close()
    with BlissWriter(redis_server.url, tmp_path_factory.mktemp("blisswriter") / "log") as blisswriter:
        yield blisswriter


@pytest.fixture
def blisswriter(running_blisswriter: BlissWriter, redis_url: str) -> BlissWriter:
    running_blisswriter.wait_for_runs()
    return running_blisswriter
