"""A run's documents in order, with the events rebuilt from the rows."""

from __future__ import annotations

import heapq
import itertools
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import RunUnavailableError
from ..names import run_uuid
from ..protocol import MISSING, DocumentEntry, NumericEncoding, Rows
from .interface import Column, Document, RunStream, Table

Named: TypeAlias = tuple[str, Document]

ROWS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 2**20


def replay(
    uid: str, entries: Sequence[DocumentEntry], streams: Mapping[str, RunStream], rows: Mapping[str, int]
) -> Iterator[Named]:
    """All documents: `entries` at the place that their row counts say, events between them in the order of time.

    Events of one stream stay in the order of arrival. A descriptor that stands in `entries` once more is that of its
    stream's next events. Events with the same time: those before such a descriptor come before those behind it;
    else, streams follow each other as their first descriptors do. `mapping.order` makes that the order of arrival.

    While the run goes on, the last events are those that `rows` counts, which have to be counted before the entries
    are looked at: what events refer to came before them.

    Raises what `RunStream.table` raises, and RunUnavailableError when rows are missing that the documents tell of.
    """
    last = {} if any(entry.name == "stop" for entry in entries) else rows
    events = {
        name: _events(uid, stream, max(last.get(name, 0), *(entry.rows.get(name, 0) for entry in entries)))
        for name, stream in streams.items()
    }
    merger = _Merger(events)
    described: set[str] = set()
    for entry in entries:
        merger.advance(entry.rows)
        again = entry.name == "descriptor" and entry.document["uid"] in described
        if not again:
            yield from merger.merged()
            yield entry.name, entry.document
        if entry.name == "descriptor":
            described.add(entry.document["uid"])
            merger.describe(entry.document)
    merger.advance(last)
    yield from merger.merged()


class _Merger:
    """Puts the events of several streams in one order."""

    def __init__(self, events: Mapping[str, Iterator[Document]]) -> None:
        self._events = events
        self._descriptors: dict[str, Document] = {}
        self._done = dict.fromkeys(events, 0)
        self._parts: dict[str, list[Iterator[tuple[int, Document]]]] = {}
        self._part = 0

    def describe(self, descriptor: Document) -> None:
        """What the next events of its stream have."""
        self._descriptors[stream_of(descriptor)] = descriptor

    def advance(self, rows: Mapping[str, int]) -> None:
        """Take the events up to these row counts for the next `merged`, behind those with the same time."""
        self._part += 1
        for name, descriptor in self._descriptors.items():
            count = rows.get(name, 0) - self._done[name]
            if count > 0:
                part = _described(itertools.islice(self._events[name], count), descriptor, self._part)
                self._parts.setdefault(name, []).append(part)
                self._done[name] += count

    def merged(self) -> Iterator[Named]:
        """The events that were taken."""
        parts, self._parts = self._parts, {}
        streams = [itertools.chain(*parts[name]) for name in self._descriptors if name in parts]
        for _, event in heapq.merge(*streams, key=lambda part: (part[1]["time"], part[0])):
            yield "event", event


def _described(events: Iterable[Document], descriptor: Document, part: int) -> Iterator[tuple[int, Document]]:
    for event in events:
        yield part, event | {"descriptor": descriptor["uid"]}


def stream_of(descriptor: Document) -> str:
    """Name of the Bluesky stream that a descriptor belongs to."""
    return str(descriptor["name"])


def event_uid(uid: str, stream: str, row: int) -> str:
    """The uid of the event that is row `row`: the same whenever and from whatever source it is rebuilt."""
    return str(uuid.uuid5(run_uuid(uid), f"event:{row}:{stream}"))


def _events(uid: str, stream: RunStream, stop: int) -> Iterator[Document]:
    """The events of a stream that have yet to be given their descriptors."""
    step = _rows_at_once(stream.columns.values())
    for first in range(0, stop, step):
        table = stream.table(start=first, stop=min(first + step, stop))
        yield from _rebuilt(uid, stream, table)
        if first + len(table) < min(first + step, stop):
            raise RunUnavailableError(
                f"run {uid}, stream {stream.name!r}: the documents tell of {stop} rows, but no source has more than "
                f"{first + len(table)} now; try again when the run has been archived or published again"
            )


def _rows_at_once(columns: Iterable[Column]) -> int:
    encodings = [column.encoding for column in columns]
    size = sum(e.dtype.itemsize * math.prod(map(abs, e.shape)) for e in encodings if isinstance(e, NumericEncoding))
    return max(1, min(ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, size)))


def _rebuilt(uid: str, stream: RunStream, table: Table) -> Iterator[Document]:
    keys = tuple(stream.columns)
    columns = [_exact_values(table, key) for key in keys]
    undescribed = [key for key in table.irregular if key not in stream.columns]
    external = {key for key, column in stream.columns.items() if "external" in column.data_key}
    timestamps = table.timestamps.tolist()
    for i, (seq_num, time) in enumerate(zip(table.seq_num.tolist(), table.time.tolist(), strict=True)):
        row = table.start + i
        data = {key: column[i] for key, column in zip(keys, columns, strict=True) if column[i] is not MISSING}
        data |= {key: table.irregular[key][row] for key in undescribed if row in table.irregular[key]}
        times = {key: at for key, at in zip(keys, timestamps[i], strict=True) if key in data}
        times |= {key: rows[row] for key, rows in table.irregular_timestamps.items() if row in rows}
        yield {
            "uid": event_uid(uid, stream.name, row),
            "time": time,
            "seq_num": seq_num,
            "data": data,
            "timestamps": times,
            # a reference that a Filler can replace is a string
            "filled": {key: not isinstance(data[key], str) for key in external if key in data},
        }


def _exact_values(table: Table, key: str) -> list[Any]:
    values = _python_values(table.data[key])
    for row, value in table.irregular.get(key, {}).items():
        values[row - table.start] = value
    return values


def _python_values(rows: Rows) -> list[Any]:
    """One value per row: Python's scalars, numpy's arrays."""
    return rows.tolist() if isinstance(rows, np.ndarray) and rows.ndim == 1 else list(rows)
