"""Data keys whose values are in files of detectors: references out of the store, frames out of the files."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..external import Frames, Roots
from ..protocol import Array, DocumentEntry
from .interface import Document, RunStream
from .layout import StoredColumn
from .reach import Reach
from .reader import ColumnReader

_KINDS = frozenset({"descriptor", "stream_resource", "stream_datum", "resource", "datum", "datum_page"})
# of the frames that are read, so much is held twice
_PORTION_BYTES = 64 * 2**20

Found: TypeAlias = Array | list[Any]
"""Rows (resource, index, seq_num), or what events have in the place of datum ids."""


class FileDocuments:
    """The documents of a run that say where external data is, in order, and the directories where it may be.

    `refresh` asks for documents that came since.
    """

    def __init__(self, roots: Roots, refresh: Callable[[], None]) -> None:
        self.roots = roots
        self.refresh = refresh
        self._documents: list[tuple[str, Document]] = []
        self._streams = 0
        self._datums: set[Any] = set()

    def add(self, entries: Iterable[DocumentEntry]) -> None:
        """Take over further documents of the run, the others among them too; one thread at a time."""
        for entry in entries:
            if entry.name not in _KINDS:
                continue
            self._documents.append((entry.name, entry.document))
            self._streams += entry.name == "stream_resource"
            self._datums.update(filter(_is_id, _datum_ids(entry.document)))

    def since(self, count: int) -> Sequence[tuple[str, Document]]:
        """All but the first `count`."""
        return self._documents[count:]

    def know(self, references: Found) -> bool:
        """Whether the documents are here that the references lead to."""
        if isinstance(references, np.ndarray):
            return int(references[:, 0].max(initial=-1)) < self._streams
        return self._datums.issuperset(filter(_is_id, references))


class References(Protocol):
    """The references of one data key, row by row."""

    def rows(self) -> int:
        """How many there are now."""

    def read(self, start: int, stop: int | None) -> Found:
        """Those of some rows, as of `RunStream.read`."""

    def seq_num(self, start: int, stop: int | None) -> npt.NDArray[np.int64]:
        """Of some rows."""


class StreamReferences:
    """Those that stream_datums brought: a column of its own, which grows whether there are events or not."""

    def __init__(self, reader: ColumnReader, reach: Reach, column: StoredColumn, about: str) -> None:
        self._reader = reader
        self._reach = reach
        self._column = column
        self._about = about

    def rows(self) -> int:
        return self._reach.ask([self._column]).rows

    def read(self, start: int, stop: int | None) -> Array:
        check_rows(start, stop, self._about)
        if stop is None or stop > self._reach.extent.rows:
            rows = self.rows()
            stop = rows if stop is None else min(stop, rows)
        (found,) = self._reader.read([self._column], start, stop, self._reach.extent.rows)
        return np.asarray(found)

    def seq_num(self, start: int, stop: int | None) -> npt.NDArray[np.int64]:
        return self.read(start, stop)[:, 2]


class DatumReferences:
    """Those that stand in the events: a datum id for each."""

    def __init__(self, stream: RunStream, key: str) -> None:
        self._stream = stream
        self._key = key

    def rows(self) -> int:
        return self._stream.rows()

    def read(self, start: int, stop: int | None) -> list[Any]:
        return list(self._stream.read(self._key, start, stop))

    def seq_num(self, start: int, stop: int | None) -> npt.NDArray[np.int64]:
        return self._stream.seq_num(start, stop)


class StoredFrames:
    """The frames of one data key of a run whose documents are still coming. Thread-safe."""

    def __init__(self, resources: FileDocuments, about: str, key: str, descriptor: Document) -> None:
        self._resources = resources
        self._frames = Frames(about, key, descriptor, resources.roots)
        self._taken = 0
        self._lock = threading.Lock()

    def now(self) -> Frames:
        """With the documents that are known."""
        with self._lock:
            for name, document in self._resources.since(self._taken):
                self._frames.take(name, document)
                self._taken += 1
        return self._frames

    def behind(self, references: Found) -> Frames:
        """With those that the references lead to: they may be newer than what is known, as no row needs a refresh."""
        if not self._resources.know(references):
            self._resources.refresh()
        return self.now()


class StoredExternal:
    """One such data key (`ExternalColumn`). Thread-safe."""

    def __init__(
        self, key: str, name: str, data_key: Mapping[str, Any], references: References, frames: StoredFrames
    ) -> None:
        self.key = key
        self.name = name
        self.data_key = data_key
        self._references = references
        self._frames = frames

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._frames.now().dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._frames.now().shape

    @property
    def joined(self) -> bool:
        return self._frames.now().joined

    def rows(self) -> int:
        return self._references.rows()

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        references = self._references.read(start, stop)
        frames = self._frames.behind(references)
        found = np.empty((len(references), *frames.shape), frames.dtype)
        step = max(1, _PORTION_BYTES // max(1, frames.dtype.itemsize * math.prod(frames.shape)))
        for first in range(0, len(references), step):
            found[first : first + step] = frames.read(references[first : first + step])
        return found

    def seq_num(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        return self._references.seq_num(start, stop)


def check_rows(start: int, stop: int | None, about: str) -> None:
    """Raise ValueError for rows that are counted from the end."""
    if start < 0 or (stop is not None and stop < 0):
        raise ValueError(f"{about}: rows are counted from 0, {start} to {stop} cannot be read")


def _is_id(reference: Any) -> bool:
    return isinstance(reference, str)


def _datum_ids(document: Document) -> list[Any]:
    """Of a datum or a datum_page; other documents have none."""
    found = document.get("datum_id")
    return found if isinstance(found, list) else [found]
