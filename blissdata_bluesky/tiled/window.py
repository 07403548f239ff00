"""The rows of a stream that one request sees: a fixed number, the last of each seq_num."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Array, NumericEncoding, Rows
from ..runs import Column, RunStream, Table, last_of_each

_FLOAT = NumericEncoding(np.dtype("<f8"))


class Window:
    """The first `rows` rows of a stream as tables show them (DESIGN 10). Everything in it may wait for the source.

    A column of integers or booleans some of whose values were no such thing is shown as float64: with the numbers
    that they were, and NaN for anything else. The 0 that fills their place in Redis would look like a measurement.
    So would a list of zeros: in a list column of `table` stands the list that came, whatever its length, and None for
    what is no list of such numbers. Only arrays have no other place than the fill for what has another shape.
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
        if _is_scalar(self.stream.columns[key]):
            rows = self._scalars(key, rows, low, self.stream.irregular(key, low, high))
        return take(rows, chosen)

    def table(self, keys: Iterable[str], start: int, stop: int) -> Table:
        """Visible rows `start` to `stop` of several keys with times; `irregular` is left out."""
        low, high, chosen = self._raw(start, stop)
        table = self.stream.table(keys, low, high)
        data = {key: take(self._shown(key, rows, low, table.irregular), chosen) for key, rows in table.data.items()}
        if chosen is None:
            return Table(start, table.seq_num, table.time, table.timestamps, data, {})
        return Table(start, table.seq_num[chosen], table.time[chosen], table.timestamps[chosen], data, {})

    def _shown(self, key: str, rows: Rows, low: int, irregular: Mapping[str, Mapping[int, Any]]) -> Rows:
        values = irregular.get(key, {})
        encoding = self.stream.columns[key].encoding
        if not isinstance(encoding, NumericEncoding):
            return rows
        if not encoding.shape:
            return self._scalars(key, rows, low, values)
        return _lists(encoding, rows, low, values) if values else rows

    def _scalars(self, key: str, rows: Rows, low: int, values: Mapping[int, Any]) -> Rows:
        widened = key in self._widened
        if not widened and not values:
            return rows
        shown = np.array(rows, np.float64 if widened else None)
        for row, value in values.items():
            # integers are shown as the nearest float, as all others of their column are
            shown[row - low] = _float(value) if widened else _exact(value, shown.dtype)
        return shown

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


def _is_scalar(column: Column) -> bool:
    return isinstance(column.encoding, NumericEncoding) and not column.encoding.shape


def _is_integer(column: Column) -> bool:
    encoding = column.encoding
    return isinstance(encoding, NumericEncoding) and not encoding.shape and encoding.dtype.kind in "biu"


def _float(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return math.nan


def _exact(value: Any, dtype: np.dtype[Any]) -> Any:
    """The number in a float or complex dtype, NaN when it is none or would have to be rounded."""
    with np.errstate(over="ignore"):
        number = dtype.type(_float(value))
    return number if number.item() == value else dtype.type(math.nan)


def _lists(encoding: NumericEncoding, rows: Rows, low: int, values: Mapping[int, Any]) -> list[Any]:
    shown: list[Any] = list(rows)
    for row, value in values.items():
        shown[row - low] = _list(value, encoding)
    return shown


def _list(value: Any, encoding: NumericEncoding) -> Array | None:
    """The value as an array of the encoding's dtype and depth, None when it is no such list."""
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    try:
        given = np.asarray(value)
    except ValueError:
        return None
    if given.ndim != len(encoding.shape) or given.dtype.kind not in "biufc":
        return None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        found = given.astype(encoding.dtype)
    return found if np.array_equal(found, given, equal_nan=True) else None
