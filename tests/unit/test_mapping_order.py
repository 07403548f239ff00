"""In which order a run becomes a scan."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.mapping import RunMapper
from blissdata_bluesky.protocol import ScanState

from .documents import INTEGER, NUMBER, columns, descriptor, event, events, operations, page, short, start, stop, values


def test_a_run_without_events_passes_all_states_at_its_stop() -> None:
    assert short(operations([stop()])) == ["create", "start {}", "PREPARED", "STARTED", "stop {}", "STOPPED", "CLOSED"]


def test_a_stream_without_events_is_declared_at_the_stop() -> None:
    assert short(operations([descriptor(x=INTEGER), stop()]))[2:] == [
        "descriptor {'primary': 0}",
        "declare primary",
        "PREPARED",
        "STARTED",
        "stop {'primary': 0}",
        "STOPPED",
        "CLOSED",
    ]


def test_baseline_and_monitors_wait_for_the_measurement_and_late_streams_are_announced() -> None:
    run = [
        descriptor("baseline", x=NUMBER),
        event(1, {"x": 1.0}, "baseline"),
        descriptor("m_monitor", m=NUMBER),
        event(1, {"m": 1.0}, "m_monitor"),
        descriptor("primary", det=NUMBER),
        event(1, {"det": 1.0}),
        event(2, {"det": 2.0}),
        descriptor("dark", det=NUMBER),
        event(1, {"det": 0.0}, "dark"),
        event(2, {"x": 1.0}, "baseline", 3.0),
        stop(),
    ]
    assert short(operations(run)) == [
        "create",
        "start {}",
        "descriptor {'baseline': 0}",
        "declare baseline",
        "baseline:time 0+1",
        "descriptor {'baseline': 1, 'm_monitor': 0}",
        "declare m_monitor",
        "m_monitor:time 0+1",
        "descriptor {'baseline': 1, 'm_monitor': 1, 'primary': 0}",
        "declare primary",
        "PREPARED",
        "STARTED",
        "primary:time 0+2",
        "descriptor {'baseline': 1, 'm_monitor': 1, 'primary': 2, 'dark': 0}",
        "declare dark announced STARTED",
        "dark:time 0+1",
        "baseline:time 1+1",
        "stop {'baseline': 2, 'm_monitor': 1, 'primary': 2, 'dark': 1}",
        "STOPPED",
        "CLOSED",
    ]


def test_the_order_of_rows_does_not_depend_on_how_documents_are_cut_into_batches() -> None:
    run = [descriptor(x=NUMBER), descriptor("b", y=NUMBER), *events([{"x": 1.0}, {"x": 2.0}])]
    run += [*events([{"y": 3.0}], "b"), stop()]
    mapper = RunMapper(start())
    one_by_one = [*mapper.create(), *(operation for document in run for operation in mapper.take([document]))]
    assert columns(one_by_one) == columns(operations(run))


def test_a_stream_whose_columns_are_certain_is_ready_before_its_first_event() -> None:
    run = [descriptor("late", y=NUMBER), descriptor("unsure", z=INTEGER), descriptor(x=NUMBER), event(1, {"x": 1.0})]
    assert "declare late unsure" not in short(operations(run))
    assert "declare late" in short(operations(run))[: short(operations(run)).index("PREPARED")]


def test_prepare_passes_to_started_once_and_with_what_is_known() -> None:
    mapper = RunMapper(start())
    list(mapper.create())
    assert not mapper.waits_to_prepare
    list(mapper.take([descriptor("baseline", x=NUMBER), event(1, {"x": 1.0}, "baseline"), descriptor(det=NUMBER)]))
    assert mapper.waits_to_prepare
    assert short(mapper.prepare()) == ["declare primary", "PREPARED", "STARTED"]
    assert not mapper.waits_to_prepare
    assert short(mapper.prepare()) == []
    assert short(mapper.take([event(1, {"det": 1.0})])) == ["primary:time 0+1"]


def test_external_keys_have_no_column() -> None:
    camera = {"dtype": "array", "shape": [1, 5, 5], "external": "STREAM:"}
    assert set(columns(operations([descriptor(x=NUMBER, camera=camera), event(1, {"x": 1.0})]))) == {
        "primary:time",
        "primary:seq_num",
        "primary:timestamps",
        "primary:x",
    }


def test_a_stream_without_keys_has_rows_but_no_timestamps() -> None:
    assert set(columns(operations([descriptor(), event(1, {})]))) == {"primary:time", "primary:seq_num"}


def test_a_page_gives_the_rows_of_its_events() -> None:
    data: dict[str, list[Any]] = {"x": [1.0, 2.5], "i": [1, 2], "text": ["a", "b"], "wrong": [1.0, "b"]}
    keys = descriptor(x=NUMBER, i=INTEGER, text={"dtype": "string", "shape": []}, wrong=NUMBER)
    rows = [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    by_page, by_event = operations([keys, page(data)]), operations([keys, *events(rows)])
    assert repr(columns(by_page)) == repr(columns(by_event))
    assert short(by_page) == short(by_event)


def test_rewound_rows_are_kept_in_the_order_of_arrival() -> None:
    run = [descriptor(x=NUMBER), *(event(n, {"x": float(n)}) for n in (1, 2, 3, 2, 3))]
    assert columns(operations(run))["primary:seq_num"] == [1, 2, 3, 2, 3]


def test_a_second_descriptor_of_a_stream_continues_it() -> None:
    run = [descriptor(x=NUMBER), event(1, {"x": 1.0}), descriptor(uid="again", x=NUMBER), event(2, {"x": 2.0}, "again")]
    assert columns(operations(run))["primary:x"] == [1.0, 2.0]


def test_events_that_readers_would_find_too_early_are_told_apart() -> None:
    keys = [descriptor("a", x=NUMBER), descriptor("b", x=NUMBER)]
    given = [("a", 1.0), ("b", 1.0), ("a", 2.0), ("b", 2.0), ("a", 2.0), ("a", 2.0), ("b", 2.0), ("a", 2.0), ("a", 3.0)]
    run = [event(1, {"x": 1.0}, stream, time) for stream, time in given]
    assert short(operations([*keys, *run]))[-6:] == [
        "b:time 0+2",
        "descriptor {'a': 2, 'b': 2}",
        "a:time 2+2",
        "b:time 2+1",
        "descriptor {'a': 4, 'b': 3}",
        "a:time 4+2",
    ]


def test_a_run_that_was_begun_without_telling_apart_goes_on_without() -> None:
    keys = [descriptor("a", x=NUMBER), descriptor("b", x=NUMBER)]
    run = [event(1, {"x": 1.0}, stream) for stream in "bab"]
    given = [
        short([*(mapper := RunMapper(start(), ordered=ordered)).create(), *mapper.take([*keys, *run])])
        for ordered in (False, True)
    ]
    assert [sum(operation.startswith("descriptor") for operation in found) for found in given] == [2, 3]


def test_a_page_that_readers_would_find_too_early_is_told_apart() -> None:
    run = [descriptor("a", x=NUMBER), descriptor("b", x=NUMBER), page({"x": [1.0, 2.0]}, "b"), page({"x": [3.0]}, "a")]
    assert short(operations(run))[-2:] == ["descriptor {'a': 0, 'b': 2}", "a:time 0+1"]


@pytest.mark.parametrize("time", [np.array(2.0), np.array([[2.0, 3.0]]), np.array(["2"]), np.float32(2.0), 2**70, None])
def test_an_event_without_a_usable_time_is_left_out_beside_another_stream(time: Any) -> None:
    run = [descriptor("a", x=NUMBER), descriptor("b", x=NUMBER), event(1, {"x": 1.0}, "b")]
    run += [event(1, {"x": 1.0}, "a", time), event(2, {"x": 2.0}, "a", 3.0)]
    assert columns(operations(run))["a:x"] == [2.0]


@pytest.mark.parametrize("behind", [1, 10, 3000])
@pytest.mark.parametrize(("time", "apart"), [(2.0, True), (2.5, False)])
def test_an_event_that_comes_late_is_told_apart_when_its_time_was_there(behind: int, time: float, apart: bool) -> None:
    keys = [descriptor("a", x=NUMBER), descriptor("b", x=NUMBER)]
    run = [event(1, {"x": 1.0}, "b", 2.0 + i) for i in range(behind)]
    found = short(operations([*keys, *run, event(1, {"x": 1.0}, "a", time)]))[-2:]
    # whatever comes behind so many events is told apart
    assert (found[0] == f"descriptor {{'a': 0, 'b': {behind}}}") == (apart or behind > 1000)


@pytest.mark.parametrize(
    ("exit_status", "reason"),
    [("success", "SUCCESS"), ("abort", "USER_ABORT"), ("fail", "FAILURE"), (None, "FAILURE"), ({}, "FAILURE")],
)
def test_the_end_reason_stands_in_the_last_info_only(exit_status: Any, reason: str) -> None:
    *others, stopped, closed = operations([stop(exit_status=exit_status)])
    assert (stopped.state, closed.state) == (ScanState.STOPPED, ScanState.CLOSED)  # type: ignore[union-attr]
    assert "end_reason" not in stopped.info  # type: ignore[union-attr]
    assert closed.info["end_reason"] == reason  # type: ignore[union-attr]


def test_missing_keys_and_extra_keys_are_irregular_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    run = [descriptor(x=NUMBER, y=NUMBER), *events([{"x": 1.0, "z": 5}, {"y": 2.0, "z": 6}, {"x": 3.0, "y": 4.0}])]
    given = operations(run)
    assert repr(values(given, "x")) == "[np.float64(1.0), MISSING, np.float64(3.0)]"
    assert repr(values(given, "y")) == "[MISSING, np.float64(2.0), np.float64(4.0)]"
    assert repr(values(given, "z")) == "[5, 6, MISSING]"
    warned = [record.getMessage() for record in caplog.records]
    assert len(warned) == 3 and all(UID_WORDS in message for message in warned)


UID_WORDS = "run 00000000-0000-4000-8000-000000000001, stream 'primary', key"


def test_a_bad_event_is_left_out_and_the_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    bad = event(2, {"x": 2.0})[1] | {"seq_num": float("nan")}
    run = [descriptor(x=NUMBER), event(1, {"x": 1.0}), ("event", bad), event(3, {"x": 3.0})]
    assert columns(operations(run))["primary:x"] == [1.0, 3.0]
    [record] = caplog.records
    assert record.levelno == logging.ERROR and "seq_num" in record.getMessage() and "primary" in record.getMessage()


def test_what_is_wrong_with_every_event_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    run = [("descriptor", {"uid": "primary", "name": "primary", "run_start": "u"}), *events([{"x": 1.0}] * 50)]
    run += [descriptor("good", x=NUMBER), *(("event", {**event(n, {}, "good")[1], "time": "now"}) for n in range(50))]
    given = operations([*run, *events([{"x": 1.0}], "good")])
    assert columns(given)["good:x"] == [1.0]
    assert len(caplog.records) == 2
