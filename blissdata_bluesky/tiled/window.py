"""The rows of a stream that one request sees: a fixed number, the last of each seq_num."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from ..mapping.exact import exact_cast, numeric_array
from ..protocol import Array, NumericEncoding, Rows
from ..runs import Column, RunStream, Table
from .visible import VisibleRows, take, visible_events

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
    def visible(self) -> VisibleRows:
        """Which of the rows are shown."""
        return visible_events(self.stream, self.rows)

    def __len__(self) -> int:
        return len(self.visible)

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """The data keys whose values are in the events, as they are shown."""
        return {
            key: replace(column, encoding=_FLOAT) if key in self._widened else column
            for key, column in self.stream.columns.items()
            if key not in self.stream.external
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
        low, high, chosen = self.visible.stored(start, stop)
        rows = self.stream.read(key, low, high)
        if _is_scalar(self.stream.columns[key]):
            rows = self._scalars(key, rows, low, self.stream.irregular(key, low, high))
        return take(rows, chosen)

    def table(self, keys: Iterable[str], start: int, stop: int, *, timestamps: bool = True) -> Table:
        """Visible rows `start` to `stop` of several keys with times; `irregular` is left out.

        `timestamps`: False leaves them out as well, which are as much as all scalars together.
        """
        low, high, chosen = self.visible.stored(start, stop)
        table = self.stream.table(keys, low, high) if timestamps else self._without_timestamps(keys, low, high)
        data = {key: take(self._shown(key, rows, low, table.irregular), chosen) for key, rows in table.data.items()}
        if chosen is None:
            return Table(start, table.seq_num, table.time, table.timestamps, data, {})
        return Table(start, table.seq_num[chosen], table.time[chosen], table.timestamps[chosen], data, {})

    def _without_timestamps(self, keys: Iterable[str], low: int, high: int) -> Table:
        stream, data = self.stream, self.stream.read_many(keys, low, high)
        irregular = {key: stream.irregular(key, low, high) for key in data}
        none = np.empty((high - low, 0))
        return Table(low, stream.seq_num(low, high), stream.time(low, high), none, data, irregular)

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
    return number if isinstance(value, int | float) and number.item() == value else dtype.type(math.nan)


def _lists(encoding: NumericEncoding, rows: Rows, low: int, values: Mapping[int, Any]) -> list[Any]:
    shown: list[Any] = list(rows)
    for row, value in values.items():
        shown[row - low] = _list(value, encoding)
    return shown


def _list(value: Any, encoding: NumericEncoding) -> Array | None:
    """The value as an array of the encoding's dtype and depth, None when it is no such list."""
    given = numeric_array(value)
    if given is None or given.ndim != len(encoding.shape):
        return None
    return exact_cast(given, encoding.dtype)
