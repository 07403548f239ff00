"""Frames in detectors' files, read by an unmodified blissdata client with the plugin of this package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import redis
from blissdata import DataStore, Scan
from blissdata.exceptions import EndOfStream, IndexNotYetThereError, IndexWontBeThereError
from blissdata.streams import CursorGroup

from blissdata_bluesky.errors import (
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
    ExternalRootsError,
)
from blissdata_bluesky.external.roots import ROOTS_VARIABLE
from blissdata_bluesky.plugins.external import ExternalStream
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.writer import BlissdataWriter

from ..archive_site import Site, open_site
from ..detectors import DETECTORS, FileDetector, HDF5Detector, TIFFDetector
from ..emitted import EmittedRun
from .blissdata_runs import wait_until_blocked

NUMBER = {"number": {"dtype": "number", "shape": []}}


@pytest.fixture(autouse=True)
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path))


class Exposed:
    """A run with a detector beside a number; documents go to a writer at once."""

    def __init__(self, writer: BlissdataWriter, detector: FileDetector) -> None:
        self.writer = writer
        self.detector = detector
        self.run = EmittedRun()
        self.descriptor = self.run.describe(data_keys=NUMBER | detector.data_keys)[0][1]["uid"]
        self.give(self.run.documents)
        self.begin()

    def begin(self) -> None:
        """Open the next file."""
        self.give(of_run(self.run, self.detector.begin()))

    def give(self, documents: list[tuple[str, Any]]) -> None:
        for name, document in documents:
            self.writer(name, document)
        assert self.writer.flush(90)

    def expose(self, *rows: int) -> None:
        """Frames of so many rows at a time, with their events."""
        for count in rows:
            frames = self.detector.expose(self.descriptor, count)
            events = [named for _ in range(count) for named in self.run.event({"number": 1.5})]
            self.give(frames + events)

    def stop(self) -> None:
        self.detector.end()
        self.give(self.run.stop())


def of_run(run: EmittedRun, documents: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(name, {**document, "run_start": run.uid}) for name, document in documents]


def scan_of(data_store: DataStore, run: EmittedRun) -> Scan:
    return data_store.load_scan(scan_key(run.uid))


def camera(data_store: DataStore, run: EmittedRun) -> ExternalStream:
    return scan_of(data_store, run).streams["primary:cam"]


def assert_equal(found: Any, expected: np.ndarray) -> None:
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


@pytest.mark.leaves("thread", reason="zarr keeps its pools of threads")
@pytest.mark.parametrize("kind", DETECTORS)
def test_frames_by_index_slice_and_cursor(
    kind: str, writer: BlissdataWriter, data_store: DataStore, tmp_path: Path
) -> None:
    exposed = Exposed(writer, DETECTORS[kind](tmp_path, frame=(8, 16), dtype="|u1"))
    exposed.expose(1, 3, 8)
    stream, rows = camera(data_store, exposed.run), exposed.detector.rows
    assert isinstance(stream, ExternalStream)
    assert (stream.kind, stream.plugin, stream.dtype) == ("array", "bluesky_external", rows.dtype)
    assert stream.shape == rows.shape[1:]
    with pytest.raises(IndexNotYetThereError):
        stream[12]
    exposed.stop()
    assert len(stream) == 12
    assert_equal(stream[5], rows[5])
    assert_equal(stream[-1], rows[-1])
    assert_equal(stream[4:9], rows[4:9])
    assert_equal(stream[::5], rows[::5])
    assert_equal(stream[:], rows)
    assert stream[3:3].shape == (0, *rows.shape[1:])
    with pytest.raises(IndexWontBeThereError):
        stream[12]
    assert_equal(np.concatenate([view.get_data() for view in views(stream)]), rows)
    assert_equal(np.stack(list(stream)), rows)
    (last,) = [CursorGroup([stream]).read(last_only=True)[stream]]
    assert last.index == 11
    assert_equal(last.get_data(), rows[11:])


def views(stream: ExternalStream) -> Iterator[Any]:
    cursor = stream.cursor()
    try:
        while True:
            yield cursor.read()
    except EndOfStream:
        return


def test_a_cursor_that_waits_gets_frames_as_they_come(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path
) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path, swmr=True))
    exposed.expose(1)
    cursor = camera(data_store, exposed.run).cursor()
    cursor.read()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(cursor.read, timeout=60)
        wait_until_blocked(data_store)
        exposed.expose(2)
        view = waiting.result()
    # what the detector writes later does not matter
    exposed.expose(3)
    assert (view.index, len(view), cursor.position) == (1, 2, 3)
    assert_equal(view.get_data(), exposed.detector.rows[1:3])
    assert_equal(view.get_data(1), exposed.detector.rows[2:3])
    exposed.stop()


def test_a_detector_that_flies_alone(writer: BlissdataWriter, data_store: DataStore, tmp_path: Path) -> None:
    detector, run = HDF5Detector(tmp_path), EmittedRun()
    descriptor = run.describe(data_keys=detector.data_keys)[0][1]["uid"]
    for name, document in [
        *run.documents,
        *of_run(run, detector.begin()),
        *detector.expose(descriptor, 5),
        *run.stop(),
    ]:
        writer(name, document)
    detector.end()
    assert writer.flush(90)
    scan = scan_of(data_store, run)
    assert_equal(scan.streams["primary:cam"][:], detector.rows)
    assert len(scan.streams["primary:time"]) == 0


def test_several_files_of_one_detector(writer: BlissdataWriter, data_store: DataStore, tmp_path: Path) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path))
    exposed.expose(2)
    stream = camera(data_store, exposed.run)
    assert_equal(stream[1], exposed.detector.rows[1])
    exposed.begin()
    exposed.expose(3)
    exposed.stop()
    assert_equal(stream[:], exposed.detector.rows)


def test_a_resource_that_names_no_run_is_of_the_only_one_that_is_open(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path))
    nameless = exposed.detector.begin()
    assert "run_start" not in nameless[0][1]
    exposed.give(nameless)
    exposed.expose(2)
    assert_equal(camera(data_store, exposed.run)[:], exposed.detector.rows)
    other = EmittedRun()
    exposed.give(other.documents + exposed.detector.begin())
    assert "run_start=None" in caplog.text
    exposed.give(other.stop())
    exposed.stop()


def test_a_sequence_of_files_that_runs_on(writer: BlissdataWriter, data_store: DataStore, tmp_path: Path) -> None:
    exposed = Exposed(writer, TIFFDetector(tmp_path))
    exposed.expose(3)
    exposed.begin()
    exposed.expose(2)
    exposed.stop()
    assert_equal(camera(data_store, exposed.run)[:], exposed.detector.rows)


def test_streams_that_share_a_detector_have_frames_of_their_own(site: Site, redis_url: str, tmp_path: Path) -> None:
    """The indices of both begin with 0, those of the second file do not run on."""
    run, rows, files = EmittedRun(), {}, {}
    site.give(run.documents)
    for stream, count in (("dark", 3), ("primary", 8)):
        (tmp_path / stream).mkdir()
        detector = HDF5Detector(tmp_path / stream)
        descriptor = run.describe(stream, detector.data_keys)[0][1]["uid"]
        resource = detector.begin()
        frames = [named for _ in range(count) for named in detector.expose(descriptor)]
        site.give([run.documents[-1], *of_run(run, resource), *frames])
        detector.end()
        rows[stream], files[stream] = detector.rows[-count:], detector.path
    site.give(run.stop())
    scan = scan_of(DataStore(redis_url), run)
    for stream, expected in rows.items():
        assert_equal(scan.streams[f"{stream}:cam"][:], expected)
    site.archive()
    with h5py.File(site.file(run.uid)) as file:
        links = {entry: file[f"{entry}/instrument/cam"].get("data", getlink=True) for entry in ("0.1", "0.2")}
    assert {link.filename for link in links.values()} == {str(path) for path in files.values()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"indices": {"start": 0, "stop": float("inf")}},
        {"indices": {"start": 0, "stop": "1"}},
        {"stream_resource": ["r"]},
        {"stream_resource": {}},
        {"indices": None},
    ],
    ids=str,
)
def test_a_stream_datum_that_makes_no_sense_harms_no_other(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path, wrong: Any
) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path))
    exposed.expose(2)
    ((name, datum),) = exposed.detector.expose(exposed.descriptor)
    exposed.give([(name, {**datum, "uid": "wrong", **wrong}), (name, datum)])
    exposed.stop()
    assert_equal(camera(data_store, exposed.run)[:], exposed.detector.rows)


def test_events_without_the_id_of_a_datum_have_blank_frames(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path
) -> None:
    run = EmittedRun()
    run.describe(data_keys={"cam": {"dtype": "array", "dtype_numpy": "<f8", "shape": [2], "external": "FILESTORE:"}})
    resource = {"uid": "r", "spec": "NPY_SEQ", "root": str(tmp_path), "resource_path": "s", "resource_kwargs": {}}
    run.other("resource", {**resource, "run_start": run.uid, "path_semantics": "posix"})
    np.save(tmp_path / "s_0.npy", [1.0, 2.0])
    run.other("datum", {"datum_id": "r/0", "resource": "r", "datum_kwargs": {"index": 0}})
    run.event({"cam": "r/0"})
    run.event({})
    run.stop()
    for named in run.documents:
        writer(*named)
    assert writer.flush(90)
    assert_equal(camera(data_store, run)[:], np.array([[1.0, 2.0], [np.nan, np.nan]]))


def test_roots_that_are_mended_hold_at_once(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path))
    exposed.expose(1)
    exposed.stop()
    stream = camera(data_store, exposed.run)
    monkeypatch.delenv(ROOTS_VARIABLE)
    with pytest.raises(ExternalRefusedError):
        stream[0]
    monkeypatch.setenv(ROOTS_VARIABLE, "no/root")
    with pytest.raises(ExternalRootsError, match="no/root"):
        stream[0]
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path))
    assert_equal(stream[0], exposed.detector.rows[0])


def test_datum_ids_lead_to_frames_too(writer: BlissdataWriter, data_store: DataStore, tmp_path: Path) -> None:
    frames = np.arange(24, dtype="<u2").reshape(4, 2, 3)
    run = EmittedRun()
    image = {"dtype": "array", "dtype_numpy": "<u2", "shape": [2, 3], "external": "FILESTORE:"}
    run.describe(data_keys={"cam": image})
    resource = {"uid": "r", "spec": "NPY_SEQ", "root": str(tmp_path), "resource_path": "s", "resource_kwargs": {}}
    run.other("resource", {**resource, "run_start": run.uid, "path_semantics": "posix"})
    for number, frame in enumerate(frames):
        np.save(tmp_path / f"s_{number}.npy", frame)
        run.other("datum", {"datum_id": f"r/{number}", "resource": "r", "datum_kwargs": {"index": number}})
        run.event({"cam": f"r/{number}"})
    run.stop()
    for name, document in run.documents:
        writer(name, document)
    assert writer.flush(90)
    stream = camera(data_store, run)
    assert_equal(stream[1:3], frames[1:3])
    assert_equal(stream[3], frames[3])
    assert stream.references[0] == "r/0"


def test_what_is_wrong_with_a_file_is_said_of_its_stream_alone(
    writer: BlissdataWriter, data_store: DataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exposed = Exposed(writer, HDF5Detector(tmp_path))
    exposed.expose(3)
    exposed.stop()
    path = exposed.detector.path
    about = rf"run {exposed.run.uid}, stream 'primary', key 'cam': .*{path.name}"
    os.truncate(path, 3000)
    with pytest.raises(ExternalNotReadyError, match=about):
        camera(data_store, exposed.run)[:]
    path.unlink()
    with pytest.raises(ExternalMissingError, match=about):
        camera(data_store, exposed.run)[:]
    monkeypatch.setenv(ROOTS_VARIABLE, str(tmp_path / "elsewhere"))
    scan = scan_of(data_store, exposed.run)
    stream = scan.streams["primary:cam"]
    with pytest.raises(ExternalRefusedError, match=f"{about}.*{ROOTS_VARIABLE}"):
        stream[:]
    assert (len(stream), stream.shape) == (3, exposed.detector.rows.shape[1:])
    assert stream.references[1].tolist() == [0, 1, 2]
    assert list(scan.streams["primary:number"]) == [1.5] * 3


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


def test_references_that_are_trimmed_come_from_the_archive(
    site: Site, redis_url: str, redis_client: redis.Redis, tmp_path: Path
) -> None:
    exposed = Exposed(site.writer, HDF5Detector(tmp_path))
    exposed.expose(4, 4, 4)
    site.archive(seal=False)
    stream = camera(DataStore(redis_url), exposed.run)
    redis_client.xtrim(stream.key, minid=8, approximate=False)
    assert len(stream.event_stream._range()) == 1
    assert_equal(stream[1:3], exposed.detector.rows[1:3])
    assert_equal(np.concatenate([stream.cursor().read().get_data()]), exposed.detector.rows)
    exposed.stop()
    site.archive()
    assert_equal(stream[1:3], exposed.detector.rows[1:3])
