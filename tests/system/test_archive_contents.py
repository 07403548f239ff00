"""What is in a file: every value of every kind, for our reader and for plain h5py."""

from __future__ import annotations

import datetime
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from blissdata_bluesky.archive import ArchivedFile, FileSpan
from blissdata_bluesky.errors import RunUnavailableError
from blissdata_bluesky.protocol import MISSING
from blissdata_bluesky.runs import ArchivedRuns

from .archived import (
    Place,
    assert_archived,
    assert_same_value,
    datasets,
    expected_columns,
    stored_columns,
)
from .emitted import KINDS, NUMBER, SCALARS, EmittedRun, scalar_run, values, whole_run

DTYPES = [
    "|b1",
    "<i1",
    "<i2",
    "<i4",
    "<i8",
    "<u1",
    "<u2",
    "<u4",
    "<u8",
    "<f2",
    "<f4",
    "<f8",
    "<c8",
    "<c16",
    ">i4",
    ">f8",
]
TEXTS = ["", "a\0b", "\ud800", "json:1", "json:", "x" * 2**20, "é", " ", "\0"]
ODD_NUMBERS = [1.0, float("nan"), "broken", None, 2**70, b"\0\1", float("-inf"), [1, 2], datetime.datetime(2020, 1, 1)]
ROWS = len(TEXTS)

ODD_KEYS = ["a/b", "..", ".", "", "documents", "x" * 3000, "é\0b", "N:1", "_timestamps_keys", "_x", "time", "seq_num"]
ODD_KEYS += ["timestamps", "ts_number", "ts_time", "\ud800", "plot", "number ", "values", "instrument/number/data"]
ODD_STREAMS = ["documents/values/x", "columns/x", "a/b", "..", ".", "", "documents", "x" * 3000, "é\0b", "N:1"]
ODD_STREAMS += ["streams/shapes", "bluesky", "instrument"]


def data_key(dtype: str, *shape: int | None) -> dict[str, Any]:
    return {"dtype": "array" if shape else "number", "dtype_numpy": dtype, "shape": list(shape)}


def archive(directory: Path, run: EmittedRun) -> Path:
    place = Place(directory)
    path = place.whole(run)
    place.archive()
    assert place.left() == []
    return path


@pytest.fixture
def numbered(tmp_path: Path) -> Iterator[h5py.File]:
    """The file of a run with the number 7, a baseline, a monitor and a stream that came late, as h5py opens it."""
    run = EmittedRun(scan_id=7, plan_name="scan", motors=["number"], hints={"dimensions": [(["number"], "primary")]})
    run.describe("baseline", SCALARS)
    run.event({"number": -1.5, "integer": -1}, "baseline")
    run.describe()
    run.events(range(5))
    run.describe("det_monitor", {"number": NUMBER})
    run.event({"number": 7.5}, "det_monitor")
    run.events(range(5, 9))
    run.describe("late", {"small": KINDS["small"]})
    run.event({"small": 3}, "late")
    run.event({"number": 1.5, "integer": 2}, "baseline")
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    # as our reader opens it: within one process, HDF5 wants to have it the same way each time
    with h5py.File(path, locking=False) as file:
        yield file


@pytest.mark.parametrize("shape", [(), (7,), (3, 4), (0,), (None,), (None, 4)], ids=str)
def test_every_dtype_and_shape(tmp_path: Path, shape: tuple[int | None, ...]) -> None:
    run = EmittedRun()
    run.describe(data_keys={dtype: data_key(dtype, *shape) for dtype in DTYPES})
    for row in range(5):
        filled = [row if length is None else length for length in shape]
        value = (np.arange(np.prod(filled, dtype=int)) + row).reshape(filled)
        run.event({dtype: value.astype(dtype) if shape else value.astype(dtype)[()] for dtype in DTYPES})
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    kinds = {np.asarray(rows[0]).dtype.kind for name, rows in stored_columns(path).items() if "timestamps" not in name}
    assert kinds >= set("biufc"), "they are no JSON"


