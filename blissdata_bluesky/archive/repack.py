"""The rows of a finished run, compressed and in large chunks, in a file of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import h5py
import numpy as np

from .chunks import compress, copy_rows, create_dataset, stored_chunk, write_compressed
from .format import HEAVY_ROW_BYTES, row_bytes, sealed_chunk_rows
from .nexus import text_of_bytes

_THREADS = 2


def repack(source: Path, target: Path) -> None:
    """Copy a file that nobody writes any more, with the same content. Raises what HDF5 raises."""
    with (
        h5py.File(source, "r", locking=False) as old,
        h5py.File(target, "w", locking=False) as new,
        ThreadPoolExecutor(_THREADS) as pool,
    ):
        _copy_group(old, new, pool)


def _copy_group(old: h5py.Group, new: h5py.Group, pool: ThreadPoolExecutor) -> None:
    _copy_attributes(old, new)
    for name in old:
        link = old.get(name, getlink=True)
        if isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            new[name] = link
        elif isinstance(old[name], h5py.Group):
            _copy_group(old[name], new.create_group(name), pool)
        elif old[name].compression is None:
            old.copy(old[name], new, name, without_attrs=True)
            _copy_attributes(old[name], new[name])
        else:
            _copy_rows(old[name], new, name, pool)


def _copy_attributes(old: h5py.Group | h5py.Dataset, new: h5py.Group | h5py.Dataset) -> None:
    # in a file that appears as a whole, texts may be what h5py gives back as `str`
    for name, value in old.attrs.items():
        new.attrs[name] = text_of_bytes(value)


def _copy_rows(old: h5py.Dataset, group: h5py.Group, name: str, pool: ThreadPoolExecutor) -> None:
    rows, shape = len(old), old.shape[1:]
    is_heavy = row_bytes(old.dtype, shape) >= HEAVY_ROW_BYTES
    size = 1 if is_heavy else sealed_chunk_rows(row_bytes(old.dtype, shape), rows)
    new = create_dataset(group, name, old.dtype, shape, size)
    _copy_attributes(old, new)
    new.resize(rows, 0)
    first_rows = range(0, rows, size)
    if is_heavy:
        for first in first_rows:
            write_compressed(new, first, stored_chunk(old, first))
        return
    chunks = ((first, _chunk(old, first, size)) for first in first_rows)
    # no more in memory than the threads work on
    while some := list(islice(chunks, 2 * _THREADS)):
        packed = [(first, pool.submit(compress, chunk, old.dtype.itemsize)) for first, chunk in some]
        for first, future in packed:
            write_compressed(new, first, future.result())


def _chunk(old: h5py.Dataset, first: int, size: int) -> bytes:
    """Rows from `first` on as one chunk of `size` rows, the last one filled up with zeros."""
    chunk = np.zeros((size, *old.shape[1:]), old.dtype)
    copy_rows(old, first, chunk[: len(old) - first])
    return chunk.tobytes()
