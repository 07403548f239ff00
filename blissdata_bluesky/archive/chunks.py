"""Rows as chunks of an HDF5 dataset: byte shuffle and deflate, which every build of HDF5 reads, or as they are."""

from __future__ import annotations

import math
import zlib
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib

from ..protocol import Array

# the fastest level of both libraries but none; higher ones take several times as long for a few per cent
_LEVEL = 1


def create_dataset(
    parent: h5py.Group, name: str, dtype: np.dtype[Any], shape: tuple[int, ...], chunk_rows: int
) -> h5py.Dataset:
    """A dataset without rows, whose chunks hold `chunk_rows` rows each. Groups that are missing are made."""
    return parent.create_dataset(
        name,
        (0, *shape),
        dtype,
        maxshape=(None, *shape),
        chunks=(chunk_rows, *shape),
        shuffle=dtype.itemsize > 1,
        compression="gzip",
        compression_opts=_LEVEL,
        track_times=False,
    )


def is_ours(dataset: h5py.Dataset) -> bool:
    """Whether a dataset is stored as `create_dataset` has it, and its chunks can be read by `read_chunk`."""
    filters = (dataset.compression, dataset.shuffle, dataset.fletcher32, dataset.scaleoffset)
    return dataset.chunks is not None and filters == ("gzip", dataset.dtype.itemsize > 1, False, None)


def compress_fast(rows: bytes, itemsize: int) -> bytes:
    """A chunk as both filters make it, four to ten times as fast as zlib does: for images, while they come."""
    return bytes(isal_zlib.compress(_shuffled(rows, itemsize), _LEVEL))


def compress(rows: bytes, itemsize: int) -> bytes:
    """A chunk as both filters make it, by zlib, which leaves alone what does not become smaller.

    Columns of numbers are read several times as fast then. It releases the interpreter's lock for most of the time.
    """
    return zlib.compress(_shuffled(rows, itemsize), _LEVEL)


def _shuffled(rows: bytes, itemsize: int) -> bytes:
    return np.frombuffer(rows, np.uint8).reshape(-1, itemsize).T.tobytes() if itemsize > 1 else rows


def write_compressed(dataset: h5py.Dataset, row: int, chunk: bytes) -> None:
    """Store what `compress` made of the chunk that begins at `row`."""
    dataset.id.write_direct_chunk((row, *(0,) * (dataset.ndim - 1)), chunk, 0)


def write_raw(dataset: h5py.Dataset, row: int, chunk: bytes) -> None:
    """Store a chunk with both filters left out: one that is stored again like this stays where it is."""
    mask = 0b11 if dataset.dtype.itemsize > 1 else 0b1
    dataset.id.write_direct_chunk((row, *(0,) * (dataset.ndim - 1)), chunk, mask)


def read_chunk(dataset: h5py.Dataset, row: int) -> Array:
    """The rows of the chunk that begins at `row`, room for later ones included; shape (chunk rows, *shape).

    Read-only. Unlike ordinary reading it never takes a chunk that is not there for one of zeros. Raises RuntimeError,
    OSError or ValueError for a chunk that is missing or damaged, as one may seem to be while the file is written.
    """
    place = (row, *(0,) * (dataset.ndim - 1))
    _, chunk = dataset.id.read_direct_chunk(place)
    # the mask that comes with it is wrong where this process has just written the chunk (HDF5 1.14)
    mask = dataset.id.get_chunk_info_by_coord(place).filter_mask
    return np.frombuffer(_plain(mask, chunk, dataset), dataset.dtype).reshape(dataset.chunks)


def chunks_around(dataset: h5py.Dataset, start: int, stop: int) -> range:
    """The first rows of the chunks that hold the rows `start` to `stop`."""
    size = dataset.chunks[0]
    return range(start // size * size, stop if start < stop else 0, size)


def copy_chunk(dataset: h5py.Dataset, row: int, start: int, rows: Array) -> None:
    """Copy from the chunk that begins at `row` what belongs into `rows`, the first of which is row `start`."""
    chunk = read_chunk(dataset, row)
    low, high = max(row, start), min(row + len(chunk), start + len(rows))
    rows[low - start : high - start] = chunk[low - row : high - row]


def copy_rows(dataset: h5py.Dataset, start: int, rows: Array) -> Array:
    """Fill `rows` with as many of the dataset's, from row `start` on."""
    for row in chunks_around(dataset, start, start + len(rows)):
        copy_chunk(dataset, row, start, rows)
    return rows


def stored_chunk(dataset: h5py.Dataset, row: int) -> bytes:
    """The chunk that begins at `row` as it is stored: of large rows, compressed."""
    _, chunk = dataset.id.read_direct_chunk((row, *(0,) * (dataset.ndim - 1)))
    return bytes(chunk)


def _plain(mask: int, chunk: bytes, dataset: h5py.Dataset) -> bytes:
    itemsize = dataset.dtype.itemsize
    filters = 2 if itemsize > 1 else 1
    size = itemsize * math.prod(dataset.chunks)
    if not mask & 1 << filters - 1:
        try:
            # twice as fast as zlib
            chunk = isal_zlib.decompress(chunk, bufsize=size)
        # its stub is wrong
        except isal_zlib.error as error:  # type: ignore[misc]
            raise ValueError(f"a chunk of {dataset.name} cannot be decompressed: {error}") from error
    if len(chunk) != size:
        raise ValueError(f"a chunk of {dataset.name} has {len(chunk)} bytes, not {size}")
    if filters == 2 and not mask & 1:
        chunk = np.frombuffer(chunk, np.uint8).reshape(itemsize, -1).T.tobytes()
    return chunk
