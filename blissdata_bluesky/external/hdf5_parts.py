"""Parts of stored HDF5 datasets, in which nothing is made up that was never written."""

from __future__ import annotations

import contextlib
from itertools import product

import h5py
import numpy as np

from ..errors import ExternalFormatError, ExternalNotReadyError, ExternalRefusedError
from .kinds import Array
from .layout import Selection

_FEW = 8


def require_readable(dataset: h5py.Dataset, where: str) -> None:
    """Make sure that the data are in the file itself, and can be decompressed. Raises ExternalDataError."""
    if dataset.external:
        raise ExternalRefusedError(
            f"{where} has its data in other files without any format (HDF5's external storage), which are not opened"
        )
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]
        if not h5py.h5z.filter_avail(code):
            _load_filters()
        if not h5py.h5z.filter_avail(code):
            raise ExternalFormatError(
                f"{where} is compressed by HDF5's filter {code}, which is not installed: pip install hdf5plugin"
            )


def read_part(dataset: h5py.Dataset, selection: Selection, into: Array, where: str) -> None:
    """Write a part of a dataset that is not virtual into an array of as many elements.

    Raises ExternalNotReadyError when some of it was never written, where HDF5 would give the fill value.
    """
    if dataset.chunks is None and dataset.size and not dataset.id.get_storage_size():
        raise _unwritten(where, 0)
    if dataset.shape == ():
        into[...] = dataset[()]
        return
    ranges = [_range(key, length) for key, length in zip(selection, dataset.shape, strict=True)]
    part = into.reshape([len(rows) for rows in ranges])
    dataset.read_direct(part, tuple(slice(rows.start, rows.stop, rows.step) for rows in ranges))
    if dataset.chunks is not None:
        _require_written(dataset, ranges, part, where)


def _require_written(dataset: h5py.Dataset, ranges: list[range], part: Array, where: str) -> None:
    """Make sure that chunks of which nothing but the fill value was read are there."""
    fill = dataset.fillvalue
    blank = np.isnan(part) if part.dtype.kind == "f" and np.isnan(fill) else part == fill
    if not blank.any():
        return
    touched = [_touched(rows, chunk) for rows, chunk in zip(ranges, dataset.chunks, strict=True)]
    suspects = [
        tuple(number * chunk for (number, _), chunk in zip(chunks, dataset.chunks, strict=True))
        for chunks in product(*touched)
        if blank[tuple(positions for _, positions in chunks)].all()
    ]
    if missing := _not_there(dataset, suspects):
        raise _unwritten(where, min(missing)[0])


def _touched(rows: range, chunk: int) -> list[tuple[int, slice]]:
    """The chunks of an axis that rows are in, and the positions in `rows` of those in each."""
    found = []
    for number in range(rows.start // chunk, -(-rows.stop // chunk)):
        begin, end = (-(-(edge * chunk - rows.start) // rows.step) for edge in (number, number + 1))
        if max(begin, 0) < min(end, len(rows)):
            found.append((number, slice(max(begin, 0), min(end, len(rows)))))
    return found


def _not_there(dataset: h5py.Dataset, suspects: list[tuple[int, ...]]) -> set[tuple[int, ...]]:
    # HDF5 goes through all chunks to find one
    if len(suspects) <= _FEW:
        return {offset for offset in suspects if dataset.id.get_chunk_info_by_coord(offset).byte_offset is None}
    there: set[tuple[int, ...]] = set()
    # an answer other than None would end it
    dataset.id.chunk_iter(lambda chunk: there.add(tuple(chunk.chunk_offset)))
    return set(suspects) - there


def _unwritten(where: str, row: int) -> ExternalNotReadyError:
    return ExternalNotReadyError(
        f"{where} has room for row {row} and (a part of) it was never written: it is not flushed yet (try again later), or "
        "the detector dropped it"
    )


def _range(key: int | slice, length: int) -> range:
    return range(length)[key] if isinstance(key, slice) else range(key, key + 1)


def _load_filters() -> None:
    with contextlib.suppress(ImportError):
        # registers what it brings with the HDF5 that is loaded
        import hdf5plugin  # noqa: F401
