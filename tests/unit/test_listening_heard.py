"""What is known to be missing of a run that came over a network."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blissdata_bluesky.listening import HeardRun
from blissdata_bluesky.listening.numbers import SeqNums

from .documents import NUMBER, descriptor, event, page, stop

Named = tuple[str, dict[str, Any]]


def heard(*documents: Named) -> tuple[HeardRun, list[str]]:
    """The run, and what was said while it was heard."""
    run = HeardRun("uid", "count")
    said = [run.take(*named) for named in (descriptor(x=NUMBER), *documents)]
    return run, list(filter(None, said))


def events(*numbers: int) -> list[Named]:
    return [event(number, {"x": 1.0}) for number in numbers]


def ended(run: HeardRun, **num_events: int) -> str:
    return run.missing(stop(num_events=num_events)[1])


@pytest.mark.parametrize(
    "numbers",
    [(1, 2, 3), (1, 2, 3, 2, 3), (1, 2, 3, 1, 2, 3), ()],
    ids=["in order", "after a rewind", "from the beginning again", "none"],
)
def test_all_was_heard(numbers: tuple[int, ...]) -> None:
    run, said = heard(*events(*numbers))
    assert said == []
    assert ended(run, primary=len(set(numbers))) == ""
    assert run.missing({}) == ""
    assert run.events == len(numbers)


def test_a_gap_is_told_when_it_is_met_and_counted_in_the_end() -> None:
    run, said = heard(*events(1, 2, 5, 6))
    assert said == ["stream 'primary' goes from seq_num 2 to 5"]
    assert ended(run, primary=6) == "stream 'primary': 4 of 6 events"
    # a stop that counts nothing
    assert run.missing({}) == "stream 'primary': 4 of 6 events"


def test_the_first_events_are_missing() -> None:
    run, said = heard(*events(3, 4))
    assert said == ["stream 'primary' goes from seq_num 0 to 3"]
    assert ended(run, primary=4) == "stream 'primary': 2 of 4 events"


def test_the_last_events_are_missing() -> None:
    run, said = heard(*events(1, 2))
    assert said == []
    assert ended(run, primary=5) == "stream 'primary': 2 of 5 events"


def test_a_rewind_that_brings_what_was_missing() -> None:
    run, said = heard(*events(1, 4, 2, 3, 4))
    assert said == ["stream 'primary' goes from seq_num 1 to 4"]
    assert ended(run, primary=4) == ""


def test_a_stream_whose_descriptor_was_not_heard() -> None:
    run, _ = heard(*events(1))
    assert run.take(*event(1, {"x": 1.0}, stream="dark")) == ""
    assert ended(run, primary=1, dark=3, baseline=0) == (
        "stream 'dark': none of 3 events, for its descriptor was not heard"
    )


def test_a_stream_without_any_event() -> None:
    run, _ = heard()
    assert ended(run, primary=2) == "stream 'primary': 0 of 2 events"


def test_pages_and_bulk_events() -> None:
    run, said = heard(page({"x": [1.0, 2.0]}), ("bulk_events", {"x": [document for _, document in events(3, 4)]}))
    assert said == []
    assert ended(run, primary=4) == ""
    assert run.events == 4
    assert run.take("event_page", {"descriptor": "primary", "seq_num": [7, 8]}) != ""
    assert ended(run, primary=8) == "stream 'primary': 6 of 8 events"


def test_a_new_descriptor_of_the_same_stream() -> None:
    run, said = heard(*events(1, 2), descriptor(uid="second", x=NUMBER))
    assert run.take(*event(3, {"x": 1.0}, stream="second")) == ""
    assert said == []
    assert ended(run, primary=3) == ""


def datum(resource: str, start: int, end: int) -> Named:
    seq_nums = {"start": start, "stop": end}
    return "stream_datum", {"descriptor": "primary", "stream_resource": resource, "seq_nums": seq_nums}


def test_frames_of_two_detectors() -> None:
    resources = [("stream_resource", {"uid": uid, "data_key": key}) for uid, key in (("a", "one"), ("b", "two"))]
    run, said = heard(*resources, datum("a", 1, 4), datum("b", 1, 3), datum("b", 3, 4))
    assert said == []
    assert ended(run, primary=3) == ""
    assert run.take(*datum("a", 5, 7)) == "stream 'primary', 'one' goes from seq_num 3 to 5"
    assert run.take(*datum("b", 4, 7)) == ""
    assert ended(run, primary=6) == "stream 'primary', 'one': 5 of 6 events"
    # another file of the same detector goes on where the first one ended
    run.take("stream_resource", {"uid": "c", "data_key": "two"})
    assert run.take(*datum("c", 7, 8)) == ""


FRAMES = {"dtype": "array", "shape": [2, 2], "source": "s", "external": "STREAM:"}
FILE = {"dtype": "array", "shape": [2, 2], "source": "s", "external": "FILESTORE:"}
# too long to print
LONG = 10**5000
RESOURCE: Named = ("stream_resource", {"uid": "a", "data_key": "cam"})


def detected(*documents: Named) -> HeardRun:
    """A run with a key of frames and a number."""
    run = HeardRun("uid", "count")
    for named in (descriptor(cam=FRAMES, x=NUMBER), *documents):
        run.take(*named)
    return run


def test_a_stream_resource_is_missing() -> None:
    run = detected(*events(1, 2), datum("a", 1, 3))
    unknown = "stream 'primary': a stream_resource of its stream_datums was not heard"
    assert ended(run, primary=2) == f"stream 'primary', 'cam': no stream_datum of 2 events; {unknown}"
    # a file of several
    run = detected(RESOURCE, *events(1, 2), datum("a", 1, 3), datum("b", 3, 4))
    assert ended(run, primary=2) == unknown
    # it comes late
    run = detected(datum("a", 1, 2), RESOURCE, datum("a", 1, 3), *events(1, 2))
    assert ended(run, primary=2) == ""


@pytest.mark.parametrize("resources", [[], [RESOURCE]])
def test_all_stream_datums_of_a_key_are_missing(resources: list[Named]) -> None:
    lack = "stream 'primary', 'cam': no stream_datum of 2 events"
    assert ended(detected(*resources, *events(1, 2)), primary=2) == lack
    assert detected(*resources, *events(1, 2)).missing({}) == lack
    assert ended(detected(*resources), primary=0) == ""
    # of a stream without anything else
    run = detected(*resources)
    assert ended(run, primary=2) == f"stream 'primary': 0 of 2 events; {lack}"


def named_by(*numbers: int, ids: str = "r/{}", **filled: Any) -> list[Named]:
    found = [event(number, {"img": ids.format(number)}) for number in numbers]
    return [(name, {**document, "filled": filled}) for name, document in found]


def of_files(*documents: Named) -> HeardRun:
    run = HeardRun("uid", "count")
    for named in (descriptor(img=FILE), *documents):
        run.take(*named)
    return run


@pytest.mark.parametrize("ids", ["r/{}", "r-{}", "r/0{}"])
def test_datums_are_missing(ids: str) -> None:
    datums: list[Named] = [("datum", {"datum_id": ids.format(number), "resource": "r"}) for number in range(1, 5)]
    lack = "stream 'primary', 'img': {} datums that its events name were not heard"
    everything = named_by(1, 2, 3, 4, ids=ids, img=False)
    assert ended(of_files(*datums, *everything), primary=4) == ""
    # they come late
    assert ended(of_files(*everything, *datums), primary=4) == ""
    assert ended(of_files(*datums[1:3], *everything), primary=4) == lack.format(2)
    assert ended(of_files(*everything), primary=4) == lack.format(4)
    page = ("datum_page", {"datum_id": [ids.format(number) for number in (1, 2, 4)], "resource": "r"})
    assert ended(of_files(page, *everything), primary=4) == lack.format(1)


def test_datums_of_pages_of_events() -> None:
    ids = [f"r/{number}" for number in (1, 2, 3)]
    name, document = page({"img": ids})
    run = of_files(("datum_page", {"datum_id": ids[:1], "resource": "r"}), (name, {**document, "filled": {}}))
    assert ended(run, primary=3) == "stream 'primary', 'img': 2 datums that its events name were not heard"


def test_values_that_are_filled_need_no_datum() -> None:
    assert ended(of_files(*named_by(1, 2, img=True)), primary=2) == ""
    assert ended(of_files(event(1, {"img": [[1, 2], [3, 4]]})), primary=1) == ""


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("event", {}),
        ("event", {"descriptor": "primary", "seq_num": 1, "data": {"x": "r/1"}, "filled": 5}),
        ("event", {"descriptor": "primary", "seq_num": 1, "data": ["x"]}),
        ("event_page", {"descriptor": "primary", "seq_num": [1], "data": {"x": "r/1"}, "filled": {"x": 1}}),
        ("descriptor", {"uid": "d", "name": "primary", "data_keys": {"x": None, "y": {"external": 5}}}),
        ("descriptor", {"uid": "d", "name": "primary", "data_keys": 5}),
        ("descriptor", {"uid": LONG, "name": "primary", "data_keys": {LONG: {"external": LONG}}}),
        ("event", {"descriptor": LONG, "seq_num": 1}),
        ("stream_resource", {"uid": LONG, "data_key": LONG}),
        ("stream_datum", {"descriptor": "primary", "stream_resource": LONG, "seq_nums": {"start": 1, "stop": 2}}),
        ("stream_datum", {"descriptor": LONG, "stream_resource": "r"}),
        ("datum", {"datum_id": {}}),
        ("datum", {"datum_id": "r/" + "9" * 5000}),
        ("datum_page", {"datum_id": [None]}),
        ("event", {"descriptor": "primary", "seq_num": "x"}),
        ("event", {"descriptor": ["primary"], "seq_num": 1}),
        ("event_page", {"descriptor": "primary", "seq_num": 5}),
        ("event_page", {"descriptor": "primary", "seq_num": [None, 2]}),
        ("stream_datum", {"descriptor": "primary", "seq_nums": [1, 2]}),
        ("stream_datum", {"descriptor": "primary", "seq_nums": {"start": 5, "stop": 5}}),
        ("bulk_events", {"x": [1, None], "y": 3}),
        ("descriptor", {"uid": {}, "name": None}),
        ("stream_resource", {}),
    ],
)
def test_documents_that_are_none(name: str, document: dict[str, Any]) -> None:
    run, _ = heard()
    assert run.take(name, document) == ""
    assert run.missing({"num_events": [1, 2]}) == ""
    assert run.missing({"num_events": {"primary": "many"}}) == ""


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(1, 5))))
def test_ranges_are_those_of_a_set(heard: list[tuple[int, int]]) -> None:
    seq_nums, expected = SeqNums(), set()
    for start, length in heard:
        seq_nums.add(start, start + length)
        expected.update(range(start, start + length))
    assert [number for low, high in seq_nums.ranges for number in range(low, high)] == sorted(expected)
    assert seq_nums.count == len(expected)
    assert all(high < low for (_, high), (low, _) in pairwise(seq_nums.ranges))


@pytest.mark.parametrize("number", [10**5000, 2**63, -(2**64), 1.5, "1", None], ids=list("abcdef"))
def test_numbers_that_are_none_are_not_counted(number: Any) -> None:
    run, said = heard(("event", {**event(1, {"x": 1.0})[1], "seq_num": number}))
    assert said == []
    assert run.missing({"num_events": {"primary": number}}) == ""


def test_a_range_of_any_length_takes_no_room() -> None:
    run, said = heard(("stream_resource", {"uid": "r", "data_key": "one"}))
    assert (
        run.take(
            "stream_datum",
            {
                "descriptor": "primary",
                "stream_resource": "r",
                **{member: {"start": 1, "stop": 10**12} for member in ("indices", "seq_nums")},
            },
        )
        == ""
    )
    assert said == []


def test_frames_ahead_of_the_events_do_not_count_as_events() -> None:
    run, _ = heard(("stream_resource", {"uid": "r", "data_key": "one"}))
    seven = {"start": 1, "stop": 7}
    run.take("stream_datum", {"descriptor": "primary", "stream_resource": "r", "indices": seven, "seq_nums": seven})
    for document in events(1, 2, 3, 4, 5):
        run.take(*document)
    assert ended(run, primary=5) == ""
