"""Runs in Redis: the contract of every source, and what only a live one can do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import Named
from .run_contract import Publish, RunContract


@pytest.fixture
def source(any_redis_url: str) -> Iterator[RedisRuns]:
    with RedisRuns(any_redis_url) as runs:
        yield runs


@pytest.fixture
def publish(any_redis_url: str, tmp_path: Path) -> Iterator[Publish]:
    with BlissdataWriter(any_redis_url, journal=tmp_path / "journal") as writer:
        yield publisher(writer)


def publisher(writer: BlissdataWriter) -> Publish:
    """Gives documents to the writer and waits until Redis has them."""

    def publish(documents: Iterable[Named]) -> None:
        for name, document in documents:
            writer(name, document)
        assert writer.flush(10)

    return publish


class TestRedis(RunContract):
    """The contract on both servers."""
