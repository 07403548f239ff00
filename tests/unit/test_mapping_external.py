"""What becomes of data keys whose values detectors write to files."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from blissdata_bluesky.mapping import (
    AddDocument,
    AppendRows,
    DeclareStreams,
    Operation,
    RunMapper,
    identity_from_start,
    located,
)
from blissdata_bluesky.protocol import REFERENCES, JsonEncoding

from .documents import NUMBER, UID, Document, descriptor, event, operations, short, start, stop

CAMERA = {"dtype": "array", "dtype_numpy": "<u2", "shape": [1, 5, 7], "source": "s", "external": "STREAM:"}
FILESTORE = {**CAMERA, "external": "FILESTORE:"}
PATH = "/archive/run.h5"


def resource(uid: str = "r", key: str = "camera", **members: Any) -> Document:
    given = {"mimetype": "application/x-hdf5", "uri": f"file://localhost/data/{uid}.h5"}
    document = {"uid": uid, "data_key": key, "parameters": {"dataset": "/entry/data"}, "run_start": UID, **given}
    return "stream_resource", document | members


def datum(begin: int, end: int, uid: str = "r", stream: str = "primary", seq_num: int | None = None) -> Document:
    first = begin + 1 if seq_num is None else seq_num
    seq_nums = {"start": first, "stop": first + end - begin}
    indices = {"start": begin, "stop": end}
    document = {"uid": f"{uid}/{begin}", "stream_resource": uid, "descriptor": stream}
    return "stream_datum", {**document, "indices": indices, "seq_nums": seq_nums}


def references(given: list[Operation], name: str = "primary:camera") -> list[tuple[int, list[list[int]]]]:
    columns = [column for operation in given if isinstance(operation, AppendRows) for column in operation.columns]
    return [(column.index, np.asarray(column.rows).tolist()) for column in columns if column.name == name]


def declarations(given: list[Operation]) -> dict[str, Any]:
    streams = [stream for operation in given if isinstance(operation, DeclareStreams) for stream in operation.streams]
    return {stream.name: stream for stream in streams}


def test_a_stream_of_frames_alone_begins_the_measurement() -> None:
    given = operations([descriptor(camera=CAMERA), resource(), datum(0, 2), datum(2, 3)])
    assert short(given)[2:] == [
        "descriptor {'primary': 0}",
        "stream_resource {'primary': 0}",
        "stream_datum {'primary': 0}",
        "declare primary",
        "PREPARED",
        "STARTED",
        "primary:camera 0+2",
        "stream_datum {'primary': 0}",
        "primary:camera 2+1",
    ]
    assert references(given) == [(0, [[0, 0, 1], [0, 1, 2]]), (2, [[0, 2, 3]])]


def test_frames_beside_events_wait_for_the_columns_of_these() -> None:
    given = operations(
        [descriptor(camera=CAMERA, x={"dtype": "integer", "shape": []}), resource(), datum(0, 1), event(1, {"x": 1})]
    )
    assert short(given)[-6:] == [
        "declare primary",
        "primary:camera 0+1",
        "declare primary",
        "PREPARED",
        "STARTED",
        "primary:time 0+1",
    ]
    assert [stream for stream in declarations(given) if stream.endswith("camera")] == ["primary:camera"]


def test_what_a_stream_of_frames_says() -> None:
    stream = declarations(operations([descriptor(camera=CAMERA), resource(), datum(0, 1)]))["primary:camera"]
    assert stream.encoding == REFERENCES
    assert stream.info["plugin"] == "bluesky_external"
    assert (stream.info["dtype"], stream.info["shape"]) == ("uint16", [1, 5, 7])
    assert stream.info["bluesky"] == {"stream": "primary", "key": "camera", "external": True, "uid": UID}
    assert "data_path" not in stream.info


def test_references_count_the_resources_of_the_whole_run() -> None:
    run = [descriptor(camera=CAMERA, other=CAMERA), resource("a", "other"), resource("b"), datum(0, 1, "b")]
    run += [datum(4, 5, "a"), resource("c"), datum(0, 2, "c", seq_num=9)]
    given = operations(run)
    assert references(given) == [(0, [[1, 0, 1]]), (1, [[2, 0, 9], [2, 1, 10]])]
    assert references(given, "primary:other") == [(0, [[0, 4, 5]])]


def test_several_frames_of_one_event_have_its_seq_num() -> None:
    frames = ("stream_datum", {**datum(0, 6)[1], "seq_nums": {"start": 3, "stop": 5}})
    given = operations([descriptor(camera=CAMERA), resource(), frames])
    assert [row[2] for row in references(given)[0][1]] == [3, 3, 3, 4, 4, 4]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (datum(0, 1, "unknown"), "'unknown' is not one of this run's"),
        (datum(0, 1, stream="unknown"), "descriptor 'unknown' is not one"),
        (("stream_datum", {**datum(0, 1)[1], "indices": {"start": 2, "stop": 1}}), "'indices' is no range"),
        (("stream_datum", {**datum(0, 1)[1], "indices": {"start": 0, "stop": "1"}}), "'indices' is no range"),
        (("stream_datum", {**datum(0, 1)[1], "seq_nums": None}), "'seq_nums' is no range"),
        (datum(0, 10**12), "are not taken at once"),
        (datum(0, 1, "x"), "does not come by stream_datum"),
    ],
)
def test_a_stream_datum_that_makes_no_sense_is_kept_as_a_document(
    document: Document, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        given = operations([descriptor(camera=CAMERA, x=NUMBER), resource(), resource("x", "x"), document])
    assert references(given) == []
    assert reason in caplog.text
    assert [op.name for op in given if isinstance(op, AddDocument)][-1] == "stream_datum"


def test_datum_ids_are_references_too() -> None:
    given = operations([descriptor(camera=FILESTORE), event(1, {"camera": "r/0"})])
    stream = declarations(given)["primary:camera"]
    assert stream.encoding == JsonEncoding()
    assert stream.info["plugin"] == "bluesky_external"
    assert stream.info["bluesky"]["external"] is True


def test_links_to_the_files_come_at_the_end() -> None:
    mapper = RunMapper(start(), {**identity_from_start(start()), "path": PATH})
    list(mapper.create())
    run = [descriptor(camera=CAMERA, two=CAMERA, tiff=CAMERA), resource(), datum(0, 2), resource("a", "two")]
    run += [resource("b", "two", uri="file:///C:/data/b.h5"), resource("t", "tiff", mimetype="image/tiff")]
    list(mapper.take(run))
    assert mapper.h5map["children"]["3.1"]["children"]["instrument"]["children"]["camera"]["children"] == {}
    *_, closed = mapper.take([stop()])
    instrument = mapper.h5map["children"]["3.1"]["children"]["instrument"]["children"]
    link = {"type": "external_link", "target_file": "file://localhost/data/r.h5", "target_path": "/entry/data"}
    assert instrument["camera"]["children"] == {"data": link}
    assert list(instrument["two"]["children"]) == ["data_0", "data_1"]
    assert instrument["tiff"]["children"] == {}
    shown = closed.info["h5maps"][PATH]["children"]["3.1"]["children"]
    assert shown["instrument"]["children"]["camera"]["children"]["data"]["target_file"] == "/data/r.h5"
    assert shown["measurement"]["children"]["camera"]["target_file"] == "/data/r.h5"
    here = located(mapper.h5map, lambda uri: "/here" if "C:" in uri else None)["children"]["3.1"]["children"]
    assert here["instrument"]["children"]["two"]["children"]["data_1"]["target_file"] == "/here"
    assert here["instrument"]["children"]["camera"]["children"] == {}
    assert "camera" not in here["measurement"]["children"]


@pytest.mark.parametrize("path", ["", "/", "a\0b", None])
def test_a_dataset_that_cannot_be_is_not_linked_to(path: Any) -> None:
    mapper = RunMapper(start(), {**identity_from_start(start()), "path": PATH})
    list(mapper.create())
    list(mapper.take([descriptor(camera=CAMERA), resource(parameters={"dataset": path}), datum(0, 2), stop()]))
    instrument = mapper.h5map["children"]["3.1"]["children"]["instrument"]["children"]
    assert instrument["camera"]["children"] == {}
