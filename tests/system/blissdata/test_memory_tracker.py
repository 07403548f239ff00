"""blissdata's memory tracker beside scans of ours: it expires what is finished, trims what is old, and never fails."""

from __future__ import annotations

import pytest
from blissdata import DataStore, Scan, ScanState
from blissdata.exceptions import IndexNoMoreThereError
from blissdata.redis_engine.memory_tracker import MemoryTracker
from bluesky.run_engine import RunEngine

from blissdata_bluesky.writer import BlissdataWriter

from .blissdata_runs import Beamline

DAY = 86400


@pytest.fixture
def tracker(data_store: DataStore) -> MemoryTracker:
    """With its usual periods, but all that it has seen counts as old."""
    return MemoryTracker(data_store, inactive_scan_deletion=DAY, closed_scan_deletion=7 * DAY, cleaning_time_slice=100)


def last_scan(data_store: DataStore) -> Scan:
    return data_store.load_scan(data_store.get_last_scan()[1])


def expirations(data_store: DataStore, scan: Scan) -> set[int]:
    """Seconds that each key of the scan lives on; -1 is for ever."""
    keys = [scan.key, scan._model.state_stream.key(), *(stream.key for stream in scan.streams.values())]
    return {data_store._redis.ttl(key) for key in keys}


def test_a_running_scan_is_tracked_and_a_finished_one_expires_after_a_week(
    RE: RunEngine, writer: BlissdataWriter, data_store: DataStore, tracker: MemoryTracker
) -> None:
    def update(row: int) -> None:
        assert writer.flush(90)
        tracker.update()
        assert expirations(data_store, last_scan(data_store)) == {-1}

    RE(Beamline().scan(between=update), writer)
    assert writer.flush(90)
    tracker.update()
    scan = last_scan(data_store)
    assert expirations(data_store, scan) <= {7 * DAY, 7 * DAY - 1}
    tracked = {key for _, entry in data_store._redis.xrange("_MEMORY_TRACKING_") for key in entry}
    assert tracked == {stream.key.encode() for stream in scan.streams.values()}


def test_a_new_tracker_finds_scans_that_are_finished(
    RE: RunEngine, writer: BlissdataWriter, data_store: DataStore
) -> None:
    RE(Beamline().scan(), writer)
    assert writer.flush(90)
    MemoryTracker(data_store, DAY, 7 * DAY, 20).update()
    assert expirations(data_store, last_scan(data_store)) <= {7 * DAY, 7 * DAY - 1}


def test_a_scan_that_is_trimmed_while_it_runs_is_written_to_its_end(
    RE: RunEngine, writer: BlissdataWriter, data_store: DataStore, tracker: MemoryTracker
) -> None:
    # Redis trims a running stream by blocks of 100 entries
    points, trimmed_at = 150, 120

    def trim(row: int) -> None:
        assert writer.flush(90)
        if row in (trimmed_at - 1, trimmed_at):
            tracker.update()
        if row == trimmed_at:
            tracker.reclaim_memory(protected_history=0)

    RE(Beamline().scan(points=points, between=trim), writer)
    assert writer.flush(90)
    scan = last_scan(data_store)
    stream = scan.streams["primary:motor"]
    assert (scan.state, len(stream), stream[-1]) == (ScanState.CLOSED, points, points - 1)
    assert stream[trimmed_at:].tolist() == list(range(trimmed_at, points))
    with pytest.raises(IndexNoMoreThereError):
        stream[0]
    view = stream.cursor().read()
    assert (view.index, len(view)) == (0, points)
    assert view.get_data(start=trimmed_at).tolist() == list(range(trimmed_at, points))
