"""Every snippet of blissdata's cheat sheet (https://bliss.gitlab-pages.esrf.fr/blissdata/cheatsheet.html) on our scans."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import pytest
from blissdata import DataStore, Scan, ScanState
from blissdata.exceptions import (
    EndOfStream,
    IndexNotYetThereError,
    IndexWontBeThereError,
    NoScanAvailable,
    ScanNotFoundError,
)
from blissdata.streams import CursorGroup
from bluesky.run_engine import RunEngine

from blissdata_bluesky.writer import BlissdataWriter

from .blissdata_runs import POINTS, Beamline, expected_rows, follow, wait_for_prepared, wait_until_blocked

During: TypeAlias = Callable[[Callable[[int, Scan], object]], None]

METADATA = {"beamline_id": "id00", "sample_name": "copper foil", "proposal": {"proposal_id": "hg-0050"}}


@pytest.fixture
def RE(RE: RunEngine, writer: BlissdataWriter) -> RunEngine:
    """A RunEngine whose runs are published."""
    RE.subscribe(writer)
    RE.md.update(METADATA)
    return RE


@pytest.fixture
def beamline() -> Beamline:
    return Beamline()


@pytest.fixture
def during(RE: RunEngine, writer: BlissdataWriter, beamline: Beamline, data_store: DataStore) -> During:
    """Run a scan and call a function with each row and the scan as blissdata sees it then."""

    def run(check: Callable[[int, Scan], object]) -> None:
        def between(row: int) -> None:
            assert writer.flush(90)
            check(row, data_store.load_scan(data_store.get_last_scan()[1]))

        RE(beamline.scan(between=between))
        assert writer.flush(90)

    return run


@pytest.fixture
def uid(RE: RunEngine, writer: BlissdataWriter, beamline: Beamline) -> str:
    """The uid of a run that has been published to its end."""
    (uid,) = RE(beamline.scan())
    assert writer.flush(90)
    return str(uid)


@pytest.fixture
def scan(uid: str, data_store: DataStore) -> Scan:
    """A finished scan."""
    return data_store.load_scan(data_store.get_last_scan()[1])


def test_get_last_scan(uid: str, data_store: DataStore) -> None:
    timetag, key = data_store.get_last_scan()
    assert data_store.load_scan(key).dataset == uid
    assert timetag == data_store.get_last_scan_timetag()


def test_no_scan_is_available_before_the_first(data_store: DataStore) -> None:
    with pytest.raises(NoScanAvailable):
        data_store.get_last_scan()
    with pytest.raises(NoScanAvailable):
        data_store.get_next_scan(block=False)


def test_get_next_scan_waits_for_a_run(RE: RunEngine, beamline: Beamline, data_store: DataStore) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(data_store.get_next_scan, timeout=60)
        wait_until_blocked(data_store)
        (uid,) = RE(beamline.scan())
        _, key = waiting.result()
    assert data_store.load_scan(key).dataset == uid


def test_get_next_scan_counts_from_now(uid: str, data_store: DataStore) -> None:
    with pytest.raises(NoScanAvailable):
        data_store.get_next_scan(timeout=0.05)


def test_get_next_scan_since_misses_none(
    RE: RunEngine, writer: BlissdataWriter, beamline: Beamline, data_store: DataStore
) -> None:
    since = data_store.get_last_scan_timetag()
    uids = [RE(beamline.scan(points=1))[0] for _ in range(3)]
    assert writer.flush(90)
    found = []
    for _ in uids:
        since, key = data_store.get_next_scan(since=since)
        found.append(data_store.load_scan(key).dataset)
    assert found == uids
    with pytest.raises(NoScanAvailable):
        data_store.get_next_scan(since=since, block=False)


def test_search_existing_scans(scan: Scan, data_store: DataStore) -> None:
    queries: list[dict[str, str | int]] = [
        {},
        {"name": "scan"},
        {"number": 1},
        {"session": "id*"},
        {"collection": "*per*"},
        {"collection": "copper foil"},
        {"proposal": "*0050"},
        {"proposal": "hg-0050", "name": "sc*", "number": 1, "data_policy": "no_policy"},
    ]
    for query in queries:
        assert data_store.search_existing_scans(**query) == (data_store.get_last_scan_timetag(), [scan.key])


def test_search_does_not_find_other_scans(scan: Scan, data_store: DataStore) -> None:
    for query in ({"name": "count"}, {"number": 2}, {"proposal": "hg-0050", "session": "id99"}):
        assert data_store.search_existing_scans(**query)[1] == []


def test_search_by_uid(uid: str, scan: Scan, data_store: DataStore) -> None:
    for pattern in (uid, f"{uid[:8]}*", f"*{uid[10:20]}*", f"*{uid[-8:]}"):
        assert data_store.search_existing_scans(dataset=pattern)[1] == [scan.key]


def test_load_scan_shows_identity_and_info(uid: str, scan: Scan) -> None:
    identity = (scan.name, scan.number, scan.data_policy, scan.session, scan.proposal, scan.collection, scan.dataset)
    assert identity == ("scan", 1, "no_policy", "id00", "hg-0050", "copper foil", uid)
    assert scan.path is None
    assert scan.state == ScanState.CLOSED
    assert scan.info["title"] == "scan"
    assert scan.info["npoints"] == POINTS
    assert scan.info["end_reason"] == "SUCCESS"


def test_states_of_several_scans_at_once(uid: str, data_store: DataStore, during: During) -> None:
    def check(row: int, scan: Scan) -> None:
        states = data_store.get_scans_state(data_store.search_existing_scans()[1])
        assert sorted(states.values()) == [ScanState.STARTED, ScanState.CLOSED]
        assert states[scan.key] == ScanState.STARTED

    during(check)


def test_wait_until_prepared(RE: RunEngine, beamline: Beamline, any_redis_url: str, data_store: DataStore) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_prepared, any_redis_url)
        wait_until_blocked(data_store)
        RE(beamline.scan())
        scan = waiting.result()
    assert set(scan.streams) >= set(expected_rows())


def test_update_returns_false_when_nothing_changes(scan: Scan, during: During) -> None:
    assert scan.update() is False

    def check(row: int, running: Scan) -> None:
        assert running.update(block=False) is False
        assert running.update(timeout=0.01) is False

    during(check)


def test_streams_by_point_slice_and_whole(scan: Scan) -> None:
    for name, expected in expected_rows().items():
        last = len(expected) - 1
        stream = scan.streams[name]
        assert (stream.name, len(stream)) == (name, len(expected))
        np.testing.assert_array_equal(stream[:], expected)
        np.testing.assert_array_equal(stream[1:last], expected[1:last])
        np.testing.assert_array_equal(stream[-2:], expected[-2:])
        for index in (0, last, -1):
            np.testing.assert_array_equal(stream[index], expected[index])
        with pytest.raises(IndexWontBeThereError):
            stream[last + 1]


def test_streams_tell_what_they_hold(scan: Scan) -> None:
    kinds = {name: (stream.kind, stream.dtype.str, stream.shape) for name, stream in scan.streams.items()}
    assert kinds == {
        "baseline:time": ("array", "<f8", ()),
        "baseline:seq_num": ("array", "<i8", ()),
        "baseline:timestamps": ("array", "<f8", (1,)),
        "baseline:temperature": ("array", "<f8", ()),
        "primary:time": ("array", "<f8", ()),
        "primary:seq_num": ("array", "<i8", ()),
        "primary:timestamps": ("array", "<f8", (6,)),
        "primary:motor": ("array", "<f8", ()),
        "primary:motor_setpoint": ("array", "<f8", ()),
        "primary:scalar": ("array", "<f8", ()),
        "primary:spectrum": ("array", "<f8", (5,)),
        "primary:image": ("array", "<u2", (3, 4)),
        "primary:text": ("json", "|O", ()),
    }


def test_points_of_a_running_scan(during: During) -> None:
    def check(row: int, scan: Scan) -> None:
        stream = scan.streams["primary:motor"]
        assert stream[row] == row
        assert stream[:].tolist() == list(range(row + 1))
        assert not stream.is_sealed()
        with pytest.raises(IndexNotYetThereError, match="not yet published"):
            stream[row + 1]
        with pytest.raises(IndexNotYetThereError, match="before stream is sealed"):
            stream[-1]

    during(check)


def test_a_stream_is_sealed_with_its_scan(scan: Scan) -> None:
    assert all(stream.is_sealed() and stream.wait_seal(1) for stream in scan.streams.values())
    assert list(scan.streams["primary:motor"]) == list(range(POINTS))


@pytest.mark.parametrize("name", ["primary:motor", "primary:image", "primary:text"])
def test_a_cursor_follows_a_running_scan_to_its_end(
    name: str, RE: RunEngine, beamline: Beamline, any_redis_url: str, data_store: DataStore
) -> None:
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(follow, any_redis_url, name)
        wait_until_blocked(data_store)
        RE(beamline.scan())
        indices, values, _ = zip(*following.result(), strict=True)
    assert indices == tuple(range(POINTS))
    np.testing.assert_array_equal(values, expected_rows()[name])


def test_a_cursor_that_does_not_wait(during: During) -> None:
    cursors = {}

    def check(row: int, scan: Scan) -> None:
        cursor = cursors.setdefault("motor", scan.streams["primary:motor"].cursor())
        view = cursor.read(block=False)
        assert (view.index, list(view)) == (row, [row])
        assert cursor.read(block=False) is None
        assert cursor.read(timeout=0.01) is None
        assert cursor.position == row + 1

    during(check)
    with pytest.raises(EndOfStream):
        cursors["motor"].read()


def test_monitoring_shows_the_last_point_only(during: During) -> None:
    shown = []

    def check(row: int, scan: Scan) -> None:
        if row % 2:
            cursor = scan.streams["primary:image"].cursor()
            shown.append(cursor.read(last_only=True))
            assert cursor.read(block=False, last_only=True) is None

    during(check)
    assert [view.index for view in shown] == [1, 3, 5]
    assert [view.get_data()[0][0, 0] for view in shown] == [1, 3, 5]


def test_monitoring_a_finished_scan(scan: Scan) -> None:
    cursor = scan.streams["primary:text"].cursor()
    view = cursor.read(last_only=True)
    assert (view.index, view.get_data()) == (POINTS - 1, [f"at {POINTS - 1}"])
    with pytest.raises(EndOfStream):
        cursor.read(last_only=True)


def test_a_cursor_group_reads_all_streams(scan: Scan) -> None:
    group = CursorGroup(scan.streams)
    read: dict[str, list[Any]] = {name: [] for name in scan.streams}
    with pytest.raises(EndOfStream):
        while True:
            for stream, view in group.read(timeout=60).items():
                assert view.index == len(read[stream.name])
                read[stream.name].extend(view.get_data())
    for name, expected in expected_rows().items():
        np.testing.assert_array_equal(read[name], expected)


def test_a_cursor_group_follows_a_running_scan(during: During) -> None:
    groups: list[CursorGroup] = []

    def check(row: int, scan: Scan) -> None:
        if not groups:
            groups.append(CursorGroup(scan.streams))
        views = groups[0].read(timeout=60)
        assert {view.index for stream, view in views.items() if stream.name.startswith("primary:")} == {row}

    during(check)


def test_delete_scan(scan: Scan, data_store: DataStore) -> None:
    data_store.delete_scan(scan.key)
    with pytest.raises(ScanNotFoundError):
        data_store.load_scan(scan.key)
    with pytest.raises(NoScanAvailable):
        data_store.get_last_scan()
    data_store.delete_scan(scan.key)


def test_a_running_scan_is_not_deleted(during: During, data_store: DataStore) -> None:
    def check(row: int, scan: Scan) -> None:
        with pytest.raises(RuntimeError, match="not terminated"):
            data_store.delete_scan(scan.key)

    during(check)


def test_a_running_scan_deleted_by_force_leaves_the_run_alone(
    RE: RunEngine, writer: BlissdataWriter, beamline: Beamline, data_store: DataStore
) -> None:
    def delete(row: int) -> None:
        if row == 2:
            assert writer.flush(90)
            data_store.delete_scan(data_store.get_last_scan()[1], force=True)

    RE(beamline.scan(between=delete))
    assert not writer.flush(60)
    with pytest.raises(NoScanAvailable):
        data_store.get_last_scan()
    (uid,) = RE(beamline.scan())
    assert writer.flush(90)
    assert data_store.load_scan(data_store.get_last_scan()[1]).dataset == uid
