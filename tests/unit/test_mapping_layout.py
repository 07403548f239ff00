"""The NeXus layout of a run: blissdata takes it, and silx draws it when it is made real."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from blissdata import h5map
from blissdata.streams.hdf5_fallback import Hdf5BackedStream
from hypothesis import given, settings
from hypothesis import strategies as st

from blissdata_bluesky.mapping import (
    ChangeState,
    CreateScan,
    DeclareStreams,
    Operation,
    RunMapper,
    identity_from_start,
)
from blissdata_bluesky.packing import pack_document, unpack_document
from blissdata_bluesky.protocol import ScanState

from .documents import INTEGER, NUMBER, UID, Document, columns, descriptor, event, events, page, start, stop
from .test_mapping_hostile import HOSTILE, START, changed, paths
from .test_mapping_hostile import run as hostile_run

FILE = "/archive/2026/run.h5"
STRING = {"dtype": "string", "shape": [], "source": "s"}
BOOLEAN = {"dtype": "boolean", "shape": [], "source": "s"}
IMAGE = {"dtype": "array", "shape": [3, 4], "source": "s", "dtype_numpy": "<u2"}
SPECTRUM = {"dtype": "array", "shape": [5], "source": "s", "dtype_numpy": "<f4"}
RAGGED = {"dtype": "array", "shape": [None], "source": "s"}
COMPLEX = {"dtype": "number", "shape": [], "source": "s", "dtype_numpy": "<c16"}

SCAN = {"motors": ["m"], "hints": {"dimensions": [[["m"], "primary"]]}}
GRID = {"motors": ["slow", "fast"], "hints": {"dimensions": [[["slow"], "primary"], [["fast"], "primary"]]}}
COUNT = {"hints": {"dimensions": [[["time"], "primary"]]}}


class Run:
    """A run that has a file, mapped."""

    def __init__(self, documents: list[Document], path: str | None = FILE, **start_members: Any) -> None:
        document = start(**start_members)
        self.mapper = RunMapper(document, identity_from_start(document) | {"path": path})
        self.operations: list[Operation] = [*self.mapper.create()]
        self.maps = [self.mapper.h5map]
        for name, member in documents:
            for operation in self.mapper.take([(name, member)]):
                self.operations.append(operation)
                self.maps.append(self.mapper.h5map)
        for before, layout in zip([None, *self.maps], self.maps, strict=False):
            if layout != before:
                validated(layout)

    @property
    def infos(self) -> list[Any]:
        kinds = CreateScan | DeclareStreams | ChangeState
        return [operation.info for operation in self.operations if isinstance(operation, kinds)]

    @property
    def entries(self) -> dict[str, Any]:
        return self.mapper.h5map["children"]

    @property
    def titles(self) -> dict[str, str]:
        return {name: entry["children"]["title"]["value"] for name, entry in self.entries.items()}

    def make(self, directory: Path) -> h5py.File:
        """The layout made real, with the rows of the run."""
        file = h5py.File(directory / "run.h5", "w")
        _make(file, h5map.Group.model_validate(self.mapper.h5map), columns(self.operations), self.mapper.data_streams)
        return file


def validated(layout: dict[str, Any]) -> None:
    text = json.dumps(layout, allow_nan=False)
    assert "null" not in text
    model = h5map.Group.model_validate(json.loads(text))
    assert h5map.Group.model_validate_json(model.model_dump_json()) == model
    by_path = dict(items(layout))
    for item in by_path.values():
        if item["type"] == "soft_link":
            assert by_path[item["target_path"]]["value"]["type"] == "stream"


def items(group: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, child in group["children"].items():
        assert "/" not in name
        yield f"{above}/{name}", child
        if child["type"] == "group":
            yield from items(child, f"{above}/{name}")


def found(layout: dict[str, Any], path: str) -> Any:
    return dict(items(layout))[path]


def _make(group: h5py.Group, model: h5map.Group, rows: Mapping[str, list[Any]], streams: Mapping[str, Any]) -> None:
    for name, value in model.attributes.items():
        group.attrs[name] = value.decode()
    for name, item in model.children.items():
        if isinstance(item, h5map.Group):
            _make(group.create_group(name), item, rows, streams)
        elif isinstance(item, h5map.SoftLink):
            group[name] = h5py.SoftLink(item.target_path)
        else:
            dataset = group.create_dataset(name, data=_values(item.value, rows, streams))
            for attribute, value in item.attributes.items():
                dataset.attrs[attribute] = value.decode()


def _values(value: Any, rows: Mapping[str, list[Any]], streams: Mapping[str, Any]) -> Any:
    if not isinstance(value, h5map.Stream):
        return value.decode()
    encoding = streams[value.stream]["encoding"]
    given = np.asarray(rows.get(value.stream, []), encoding["dtype_str"])
    return given.reshape(-1, *encoding["shape"])


def described(name: str = "primary", hints: Any = None, devices: Any = None, **keys: Any) -> Document:
    kind, document = descriptor(name, **keys)
    return kind, {**document, "hints": hints or {}, "object_keys": devices or {key: [key] for key in keys}}


def scanned(rows: int = 4, **keys: Any) -> list[Document]:
    hints = {"m": {"fields": ["m"]}, "det": {"fields": ["det"]}}
    keys = {"m": {**NUMBER, "units": "mm"}, "det": {**NUMBER, "units": "counts"}, **keys}
    return [described(hints=hints, **keys), *events([{"m": 0.1 * i, "det": float(i)} for i in range(rows)]), stop()]


class TestEntries:
    def test_a_scan(self) -> None:
        run = Run(scanned(), **SCAN, proposal={"proposal_id": "p1"})
        root = run.mapper.h5map
        assert root["attributes"] | {"creator_version": ""} == {
            "NX_class": "NXroot",
            "default": "3.1",
            "creator": "blissdata-bluesky",
            "creator_version": "",
            "file_name": FILE,
        }
        assert list(root["children"]) == ["3.1"]
        entry = root["children"]["3.1"]
        assert entry["attributes"] == {"NX_class": "NXentry", "default": "plot"}
        assert entry["children"]["entry_identifier"]["value"] == UID
        assert entry["children"]["experiment_identifier"]["value"] == "p1"
        assert found(root, "/3.1/instrument/m") == {
            "type": "group",
            "attributes": {"NX_class": "NXpositioner"},
            "children": {
                "value": {
                    "type": "dataset",
                    "value": {"type": "stream", "stream": "primary:m"},
                    "attributes": {"units": "mm"},
                }
            },
        }
        assert found(root, "/3.1/instrument/det")["attributes"] == {"NX_class": "NXdetector"}
        assert found(root, "/3.1/instrument/det/data")["value"] == {"type": "stream", "stream": "primary:det"}
        assert list(found(root, "/3.1/measurement")["children"]) == [
            "time", "seq_num", "timestamps", "_timestamps_keys", "m", "det",
        ]  # fmt: skip
        assert found(root, "/3.1/measurement/_timestamps_keys")["value"] == ["m", "det"]
        assert found(root, "/3.1/measurement/time")["attributes"]["units"] == "s"
        assert found(root, "/3.1/plot") == {
            "type": "group",
            "attributes": {"NX_class": "NXdata", "signal": "det", "axes": ["m"], "m_indices": 0},
            "children": {
                "det": {"type": "soft_link", "target_path": "/3.1/instrument/det/data"},
                "m": {"type": "soft_link", "target_path": "/3.1/instrument/m/value"},
            },
        }

    def test_the_first_entry_is_there_from_the_start_and_its_end_only_at_the_close(self) -> None:
        run = Run(scanned(), **SCAN)
        assert all("3.1" in layout["children"] for layout in run.maps)
        shown = ["end_time" in layout["children"]["3.1"]["children"] for layout in run.maps]
        assert shown == [False] * (len(shown) - 1) + [True]
        assert run.mapper.state == ScanState.CLOSED
        in_info = [FILE in info["h5maps"] and info["h5maps"][FILE] for info in run.infos]
        assert ["end_time" in layout["children"]["3.1"]["children"] for layout in in_info] == [False] * (
            len(in_info) - 1
        ) + [True]

    def test_a_run_that_ends_incomplete_has_an_end(self) -> None:
        run = Run(scanned()[:-1], **SCAN)
        assert "end_time" not in run.entries["3.1"]["children"]
        list(run.mapper.end_incomplete("its owner died", 5.0))
        assert "end_time" in run.entries["3.1"]["children"]

    def test_streams_that_surround_the_measurement_come_after_it(self) -> None:
        baseline = [described("baseline", x=NUMBER), event(1, {"x": 1.0}, "baseline")]
        late = [described("dark", x=NUMBER), event(1, {"x": 1.0}, "dark")]
        run = Run([*baseline, *scanned()[:-1], *late, stop()], motors=["m"])
        assert run.titles == {"3.1": "count m (primary)", "3.2": "count m (baseline)", "3.3": "count m (dark)"}
        titles = [layout["children"]["3.1"]["children"]["title"]["value"] for layout in run.maps]
        assert list(dict.fromkeys(titles)) == ["count m", "count m (primary)"]

    @pytest.mark.parametrize(
        ("members", "titles"),
        [
            (SCAN, {"3.1": "count m (primary)", "3.2": "count m (dark)"}),
            ({"motors": ["m"]}, {"3.1": "count m (dark)", "3.2": "count m (primary)"}),
        ],
        ids=["hints", "no hints"],
    )
    def test_a_dark_before_the_measurement(self, members: dict[str, Any], titles: dict[str, str]) -> None:
        dark = [described("dark", x=NUMBER), event(1, {"x": 1.0}, "dark")]
        assert Run([*dark, *scanned()], **members).titles == titles

    def test_numbers_are_those_of_the_descriptors_not_of_the_first_events(self) -> None:
        late = [described("late", x=INTEGER), described("soon", x=NUMBER)]
        run = Run([*late, event(1, {"x": 1.0}, "soon"), event(1, {"x": 1}, "late"), stop()], **SCAN)
        assert run.titles == {"3.1": "count m (primary)", "3.2": "count m (late)", "3.3": "count m (soon)"}
        assert "instrument" not in run.entries["3.1"]["children"]
        assert list(run.maps[-1]["children"]) == ["3.1", "3.2", "3.3"]

    def test_what_is_once_in_the_layout_stays(self) -> None:
        baseline = [described("baseline", x=NUMBER), event(1, {"x": 1.0}, "baseline")]
        run = Run(
            [*baseline, *scanned(s=STRING)[:-1], described("late", y=NUMBER), event(1, {"y": 1.0}, "late"), stop()]
        )
        for before, after in zip(run.maps, run.maps[1:], strict=False):
            known, later = dict(items(before)), dict(items(after))
            assert known.keys() <= later.keys()
            assert not [
                path
                for path, item in known.items()
                if item["type"] != "group" and item != later[path] and path != "/3.1/title"
            ]
            for path, item in known.items():
                assert item.get("attributes", {}).items() <= later[path].get("attributes", {}).items()

    def test_several_descriptors_of_one_stream_share_an_entry(self) -> None:
        again = described("primary", m=NUMBER, det=NUMBER)
        again[1]["uid"] = "again"
        assert list(Run([*scanned()[:-1], again, stop()], **SCAN).entries) == ["3.1"]

    def test_without_a_path_there_is_no_layout(self) -> None:
        run = Run.__new__(Run)
        document = start(**SCAN)
        run.mapper = RunMapper(document, identity_from_start(document))
        run.operations = [*run.mapper.create(), *run.mapper.take(scanned())]
        assert run.mapper.h5map == {}
        assert not any("h5maps" in info for info in run.infos)
        assert {stream["path"] for stream in run.mapper.data_streams.values()} == {""}
        assert all("plugin" not in stream["info"] for stream in run.mapper.data_streams.values())


class TestStreams:
    KEYS = {"s": STRING, "b": BOOLEAN, "c": COMPLEX, "image": IMAGE, "ragged": RAGGED, "none": RAGGED}

    def run(self) -> Run:
        row = {"s": "x", "b": True, "c": 1 + 2j, "image": np.zeros((3, 4), "<u2"), "none": np.zeros(0)}
        rows = [{**row, "ragged": np.zeros(5)}, {**row, "ragged": np.zeros(2)}, {**row, "b": "no truth"}]
        first = {**rows[0], "ragged": [1.0]}
        return Run([described(**self.KEYS), *events([first, *rows]), stop()])

    def test_a_stream_is_in_the_layout_when_its_rows_are_of_one_shape(self) -> None:
        run = self.run()
        streams = run.mapper.data_streams
        shapes = {name: stream["encoding"].get("shape") for name, stream in streams.items()}
        assert shapes["primary:ragged"] == shapes["primary:none"] == [-1]
        paths = {name: stream["path"] for name, stream in streams.items()}
        expected = {name: shape is not None and -1 not in shape for name, shape in shapes.items()}
        assert {name: bool(path) for name, path in paths.items()} == expected
        assert not paths["primary:s"]
        assert not paths["primary:irregular"]
        assert paths["primary:b"] == "/3.1/instrument/b/data"
        assert paths["primary:c"] == "/3.1/instrument/c/data"
        mapped = {
            item["value"]["stream"]: path
            for path, item in items(run.mapper.h5map)
            if item["type"] == "dataset" and isinstance(item["value"], dict)
        }
        assert mapped == {name: path for name, path in paths.items() if path}

    def test_a_ragged_column_is_left_out(self) -> None:
        run = Run([described(r={**RAGGED, "shape": [None, 2]}, x=NUMBER), page({"x": [1.0]}), stop()])
        assert run.mapper.data_streams["primary:r"]["encoding"]["shape"] == [-1, 2]
        assert list(found(run.mapper.h5map, "/3.1/instrument")["children"]) == ["x"]

    def test_infos_are_those_of_blissdatas_fallback(self) -> None:
        for name, stream in self.run().mapper.data_streams.items():
            if not stream["path"]:
                assert "plugin" not in stream["info"]
                continue
            encoding = stream["encoding"]
            theirs = Hdf5BackedStream.make_definition(
                name, FILE, stream["path"], np.dtype(encoding["dtype_str"]), tuple(encoding["shape"])
            )
            ours = {**stream["info"], "shape": tuple(stream["info"]["shape"])}
            assert ours.pop("bluesky")
            assert ours == theirs.info

    def test_the_declared_streams_are_all_there(self) -> None:
        run = self.run()
        declared = [
            stream
            for operation in run.operations
            if isinstance(operation, DeclareStreams)
            for stream in operation.streams
        ]
        assert [stream.name for stream in declared] == list(run.mapper.data_streams)
        for stream in declared:
            assert run.mapper.data_streams[stream.name]["info"] == stream.info
            assert run.mapper.data_streams[stream.name]["encoding"] == stream.encoding.to_json()

    def test_a_stream_of_strings_has_an_entry_without_a_plot(self) -> None:
        entry = Run([described(s=STRING), event(1, {"s": "x"}), stop()]).entries["3.1"]
        assert entry["attributes"] == {"NX_class": "NXentry"}
        assert "plot" not in entry["children"]
        assert "time" in entry["children"]["measurement"]["children"]

    def test_a_motor_is_known_by_its_device_or_its_dimension_not_by_the_plan(self) -> None:
        keys = {"m": NUMBER, "m_setpoint": NUMBER, "det": NUMBER, "wave": SPECTRUM}
        devices = {"m": ["m", "m_setpoint", "wave"], "det": ["det"]}
        documents = [
            described(devices=devices, **keys),
            event(1, {**dict.fromkeys(keys, 1.0), "wave": [1.0] * 5}),
            stop(),
        ]
        run = Run(documents, motors=["m"], plan_name="scan")
        assert {name: group["attributes"]["NX_class"] for name, group in instrument(run).items()} == {
            "m": "NXpositioner",
            "m_setpoint": "NXpositioner",
            "det": "NXdetector",
            "wave": "NXdetector",
        }
        assert {group["attributes"]["NX_class"] for group in instrument(Run(documents, plan_name="scan")).values()} == {
            "NXdetector"
        }
        by_dimension = Run(documents, hints=SCAN["hints"])
        assert instrument(by_dimension)["m"]["attributes"]["NX_class"] == "NXpositioner"
        assert instrument(by_dimension)["m_setpoint"]["attributes"]["NX_class"] == "NXdetector"

    @pytest.mark.parametrize(
        ("key", "name"),
        [("a:b", "a%3Ab"), ("_x", "%5Fx"), ("time", "%74ime"), ("ä b-c", "ä b-c"), ("a/b", "a%2Fb"), ("..", "%2E.")],
    )
    def test_odd_keys(self, key: str, name: str, tmp_path: Path) -> None:
        keys = {key: {**NUMBER, "units": "mm"}, "det": NUMBER}
        rows = [{key: float(i), "det": 2.0 * i} for i in range(3)]
        run = Run([described(**keys), *events(rows), stop()], hints={"dimensions": [[[key], "primary"]]})
        assert run.mapper.data_streams[f"primary:{name}"]["path"] == f"/3.1/instrument/{name}/value"
        label = {} if key == name else {"long_name": f"{key} (mm)"}
        dataset = found(run.mapper.h5map, f"/3.1/instrument/{name}/value")
        assert dataset["attributes"] == {"units": "mm", **label}
        with run.make(tmp_path) as file:
            assert file["3.1/measurement"][name][()].tolist() == [0.0, 1.0, 2.0]
            assert file["3.1/measurement/time"][()].tolist() == [2.0] * 3

    @pytest.mark.parametrize("key", ["x\ud800", "x" * 1001])
    def test_a_key_that_no_dataset_can_be_called_is_left_out(self, key: str) -> None:
        run = Run([described(**{key: NUMBER, "y": NUMBER}), event(1, {key: 1.0, "y": 1.0}), stop()])
        assert list(instrument(run)) == ["y"]
        assert "plugin" not in run.mapper.data_streams[f"primary:{key}"]["info"]

    def test_texts_that_hdf5_does_not_take(self, tmp_path: Path) -> None:
        keys = {"x": {**NUMBER, "units": "m\0\ud800"}}
        documents = [described("p\ud800", **keys), described("p\0", **keys), stop()]
        with Run(documents, plan_name="a\0\ud800" * 1000).make(tmp_path) as file:
            assert list(file) == ["3.1"]
            assert file["3.1/instrument/x/data"].attrs["units"] == "m\ufffd?"


def instrument(run: Run) -> Any:
    return found(run.mapper.h5map, "/3.1/instrument")["children"]


class TestPlot:
    """What silx finds and how it would draw it."""

    def drawn(self, documents: list[Document], directory: Path, **members: Any) -> Any:
        """(signal, axes, interpretation) of the default plot."""
        nxdata = pytest.importorskip("silx.io.nxdata")
        with Run(documents, **members).make(directory) as file:
            plot = nxdata.get_default(file)
            if plot is None:
                return None
            assert not plot.issues
            for axis in plot.axes:
                assert axis is None or axis.shape == plot.signal.shape[:1]
            path = file[plot.signal.name].parent.get(plot.signal_dataset_name, getlink=True).path
            return path, plot.axes_dataset_names, plot.interpretation

    def test_a_scan(self, tmp_path: Path) -> None:
        assert self.drawn(scanned(), tmp_path, **SCAN) == ("/3.1/instrument/det/data", ["m"], None)

    def test_a_scan_whose_hints_name_no_detector(self, tmp_path: Path) -> None:
        documents = [described(m=NUMBER, s=STRING, b=BOOLEAN, det=NUMBER), event(1, {"m": 0.0, "det": 0.0}), stop()]
        assert self.drawn(documents, tmp_path, **SCAN) == ("/3.1/instrument/det/data", ["m"], None)

    def test_a_grid_is_a_scatter(self, tmp_path: Path) -> None:
        rows = [{"slow": float(i // 3), "fast": float(i % 3), "det": float(i)} for i in range(9)]
        documents = [described(slow=NUMBER, fast=NUMBER, det=INTEGER), *events(rows), stop()]
        assert self.drawn(documents, tmp_path, **GRID) == ("/3.1/instrument/det/data", ["slow", "fast"], None)

    @pytest.mark.parametrize("motors", [3, 4])
    def test_more_dimensions_are_drawn_in_space(self, motors: int, tmp_path: Path) -> None:
        names = [f"m{n}" for n in range(motors)]
        rows = [{**dict.fromkeys(names, float(i)), "det": float(i)} for i in range(4)]
        documents = [described(**dict.fromkeys(names, NUMBER), det=NUMBER), *events(rows), stop()]
        hints = {"dimensions": [[[name], "primary"] for name in names]}
        assert self.drawn(documents, tmp_path, hints=hints) == ("/3.1/instrument/det/data", names[-3:], None)

    def test_motors_that_move_together_are_one_axis(self, tmp_path: Path) -> None:
        documents = [described(a=NUMBER, b=NUMBER, det=NUMBER), event(1, {"a": 1.0, "b": 1.0, "det": 1.0}), stop()]
        hints = {"dimensions": [[["a", "b"], "primary"]]}
        assert self.drawn(documents, tmp_path, hints=hints) == ("/3.1/instrument/det/data", ["a"], None)

    @pytest.mark.parametrize("members", [COUNT, {}], ids=["hints", "no hints"])
    def test_a_count(self, members: dict[str, Any], tmp_path: Path) -> None:
        documents = [described(det=NUMBER), *events([{"det": float(i)} for i in range(3)]), stop()]
        assert self.drawn(documents, tmp_path, **members) == ("/3.1/instrument/det/data", ["time"], None)

    @pytest.mark.parametrize(
        ("key", "shape", "kind"),
        [(SPECTRUM, (5,), "spectrum"), (IMAGE, (3, 4), "image"), ({**IMAGE, "shape": [1, 3, 4]}, (1, 3, 4), "image")],
    )
    def test_spectra_and_images(self, key: Any, shape: tuple[int, ...], kind: str, tmp_path: Path) -> None:
        keys = {"m": NUMBER, "slow": NUMBER, "fast": NUMBER, "det": key}
        row = {**dict.fromkeys(keys, 1.0), "det": np.ones(shape, key["dtype_numpy"])}
        rest = [None] * len(shape)
        by_time = [described(det=key), *events([{"det": row["det"]}] * 7), stop()]
        assert self.drawn(by_time, tmp_path, **COUNT) == ("/3.1/instrument/det/data", ["time", *rest], kind)
        hinted = [described(hints={"det": {"fields": ["det"]}}, **keys), *events([row] * 7), stop()]
        assert self.drawn(hinted, tmp_path, **SCAN) == ("/3.1/instrument/det/data", ["m", *rest], kind)
        assert self.drawn(hinted, tmp_path, **GRID) == ("/3.1/instrument/det/data", ["time", *rest], kind)

    def test_a_stream_other_than_that_of_the_dimensions_is_drawn_by_time(self, tmp_path: Path) -> None:
        documents = [*scanned()[:-1], described("after", m=NUMBER, x=NUMBER), event(1, {"m": 1.0, "x": 1.0}, "after")]
        with Run([*documents, stop()], **SCAN).make(tmp_path) as file:
            assert file["3.2/plot"].attrs["signal"] == "x"
            assert file["3.2/plot"].attrs["axes"].tolist() == ["time"]

    def test_a_stream_of_motors_alone_shows_them_by_time(self, tmp_path: Path) -> None:
        documents = [described(m=NUMBER), *events([{"m": 1.0}] * 3), stop()]
        assert self.drawn(documents, tmp_path, **SCAN) == ("/3.1/instrument/m/value", ["time"], None)

    def test_no_rows(self, tmp_path: Path) -> None:
        documents = [described(m=NUMBER, det=NUMBER), stop()]
        assert self.drawn(documents, tmp_path, **SCAN) == ("/3.1/instrument/det/data", ["m"], None)

    @pytest.mark.parametrize("keys", [{"s": STRING}, {"b": BOOLEAN}, {"c": COMPLEX}, {"r": RAGGED}, {}])
    def test_nothing_to_draw(self, keys: dict[str, Any], tmp_path: Path) -> None:
        assert self.drawn([described(**keys), stop()], tmp_path, **SCAN) is None

    @pytest.mark.parametrize(
        "hints",
        [
            None,
            5,
            [],
            {"dimensions": 5},
            {"dimensions": [5, [], [["m"]], [["m"], 5], [5, "primary"], [[5], "primary"]]},
        ],
    )
    def test_hints_that_say_nothing(self, hints: Any, tmp_path: Path) -> None:
        assert self.drawn(scanned(), tmp_path, hints=hints) == ("/3.1/instrument/m/data", ["time"], None)

    def test_without_dimensions_the_first_motor_is_the_axis(self, tmp_path: Path) -> None:
        assert self.drawn(scanned(), tmp_path, motors=["m"]) == ("/3.1/instrument/det/data", ["m"], None)


class TestInfo:
    def test_the_layout_is_what_is_left_out_last(self) -> None:
        wide = {f"{n:05}" + "x" * 100: NUMBER for n in range(500)}
        info = Run([described(**wide), stop()], much="x" * 2_000_000).infos[-1]
        assert info["bluesky"]["left_out"] == ["start"]
        assert list(info["h5maps"]) == [FILE]
        wide = {f"{n:05}" + "x" * 150: NUMBER for n in range(1000)}
        run = Run([described(**wide), stop()])
        info = run.infos[-1]
        assert info["bluesky"]["left_out"][:2] == ["start", "channels"]
        assert len(json.dumps(info)) < 1_000_000
        wide = {f"{n:05}" + "x" * 500: NUMBER for n in range(1000)}
        run = Run([described(**wide), stop()])
        info = run.infos[-1]
        assert info["bluesky"]["left_out"][-1] == "h5maps"
        assert "h5maps" not in info
        assert len(json.dumps(info)) < 1_000_000
        assert len(found(run.mapper.h5map, "/3.1/instrument")["children"]) == 1000

    def test_a_thousand_columns_and_their_layout_fit(self) -> None:
        wide = {f"detector_{n:04}_of_many": {**NUMBER, "units": "counts"} for n in range(1000)}
        info = Run([described(**wide), stop()]).infos[-1]
        assert info["bluesky"]["left_out"] == []
        assert list(info["h5maps"]) == [FILE]


@settings(max_examples=300)
@given(st.data())
def test_one_wrong_member_anywhere_leaves_a_layout_that_blissdata_takes(data: st.DataObject) -> None:
    hinted = {**START, "hints": {"dimensions": [[["x"], "primary"], [["i"], "primary"]]}}
    documents = [("start", hinted), *hostile_run()]
    position = data.draw(st.integers(0, len(documents) - 1))
    name, document = documents[position]
    path = data.draw(st.sampled_from([path for path in paths(document) if path != ("uid",)]))
    wrong = changed(document, path, data.draw(HOSTILE | st.just(...)))
    documents[position] = unpack_document(pack_document(name, wrong))
    begin = documents[0][1]
    mapper = RunMapper(begin, identity_from_start(begin) | {"path": FILE})
    list(mapper.create())
    validated(mapper.h5map)
    list(mapper.take(documents[1:]))
    validated(mapper.h5map)
    known = dict(items(mapper.h5map))
    for stream in mapper.data_streams.values():
        assert not stream["path"] or known[stream["path"]]["value"]["type"] == "stream"
