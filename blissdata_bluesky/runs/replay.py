"""A run's documents in order, with the events rebuilt from the rows."""

from __future__ import annotations

import heapq
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..names import run_uuid
from ..protocol import MISSING, DocumentEntry, NumericEncoding, Rows
from .interface import Column, Document, RunStream, Table

Named: TypeAlias = tuple[str, Document]

ROWS_AT_ONCE = 1000
_BYTES_AT_ONCE = 16 * 2**20


def replay(uid: str, entries: Sequence[DocumentEntry], streams: Mapping[str, RunStream]) -> Iterator[Named]:
    """All documents: `entries` at the place that their row counts say, events between them in the order of time.

    While the run goes on, the last ones are the events that are whole when their turn comes.
    """
    done = dict.fromkeys(streams, 0)
    descriptors: dict[str, Document] = {}
    for entry in entries:
        yield from _events(uid, streams, descriptors, done, entry.rows)
        if entry.name == "descriptor":
            descriptors[stream_of(entry.document)] = entry.document
        yield entry.name, entry.document
    if not any(entry.name == "stop" for entry in entries):
        yield from _events(uid, streams, descriptors, done, {name: stream.rows() for name, stream in streams.items()})


def stream_of(descriptor: Document) -> str:
    """Name of the Bluesky stream that a descriptor belongs to."""
    return str(descriptor["name"])


def event_uid(uid: str, stream: str, row: int) -> str:
    """The uid of the event that is row `row`: the same whenever and from whatever source it is rebuilt."""
    return str(uuid.uuid5(run_uuid(uid), f"event:{row}:{stream}"))


def _events(
    uid: str,
    streams: Mapping[str, RunStream],
    descriptors: Mapping[str, Document],
    done: dict[str, int],
    until: Mapping[str, int],
) -> Iterator[Named]:
    """The events up to the row counts `until`; `done` moves on to them."""
    waiting = [
        _stream_events(uid, streams[name], descriptor, done[name], until[name])
        for name, descriptor in descriptors.items()
        if until.get(name, 0) > done[name]
    ]
    done.update({name: max(done[name], until.get(name, 0)) for name in done})
    for event in heapq.merge(*waiting, key=lambda event: event["time"]):
        yield "event", event


def _stream_events(uid: str, stream: RunStream, descriptor: Document, start: int, stop: int) -> Iterator[Document]:
    step = _rows_at_once(stream.columns.values())
    for first in range(start, stop, step):
        table = stream.table(start=first, stop=min(first + step, stop))
        yield from _rebuilt(uid, stream, descriptor, table)


def _rows_at_once(columns: Iterable[Column]) -> int:
    encodings = [column.encoding for column in columns]
    size = sum(e.dtype.itemsize * math.prod(map(abs, e.shape)) for e in encodings if isinstance(e, NumericEncoding))
    return max(1, min(ROWS_AT_ONCE, _BYTES_AT_ONCE // max(1, size)))


def _rebuilt(uid: str, stream: RunStream, descriptor: Document, table: Table) -> Iterator[Document]:
    keys = tuple(stream.columns)
    columns = [_exact_values(table, key) for key in keys]
    undescribed = [key for key in table.irregular if key not in stream.columns]
    external = {key for key, column in stream.columns.items() if "external" in column.data_key}
    timestamps = table.timestamps.tolist()
    for i, (seq_num, time) in enumerate(zip(table.seq_num.tolist(), table.time.tolist(), strict=True)):
        row = table.start + i
        data = {key: column[i] for key, column in zip(keys, columns, strict=True) if column[i] is not MISSING}
        data |= {key: table.irregular[key][row] for key in undescribed if row in table.irregular[key]}
        yield {
            "uid": event_uid(uid, stream.name, row),
            "time": time,
            "seq_num": seq_num,
            "descriptor": descriptor["uid"],
            "data": data,
            "timestamps": {key: at for key, at in zip(keys, timestamps[i], strict=True) if key in data},
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
