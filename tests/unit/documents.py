"""Bluesky documents for the mapper, and what its operations say, in short."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from blissdata_bluesky.mapping import (
    AddDocument,
    AppendRows,
    ChangeState,
    CreateScan,
    DeclareStreams,
    Operation,
    RunMapper,
)
from blissdata_bluesky.protocol import MISSING, NumericEncoding, decode, encode

UID = "00000000-0000-4000-8000-000000000001"
NUMBER = {"dtype": "number", "shape": [], "source": "s"}
INTEGER = {"dtype": "integer", "shape": [], "source": "s"}

Document = tuple[str, dict[str, Any]]


def start(**members: Any) -> dict[str, Any]:
    return {"uid": UID, "time": 1.7e9, "plan_name": "count", "scan_id": 3, **members}


def descriptor(name: str = "primary", uid: str | None = None, **data_keys: Mapping[str, Any]) -> Document:
    document = {"uid": uid or name, "name": name, "run_start": UID, "time": 1.7e9, "data_keys": data_keys}
    return "descriptor", document


def event(seq_num: int, data: Mapping[str, Any], stream: str = "primary", time: float = 2.0) -> Document:
    document = {"descriptor": stream, "seq_num": seq_num, "time": time, "uid": f"{stream}-{seq_num}"}
    return "event", {**document, "data": dict(data), "timestamps": dict.fromkeys(data, time)}


def events(data: Iterable[Mapping[str, Any]], stream: str = "primary") -> list[Document]:
    return [event(i + 1, row, stream) for i, row in enumerate(data)]


def page(data: Mapping[str, Sequence[Any]], stream: str = "primary") -> Document:
    length = len(next(iter(data.values())))
    document = {"descriptor": stream, "seq_num": [*range(1, length + 1)], "time": [2.0] * length}
    return "event_page", {**document, "data": data, "timestamps": {key: [2.0] * length for key in data}}


def stop(**members: Any) -> Document:
    return "stop", {"uid": "stop", "run_start": UID, "time": 1.8e9, "exit_status": "success", **members}


def operations(documents: Iterable[Document], **start_members: Any) -> list[Operation]:
    mapper = RunMapper(start(**start_members))
    return [*mapper.create(), *mapper.take(documents)]


def short(given: Iterable[Operation]) -> list[str]:
    """Each operation as a few words."""
    return [_words(operation) for operation in given]


def _words(operation: Operation) -> str:
    match operation:
        case CreateScan():
            return "create"
        case DeclareStreams():
            names = " ".join(sorted({stream.name.split(":")[0] for stream in operation.streams}))
            announced = f" announced {operation.announce.name}" if operation.announce is not None else ""
            irregular = " irregular" if operation.streams[0].name.endswith("irregular") else ""
            return f"declare {names}{irregular}{announced}"
        case AppendRows():
            column = operation.columns[0]
            return f"{column.name} {column.index}+{len(column.rows)}"
        case AddDocument():
            return f"{operation.name} {dict(operation.rows)}"
        case ChangeState():
            return operation.state.name


def columns(given: Iterable[Operation]) -> dict[str, list[Any]]:
    """The rows of every stream after a trip through the wire format, by blissdata's name."""
    found: dict[str, list[Any]] = {}
    for operation in given:
        for column in operation.columns if isinstance(operation, AppendRows) else ():
            rows = found.setdefault(column.name, [])
            assert column.index == len(rows), "rows follow each other"
            rows += list(decode(column.encoding, encode(column.encoding, column.index, column.rows)))
    return found


def declared(given: Iterable[Operation]) -> dict[str, Any]:
    """The encodings by blissdata's name."""
    return {
        stream.name: stream.encoding
        for operation in given
        if isinstance(operation, DeclareStreams)
        for stream in operation.streams
    }


def numeric(dtype: str, *shape: int) -> NumericEncoding:
    return NumericEncoding(np.dtype(dtype), shape)


def values(given: Iterable[Operation], key: str, stream: str = "primary") -> list[Any]:
    """What a reader of ours gives for one key: the rows, with the irregular values in their places."""
    found = columns(given)
    rows = list(found.get(f"{stream}:{key}", [MISSING] * len(found.get(f"{stream}:seq_num", []))))
    for value in found.get(f"{stream}:irregular", []):
        if value["key"] == key and "value" in value:
            rows[value["row"]] = value["value"]
    return rows
