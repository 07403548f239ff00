"""The columns of one Bluesky stream, as they are stored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DamagedRunError
from ..protocol import (
    REFERENCES,
    Encoding,
    JsonEncoding,
    NumericEncoding,
    Rows,
    encoding_from_json,
    has_references,
    stream_key,
    stream_name,
    stream_pk,
)
from .interface import Column, Document


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One data stream."""

    name: str
    """blissdata's name, `primary:det`."""
    key: str
    """Its key in Redis; it follows from the run's uid and the name."""
    encoding: Encoding

    @property
    def row_bytes(self) -> int | None:
        """Bytes of one row; None when rows differ in size."""
        encoding = self.encoding
        if isinstance(encoding, JsonEncoding) or encoding.ragged:
            return None
        return encoding.dtype.itemsize * math.prod(encoding.shape)

    @property
    def no_rows(self) -> Rows:
        """No rows, in the form in which rows come."""
        return no_rows(self.encoding)


@dataclass(frozen=True, slots=True)
class Layout:
    """All data streams of one Bluesky stream, as the scan declares them."""

    columns: Mapping[str, Column]
    data: Mapping[str, StoredColumn]
    """Data key → its rows, in the order of `columns`."""
    time: StoredColumn
    seq_num: StoredColumn
    timestamps: StoredColumn | None

    @property
    def stored(self) -> tuple[StoredColumn, ...]:
        """Every column that a row needs to be whole."""
        companions = (self.time, self.seq_num, *([self.timestamps] if self.timestamps else []))
        return (*self.data.values(), *companions)


def declared_layout(uid: str, stream: str, descriptor: Document, data_streams: Mapping[str, Any]) -> Layout:
    """The data streams of the Bluesky stream `stream`, from the `data_streams` of the run.

    Raises DamagedRunError when the scan does not declare what its rows need.
    """
    own = {name: model for name, model in data_streams.items() if _bluesky(model).get("stream") == stream}
    names = {
        _bluesky(model)["key"]: name
        for name, model in own.items()
        if "key" in _bluesky(model) and not has_references(model)
    }
    data_keys = descriptor["data_keys"]
    order = [*(key for key in data_keys if key in names), *(key for key in names if key not in data_keys)]
    data = {key: _stored(uid, names[key], data_streams) for key in order}
    prefix = stream_name(stream, "")
    columns = {
        key: Column(key, names[key].removeprefix(prefix), data[key].encoding, data_keys.get(key, {})) for key in order
    }
    for name in ("time", "seq_num"):
        if prefix + name not in data_streams:
            raise DamagedRunError(
                f"run {uid} has rows of the stream {stream!r}, but declares no {prefix + name!r}: it was not published "
                "by this package, or by a newer version"
            )
    timestamps = _stored(uid, prefix + "timestamps", data_streams) if prefix + "timestamps" in data_streams else None
    time, seq_num = (_stored(uid, prefix + name, data_streams) for name in ("time", "seq_num"))
    return Layout(columns, data, time, seq_num, timestamps)


def time_column(uid: str, stream: str) -> StoredColumn:
    """The event times: rows exist when it does."""
    name = stream_name(stream, "time")
    return StoredColumn(name, stream_key(stream_pk(uid, name)), NumericEncoding(np.dtype("<f8")))


def reference_column(uid: str, stream: str, name: str) -> StoredColumn:
    """The references to frames in files; they have rows, and a number of them, of their own."""
    column = stream_name(stream, name)
    return StoredColumn(column, stream_key(stream_pk(uid, column)), REFERENCES)


def irregular_column(uid: str, stream: str) -> StoredColumn:
    """The exact values that columns could not hold; the data stream exists only when there are any."""
    name = stream_name(stream, "irregular")
    return StoredColumn(name, stream_key(stream_pk(uid, name)), JsonEncoding())


def no_rows(encoding: Encoding) -> Rows:
    """No rows, in the form in which rows of this encoding come."""
    if isinstance(encoding, JsonEncoding) or encoding.ragged:
        return []
    return np.empty((0, *encoding.shape), encoding.dtype)


def _stored(uid: str, name: str, data_streams: Mapping[str, Any]) -> StoredColumn:
    return StoredColumn(name, stream_key(stream_pk(uid, name)), encoding_from_json(data_streams[name]["encoding"]))


def _bluesky(model: Mapping[str, Any]) -> Mapping[str, Any]:
    info = model["info"].get("bluesky", {})
    return info if isinstance(info, Mapping) else {}