@pytest.mark.parametrize("rows", [0, 3])
def test_more_dimensions_than_hdf5_has(tmp_path: Path, rows: int) -> None:
    shapes = {"most": [1] * 29 + [2, 3], "more": [1] * 30 + [2, 3]}
    run = EmittedRun()
    run.describe(data_keys={"number": NUMBER, **{key: data_key("<i4", *shape) for key, shape in shapes.items()}})
    for row in range(rows):
        arrays = {key: (np.arange(6, dtype="<i4") + row).reshape(shape) for key, shape in shapes.items()}
        run.event({"number": float(row), **arrays})
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    columns = stored_columns(path)
    for key, shape in shapes.items():
        assert np.shape(columns[f"primary:{key}"]) == (rows, *shape)
    with ArchivedRuns(tmp_path / "archive") as runs:
        stored = runs.get(run.uid).streams["primary"]
        for key, shape in shapes.items():
            assert stored.read(key).shape == (rows, *shape)


def odd_run() -> EmittedRun:
    """A run of all that is odd."""
    sample = {"bytes": b"\0\xff", "date": datetime.datetime(2020, 1, 1), "nan": float("nan"), "array": np.arange(4.0)}
    run = EmittedRun(sample={**sample, "big": 2**80, "complex": 1j, "surrogate": "\ud800", "nul": "a\0b"})
    keys = {"text": KINDS["text"], "number": NUMBER, "object": KINDS["text"], "words": data_key("<U5", 2)}
    keys |= {"image": data_key("<u2", 200, 100), "ragged": data_key("<f8", None), "table": data_key("<i4", None, None)}
    run.describe(data_keys=keys)
    for row in range(ROWS):
        data = {"text": TEXTS[row], "number": ODD_NUMBERS[row], "object": {"a": [1, (2, 3), b"x"]}, "words": ["a", "b"]}
        table = np.arange(row % 3 * 2, dtype="<i4").reshape(row % 3, 2) if row % 3 else np.zeros((0, 5), "<i4")
        run.event(data | {"image": np.full((200, 100), row, "<u2"), "ragged": np.arange(row % 3.0), "table": table})
    run.other("resource", {"uid": "r", "spec": "x", "root": "/", "resource_kwargs": {"blob": b"\1" * 5_000_000}})
    run.stop()
    return run


def test_odd_values_and_documents(tmp_path: Path) -> None:
    run = odd_run()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    found = stored_columns(path)
    assert found["primary:text"] == [text.encode(errors="backslashreplace").decode() for text in TEXTS]
    irregular = {value["row"]: value["value"] for value in found["primary:irregular"] if value["key"] == "number"}
    assert irregular[2] == "broken"
    assert irregular[4] == 2**70
    start = ArchivedFile(path).look().entries[0].document
    assert start["sample"]["big"] == 2**80
    assert start["sample"]["bytes"] == b"\0\xff"


def test_an_event_that_lacks_values_and_one_with_wrong_ones(tmp_path: Path) -> None:
    run = EmittedRun()
    run.describe()
    run.events(range(3))
    run.event(dict(list(values(3).items())[:3]))
    run.event({**values(4), "image": np.zeros((5, 5), "<u2"), "flag": "no flag", "text": 5})
    run.events([5])
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    found = stored_columns(path)
    assert len(found["primary:number"]) == len(found["primary:image"]) == 6
    irregular = {(value["row"], value["key"]): value["value"] for value in found["primary:irregular"]}
    assert irregular[3, "image"] is MISSING
    assert irregular[4, "flag"] == "no flag"
    assert irregular[4, "image"].shape == (5, 5)


