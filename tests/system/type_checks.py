"""Whether every reader gives the values that were given: blissdata, our runs, and Tiled over HTTP."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx
import numpy as np
import pyarrow as pa
from blissdata import Scan

from blissdata_bluesky.protocol import load_json
from blissdata_bluesky.protocol.tagged import Missing
from blissdata_bluesky.runs import Run
from blissdata_bluesky.tiled import TiledServer

from .emitted import Named
from .type_matrix import LACKING, Kind, identical, listed, numbers, same_json, same_number

Given: TypeAlias = Mapping[str, Mapping[str, Sequence[Kind]]]
"""Stream → key → what each event had."""


@dataclass
class Column:
    """One data key as an unmodified blissdata client reads it."""

    kinds: Sequence[Kind]
    data_key: Mapping[str, Any]
    rows: Any
    dtype: np.dtype[Any] | None
    """Of a column of numbers."""
    shape: tuple[int, ...]
    irregular: Mapping[int, Any]
    by_array: bool
    """Whether a whole page came as one array, in which lists are arrays."""

    @property
    def is_array_node(self) -> bool:
        """Whether Tiled has it beside the table."""
        ragged = -1 in self.shape
        return self.dtype is not None and not ragged and (self.dtype.kind == "c" or math.prod(self.shape) > 16)

    @property
    def is_list_of_texts(self) -> bool:
        """Whether Tiled's table has lists of texts."""
        return (
            self.dtype is None
            and str(self.data_key.get("dtype_numpy"))[:2] in {"<U", "|S"}
            and self.data_key["dtype"] == "array"
        )

    def holds(self, row: int) -> bool:
        """Whether the row is a number, or an array of them, in a column of numbers."""
        return self.dtype is not None and row not in self.irregular

    def value(self, row: int) -> Any:
        """What blissdata gives, with the help of the irregular stream."""
        return self.irregular[row] if row in self.irregular else self.rows[row]

    def matches(self, found: Any, row: int) -> bool:
        """Whether that is the value that was given."""
        kept = self.kinds[row].kept
        return same_number(found, kept) if self.holds(row) else self.is_kept(found, kept)

    def is_kept(self, found: Any, kept: Any) -> bool:
        """The same for what is not in a column of numbers."""
        # an array of texts is a list to every reader of JSON
        if isinstance(kept, np.ndarray) and kept.dtype.kind == "U" and self.dtype is None:
            return identical(listed(found), kept.tolist())
        if self.by_array and isinstance(listed(kept), list):
            return identical(listed(found), listed(kept))
        return identical(found, kept)

    def matches_json(self, found: Any, row: int) -> bool:
        """Whether that is how JSON spells the value that was given."""
        kind = self.kinds[row]
        return same_number(numbers(found), kind.kept) if self.holds(row) else same_json(found, kind.json)

    def is_shown(self, shown: Any, row: int) -> bool:
        """Whether a table may show that in the place of the value (blissdata_bluesky.tiled.columns)."""
        kept = self.kinds[row].kept
        if self.kinds[row] is LACKING:
            return is_nothing(shown)
        if self.is_list_of_texts:
            elements = listed(kept) if isinstance(listed(kept), list) else [kept]
            return len(shown) == len(elements) and all(map(is_element, shown, elements))
        if self.dtype is None:
            return self._is_text_of(shown, kept)
        if self.dtype.kind == "c" and shown is not None:
            return same_number(load_json(shown), kept)
        if same_number(shown, kept) or (isinstance(shown, float) and shown == nearest(kept)):
            return True
        # what a column of numbers cannot hold
        return row in self.irregular and is_nothing(shown)

    def _is_text_of(self, shown: Any, kept: Any) -> bool:
        if isinstance(kept, str):
            return bool(shown == kept)
        return isinstance(shown, str) and self.is_kept(load_json(shown), kept)

    def wrong_rows(self) -> list[int]:
        """Rows whose value blissdata does not give."""
        return [row for row, kind in enumerate(self.kinds) if not self._is_right(row, kind)]

    def _is_right(self, row: int, kind: Kind) -> bool:
        if kind is LACKING:
            return isinstance(self.value(row), Missing)
        if self.holds(row) and np.asarray(self.rows[row]).dtype != self.dtype:
            return False
        return self.matches(self.value(row), row)


Columns: TypeAlias = Mapping[str, Mapping[str, Column]]


def is_element(shown: Any, element: Any) -> bool:
    """Whether a list of texts shows that for an element of a list or an array."""
    return bool(shown == element if isinstance(element, str) else identical(listed(load_json(shown)), listed(element)))


def is_nothing(shown: Any) -> bool:
    return shown is None or (isinstance(shown, float) and math.isnan(shown))


def nearest(value: Any) -> float | None:
    """The float that stands for an integer in a column of floats."""
    try:
        return float(value) if isinstance(value, int) else None
    except OverflowError:
        return None


def read_columns(scan: Scan, given: Given, data_keys: Mapping[str, Mapping[str, Any]], *, by_array: bool) -> Columns:
    """All columns of a scan, by an unmodified blissdata; `data_keys`: stream → its data keys."""
    return {
        stream: dict(_stream_columns(scan, stream, columns, data_keys[stream], by_array=by_array))
        for stream, columns in given.items()
    }


