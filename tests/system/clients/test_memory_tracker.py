"""blissdata's memory tracker, as a facility runs it, beside a run that has every kind of stream that we publish."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from blissdata import Scan, ScanState
from blissdata.exceptions import IndexNoMoreThereError

from blissdata_bluesky.external.roots import ROOTS_VARIABLE
from blissdata_bluesky.protocol import documents_key, scan_key
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from ..collected import load
from ..detectors import HDF5Detector
from ..emitted import NUMBER, EmittedRun, Named, give, scalar_run
from ..memory_tracker import MIB, MemoryTracker, fullness, limit_memory
from ..tiled_runs import eventually

KEYS = {
    "number": NUMBER,
    "odd": {"dtype": "integer", "dtype_numpy": "<i2", "shape": []},
    "text": {"dtype": "string", "shape": []},
    "ragged": {"dtype": "array", "dtype_numpy": "<f8", "shape": [None]},
    "spectrum": {"dtype": "array", "dtype_numpy": "<f8", "shape": [256]},
}
ROWS_AT_ONCE = 100


def values(row: int) -> dict[str, Any]:
    """Of one event; `odd` becomes what its column cannot hold."""
    return {
        "number": row / 3,
        "odd": f"no number in row {row}" if row else 0,
        "text": f"{row} " * 100,
        "ragged": np.full(1 + row % 3, float(row)),
        "spectrum": np.full(256, float(row)),
    }


class SmallSite:
    """A run with a detector that writes a file, in a Redis that has no room for it."""

    def __init__(self, server: RedisServer, directory: Path) -> None:
        self.url = server.url
        self.client = redis.Redis.from_url(server.url, protocol=2)
        limit_memory(self.client, 12 * MIB)
        self.log = directory / "tracker.log"
        self.writer = BlissdataWriter(server.url, journal=directory / "journal")
        self.detector = HDF5Detector(directory)
        self.rows = 0
        self.run = EmittedRun()
        self.descriptor = self.run.describe(data_keys=KEYS | self.detector.data_keys)[0][1]["uid"]
        give(self.writer, self.run.documents)
        self._announce(self.detector.begin())

    def tracker(self, **times: int) -> MemoryTracker:
        """It removes all that is older than a second, above a fifth of the memory."""
        return MemoryTracker(self.url, self.log, threshold=20, protected=1, period=1, **times)

    def measure(self) -> None:
        """More rows; of the detector, one file has all."""
        rows = range(self.rows, self.rows + ROWS_AT_ONCE)
        self._announce(self.detector.expose(self.descriptor, len(rows)))
        give(self.writer, [named for row in rows for named in self.run.event(values(row))])
        self.rows = rows.stop
        eventually(lambda: fullness(self.client) < 0.75, 60)

    def _announce(self, documents: list[Named]) -> None:
        give(self.writer, [(name, {**document, "run_start": self.run.uid}) for name, document in documents])

    @property
    def scan(self) -> Scan:
        """As an unmodified blissdata sees it."""
        return load(self.url, self.run.uid)

    def close(self) -> None:
        self.detector.end()
        self.writer.close()
        self.client.close()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallSite]:
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path))
    with RedisServer() as server:
        site = SmallSite(server, tmp_path)
        yield site
        site.close()


def test_a_run_of_every_kind_of_stream_is_trimmed_and_expires(site: SmallSite) -> None:
    with site.tracker() as tracker:
        for _ in range(100):
            site.measure()
            if site.rows >= 1000 and tracker.cleanings:
                break
        eventually(lambda: tracker.cleanings, 60)
        site.measure()
        give(site.writer, site.run.stop())
        assert_the_end_is_there(site)
        assert "Traceback" not in tracker.log
    with site.tracker(closed=1) as tracker:
        eventually(lambda: not list(site.client.scan_iter("esrf:stream:*")), 60)
        assert not site.client.exists(scan_key(site.run.uid))
        assert "Traceback" not in tracker.log
    # the tracker knows nothing of them; they have a time to live, and the writer's next run removes them
    assert site.client.ttl(documents_key(site.run.uid)) > 0
    after = scalar_run(3)
    after.stop()
    give(site.writer, after.documents)
    eventually(lambda: not site.client.exists(documents_key(site.run.uid)))
    assert site.client.exists(documents_key(after.uid))


def assert_the_end_is_there(site: SmallSite) -> None:
    """What was trimmed is gone, and said to be; the last rows, the documents and the detector's frames are whole."""
    scan, last = site.scan, site.rows - 1
    assert scan.state == ScanState.CLOSED
    expected = values(last)
    for key in ("number", "text", "ragged", "spectrum", "cam"):
        stream = scan.streams[f"primary:{key}"]
        assert (key, len(stream)) == (key, site.rows)
        with pytest.raises(IndexNoMoreThereError):
            stream[0]
        np.testing.assert_array_equal(stream[last], site.detector.rows[last] if key == "cam" else expected[key])
    irregular = scan.streams["primary:irregular"]
    assert len(irregular) == last
    assert irregular[last - 1] == {"row": last, "key": "odd", "value": expected["odd"]}
    documents = site.client.xlen(documents_key(site.run.uid))
    assert documents == 4 + site.rows // ROWS_AT_ONCE