def test_keys_that_need_to_be_escaped(tmp_path: Path) -> None:
    # event-model does not compose what has these keys
    run = EmittedRun()
    keys = {"number": NUMBER} | {key: kind for odd in ODD_KEYS for key, kind in kinds_of(odd).items()}
    described = {"uid": "d", "run_start": run.uid, "name": "primary", "time": 1.7e9}
    run.other("descriptor", described | {"data_keys": {key: {"source": "s"} | kind for key, kind in keys.items()}})
    for row in range(3):
        data: dict[str, Any] = {"number": row / 3}
        for odd in ODD_KEYS:
            data |= {odd: row * 1.5, f"{odd}t": f"{odd}{row}", f"{odd}r": np.arange(row + 1.0)}
        times = {"time": 1.7e9 + row, "timestamps": dict.fromkeys(data, 1.7e9 + row)}
        run.other("event", {"uid": str(row), "descriptor": "d", "seq_num": row + 1, "data": data} | times)
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    # seq_num, time and timestamps are of the stream
    assert len(stored_columns(path)) == 4 + 3 * len(ODD_KEYS)


def kinds_of(key: str) -> dict[str, Any]:
    return {key: NUMBER, f"{key}t": KINDS["text"], f"{key}r": KINDS["ragged"]}


def test_streams_whose_names_need_to_be_escaped(tmp_path: Path) -> None:
    run = EmittedRun()
    for odd in ODD_STREAMS:
        run.describe(odd, {**SCALARS, "text": KINDS["text"], "ragged": KINDS["ragged"]})
        for row in range(3):
            run.event({"number": row / 3, "integer": row, "text": odd, "ragged": np.arange(row + 1.0)}, odd)
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    assert len(stored_columns(path)) == 7 * len(ODD_STREAMS)


@pytest.mark.parametrize("ending", [0, 1, 2], ids=["start", "descriptor", "stop"])
def test_a_run_without_rows(tmp_path: Path, ending: int) -> None:
    run = EmittedRun()
    if ending:
        run.describe()
    run.stop()
    path = archive(tmp_path, run)
    assert_archived(path, run)
    file = ArchivedFile(path)
    assert file.rows(["primary:number", "nothing"]) == [0, 0]
    if ending:
        rows, texts, ragged = file.read([FileSpan(f"primary:{key}", 0, 0) for key in ("image", "text", "ragged")])
        assert (np.shape(rows), texts, ragged) == ((0, 3, 4), [], [])


def test_a_part_of_the_rows_and_more_than_there_are(tmp_path: Path) -> None:
    run = whole_run(50)
    path = archive(tmp_path, run)
    file, expected = ArchivedFile(path), expected_columns(run.documents, path)
    for start, stop in [(0, 1), (49, 50), (13, 37), (7, 7), (50, 50)]:
        for name, rows in zip(expected, file.read([FileSpan(name, start, stop) for name in expected]), strict=True):
            assert_same_value(list(rows), expected[name][start:stop])
    with pytest.raises(RunUnavailableError, match="has 50 rows, not 51"):
        file.read([FileSpan("primary:number", 0, 51)])


def test_documents_from_an_index_on(tmp_path: Path) -> None:
    path = archive(tmp_path, whole_run(3))
    entries = ArchivedFile(path).look().entries
    assert [entry.name for entry in entries] == ["start", "descriptor", "stop"]
    for known in range(4):
        assert ArchivedFile(path).look(known).entries == entries[known:]


def test_columns_and_links_for_h5py(numbered: h5py.File) -> None:
    entry = numbered["7.1"]
    numbers = np.arange(9) / 3
    np.testing.assert_array_equal(entry["instrument/number/value"], numbers)
    np.testing.assert_array_equal(entry["instrument/integer/data"], np.arange(9) + 2**53 + 1)
    np.testing.assert_array_equal(entry["instrument/image/data"], [values(row)["image"] for row in range(9)])
    assert entry["instrument/flag/data"].dtype == bool
    assert isinstance(entry["measurement"].get("number", getlink=True), h5py.SoftLink)
    np.testing.assert_array_equal(entry["measurement/number"], numbers)
    np.testing.assert_array_equal(entry["measurement/spectrum"], [values(row)["spectrum"] for row in range(9)])
    assert entry["measurement/time"].shape == (9,)
    assert list(entry["measurement/seq_num"]) == list(range(1, 10))
    assert "odd:na%me" in {device["data"].attrs.get("long_name") for device in devices(entry)}


