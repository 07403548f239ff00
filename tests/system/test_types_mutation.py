"""What the callback was given is kept as it was, whoever overwrites it afterwards; and it changes nothing itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky.run_engine import RunEngine
from ophyd.sim import SynSignal

from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import NUMBER, EmittedRun, Named
from .run_contract import assert_same_documents
from .test_types_matrix import BY_ARRAY, in_form

FORMS = ("event", "event_page", "bulk_events", BY_ARRAY)
DATA_KEYS = {
    "number": NUMBER,
    "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [3, 4]},
    "ragged": {"dtype": "array", "dtype_numpy": "<f8", "shape": [None]},
    "points": {"dtype": "array", "dtype_numpy": [["x", "<f8"], ["n", "<i4"]], "shape": [2]},
    "arrays": {"dtype": "array", "shape": [2]},
    "mapping": {"dtype": "string", "shape": []},
}


def values(row: int) -> dict[str, Any]:
    """What a detector has in its buffers."""
    read_only = np.full((3, 4), row, "<u2")
    read_only.flags.writeable = row % 2 == 0
    return {
        "number": row / 3,
        "image": read_only,
        "ragged": np.arange(1.0 + row % 3),
        "points": np.array([(row, 1), (0.5, row)], [("x", "<f8"), ("n", "<i4")]),
        "arrays": [np.full(2, row), [np.full((), row)]],
        "mapping": {"a": {"b": [row, np.array([row])]}},
    }


def emit(rows: int) -> tuple[EmittedRun, list[Named]]:
    """A run full of what can be overwritten, as it is to be kept, and the documents that say so."""
    run = EmittedRun(sample={"masses": np.arange(3.0), "list": [[1, {"deep": np.zeros(2)}]]}, plan_name="count")
    documents = list(run.documents)
    for form in FORMS:
        [(_, descriptor)] = run.describe(form, DATA_KEYS)
        gain = {"data": {"gain": np.ones(4), "text": ["a", {"b": 1}]}, "timestamps": {"gain": 1.0}, "data_keys": {}}
        descriptor |= {"configuration": {"dev": gain}, "hints": {"dev": {"fields": ["number"]}}}
        documents.append(("descriptor", descriptor))
        # a page of arrays has columns of one shape
        events = [run.event(values(2 if form == BY_ARRAY else row), form)[0][1] for row in range(rows)]
        documents += in_form(form, form, events)
    return run, [*documents, *run.stop()]


def state(value: Any) -> Any:
    """Identity, content and flags of a value and of all that is in it."""
    match value:
        case dict():
            return id(value), [(key, state(item)) for key, item in value.items()]
        case list():
            return id(value), [state(item) for item in value]
        case np.ndarray():
            return id(value), value.dtype.str, value.shape, value.strides, value.flags.writeable, value.tobytes()
    return id(value), repr(value)


def overwrite(value: Any) -> None:
    """As a detector or a careless callback does it."""
    match value:
        case dict():
            for item in value.values():
                overwrite(item)
            value.clear()
        case list():
            for item in value:
                overwrite(item)
            value.clear()
        case np.ndarray() if value.dtype.hasobject:
            value.fill(None)
        case np.ndarray() if value.flags.writeable:
            value.fill(0)


def give_and_overwrite(writer: BlissdataWriter, documents: list[Named]) -> None:
    for name, document in documents:
        # every array on its own, and read-only ones as well
        given = copy.deepcopy(document)
        before = state(given)
        writer(name, given)
        assert state(given) == before
        overwrite(given)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("journal", [True, False], ids=["journal", "no journal"])
@pytest.mark.parametrize("redis", ["at hand", "behind", "away"])
def test_what_is_overwritten_after_the_callback_is_kept_as_it_was(
    own_server: RedisServer, tmp_path: Path, *, journal: bool, redis: str
) -> None:
    run, documents = emit(300 if redis == "behind" else 5)
    with BlissdataWriter(own_server.url, journal=tmp_path if journal else None) as writer:
        if redis == "away":
            own_server.stop()
        give_and_overwrite(writer, documents)
        own_server.start()
        assert writer.flush(60)
        with RedisRuns(own_server.url) as runs:
            assert_same_documents(runs.get(run.uid).documents(), run.documents)


def test_callbacks_before_and_after_see_the_same_objects(
    RE: RunEngine, redis_url: str, writer: BlissdataWriter
) -> None:
    buffer = np.zeros((2, 2))
    detector = SynSignal(name="det", func=lambda: buffer.__iadd__(1))
    states: list[list[Any]] = [[], []]
    frames: list[Any] = []
    documents: list[Any] = []

    def before(name: str, document: dict[str, Any]) -> None:
        # as long as they are held, no other object has their identity
        documents.append(document)
        states[0].append(state(document))

    def after(name: str, document: dict[str, Any]) -> None:
        states[1].append(state(document))
        if name == "event":
            frames.append(document["data"]["det"].tolist())
            document["data"]["det"][...] = -7

    RE.subscribe(before)
    RE.subscribe(writer)
    RE.subscribe(after)
    (uid,) = RE(bp.count([detector], 3), sample={"list": [1], "array": np.arange(2)})
    assert writer.flush(90)
    assert states[0] == states[1]
    with RedisRuns(redis_url) as runs:
        events = [document for name, document in runs.get(uid).documents() if name == "event"]
    assert [event["data"]["det"].tolist() for event in events] == frames
    assert -7 not in np.array(frames)
