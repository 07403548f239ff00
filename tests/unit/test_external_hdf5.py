"""HDF5 files of detectors: growing, locked, damaged, linked, virtual; and how little of them is read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from h5py import h5s

from blissdata_bluesky.errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
)
from tests.system.detectors import HDF5Detector

from .recorded_frames import ABOUT, DESCRIPTOR, Recorded, recorded

IMAGES = np.arange(10 * 3 * 4, dtype="<u2").reshape(10, 3, 4)
IMAGE = {"dtype": "array", "dtype_numpy": "<u2", "shape": [3, 4], "external": "STREAM:"}

Opened = Callable[[h5py.File], Any]


def announced(path: Path, root: Path, rows: int = 10, data_key: dict[str, Any] = IMAGE, **parameters: Any) -> Recorded:
    """Documents that announce rows of dataset `data` of a file that somebody wrote."""
    record = Recorded(data_key, [root])
    parameters = {"dataset": "data", **parameters}
    resource = {"uid": "r", "mimetype": "application/x-hdf5", "uri": f"file://{path}", "parameters": parameters}
    record.take([("stream_resource", {"data_key": "cam", **resource})])
    datum = {"stream_resource": "r", "indices": {"start": 0, "stop": rows}, "seq_nums": {"start": 1, "stop": rows + 1}}
    record.take([("stream_datum", datum)])
    return record


def message(record: Recorded, error: type[ExternalDataError], *rows: int) -> str:
    """What reading says, which names the run, the stream, the key and the file."""
    with pytest.raises(error) as caught:
        record.read(*rows)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{ABOUT}: ")
    assert ".h5" in str(caught.value)
    return str(caught.value)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").mkdir()
    return tmp_path / "data"


@pytest.fixture
def secret(tmp_path: Path, data: Path) -> Path:
    """A file that may not be read."""
    return written(tmp_path / "secret/s.h5")


def written(path: Path, images: np.ndarray = IMAGES, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=images, **options)
    return path


def test_without_any_extra(data: Path) -> None:
    """Who installed the package alone reads HDF5."""
    path = written(data / "x.h5")
    script = (
        "import sys, numpy as np\n"
        "for name in ('tiled', 'bluesky_tiled_plugins', 'tifffile', 'zarr', 'PIL', 'hdf5plugin'): sys.modules[name] = None\n"
        "from blissdata_bluesky.external import Frames, Roots\n"
        "key = {'dtype': 'array', 'dtype_numpy': '<u2', 'shape': [3, 4], 'external': 'STREAM:'}\n"
        "def read(mimetype, **parameters):\n"
        "    frames = Frames('run', 'cam', {'data_keys': {'cam': key}}, Roots.parse([sys.argv[1]]))\n"
        "    resource = {'data_key': 'cam', 'uid': 'r', 'mimetype': mimetype, 'parameters': parameters}\n"
        "    frames.take('stream_resource', {**resource, 'uri': sys.argv[1] + '/x.h5'})\n"
        "    return frames.read(np.array([[0, 3, 4]]))\n"
        "assert read('application/x-hdf5', dataset='data').tolist() == [np.arange(36, 48).reshape(3, 4).tolist()]\n"
        "for mimetype in ('multipart/related;type=image/tiff', 'application/x-zarr'):\n"
        "    try: read(mimetype, template='{:d}')\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path.parent)], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ExternalFormatError run: ")
    assert lines[0].endswith("is not installed: pip install 'blissdata-bluesky[external]'")


@pytest.mark.parametrize("swmr", [True, False])
def test_a_growing_file_is_read_as_it_is(tmp_path: Path, swmr: bool) -> None:
    detector = HDF5Detector(tmp_path, swmr=swmr)
    record = Recorded(detector.data_key, [tmp_path])
    record.take(detector.begin())
    for rows in (1, 5, 2):
        record.take(detector.expose(DESCRIPTOR, rows))
        assert np.array_equal(record.read(), detector.rows)
    detector.end()
    assert np.array_equal(record.read(), detector.rows)


WRITER = """
import sys
from pathlib import Path
from tests.system.detectors import HDF5Detector

