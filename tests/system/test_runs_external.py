"""Frames in files of detectors, as `runs` gives them: live, joined, archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import bluesky.plans as bp
import numpy as np
import pytest
import redis
import tifffile
from bluesky.run_engine import RunEngine

from blissdata_bluesky.errors import (
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
    RowsTrimmedError,
)
from blissdata_bluesky.external import Roots
from blissdata_bluesky.protocol import stream_key, stream_pk
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, RedisRuns, Run
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import Site, joined_runs, open_site
from .archived import journaled
from .detectors import DETECTORS, FileDetector, HDF5Detector, NPYDetector, TIFFDetector
from .emitted import NUMBER, EmittedRun, give, give_one_by_one
from .external_runs import FilesRun, allowing, assert_frames
from .run_contract import assert_same_documents
from .sources import Devices, blob_flight
from .test_runs_phases import NO_CACHE

Make = Callable[..., FileDetector]

KINDS: dict[str, Make] = {
    **DETECTORS,
    # in one process all have to open it in the same way
    "hdf5": partial(HDF5Detector, parameters={"locking": False}),
    "swmr": partial(HDF5Detector, swmr=True),
}

# zarr keeps its threads
pytestmark = pytest.mark.leaves("thread", reason="zarr keeps its threads")


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with open_site(redis_url, tmp_path) as site:
        yield site


@pytest.fixture
def joined(site: Site, files: Path) -> Iterator[JoinedRuns]:
    with joined_runs(site, cache_bytes=NO_CACHE, roots=allowing(files)) as runs:
        yield runs


@pytest.fixture
def live(redis_url: str, files: Path) -> Iterator[RedisRuns]:
    with RedisRuns(redis_url, roots=allowing(files)) as runs:
        yield runs


@pytest.mark.parametrize("kind", KINDS)
def test_every_phase(kind: str, site: Site, joined: JoinedRuns, files: Path) -> None:
    detector = KINDS[kind](files, frame=(8, 8) if kind == "jpeg" else (3, 4), dtype="|u1")
    emitted = FilesRun(detector)
    site.give([*emitted.documents, *emitted.points(3)])
    held = joined.get(emitted.uid).streams["primary"]
    assert_frames(held.external["cam"], detector.rows)
    assert list(held.columns) == ["number"]
    site.archive(seal=False)
    for key in site.columns(emitted.uid).values():
        site.trim(key, 2)
    site.give(emitted.points(2))
    assert_frames(held.external["cam"], detector.rows)
    assert held.rows() == 5
    site.give(emitted.stop())
    site.archive()
    assert_frames(held.external["cam"], detector.rows)
    site.expire(emitted.uid)
    assert_frames(held.external["cam"], detector.rows)
    with ArchivedRuns(site.root, roots=allowing(files)) as archived:
        run = archived.get(emitted.uid)
        assert_frames(run.streams["primary"].external["cam"], detector.rows)
        assert_same_documents(run.documents(), journaled(emitted.documents))


def test_a_flyer_has_frames_and_no_events(site: Site, joined: JoinedRuns, files: Path) -> None:
    one, other = HDF5Detector(files, swmr=True), TIFFDetector(files, "other", dtype="<u4")
    emitted = FilesRun(one, other, events=False)
    site.give(emitted.documents)
    stream = joined.get(emitted.uid).streams["primary"]
    assert {key: column.rows() for key, column in stream.external.items()} == {"cam": 0, "other": 0}
    assert stream.external["other"].read().shape == (0, 1, 3, 4)
    for _ in range(3):
        site.give(emitted.expose(4))
        assert_frames(stream.external["cam"], one.rows)
        assert_frames(stream.external["other"], other.rows)
    site.give(emitted.stop())
    site.archive()
    site.wipe()
    run = joined.get(emitted.uid)
    assert_frames(run.streams["primary"].external["cam"], one.rows)
    assert (run.streams["primary"].rows(), dict(run.streams["primary"].columns)) == (0, {})
    assert_same_documents(run.documents(), journaled(emitted.documents))


@pytest.mark.parametrize("kind", KINDS)
def test_a_detector_goes_on_in_another_file(
    kind: str, writer: BlissdataWriter, redis_url: str, live: RedisRuns, files: Path
) -> None:
    """Whoever holds the run need not ask for its documents again."""
    detector = KINDS[kind](files, frame=(8, 8) if kind == "jpeg" else (3, 4), dtype="|u1")
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.points(2)])
    column = live.get(emitted.uid).streams["primary"].external["cam"]
    assert_frames(column, detector.rows)
    for rows in (3, 1):
        give(writer, [*emitted.next_file(detector), *emitted.points(rows)])
        assert_frames(column, detector.rows)
    give(writer, emitted.stop())
    with RedisRuns(redis_url, roots=allowing(files)) as others:
        assert_frames(others.get(emitted.uid).streams["primary"].external["cam"], detector.rows)


def test_what_the_run_engine_emits(RE: RunEngine, writer: BlissdataWriter, live: RedisRuns, files: Path) -> None:
    devices = Devices(files)
    RE.subscribe(writer)
    devices.connect()
    (uid,) = RE(bp.scan([devices.blob, devices.img], devices.axis, 0, 1, 4))
    (flight,) = RE(blob_flight(devices))
    assert writer.flush(90)
    stream = live.get(uid).streams["primary"]
    assert list(stream.external) == ["blob", "blob-sum", "img"]
    assert list(stream.columns) == ["img", "axis"]
    blob, total, img = (column.read() for column in stream.external.values())
    assert (blob.shape, blob.dtype) == ((4, 1, 240, 320), np.uint8)
    assert blob.sum(axis=(1, 2, 3)).tolist() == total.tolist() != [0] * 4
    assert img.shape == (4, 5, 7)
    assert np.diff(img[:, 0, 0]).tolist() == [1, 1, 1]
    assert stream.external["img"].seq_num(1, 3).tolist() == [2, 3]
    assert all(isinstance(datum, str) for datum in stream.read("img"))
    assert live.get(flight).streams["primary"].external["blob"].read().shape == (6, 1, 240, 320)


def test_datums(site: Site, joined: JoinedRuns, files: Path) -> None:
    """References are in the events; a datum may come late, and an event may lack its own."""
    detector = HDF5Detector(files, exposures=1, shape=[3, 4], dtype="<f4")
    emitted = EmittedRun()
    emitted.describe(data_keys={"number": NUMBER, "cam": {**detector.data_key, "external": "FILESTORE:"}})
    detector.begin()
    detector.expose("", 4)
    detector.end()
    resource = {"uid": "r", "spec": "AD_HDF5", "root": str(files), "resource_path": detector.path.name}
    emitted.other("resource", {**resource, "resource_kwargs": {}, "path_semantics": "posix", "run_start": emitted.uid})
    for row in range(3):
        datum = {"datum_id": f"r/{row}", "resource": "r", "datum_kwargs": {"point_number": row}}
        emitted.other("datum", datum)
        (_, event), *_ = emitted.event({"number": 0.5, "cam": f"r/{row}"})
        event["filled"] = {"cam": False}
    site.give(emitted.documents)
    stream = joined.get(emitted.uid).streams["primary"]
    assert_frames(stream.external["cam"], detector.rows[:3])
    last = {"datum_id": "r/late", "resource": "r", "datum_kwargs": {"point_number": 3}}
    site.give([*emitted.event({"number": 1.5}), *emitted.other("datum", last)])
    (_, event), *_ = emitted.event({"number": 1.5, "cam": "r/late"})
    event["filled"] = {"cam": False}
    site.give([("event", event), *emitted.stop()])
    expected = np.concatenate([detector.rows[:3], np.full((1, 3, 4), np.nan, "<f4"), detector.rows[3:]])
    assert_frames(stream.external["cam"], expected)
    site.archive()
    site.wipe()
    run = joined.get(emitted.uid)
    assert_frames(run.streams["primary"].external["cam"], expected)
    assert_same_documents(run.documents(), journaled(emitted.documents))


def test_values_that_were_filled_in_are_no_references(writer: BlissdataWriter, live: RedisRuns) -> None:
    emitted = EmittedRun()
    emitted.describe(data_keys={"cam": {"dtype": "array", "shape": [2], "external": "FILESTORE:"}})
    give(writer, emitted.documents)
    stream = live.get(emitted.uid).streams["primary"]
    assert list(stream.external) == ["cam"]
    assert stream.external["cam"].rows() == 0
    (_, event), *_ = emitted.event({"cam": np.array([1.5, 2.5])})
    event["filled"] = {"cam": True}
    give(writer, [("event", event), *emitted.stop()])
    assert stream.rows() == 1
    assert dict(stream.external) == {}
    assert np.asarray(stream.read("cam")).tolist() == [[1.5, 2.5]]


def test_joined_frames(writer: BlissdataWriter, live: RedisRuns, files: Path) -> None:
    detector = HDF5Detector(files, exposures=2, parameters={"join_method": "concat"})
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.points(3), *emitted.stop()])
    column = live.get(emitted.uid).streams["primary"].external["cam"]
    assert column.joined
    assert_frames(column, detector.rows)


def test_more_than_is_read_at_once(writer: BlissdataWriter, live: RedisRuns, files: Path) -> None:
    detector = HDF5Detector(files, frame=(1024, 1024), dtype="<u4", compression="lzf")
    emitted = FilesRun(detector, events=False)
    give(writer, [*emitted.documents, *emitted.expose(37), *emitted.stop()])
    found = live.get(emitted.uid).streams["primary"].external["cam"].read(1, 36)
    assert found.nbytes > 2 * 64 * 2**20
    np.testing.assert_array_equal(found[:, 0, 5, ::512], detector.frames[1:36, 5, ::512])


def test_rows_that_the_memory_tracker_took(
    writer: BlissdataWriter, redis_client: redis.Redis, live: RedisRuns, files: Path
) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    give(writer, emitted.documents)
    give_one_by_one(writer, emitted.points(3))
    redis_client.xtrim(stream_key(stream_pk(emitted.uid, "primary:cam")), minid="2-0", approximate=False)
    column = live.get(emitted.uid).streams["primary"].external["cam"]
    with pytest.raises(RowsTrimmedError, match="primary:cam"):
        column.read(0, 1)
    assert column.rows() == 3
    np.testing.assert_array_equal(column.read(2), detector.rows[2:])
    give(writer, emitted.stop())


def test_a_rewind_keeps_all_rows(writer: BlissdataWriter, live: RedisRuns, files: Path) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    emitted.points(3)
    detector._rows -= 2
    for seq_num in (2, 3):
        emitted.expose()
        emitted.event({"number": 0.0}, seq_num=seq_num)
    give(writer, [*emitted.documents, *emitted.stop()])
    column = live.get(emitted.uid).streams["primary"].external["cam"]
    assert column.seq_num().tolist() == [1, 2, 3, 2, 3]
    np.testing.assert_array_equal(column.read(), detector.rows)


class TestOneBrokenStream:
    """What is wrong with the files of one key is said, and nothing else is touched."""

    @pytest.fixture
    def bad(self, files: Path) -> TIFFDetector:
        return TIFFDetector(files, "bad")

    @pytest.fixture
    def good(self, files: Path) -> HDF5Detector:
        return HDF5Detector(files, "good")

    @pytest.fixture
    def run(self, writer: BlissdataWriter, live: RedisRuns, bad: TIFFDetector, good: HDF5Detector) -> Run:
        emitted = FilesRun(bad, good)
        give(writer, [*emitted.documents, *emitted.points(3), *emitted.stop()])
        return live.get(emitted.uid)

    def _assert_broken(self, run: Run, good: HDF5Detector, error: type[Exception], *words: str) -> None:
        stream = run.streams["primary"]
        with pytest.raises(error) as caught:
            stream.external["bad"].read(1, 2)
        about = f"run {run.uid}, stream 'primary', key 'bad': "
        assert str(caught.value).startswith(about)
        for word in words:
            assert word in str(caught.value)
        assert (stream.external["bad"].rows(), stream.external["bad"].shape) == (3, (1, 3, 4))
        assert_frames(stream.external["good"], good.rows)
        assert stream.read("number").tolist() == [0.25, 0.5, 0.75]
        assert [name for name, _ in run.documents()].count("stream_datum") == 6

    def test_a_missing_file(self, run: Run, bad: TIFFDetector, good: HDF5Detector) -> None:
        bad.path(1).unlink()
        self._assert_broken(run, good, ExternalMissingError, bad.path(1).name)
        np.testing.assert_array_equal(run.streams["primary"].external["bad"].read(2), bad.rows[2:])

    def test_a_truncated_file(self, run: Run, bad: TIFFDetector, good: HDF5Detector) -> None:
        bad.path(1).write_bytes(bad.path(1).read_bytes()[:100])
        self._assert_broken(run, good, ExternalNotReadyError, bad.path(1).name)

    def test_frames_of_another_dtype(self, run: Run, bad: TIFFDetector, good: HDF5Detector) -> None:
        tifffile.imwrite(bad.path(1), bad.frames[1].astype("<f4"))
        self._assert_broken(run, good, ExternalFormatError, bad.path(1).name)

    def test_a_link_that_leads_out(self, run: Run, bad: TIFFDetector, good: HDF5Detector, tmp_path: Path) -> None:
        outside = tmp_path / "outside.tiff"
        bad.path(1).rename(outside)
        bad.path(1).symlink_to(outside)
        self._assert_broken(run, good, ExternalRefusedError, bad.path(1).name, "outside")


@pytest.mark.parametrize("configured", [False, True])
def test_the_environment_says_where_files_may_be(
    configured: bool, writer: BlissdataWriter, redis_url: str, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.points(2), *emitted.stop()])
    monkeypatch.delenv("BLISSDATA_BLUESKY_ROOTS", raising=False)
    if configured:
        monkeypatch.setenv("BLISSDATA_BLUESKY_ROOTS", str(files))
    with RedisRuns(redis_url) as runs:
        column = runs.get(emitted.uid).streams["primary"].external["cam"]
        if configured:
            assert_frames(column, detector.rows)
            return
        with pytest.raises(ExternalRefusedError, match="BLISSDATA_BLUESKY_ROOTS"):
            column.read()
        assert column.rows() == 2


def test_files_of_another_computer(writer: BlissdataWriter, redis_url: str, files: Path) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    (resource,) = (document for name, document in emitted.documents if name == "stream_resource")
    resource["uri"] = resource["uri"].replace(f"localhost{files}", "ioc/C:/frames")
    give(writer, [*emitted.documents, *emitted.points(2), *emitted.stop()])
    with RedisRuns(redis_url, roots=Roots.parse([f"file://ioc/C:/frames={files}"])) as runs:
        assert_frames(runs.get(emitted.uid).streams["primary"].external["cam"], detector.rows)
