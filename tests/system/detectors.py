"""Detectors that write files as real ones do, each with the documents that announce its frames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
import zarr
from event_model import ComposeStreamResourceBundle, compose_stream_resource
from PIL import Image

Named = tuple[str, dict[str, Any]]


class FileDetector:
    """One data key whose frames go to files, some `exposures` to each row.

    Frame `n` is full of different numbers that begin with `n`. `begin` opens the next file (or sequence of files),
    `expose` writes frames and announces them, `end` closes. `rows` has what was announced: (rows, *shape).
    """

    mimetype = ""

    def __init__(
        self,
        directory: Path,
        name: str = "cam",
        frame: Sequence[int] = (3, 4),
        dtype: str = "<u2",
        *,
        exposures: int = 1,
        shape: Sequence[int] | None = None,
        parameters: Mapping[str, Any] | None = None,
        runs_on: bool = False,
    ) -> None:
        self.name = name
        self.directory = directory
        self.frame_shape = tuple(frame)
        self.dtype = np.dtype(dtype)
        self.exposures = exposures
        # as ophyd-async has it
        self.shape = [exposures, *frame] if shape is None else list(shape)
        self.parameters = dict(parameters or {})
        self.files = 0
        self._runs_on = runs_on
        self._written: list[np.ndarray] = []
        self._first = self._in_file = self._rows = 0
        self._bundle: ComposeStreamResourceBundle | None = None

    @property
    def data_key(self) -> dict[str, Any]:
        """The member of the descriptor's data_keys."""
        dtype = "array" if self.shape not in ([], [1]) else "number"
        said = {"dtype": dtype, "dtype_numpy": self.dtype.str, "shape": self.shape}
        return {"source": f"sim://{self.name}", "external": "STREAM:", **said}

    @property
    def data_keys(self) -> dict[str, dict[str, Any]]:
        """All of them, for `EmittedRun.describe`."""
        return {self.name: self.data_key}

    @property
    def frames(self) -> np.ndarray:
        """All frames that were written: (frames, *frame shape)."""
        return np.stack(self._written)

    @property
    def rows(self) -> np.ndarray:
        """The data of all rows, with the shape that the data key says."""
        return self.frames.reshape(-1, *self.shape)

    @property
    def uri(self) -> str:
        """Of the file that is open, or the beginning of its files' URIs."""
        raise NotImplementedError

    def begin(self) -> list[Named]:
        """Open the next file; its stream_resource."""
        self.files += 1
        self._first = self._rows if self._runs_on else 0
        self._in_file = 0
        self._open()
        self._bundle = compose_stream_resource(
            mimetype=self.mimetype, uri=self.uri, data_key=self.name, parameters=self._all_parameters()
        )
        return [("stream_resource", dict(self._bundle.stream_resource_doc))]

    def expose(self, descriptor: str, rows: int = 1) -> list[Named]:
        """Write the frames of some rows; the stream_datum that announces them to the stream of a descriptor's uid."""
        start = self._first + self._in_file
        for _ in range(rows * self.exposures):
            self._write(self._next_frame())
        self._flush()
        datum = self._bundle.compose_stream_datum(
            indices={"start": start, "stop": start + rows},
            seq_nums={"start": self._rows + 1, "stop": self._rows + rows + 1},
            descriptor={"uid": descriptor},
        )
        self._in_file += rows
        self._rows += rows
        return [("stream_datum", dict(datum))]

    def end(self) -> None:
        """Close what is open."""

    def _next_frame(self) -> np.ndarray:
        number = len(self._written)
        size = int(np.prod(self.frame_shape))
        frame = (np.arange(size) + number).reshape(self.frame_shape).astype(self.dtype)
        self._written.append(frame)
        return frame

    def _all_parameters(self) -> dict[str, Any]:
        return dict(self.parameters)

    def _open(self) -> None:
        raise NotImplementedError

    def _write(self, frame: np.ndarray) -> None:
        raise NotImplementedError

    def _flush(self) -> None:
        """What was written is in the file."""