def _stream_columns(
    scan: Scan, stream: str, given: Mapping[str, Sequence[Kind]], data_keys: Mapping[str, Any], *, by_array: bool
) -> Iterable[tuple[str, Column]]:
    irregular: dict[str, dict[int, Any]] = {}
    if f"{stream}:irregular" in scan.streams:
        for value in decoded(scan.streams[f"{stream}:irregular"][:]):
            irregular.setdefault(value["key"], {})[value["row"]] = value["value"]
    for key, kinds in given.items():
        source = scan.streams[f"{stream}:{key}"]
        encoding, rows = source.event_stream.encoding, source[:]
        odd = irregular.pop(key, {})
        if encoding["type"] == "json":
            yield key, Column(kinds, data_keys[key], decoded(rows), None, (), odd, by_array)
        else:
            dtype, shape = np.dtype(encoding["dtype_str"]), tuple(encoding["shape"])
            yield key, Column(kinds, data_keys[key], rows, dtype, shape, odd, by_array)
        assert len(rows) == len(kinds)
    assert not irregular


def decoded(rows: list[Any]) -> Any:
    """JSON as blissdata gives it, its tags read (docs/reference/redis.md)."""
    return load_json(json.dumps(rows))


def wrong_columns(found: Columns) -> list[str]:
    """What blissdata gives otherwise than it was given."""
    return [
        f"{stream} {key} {row}: {column.value(row)!r}"
        for stream, columns in found.items()
        for key, column in columns.items()
        for row in column.wrong_rows()
    ]


def wrong_documents(run: Run, emitted: Sequence[Named], found: Columns) -> list[str]:
    """What the events of a run of ours have otherwise than those that were emitted."""
    return _wrong_events(run.documents(), emitted, found, Column.matches)


def wrong_served_documents(served: Any, emitted: Sequence[Named], found: Columns) -> list[str]:
    """The same of an unmodified Tiled client, which gets JSON."""
    return _wrong_events(served.documents(), emitted, found, Column.matches_json)


def _wrong_events(
    documents: Iterable[Named], emitted: Sequence[Named], found: Columns, matches: Callable[[Column, Any, int], bool]
) -> list[str]:
    streams = {document["uid"]: document["name"] for name, document in emitted if name == "descriptor"}
    given = [document for name, document in emitted if name == "event"]
    rows = dict.fromkeys(found, 0)
    wrong: list[str] = []
    for event, expected in zip((doc for name, doc in documents if name == "event"), given, strict=True):
        stream = streams[expected["descriptor"]]
        row, rows[stream] = rows[stream], rows[stream] + 1
        members = [name for name in ("descriptor", "seq_num", "time", "timestamps") if event[name] != expected[name]]
        lacking = set(event["data"]) ^ set(expected["data"])
        wrong += [f"{stream} {row}: {name}" for name in (*members, *lacking)]
        wrong += [
            f"{stream} {key} {row}: {value!r}"
            for key, value in event["data"].items()
            if not matches(found[stream][key], value, row)
        ]
    return wrong


@contextmanager
def http(server: TiledServer) -> Iterator[httpx.Client]:
    """What Tiled's clients do, without their listing of all that a stream has before every read."""
    headers = {"Authorization": f"Apikey {server.api_key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1", headers=headers, timeout=60) as client:
        yield client


def wrong_tables(client: httpx.Client, uid: str, found: Columns) -> list[str]:
    """What the tables of a Tiled server show that they must not."""
    wrong: list[str] = []
    for stream, columns in found.items():
        table = pa.ipc.open_file(_content(client, f"table/full/{uid}/{stream}/internal")).read_all()
        assert columns.keys() - set(table.column_names) == {key for key in columns if columns[key].is_array_node}
        for key in columns.keys() & set(table.column_names):
            shown = table[key].to_pylist()
            assert len(shown) == len(columns[key].kinds)
            wrong += [
                f"{stream} {key} {row}: {value!r}"
                for row, value in enumerate(shown)
                if not columns[key].is_shown(value, row)
            ]
    return wrong


def wrong_arrays(client: httpx.Client, uid: str, found: Columns) -> list[str]:
    """What the arrays of a Tiled server show that they must not."""
    wrong: list[str] = []
    for stream, columns in found.items():
        for key, column in columns.items():
            if column.dtype is not None and column.is_array_node:
                path = f"array/full/{uid}/{stream}/{key}?format=application/octet-stream"
                frames = np.frombuffer(_content(client, path), column.dtype).reshape(len(column.kinds), *column.shape)
                wrong += [
                    f"{stream} {key} {row}" for row in range(len(frames)) if not _is_frame(column, frames[row], row)
                ]
    return wrong


def _content(client: httpx.Client, path: str) -> bytes:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.content


def _is_frame(column: Column, frame: Any, row: int) -> bool:
    return same_number(frame, column.kinds[row].kept) or _is_fill(column, frame, row)


def _is_fill(column: Column, frame: Any, row: int) -> bool:
    nothing = np.isnan(frame) if frame.dtype.kind in "fc" else frame == 0
    return not column.holds(row) and bool(nothing.all())
