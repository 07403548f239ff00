"""Runs to measure with: the same documents for every peer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np

Documents = Iterator[tuple[str, dict[str, Any]]]

IMAGE_SHAPE = (512, 512)


def scalar_run(keys: int, events: int) -> Documents:
    """A run of float scalars, one event a document."""
    names, start, descriptor = _begin(keys)
    yield "start", start
    yield "descriptor", descriptor
    for number in range(1, events + 1):
        now = 1.8e9 + number * 1e-3
        yield (
            "event",
            {
                "uid": f"{number:036d}",
                "descriptor": descriptor["uid"],
                "seq_num": number,
                "time": now,
                "data": dict.fromkeys(names, number + 0.5),
                "timestamps": dict.fromkeys(names, now),
                "filled": {},
            },
        )
    yield "stop", stop(start)


def paged_run(keys: int, events: int, page: int = 1000) -> Documents:
    """The same, `page` events a document."""
    names, start, descriptor = _begin(keys)
    yield "start", start
    yield "descriptor", descriptor
    for first in range(1, events + 1, page):
        numbers = range(first, min(first + page, events + 1))
        times = [1.8e9 + number * 1e-3 for number in numbers]
        values = [number + 0.5 for number in numbers]
        yield (
            "event_page",
            {
                "uid": [f"{number:036d}" for number in numbers],
                "descriptor": descriptor["uid"],
                "seq_num": list(numbers),
                "time": times,
                "data": {name: list(values) for name in names},
                "timestamps": {name: list(times) for name in names},
                "filled": {},
            },
        )
    yield "stop", stop(start)


def image_run(events: int) -> Documents:
    """A run with one 512 x 512 uint16 frame per event."""
    _, start, descriptor = _begin(0)
    descriptor["data_keys"] = {
        "camera": {"source": "bench", "dtype": "array", "dtype_numpy": "<u2", "shape": list(IMAGE_SHAPE)}
    }
    frames = np.random.default_rng(0).integers(0, 4096, (8, *IMAGE_SHAPE), np.uint16)
    yield "start", start
    yield "descriptor", descriptor
    for number in range(1, events + 1):
        yield _event(descriptor, number, time.time(), {"camera": frames[number % 8]})
    yield "stop", stop(start)


def stop(start: dict[str, Any]) -> dict[str, Any]:
    """The stop document of a run."""
    return {
        "uid": str(uuid.uuid4()),
        "run_start": start["uid"],
        "time": time.time(),
        "exit_status": "success",
        "num_events": {},
        "reason": "",
    }


def _event(descriptor: dict[str, Any], number: int, now: float, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    document = {
        "uid": f"{number:036d}",
        "descriptor": descriptor["uid"],
        "seq_num": number,
        "time": now,
        "data": data,
        "timestamps": dict.fromkeys(data, now),
        "filled": {},
    }
    return "event", document


def _begin(keys: int) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    names = [f"key{number}" for number in range(keys)]
    start = {"uid": str(uuid.uuid4()), "time": time.time(), "scan_id": 1, "plan_name": "bench", "hints": {}}
    descriptor = {
        "uid": str(uuid.uuid4()),
        "run_start": start["uid"],
        "time": time.time(),
        "name": "primary",
        "data_keys": {
            name: {"source": "bench", "dtype": "number", "dtype_numpy": "<f8", "shape": [], "object_name": "bench"}
            for name in names
        },
        "object_keys": {"bench": names},
        "configuration": {},
        "hints": {},
    }
    return names, start, descriptor
