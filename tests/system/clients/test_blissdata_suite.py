"""blissdata's own tests of its readers, as they are installed with it, on scans of ours.

They are imported as they are; what they create scans and streams with is replaced (`blissdata_suite`). Not here, because
they do not look at a scan that somebody published: the tests of blissdata's publisher (permissions, states, errors of
`send`, a stream sealed alone), of its encodings, of layouts and plugins that the test itself makes up, and of its HDF5,
Lima and Beacon clients. docs/interoperability.md has the list.
"""

# ruff: noqa: F401 - pytest collects what is imported

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blissdata import DataStore
from blissdata.tests.redis_engine import test_cursor
from blissdata.tests.redis_engine.conftest import dummy_id
from blissdata.tests.redis_engine.test_cursor import (
    test_cursor_batching,
    test_cursor_block,
    test_cursor_block_exit,
    test_cursor_read_from_now,
    test_cursor_read_from_origin,
    test_cursor_sealed_stream,
    test_cursor_timeout,
    test_monitor_sealed_stream,
    test_monitor_sealed_stream_during_read,
    test_monitor_sealed_stream_no_data_at_all,
    test_monitor_sealed_stream_no_new_available,
    test_monitor_stream,
)
from blissdata.tests.redis_engine.test_memory_tracker import (
    test_delete_inactive_scan,
    test_manual_scan_deletion,
    test_protected_history,
    test_tracking_multiple_scans,
    test_tracking_scan,
)
from blissdata.tests.redis_engine.test_scan import test_creation, test_deletion
from blissdata.tests.redis_engine.test_search import (
    test_get_last_scan,
    test_get_last_scan_deleted,
    test_get_last_scan_empty_db,
    test_get_last_scan_skip_deleted,
    test_get_next_scan_blocking,
    test_get_next_scan_deleted,
    test_get_next_scan_empty_db,
    test_get_next_scan_missed,
    test_get_next_scan_skip_deleted,
    test_search_all_scans,
    test_search_empty_db,
    test_search_specific_scans,
)
from blissdata.tests.streams import test_event_stream
from blissdata.tests.streams.test_event_stream import (
    test_event_stream_chunk_slicing,
    test_event_stream_negative_index_sealed,
    test_event_stream_negative_index_unsealed,
    test_event_stream_not_yet_there_index,
    test_event_stream_type,
    test_wait_seal,
)

from blissdata_bluesky.writer import BlissdataWriter

from .blissdata_suite import OurScans, identity_of

# these count seconds that a busy machine does not have
IMPATIENT = [test_cursor_timeout, test_delete_inactive_scan, test_protected_history, test_tracking_multiple_scans]
for function in IMPATIENT:
    pytest.mark.long(function)
for function in (*IMPATIENT, test_tracking_scan, test_manual_scan_deletion, test_wait_seal):
    # ours stands in the configuration
    function.pytestmark = [mark for mark in function.pytestmark if mark.name != "timeout"]


@pytest.fixture
def data_store(redis_url: str) -> Iterator[DataStore]:
    store = DataStore(redis_url)
    yield store
    store._redis.close()


class UntilItIsRead:
    """Stands for `time` where a thread sleeps while another one begins to read, which takes long on a busy machine."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    def sleep(self, seconds: float) -> None:
        """Until a reader waits; six times as long where none does."""
        deadline = time.monotonic() + 6 * seconds
        while not self._store._redis.info("clients")["blocked_clients"] and time.monotonic() < deadline:
            time.sleep(0.01)


@pytest.fixture(autouse=True)
def ours(
    request: pytest.FixtureRequest,
    redis_url: str,
    data_store: DataStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[OurScans]:
    """All scans and streams are ours."""
    with BlissdataWriter(redis_url, journal=tmp_path, identity=identity_of) as writer:
        scans = OurScans(writer, data_store)

        def stream_pair(_: DataStore, name: str, dtype: Any, shape: tuple[int, ...] = ()) -> Any:
            stream = scans.stream(name, dtype, shape)
            return stream, stream.reader

        def event_stream_pair(_: DataStore, dtype: Any) -> Any:
            stream = scans.stream("stream", dtype)
            return stream, stream.reader.event_stream

        monkeypatch.setattr(data_store, "create_scan", scans.create_scan)
        monkeypatch.setattr(test_cursor, "stream_pair", stream_pair)
        if request.node.originalname != "test_cursor_timeout":
            monkeypatch.setattr(test_cursor, "time", UntilItIsRead(data_store))
        monkeypatch.setattr(test_event_stream, "event_stream_pair", event_stream_pair)
        monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=":")
        yield scans
        scans.close()


class OneStream:
    """Stands for both classes with which a test makes itself a stream; it is ours, and reads as blissdata's."""

    def __init__(self, scans: OurScans) -> None:
        self._scans = scans
        self.make_definition = test_cursor.Stream.make_definition

    def create(self, _: DataStore, name: str, model: Any) -> str:
        return name

    def __call__(self, name: str) -> Any:
        stream = self._scans.stream(name, np.int64)
        reader = stream.reader
        for method in ("send", "join", "seal"):
            setattr(reader, method, getattr(stream, method))
        return reader


@pytest.fixture(autouse=True)
def one_stream(request: pytest.FixtureRequest, ours: OurScans, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.originalname == "test_cursor_batching":
        stand_in = OneStream(ours)
        monkeypatch.setattr(test_cursor, "Stream", stand_in)
        monkeypatch.setattr(test_cursor, "EventStream", stand_in)


@pytest.fixture
def prepare_streams(ours: OurScans) -> Any:
    """Streams that were sent in batches, and the batches: theirs, by the names that our streams have."""
    batches = {
        "empty": [],
        "one": [[0]],
        "three": [[0, 1, 2]],
        "one_three": [[0], [1, 2, 3]],
        "three_one": [[0, 1, 2], [3]],
        "singles": [[number] for number in range(10)],
        "mixed": [[0, 1], [2, 3, 4, 5, 6, 7], [8], [9, 10], [11, 12, 13], [14, 15]],
    }
    streams = {}
    for name, given in batches.items():
        stream = ours.stream(name, np.int64)
        for batch in given:
            stream.send(batch)
        stream.join()
        streams[f"{name}:{name}"] = stream.reader
    return streams, {f"{name}:{name}": given for name, given in batches.items()}