detector = HDF5Detector(Path(sys.argv[1]), swmr=sys.argv[2] == "swmr")
detector.begin()
for line in sys.stdin:
    detector.expose("descriptor-1", int(line))
    print(detector.path, flush=True)
"""


@pytest.mark.parametrize("mode", ["swmr", "without locks"])
def test_a_file_that_another_process_writes(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path), mode]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        rows = 0
        for more in (2, 1, 40):
            print(more, file=writer.stdin, flush=True)
            path = Path(writer.stdout.readline().strip())
            rows += more
            record = announced(path, tmp_path, rows, dataset="/entry/data/data")
            expected = np.arange(12).reshape(3, 4) + np.arange(rows)[:, np.newaxis, np.newaxis]
            assert np.array_equal(record.read(), expected)
            assert "try again" in message(
                announced(path, tmp_path, rows + 1, dataset="/entry/data/data"), ExternalNotReadyError
            )
        writer.stdin.close()


def test_a_replaced_file_is_read_as_it_is(data: Path) -> None:
    record = announced(written(data / "x.h5"), data)
    assert np.array_equal(record.read(), IMAGES)
    written(data / "new.h5", IMAGES[::-1])
    (data / "new.h5").replace(data / "x.h5")
    assert np.array_equal(record.read(), IMAGES[::-1])


@pytest.mark.parametrize(
    "options", [{}, {"swmr": True}, {"locking": False}, {"locking": True}, {"swmr": True, "locking": False}]
)
def test_a_file_that_this_process_has_open(tmp_path: Path, options: dict[str, Any]) -> None:
    """HDF5 wants the same options of all who open it."""
    detector = HDF5Detector(tmp_path, swmr=True)
    record = Recorded(detector.data_key, [tmp_path])
    record.take(detector.begin())
    record.take(detector.expose(DESCRIPTOR, 2))
    detector.end()
    with h5py.File(detector.path, "r", **options) as file:
        assert len(file[detector.dataset]) == 2
        assert np.array_equal(record.read(), detector.rows)
        assert np.array_equal(announced_locking(record, tmp_path, True), detector.rows)


def announced_locking(record: Recorded, root: Path, locking: bool) -> np.ndarray:
    """The same rows, of a resource that says whether to lock."""
    fresh = Recorded(record.descriptor["data_keys"]["cam"], [root])
    for _, document in record.documents[:1]:
        document["parameters"]["locking"] = locking
    fresh.take(record.documents)
    return fresh.read()


def test_rows_that_are_not_there_yet(data: Path) -> None:
    record = announced(written(data / "x.h5", IMAGES[:7]), data)
    assert np.array_equal(record.read(6, 5), IMAGES[[6, 5]])
    said = message(record, ExternalNotReadyError, 6, 7)
    assert "has 7 rows, and row 7 (counted from 0) was asked for" in said
    assert "try again" in said
    written(data / "x.h5", IMAGES)
    assert np.array_equal(record.read(), IMAGES)


def test_exposures_of_a_row_that_is_half_there(tmp_path: Path) -> None:
    record = recorded(HDF5Detector(tmp_path, exposures=4), 3)
    with h5py.File(tmp_path / "cam_1.h5", "r+") as file:
        file["entry/data/data"].resize(11, axis=0)
    assert record.read(0, 1).shape == (2, 4, 3, 4)
    assert "has 2 rows" in message(record, ExternalNotReadyError)


@pytest.mark.parametrize("fill", [0, 5, None])
def test_what_was_never_written_is_not_made_up(data: Path, fill: int | None) -> None:
    """HDF5 gives the fill value for chunks that are not there."""
    images = IMAGES.copy()
    # frames of the fill value that were written are frames
    images[7] = images[3] = fill or 0
    with h5py.File(data / "x.h5", "w") as file:
        dataset = file.create_dataset("data", images.shape, images.dtype, chunks=(2, 3, 2), fillvalue=fill)
        dataset[:4] = images[:4]
        dataset[6, :, :2] = images[6, :, :2]
        dataset[8:] = images[8:]
        dataset[7] = images[7]
    record = announced(data / "x.h5", data)
    assert np.array_equal(record.read(0, 3, 7, 8, 9), images[[0, 3, 7, 8, 9]])
    for row in (4, 5):
        assert "has room for row 4" in message(record, ExternalNotReadyError, row)
    with h5py.File(data / "x.h5", "r+") as file:
        file["data"][4:6] = images[4:6]
        file["data"][6] = images[6]
    assert np.array_equal(record.read(), images)
    # every second one
    assert np.array_equal(announced(data / "x.h5", data, 5, slice="::2").read(), images[::2])
    with h5py.File(data / "y.h5", "w") as file:
        file.create_dataset("data", images.shape, images.dtype)
    assert "not flushed yet" in message(announced(data / "y.h5", data), ExternalNotReadyError)


def test_a_part_of_a_frame_that_was_never_written(data: Path) -> None:
    with h5py.File(data / "y.h5", "w") as file:
        dataset = file.create_dataset("data", IMAGES.shape, IMAGES.dtype, chunks=(1, 3, 2))
        dataset[:5] = IMAGES[:5]
        dataset[5, :, 2:] = IMAGES[5, :, 2:]
    record = announced(data / "y.h5", data)
    assert np.array_equal(record.read(4, 3), IMAGES[[4, 3]])
    assert "has room for row 5 and (a part of) it" in message(record, ExternalNotReadyError, 4, 5)


def test_many_frames_of_the_fill_value(data: Path) -> None:
    with h5py.File(data / "x.h5", "w") as file:
        dataset = file.create_dataset("data", (40, 3, 4), "<u2", chunks=(1, 3, 4))
        dataset[:39] = 0
    record = announced(data / "x.h5", data, 40)
    assert not record.read(*range(39)).any()
    assert "row 39" in message(record, ExternalNotReadyError)


def test_nan_is_a_fill_value_too(data: Path) -> None:
    with h5py.File(data / "x.h5", "w") as file:
        dataset = file.create_dataset("data", (4,), "<f8", chunks=(1,), fillvalue=np.nan)
        dataset[0] = np.nan
        dataset[1] = 1
    record = announced(data / "x.h5", data, 4, {"dtype": "number", "dtype_numpy": "<f8", "shape": []})
    assert np.array_equal(record.read(0, 1), [np.nan, 1], equal_nan=True)
    assert "row 2" in message(record, ExternalNotReadyError, 1, 2)


@pytest.mark.parametrize("length", [0, 5, 100, 0.5, -8])
@pytest.mark.parametrize("chunks", [None, (1, 3, 4)])
def test_a_truncated_file(data: Path, length: float, chunks: Any) -> None:
    whole = written(data / "x.h5", chunks=chunks).read_bytes()
    record = announced(data / "x.h5", data)
    (data / "x.h5").write_bytes(whole[: int(length * len(whole)) if 0 < length < 1 else int(length)])
    assert "truncated, or not yet flushed" in message(record, ExternalNotReadyError)
    (data / "x.h5").write_bytes(b"\0" * len(whole))
    message(record, ExternalNotReadyError)
    (data / "x.h5").write_bytes(whole)
    assert np.array_equal(record.read(), IMAGES)


def test_a_damaged_file_ends_nobody(data: Path) -> None:
    whole = written(data / "x.h5", chunks=(1, 3, 4), compression="gzip").read_bytes()
    record = announced(data / "x.h5", data)
    generator = np.random.default_rng(1)
    kinds = set()
    for _ in range(150):
        damaged = bytearray(whole)
        for place in generator.integers(0, len(whole), 20):
            damaged[place] = generator.integers(256)
        (data / "x.h5").write_bytes(damaged)
        try:
            assert record.read().shape == IMAGES.shape
        except ExternalDataError as error:
            kinds.add(type(error))
    assert ExternalNotReadyError in kinds


def test_a_locked_file(data: Path) -> None:
    written(data / "x.h5")
    code = "import h5py, sys; file = h5py.File(sys.argv[1], 'r+', locking=True); print('open', flush=True); sys.stdin.read()"
    environment = {**os.environ, "HDF5_USE_FILE_LOCKING": "TRUE"}
    writer = subprocess.Popen(
        [sys.executable, "-c", code, str(data / "x.h5")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    with writer:
        assert writer.stdout.readline() == b"open\n"
        said = message(announced(data / "x.h5", data, locking=True), ExternalNotReadyError)
        assert "is locked by the program that writes it: try again later" in said
        assert np.array_equal(announced(data / "x.h5", data, locking=False).read(), IMAGES)
        writer.stdin.close()
    assert np.array_equal(announced(data / "x.h5", data, locking=True).read(), IMAGES)


def test_missing(data: Path) -> None:
    written(data / "x.h5")
    said = message(announced(data / "y.h5", data), ExternalMissingError)
    assert "is not there" in said and "roots" in said
    assert "has no dataset '/a/b': 'a' is not there" in message(
        announced(data / "x.h5", data, dataset="/a/b"), ExternalMissingError
    )
    assert "'more' is not there" in message(announced(data / "x.h5", data, dataset="data/more"), ExternalMissingError)
    long = f"{data}/{300 * 'x'}.h5"
    message(announced(Path(long), data), ExternalMissingError)


def test_what_is_no_file(data: Path) -> None:
    os.mkfifo(data / "pipe.h5")
    (data / "directory.h5").mkdir()
    for name in ("pipe.h5", "directory.h5"):
        assert "is no file" in message(announced(data / name, data), ExternalRefusedError)
    (data / "text.h5").write_text("This is no HDF5 file, and was never one.")
    assert "is no HDF5 file" in message(announced(data / "text.h5", data), ExternalFormatError)
    (data / "zero.h5").symlink_to("/dev/zero")
    assert "outside the directories" in message(announced(data / "zero.h5", data), ExternalRefusedError)


@pytest.mark.parametrize(
    ("images", "changes", "said"),
    [
        (IMAGES.astype("<i4"), {}, "holds int32, where the data key says uint16"),
        (IMAGES.astype("<f4"), {}, "holds float32"),
        (IMAGES.transpose(0, 2, 1), {}, "frames of shape (4, 3), where the documents say (3, 4)"),
        (IMAGES[:, :, :3], {}, "frames of shape (3, 3)"),
        (IMAGES.reshape(-1), {"shape": [None, 4]}, "frames of varying shape"),
        (IMAGES, {"dtype_numpy": "nonsense"}, "is none that files hold"),
        (IMAGES, {"dtype_numpy": "|O"}, "is none that files hold"),
        (IMAGES, {"dtype": "string", "dtype_numpy": None}, "is none that files hold"),
        (IMAGES, {"shape": [10**9, 10**9, 10**9]}, "too large"),
        (IMAGES, {"dtype_numpy": None, "dtype": "integer"}, ""),
        (IMAGES, {"dtype_numpy": None}, ""),
        (IMAGES.astype("<u8"), {"dtype_numpy": None}, "holds uint64"),
    ],
)
def test_dtype_and_shape_are_those_of_the_documents(data: Path, images: np.ndarray, changes: Any, said: str) -> None:
    record = announced(written(data / "x.h5", images), data, data_key=IMAGE | changes)
    if said:
        with pytest.raises(ExternalFormatError) as caught:
            record.read()
        assert said in str(caught.value)
        assert str(caught.value).startswith(ABOUT)
        return
    assert record.read().dtype == record.frames.dtype
    assert np.array_equal(record.read(), images)


def test_texts_and_ragged_data_are_no_frames(data: Path) -> None:
    with h5py.File(data / "x.h5", "w") as file:
        file["data"] = ["one", "two"]
        file["group/x"] = 1
    assert "holds object" in message(announced(data / "x.h5", data, 2), ExternalFormatError)
    assert "is no dataset" in message(announced(data / "x.h5", data, 2, dataset="group"), ExternalFormatError)


def test_compounds(data: Path) -> None:
    table = np.array([(1, 2.5), (3, 4.5)], [("x", "<i4"), ("y", "<f8")])
    key = {"dtype": "array", "dtype_numpy": [["x", "<i4"], ["y", "<f8"]], "shape": [], "external": "STREAM:"}
    assert np.array_equal(announced(written(data / "x.h5", table), data, 2, key).read(1, 0), table[::-1])


def test_frames_in_rows_of_rows(data: Path) -> None:
    """areaDetector's extra dimensions: frames of a grid."""
    grid = written(data / "x.h5", IMAGES[:6].reshape(2, 3, 3, 4))
    record = announced(grid, data, 6)
    assert np.array_equal(record.read(), IMAGES[:6])
    assert np.array_equal(record.read(4, 1, 2, 3), IMAGES[[4, 1, 2, 3]])
    assert "has 6 rows" in message(announced(grid, data), ExternalNotReadyError, 6)


