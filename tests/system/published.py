"""A run that is given to a writer, and what must be in Redis of it in the end."""

from __future__ import annotations

import pytest
import redis
from blissdata import ScanState

from blissdata_bluesky.protocol import documents_key
from blissdata_bluesky.writer import BlissdataWriter

from .collected import Collector, assert_equal, columns, load
from .tiled_runs import ALL_KINDS, Run, row

SCALARS = ["number", "integer"]


class Published:
    """A run that is given to a writer and to a collector at once."""

    def __init__(self, writer: BlissdataWriter, keys: list[str] | None = None, **metadata: object) -> None:
        self._writer = writer
        self._keys = keys or list(ALL_KINDS)
        self._rows = 0
        self.run = Run(**metadata)
        self.collector = Collector()
        for document in (self.run.start, self.run.describe(keys=self._keys)):
            self._give(*document)

    def events(self, count: int) -> None:
        for _ in range(count):
            self._give(*self.run.event(row(self._rows, self._keys)))
            self._rows += 1

    def stop(self) -> None:
        self._give(*self.run.stop())

    def assert_whole(self, url: str) -> None:
        assert self._writer.flush(90)
        scan = load(url, self.run.uid)
        assert scan.state == ScanState.CLOSED
        assert_equal(columns(scan), self.collector.streams(self.run.uid))
        with redis.Redis.from_url(url) as client:
            entries = client.xrange(documents_key(self.run.uid))
        assert [identifier for identifier, _ in entries] == [f"{index}-1".encode() for index in range(3)]

    def _give(self, name: str, document: dict[str, object]) -> None:
        self.collector(name, document)
        self._writer(name, document)


def levels(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.levelname for record in caplog.records if record.name.startswith("blissdata_bluesky")]
