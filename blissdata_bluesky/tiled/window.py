"""The rows of a stream that one request sees: a fixed number, the last of each seq_num."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import NumericEncoding, Rows
from ..runs import Column, RunStream, Table, last_of_each

_FLOAT = NumericEncoding(np.dtype("<f8"))


class Window:
    """The first `rows` rows of a stream as tables show them (DESIGN 10). Everything in it may wait for the source.

    A column of integers or booleans some of whose values were no such thing is shown as float64: with the numbers
    that they were, and NaN for anything else. The 0 that fills their place in Redis would look like a measurement.
    """

    def __init__(self, stream: RunStream, rows: int) -> None:
        self.stream = stream
        self.rows = rows

    @cached_property
    def _visible(self) -> npt.NDArray[np.int64] | slice:
        return last_of_each(self.stream.seq_num(0, self.rows))

    def __len__(self) -> int:
        return self.rows if isinstance(self._visible, slice) else len(self._visible)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The data keys, as they are shown."""
        return {
            key: replace(column, encoding=_FLOAT) if key in self._widened else column
            for key, column in self.stream.columns.items()
        }

    @cached_property
    def _widened(self) -> frozenset[str]:
        return frozenset(
            key
            for key, column in self.stream.columns.items()
            if _is_integer(column) and self.stream.irregular(key, 0, self.rows)
        )

    def read(self, key: str, start: int, stop: int) -> Rows:
        """Visible rows `start` to `stop` of one data key, in the encoding that `columns` says."""
        low, high, chosen = self._raw(start, stop)
        rows = self.stream.read(key, low, high)
        return take(self._shown(key, rows, low, high), chosen)

    def table(self, keys: Iterable[str], start: int, stop: int) -> Table:
        """Visible rows `start` to `stop` of several keys with times; `irregular` is left out."""
        low, high, chosen = self._raw(start, stop)
        table = self.stream.table(keys, low, high)
        data = {key: take(self._shown(key, rows, low, high), chosen) for key, rows in table.data.items()}
        if chosen is None:
            return Table(start, table.seq_num, table.time, table.timestamps, data, {})
        return Table(start, table.seq_num[chosen], table.time[chosen], table.timestamps[chosen], data, {})

    def _shown(self, key: str, rows: Rows, low: int, high: int) -> Rows:
        if key not in self._widened:
            return rows
        floats = np.asarray(rows).astype(np.float64)
        for row, value in self.stream.irregular(key, low, high).items():
            floats[row - low] = _float(value)
        return floats

    def _raw(self, start: int, stop: int) -> tuple[int, int, npt.NDArray[np.int64] | None]:
        """The stored rows around those visible rows, and which of them count, from the first; None: all of them."""
        if isinstance(self._visible, slice):
            return start, min(stop, self.rows), None
        chosen = self._visible[start:stop]
        if not len(chosen):
            return 0, 0, chosen
        low = int(chosen.min())
        return low, int(chosen.max()) + 1, chosen - low


def take(rows: Rows, chosen: npt.NDArray[np.int64] | None) -> Rows:
    """The chosen ones of some rows; None: all."""
    if chosen is None:
        return rows
    return [rows[i] for i in chosen] if isinstance(rows, list) else rows[chosen]


def _is_integer(column: Column) -> bool:
    encoding = column.encoding
    return isinstance(encoding, NumericEncoding) and not encoding.shape and encoding.dtype.kind in "biu"


def _float(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan
