"""Zarr directories of detectors: growing, damaged, and leading elsewhere."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from blissdata_bluesky.errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
    ExternalRefusedError,
)
from tests.system.detectors import ZarrDetector

from .recorded_frames import ABOUT, DESCRIPTOR, Recorded, recorded

pytestmark = pytest.mark.leaves("thread", reason="zarr keeps its event loop for as long as the interpreter lives")

FORMATS: list[dict[str, Any]] = [{"version": 2}, {"version": 3}, {"version": 3, "shards": 2}]


@pytest.fixture(params=FORMATS, ids=str)
def detector(request: pytest.FixtureRequest, tmp_path: Path) -> ZarrDetector:
    (tmp_path / "data").mkdir()
    return ZarrDetector(tmp_path / "data", shape=[3, 4], **request.param)


def message(record: Recorded, error: type[ExternalDataError], *rows: int) -> str:
    with pytest.raises(error) as caught:
        record.read(*rows)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{ABOUT}: ")
    assert ".zarr" in str(caught.value)
    return str(caught.value)


def files(detector: ZarrDetector) -> dict[str, Path]:
    return {path.relative_to(detector.path).as_posix(): path for path in detector.path.rglob("*") if path.is_file()}


def test_a_growing_array(detector: ZarrDetector) -> None:
    record = Recorded(detector.data_key, [detector.directory])
    record.take(detector.begin())
    for rows in (1, 4, 2):
        record.take(detector.expose(DESCRIPTOR, rows))
        assert np.array_equal(record.read(), detector.rows)
    zarr.open_array(detector.path).resize((5, 3, 4))
    assert "has 5 rows, and row 6" in message(record, ExternalNotReadyError)


def test_missing_and_damaged(detector: ZarrDetector) -> None:
    record = recorded(detector, 3)
    for name, path in files(detector).items():
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert "truncated" in message(record, ExternalNotReadyError), name
        path.write_bytes(whole)
    assert np.array_equal(record.read(), detector.rows)
    detector.path.rename(detector.path.with_name("gone"))
    message(record, ExternalMissingError)
    detector.path.touch()
    assert "is no directory" in message(record, ExternalRefusedError)


def test_chunks_that_are_not_there_have_the_fill_value(tmp_path: Path) -> None:
    """Zarr leaves out what is full of it, so nobody can tell."""
    detector = ZarrDetector(tmp_path, shape=[3, 4])
    record = recorded(detector, 3)
    detector._array[1] = 0
    assert not (detector.path / "c/1/0/0").exists()
    assert np.array_equal(record.read(1), np.zeros((1, 3, 4)))


def test_no_link_leads_outside(detector: ZarrDetector, tmp_path: Path) -> None:
    record = recorded(detector, 3)
    (tmp_path / "secret").mkdir()
    for number, (name, path) in enumerate(files(detector).items()):
        secret = tmp_path / f"secret/{number}"
        path.rename(secret)
        path.symlink_to(secret)
        assert "outside the directories" in message(record, ExternalRefusedError), name
        path.unlink()
        os.mkfifo(path)
        assert "is no file" in message(record, ExternalRefusedError), name
        path.unlink()
        secret.rename(path)
    assert np.array_equal(record.read(), detector.rows)


def test_no_path_leads_outside(detector: ZarrDetector) -> None:
    whole = recorded(detector, 3)
    for dataset in ("../cam_1.zarr", "../../secret", "/../.."):
        record = Recorded(detector.data_key, [detector.path])
        documents = [(name, {**document}) for name, document in whole.documents]
        documents[0][1]["parameters"] = {**documents[0][1]["parameters"], "dataset": dataset}
        record.take(documents)
        with pytest.raises(ExternalDataError):
            record.read()


def test_dtype_and_shape(tmp_path: Path) -> None:
    for images, said in ((np.zeros((3, 3, 4), "<i2"), "holds int16"), (np.zeros((3, 4, 3), "<u2"), "(3, 4)")):
        (tmp_path / str(images.dtype)).mkdir()
        detector = ZarrDetector(tmp_path / str(images.dtype), shape=[3, 4])
        record = recorded(detector, 3)
        zarr.save_array(detector.path, images, mode="w")
        assert said in message(record, ExternalFormatError)


def test_arrays_in_a_group(tmp_path: Path) -> None:
    images = np.arange(24, dtype="<u2").reshape(2, 3, 4)
    detector = ZarrDetector(tmp_path, shape=[3, 4], parameters={"dataset": "/entry/data"})
    record = recorded(detector, 2)
    zarr.open_group(detector.path, mode="w").create_array("entry/data", data=images)
    assert np.array_equal(record.read(), images)


def test_pickles_are_not_loaded(tmp_path: Path) -> None:
    detector = ZarrDetector(tmp_path, shape=[3, 4], version=2)
    record = recorded(detector, 1)
    metadata = json.loads((detector.path / ".zarray").read_text())
    for change in ({"filters": [{"id": "pickle", "protocol": 5}]}, {"compressor": {"id": "pickle", "protocol": 5}}):
        (detector.path / ".zarray").write_text(json.dumps(metadata | change))
        # as os.mkdir would be called by whoever loads it
        (detector.path / "0.0.0").write_bytes(b"cos\nmkdir\n(V" + str(tmp_path / "trapped").encode() + b"\ntR.")
        with pytest.raises(ExternalDataError):
            record.read()
        assert not (tmp_path / "trapped").exists()