def devices(entry: h5py.Group) -> list[h5py.Group]:
    return [device for device in entry["instrument"].values() if "data" in device]


def test_streams_become_entries(numbered: h5py.File) -> None:
    assert set(numbered) == {"7.1", "7.2", "7.3", "7.4"}
    assert {name: entry["title"].asstr()[()] for name, entry in numbered.items()} == {
        "7.1": "scan number (primary)",
        "7.2": "scan number (baseline)",
        "7.3": "scan number (det_monitor)",
        "7.4": "scan number (late)",
    }
    assert list(numbered["7.2/measurement/number"]) == [-1.5, 1.5]
    assert list(numbered["7.3/measurement/number"]) == [7.5]
    assert list(numbered["7.4/measurement/small"]) == [3]
    assert all("end_time" in entry for entry in numbered.values())


def test_the_time_of_each_value(numbered: h5py.File) -> None:
    measurement = numbered["7.1/measurement"]
    timestamps = measurement["timestamps"][()]
    assert list(measurement["_timestamps_keys"].asstr()) == list(KINDS)
    assert timestamps.shape == (9, len(KINDS))
    # event-model gives a key 10 ms more than the one before it
    np.testing.assert_allclose(timestamps - timestamps[:, :1], np.tile(np.arange(len(KINDS)) / 100, (9, 1)), atol=1e-6)
    names = column_names(Path(numbered.filename))
    assert {name for name in measurement if name.startswith("ts_")} == {f"ts_{name}" for name in names.values()}
    for position, key in enumerate(KINDS):
        shown = measurement[f"ts_{names[key]}"]
        np.testing.assert_array_equal(shown, timestamps[:, position])
        assert shown.attrs["units"] == "s"


def column_names(path: Path) -> dict[str, str]:
    """Key → name of its column, of the stream `primary`."""
    models = ArchivedFile(path).look().data_streams
    origins = {name.removeprefix("primary:"): model["info"]["bluesky"] for name, model in models.items()}
    return {
        origin["key"]: name for name, origin in origins.items() if origin["stream"] == "primary" and "key" in origin
    }


def test_texts_for_people(numbered: h5py.File) -> None:
    texts = numbered["7.1/measurement/text"]
    assert list(texts.asstr()) == [values(row)["text"] for row in range(9)]