class HDF5Detector(FileDetector):
    """One file for all frames, kept open; with `swmr` as areaDetector writes it."""

    mimetype = "application/x-hdf5"
    dataset = "/entry/data/data"

    def __init__(
        self, *arguments: Any, swmr: bool = False, chunk: int = 1, compression: str | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._swmr = swmr
        self._storage = {"compression": compression}
        self._chunk = chunk
        self._file: h5py.File | None = None

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}_{self.files}.h5"

    @property
    def uri(self) -> str:
        return f"file://localhost{self.path}"

    def end(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _all_parameters(self) -> dict[str, Any]:
        chunk = (self._chunk, *self.frame_shape)
        return {"dataset": self.dataset, "swmr": self._swmr, "chunk_shape": chunk, **self.parameters}

    def _open(self) -> None:
        self.end()
        # without SWMR nobody could look at an open file that is locked
        options = {"libver": "latest"} if self._swmr else {"locking": False}
        self._file = h5py.File(self.path, "w", **options)
        self._data = self._file.create_dataset(
            self.dataset,
            (0, *self.frame_shape),
            self.dtype,
            maxshape=(None, *self.frame_shape),
            chunks=(self._chunk, *self.frame_shape),
            **self._storage,
        )
        if self._swmr:
            self._file.swmr_mode = True
        self._flush()

    def _write(self, frame: np.ndarray) -> None:
        self._data.resize(len(self._data) + 1, axis=0)
        self._data[-1] = frame

    def _flush(self) -> None:
        self._data.flush()
        self._file.flush()


class SequenceDetector(FileDetector):
    """A file for each frame.

    A second sequence has the URI of the first and another template, and goes on with its indices: bluesky-tiled-plugins
    wants it so.
    """

    suffix = ""

    def __init__(self, *arguments: Any, template: str | None = None, **options: Any) -> None:
        super().__init__(*arguments, **{"runs_on": True, **options})
        self._template = template
        self._number = 0

    @property
    def template(self) -> str:
        """What the open sequence's files are called."""
        return self._template or f"{self.name}_{self.files}_{{:05d}}{self.suffix}"

    @property
    def series(self) -> Path:
        """The directory of the sequences."""
        return self.directory / self.name

    @property
    def uri(self) -> str:
        return f"file://localhost{self.series}{os.sep}"

    def path(self, number: int) -> Path:
        """A file of the sequence."""
        filename = self.parameters.get("filename", "")
        return self.series / (
            self.template % ("", filename, number) if "%s%s" in self.template else self.template.format(number)
        )

    def _all_parameters(self) -> dict[str, Any]:
        return {"template": self.template, "chunk_shape": (1, *self.frame_shape), **self.parameters}

    def _open(self) -> None:
        self.series.mkdir(exist_ok=True)
        self._number = 0

    def _write(self, frame: np.ndarray) -> None:
        self._save(self.path(self._number), frame)
        self._number += 1

    def _save(self, path: Path, frame: np.ndarray) -> None:
        raise NotImplementedError


class TIFFDetector(SequenceDetector):
    """As areaDetector's TIFF plugin."""

    mimetype = "multipart/related;type=image/tiff"
    suffix = ".tiff"

    def _save(self, path: Path, frame: np.ndarray) -> None:
        tifffile.imwrite(path, frame)


class JPEGDetector(SequenceDetector):
    """As areaDetector's JPEG plugin. What is kept as `frames` is what the lossy files have."""

    mimetype = "multipart/related;type=image/jpeg"
    suffix = ".jpeg"

    def _save(self, path: Path, frame: np.ndarray) -> None:
        Image.fromarray(frame).save(path, quality=95)
        with Image.open(path) as image:
            self._written[-1] = np.asarray(image)


class HDF5SequenceDetector(SequenceDetector):
    """A file of its own for each frame."""

    mimetype = "application/x-hdf5"
    suffix = ".h5"

    def _all_parameters(self) -> dict[str, Any]:
        return {"dataset": "/entry/data", **super()._all_parameters()}

    def _save(self, path: Path, frame: np.ndarray) -> None:
        with h5py.File(path, "w") as file:
            file["entry/data"] = frame[np.newaxis]


class NPYDetector(SequenceDetector):
    """As ophyd.sim's detectors with a registry, whose names are fixed: `<uri>_<number>.npy`."""

    mimetype = "multipart/related;type=application/x-npy"

    @property
    def uri(self) -> str:
        return f"file://localhost{self.series}/{self.name}_{self.files}"

    def path(self, number: int) -> Path:
        return self.series / f"{self.name}_{self.files}_{number}.npy"

    def _all_parameters(self) -> dict[str, Any]:
        return dict(self.parameters)

    def _save(self, path: Path, frame: np.ndarray) -> None:
        np.save(path, frame, allow_pickle=False)


class ZarrDetector(FileDetector):
    """One array for all frames, in format 2 or 3."""

    mimetype = "application/x-zarr"

    def __init__(self, *arguments: Any, version: int = 3, shards: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._version = version
        self._shards = shards

    @property
    def path(self) -> Path:
        return self.directory / f"{self.name}_{self.files}.zarr"

    @property
    def uri(self) -> str:
        return f"file://localhost{self.path}"

    def _all_parameters(self) -> dict[str, Any]:
        return {"chunk_shape": (1, *self.frame_shape), **self.parameters}

    def _open(self) -> None:
        self._array = zarr.create_array(
            self.path,
            shape=(0, *self.frame_shape),
            dtype=self.dtype,
            chunks=(1, *self.frame_shape),
            shards=None if self._shards is None else (self._shards, *self.frame_shape),
            zarr_format=self._version,
        )

    def _write(self, frame: np.ndarray) -> None:
        self._array.resize((self._array.shape[0] + 1, *self.frame_shape))
        self._array[-1] = frame


DETECTORS: dict[str, type[FileDetector]] = {
    "hdf5": HDF5Detector,
    "hdf5 sequence": HDF5SequenceDetector,
    "tiff": TIFFDetector,
    "npy": NPYDetector,
    "jpeg": JPEGDetector,
    "zarr": ZarrDetector,
}
