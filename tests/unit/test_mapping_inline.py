"""What the layout in the info holds at the close for a writer of files that follows Redis, and what it does not."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from blissdata.h5map import Group

from blissdata_bluesky.mapping import ChangeState, RunMapper, identity_from_start

from .documents import NUMBER, Document, descriptor, event, events, start, stop

FILE = "/data/run.h5"
TEXT = {"dtype": "string", "shape": [], "source": "s"}
IMAGE = {"dtype": "array", "dtype_numpy": "<u2", "shape": [2, 3], "source": "s"}
RAGGED = {"dtype": "array", "dtype_numpy": "<f8", "shape": [None], "source": "s"}


def infos(documents: list[Document], *, inline: bool = True, **members: Any) -> list[Any]:
    """The info with each state."""
    first = start(**members)
    mapper = RunMapper(first, {**identity_from_start(first), "path": FILE}, inline=inline)
    operations = [*mapper.create(), *mapper.take(documents)]
    return [operation.info for operation in operations if isinstance(operation, ChangeState)]


def item(info: Any, path: str) -> Any:
    """What the layout has at a path; None when it has nothing."""
    found = info["h5maps"][FILE]
    for name in path.split("/"):
        found = found.get("children", {}).get(name)
        if found is None:
            return None
    return found


def numbers(found: Any) -> np.ndarray[Any, Any]:
    """The rows of a dataset that has them itself."""
    value = found["value"]
    assert value["type"] == "inline_b64"
    return np.frombuffer(base64.b64decode(value["value"]), value["dtype"]).reshape(value["shape"])


LATE = [
    descriptor(x=NUMBER),
    event(1, {"x": 1.0}),
    descriptor("dark", image=IMAGE, number=NUMBER, ragged=RAGGED),
    *[event(i, {"image": np.full((2, 3), i, "<u2"), "number": i / 3, "ragged": [1.0] * i}, "dark") for i in (1, 2)],
    stop(),
]


def test_only_the_close_has_the_rows_of_a_late_stream() -> None:
    *before, closed = infos(LATE)
    for info in before[2:]:
        assert item(info, "3.2/instrument/image/data")["value"] == {"type": "stream", "stream": "dark:image"}
    image = item(closed, "3.2/instrument/image/data")
    np.testing.assert_array_equal(numbers(image), [np.full((2, 3), i) for i in (1, 2)])
    assert image["attributes"] == {"interpretation": "image"}
    assert numbers(item(closed, "3.2/measurement/seq_num")).tolist() == [1, 2]
    assert numbers(item(closed, "3.2/measurement/timestamps")).shape == (2, 3)
    assert item(closed, "3.1/instrument/x/data")["value"] == {"type": "stream", "stream": "primary:x"}
    assert item(closed, "3.2/measurement/ragged") is None
    assert closed["bluesky"]["left_out"] == []
    Group.model_validate(closed["h5maps"][FILE])


def test_a_writer_that_reads_the_journal_needs_none_of_it() -> None:
    closed = infos(LATE, inline=False)[-1]
    assert item(closed, "3.2/instrument/image/data")["value"]["type"] == "stream"
    assert item(closed, "3.1/bluesky") is None


def test_texts_irregular_values_and_documents() -> None:
    rows = [{"label": "a", "x": 1.0}, {"label": None, "x": "no number"}]
    run = [descriptor(label=TEXT, x=NUMBER), *events(rows), descriptor("dark", x=NUMBER), stop()]
    closed = infos(run)[-1]
    assert item(closed, "3.1/measurement/label")["value"] == ["a", "json:null"]
    irregular = json.loads(item(closed, "3.1/bluesky/irregular")["value"])
    assert irregular == [{"row": 1, "key": "x", "value": "no number"}]
    documents = json.loads(item(closed, "3.1/bluesky/documents")["value"])
    assert [name for name, _ in documents] == ["start", "descriptor", "descriptor", "stop"]
    assert item(closed, "3.2/bluesky/documents") == {"type": "soft_link", "target_path": "/3.1/bluesky/documents"}


def test_a_stream_without_rows_is_not_linked_to() -> None:
    run = [descriptor("baseline", t=NUMBER), event(1, {"t": 1.0}, "baseline"), descriptor(x=NUMBER), stop()]
    closed = infos(run)[-1]
    assert item(closed, "3.1/measurement/x") is None
    assert item(closed, "3.1/plot") is None
    assert "default" not in item(closed, "3.1")["attributes"]
    # blisswriter fails when a dataset that it never made is taken away
    assert item(closed, "3.1/instrument/x/data")["value"]["type"] == "stream"
    assert item(closed, "3.2/plot") is not None


@pytest.mark.parametrize(
    ("members", "late_rows", "left_out"),
    [
        ({}, 20_000, []),
        ({}, 60_000, ["h5maps:dark"]),
        # the start is in the documents of the file, and need not be in the info as well
        ({"much": "x" * 600_000}, 1, ["start"]),
        ({"much": "x" * 480_000}, 20_000, ["start", "h5maps:documents"]),
        ({"much": "x" * 950_000}, 1, ["h5maps:documents"]),
        ({"much": "x" * 5_000_000}, 1, ["start", "h5maps:documents"]),
    ],
)
def test_the_smallest_come_first_while_there_is_room(members: Any, late_rows: int, left_out: list[str]) -> None:
    page: Document = (
        "event_page",
        {
            "descriptor": "dark",
            "seq_num": [*range(1, late_rows + 1)],
            "time": [2.0] * late_rows,
            "data": {"x": np.zeros(late_rows, "<f8")},
            "timestamps": {"x": [2.0] * late_rows},
        },
    )
    run = [descriptor(x=NUMBER), event(1, {"x": 1.0}), descriptor("dark", x=NUMBER), page, stop()]
    closed = infos(run, **members)[-1]
    assert len(json.dumps(closed)) <= 1_000_000
    assert closed["bluesky"]["left_out"] == left_out
    dark = item(closed, "3.2/instrument/x/data")
    if "h5maps:dark" in left_out:
        assert dark["value"]["type"] == "stream"
        assert item(closed, "3.2/measurement/x") is None
    else:
        assert len(numbers(dark)) == late_rows


def test_a_wide_run_leaves_less_room() -> None:
    wide = {f"detector_{i:04}": NUMBER for i in range(1000)}
    late = events([{"x": 1.0}] * 12_000, "dark")
    run = [descriptor(**wide), event(1, dict.fromkeys(wide, 1.0)), descriptor("dark", x=NUMBER), *late, stop()]
    closed = infos(run)[-1]
    assert len(json.dumps(closed)) <= 1_000_000
    assert closed["bluesky"]["left_out"] == ["start", "h5maps:dark"]
    assert item(closed, "3.1/bluesky/documents") is not None


def test_texts_that_would_be_spread_over_much_memory_are_left_out() -> None:
    rows = [{"label": "x" * (100_000 if i == 3 else 1)} for i in range(300)]
    closed = infos([descriptor(label=TEXT), *events(rows), stop()])[-1]
    assert closed["bluesky"]["left_out"] == ["h5maps:primary:label"]
    assert item(closed, "3.1/measurement/label") is None


def test_streams_may_be_called_like_anything_else() -> None:
    run = [descriptor("primary", label=TEXT), event(1, {"label": "a"})]
    for name in ("documents", "primary:label"):
        run += [descriptor(name, x=NUMBER), event(1, {"x": 1.5}, name)]
    closed = infos([*run, stop()])[-1]
    assert closed["bluesky"]["left_out"] == []
    for entry in ("3.2", "3.3"):
        assert numbers(item(closed, f"{entry}/instrument/x/data")).tolist() == [1.5]
    assert item(closed, "3.1/measurement/label")["value"] == ["a"]
    assert len(json.loads(item(closed, "3.1/bluesky/documents")["value"])) == 5


def test_what_is_let_go_of_does_not_depend_on_how_rows_come() -> None:
    frame = {"dtype": "array", "dtype_numpy": "<f8", "shape": [1000], "source": "s"}
    run = [descriptor(x=NUMBER), event(1, {"x": 1.0}), descriptor("many", f=frame), descriptor("few", f=frame)]
    for i in range(1, 81):
        run += [event(i, {"f": np.zeros(1000)}, "many")] + ([event(i, {"f": np.ones(1000)}, "few")] if i > 50 else [])
    first = start()
    for size in (1, 7, len(run)):
        mapper = RunMapper(first, {**identity_from_start(first), "path": FILE}, inline=True)
        operations = list(mapper.create())
        for i in range(0, len(run), size):
            operations += mapper.take(run[i : i + size])
        *_, last = mapper.take([stop()])
        assert isinstance(last, ChangeState)
        assert last.info["bluesky"]["left_out"] == ["h5maps:many"]


def test_a_descriptor_that_events_return_to_stands_there_once() -> None:
    other = descriptor(uid="other", x=NUMBER)
    returned = event(3, {"x": 3.0})
    between = ("event", {**event(2, {"x": 2.0})[1], "descriptor": "other"})
    closed = infos([descriptor(x=NUMBER), event(1, {"x": 1.0}), other, between, returned, stop()])[-1]
    documents = json.loads(item(closed, "3.1/bluesky/documents")["value"])
    assert [name for name, _ in documents] == ["start", "descriptor", "descriptor", "stop"]


def test_many_columns_of_few_texts_do_not_outgrow_the_info() -> None:
    keys = {f"text_{number:04}_of_a_long_name": TEXT for number in range(2000)}
    closed = infos([descriptor(**keys), event(1, dict.fromkeys(keys, "a")), stop()])[-1]
    assert len(json.dumps(closed)) <= 1_000_000
