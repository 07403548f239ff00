"""Frames in HDF5 files."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from ..errors import ExternalFormatError, ExternalNotReadyError
from .files import decoding, found_file, shown
from .hdf5_open import OpenFiles
from .hdf5_parts import read_part, require_readable
from .hdf5_virtual import parts_of, virtual_shape
from .kinds import Array, FrameKind
from .layout import FrameLayout, Selection
from .resources import Resource
from .roots import Roots

_DEEPEST = 8
# of rows of which a part is wanted
_LARGEST = 2**28
# HDF5 does one thing at a time anyway, and nobody meets the files of another's reading half closed
_one_at_a_time = threading.Lock()


def read(resource: Resource, kind: FrameKind, indices: Sequence[int], roots: Roots, into: Array) -> None:
    """Write the frames with these indices into an array (n, *shape). Raises ExternalDataError."""
    with _opened(resource, kind, roots) as (stored, layout):
        for rows, selection in layout.selections(indices):
            stored.read(selection, into[rows])


def read_only_frame(resource: Resource, kind: FrameKind, roots: Roots, into: Array) -> None:
    """Write the one frame of a file into an array (1, *shape). Raises ExternalDataError, also when there are more."""
    with _opened(resource, kind, roots) as (stored, layout):
        if layout.count > 1:
            raise ExternalFormatError(
                f"{resource.uri} holds an array of shape {stored.shape}, where the documents say {kind.shape}"
            )
        for _, selection in layout.selections([0]):
            stored.read(selection, into)


@contextmanager
def _opened(resource: Resource, kind: FrameKind, roots: Roots) -> Iterator[tuple[_Stored, FrameLayout]]:
    path = found_file(resource.uri, roots)
    where = f"{shown(path, resource.uri)}, dataset {resource.dataset!r},"
    with _one_at_a_time, decoding(where), OpenFiles(roots, resource.parameters.get("locking")) as files:
        stored = _Stored(files, files.dataset(path, resource.dataset, resource.uri), where)
        kind.require_dtype(stored.dataset.dtype, where)
        yield stored, FrameLayout(stored.shape, kind, resource.parameters.get("slice"), where)


class _Stored:
    """A dataset, stored or virtual. Raises ExternalDataError."""

    def __init__(self, files: OpenFiles, dataset: h5py.Dataset, where: str, depth: int = 0) -> None:
        if depth > _DEEPEST:
            raise ExternalFormatError(f"{where} is a virtual dataset of virtual datasets, more than {_DEEPEST} deep")
        self._files = files
        self._where = where
        self._depth = depth
        self.dataset = dataset
        self._parts = parts_of(dataset, where) if dataset.is_virtual else []
        # HDF5 opens the sources of a virtual dataset when it is asked for its shape
        self.shape = virtual_shape(self._parts, dataset) if self._parts else dataset.shape
        require_readable(dataset, where)

    def read(self, selection: Selection, into: Array) -> None:
        """Write a part of it into an array of as many elements."""
        if not self._parts:
            read_part(self.dataset, selection, into, self._where)
            return
        first, *rest = selection
        rows = range(first, first + 1) if isinstance(first, int) else range(self.shape[0])[first]
        size = len(rows) * math.prod(self.shape[1:]) * self.dataset.dtype.itemsize
        if size > max(_LARGEST, 2 * into.nbytes):
            raise ExternalFormatError(f"{self._where} has rows that are too large to be put together: {size} bytes")
        whole = self._rows(rows)
        into[...] = whole[(slice(None), *rest)].reshape(into.shape)

    def _rows(self, rows: range) -> Array:
        whole = np.full((len(rows), *self.shape[1:]), self.dataset.fillvalue, self.dataset.dtype)
        missing = np.ones(len(rows), bool)
        for part in self._parts:
            for positions, there, here in part.parts(rows):
                target = whole[(positions, *there)]
                target[...] = self._source(part.file, part.dataset).taken(here).reshape(target.shape)
                missing[positions] = False
        if missing.any():
            raise ExternalNotReadyError(
                f"{self._where} has no data for row {rows[int(missing.argmax())]}, in any of its files"
            )
        return whole

    def taken(self, selection: Selection) -> Array:
        """A part of it that another dataset is made of."""
        keys = [*selection, *[slice(0, length) for length in self.shape[len(selection) :]]]
        for key, length in zip(keys, self.shape, strict=True):
            if isinstance(key, slice) and key.stop > length:
                raise ExternalNotReadyError(
                    f"{self._where} has {length} rows, and row {key.stop - 1} (counted from 0) was asked for. If it is still "
                    "being written, try again when it is flushed; else it is truncated"
                )
        part = np.empty([key.stop - key.start for key in keys if isinstance(key, slice)], self.dataset.dtype)
        self.read(tuple(keys), part)
        return part

    def _source(self, file: str, name: str) -> _Stored:
        own = Path(self.dataset.file.filename)
        path = own if file == "." else self._files.linked(file, own)
        where = f"{path}, dataset {name!r} (of {self._where.rstrip(',')}),"
        return _Stored(self._files, self._files.dataset(path, name, str(path)), where, self._depth + 1)