@pytest.mark.parametrize("part", [":,5", "x", ":,:,:,:,:", "::-1", ":,a:b", [None], {"a": 1}, "0"])
def test_odd_slices(data: Path, part: Any) -> None:
    record = announced(written(data / "x.h5"), data, slice=part)
    with pytest.raises((ExternalFormatError, ExternalNotReadyError)):
        record.read()


def test_compression_by_a_filter_that_is_a_plugin(data: Path) -> None:
    written(data / "x.h5", chunks=(1, 3, 4), **hdf5plugin.Bitshuffle(cname="lz4"))
    record = announced(data / "x.h5", data)
    assert np.array_equal(record.read(), IMAGES)
    unknown = (data / "x.h5").read_bytes().replace((32008).to_bytes(2, "little"), (32999).to_bytes(2, "little"))
    (data / "x.h5").write_bytes(unknown)
    assert "filter 32999, which is not installed" in message(record, ExternalFormatError)


def test_links_within_the_roots(data: Path) -> None:
    """Eiger's master file, and soft links of every kind."""
    (data / "parts").mkdir()
    written(data / "parts/p.h5")
    with h5py.File(data / "x.h5", "w") as file:
        file["entry/here"] = h5py.ExternalLink("parts/p.h5", "/data")
        file["entry/absolute"] = h5py.ExternalLink(str(data / "parts/p.h5"), "data")
        file["entry/moved"] = h5py.ExternalLink("/nowhere/parts.h5", "data")
        file["entry/soft"] = h5py.SoftLink("here")
        file["entry/softer"] = h5py.SoftLink("/entry/soft")
        file["whole"] = h5py.ExternalLink("parts/p.h5", "/")
        file["circle"] = h5py.SoftLink("/circle")
    for name in ("entry/here", "entry/absolute", "entry/soft", "/entry/softer", "whole/data"):
        assert np.array_equal(announced(data / "x.h5", data, dataset=name).read(), IMAGES), name
    assert "lead in a circle" in message(announced(data / "x.h5", data, dataset="circle"), ExternalFormatError)
    message(announced(data / "x.h5", data, dataset="entry/moved"), ExternalRefusedError)
    (data / "parts.h5").write_bytes((data / "parts/p.h5").read_bytes())


