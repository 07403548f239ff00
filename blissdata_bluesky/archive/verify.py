"""Whether a file holds what was written into it: every row of every dataset is read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py

from .chunks import read_chunk
from .columns import Progress, Written, array_checksum
from .faults import FILE_ERRORS


def differences(path: Path, expected: Progress) -> list[str]:
    """One sentence for each dataset that has other rows than were written. Raises OSError for what is no HDF5 file."""
    with h5py.File(path, "r", locking=False) as file:
        return list(_differences(file, expected))


def _differences(file: h5py.File, expected: Progress) -> Iterator[str]:
    for name, wanted in expected.items():
        try:
            found = _written(file[name], wanted.rows)
        except FILE_ERRORS as error:
            yield f"{name} cannot be read: {error}"
            continue
        if found != wanted:
            yield f"{name} has {found.rows} rows with checksum {found.checksum:08x}, not {wanted.rows} with {wanted.checksum:08x}"


def _written(dataset: h5py.Dataset, rows: int) -> Written:
    if len(dataset) != rows:
        return Written(len(dataset))
    checksum = 0
    size = dataset.chunks[0]
    for first in range(0, rows, size):
        checksum = array_checksum(read_chunk(dataset, first)[: rows - first], checksum)
    return Written(rows, checksum)
