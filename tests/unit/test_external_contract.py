"""The same frames as TiledWriter's way has them: bluesky-tiled-plugins' consolidators and Tiled's adapters."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bluesky_tiled_plugins.writing.consolidators import consolidator_factory
from bluesky_tiled_plugins.writing.tiled_writer import MIMETYPE_LOOKUP
from tiled.adapters.zarr import ZarrAdapter

from blissdata_bluesky.external.resources import _SPECS
from tests.system.detectors import (
    FileDetector,
    HDF5Detector,
    HDF5SequenceDetector,
    JPEGDetector,
    NPYDetector,
    TIFFDetector,
    ZarrDetector,
)

from .recorded_frames import Recorded, recorded

SCALAR = {"frame": ()}
CHUNK = {"chunk_shape": (1,)}
CONCAT = {"parameters": {"join_method": "concat"}}

CASES: dict[str, tuple[type[FileDetector], dict[str, Any], tuple[int, ...]]] = {
    "hdf5": (HDF5Detector, {}, (5,)),
    "hdf5, swmr": (HDF5Detector, {"swmr": True}, (5,)),
    "hdf5, compressed chunks of 4": (HDF5Detector, {"chunk": 4, "compression": "gzip"}, (9,)),
    "hdf5, (h, w)": (HDF5Detector, {"shape": [3, 4]}, (5,)),
    "hdf5, several files": (HDF5Detector, {}, (3, 1, 4)),
    "hdf5, several files whose indices run on": (HDF5Detector, {"runs_on": True}, (3, 1, 4)),
    "hdf5, 2 exposures per row": (HDF5Detector, {"exposures": 2}, (3, 2)),
    "hdf5, multiplier": (HDF5Detector, {"exposures": 2, "shape": [3, 4], "parameters": {"multiplier": 2}}, (3, 2)),
    "hdf5, multiplier 1": (HDF5Detector, {"shape": [3, 4], "parameters": {"multiplier": 1}}, (3,)),
    "hdf5, concat": (HDF5Detector, {"exposures": 2, **CONCAT}, (3, 2)),
    "hdf5, concat of spectra": (HDF5Detector, {"frame": (), "exposures": 6, **CONCAT}, (3,)),
    "hdf5, scalars []": (HDF5Detector, {**SCALAR, "shape": [], "dtype": "<f8"}, (7,)),
    "hdf5, scalars [1]": (HDF5Detector, {**SCALAR, "shape": [1], "dtype": "<i8"}, (7, 2)),
    "hdf5, scalars [1] of rows of 1": (
        HDF5Detector,
        {"frame": (1,), "shape": [1], "dtype": "<i8", "parameters": CHUNK},
        (7, 2),
    ),
    "hdf5, scalars [1], concat": (HDF5Detector, {**SCALAR, "shape": [1], **CONCAT}, (7,)),
    "hdf5, big endian": (HDF5Detector, {"dtype": ">u4"}, (2,)),
    "hdf5, bool": (HDF5Detector, {"dtype": "|b1"}, (2,)),
    "hdf5, complex": (HDF5Detector, {"dtype": "<c16"}, (2,)),
    "hdf5, slice": (HDF5Detector, {"shape": [2, 4], "parameters": {"slice": ":,1:3"}}, (5,)),
    "hdf5, slice of one line": (HDF5Detector, {"shape": [4], "parameters": {"slice": "(..., 1, :)", **CHUNK}}, (5,)),
    "hdf5, squeeze": (
        HDF5Detector,
        {"frame": (1, 3, 4), "shape": [3, 4], "parameters": {"squeeze": True, **CHUNK}},
        (5,),
    ),
    "hdf5 sequence": (HDF5SequenceDetector, {}, (4,)),
    "hdf5 sequences": (HDF5SequenceDetector, {}, (3, 2)),
    "hdf5 sequence, 2 exposures": (HDF5SequenceDetector, {"exposures": 2}, (3,)),
    "tiff": (TIFFDetector, {}, (5,)),
    "tiff, (h, w)": (TIFFDetector, {"shape": [3, 4]}, (5,)),
    "tiff, several sequences": (TIFFDetector, {}, (3, 1, 4)),
    "tiff, 2 exposures": (TIFFDetector, {"exposures": 2}, (3, 2)),
    "tiff, multiplier": (TIFFDetector, {"exposures": 2, "shape": [3, 4], "parameters": {"multiplier": 2}}, (3,)),
    "tiff, concat": (
        TIFFDetector,
        {"exposures": 2, "parameters": {"join_method": "concat", "chunk_shape": (1,)}},
        (3,),
    ),
    "tiff, areaDetector's template": (
        TIFFDetector,
        {"template": "%s%s_%6.6d.tiff", "parameters": {"filename": "cam"}},
        (3,),
    ),
    "tiff, colours": (TIFFDetector, {"frame": (3, 4, 3), "dtype": "|u1"}, (3,)),
    "tiff, float": (TIFFDetector, {"dtype": "<f4"}, (3,)),
    "jpeg": (JPEGDetector, {"frame": (16, 16), "dtype": "|u1"}, (3,)),
    "jpeg, colours": (JPEGDetector, {"frame": (16, 16, 3), "dtype": "|u1"}, (3,)),
    "npy": (NPYDetector, {"shape": [3, 4]}, (4,)),
    "npy, spectra": (NPYDetector, {"frame": (5,), "shape": [5], "dtype": "<f8"}, (4,)),
    "npy, scalars": (NPYDetector, {**SCALAR, "shape": [], "dtype": "<f8"}, (4,)),
    "hdf5 sequence, scalars": (HDF5SequenceDetector, {**SCALAR, "shape": [1], "parameters": CHUNK}, (4,)),
    "zarr 3": (ZarrDetector, {"shape": [3, 4]}, (4,)),
    "zarr 3, shards": (ZarrDetector, {"shape": [3, 4], "shards": 2}, (5,)),
    "zarr 2": (ZarrDetector, {"shape": [3, 4], "version": 2}, (4,)),
    "zarr 2, scalars": (ZarrDetector, {**SCALAR, "shape": [1], "version": 2, "dtype": "<f8"}, (4,)),
}


def tiled_way(record: Recorded) -> np.ndarray:
    """What TiledWriter would have registered, read by Tiled."""
    consolidator = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, document in copy.deepcopy(record.documents):
            if name == "stream_datum":
                consolidator.consume_stream_datum(document)
            elif consolidator is None:
                consolidator = consolidator_factory(document, copy.deepcopy(record.descriptor))
            else:
                consolidator.update_from_stream_resource(document)
        if consolidator.mimetype == "application/x-zarr":
            # whose adapter asks the node for more than `init_adapter` gives it
            node = SimpleNamespace(structure_family="array", metadata_={}, specs=[])
            return np.asarray(ZarrAdapter.from_catalog(consolidator.get_data_source(), node).read())
        return np.asarray(consolidator.init_adapter().read())


@pytest.mark.leaves("thread", reason="zarr keeps its event loop, dask its pool, for as long as the interpreter lives")
@pytest.mark.parametrize("name", CASES)
def test_frames_are_what_tiled_serves(name: str, tmp_path: Path) -> None:
    kind, options, rows = CASES[name]
    record = recorded(kind(tmp_path, **options), *rows)
    served = tiled_way(record)
    frames = record.read()
    if record.frames.joined:
        frames = frames.reshape(-1, *frames.shape[2:])
    assert frames.shape == served.shape
    assert frames.dtype == served.dtype
    assert frames.tobytes() == served.tobytes()
    assert record.frames.shape == record.read(0).shape[1:]
    assert record.frames.dtype == frames.dtype


@pytest.mark.leaves("thread", reason="zarr keeps its event loop for as long as the interpreter lives")
@pytest.mark.parametrize("name", CASES)
def test_any_rows_in_any_order(name: str, tmp_path: Path) -> None:
    kind, options, rows = CASES[name]
    record = recorded(kind(tmp_path, **options), *rows)
    everything = record.read()
    every = list(range(len(everything)))
    for wanted in ([0], [1, 0], [0, 0, 1], every[::-2], [every[-1], 0], every[::2] + every[1::2]):
        assert np.array_equal(record.read(*wanted), everything[wanted])
    assert len(record.frames.read(record.references[:0])) == 0


def test_what_the_detector_wrote(tmp_path: Path) -> None:
    """The contract says nothing of what is wrong on both sides."""
    for kind, options in ((HDF5Detector, {}), (TIFFDetector, {}), (NPYDetector, {"shape": [3, 4]})):
        detector = kind(tmp_path, kind.__name__, **options)
        record = recorded(detector, 3, 2)
        assert np.array_equal(record.read(), detector.rows), kind


def test_old_specs_mean_what_tiledwriter_takes_them_for() -> None:
    assert {spec: MIMETYPE_LOOKUP[spec] for spec in _SPECS} == {
        spec: mimetype for spec, (mimetype, _) in _SPECS.items()
    }
