"""Sequences of TIFF, JPEG, NPY and HDF5 files: their names, what is missing or damaged, and what is not opened."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from blissdata_bluesky.errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
)
from tests.system.detectors import (
    HDF5SequenceDetector,
    JPEGDetector,
    NPYDetector,
    SequenceDetector,
    TIFFDetector,
)

from .recorded_frames import ABOUT, DESCRIPTOR, Recorded, recorded

IMAGE: dict[str, Any] = {"shape": [16, 16], "frame": (16, 16), "dtype": "|u1"}
KINDS = [TIFFDetector, JPEGDetector, NPYDetector, HDF5SequenceDetector]


def message(record: Recorded, error: type[ExternalDataError], *rows: int) -> str:
    with pytest.raises(error) as caught:
        record.read(*rows)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{ABOUT}: ")
    return str(caught.value)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> SequenceDetector:
    made: SequenceDetector = request.param(tmp_path, **IMAGE)
    return made


def test_only_the_files_of_the_rows_are_opened(detector: SequenceDetector) -> None:
    """All files but two are missing."""
    record = recorded(detector, 8)
    for number in {*range(8)} - {2, 5}:
        detector.path(number).unlink()
    assert np.array_equal(record.read(5, 2), detector.rows[[5, 2]])
    said = message(record, ExternalMissingError, 2, 3)
    assert str(detector.path(3)) in said and "is not there" in said


def test_a_file_that_comes_later(detector: SequenceDetector) -> None:
    record = recorded(detector, 2)
    whole = detector.path(1).read_bytes()
    for cut in (0, 3, len(whole) // 2, len(whole) - 10):
        detector.path(1).write_bytes(whole[:cut])
        said = message(record, ExternalNotReadyError)
        assert str(detector.path(1)) in said and "truncated, or not yet flushed" in said
        assert np.array_equal(record.read(0), detector.rows[:1]), "the others are read on"
    detector.path(1).write_bytes(whole)
    assert np.array_equal(record.read(), detector.rows)


def test_damaged_files_end_nobody(detector: SequenceDetector) -> None:
    record = recorded(detector, 1)
    whole = detector.path(0).read_bytes()
    generator = np.random.default_rng(2)
    failed = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in generator.integers(0, min(len(whole), 300), 8):
            damaged[place] = generator.integers(256)
        detector.path(0).write_bytes(damaged)
        try:
            assert record.read().shape == (1, 16, 16)
        except ExternalDataError:
            failed += 1
    assert failed


def test_what_is_no_file(detector: SequenceDetector) -> None:
    record = recorded(detector, 3)
    detector.path(0).unlink()
    os.mkfifo(detector.path(0))
    assert "is no file" in message(record, ExternalRefusedError, 0)
    secret = detector.directory.parent / "secret"
    detector.path(1).rename(secret)
    detector.path(1).symlink_to(secret)
    assert "outside the directories" in message(record, ExternalRefusedError, 1)
    secret.unlink()


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("{:d}/../../secret_{:d}.tiff", ExternalFormatError),
        ("../../secret_{:d}.tiff", ExternalRefusedError),
        ("{:d}/../../../secret_0.tiff", ExternalRefusedError),
        ("/../../secret_%d.tiff", ExternalRefusedError),
        ("%2e%2e/%2e%2e/secret_{:d}.tiff", ExternalRefusedError),
        ("{0.__class__}", ExternalFormatError),
        ("{:9999999d}", ExternalFormatError),
        ("%999999999d", ExternalFormatError),
        ("{:{0}d}", ExternalFormatError),
        ("{!r}", ExternalFormatError),
        ("{x}", ExternalFormatError),
        ("{:f}", ExternalFormatError),
        ("%.4d", ExternalFormatError),
        ("{", ExternalFormatError),
        ("{:d}\0", ExternalRefusedError),
        (5, ExternalFormatError),
    ],
)
def test_templates_ask_for_a_number_and_stay_inside(
    tmp_path: Path, template: Any, error: type[ExternalDataError]
) -> None:
    (tmp_path / "data").mkdir()
    tifffile.imwrite(tmp_path / "secret_0.tiff", np.ones((3, 4), "<u2"))
    detector = TIFFDetector(tmp_path / "data", shape=[3, 4])
    record = recorded(detector, 1)
    for _, document in record.documents[:1]:
        document["parameters"]["template"] = template
    fresh = Recorded(detector.data_key, [tmp_path / "data"])
    fresh.take(record.documents)
    message(fresh, error)


@pytest.mark.parametrize("kind", [TIFFDetector, NPYDetector, HDF5SequenceDetector])
@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3, 4), "<i2"), "holds int16, where the data key says uint16"),
        (np.zeros((4, 3), "<u2"), "where the documents say (3, 4)"),
        (np.zeros((2, 3, 4), "<u2"), "where the documents say (3, 4)"),
        (np.zeros((3, 5), "<u2"), "where the documents say (3, 4)"),
    ],
)
def test_files_hold_what_the_documents_say(tmp_path: Path, kind: Any, image: np.ndarray, said: str) -> None:
    detector = kind(tmp_path, shape=[3, 4])
    record = recorded(detector, 2)
    if kind is HDF5SequenceDetector:
        with h5py.File(detector.path(1), "w") as file:
            file["entry/data"] = image
    else:
        detector._save(detector.path(1), image)
    assert said in message(record, ExternalFormatError)


def test_pages_of_a_tiff(tmp_path: Path) -> None:
    """Several exposures of a row in one file."""
    detector = TIFFDetector(tmp_path, exposures=3, parameters={"chunk_shape": (3, 3, 4)})
    record = Recorded(detector.data_key, [tmp_path])
    record.take(detector.begin())
    record.take(detector.expose(DESCRIPTOR, 2))
    for row in range(2):
        tifffile.imwrite(detector.path(row), detector.rows[row], photometric="minisblack")
    for number in range(2, 6):
        detector.path(number).unlink()
    assert np.array_equal(record.read(), detector.rows)
    tifffile.imwrite(detector.path(1), detector.rows[1][:2], photometric="minisblack")
    message(record, ExternalFormatError)


@pytest.mark.parametrize("compression", ["zlib", None])
def test_strips_of_a_tiff(tmp_path: Path, compression: str | None) -> None:
    detector = TIFFDetector(tmp_path, frame=(64, 64), shape=[64, 64])
    record = recorded(detector, 1)
    tifffile.imwrite(detector.path(0), detector.frames[0], rowsperstrip=8, compression=compression)
    assert np.array_equal(record.read(), detector.rows)
    whole = detector.path(0).read_bytes()
    for cut in range(len(whole) // 4, len(whole), len(whole) // 5):
        detector.path(0).write_bytes(whole[:cut])
        message(record, ExternalNotReadyError)


def test_strips_that_were_never_written(tmp_path: Path) -> None:
    """tifffile gives zeros for them."""
    detector = TIFFDetector(tmp_path, frame=(64, 64), shape=[64, 64])
    record = recorded(detector, 1)
    tifffile.imwrite(detector.path(0), detector.frames[0], rowsperstrip=8, compression="zlib")
    with tifffile.TiffFile(detector.path(0), mode="r+") as file:
        lengths = list(file.pages[0].databytecounts)
        file.pages[0].tags["StripByteCounts"].overwrite([*lengths[:-1], 0])
    assert not tifffile.imread(detector.path(0))[-8:].any()
    message(record, ExternalNotReadyError)


def test_a_compression_that_is_not_installed(tmp_path: Path) -> None:
    detector = TIFFDetector(tmp_path, frame=(64, 64), shape=[64, 64])
    record = recorded(detector, 1)
    tifffile.imwrite(detector.path(0), detector.frames[0], compression="zlib")
    whole = detector.path(0).read_bytes()
    # 8 is deflate, 50000 Zstandard, which tifffile leaves to imagecodecs
    tag = (259).to_bytes(2, "little") + (3).to_bytes(2, "little") + (1).to_bytes(4, "little")
    at = whole.index(tag) + len(tag)
    detector.path(0).write_bytes(whole[:at] + (50000).to_bytes(2, "little") + whole[at + 2 :])
    assert "imagecodecs" in message(record, ExternalFormatError)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "trapped"),)

    detector = NPYDetector(tmp_path, shape=[3, 4])
    record = recorded(detector, 1)
    trap = np.empty((3, 4), object)
    trap[:] = Trap()
    np.save(detector.path(0), trap, allow_pickle=True)
    message(record, ExternalFormatError)
    detector.path(0).write_bytes(pickle.dumps(Trap()))
    message(record, ExternalNotReadyError)
    with detector.path(0).open("wb") as file:
        np.savez(file, trap)
    message(record, ExternalNotReadyError)
    assert not (tmp_path / "trapped").exists()


def test_headers_that_promise_too_much(tmp_path: Path) -> None:
    """Nothing of that size is made."""
    detector = NPYDetector(tmp_path, shape=[3, 4])
    record = recorded(detector, 1)
    with detector.path(0).open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"shape": (10**12, 3, 4), "fortran_order": False, "descr": "<u2"})
    message(record, ExternalFormatError)


def test_arrays_in_fortrans_order(tmp_path: Path) -> None:
    detector = NPYDetector(tmp_path, shape=[3, 4])
    record = recorded(detector, 1)
    np.save(detector.path(0), np.asfortranarray(detector.frames[0]))
    assert np.array_equal(record.read(), detector.rows)


def test_several_sequences_in_several_directories(tmp_path: Path) -> None:
    """Indices that run on and indices that begin anew."""
    for runs_on in (True, False):
        detector = NPYDetector(tmp_path, f"cam{runs_on}", shape=[3, 4], runs_on=runs_on)
        record = recorded(detector, 4, 5, 1)
        assert np.array_equal(record.read(), detector.rows)
        assert np.array_equal(record.read(8, 4, 9, 3), detector.rows[[8, 4, 9, 3]])


def test_one_sequence_announced_twice(tmp_path: Path) -> None:
    """Its second stream_resource does not make it begin anew."""
    detector = TIFFDetector(tmp_path, shape=[3, 4])
    record = Recorded(detector.data_key, [tmp_path])
    begin = detector.begin()
    record.take(begin)
    record.take(detector.expose(DESCRIPTOR, 3))
    [(name, document)] = begin
    record.take([(name, {**document, "uid": "again"})])
    record.take([(name, {**document, "stream_resource": "again"}) for name, document in detector.expose(DESCRIPTOR, 2)])
    assert np.array_equal(record.read(), detector.rows)


OME = """<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">
<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="4" SizeY="3" SizeZ="1" SizeC="1"
 SizeT="2"><TiffData FirstT="0" IFD="0"><UUID FileName="{name}">urn:uuid:{own}</UUID></TiffData>
<TiffData FirstT="1" IFD="0"><UUID FileName="{other}">urn:uuid:{others}</UUID></TiffData></Pixels></Image></OME>"""


@pytest.mark.parametrize("there", [True, False], ids=["there", "missing"])
def test_a_tiff_that_names_another_file(tmp_path: Path, there: bool) -> None:
    """OME's TIFF may: nothing outside the roots is opened, and nothing is made up for it."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    outside.mkdir()
    uuids = {"own": "00000000-0000-4000-8000-000000000001", "others": "00000000-0000-4000-8000-000000000002"}
    detector = TIFFDetector(inside, exposures=2, shape=[2, 3, 4], parameters={"files_per_datum": 1})
    inside.mkdir()
    record = recorded(detector, 1)
    path = detector.path(0)
    said = OME.format(**uuids, name=path.name, other="../../outside/secret.tif")
    tifffile.imwrite(path, np.ones((3, 4), "<u2"), description=said, metadata=None)
    if there:
        of_other = OME.format(own=uuids["others"], others=uuids["own"], name="secret.tif", other=path.name)
        tifffile.imwrite(outside / "secret.tif", np.full((3, 4), 666, "<u2"), description=of_other, metadata=None)
    with pytest.raises(ExternalDataError):
        record.read()
