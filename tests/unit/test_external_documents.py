"""Resources and datums of every age, and documents that nobody should have written."""

from __future__ import annotations

import contextlib
import copy
import threading
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import ophyd.sim
import pytest
import tifffile
from bluesky import RunEngine
from bluesky.plans import count
from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blissdata_bluesky.errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
)
from blissdata_bluesky.external import Frames, Roots
from tests.system.detectors import HDF5Detector, TIFFDetector

from .recorded_frames import ABOUT, DESCRIPTOR, Recorded, recorded

IMAGES = np.arange(6 * 3 * 4, dtype="<u2").reshape(6, 3, 4)
IMAGE = {"dtype": "array", "dtype_numpy": "<u2", "shape": [3, 4], "external": "FILESTORE:"}


def old_frames(root: Path, data_key: dict[str, Any] = IMAGE, entries: list[str] | None = None) -> Frames:
    return Frames(ABOUT, "cam", {"data_keys": {"cam": data_key}}, Roots.parse(entries or [str(root)]))


def resource(spec: str, root: Any, resource_path: str, **kwargs: Any) -> dict[str, Any]:
    members = {"uid": "r", "spec": spec, "root": str(root), "resource_path": resource_path, "path_semantics": "posix"}
    return {**members, "resource_kwargs": kwargs, "run_start": "1"}


def datum(number: int, **kwargs: Any) -> dict[str, Any]:
    return {"datum_id": f"r/{number}", "resource": "r", "datum_kwargs": kwargs}


def message(frames: Frames, error: type[ExternalDataError], references: Any) -> str:
    with pytest.raises(error) as caught:
        frames.read(references)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{ABOUT}: ")
    return str(caught.value)


class Normalized:
    """What TiledWriter makes of a run's documents."""

    def __init__(self) -> None:
        self.consolidator: Any = None
        self._descriptor: dict[str, Any] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        match name:
            case "descriptor":
                self._descriptor = document
            case "stream_resource":
                self.consolidator = consolidator_factory(document, self._descriptor)
            case "stream_datum":
                self.consolidator.consume_stream_datum(document)


@pytest.mark.leaves("thread", reason="dask keeps its pool for as long as the interpreter lives")
def test_a_run_with_ophyds_image(RE: RunEngine, tmp_path: Path) -> None:
    image = ophyd.sim.SynSignalWithRegistry(
        func=iter(np.arange(4 * 100, dtype="<f8").reshape(4, 10, 10)).__next__, name="img", save_path=str(tmp_path)
    )
    documents: list[tuple[str, Any]] = []
    RE(count([image], 3), lambda name, document: documents.append((name, document)))
    [descriptor] = [document for name, document in documents if name == "descriptor"]
    frames = Frames(ABOUT, "img", descriptor, Roots.parse([str(tmp_path)]))
    normalized = Normalized()
    normalizer = RunNormalizer()
    normalizer.dispatcher.subscribe(normalized)
    for name, document in documents:
        frames.take(name, document)
        normalizer(name, document)
    ids = [document["data"]["img"] for name, document in documents if name == "event"]
    assert len(ids) == 3
    found = frames.read(ids)
    assert np.array_equal(found, np.stack([np.load(path) for path in sorted(tmp_path.glob("*.npy"))]))
    assert found.tobytes() == np.asarray(normalized.consolidator.init_adapter().read()).tobytes()
    assert (found.shape[1:], found.dtype) == (frames.shape, frames.dtype)
    assert np.array_equal(frames.read(np.array(ids, object)[[2, 0]]), found[[2, 0]])


