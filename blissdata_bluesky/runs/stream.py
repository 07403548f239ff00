"""One Bluesky stream of a run, wherever it is stored."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..mapping.external import is_external
from ..names import escape_keys
from ..protocol import JsonEncoding, Rows
from .cache import ColumnCache
from .expected import expected_columns
from .external import (
    DatumReferences,
    FileDocuments,
    References,
    StoredExternal,
    StoredFrames,
    StreamReferences,
    check_rows,
)
from .interface import Column, Document, ExternalColumn, Table
from .irregular import IrregularValues
from .layout import Layout, StoredColumn, declared_layout, irregular_column, no_rows, reference_column
from .reach import Reach
from .reader import ColumnReader
from .store import Extent, RunStore


@dataclass(frozen=True, slots=True)
class _Declared:
    """The layout, and which of the store's sources declared it."""

    layout: Layout
    origin: str


class StoredStream:
    """The rows of one Bluesky stream (`RunStream`). Thread-safe."""

    def __init__(
        self,
        store: RunStore,
        cache: ColumnCache,
        uid: str,
        descriptor: Document,
        resources: FileDocuments,
    ) -> None:
        self._store = store
        self._uid = uid
        self._name = str(descriptor["name"])
        self._about = f"run {uid}, stream {self._name!r}"
        self._reader = ColumnReader(store, cache, self._about)
        self._irregular_column = irregular_column(uid, self._name)
        self._irregular = IrregularValues(self._reader, self._irregular_column)
        self._declared: _Declared | None = None
        self._columns: Mapping[str, Column] = expected_columns(descriptor)
        self._reach = self._new_reach()
        self._declaring = threading.Lock()
        self.descriptors: tuple[Document, ...] = (descriptor,)
        self.lost = False
        """Whether rows that were there are gone: the run was deleted or is being published again."""
        self._external = self._external_columns(descriptor, resources)

    @property
    def name(self) -> str:
        return self._name

    @property
    def columns(self) -> Mapping[str, Column]:
        return self._columns

    @property
    def external(self) -> Mapping[str, ExternalColumn]:
        return {key: column for key, column in self._external.items() if self._is_in_files(key)}

    def add_descriptor(self, descriptor: Document) -> None:
        """Take over a further descriptor of this stream. It may stand in the documents more than once."""
        if all(known["uid"] != descriptor["uid"] for known in self.descriptors):
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
        return self._irregular.between(start, stop, self._reach.extent.irregular).values.get(key, {})

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
        irregular = self._irregular.between(start, stop, self._reach.extent.irregular)
        return Table(start, seq_num, time, timestamps, data, irregular.values, irregular.timestamps)

    def _external_columns(self, descriptor: Document, resources: FileDocuments) -> Mapping[str, StoredExternal]:
        names = escape_keys(descriptor["data_keys"])
        found = {}
        for key, data_key in descriptor["data_keys"].items():
            if is_external(data_key):
                about = f"{self._about}, key {key!r}"
                name, references = self._references(key, names[key], about)
                frames = StoredFrames(resources, about, key, descriptor)
                found[key] = StoredExternal(key, name, data_key, references, frames)
        return found

    def _references(self, key: str, name: str, about: str) -> tuple[str, References]:
        """The name and the references of an external key; `name`: what it is unless events have the key."""
        if column := self._columns.get(key):
            return column.name, DatumReferences(self, key)
        stored = reference_column(self._uid, self._name, name)
        return name, StreamReferences(self._reader, self._new_reach(), stored, about)

    def _is_in_files(self, key: str) -> bool:
        """Whether events lack the key, or have datum ids: where a detector was read at once they have the values."""
        column = self._columns.get(key)
        return column is None or self._declared is None or isinstance(column.encoding, JsonEncoding)

    def _known(self, keys: Iterable[str]) -> list[str]:
        keys = list(keys)
        for key in keys:
            if key not in self._columns:
                raise KeyError(f"{self._about} has no data key {key!r}; it has {', '.join(self._columns) or 'none'}")
        return keys

    def _range(self, start: int, stop: int | None) -> tuple[int, int, Layout | None]:
        """The whole rows of a slice, and where they are; no layout when there are none."""
        check_rows(start, stop, self._about)
        if stop is None or stop > self._reach.extent.rows or self._is_outdated():
            rows = self.rows()
            stop = rows if stop is None else min(stop, rows)
        stop = max(start, stop)
        return start, stop, self._declared.layout if self._declared else None

    def _ask_extent(self) -> Extent:
        if self._is_outdated():
            self._declare()
        declared = self._declared or self._declare()
        return self._reach.ask(declared.layout.stored) if declared else Extent()

    def _new_reach(self) -> Reach:
        return Reach(self._store, self._irregular_column, self._about, self._lose)

    def _lose(self) -> None:
        self.lost = True
        self.forget()

    def _is_outdated(self) -> bool:
        return self._declared is not None and self._declared.origin != self._store.origin

    def _declare(self) -> _Declared | None:
        """Take the layout, as soon as there are rows: before, columns may still be added."""
        origin = self._store.origin
        data_streams = self._store.declared(self._name)
        if data_streams is None:
            return None
        layout = declared_layout(self._uid, self._name, self.descriptors[0], data_streams)
        with self._declaring:
            if self._declared is not None and self._declared.layout != layout:
                # a column that was declared before its first value came may be another one in the file: then values
                # are irregular in one source and not in the other
                self._irregular, self._reach = (
                    IrregularValues(self._reader, self._irregular_column),
                    self._new_reach(),
                )
                self.forget()
            self._declared, self._columns = _Declared(layout, origin), layout.columns
            return self._declared

    def _read(self, columns: Sequence[StoredColumn], start: int, stop: int) -> list[Rows]:
        return self._reader.read(columns, start, stop, self._reach.extent.rows)
