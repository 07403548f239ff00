"""The exact values and timestamps that the columns of a stream could not hold."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from .growing import GrowingArray
from .layout import StoredColumn
from .reader import ColumnReader


class Irregular(NamedTuple):
    """Key → row → what came, of some rows."""

    values: dict[str, dict[int, Any]]
    timestamps: dict[str, dict[int, Any]]


class IrregularValues:
    """Finds them by row. Thread-safe."""

    def __init__(self, reader: ColumnReader, column: StoredColumn) -> None:
        self._reader = reader
        self._column = column
        self._rows = GrowingArray(np.empty(0, np.int64))
        self._lock = threading.Lock()

    def between(self, start: int, stop: int, count: int) -> Irregular:
        """Those of the rows `start` to `stop`; `count` is how many there are altogether.

        Raises what `ColumnReader.read` raises.
        """
        rows = self._rows_of(count)
        places = np.flatnonzero((rows >= start) & (rows < stop))
        found = Irregular({}, {})
        if len(places):
            for one in self._read(int(places[0]), int(places[-1]) + 1, count):
                if start <= one["row"] < stop:
                    for kind, member in ((found.values, "value"), (found.timestamps, "timestamp")):
                        if member in one:
                            kind.setdefault(one["key"], {})[one["row"]] = one[member]
        return found

    def _rows_of(self, count: int) -> Any:
        with self._lock:
            known = len(self._rows)
            if known < count:
                new = [value["row"] for value in self._read(known, count, count)]
                self._rows.append(np.array(new, np.int64))
            return self._rows.read(0, count)

    def _read(self, start: int, stop: int, count: int) -> list[Any]:
        (values,) = self._reader.read([self._column], start, stop, count)
        return list(values)
