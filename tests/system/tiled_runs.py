"""Documents of runs, and waiting for a Tiled server to show them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from event_model import compose_run

from blissdata_bluesky.writer import BlissdataWriter

Document = tuple[str, dict[str, Any]]

ALL_KINDS: dict[str, dict[str, Any]] = {
    "number": {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "s"},
    "small": {"dtype": "number", "dtype_numpy": "<f4", "shape": [], "source": "s"},
    "integer": {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "source": "s"},
    "boolean": {"dtype": "boolean", "dtype_numpy": "|b1", "shape": [], "source": "s"},
    "text": {"dtype": "string", "shape": [], "source": "s"},
    "short": {"dtype": "array", "dtype_numpy": "<f8", "shape": [4], "source": "s"},
    "spectrum": {"dtype": "array", "dtype_numpy": "<u4", "shape": [40], "source": "s"},
    "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [6, 40], "source": "s"},
    "ragged": {"dtype": "array", "dtype_numpy": "<f8", "shape": [None], "source": "s"},
}


def row(index: int, keys: Iterable[str] = ALL_KINDS) -> dict[str, Any]:
    """The values of one event."""
    values = {
        "number": index / 3,
        "small": float(np.float32(index / 7)),
        "integer": index,
        "boolean": index % 3 == 0,
        "text": "x" * (index % 5) + str(index),
        "short": [index + i / 2 for i in range(4)],
        "spectrum": (np.arange(40, dtype="<u4") * index).astype("<u4"),
        "image": (np.arange(240, dtype="<u2").reshape(6, 40) + index).astype("<u2"),
        "ragged": [float(i) for i in range(1 + index % 3)],
    }
    return {key: values[key] for key in keys}


class Run:
    """Makes the documents of one run, one at a time, the time running on by 10 ms an event."""

    def __init__(self, uid: str | None = None, began: float = 1.7e9, **metadata: Any) -> None:
        self.bundle = compose_run(uid=uid or str(uuid.uuid4()), time=began, metadata=metadata)
        self.uid: str = self.bundle.start_doc["uid"]
        self.start: Document = ("start", self.bundle.start_doc)
        self._now = began
        self._streams: dict[str, Any] = {}
        self.events: dict[str, list[dict[str, Any]]] = {}

    def tick(self) -> float:
        """The time of the next document."""
        self._now += 0.01
        return self._now

    def describe(self, name: str = "primary", keys: Iterable[str] = ALL_KINDS, **data_keys: Any) -> Document:
        """A descriptor of `ALL_KINDS`, or of other data keys."""
        declared = data_keys or {key: ALL_KINDS[key] for key in keys}
        hints = {"dev": {"fields": list(declared)}}
        self._streams[name] = self.bundle.compose_descriptor(
            name=name,
            data_keys={key: {**value, "object_name": "dev"} for key, value in declared.items()},
            time=self.tick(),
            object_keys={"dev": list(declared)},
            configuration={
                "dev": {
                    "data": {"gain": 3},
                    "timestamps": {"gain": 1.0},
                    "data_keys": {"gain": {"dtype": "integer", "shape": [], "source": "s"}},
                }
            },
            hints=hints,
        )
        return "descriptor", self._streams[name].descriptor_doc

    def event(self, data: dict[str, Any], name: str = "primary", seq_num: int | None = None) -> Document:
        """One event."""
        now = self.tick()
        event = self._streams[name].compose_event(
            data=data, timestamps=dict.fromkeys(data, now - 0.001), time=now, seq_num=seq_num, validate=False
        )
        self.events.setdefault(name, []).append(event)
        return "event", event

    def stop(self) -> Document:
        """The stop document."""
        return "stop", self.bundle.compose_stop(time=self.tick())

    def whole(self, rows: int, keys: Iterable[str] = ALL_KINDS) -> Iterator[Document]:
        """All documents of a run with one stream."""
        keys = list(keys)
        yield self.start
        yield self.describe(keys=keys)
        for index in range(rows):
            yield self.event(row(index, keys))
        yield self.stop()


def publish(writer: BlissdataWriter, documents: Iterable[Document]) -> None:
    """Give documents to a writer, and wait until Redis has them."""
    for name, document in documents:
        writer(name, document)
    assert writer.flush(100)


def eventually(condition: Callable[[], Any], timeout: float = 60.0) -> Any:
    """The first true answer of `condition`, which may raise KeyError meanwhile."""
    deadline = time.monotonic() + timeout
    while True:
        try:
            if found := condition():
                return found
        except KeyError:
            if time.monotonic() > deadline:
                raise
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def stopped(client: Any, uid: str) -> Any:
    """The run, when its stop document is listed."""
    return eventually(lambda: run if "stop" in (run := client[uid]).metadata else None)


def started(client: Any, uid: str) -> Any:
    """The run, as soon as it is listed."""
    return eventually(lambda: client[uid])