def test_texts_that_are_too_long_to_be_shown_are_there_all_the_same(tmp_path: Path) -> None:
    path = archive(tmp_path, odd_run())
    with h5py.File(path) as file:
        (entry,) = [entry for name, entry in file.items() if name.endswith(".1")]
        assert "text" not in entry["measurement"]
        assert "words" in entry["measurement"]
        group = entry["bluesky/primary:text"]
        ends = np.cumsum(group["shapes"][:, 0])
        whole = group["values"][()].tobytes()
        found = [whole[start:end].decode() for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert [text for text in found if not text.startswith("json:")] == ["", "\\ud800", "x" * 2**20, "é", " "]
    assert json.loads(found[3].removeprefix("json:")) == "json:1"


def test_the_default_plot(numbered: h5py.File) -> None:
    plot = numbered[numbered.attrs["default"]]
    plot = plot[plot.attrs["default"]]
    assert plot.attrs["NX_class"] == "NXdata"
    axes = plot.attrs["axes"]
    assert [axes] if isinstance(axes, str) else list(axes) == ["number"]
    assert plot[plot.attrs["signal"]].shape[0] == 9
    np.testing.assert_array_equal(plot["number"], np.arange(9) / 3)


def test_what_marks_the_file_as_ours(numbered: h5py.File) -> None:
    attributes = dict(numbered.attrs)
    assert attributes["NX_class"] == "NXroot"
    assert attributes["default"] == "7.1"
    assert attributes["bluesky_format"] == 1
    assert attributes["bluesky_group"] == "/7.1/bluesky"
    assert attributes["bluesky_complete"]
    assert attributes["bluesky_incomplete"] == ""
    assert Path(numbered.filename).stem == attributes["bluesky_uid"]
    assert numbered["7.1/bluesky"].attrs["NX_class"] == "NXcollection"


def test_the_manifest_of_a_sealed_file(numbered: h5py.File) -> None:
    manifest = json.loads(numbered["7.1/bluesky/columns"].asstr()[()])
    assert {"/7.1/bluesky/documents/values", "/7.1/bluesky/primary:text/shapes"} < set(manifest)
    assert any(name.endswith("/instrument/image/data") for name in manifest)
    for name, written in manifest.items():
        rows = np.ascontiguousarray(numbered[name])
        assert written == {"rows": len(rows), "checksum": zlib.crc32(rows.tobytes())}


def test_every_chunk_of_a_sealed_file_is_compressed(tmp_path: Path) -> None:
    run = EmittedRun()
    run.describe(data_keys={**SCALARS, "text": KINDS["text"], "image": data_key("<u2", 200, 100)})
    for row in range(300):
        run.event({"number": row / 3, "integer": row, "text": str(row), "image": np.full((200, 100), row, "<u2")})
    run.stop()
    path = archive(tmp_path, run)
    with h5py.File(path) as file:
        names = json.loads(file[file.attrs["bluesky_group"]]["columns"].asstr()[()])
        for name in names:
            dataset = file[name]
            assert (dataset.compression, dataset.shuffle) == ("gzip", dataset.dtype.itemsize > 1)
            chunks = [dataset.id.get_chunk_info(index) for index in range(dataset.id.get_num_chunks())]
            assert all(chunk.filter_mask == 0 for chunk in chunks)
        image = file[next(name for name in names if name.endswith("image/data"))]
        assert image.chunks == (1, 200, 100)
        _, stored = image.id.read_direct_chunk((5, 0, 0))
        shuffled = np.full((200, 100), 5, "<u2").view("u1").reshape(-1, 2).T.tobytes()
        assert zlib.decompress(stored) == shuffled
    assert path.stat().st_size < 2**21


def test_large_events_that_are_pages(tmp_path: Path) -> None:
    run = scalar_run(0)
    descriptor = run.documents[1][1]["uid"]
    rows = np.arange(70_000)
    page = {"uid": list(map(str, rows)), "descriptor": descriptor, "seq_num": (rows + 1).tolist(), "filled": {}}
    times = (rows * 0.1).tolist()
    data = {"number": (rows / 3).tolist(), "integer": rows.tolist()}
    run.other("event_page", {**page, "time": times, "data": data, "timestamps": {"number": times, "integer": times}})
    run.stop()
    path = archive(tmp_path, run)
    numbers, integers = ArchivedFile(path).read(
        [FileSpan("primary:number", 0, 70_000), FileSpan("primary:integer", 69_000, 69_001)]
    )
    np.testing.assert_array_equal(numbers, rows / 3)
    assert list(integers) == [69_000]
    with h5py.File(path) as file:
        assert file["0.1/instrument/number/data"].chunks[0] == 2**16


def test_nothing_else_is_in_the_archive_and_all_of_it_can_be_read(tmp_path: Path) -> None:
    place = Place(tmp_path)
    runs = [whole_run(5, scan_id=number) for number in range(3)]
    paths = [place.whole(run) for run in runs]
    place.archive()
    assert place.files() == {path.relative_to(place.root) for path in paths}
    for path, run in zip(paths, runs, strict=True):
        assert_archived(path, run)
        assert len(datasets(path)) > len(KINDS)
