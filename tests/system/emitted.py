"""A run as a RunEngine would emit it, remembered document by document."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from event_model import ComposeDescriptorBundle, compose_run

from blissdata_bluesky.writer import BlissdataWriter

Named = tuple[str, dict[str, Any]]

NUMBER = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
INTEGER = {"dtype": "integer", "dtype_numpy": "<i8", "shape": []}
SCALARS = {"number": NUMBER, "integer": INTEGER}
KINDS: dict[str, dict[str, Any]] = {
    "number": NUMBER,
    "integer": INTEGER,
    "small": {"dtype": "integer", "dtype_numpy": "<i2", "shape": []},
    "flag": {"dtype": "boolean", "shape": []},
    "text": {"dtype": "string", "shape": []},
    "spectrum": {"dtype": "array", "dtype_numpy": "<f4", "shape": [5]},
    "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [3, 4]},
    "ragged": {"dtype": "array", "dtype_numpy": "<f8", "shape": [None]},
    "odd:na%me": NUMBER,
    "time": NUMBER,
    "_under": NUMBER,
}


def values(row: int) -> dict[str, Any]:
    """What row `row` has of `KINDS`."""
    return {
        "number": row / 3,
        "integer": 2**53 + 1 + row,
        "small": row - 3,
        "flag": row % 2 == 0,
        "text": "é" * (row % 4) + str(row),
        "spectrum": np.arange(5, dtype="<f4") * row,
        "image": np.full((3, 4), row, "<u2"),
        "ragged": np.arange(1 + row % 3, dtype="<f8"),
        "odd:na%me": row + 0.5,
        "time": float(-row),
        "_under": row * 1e-9,
    }


class EmittedRun:
    """Composes documents that event-model accepts; `documents` has all of them, in order."""

    def __init__(self, uid: str | None = None, **metadata: Any) -> None:
        self._bundle = compose_run(uid=uid or str(uuid.uuid4()), time=1.7e9, metadata=metadata)
        self._now = 1.7e9
        self._streams: dict[str, ComposeDescriptorBundle] = {}
        self.uid: str = self._bundle.start_doc["uid"]
        self.documents: list[Named] = []
        self._add("start", self._bundle.start_doc)

    def describe(self, name: str = "primary", data_keys: Mapping[str, Any] = KINDS) -> list[Named]:
        """A descriptor."""
        self._streams[name] = self._bundle.compose_descriptor(
            name=name,
            data_keys={key: {"source": "sim", **data_key} for key, data_key in data_keys.items()},
            time=self._tick(),
        )
        return self._add("descriptor", self._streams[name].descriptor_doc)

    def event(self, data: Mapping[str, Any], name: str = "primary", seq_num: int | None = None) -> list[Named]:
        """One event, whatever its data."""
        now = self._tick()
        timestamps = {key: now + i / 100 for i, key in enumerate(data)}
        event = self._streams[name].compose_event(
            data=dict(data), timestamps=timestamps, time=now, seq_num=seq_num, validate=False
        )
        return self._add("event", event)

    def events(self, rows: Iterable[int], name: str = "primary") -> list[Named]:
        """Events with these rows of `values`."""
        return [named for row in rows for named in self.event(values(row), name)]

    def other(self, name: str, document: dict[str, Any]) -> list[Named]:
        """A document of any kind."""
        return self._add(name, document)

    def stop(self) -> list[Named]:
        """The stop document."""
        return self._add("stop", self._bundle.compose_stop(time=self._tick()))

    def _tick(self) -> float:
        self._now += 0.25
        return self._now

    def _add(self, name: str, document: Mapping[str, Any]) -> list[Named]:
        self.documents.append((name, dict(document)))
        return self.documents[-1:]


def whole_run(rows: int, **metadata: Any) -> EmittedRun:
    """A run with one stream of all `KINDS`."""
    run = EmittedRun(**metadata)
    run.describe()
    run.events(range(rows))
    run.stop()
    return run


def scalar_run(rows: int, **metadata: Any) -> EmittedRun:
    """A run with one stream of two scalars, `number` = row / 3 and `integer` = row; it goes on."""
    run = EmittedRun(**metadata)
    run.describe(data_keys=SCALARS)
    scalar_events(run, range(rows))
    return run


def scalar_events(run: EmittedRun, rows: Iterable[int]) -> list[Named]:
    """More events of a `scalar_run`."""
    return [named for row in rows for named in run.event({"number": row / 3, "integer": row})]


def give(writer: BlissdataWriter, documents: Iterable[Named]) -> None:
    """Give documents to the writer, and wait until Redis has them."""
    for name, document in documents:
        writer(name, document)
    assert writer.flush(100)


def give_one_by_one(writer: BlissdataWriter, documents: Iterable[Named]) -> None:
    """The same, so that every event becomes an entry of its own."""
    for named in documents:
        give(writer, [named])
