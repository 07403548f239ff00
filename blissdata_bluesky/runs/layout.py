"""Where the columns of one Bluesky stream are in Redis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DamagedRunError
from ..protocol import (
    Encoding,
    JsonEncoding,
    Rows,
    encoding_from_json,
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
    """Its key in Redis."""
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


def declared_layout(stream: str, descriptor: Document, data_streams: Mapping[str, Any]) -> Layout:
    """The data streams of the Bluesky stream `stream`, from the scan's `data_streams`.

    Raises DamagedRunError when the scan does not declare what its rows need.
    """
    own = {name: model for name, model in data_streams.items() if _bluesky(model).get("stream") == stream}
    names = {_bluesky(model)["key"]: name for name, model in own.items() if "key" in _bluesky(model)}
    data_keys = descriptor["data_keys"]
    order = [*(key for key in data_keys if key in names), *(key for key in names if key not in data_keys)]
    data = {key: _stored(names[key], data_streams) for key in order}
    prefix = stream_name(stream, "")
    columns = {
        key: Column(key, names[key].removeprefix(prefix), data[key].encoding, data_keys.get(key, {})) for key in order
    }
    for name in ("time", "seq_num"):
        if prefix + name not in data_streams:
            raise DamagedRunError(f"the scan has rows of the stream {stream!r}, but declares no {prefix + name!r}")
    timestamps = _stored(prefix + "timestamps", data_streams) if prefix + "timestamps" in data_streams else None
    time, seq_num = (_stored(prefix + name, data_streams) for name in ("time", "seq_num"))
    return Layout(columns, data, time, seq_num, timestamps)


def time_key(uid: str, stream: str) -> str:
    """Key of the event times: rows exist when it does."""
    return stream_key(stream_pk(uid, stream_name(stream, "time")))


def irregular_column(uid: str, stream: str) -> StoredColumn:
    """The exact values that columns could not hold; the data stream exists only when there are any."""
    name = stream_name(stream, "irregular")
    return StoredColumn(name, stream_key(stream_pk(uid, name)), JsonEncoding())


def no_rows(encoding: Encoding) -> Rows:
    """No rows, in the form in which rows of this encoding come."""
    if isinstance(encoding, JsonEncoding) or encoding.ragged:
        return []
    return np.empty((0, *encoding.shape), encoding.dtype)


def _stored(name: str, data_streams: Mapping[str, Any]) -> StoredColumn:
    model = data_streams[name]
    return StoredColumn(name, stream_key(model["pk"]), encoding_from_json(model["encoding"]))


def _bluesky(model: Mapping[str, Any]) -> Mapping[str, Any]:
    info = model["info"].get("bluesky", {})
    return info if isinstance(info, Mapping) else {}
