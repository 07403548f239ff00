"""The contract of every source of runs, on Redis."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import give
from .run_contract import Publish, RunContract


@pytest.fixture
def source(any_redis_url: str) -> Iterator[RedisRuns]:
    with RedisRuns(any_redis_url) as runs:
        yield runs


@pytest.fixture
def publish(any_redis_url: str, tmp_path: Path) -> Iterator[Publish]:
    with BlissdataWriter(any_redis_url, journal=tmp_path / "journal") as writer:
        yield partial(give, writer)


class TestRedis(RunContract):
    """On both servers."""
