"""One Bluesky stream of a run in Redis."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..protocol import Rows, scan_key
from .cache import ColumnCache
from .expected import expected_columns
from .extent import Extent, ask_extent
from .interface import Column, Document, Table
from .irregular import IrregularValues
from .layout import Layout, StoredColumn, declared_layout, irregular_column, no_rows, time_key
from .link import Command, RedisLink
from .reader import ColumnReader

logger = logging.getLogger(__name__)


class RedisRunStream:
    """The rows of one Bluesky stream (`RunStream`). Thread-safe."""

    def __init__(self, link: RedisLink, cache: ColumnCache, uid: str, descriptor: Document) -> None:
        self._link = link
        self._uid = uid
        self._name = str(descriptor["name"])
        self._about = f"run {uid}, stream {self._name!r}"
        self._reader = ColumnReader(link, cache, self._about)
        self._irregular_column = irregular_column(uid, self._name)
        self._irregular = IrregularValues(self._reader, self._irregular_column)
        self._layout: Layout | None = None
        self._columns: Mapping[str, Column] = expected_columns(descriptor)
        self._extent = Extent()
        self._extent_lock = threading.Lock()
        self.descriptors: tuple[Document, ...] = (descriptor,)
        self.lost = False
        """Whether rows that were there are gone: the run was deleted or is being published again."""

    @property
    def name(self) -> str:
        return self._name

    @property
    def columns(self) -> Mapping[str, Column]:
        return self._columns

    def add_descriptor(self, descriptor: Document) -> None:
        """Take over a further descriptor of this stream."""
        self.descriptors = (*self.descriptors, descriptor)

    def forget(self) -> None:
        """Drop what is cached of this stream."""
        self._reader.forget()

    def rows(self) -> int:
        return self._ask_extent().rows

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Rows:
        return self.read_many([key], start, stop)[key]

    def read_many(self, keys: Iterable[str], start: int = 0, stop: int | None = None) -> dict[str, Rows]:
        keys = self._known(keys)
        start, stop, layout = self._range(start, stop)
        if layout is None:
            return {key: no_rows(self._columns[key].encoding) for key in keys}
        return dict(zip(keys, self._read([layout.data[key] for key in keys], start, stop), strict=True))

    def time(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
        start, stop, layout = self._range(start, stop)
        return np.asarray(self._read([layout.time], start, stop)[0]) if layout else np.empty(0)

    def seq_num(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        start, stop, layout = self._range(start, stop)
        return np.asarray(self._read([layout.seq_num], start, stop)[0]) if layout else np.empty(0, np.int64)

    def timestamps(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
        start, stop, layout = self._range(start, stop)
        if layout is None or layout.timestamps is None:
            return np.empty((stop - start if layout else 0, len(self._columns)))
        return np.asarray(self._read([layout.timestamps], start, stop)[0])

    def irregular(self, key: str, start: int = 0, stop: int | None = None) -> Mapping[int, Any]:
        self._known([key])
        start, stop, _ = self._range(start, stop)
        return self._irregular.between(start, stop, self._extent.irregular).get(key, {})

    def table(self, keys: Iterable[str] | None = None, start: int = 0, stop: int | None = None) -> Table:
        keys = list(self._columns) if keys is None else self._known(keys)
        start, stop, layout = self._range(start, stop)
        if layout is None:
            nothing = {key: no_rows(self._columns[key].encoding) for key in keys}
            no_times = np.empty((0, len(self._columns)))
            return Table(start, np.empty(0, np.int64), np.empty(0), no_times, nothing, {})
        companions = [layout.seq_num, layout.time, *([layout.timestamps] if layout.timestamps else [])]
        read = self._read([*companions, *(layout.data[key] for key in keys)], start, stop)
        seq_num, time, *rest = map(np.asarray, read[: len(companions)])
        timestamps = rest[0] if rest else np.empty((stop - start, 0))
        data = dict(zip(keys, read[len(companions) :], strict=True))
        return Table(
            start, seq_num, time, timestamps, data, self._irregular.between(start, stop, self._extent.irregular)
        )

    def _known(self, keys: Iterable[str]) -> list[str]:
        keys = list(keys)
        for key in keys:
            if key not in self._columns:
                raise KeyError(f"{self._about} has no data key {key!r}; it has {', '.join(self._columns) or 'none'}")
        return keys

    def _range(self, start: int, stop: int | None) -> tuple[int, int, Layout | None]:
        """The whole rows of a slice, and where they are; no layout when there are none."""
        if start < 0 or (stop is not None and stop < 0):
            raise ValueError(f"{self._about}: rows are counted from 0, {start} to {stop} cannot be read")
        rows = self._extent.rows
        if stop is None or stop > rows:
            rows = self.rows()
            stop = rows if stop is None else min(stop, rows)
        stop = max(start, stop)
        return start, stop, self._layout

    def _ask_extent(self) -> Extent:
        known, layout = self._extent, self._layout or self._declared()
        if known.sealed or layout is None:
            return known
        now = ask_extent(self._link, layout.stored, self._irregular_column, known, self._about)
        with self._extent_lock:
            if now.rows < known.rows:
                self._lose(now.rows)
            elif now.rows >= self._extent.rows:
                self._extent = now
            return self._extent

    def _lose(self, rows: int) -> None:
        if not self.lost:
            logger.warning("%s: %d rows became %d; was the Redis emptied?", self._about, self._extent.rows, rows)
        self.lost = True
        self.forget()

    def _declared(self) -> Layout | None:
        """The layout, as soon as there are rows: before, columns may still be added."""
        last: Command = ("XREVRANGE", time_key(self._uid, self._name), "+", "-", "COUNT", 1)
        (answer,) = self._link.ask([last], self._about)
        if not answer:
            return None
        (data_streams,) = self._link.ask([("JSON.GET", scan_key(self._uid), ".data_streams")], self._about)
        if data_streams is None:
            return None
        layout = declared_layout(self._name, self.descriptors[0], json.loads(data_streams))
        self._layout, self._columns = layout, layout.columns
        return layout

    def _read(self, columns: Sequence[StoredColumn], start: int, stop: int) -> list[Rows]:
        return self._reader.read(columns, start, stop, self._extent.rows)
