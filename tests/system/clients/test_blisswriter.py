"""blisswriter 3 writes the NeXus files of our runs: https://bliss.gitlab-pages.esrf.fr/blisswriter."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from blissdata import Scan
from bluesky.run_engine import RunEngine
from nexusformat.nexus.validate import logger as validator_log
from nexusformat.nexus.validate import validate_file
from ophyd.sim import SynSignal
from silx.io.nxdata import get_default

from blissdata_bluesky.protocol import dump_json
from blissdata_bluesky.publish import recover
from blissdata_bluesky.writer import BlissdataWriter

from ..blissdata.blissdata_runs import Beamline
from ..collected import Collector, load
from ..detectors import HDF5Detector
from ..emitted import NUMBER, EmittedRun, give, scalar_run, values
from ..test_archive_nexus import OLD_RULE_FOR_NAMES
from ..tiled_runs import eventually
from .blisswriter import BlissWriter

POINTS = 6
TEXT = {"dtype": "string", "shape": []}
FRAME = {"dtype": "array", "dtype_numpy": "<u2", "shape": [64, 64]}


class WithUnit(SynSignal):
    """A signal that knows its unit."""

    def describe(self) -> Any:
        description = super().describe()
        description[self.name] |= {"units": "K", "precision": 2}
        return description


def measurement(beamline: Beamline) -> Iterator[Any]:
    """A scan with baseline, scalars, a spectrum, an image and texts, and a stream that begins late."""
    temperature = WithUnit(name="temperature", func=lambda: 295.5)
    detectors = [*beamline.detectors, temperature]
    metadata = {
        "plan_name": "scan",
        "scan_id": 7,
        "motors": ["motor"],
        "num_points": POINTS,
        "hints": {"dimensions": [(["motor"], "primary")]},
    }

    @bpp.baseline_decorator([temperature])
    @bpp.stage_decorator(detectors)
    @bpp.run_decorator(md=metadata)
    def inner() -> Iterator[Any]:
        for row in range(POINTS):
            yield from bps.mv(beamline.motor, float(row))
            yield from bps.trigger_and_read([beamline.motor, *detectors])
            if row in {2, 4}:
                yield from bps.trigger_and_read([beamline.image, beamline.scalar, beamline.text], name="dark")

    return inner()


@pytest.fixture
def collector() -> Collector:
    return Collector()


def test_a_run_of_the_run_engine(
    RE: RunEngine, writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str, collector: Collector
) -> None:
    documents: list[tuple[str, Any]] = []
    for callback in (writer, collector, lambda *document: documents.append(document)):
        RE.subscribe(callback)
    (uid,) = RE(measurement(Beamline()))
    assert writer.flush(90)
    blisswriter.wait(uid)
    scan = load(redis_url, uid)
    assert scan.info["bluesky"]["left_out"] == []
    with h5py.File(scan.path) as file:
        assert {name: entry["title"].asstr()[()] for name, entry in file.items()} == {
            "7.1": "scan motor (primary)",
            "7.2": "scan motor (baseline)",
            "7.3": "scan motor (dark)",
        }
        for name, stream in (("7.1", "primary"), ("7.2", "baseline"), ("7.3", "dark")):
            assert_same_rows(file[name], stream, collector.streams(uid))
            assert_an_entry(file[name], uid, scan)
            assert_same_documents(file[name], documents)
        assert_classes_and_units(file["7.1"])
        assert_default_plot(file)
        assert no_dangling_links(file)


def assert_same_rows(entry: h5py.Group, stream: str, columns: dict[str, list[Any]]) -> None:
    rows = {name.removeprefix(f"{stream}:"): rows for name, rows in columns.items() if name.startswith(f"{stream}:")}
    found = entry["measurement"]
    assert set(found) == {*rows, "timestamps", "_timestamps_keys"}
    for name, expected in rows.items():
        given = found[name].asstr()[()] if h5py.check_string_dtype(found[name].dtype) else found[name][()]
        np.testing.assert_array_equal(given, expected, err_msg=name)
    assert found["timestamps"].shape == (len(rows["time"]), len(found["_timestamps_keys"]))


def assert_an_entry(entry: h5py.Group, uid: str, scan: Scan) -> None:
    assert entry.attrs["NX_class"] == "NXentry"
    assert entry["entry_identifier"].asstr()[()] == uid
    assert entry["start_time"].asstr()[()] == scan.info["start_time"]
    assert entry["end_time"].asstr()[()] == scan.info["end_time"]


def assert_same_documents(entry: h5py.Group, documents: list[tuple[str, Any]]) -> None:
    expected = dump_json([document for document in documents if document[0] != "event"])
    assert json.loads(entry["bluesky/documents"][()]) == json.loads(expected)


def assert_classes_and_units(entry: h5py.Group) -> None:
    instrument = entry["instrument"]
    assert instrument.attrs["NX_class"] == "NXinstrument"
    assert instrument["motor"].attrs["NX_class"] == "NXpositioner"
    assert instrument["scalar"].attrs["NX_class"] == "NXdetector"
    assert instrument["temperature/data"].attrs["units"] == "K"
    assert instrument["image/data"].attrs["interpretation"] == "image"
    assert instrument["spectrum/data"].attrs["interpretation"] == "spectrum"
    assert (instrument["image/data"].dtype, instrument["image/data"].shape) == (np.dtype("<u2"), (POINTS, 3, 4))
    assert entry["measurement/image"] == instrument["image/data"]


def assert_default_plot(file: h5py.File) -> None:
    plot = get_default(file)
    assert (plot.signal_name, plot.axes_names) == ("scalar", ["motor"])
    np.testing.assert_array_equal(plot.axes[0], np.arange(POINTS))
    for name in file:
        assert get_default(file[name]) is not None


def no_dangling_links(group: h5py.Group) -> bool:
    """Whether all of a file's links lead somewhere."""
    return all(
        name in group and (not isinstance(group[name], h5py.Group) or no_dangling_links(group[name])) for name in group
    )


