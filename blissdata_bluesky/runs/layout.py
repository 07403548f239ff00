"""Where the columns of one Bluesky stream are in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DamagedRunError
from ..mapping.columns import expected_encoding, is_external_stream
from ..names import escape_keys
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
    """One data stream: its key in Redis and what its rows are."""

    key: str
    encoding: Encoding


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


def expected_columns(descriptor: Document) -> dict[str, Column]:
    """The data keys before the first event came: what the descriptor lets expect."""
    data_keys = {key: value for key, value in descriptor["data_keys"].items() if not is_external_stream(value)}
    names = escape_keys(data_keys)
    return {key: Column(key, names[key], expected_encoding(value), value) for key, value in data_keys.items()}


def declared_layout(stream: str, descriptor: Document, data_streams: Mapping[str, Any]) -> Layout:
    """The data streams of the Bluesky stream `stream`, from the scan's `data_streams`.

    Raises DamagedRunError when the scan does not declare what its rows need.
    """
    own = {name: model for name, model in data_streams.items() if _bluesky(model).get("stream") == stream}
    names = {_bluesky(model)["key"]: name for name, model in own.items() if "key" in _bluesky(model)}
    data_keys = descriptor["data_keys"]
    order = [*(key for key in data_keys if key in names), *(key for key in names if key not in data_keys)]
    data = {key: _stored(data_streams[names[key]]) for key in order}
    prefix = stream_name(stream, "")
    columns = {
        key: Column(key, names[key].removeprefix(prefix), data[key].encoding, data_keys.get(key, {})) for key in order
    }
    companions = {name: data_streams.get(prefix + name) for name in ("time", "seq_num", "timestamps")}
    if companions["time"] is None or companions["seq_num"] is None:
        raise DamagedRunError(f"the scan has rows of the stream {stream!r} but declares no time or seq_num for them")
    timestamps = companions["timestamps"]
    return Layout(
        columns,
        data,
        _stored(companions["time"]),
        _stored(companions["seq_num"]),
        None if timestamps is None else _stored(timestamps),
    )


def time_key(uid: str, stream: str) -> str:
    """Key of the event times: rows exist when it does."""
    return stream_key(stream_pk(uid, stream_name(stream, "time")))


def irregular_column(uid: str, stream: str) -> StoredColumn:
    """The exact values that columns could not hold; the data stream exists only when there are any."""
    return StoredColumn(stream_key(stream_pk(uid, stream_name(stream, "irregular"))), JsonEncoding())


def no_rows(encoding: Encoding) -> Rows:
    """No rows, in the form in which rows of this encoding come."""
    if isinstance(encoding, JsonEncoding) or encoding.ragged:
        return []
    return np.empty((0, *encoding.shape), encoding.dtype)


def _stored(model: Mapping[str, Any]) -> StoredColumn:
    return StoredColumn(stream_key(model["pk"]), encoding_from_json(model["encoding"]))


def _bluesky(model: Mapping[str, Any]) -> Mapping[str, Any]:
    info = model["info"].get("bluesky", {})
    return info if isinstance(info, Mapping) else {}

