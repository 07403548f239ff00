"""What every source of runs has to do, whatever it reads from (`blissdata_bluesky.runs.interface`)."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from event_model import DocumentNames, schema_validators

from blissdata_bluesky.errors import ExternalMissingError, RunNotFoundError, StreamNotFoundError
from blissdata_bluesky.protocol import JsonEncoding, NumericEncoding
from blissdata_bluesky.runs import Run, RunSource, last_of_each

from .archived import journaled
from .detectors import HDF5Detector
from .emitted import INTEGER, KINDS, NUMBER, EmittedRun, Named, values, whole_run
from .external_runs import FilesRun, assert_frames

Publish = Callable[[Iterable[Named]], None]


class RunContract:
    """Subclasses supply the fixtures `source`, a RunSource, and `publish`, which gives it the documents of a run."""

    @pytest.fixture(autouse=True)
    def detectors(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Where detectors write, and every source may read."""
        directory = tmp_path / "detectors"
        directory.mkdir()
        monkeypatch.setenv("BLISSDATA_BLUESKY_ROOTS", str(directory))
        return directory

    @pytest.fixture
    def whole(self, source: RunSource, publish: Publish) -> Run:
        """A finished run of 12 rows."""
        return read_back(source, publish, whole_run(12, plan_name="count", sample={"name": "LaB6", "mass": 0.5}))

    def test_documents_come_back(self, source: RunSource, publish: Publish) -> None:
        emitted = whole_run(12, plan_name="count")
        run = read_back(source, publish, emitted)
        assert run.uid == emitted.uid
        assert run.start == emitted.documents[0][1]
        assert run.stop == emitted.documents[-1][1]
        assert run.closed
        assert_same_documents(run.documents(), emitted.documents)

    def test_documents_are_valid(self, whole: Run) -> None:
        for name, document in whole.documents():
            schema_validators[DocumentNames[name]].validate(document)

    def test_events_have_one_uid_for_ever(self, source: RunSource, whole: Run) -> None:
        uids = [document["uid"] for name, document in whole.documents() if name == "event"]
        again = [document["uid"] for name, document in source.get(whole.uid).documents() if name == "event"]
        assert uids == again
        assert len(set(uids)) == 12

    def test_scalars_are_pythons_and_arrays_numpys(self, whole: Run) -> None:
        event = next(document for name, document in whole.documents() if name == "event")
        types = {key: type(value) for key, value in event["data"].items()}
        assert types["number"] is float
        assert types["integer"] is int
        assert types["flag"] is bool
        assert types["text"] is str
        assert types["image"] is np.ndarray
        assert {type(at) for at in event["timestamps"].values()} == {float}

    def test_columns(self, whole: Run) -> None:
        stream = whole.streams["primary"]
        assert stream.name == "primary"
        assert list(stream.columns) == list(KINDS)
        assert [column.key for column in stream.columns.values()] == list(KINDS)
        names = {key: column.name for key, column in stream.columns.items()}
        assert names["number"] == "number"
        assert names["odd:na%me"] == "odd%3Ana%25me"
        assert names["time"] == "%74ime"
        assert names["_under"] == "%5Funder"
        assert stream.columns["image"].encoding == NumericEncoding(np.dtype("<u2"), (3, 4))
        assert stream.columns["text"].encoding == JsonEncoding()
        assert stream.columns["ragged"].encoding == NumericEncoding(np.dtype("<f8"), (-1,))
        assert stream.columns["image"].data_key["shape"] == [3, 4]

    @pytest.mark.parametrize(
        ("start", "stop", "rows"),
        [(0, None, range(12)), (3, 7, range(3, 7)), (11, 12, [11]), (5, None, range(5, 12)), (9, 50, range(9, 12))]
        + [(4, 4, []), (12, None, []), (40, 50, []), (7, 3, [])],
    )
    def test_slices(self, whole: Run, start: int, stop: int | None, rows: Iterable[int]) -> None:
        expected = [values(row) for row in rows]
        stream = whole.streams["primary"]
        for key, column in stream.columns.items():
            found = stream.read(key, start, stop)
            assert_same([row[key] for row in expected], list(found))
            if isinstance(found, np.ndarray):
                assert found.dtype == column.encoding.dtype
                assert found.shape == (len(expected), *column.encoding.shape)
        assert stream.seq_num(start, stop).tolist() == [row + 1 for row in rows]
        assert stream.seq_num(start, stop).dtype == np.int64
        assert stream.time(start, stop).tolist() == [1.7e9 + 0.25 * (row + 2) for row in rows]
        assert stream.timestamps(start, stop).shape == (len(expected), len(KINDS))

    def test_many_columns_at_once(self, whole: Run) -> None:
        stream = whole.streams["primary"]
        read = stream.read_many(["text", "number"], 2, 6)
        assert list(read) == ["text", "number"]
        assert_same(list(read["number"]), [row / 3 for row in range(2, 6)])
        table = stream.table(["image"], 2, 6)
        assert len(table) == 4
        assert table.start == 2
        assert table.seq_num.tolist() == [3, 4, 5, 6]
        assert list(table.data) == ["image"]
        assert table.irregular == {}
        np.testing.assert_array_equal(table.timestamps, stream.timestamps(2, 6))
        assert list(stream.table().data) == list(KINDS)

    def test_what_is_read_cannot_be_spoilt(self, whole: Run) -> None:
        stream = whole.streams["primary"]
        for read in (stream.read("number"), stream.read("image", 2, 3), stream.time()):
            with pytest.raises(ValueError, match="read-only"):
                np.asarray(read)[0] = 0
        texts = stream.read("text")
        assert isinstance(texts, list)
        texts.clear()
        assert len(stream.read("text")) == 12

    def test_a_wrong_question_is_an_error(self, source: RunSource, whole: Run) -> None:
        stream = whole.streams["primary"]
        with pytest.raises(KeyError, match="no data key 'nonsense'.*number"):
            stream.read("nonsense")
        with pytest.raises(KeyError):
            stream.read_many(["number", "nonsense"])
        with pytest.raises(KeyError):
            stream.irregular("nonsense")
        with pytest.raises(ValueError, match="counted from 0"):
            stream.read("number", -1)
        with pytest.raises(ValueError, match="counted from 0"):
            stream.time(0, -1)
        with pytest.raises(StreamNotFoundError, match="no stream 'nonsense'.*primary"):
            whole.streams["nonsense"]
        with pytest.raises(RunNotFoundError, match="nonsense"):
            source.get("nonsense")

    def test_values_that_no_column_holds(self, source: RunSource, publish: Publish) -> None:
        odd = {
            1: {"number": None, "integer": 2**70, "text": "x"},
            3: {"number": "broken", "integer": 0.5, "text": {"a": [1.5, float("inf")], "b": 1 + 2j}},
            4: {"number": np.arange(3), "integer": 1, "text": datetime.datetime(2026, 1, 2)},
        }
        emitted = EmittedRun()
        emitted.describe(data_keys={"number": NUMBER, "integer": INTEGER, "text": KINDS["text"]})
        for row in range(6):
            emitted.event(odd.get(row, {"number": row / 3, "integer": row, "text": str(row)}))
        emitted.stop()
        run = read_back(source, publish, emitted)
        stream = run.streams["primary"]
        assert stream.irregular("number").keys() == {1, 3, 4}
        assert stream.irregular("number", 2, 4) == {3: "broken"}
        assert stream.irregular("number", 5) == {}
        assert stream.irregular("integer") == {1: 2**70, 3: 0.5}
        numbers = stream.read("number")
        assert np.isnan(numbers[[1, 3, 4]]).all()
        assert numbers[[0, 2, 5]].tolist() == [0, 2 / 3, 5 / 3]
        assert stream.table(["text"], 3).irregular.keys() == {"number", "integer"}
        assert_same_documents(run.documents(), emitted.documents)

    def test_keys_that_an_event_lacks_or_adds(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe(data_keys={"number": NUMBER, "text": KINDS["text"]})
        emitted.event({"number": 1.5, "text": "a"})
        emitted.event({"number": 2.5})
        emitted.event({"text": "c"})
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert run.streams["primary"].rows() == 3
        assert_same_documents(run.documents(), emitted.documents)

    def test_a_rewind_keeps_all_rows(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe(data_keys={"number": NUMBER})
        for seq_num in (1, 2, 3, 2, 3, 4):
            emitted.event({"number": float(seq_num)}, seq_num=seq_num)
        emitted.stop()
        run = read_back(source, publish, emitted)
        stream = run.streams["primary"]
        assert stream.seq_num().tolist() == [1, 2, 3, 2, 3, 4]
        assert np.arange(6)[last_of_each(stream.seq_num())].tolist() == [0, 3, 4, 5]
        assert_same_documents(run.documents(), emitted.documents)

    def test_streams_side_by_side(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe("baseline", {"number": NUMBER})
        emitted.event({"number": -1.0}, "baseline")
        emitted.describe("primary", {"number": NUMBER, "integer": INTEGER})
        emitted.describe("ring/current_monitor", {"number": NUMBER})
        for row in range(5):
            emitted.event({"number": float(row)}, "ring/current_monitor")
            emitted.event({"number": row / 2, "integer": row}, "primary")
        emitted.describe("dark", {"number": NUMBER})
        emitted.event({"number": 7.0}, "dark")
        emitted.event({"number": -2.0}, "baseline")
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert list(run.streams) == ["baseline", "primary", "ring/current_monitor", "dark"]
        assert [stream.rows() for stream in run.streams.values()] == [2, 5, 5, 1]
        assert_same_documents(run.documents(), emitted.documents)

    def test_a_stream_described_twice(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe(data_keys={"number": NUMBER})
        emitted.event({"number": 1.0}, seq_num=1)
        emitted.event({"number": 2.0}, seq_num=2)
        emitted.describe(data_keys={"number": NUMBER})
        emitted.event({"number": 3.0}, seq_num=3)
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert len(run.streams["primary"].descriptors) == 2
        assert_same_documents(run.documents(), emitted.documents)

    def test_a_stream_without_events(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe()
        emitted.stop()
        run = read_back(source, publish, emitted)
        stream = run.streams["primary"]
        assert stream.rows() == 0
        assert list(stream.columns) == list(KINDS)
        assert stream.columns["image"].encoding == NumericEncoding(np.dtype("<u2"), (3, 4))
        assert stream.read("image").shape == (0, 3, 4)
        assert stream.read("text") == []
        assert len(stream.table()) == 0
        assert stream.timestamps().shape == (0, len(KINDS))
        assert_same_documents(run.documents(), emitted.documents)

    def test_a_stream_without_data_keys(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.describe(data_keys={})
        emitted.event({})
        emitted.event({})
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert run.streams["primary"].rows() == 2
        assert run.streams["primary"].timestamps().shape == (2, 0)
        assert_same_documents(run.documents(), emitted.documents)

    def test_a_run_without_streams(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert dict(run.streams) == {}
        assert_same_documents(run.documents(), emitted.documents)

    def test_frames_in_files(self, source: RunSource, publish: Publish, detectors: Path) -> None:
        cam = HDF5Detector(detectors, parameters={"locking": False})
        emitted = FilesRun(cam)
        emitted.points(3)
        emitted.next_file(cam)
        emitted.points(2)
        emitted.stop()
        run = read_back(source, publish, emitted)
        stream = run.streams["primary"]
        assert (stream.rows(), list(stream.columns), list(stream.external)) == (5, ["number"], ["cam"])
        column = stream.external["cam"]
        assert (column.key, column.name, column.joined) == ("cam", "cam", False)
        assert column.data_key["shape"] == [1, 3, 4]
        assert_frames(column, cam.rows)
        with pytest.raises(ValueError, match="counted from 0"):
            column.read(-1)
        cam.path.unlink()
        with pytest.raises(ExternalMissingError, match=f"run {run.uid}, stream 'primary', key 'cam': "):
            column.read(3)
        assert_same(list(column.read(0, 3)), list(cam.rows[:3]))
        assert len(stream.table()) == 5
        assert_same_documents(run.documents(), journaled(emitted.documents))

    def test_frames_alone(self, source: RunSource, publish: Publish, detectors: Path) -> None:
        cam = HDF5Detector(detectors, name="a:b", parameters={"locking": False})
        emitted = FilesRun(cam, events=False)
        emitted.expose(4)
        emitted.expose(2)
        emitted.stop()
        run = read_back(source, publish, emitted)
        stream = run.streams["primary"]
        assert (stream.rows(), dict(stream.columns)) == (0, {})
        assert stream.external["a:b"].name == "a%3Ab"
        assert_frames(stream.external["a:b"], cam.rows)
        assert_same_documents(run.documents(), journaled(emitted.documents))

    def test_documents_of_external_data(self, source: RunSource, publish: Publish) -> None:
        emitted = EmittedRun()
        external = {"dtype": "array", "shape": [4, 4], "external": "FILESTORE:"}
        emitted.describe(data_keys={"camera": external, "stack": {**external, "external": "STREAM:"}, "number": NUMBER})
        resource = {"uid": "r1", "spec": "AD_HDF5", "root": "/", "resource_path": "a.h5", "resource_kwargs": {}}
        emitted.other("resource", {**resource, "path_semantics": "posix", "run_start": emitted.uid})
        emitted.other("datum", {"datum_id": "r1/0", "resource": "r1", "datum_kwargs": {"point": 0}})
        (_, event), *_ = emitted.event({"camera": "r1/0", "number": 1.0})
        event["filled"] = {"camera": False}
        emitted.stop()
        run = read_back(source, publish, emitted)
        assert list(run.streams["primary"].columns) == ["camera", "number"]
        assert run.streams["primary"].read("camera") == ["r1/0"]
        assert_same_documents(run.documents(), emitted.documents)


def read_back(source: RunSource, publish: Publish, emitted: EmittedRun) -> Run:
    """The run after all that was emitted has been published."""
    publish(emitted.documents)
    return source.get(emitted.uid)


def assert_same_documents(found: Iterable[Named], emitted: Iterable[Named]) -> None:
    """The same documents in the same order, but for the events' uids, which are not kept."""
    for (name, document), (expected_name, expected) in zip(found, emitted, strict=True):
        assert name == expected_name
        if name == "event":
            document, expected = document | {"uid": ""}, {**expected, "uid": ""}
        assert_same(document, expected)


def assert_same(found: Any, expected: Any) -> None:
    """Equal, arrays included, element by element."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert np.asarray(found).dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected
