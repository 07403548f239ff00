"""Writing the rows of one data stream: as an array, as a ragged list of arrays, or as text."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import h5py
import numpy as np

from ..mapping import is_array
from ..protocol import Array, Encoding, NumericEncoding, Rows, text_of
from .chunks import compress_fast, create_dataset, read_chunk, write_compressed, write_raw
from .format import HEAVY_ROW_BYTES, SHAPES, TEXT_BYTES, VALUES, is_text, live_chunk_rows, row_bytes
from .nexus import stored

_SHAPE_DTYPE = np.dtype("<i8")


class Written(NamedTuple):
    """How far one dataset is written: its rows, and the checksum (CRC-32) of all their bytes."""

    rows: int = 0
    checksum: int = 0


Progress = Mapping[str, Written]
"""By the dataset's path."""


class ColumnWriter(Protocol):
    """Appends rows to one column."""

    def append(self, rows: Rows) -> int:
        """Write rows; HDF5 has them in its memory or in the file when it returns. How many bytes they are."""

    @property
    def rows(self) -> int:
        """Rows so far."""

    @property
    def progress(self) -> dict[str, Written]:
        """How far each of the column's datasets is written."""


class ArrayColumn:
    """One dataset (rows, *shape).

    Its last chunk, which is not full yet, is kept in memory and written to one and the same place of the file until it
    is full: a reader, or a file whose writer was killed, never finds rows there that are half written.
    """

    def __init__(self, file: h5py.File, path: str, encoding: NumericEncoding, progress: Progress) -> None:
        size = row_bytes(encoding.dtype, encoding.shape)
        if path not in file:
            create_dataset(file, path, encoding.dtype, encoding.shape, live_chunk_rows(size))
        self._path = path
        self._dataset: h5py.Dataset = file[path]
        self._row_bytes = size
        self._heavy = size >= HEAVY_ROW_BYTES
        self._done = progress.get(path, Written())
        self._chunk: Array = np.zeros(self._dataset.chunks, encoding.dtype)
        _require_rows(self._dataset, self._done)
        self._found = len(self._dataset)
        self._load(self.rows // len(self._chunk) * len(self._chunk))

    @property
    def rows(self) -> int:
        return self._done.rows

    @property
    def progress(self) -> dict[str, Written]:
        return {self._path: self._done}

    def append(self, rows: Rows) -> int:
        if not len(rows):
            return 0
        stop = self.rows + len(rows)
        if stop > len(self._dataset):
            self._dataset.resize(stop, 0)
        if self._heavy:
            self._append_heavy(rows)
        else:
            self._append_light(np.asarray(rows, self._chunk.dtype))
        return len(rows) * self._row_bytes

    def _append_light(self, rows: Array) -> None:
        self._count(rows.tobytes(), len(rows))
        first, size = self.rows - len(rows), len(self._chunk)
        while len(rows):
            at = first % size
            piece, rows = rows[: size - at], rows[size - at :]
            self._chunk[at : at + len(piece)] = piece
            write_raw(self._dataset, first - at, self._chunk.tobytes())
            first += len(piece)
            if first % size == 0:
                self._load(first)

    def _append_heavy(self, rows: Rows) -> None:
        for row in rows:
            payload = np.ascontiguousarray(row, self._chunk.dtype).tobytes()
            if self._stored(self.rows).tobytes() != payload:
                write_compressed(self._dataset, self.rows, compress_fast(payload, self._chunk.dtype.itemsize))
            self._count(payload, 1)

    def _count(self, payload: bytes, rows: int) -> None:
        self._done = Written(self._done.rows + rows, zlib.crc32(payload, self._done.checksum))

    def _load(self, first: int) -> None:
        """Go on with the chunk that begins at row `first`.

        A writer that was killed may have left rows there that do not count yet, but that readers have seen.
        """
        stored = self._stored(first)
        self._chunk[: len(stored)] = stored
        self._chunk[len(stored) :] = 0

    def _stored(self, first: int) -> Array:
        """The chunk at row `first` as the file has it; no rows where it has none."""
        if first >= self._found:
            return self._chunk[:0]
        try:
            return read_chunk(self._dataset, first)
        except (OSError, RuntimeError, ValueError):
            if first < self.rows:
                raise
            return self._chunk[:0]


class RaggedColumn:
    """A group of two datasets: the values of all rows behind each other, and each row's shape (rows, dimensions)."""

    def __init__(self, file: h5py.File, path: str, encoding: NumericEncoding, progress: Progress) -> None:
        if path not in file:
            file.create_group(path).attrs["NX_class"] = stored("NXcollection")
        self._values = ArrayColumn(file, f"{path}/{VALUES}", NumericEncoding(encoding.dtype), progress)
        shapes = NumericEncoding(_SHAPE_DTYPE, (len(encoding.shape),))
        self._shapes = ArrayColumn(file, f"{path}/{SHAPES}", shapes, progress)
        self._dtype = encoding.dtype

    @property
    def rows(self) -> int:
        return self._shapes.rows

    @property
    def progress(self) -> dict[str, Written]:
        return self._values.progress | self._shapes.progress

    def append(self, rows: Rows) -> int:
        if not len(rows):
            return 0
        # where they are written only in part, the shapes tell how many rows there are
        written = self._values.append(np.concatenate([np.asarray(row, self._dtype).ravel() for row in rows]))
        return written + self._shapes.append(np.array([np.shape(row) for row in rows], _SHAPE_DTYPE))


class TextColumn(RaggedColumn):
    """A ragged column of the bytes of texts (UTF-8), each the text of a value.

    HDF5 keeps strings of its own in a heap, which a writer that is killed leaves unreadable.
    """

    def __init__(self, file: h5py.File, path: str, progress: Progress) -> None:
        super().__init__(file, path, TEXT_BYTES, progress)

    def append(self, rows: Rows) -> int:
        return super().append([np.frombuffer(text_of(value).encode(), np.uint8) for value in rows])


def column_writer(file: h5py.File, path: str, encoding: Encoding, progress: Progress) -> ColumnWriter:
    """The writer of a column, which goes on where `progress` says. Makes what is missing in the file."""
    if is_text(encoding):
        return TextColumn(file, path, progress)
    if not isinstance(encoding, NumericEncoding):
        raise TypeError(f"{path}: no such encoding {encoding}")
    return (ArrayColumn if is_array(encoding) else RaggedColumn)(file, path, encoding, progress)


def _require_rows(dataset: h5py.Dataset, done: Written) -> None:
    if len(dataset) < done.rows:
        raise ValueError(f"{dataset.name} has {len(dataset)} rows, of which {done.rows} were written")


def array_checksum(rows: Any, checksum: int) -> int:
    """The checksum of rows of an array."""
    return zlib.crc32(np.ascontiguousarray(rows).data, checksum)