def test_hdf5_of_areadetector(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = IMAGES
    for spec in ("AD_HDF5", "AD_HDF5_SWMR", "HDF5"):
        frames = old_frames(tmp_path)
        frames.take("resource", resource(spec, tmp_path, "x.h5", frame_per_point=1))
        for number in range(6):
            frames.take("datum", datum(number, point_number=number))
        assert np.array_equal(frames.read(["r/5", "r/0"]), IMAGES[[5, 0]])


def test_points_of_several_frames(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = IMAGES
    frames = old_frames(tmp_path, IMAGE | {"shape": [2, 3, 4]})
    frames.take("resource", resource("AD_HDF5", tmp_path, "/x.h5", frame_per_point=2))
    frames.take("datum", datum(0, point_number=2))
    assert np.array_equal(frames.read(["r/0"]), IMAGES[np.newaxis, 4:6])
    wrong = old_frames(tmp_path)
    wrong.take("resource", resource("AD_HDF5", tmp_path, "x.h5", frame_per_point=2))
    wrong.take("datum", datum(0, point_number=2))
    assert "frames of shape (2, 3, 4)" in message(wrong, ExternalFormatError, ["r/0"])


@pytest.mark.parametrize("slash", ["", "/"])
def test_tiff_of_areadetector(tmp_path: Path, slash: str) -> None:
    for number in range(6):
        tifffile.imwrite(tmp_path / f"cam_{number:06d}.tiff", IMAGES[number])
    frames = old_frames(tmp_path)
    kwargs = {"template": "%s%s_%6.6d.tiff", "filename": "cam"}
    frames.take("resource", resource("AD_TIFF", tmp_path.parent, tmp_path.name + slash, frame_per_point=1, **kwargs))
    frames.take("datum", datum(0, point_number=4))
    assert np.array_equal(frames.read(["r/0"]), IMAGES[[4]])
    several = old_frames(tmp_path, IMAGE | {"shape": [3, 3, 4]})
    several.take("resource", resource("AD_TIFF", tmp_path.parent, tmp_path.name + slash, frame_per_point=3, **kwargs))
    several.take("datum", datum(0, point_number=1))
    assert np.array_equal(several.read(["r/0"]), IMAGES[np.newaxis, 3:6])


def test_channels_of_an_xspress(tmp_path: Path) -> None:
    spectra = np.arange(4 * 3 * 5, dtype="<u4").reshape(4, 3, 5)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/instrument/detector/data"] = spectra
    frames = old_frames(tmp_path, IMAGE | {"shape": [5], "dtype_numpy": "<u4"})
    frames.take("resource", resource("XSP3", tmp_path, "x.h5"))
    for number, (frame, channel) in enumerate([(0, 1), (3, 1), (2, 3)]):
        frames.take("datum", datum(number, frame=frame, channel=channel))
    assert np.array_equal(frames.read(["r/2", "r/0", "r/1"]), [spectra[2, 2], spectra[0, 0], spectra[3, 0]])


def test_pages_of_datums_and_datums_without_a_number(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/data/data"] = IMAGES
    frames = old_frames(tmp_path)
    frames.take("resource", resource("AD_HDF5", tmp_path, "x.h5"))
    page = {"resource": "r", "datum_id": ["r/0", "r/1"]}
    frames.take("datum_page", {**page, "datum_kwargs": {"point_number": [3, 1]}})
    frames.take("datum_page", {"nonsense": 1})
    frames.take("datum", datum(2))
    frames.take("datum", datum(3, indices={"start": 5, "stop": 6}))
    assert np.array_equal(frames.read(["r/0", "r/1", "r/2", "r/3"]), IMAGES[[3, 1, 2, 5]])


@pytest.mark.parametrize(
    ("root", "path"),
    [
        ("C:\\data\\", "sub\\x.h5"),
        ("C:/data", "sub/x.h5"),
        ("\\\\host\\data", "sub\\x.h5"),
        ("", "C:\\data\\sub\\x.h5"),
    ],
)
def test_paths_of_a_windows_host(tmp_path: Path, root: str, path: str) -> None:
    (tmp_path / "sub").mkdir()
    with h5py.File(tmp_path / "sub/x.h5", "w") as file:
        file["entry/data/data"] = IMAGES
    frames = old_frames(tmp_path, entries=[f"c:\\DATA={tmp_path}", f"\\\\HOST\\data={tmp_path}"])
    frames.take("resource", resource("AD_HDF5", root, path) | {"path_semantics": "windows"})
    frames.take("datum", datum(0, point_number=1))
    assert np.array_equal(frames.read(["r/0"]), IMAGES[[1]])


def test_what_old_documents_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "x.h5").touch()
    for spec, kwargs, error, said in [
        ("MY_FORMAT", {}, ExternalFormatError, "spec 'MY_FORMAT' cannot be read here; the known are AD_HDF5"),
        ("AD_HDF5_SWMR_SLICE", {}, ExternalFormatError, "do not say which dataset"),
        ("AD_TIFF", {}, ExternalFormatError, "name no files"),
        ("AD_HDF5", {}, ExternalNotReadyError, "truncated"),
    ]:
        frames = old_frames(tmp_path)
        frames.take("resource", resource(spec, tmp_path, "x.h5", **kwargs))
        frames.take("datum", datum(0, point_number=0))
        assert said in message(frames, error, ["r/0"])
    frames.take("datum", datum(1, point_number="x"))
    frames.take("datum", datum(2, indices={"start": 0, "stop": 5}))
    frames.take("datum", {**datum(3), "resource": "s"})
    assert "says no frame" in message(frames, ExternalFormatError, ["r/1"])
    assert "has several rows" in message(frames, ExternalFormatError, ["r/2"])
    assert "no resource 's'" in message(frames, ExternalMissingError, ["r/3"])
    assert "no datum 'r/9'" in message(frames, ExternalMissingError, ["r/9"])


def test_a_stream_resource_in_the_old_spelling(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["d"] = IMAGES
    frames = old_frames(tmp_path)
    document = resource("AD_HDF5", tmp_path, "x.h5", path="/d") | {"data_key": "cam"}
    before = copy.deepcopy(document)
    frames.take("stream_resource", document)
    assert document == before
    assert np.array_equal(frames.read(np.array([[0, 2, 3]])), IMAGES[[2]])


def test_resources_of_other_keys_are_counted(tmp_path: Path) -> None:
    one, other = HDF5Detector(tmp_path, "cam"), HDF5Detector(tmp_path, "other", (2,), shape=[2])
    record = Recorded(one.data_key, [tmp_path])
    for detector in (other, one, other, one):
        record.take(detector.begin())
        record.take(detector.expose(DESCRIPTOR, 3))
        detector.end()
    assert set(record.references[:, 0].tolist()) == {1, 3}
    assert np.array_equal(record.read(), one.rows)
    assert "is another data key's" in message(record.frames, ExternalFormatError, np.array([[0, 0, 1]]))
    assert "number 4 has not come yet" in message(record.frames, ExternalNotReadyError, np.array([[4, 0, 1]]))
    assert "no frame -1" in message(record.frames, ExternalFormatError, np.array([[1, -1, 1]]))
    message(record.frames, ExternalFormatError, np.zeros((1, 3)))
    message(record.frames, ExternalFormatError, np.zeros((1, 2), int))


@pytest.mark.parametrize(
    ("file", "parameters", "indices", "found"),
    [
        # the same dataset, opened in another way
        ("a", {"swmr": True}, (2, 4), [0, 1, 2, 3]),
        ("a", {"chunk_shape": [1, 3, 4]}, (2, 4), [0, 1, 2, 3]),
        # a file of which the first rows are another run's, and one that counts on
        ("b", {}, (3, 5), [0, 1, 13, 14]),
        ("b", {}, (0, 2), [0, 1, 10, 11]),
        ("b", {}, (2, 4), [0, 1, 10, 11]),
    ],
)
def test_which_frames_a_second_resource_means(
    tmp_path: Path, file: str, parameters: dict[str, Any], indices: tuple[int, int], found: list[int]
) -> None:
    for name, first in (("a", 0), ("b", 10)):
        with h5py.File(tmp_path / f"{name}.h5", "w") as opened:
            opened["data"] = np.broadcast_to(np.arange(first, first + 6, dtype="<u2")[:, None, None], (6, 3, 4))
    frames = old_frames(tmp_path, {**IMAGE, "external": "STREAM:"})
    datums = [("r", "a", {}, (0, 2), 1), ("q", file, parameters, indices, 3)]
    for uid, name, said, (start, stop), seq_num in datums:
        uri = f"file://localhost{tmp_path}/{name}.h5"
        members = {"mimetype": "application/x-hdf5", "uri": uri, "parameters": {"dataset": "/data", **said}}
        frames.take("stream_resource", {"uid": uid, "data_key": "cam", "run_start": "1", **members})
        seq_nums = {"start": seq_num, "stop": seq_num + 2}
        referred = {"uid": f"{uid}/0", "stream_resource": uid, "descriptor": "None"}
        frames.take("stream_datum", {**referred, "indices": {"start": start, "stop": stop}, "seq_nums": seq_nums})
    rows = [[0, 0, 1], [0, 1, 2], [1, indices[0], 3], [1, indices[0] + 1, 4]]
    assert frames.read(np.array(rows))[:, 0, 0].tolist() == found


def test_resources_of_another_shape(tmp_path: Path) -> None:
    record = recorded(HDF5Detector(tmp_path, shape=[3, 4]), 2, 2)
    record.documents[2][1]["parameters"]["multiplier"] = 2
    fresh = Recorded(record.descriptor["data_keys"]["cam"], [tmp_path])
    fresh.take(record.documents)
    assert fresh.read(0, 1).shape == (2, 3, 4)
    assert "frames of shape (2, 3, 4)" in message(fresh.frames, ExternalFormatError, fresh.references)


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        (
            {"mimetype": "application/x-spec"},
            ExternalFormatError,
            "'application/x-spec' cannot be read here; the known are",
        ),
        ({"mimetype": None}, ExternalFormatError, "no mimetype or no URI"),
        ({"uri": None}, ExternalFormatError, "no mimetype or no URI"),
        ({"uri": "s3://bucket/x.h5"}, ExternalRefusedError, "s3: cannot be read"),
        ({"parameters": None}, ExternalFormatError, "do not say which dataset"),
        ({"parameters": {"dataset": "/"}}, ExternalFormatError, "do not say which dataset"),
        ({"parameters": {"dataset": 5}}, ExternalFormatError, "do not say which dataset"),
    ],
)
def test_what_stream_resources_do_not_say(
    tmp_path: Path, changes: dict[str, Any], error: type[ExternalDataError], said: str
) -> None:
    record = recorded(HDF5Detector(tmp_path), 1)
    fresh = Recorded(record.descriptor["data_keys"]["cam"], [tmp_path])
    fresh.take(
        [(name, {**document, **changes} if "uri" in document else document) for name, document in record.documents]
    )
    assert said in message(fresh.frames, error, fresh.references)


def test_without_roots_nothing_is_read(tmp_path: Path) -> None:
    record = recorded(HDF5Detector(tmp_path), 1, roots=[])
    said = message(record.frames, ExternalRefusedError, record.references)
    assert "BLISSDATA_BLUESKY_ROOTS" in said and "--external-root" in said


def test_documents_may_change_after_they_were_taken(tmp_path: Path) -> None:
    detector = TIFFDetector(tmp_path, parameters={"chunk_shape": [1, 3, 4]})
    record = Recorded(detector.data_key, [tmp_path])
    begin = detector.begin()
    record.take(begin)
    record.take(detector.expose(DESCRIPTOR, 2))
    rows = detector.rows
    begin[0][1]["parameters"].clear()
    record.descriptor["data_keys"]["cam"]["shape"].append(7)
    assert np.array_equal(record.read(), rows)
    assert np.array_equal(record.read(), rows), "and none is changed by reading"


def test_readers_and_documents_at_once(tmp_path: Path) -> None:
    detector = HDF5Detector(tmp_path)
    record = recorded(detector, 4, 4)
    failures: list[BaseException] = []
    stop = threading.Event()

    def read() -> None:
        try:
            while not stop.is_set():
                assert np.array_equal(record.read(1, 6), detector.rows[[1, 6]])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(300):
        record.frames.take("stream_resource", {"uid": str(number), "data_key": "other"})
        record.frames.take("datum", {"datum_id": str(number), "resource": "r", "datum_kwargs": {}})
    stop.set()
    for thread in threads:
        thread.join()
    assert not failures


ODD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 10**20)
    | st.floats()
    | st.text(max_size=6)
    | st.just("..")
    | st.just("{:d}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
PARAMETERS = [
    "dataset",
    "path",
    "slice",
    "squeeze",
    "swmr",
    "locking",
    "template",
    "filename",
    "join_method",
    "multiplier",
    "frame_per_point",
    "chunk_shape",
    "files_per_datum",
]
TYPES = [
    "application/x-hdf5",
    "multipart/related;type=image/tiff",
    "multipart/related;type=application/x-npy",
    "application/x-zarr",
]


@pytest.mark.leaves("thread", reason="zarr keeps its event loop for as long as the interpreter lives")
@settings(derandomize=True, deadline=None, max_examples=400, suppress_health_check=list(HealthCheck))
@given(
    changes=st.dictionaries(st.sampled_from(["uri", "parameters", "data_key", "uid", "spec", "root"]), ODD, max_size=1),
    parameters=st.dictionaries(st.sampled_from(PARAMETERS), ODD, max_size=3),
    key=st.dictionaries(st.sampled_from(["dtype", "dtype_numpy", "shape", "dtype_descr", "external"]), ODD, max_size=1),
    mimetype=st.sampled_from(TYPES),
)
def test_odd_documents_have_named_errors(
    tmp_path_factory: Any, changes: Any, parameters: Any, key: Any, mimetype: str
) -> None:
    detector = HDF5Detector(tmp_path_factory.mktemp("odd"))
    [(_, document)] = detector.begin()
    [(_, stream_datum)] = detector.expose(DESCRIPTOR, 2)
    detector.end()
    frames = Frames(
        ABOUT, "cam", {"data_keys": {"cam": {**detector.data_key, **key}}}, Roots.parse([str(detector.directory)])
    )
    document = {**document, "mimetype": mimetype, "parameters": {"dataset": detector.dataset, **parameters}, **changes}
    frames.take("stream_resource", document)
    frames.take("resource", {**document, **changes})
    frames.take("datum", {"resource": document["uid"], "datum_id": "d", "datum_kwargs": changes.get("parameters")})
    frames.take("datum_page", changes)
    for references in (np.array([[0, 1, 2]]), ["d"]):
        with contextlib.suppress(ExternalDataError):
            assert len(frames.read(references)) == 1
    with contextlib.suppress(ExternalDataError):
        assert isinstance(frames.shape, tuple)


def test_resources_with_arrays_among_their_parameters() -> None:
    frames = Frames(ABOUT, "cam", _DESCRIPTOR_OF_PAIRS, Roots())
    for uid in "ab":
        parameters = {"dataset": "/data", "chunk_shape": np.array([1, 2])}
        frames.take("stream_resource", {**_STREAM_RESOURCE, "uid": uid, "parameters": parameters})
    assert frames.shape == (2,)


def test_what_is_no_datum_id_is_blank() -> None:
    frames = Frames(ABOUT, "cam", _DESCRIPTOR_OF_PAIRS, Roots())
    assert np.isnan(frames.read([None, 1.5])).all()


_DESCRIPTOR_OF_PAIRS = {
    "uid": "d",
    "name": "primary",
    "data_keys": {"cam": {"shape": [2], "dtype_numpy": "<f8"}},
}
_STREAM_RESOURCE = {"data_key": "cam", "mimetype": "application/x-hdf5", "uri": "file://localhost/x.h5"}
