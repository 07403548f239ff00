"""Rows that grow at little cost, while others read them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..protocol import Array, Rows


class GrowingArray:
    """An array (rows, …) with room for more rows. Views that were read stay as they are."""

    def __init__(self, rows: Array) -> None:
        self._buffer = rows
        self._length = len(rows)

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Memory that is held, the room included."""
        return int(self._buffer.nbytes)

    def read(self, start: int, stop: int) -> Array:
        """A view that cannot be written to."""
        view = self._buffer[start:stop]
        view.flags.writeable = False
        return view

    def append(self, rows: Rows) -> None:
        """Add rows at the end; where their dtype differs, all become what holds both."""
        rows = np.asarray(rows)
        needed = self._length + len(rows)
        dtype = np.promote_types(self._buffer.dtype, rows.dtype)
        if needed > len(self._buffer) or not self._buffer.flags.writeable or dtype != self._buffer.dtype:
            self._grow(max(needed, math.ceil(1.5 * self._length)), dtype)
        self._buffer[self._length : needed] = rows
        self._length = needed

    def prepend(self, rows: Rows) -> None:
        """Add rows at the beginning."""
        self._buffer = np.concatenate([np.asarray(rows), self._buffer[: self._length]])
        self._length = len(self._buffer)

    def _grow(self, capacity: int, dtype: np.dtype[Any]) -> None:
        larger = np.empty((capacity, *self._buffer.shape[1:]), dtype)
        larger[: self._length] = self._buffer[: self._length]
        self._buffer = larger


class GrowingList:
    """The same for rows of any kind."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, start: int, stop: int) -> list[Any]:
        """A list of its own, of the same values."""
        return self._rows[start:stop]

    def append(self, rows: Rows) -> None:
        """Add rows at the end."""
        self._rows.extend(rows)

    def prepend(self, rows: Rows) -> None:
        """Add rows at the beginning."""
        self._rows[:0] = rows
