"""Documents that event-model would refuse: the mapper leaves them out and goes on."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blissdata_bluesky.mapping import ChangeState, CreateScan, DeclareStreams, RunMapper
from blissdata_bluesky.packing import pack_document, unpack_document

from .documents import (
    INTEGER,
    NUMBER,
    Document,
    columns,
    descriptor,
    event,
    events,
    operations,
    page,
    short,
    start,
    stop,
)

HOSTILE = (
    st.none()
    | st.booleans()
    | st.sampled_from(
        [10**400, 10**5000, -(2**70), 0, 1, 1.5, float("nan"), float("inf"), 1j, b"x", "", "a", "1", [], {}, [[]]]
    )
    | st.sampled_from([["a"], [1, None], [[1], [1, 2]], {"a": 1}, {"x": {"y": [1]}}, {"x": None}, {"x": [1]}, [5, 6]])
)


def run() -> list[Document]:
    keys = {"x": {**NUMBER, "units": "mm", "precision": 3, "lower_ctrl_limit": 0.0}, "i": INTEGER}
    described = descriptor(**keys)
    described[1].update(object_keys={"dev": ["x", "i"]}, configuration={}, hints={"dev": {"fields": ["x"]}})
    return [
        described,
        event(1, {"x": 1.0, "i": 1}),
        page({"x": [2.0, 3.0], "i": [2, 3]}),
        ("bulk_events", {"primary": [event(4, {"x": 4.0, "i": 4})[1]]}),
        ("resource", {"uid": "r", "run_start": "u", "resource_kwargs": {}}),
        ("stream_datum", {"uid": "s", "descriptor": "primary", "stream_resource": "r"}),
        stop(),
    ]


def paths(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in inner for found in [(*above, key), *paths(item, (*above, key))]]


def changed(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    document = copy.deepcopy(document)
    place = document
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@settings(max_examples=600)
@given(st.data())
def test_one_wrong_member_anywhere_never_ends_the_mapping(data: st.DataObject) -> None:
    documents = run()
    position = data.draw(st.integers(0, len(documents) - 1))
    name, document = documents[position]
    path = data.draw(st.sampled_from(paths(document)))
    wrong = changed(document, path, data.draw(HOSTILE | st.just(...)))
    documents[position] = unpack_document(pack_document(name, wrong))
    given = operations([*documents[:-1], descriptor("good", y=NUMBER), event(1, {"y": 5.0}, "good"), documents[-1]])
    found = columns(given)
    assert found["good:y"] == [5.0]
    assert short(given)[-1] == "CLOSED"
    assert_redis_takes(given)


START = start(
    motors=["m"], num_points=5, proposal={"proposal_id": "p"}, sample_name="s", beamline_id="b", operator="o", hints={}
)


@settings(max_examples=300)
@given(st.sampled_from([path for path in paths(START) if path != ("uid",)]), HOSTILE | st.just(...))
def test_one_wrong_member_of_the_start_never_ends_the_mapping(path: tuple[Any, ...], value: Any) -> None:
    _, document = unpack_document(pack_document("start", changed(START, path, value)))
    mapper = RunMapper(document)
    given = [*mapper.create(), *mapper.take(run())]
    assert short(given)[-1] == "CLOSED"
    assert_redis_takes(given)


def assert_redis_takes(given: list[Any]) -> None:
    """JSON without what Redis refuses: NaN, and integers beyond 64 bits."""
    for operation in given:
        if isinstance(operation, CreateScan | DeclareStreams | ChangeState):
            identity = operation.identity if isinstance(operation, CreateScan) else {}
            text = json.dumps([operation.info, identity], allow_nan=False)
            json.loads(text, parse_int=lambda digits: int(digits).to_bytes(8, signed=True))


def test_a_deeply_nested_start_is_not_too_deep_for_redis() -> None:
    nested: Any = 1
    for _ in range(200):
        nested = {"x": nested}
    given = operations([stop()], nested=nested)
    assert depth(given[0].info) < 100  # type: ignore[union-attr]


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, inner), default=0)


@pytest.mark.parametrize(
    "bulk", [{}, {"primary": None}, {"primary": [None, 5, "x", {}]}, {"primary": {"descriptor": "primary"}}]
)
def test_bulk_events_that_are_none_are_left_out(bulk: Any) -> None:
    given = operations([descriptor(x=NUMBER), ("bulk_events", bulk), event(1, {"x": 1.0}), stop()])
    assert columns(given)["primary:x"] == [1.0]


@pytest.mark.parametrize("name", ["x", "event", "descriptor", "stop", "event_page", "bulk_events"])
def test_an_empty_document_of_any_type_is_survived(name: str) -> None:
    given = operations([descriptor(x=NUMBER), (name, {}), event(1, {"x": 1.0})])
    assert columns(given)["primary:x"] == [1.0]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ([event(2.0, {"x": 2.0})], "'event' (seq_num 2.0) is left out: seq_num must be an integer"),  # type: ignore[arg-type]
        ([page({"x": [1.0], "y": [1.0, 2.0]})] * 3, "differ in length"),
        ([descriptor("bad", x=5), *events([{"x": 1.0}] * 4, "bad")], "(5 such documents in all)"),  # type: ignore[arg-type]
        ([("stream_datum", {"descriptor": "primary", "stream_resource": "r"})], "no frames that can be read"),
        ([event(2, {"x": 2.0}) for _ in range(2)], ""),
    ],
    ids=["event", "page", "descriptor", "stream_datum", "none"],
)
def test_a_run_that_lacks_documents_does_not_look_whole(wrong: list[Document], told: str) -> None:
    given = operations([descriptor(x=NUMBER), event(1, {"x": 1.0}), *wrong, event(3, {"x": 3.0}), stop()])
    end = next(operation.info for operation in reversed(given) if isinstance(operation, ChangeState))
    assert end["end_reason"] == ("FAILURE" if told else "SUCCESS")
    assert told in end["bluesky"].get("incomplete", "")
    assert bool(told) == bool(end["bluesky"].get("incomplete"))
    assert columns(given)["primary:x"][:: len(columns(given)["primary:x"]) - 1] == [1.0, 3.0]