def test_a_validator_accepts_the_file(
    writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str, caplog: pytest.LogCaptureFixture, RE: RunEngine
) -> None:
    (uid,) = RE(measurement(Beamline()), writer)
    assert writer.flush(90)
    blisswriter.wait(uid)
    with caplog.at_level(logging.ERROR, validator_log.name):
        validator_log.propagate = True
        assert validate_file(load(redis_url, uid).path) is not None
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [error for error in errors if OLD_RULE_FOR_NAMES not in error] == []


def test_each_run_has_a_file(writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str) -> None:
    runs = [scalar_run(rows, scan_id=1) for rows in (3, 4)]
    for run in runs:
        run.stop()
        give(writer, run.documents)
    for run, rows in zip(runs, (3, 4), strict=True):
        blisswriter.wait(run.uid)
        with h5py.File(load(redis_url, run.uid).path) as file:
            assert len(file["1.1/measurement/number"]) == rows


def test_all_kinds_of_values(writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str) -> None:
    run = EmittedRun(scan_id=1)
    run.describe()
    run.events(range(20))
    run.stop()
    give(writer, run.documents)
    blisswriter.wait(run.uid)
    with h5py.File(load(redis_url, run.uid).path) as file:
        found = file["1.1/measurement"]
        # rows of different lengths would be filled up
        assert "ragged" not in found
        assert no_dangling_links(file)
        for key in ("number", "integer", "small", "flag", "spectrum", "image"):
            np.testing.assert_array_equal(found[key][()], [values(row)[key] for row in range(20)])
        assert [*found["text"].asstr()[()]] == [values(row)["text"] for row in range(20)]


def test_values_that_no_column_holds(writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str) -> None:
    texts = ["plain", "", "é" * 20, None, "json:", {"a": [1, 2]}]
    run = EmittedRun(scan_id=1)
    run.describe(data_keys={"text": TEXT, "number": NUMBER})
    for text in texts:
        run.event({"text": text, "number": float("nan") if text else "no number"})
    run.stop()
    give(writer, run.documents)
    blisswriter.wait(run.uid)
    with h5py.File(load(redis_url, run.uid).path) as file:
        spelled = file["1.1/measurement/text"].asstr()[()]
        assert [*spelled] == ["plain", "", "é" * 20, "json:null", 'json:"json:"', 'json:{"a":[1,2]}']
        irregular = json.loads(file["1.1/bluesky/irregular"][()])
        assert [(item["row"], item["key"], item["value"]) for item in irregular] == [
            (row, "number", "no number") for row in (1, 3)
        ]


