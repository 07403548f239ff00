"""Rows of a data stream as Redis entries and back (blissdata/streams/encoding, blissdata/streams/event_stream)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import ormsgpack

from ..errors import DamagedRunError
from .tagged import dump_json, load_json

Array: TypeAlias = npt.NDArray[Any]
RawEntry: TypeAlias = tuple[bytes, Mapping[bytes, bytes]]
RawAnswer: TypeAlias = Sequence[tuple[bytes, list[bytes]]]

_SEAL_INDEX = 2**64 - 1
# A reader that wants one point decodes the whole entry it stands in.
_ENTRY_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class NumericEncoding:
    """One array of `dtype` and `shape` per row; -1 in `shape` is a length that differs from row to row."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    @property
    def ragged(self) -> bool:
        """Whether rows may differ in shape."""
        return -1 in self.shape

    def to_json(self) -> dict[str, Any]:
        """The `encoding` member of a stream's model."""
        return {"type": "numeric", "dtype_str": self.dtype.str, "shape": list(self.shape)}

    def stream_info(self) -> dict[str, Any]:
        """What blissdata's own stream definition puts into the stream's `info`."""
        return {"dtype": self.dtype.name, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class JsonEncoding:
    """One JSON value per row, tagged where JSON lacks the type (`tag`)."""

    def to_json(self) -> dict[str, Any]:
        """The `encoding` member of a stream's model."""
        return {"type": "json"}

    def stream_info(self) -> dict[str, Any]:
        """What blissdata's own stream definition puts into the stream's `info`."""
        return {}


Encoding: TypeAlias = NumericEncoding | JsonEncoding
Rows: TypeAlias = Array | list[Any]


def encoding_from_json(model: Mapping[str, Any]) -> Encoding:
    """The encoding that a stream's model describes. Raises DamagedRunError for an unknown one."""
    match model:
        case {"type": "numeric", "dtype_str": str(dtype), "shape": list(shape)}:
            return NumericEncoding(np.dtype(dtype), tuple(shape))
        case {"type": "json"}:
            return JsonEncoding()
    raise DamagedRunError(f"unknown stream encoding {model!r}: read this scan with a newer blissdata-bluesky")


@dataclass(frozen=True, slots=True)
class Entry:
    """`length` rows that start at row `index`, as one entry of a Redis stream."""

    index: int
    length: int
    payload: bytes

    @property
    def id(self) -> str:
        """The entry id, which names the first row."""
        return f"{self.index}-1"

    @property
    def fields(self) -> dict[str, bytes | int]:
        """The entry's fields; `len` is left out for a single row, as blissdata does."""
        return {"payload": self.payload, "len": self.length} if self.length > 1 else {"payload": self.payload}


def encode(encoding: Encoding, index: int, rows: Rows) -> list[Entry]:
    """Entries for `rows`, the first of which is row `index`.

    Fixed shape: an array of shape (rows, *shape), or a list of arrays, several rows an entry. Ragged: a list of
    arrays, consecutive rows of one shape an entry. JSON: a list of values, one row an entry.
    """
    if isinstance(encoding, JsonEncoding):
        return [Entry(index + i, 1, dump_json(value)) for i, value in enumerate(rows)]
    if encoding.ragged:
        return list(_ragged_entries(encoding, index, rows))
    step = max(1, _ENTRY_BYTES // max(1, encoding.dtype.itemsize * math.prod(encoding.shape)))
    return [
        Entry(index + start, min(step, len(rows) - start), _payload(encoding, rows, start, start + step))
        for start in range(0, len(rows), step)
    ]


def _payload(encoding: NumericEncoding, rows: Rows, start: int, stop: int) -> bytes:
    # a large array is not copied into a block of one
    block = rows[start] if stop == start + 1 else rows[start:stop]
    return np.asarray(block, encoding.dtype).tobytes()


def _ragged_entries(encoding: NumericEncoding, index: int, rows: Rows) -> Iterator[Entry]:
    start = 0
    while start < len(rows):
        shape = np.shape(rows[start])
        most = max(1, _ENTRY_BYTES // max(1, encoding.dtype.itemsize * math.prod(shape)))
        stop = start + 1
        while stop < len(rows) and stop - start < most and np.shape(rows[stop]) == shape:
            stop += 1
        block = np.ascontiguousarray(rows[start:stop], encoding.dtype)
        yield Entry(index + start, stop - start, ormsgpack.packb((shape, block.tobytes())))
        start = stop


def decode(encoding: Encoding, entries: Sequence[Entry]) -> Rows:
    """The rows of consecutive entries: an array (rows, *shape), or a list for ragged and JSON streams.

    Arrays may be read-only. Raises DamagedRunError when a payload does not fit the encoding.
    """
    try:
        if isinstance(encoding, JsonEncoding):
            return [load_json(entry.payload) for entry in entries]
        if encoding.ragged:
            return [row for entry in entries for row in _ragged_rows(encoding, entry)]
        payload = entries[0].payload if len(entries) == 1 else b"".join(entry.payload for entry in entries)
        return np.frombuffer(payload, encoding.dtype).reshape(-1, *encoding.shape)
    except (ValueError, TypeError, IndexError) as error:
        raise DamagedRunError(f"a stream entry does not fit its encoding {encoding}: {error}") from error


def _ragged_rows(encoding: NumericEncoding, entry: Entry) -> Array:
    shape, payload = ormsgpack.unpackb(entry.payload)
    return np.frombuffer(payload, encoding.dtype).reshape(entry.length, *shape)


def raw_entries(answer: RawAnswer) -> list[RawEntry]:
    """Entries in the form that is parsed here, from Redis's own answer to XRANGE and its like."""
    return [(identifier, dict(zip(fields[::2], fields[1::2], strict=True))) for identifier, fields in answer]


def parse_entry(raw: RawEntry) -> Entry | None:
    """One entry as Redis returns it; None for the seal."""
    index = int(raw[0].split(b"-", 1)[0])
    if index == _SEAL_INDEX:
        return None
    return Entry(index, int(raw[1].get(b"len", 1)), raw[1][b"payload"])


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """How far a data stream reaches: its number of rows, and whether it is sealed (no row will follow)."""

    rows: int = 0
    sealed: bool = False

    @classmethod
    def from_last(cls, raw: Sequence[RawEntry]) -> StreamEnd:
        """From the answer to `XREVRANGE key + - COUNT 1`."""
        if not raw:
            return cls()
        entry = parse_entry(raw[0])
        if entry is None:
            return cls(int(raw[0][1][b"id"]), sealed=True)
        return cls(entry.index + entry.length)


def skip_rows(encoding: Encoding, entry: Entry, first: int) -> Entry | None:
    """The part of an entry from row `first` on; None when all of it comes before."""
    if entry.index >= first:
        return entry
    if entry.index + entry.length <= first:
        return None
    return encode(encoding, first, decode(encoding, [entry])[first - entry.index :])[0]
