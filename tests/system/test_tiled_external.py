"""Frames in files of detectors as arrays of the tree, for unmodified Tiled clients."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import dask
import h5py
import httpx
import numpy as np
import pytest
import tifffile
import yaml
import zarr
from bluesky.run_engine import RunEngine
from bluesky_tiled_plugins import TiledWriter
from tiled.client import from_context, from_uri
from tiled.client.context import Context
from tiled.client.utils import ClientError
from tiled.ndslice import NDSlice
from tiled.server import SimpleTiledServer
from tiled.server.app import build_app_from_config

from blissdata_bluesky.catalog import Registrar, Registration, catalog_of
from blissdata_bluesky.errors import ExternalRootsError
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.tiled import from_uri as tree_from_uri
from blissdata_bluesky.writer import BlissdataWriter

from .archive_site import Site, open_site
from .detectors import FileDetector, HDF5Detector, NPYDetector, TIFFDetector, ZarrDetector
from .emitted import NUMBER, EmittedRun, give
from .external_runs import FilesRun
from .sources import Devices, blob_flight
from .test_runs_external import KINDS, Make
from .test_tiled_serving import _process
from .tiled_runs import started, stopped

SPECTRUM = {"dtype": "array", "dtype_numpy": "<f8", "shape": [20]}

pytestmark = [
    # the stock server leaves its log files open, tiled's in-process client has a word about its own
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated"),
    pytest.mark.leaves("thread", reason="zarr keeps its threads"),
]


@pytest.fixture
def server(redis_url: str, files: Path) -> Iterator[TiledServer]:
    """One that may read them."""
    with TiledServer(redis_url, roots=[str(files)]) as server:
        yield server


def whole(writer: BlissdataWriter, client: Any, emitted: FilesRun, points: int = 5) -> Any:
    """The stream of a finished run."""
    give(writer, [*emitted.documents, *emitted.points(points), *emitted.stop()])
    return stopped(client, emitted.uid)["primary"]


def same_datasets(one: Any, other: Any) -> None:
    """Two xarray.Datasets: variables, dimensions, dtypes, values."""
    assert set(one.variables) == set(other.variables)
    for name, variable in one.variables.items():
        assert variable.dims == other[name].dims
        assert variable.dtype == other[name].dtype
        np.testing.assert_array_equal(variable.values, other[name].values)


@pytest.fixture
def stock(files: Path) -> Iterator[Any]:
    """A client of a stock server with a catalog."""
    with SimpleTiledServer(readable_storage=[files]) as server:
        client = from_uri(server.uri)
        yield client
        client.context.http_client.close()


def test_users_see_the_same_as_with_tiled_writer(
    RE: RunEngine, stock: Any, writer: BlissdataWriter, client: Any, files: Path
) -> None:
    devices = Devices(files)
    RE.subscribe(writer)
    RE.subscribe(TiledWriter(stock, batch_size=100))
    devices.connect()
    plans = [bp.scan([devices.blob, devices.img], devices.axis, 0, 1, 4), blob_flight(devices)]
    for plan in (*plans, bp.count([devices.blob], 2)):
        (uid,) = RE(plan)
        assert writer.flush(90)
        theirs, ours = stock[uid]["primary"], stopped(client, uid)["primary"]
        assert list(theirs.base) == list(ours.base)
        assert list(theirs) == list(ours)
        for name in set(theirs.base) - {"internal"}:
            assert theirs[name].shape == ours[name].shape
            assert theirs[name].dtype == ours[name].dtype
        same_datasets(theirs.read(), ours.read())


def test_every_kind_of_file_live_and_archived(redis_url: str, tmp_path: Path, files: Path) -> None:
    detectors = [make(files, kind.replace(" ", "_"), (8, 8), "|u1") for kind, make in KINDS.items()]
    emitted = FilesRun(*detectors)
    with (
        open_site(redis_url, tmp_path) as site,
        dask.config.set(scheduler="synchronous"),
        TiledServer(redis_url, archive=site.root, roots=[str(files)]) as server,
    ):
        client = from_uri(server.url)
        site.give([*emitted.documents, *emitted.points(3)])
        _check_frames(started(client, emitted.uid), detectors)
        site.give([*emitted.points(2), *emitted.stop()])
        _check_frames(stopped(client, emitted.uid), detectors)
        _archive(site, emitted)
        _check_frames(client[emitted.uid], detectors)
        client.context.http_client.close()


def _archive(site: Site, emitted: FilesRun) -> None:
    """So that nothing is left of it in Redis."""
    site.archive()
    with Registrar(catalog_of(site.root)) as registrar:
        start, stop = emitted.documents[0][1], emitted.documents[-1][1]
        registrar.register([Registration(emitted.uid, start, stop, file=site.hint(emitted.uid))])
    site.expire(emitted.uid)


def _check_frames(run: Any, detectors: list[FileDetector]) -> None:
    stream = run["primary"]
    data = stream.read()
    for detector in detectors:
        array, expected = stream[detector.name], detector.rows
        assert (array.shape, array.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(array[1:3], expected[1:3])
        np.testing.assert_array_equal(array[::-1], expected[::-1])
        assert data[detector.name].dims[0] == data["number"].dims[0] == "time"
        np.testing.assert_array_equal(data[detector.name], expected)


def test_slices_open_the_files_that_they_need(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = TIFFDetector(files)
    array = whole(writer, client, FilesRun(detector), 30)["cam"]
    for number in {*range(30)} - {*range(10, 20)}:
        detector.path(number).unlink()
    rows = detector.rows
    slices = (
        np.s_[10:20],
        np.s_[19:9:-1],
        np.s_[12],
        np.s_[10:20:3],
        np.s_[-12:-10, 0, 1],
        np.s_[10:12, ..., ::-1],
        np.s_[-20],
    )
    for wanted in slices:
        np.testing.assert_array_equal(array[wanted], rows[wanted])
    with pytest.raises(ClientError, match=detector.path(9).name):
        array[9:20]


def _break_chunks(detector: HDF5Detector | ZarrDetector, sound: range) -> None:
    """All frames but these cannot be read any more; each is a chunk, and compressed or with a checksum."""
    if isinstance(detector, ZarrDetector):
        for row in {*range(len(detector.frames))} - {*sound}:
            (detector.path / f"c/{row}/0/0").write_bytes(b"broken")
        return
    with h5py.File(detector.path) as file:
        dataset = file[detector.dataset].id
        chunks = [dataset.get_chunk_info(i) for i in range(dataset.get_num_chunks())]
    with detector.path.open("r+b") as file:
        for chunk in (chunk for chunk in chunks if chunk.chunk_offset[0] not in sound):
            file.seek(chunk.byte_offset)
            file.write(b"\xff" * chunk.size)


@pytest.mark.parametrize("make", [partial(HDF5Detector, compression="gzip"), ZarrDetector], ids=["hdf5", "zarr"])
def test_slices_read_the_chunks_that_they_need(make: Make, writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = make(files)
    array = whole(writer, client, FilesRun(detector), 30)["cam"]
    _break_chunks(detector, range(10, 20))
    for wanted in (np.s_[10:20], np.s_[19:9:-3], np.s_[12], np.s_[-12:-10, 0, 1]):
        np.testing.assert_array_equal(array[wanted], detector.rows[wanted])
    with pytest.raises(ClientError, match=f"409: .*key 'cam': .*{detector.path.name}"):
        array[9:20]


def test_a_file_that_another_program_locks(writer: BlissdataWriter, client: Any, files: Path) -> None:
    """It is said of its array alone, and is over when the program lets go."""
    bad, good = HDF5Detector(files, "bad"), TIFFDetector(files, "good")
    stream = whole(writer, client, FilesRun(bad, good))
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', locking=True); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", code, str(bad.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None and program.stdout.readline() == b"open\n"
        with pytest.raises(ClientError, match="409: .*stream 'primary', key 'bad': .*is locked by the program"):
            stream["bad"][1:3]
        np.testing.assert_array_equal(stream["good"][1:3], good.rows[1:3])
        assert stream.read(["number", "good"]).sizes["time"] == 5
        program.communicate()
    np.testing.assert_array_equal(stream["bad"][1:3], bad.rows[1:3])


def test_exports(writer: BlissdataWriter, client: Any, files: Path, tmp_path: Path) -> None:
    detector = HDF5Detector(files, shape=[3, 4], dtype="<u2")
    array = whole(writer, client, FilesRun(detector))["cam"]
    array.export(str(tmp_path / "some.tiff"), slice=NDSlice.from_numpy_str("1:4"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "some.tiff"), detector.rows[1:4])
    array.export(str(tmp_path / "some"), format="application/octet-stream", slice=NDSlice.from_numpy_str("3:,1"))
    assert (tmp_path / "some").read_bytes() == detector.rows[3:, 1].tobytes()


def test_zarr_clients(writer: BlissdataWriter, client: Any, server: TiledServer, files: Path, tmp_path: Path) -> None:
    detector = HDF5Detector(files, "cam", (900, 1000), shape=[900, 1000])
    emitted = FilesRun(detector)
    whole(writer, client, emitted, 12)
    address, _, key = server.url.replace("/api/v1", "").partition("?")
    for version, names in (("v2", (".zarray", "0.0.0", "1.0.0")), ("v3", ("zarr.json", "c/0/0/0", "c/1/0/0"))):
        for name in names:
            answer = httpx.get(f"{address}/zarr/{version}/{emitted.uid}/primary/cam/{name}?{key}", timeout=60)
            answer.raise_for_status()
            path = tmp_path / version / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(answer.content)
        np.testing.assert_array_equal(zarr.open_array(tmp_path / version, mode="r")[:], detector.rows)
    detector.path.unlink()
    # it takes what is not found (404) for zeros
    assert httpx.get(f"{address}/zarr/v3/{emitted.uid}/primary/cam/c/0/0/0?{key}", timeout=60).status_code == 410


def test_a_growing_run(writer: BlissdataWriter, client: Any, files: Path) -> None:
    """As many frames as events in every look, though frames are sent first."""
    detector = HDF5Detector(files, swmr=True)
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.points(1)])
    stream = started(client, emitted.uid)["primary"]
    held = stream["cam"]
    done = threading.Event()

    def grow() -> None:
        while not done.wait(0.005):
            give(writer, emitted.expose())
            done.wait(0.005)
            give(writer, emitted.event({"number": emitted.rows / 4}))

    writing = threading.Thread(target=grow)
    writing.start()
    try:
        sizes = []
        while len(set(sizes)) < 10:
            data = stream.read()
            sizes.append(data.sizes["time"])
            np.testing.assert_array_equal(data["cam"].values[:, 0, 0, 0] + 1, data["number"].values * 4)
        assert sizes == sorted(sizes)
        assert held.shape == (1, 1, 3, 4)
        np.testing.assert_array_equal(held.read(), detector.rows[:1])
    finally:
        done.set()
        writing.join()
    give(writer, emitted.stop())
    assert stopped(client, emitted.uid)["primary"].read()["cam"].sizes["time"] == emitted.rows


def test_frames_that_wait_for_their_event(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.expose()])
    stream = started(client, emitted.uid)["primary"]
    assert len(stream["cam"]) == 0
    assert stream.read().sizes["time"] == 0
    give(writer, [*emitted.event({"number": 1.0}), *emitted.points(1), *emitted.expose()])
    assert len(stream["cam"]) == 2
    assert stream.read().sizes["time"] == 2
    # the event never comes
    give(writer, emitted.stop())
    stream = stopped(client, emitted.uid)["primary"]
    data = stream.read()
    assert (data["number"].dims, data["cam"].dims[0]) == (("time",), "cam_dim0")
    np.testing.assert_array_equal(data["cam"], detector.rows)


@pytest.mark.parametrize("late", [0, 1])
def test_frames_stand_beside_their_own_events_only(
    writer: BlissdataWriter, client: Any, files: Path, late: int
) -> None:
    """`late`: by how many events the frames after the second one are: the detector missed one, and took one more."""
    emitted = FilesRun(NPYDetector(files))
    documents = [*emitted.documents, *emitted.points(4), *emitted.stop()]
    for name, document in documents:
        if name == "stream_datum" and document["seq_nums"]["start"] > 2:
            document["seq_nums"] = {end: number + late for end, number in document["seq_nums"].items()}
    give(writer, documents)
    data = stopped(client, emitted.uid)["primary"].read()
    assert len(data["cam"]) == len(data["number"]) == 4
    assert data["cam"].dims[0] == ("cam_dim0" if late else "time")


def test_a_run_that_ends_before_its_first_event(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.expose(2), *emitted.stop()])
    data = stopped(client, emitted.uid)["primary"].read()
    assert dict(data.sizes) == {"time": 0, "cam_dim0": 2, "cam_dim1": 1, "cam_dim2": 3, "cam_dim3": 4}
    np.testing.assert_array_equal(data["cam"], detector.rows)


def test_a_flyer(writer: BlissdataWriter, client: Any, files: Path) -> None:
    one, other = HDF5Detector(files, swmr=True), TIFFDetector(files, "other")
    emitted = FilesRun(one, other, events=False)
    give(writer, emitted.documents)
    stream = started(client, emitted.uid)["primary"]
    for _ in range(3):
        documents = emitted.expose(4)
        for named in documents:
            give(writer, [named])
            data = stream.read(["cam", "other"])
            assert data["cam"].shape[1:] == data["other"].shape[1:] == (1, 3, 4)
        assert list(stream) == ["cam", "other"]
        assert len(stream.base) == 2
        assert stream.read().sizes["time"] == emitted.rows
    give(writer, emitted.stop())
    data = stopped(client, emitted.uid)["primary"].read()
    np.testing.assert_array_equal(data["cam"], one.rows)
    np.testing.assert_array_equal(data["other"], other.rows)


def test_joined_frames(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = HDF5Detector(files, exposures=3, parameters={"join_method": "concat"})
    stream = whole(writer, client, FilesRun(detector), 4)
    array, frames = stream["cam"], detector.frames
    assert array.shape == (12, 3, 4)
    for wanted in (np.s_[:], np.s_[4:5], np.s_[2:10:4], np.s_[10:1:-3], np.s_[-1]):
        np.testing.assert_array_equal(array[wanted], frames[wanted])
    assert stream.read()["cam"].dims == ("cam_dim0", "cam_dim1", "cam_dim2")


def test_after_a_rewind(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = NPYDetector(files)
    emitted = FilesRun(detector)
    emitted.points(3)
    detector._rows -= 2
    for seq_num in (2, 3):
        emitted.expose()
        emitted.event({"number": 10.0 + seq_num}, seq_num=seq_num)
    give(writer, [*emitted.documents, *emitted.stop()])
    data = stopped(client, emitted.uid)["primary"].read()
    assert data["number"].values.tolist() == [0.25, 12.0, 13.0]
    np.testing.assert_array_equal(data["cam"], detector.rows[[0, 3, 4]])
    np.testing.assert_array_equal(client[emitted.uid]["primary"]["cam"][::-2], detector.rows[[4, 0]])


def test_dimensions_have_names_that_fit_together(writer: BlissdataWriter, client: Any, files: Path) -> None:
    class Named(NPYDetector):
        dims: tuple[str, ...] = ()

        @property
        def data_key(self) -> dict[str, Any]:
            return {**super().data_key, "dims": list(self.dims)}

    detectors = []
    for name, frame, dims in (
        ("cam", (3, 4), ("y", "x")),
        ("other", (5, 4), ("y", "x")),
        ("odd", (3, 3), ("x", "x")),
        ("clash", (2, 2), ("number", "time")),
        ("few", (2, 2), ("x",)),
    ):
        detectors.append(Named(files, name, frame, shape=frame))
        detectors[-1].dims = dims
    data = whole(writer, client, FilesRun(*detectors), 2).read()
    assert data["cam"].dims == ("time", "y", "x")
    assert data["other"].dims == ("time", "other_dim1", "x")
    for name in ("odd", "clash", "few"):
        assert data[name].dims == ("time", f"{name}_dim1", f"{name}_dim2")
        np.testing.assert_array_equal(data[name], next(d for d in detectors if d.name == name).rows)


def test_datums(writer: BlissdataWriter, client: Any, files: Path) -> None:
    detector = HDF5Detector(files, shape=[3, 4])
    emitted = EmittedRun()
    cam = {**detector.data_key, "external": "FILESTORE:"}
    emitted.describe(data_keys={"cam": cam, "number": NUMBER, "spectrum": SPECTRUM})
    detector.begin()
    detector.expose("", 3)
    detector.end()
    resource = {"uid": "r", "spec": "AD_HDF5", "root": str(files), "resource_path": detector.path.name}
    emitted.other("resource", {**resource, "resource_kwargs": {}, "path_semantics": "posix", "run_start": emitted.uid})
    for row in range(3):
        emitted.other("datum", {"datum_id": f"r/{row}", "resource": "r", "datum_kwargs": {"point_number": row}})
        (_, event), *_ = emitted.event({"cam": f"r/{row}", "number": row / 2, "spectrum": np.full(20, row / 3)})
        event["filled"] = {"cam": False}
    give(writer, [*emitted.documents, *emitted.stop()])
    run = stopped(client, emitted.uid)
    stream = run["primary"]
    assert list(stream.base) == ["internal", "spectrum", "cam"]
    assert stream.base["internal"].columns == ["seq_num", "time", "number", "ts_number", "ts_spectrum"]
    events = [document for name, document in emitted.documents if name == "event"]
    table = stream.base["internal"].read()
    assert table["ts_number"].tolist() == [event["timestamps"]["number"] for event in events]
    data = stream.read()
    np.testing.assert_array_equal(data["cam"], detector.rows)
    np.testing.assert_array_equal(data["spectrum"][:, 0], [0, 1 / 3, 2 / 3])
    found = [document["data"]["cam"] for name, document in run.documents() if name == "event"]
    assert found == ["r/0", "r/1", "r/2"]


def test_what_is_wrong_with_files(writer: BlissdataWriter, client: Any, files: Path, tmp_path: Path) -> None:
    """It is said with the array, at once, and concerns nothing else."""
    missing, refused, other, truncated = detectors = [
        TIFFDetector(files, name) for name in ("missing", "refused", "other", "truncated")
    ]
    stream = whole(writer, client, FilesRun(*detectors, HDF5Detector(files, "good")))
    missing.path(1).unlink()
    refused.path(1).rename(tmp_path / "outside.tiff")
    refused.path(1).symlink_to(tmp_path / "outside.tiff")
    tifffile.imwrite(other.path(1), other.frames[1].astype("<f4"))
    truncated.path(1).write_bytes(truncated.path(1).read_bytes()[:100])
    for detector, status in ((missing, 404), (refused, 403), (other, 422), (truncated, 409)):
        name = detector.name
        words = f"{status}: run .*stream 'primary', key '{name}': .*{detector.path(1).name}"
        with pytest.raises(ClientError, match=words):
            stream[name][1:3]
        with pytest.raises(ClientError, match=words):
            stream.read(["number", name])
        np.testing.assert_array_equal(stream[name][2:], detector.rows[2:])
    assert stream.read(["number", "good"]).sizes["time"] == 5


def test_a_file_that_is_not_ready_yet(writer: BlissdataWriter, client: Any, server: TiledServer, files: Path) -> None:
    detector = TIFFDetector(files)
    emitted = FilesRun(detector)
    give(writer, [*emitted.documents, *emitted.points(3)])
    content = detector.path(1).read_bytes()
    detector.path(1).write_bytes(content[:100])
    stream = started(client, emitted.uid)["primary"]
    address, _, key = server.url.partition("?")
    for path, query in (("full", "slice=1:2"), ("block", "block=0,0,0,0")):
        answer = httpx.get(f"{address}/array/{path}/{emitted.uid}/primary/cam?{query}&{key}", timeout=60)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert "key 'cam'" in answer.json()["detail"]
    # Tiled's client asks again
    writing = threading.Timer(0.3, detector.path(1).write_bytes, [content])
    writing.start()
    np.testing.assert_array_equal(stream["cam"][1], detector.rows[1])
    writing.join()
    give(writer, emitted.stop())


def test_no_file_is_needed_for_what_is_listed(writer: BlissdataWriter, client: Any, files: Path) -> None:
    emitted = FilesRun(HDF5Detector(files), TIFFDetector(files, "other"))
    stream = whole(writer, client, emitted)
    shutil.rmtree(files)
    assert list(client[emitted.uid]["primary"].base) == ["internal", "cam", "other"]
    assert len(stream.base) == 3
    assert stream["cam"].shape == (5, 1, 3, 4)
    assert stream.read(["number"])["number"].sizes["time"] == 5
    assert [name for name, _ in client[emitted.uid].documents()].count("stream_datum") == 10


def test_frames_of_unknown_shape_are_not_listed(writer: BlissdataWriter, client: Any, files: Path) -> None:
    class Varying(NPYDetector):
        @property
        def data_key(self) -> dict[str, Any]:
            return {**super().data_key, "shape": [None, 4]}

    stream = whole(writer, client, FilesRun(Varying(files, "odd"), NPYDetector(files)))
    assert list(stream.base) == ["internal", "cam"]
    assert len(stream.base) == 2
    assert stream.read().sizes["time"] == 5
    with pytest.raises(ClientError, match=r"422: .*key 'odd'.*\[None, 4\]"):
        stream.base["odd"]


class TestTheWaysToSayWhereFilesAre:
    @pytest.fixture
    def run(self, writer: BlissdataWriter, files: Path) -> FilesRun:
        """A finished run whose detector's computer calls the directory `/ioc/frames`."""
        emitted = FilesRun(NPYDetector(files))
        for name, document in emitted.documents:
            if name == "stream_resource":
                document["uri"] = document["uri"].replace(str(files), "/ioc/frames")
        give(writer, [*emitted.documents, *emitted.points(3), *emitted.stop()])
        return emitted

    def _check(self, client: Any, run: FilesRun) -> None:
        np.testing.assert_array_equal(stopped(client, run.uid)["primary"]["cam"][1:], run.detectors[0].rows[1:])
        client.context.http_client.close()

    def test_options_of_the_command(self, run: FilesRun, redis_url: str, files: Path, tmp_path: Path) -> None:
        options = ("--external-root", f"/ioc/frames={files}", "--external-root", str(tmp_path))
        command = ("blissdata-bluesky", "serve", "--redis", redis_url, "--port", "0", *options)
        with _process(*command, ready="files .*ioc/frames") as (process, _):
            assert process.stdout is not None
            address = next(line.split('"')[1] for line in process.stdout if "from_uri(" in line)
            self._check(from_uri(address), run)

    def test_the_configuration_of_tileds_server(self, run: FilesRun, redis_url: str, files: Path) -> None:
        written = f"""
            authentication: {{single_user_api_key: secret123}}
            trees:
              - path: /
                tree: blissdata_bluesky.tiled:from_uri
                args:
                  redis: {redis_url}
                  external_roots: ["/ioc/frames={files}"]
        """
        with Context.from_app(build_app_from_config(yaml.safe_load(written)), api_key="secret123") as context:
            self._check(from_context(context), run)

    def test_the_environment(self, run: FilesRun, redis_url: str, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BLISSDATA_BLUESKY_ROOTS", f"/somewhere;/ioc/frames={files}")
        with TiledServer(redis_url) as server:
            self._check(from_uri(server.url), run)

    def test_nothing_said(self, run: FilesRun, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("BLISSDATA_BLUESKY_ROOTS", raising=False)
        with TiledServer(redis_url) as server:
            client = from_uri(server.url)
            with pytest.raises(ClientError, match="403: .*--external-root"):
                stopped(client, run.uid)["primary"]["cam"][0]
            client.context.http_client.close()

    def test_nonsense(self, redis_url: str) -> None:
        with pytest.raises(ExternalRootsError, match="relative"):
            tree_from_uri(redis_url, external_roots=["relative"])
