"""`--external-root` of the commands: what it allows, and what it says of nonsense."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from .archived import Place
from .detectors import HDF5Detector
from .external_runs import FilesRun

COMMAND = str(Path(sys.executable).with_name("blissdata-bluesky"))


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def archive(place: Place, *options: object) -> subprocess.CompletedProcess[str]:
    return called("archive", "--journal", place.journals, "--root", place.root, "--once", *options)


@pytest.fixture
def detector(tmp_path: Path) -> Iterator[HDF5Detector]:
    """One that writes below `tmp_path`, which its computer calls `/ioc`."""
    detector = HDF5Detector(tmp_path)
    yield detector
    detector.end()


def run_of(detector: HDF5Detector) -> FilesRun:
    run = FilesRun(detector)
    for name, document in run.documents:
        if name == "stream_resource":
            document["uri"] = f"file://localhost/ioc/{detector.path.name}"
    run.points(3)
    run.stop()
    return run


def test_archived_runs_lead_to_the_files(tmp_path: Path, detector: HDF5Detector) -> None:
    place = Place(tmp_path)
    path = place.whole(run_of(detector))
    done = archive(place, "--external-root", f"/ioc={tmp_path}", "--external-root", "/somewhere")
    assert done.returncode == 0, done.stderr
    with h5py.File(path, "r", locking=False) as file:
        found = file["0.1/instrument/cam/data"][()]
        assert file["0.1/instrument/cam/references"].shape == (3, 3)
    np.testing.assert_array_equal(found, detector.frames)


def test_nonsense(tmp_path: Path) -> None:
    for done in (
        archive(Place(tmp_path), "--external-root", "relative"),
        called("serve", "--redis", "redis://127.0.0.1:1", "--port", 0, "--external-root", "relative"),
    ):
        assert done.returncode == 2
        assert "'relative' is no directory of detector files" in done.stderr
        assert "Traceback" not in done.stderr


def test_help() -> None:
    for command in ("serve", "archive"):
        shown = " ".join(called(command, "--help").stdout.replace("│", " ").split())
        assert "--external-root" in shown
        assert "BLISSDATA_BLUESKY_ROOTS" in shown
