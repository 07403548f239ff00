"""The rows of a stream that one request sees: a fixed number, the last of each seq_num."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..protocol import Rows
from ..runs import RunStream, Table, last_of_each


class Window:
    """The first `rows` rows of a stream as tables show them (DESIGN 10). Everything in it may wait for the source."""

    def __init__(self, stream: RunStream, rows: int) -> None:
        self.stream = stream
        self.rows = rows

    @cached_property
    def _visible(self) -> npt.NDArray[np.int64] | slice:
        return last_of_each(self.stream.seq_num(0, self.rows))

    def __len__(self) -> int:
        return self.rows if isinstance(self._visible, slice) else len(self._visible)

    def read(self, key: str, start: int, stop: int) -> Rows:
        """Visible rows `start` to `stop` of one data key, as `RunStream.read` gives them."""
        low, high, chosen = self._raw(start, stop)
        return take(self.stream.read(key, low, high), chosen)

    def table(self, keys: Iterable[str], start: int, stop: int) -> Table:
        """Visible rows `start` to `stop` of several keys with times; `irregular` is left out."""
        low, high, chosen = self._raw(start, stop)
        table = self.stream.table(keys, low, high)
        if chosen is None:
            return table
        data = {key: take(rows, chosen) for key, rows in table.data.items()}
        return Table(start, table.seq_num[chosen], table.time[chosen], table.timestamps[chosen], data, {})

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