def test_streams_without_rows_leave_no_links(writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str) -> None:
    run = EmittedRun(scan_id=1)
    run.describe("baseline", data_keys={"temperature": NUMBER})
    run.describe(data_keys={"number": NUMBER})
    run.event({"temperature": 1.0}, "baseline")
    run.stop()
    give(writer, run.documents)
    blisswriter.wait(run.uid)
    with h5py.File(load(redis_url, run.uid).path) as file:
        assert no_dangling_links(file)
        assert "plot" not in file["1.1"]
        assert get_default(file["1.2"]).signal_name == "temperature"


def test_what_does_not_fit_into_the_layout_is_left_out_and_said(
    writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str
) -> None:
    """A megabyte is what blissdata takes: 40 late frames fit, 200 do not, nor do texts that blisswriter would spread."""
    run = EmittedRun(scan_id=1)
    run.describe(data_keys={"number": NUMBER, "text": TEXT})
    for row in range(500):
        run.event({"number": float(row), "text": "x" * (200_000 if row == 7 else 1)})
    run.describe("many", data_keys={"frame": FRAME})
    run.describe("few", data_keys={"frame": FRAME})
    give(writer, run.documents)
    for name, rows in (("many", 200), ("few", 40)):
        for row in range(rows):
            run.event({"frame": np.full((64, 64), row, "<u2")}, name)
    run.stop()
    give(writer, run.documents[504:])
    blisswriter.wait(run.uid)
    scan = load(redis_url, run.uid)
    assert set(scan.info["bluesky"]["left_out"]) == {"h5maps:many", "h5maps:primary:text"}
    with h5py.File(scan.path) as file:
        assert no_dangling_links(file)
        assert file["1.1/measurement/number"].shape == (500,)
        np.testing.assert_array_equal(file["1.3/measurement/frame"][:, 0, 0], np.arange(40))
        assert set(file["1.2/measurement"]) == {"_timestamps_keys"}
        assert len(json.loads(file["1.1/bluesky/documents"][()])) == 5


@pytest.mark.parametrize("files", [1, 2])
def test_frames_in_a_detectors_files(
    writer: BlissdataWriter, blisswriter: BlissWriter, redis_url: str, tmp_path: Path, files: int
) -> None:
    detector = HDF5Detector(tmp_path)
    run = EmittedRun(scan_id=1)
    [(_, descriptor)] = run.describe(data_keys={"number": NUMBER} | detector.data_keys)
    for _ in range(files):
        for name, document in [*detector.begin(), *detector.expose(descriptor["uid"], 3)]:
            run.other(name, {**document, "run_start": run.uid})
        for row in range(3):
            run.event({"number": float(row)})
        detector.end()
    run.stop()
    give(writer, run.documents)
    blisswriter.wait(run.uid)
    with h5py.File(load(redis_url, run.uid).path) as file:
        assert file["1.1/measurement/number"].shape == (3 * files,)
        assert file["1.1/instrument/cam"].attrs["NX_class"] == "NXdetector"
        assert no_dangling_links(file)
        links = [item for item in file["1.1/instrument/cam"].values() if isinstance(item, h5py.Dataset)]
        np.testing.assert_array_equal(np.concatenate(links), detector.frames)


PUBLISHER = """
    import os, signal, sys
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.emitted import give, scalar_run
    url, journal, archive, uid = sys.argv[1:]
    writer = BlissdataWriter(url, journal=journal, archive=archive, file_writer=None)
    give(writer, scalar_run(20, uid=uid, scan_id=1).documents)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_publisher_that_is_killed(blisswriter: BlissWriter, redis_url: str, tmp_path: Path, archive: Path) -> None:
    """blisswriter waits, as long as the run is open; `recover` ends the run, and so the file."""
    uid = "00000000-1111-2222-3333-444444444444"
    arguments = [redis_url, tmp_path / "journal", archive, uid]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PUBLISHER), *arguments], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    eventually(lambda: blisswriter.says(uid, "Saving 5 stream(s)"))
    assert not blisswriter.says(uid, "Saving complete.")
    recover(tmp_path / "journal", redis_url)
    blisswriter.wait(uid)
    scan = load(redis_url, uid)
    assert scan.info["end_reason"] == "FAILURE"
    with h5py.File(scan.path) as file:
        assert file["1.1/measurement/integer"][()].tolist() == [*range(20)]
        assert [name for name, _ in json.loads(file["1.1/bluesky/documents"][()])] == ["start", "descriptor"]