def _external_link(target: Path) -> Opened:
    return lambda file: file.__setitem__("data", h5py.ExternalLink(str(target), "data"))


def _link_on_the_way(target: Path) -> Opened:
    def write(file: h5py.File) -> None:
        file["way"] = h5py.ExternalLink(os.path.relpath(target, Path(file.filename).parent), "/")
        file["data"] = h5py.SoftLink("/way/data")

    return write


def _virtual(target: Path) -> Opened:
    def write(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
        layout[:] = h5py.VirtualSource(str(target), "data", IMAGES.shape)
        file.create_virtual_dataset("data", layout)

    return write


def _growing_virtual(target: Path) -> Opened:
    def write(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype, maxshape=(None, 3, 4))
        source = h5py.VirtualSource(str(target), "data", IMAGES.shape, maxshape=(None, 3, 4))
        layout[: h5s.UNLIMITED] = source[: h5s.UNLIMITED]
        file.create_virtual_dataset("data", layout)

    return write


def _raw(target: Path) -> Opened:
    external = [(str(target), 0, IMAGES.nbytes)]
    return lambda file: file.create_dataset("data", IMAGES.shape, IMAGES.dtype, external=external)


@pytest.mark.parametrize("way", [_external_link, _link_on_the_way, _virtual, _growing_virtual, _raw])
def test_nothing_in_a_file_leads_outside(data: Path, secret: Path, way: Callable[[Path], Opened]) -> None:
    with h5py.File(data / "x.h5", "w", libver="latest") as file:
        way(secret)(file)
    record = announced(data / "x.h5", data)
    said = message(record, ExternalRefusedError, 0)
    assert "65535" not in said
    # the file could be read if that were allowed
    if way is not _raw:
        assert np.array_equal(announced(data / "x.h5", data.parent).read(), IMAGES)


@pytest.mark.parametrize("way", [_external_link, _virtual, _growing_virtual])
def test_nothing_in_a_file_is_opened_unseen(data: Path, way: Callable[[Path], Opened]) -> None:
    """A pipe keeps whoever opens it waiting for ever."""
    os.mkfifo(data.parent / "secret/pipe")
    with h5py.File(data / "x.h5", "w", libver="latest") as file:
        way(data.parent / "secret/pipe")(file)
    message(announced(data / "x.h5", data), ExternalRefusedError)
    assert "is no file" in message(announced(data / "x.h5", data.parent), ExternalRefusedError)


def test_a_link_in_the_source_of_a_virtual_dataset(data: Path, secret: Path) -> None:
    with h5py.File(data / "p.h5", "w") as file:
        _external_link(secret)(file)
    with h5py.File(data / "x.h5", "w") as file:
        _virtual(data / "p.h5")(file)
    message(announced(data / "x.h5", data), ExternalRefusedError)


class TestVirtual:
    """Virtual datasets, whose sources HDF5 would replace by zeros when they are missing."""

    def make(self, data: Path, shape: tuple[int, ...], *parts: tuple[Any, Any], **options: Any) -> Recorded:
        layout = h5py.VirtualLayout(shape, IMAGES.dtype, **options)
        for where, source in parts:
            layout[where] = source
        with h5py.File(data / "x.h5", "w", libver="latest") as file:
            file.create_virtual_dataset("data", layout, fillvalue=9)
        return announced(data / "x.h5", data, shape[0])

    def source(self, name: str, rows: int = 10, **options: Any) -> h5py.VirtualSource:
        return h5py.VirtualSource(name, "data", (rows, 3, 4), **options)

    def test_one_after_the_other(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[:4])
        written(data / "b.h5", IMAGES[4:])
        record = self.make(
            data, (10, 3, 4), (slice(0, 4), self.source("a.h5", 4)), (slice(4, 10), self.source("b.h5", 6))
        )
        assert np.array_equal(record.read(), IMAGES)
        assert np.array_equal(record.read(5, 3, 4), IMAGES[[5, 3, 4]])
        (data / "b.h5").unlink()
        assert np.array_equal(record.read(0, 3), IMAGES[[0, 3]]), "what is there is read"
        message(record, ExternalMissingError, 3, 4)
        written(data / "b.h5", IMAGES[4:7])
        assert np.array_equal(record.read(5, 6), IMAGES[[5, 6]])
        assert "has 3 rows, and row 3" in message(record, ExternalNotReadyError, 6, 7)

    def test_by_turns(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[::2])
        written(data / "b.h5", IMAGES[1::2])
        record = self.make(
            data, (10, 3, 4), (slice(0, 10, 2), self.source("a.h5", 5)), (slice(1, 10, 2), self.source("b.h5", 5))
        )
        assert np.array_equal(record.read(), IMAGES)
        assert np.array_equal(record.read(7, 2), IMAGES[[7, 2]])

    def test_modules_beside_each_other(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[:, :, :2])
        written(data / "b.h5", IMAGES[:, :, 3:])
        a, b = (h5py.VirtualSource(name, "data", (10, 3, width)) for name, width in (("a.h5", 2), ("b.h5", 1)))
        record = self.make(data, (10, 3, 4), (np.s_[:, :, :2], a), (np.s_[:, :, 3:], b))
        gap = IMAGES.copy()
        gap[:, :, 2] = 9
        assert np.array_equal(record.read(), gap), "a gap between modules has the fill value"

    def test_one_file_a_frame(self, data: Path) -> None:
        for row in range(3):
            written(data / f"{row}.h5", IMAGES[row])
        parts = [(row, h5py.VirtualSource(f"{row}.h5", "data", (3, 4))) for row in range(3)]
        assert np.array_equal(self.make(data, (3, 3, 4), *parts).read(2, 0, 1), IMAGES[[2, 0, 1]])

    def test_growing(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[:4], maxshape=(None, 3, 4))
        source = self.source("a.h5", 4, maxshape=(None, 3, 4))
        record = self.make(data, (4, 3, 4), (np.s_[: h5s.UNLIMITED], source[: h5s.UNLIMITED]), maxshape=(None, 3, 4))
        assert np.array_equal(record.read(), IMAGES[:4])
        later = announced(data / "x.h5", data)
        message(later, ExternalNotReadyError)
        written(data / "a.h5", IMAGES, maxshape=(None, 3, 4))
        assert np.array_equal(later.read(), IMAGES)

    def test_of_its_own_file_and_of_another_virtual_one(self, data: Path) -> None:
        with h5py.File(data / "y.h5", "w") as file:
            file["stored"] = IMAGES
            layout = h5py.VirtualLayout(IMAGES.shape, IMAGES.dtype)
            layout[:] = h5py.VirtualSource(".", "stored", IMAGES.shape)
            file.create_virtual_dataset("data", layout)
        assert np.array_equal(announced(data / "y.h5", data).read(), IMAGES)
        assert np.array_equal(self.make(data, (10, 3, 4), (slice(0, 10), self.source("y.h5"))).read(), IMAGES)

    def test_of_itself(self, data: Path) -> None:
        record = self.make(data, (10, 3, 4), (slice(0, 10), self.source("x.h5")))
        assert "deep" in message(record, ExternalFormatError)

    def test_rows_of_nobody(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[:4])
        record = self.make(data, (10, 3, 4), (slice(0, 4), self.source("a.h5", 4)))
        assert "has no data for row 4" in message(record, ExternalNotReadyError)

    def test_rows_that_nobody_could_hold(self, data: Path) -> None:
        written(data / "a.h5", IMAGES[:1])
        layout = h5py.VirtualLayout((2, 10**8, 3, 4), IMAGES.dtype)
        layout[0, :1] = self.source("a.h5", 1)
        with h5py.File(data / "x.h5", "w", libver="latest") as file:
            file.create_virtual_dataset("data", layout)
        assert "too large" in message(announced(data / "x.h5", data), ExternalFormatError, 0)

    def test_named_by_a_pattern(self, data: Path) -> None:
        record = self.make(data, (10, 3, 4), (np.s_[: h5s.UNLIMITED], self.source("%b.h5", 1)), maxshape=(None, 3, 4))
        assert "named by a pattern" in message(record, ExternalFormatError)


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    """10,000 frames of 20 kB: a slice opens one file, and reads some pages of it."""
    frames = 10_000
    for name in ("cam", "other"):
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            dataset = file.create_dataset("data", (frames, 100, 100), "<u2", chunks=(1, 100, 100), fillvalue=0)
            for row in range(0, frames, 1000):
                dataset[row : row + 5] = row // 1000
            dataset.id.set_extent((frames, 100, 100))
    key = IMAGE | {"shape": [100, 100]}
    record = announced(tmp_path / "cam.h5", tmp_path, frames, key)
    script = (
        "import sys, numpy as np\n"
        "from blissdata_bluesky.external import Frames, Roots\n"
        "frames = Frames('run', 'cam', {'data_keys': {'cam': %r}}, Roots.parse([sys.argv[1]]))\n"
        % key
        + f"for name, document in {record.documents[:1]!r}: frames.take(name, document)\n"
        "def count(): return {line.split(':')[0]: int(line.split(':')[1]) for line in open('/proc/self/io')}['rchar']\n"
        "frames.read(np.array([[0, 0, 1]]))\n"
        "begin = count()\n"
        "images = frames.read(np.array([[0, i, i + 1] for i in range(3000, 3005)]))\n"
        "print(count() - begin, images.min(), images.max())\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True)
    read, least, most = map(int, done.stdout.split())
    assert (least, most) == (3, 3)
    assert 5 * 20_000 <= read < 3 * 5 * 20_000
    assert not list(Path("/proc/self/fd").glob("*.h5"))


def test_no_file_stays_open(data: Path) -> None:
    record = announced(written(data / "x.h5"), data)
    record.read()
    with pytest.raises(ExternalNotReadyError):
        announced(data / "x.h5", data, 20).read()
    assert not [link for link in Path("/proc/self/fd").iterdir() if str(data) in _target(link)]


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
