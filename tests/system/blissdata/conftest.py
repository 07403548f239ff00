"""What unmodified blissdata is tested with: a writer and a reader, on Valkey and on Redis 8."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from blissdata.redis_engine.store import DataStore

from blissdata_bluesky.writer import BlissdataWriter


@pytest.fixture
def writer(any_redis_url: str, tmp_path: Path) -> Iterator[BlissdataWriter]:
    with BlissdataWriter(any_redis_url, journal=tmp_path) as writer:
        yield writer


@pytest.fixture
def data_store(any_redis_url: str) -> DataStore:
    return DataStore(any_redis_url)
