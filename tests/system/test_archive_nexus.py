"""Files of real plans under the eyes of others: h5py, silx, and a validator of NeXus."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky.preprocessors import SupplementalData
from bluesky.run_engine import RunEngine
from nexusformat.nexus.validate import logger as validator_log
from nexusformat.nexus.validate import validate_file
from ophyd.sim import SynAxis, det, det4, img, motor, motor1, motor2, noisy_det
from silx.io.nxdata import get_default

from .archived import Place

# nexusformat 2.1.0 knows an older rule for names, in which none begins with a digit; the manual of today allows it
OLD_RULE_FOR_NAMES = "is an invalid name"
# two axes on a flat signal are no NeXus, but the only way to have silx draw a scatter (docs/adr/0019)
SCATTER_OF_SILX = '"@axes" length does not match the signal rank'

PLANS: dict[str, Any] = {
    "scan": lambda: bp.scan([noisy_det, det], motor, -1, 1, 7),
    "grid": lambda: bp.grid_scan([det4], motor1, -1, 1, 3, motor2, -2, 2, 4, snake_axes=True),
    "count": lambda: bp.count([det, img], 5),
}


@pytest.fixture
def archived(RE: RunEngine, tmp_path: Path) -> Any:
    """A function that runs a plan with a baseline and gives the path of its file."""
    RE.preprocessors.append(SupplementalData(baseline=[SynAxis(name="slit")]))
    place = Place(tmp_path)

    def run(plan: Any) -> Path:
        documents: list[Any] = []
        RE(plan, lambda name, document: documents.append((name, document)))
        place.directory.finish(place.begin(documents))
        place.archive()
        return place.path(documents[0][1])

    return run


@pytest.mark.parametrize("plan", PLANS)
def test_a_validator_accepts_it(archived: Any, plan: str, caplog: pytest.LogCaptureFixture) -> None:
    path = archived(PLANS[plan]())
    with caplog.at_level(logging.ERROR, validator_log.name):
        validator_log.propagate = True
        counted = validate_file(str(path))
    assert counted is not None
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    unexpected = [error for error in errors if OLD_RULE_FOR_NAMES not in error and not _is_scatter(error, plan)]
    assert not unexpected


def _is_scatter(error: str, plan: str) -> bool:
    return plan == "grid" and SCATTER_OF_SILX in error


def test_silx_finds_the_curve_of_a_scan(archived: Any) -> None:
    with h5py.File(archived(PLANS["scan"]())) as file:
        plot = get_default(file)
        assert plot.signal_name == "noisy_det"
        assert plot.axes_names == ["motor"]
        np.testing.assert_array_equal(plot.axes[0], np.linspace(-1, 1, 7))


def test_silx_finds_the_scatter_of_a_grid(archived: Any) -> None:
    with h5py.File(archived(PLANS["grid"]())) as file:
        plot = get_default(file)
        assert plot.is_scatter
        assert plot.signal_name == "det4"
        assert plot.axes_names == ["motor1", "motor2"]


def test_silx_finds_the_times_of_a_count(archived: Any) -> None:
    with h5py.File(archived(PLANS["count"]())) as file:
        plot = get_default(file)
        assert plot.signal_name == "det"
        assert plot.axes_names == ["seconds since 1970-01-01 UTC"]


def test_the_classes_that_nexus_asks_for(archived: Any) -> None:
    with h5py.File(archived(PLANS["scan"]())) as file:
        entry = file[file.attrs["default"]]
        assert file.attrs["NX_class"] == "NXroot"
        assert entry.attrs["NX_class"] == "NXentry"
        assert entry[entry.attrs["default"]].attrs["NX_class"] == "NXdata"
        assert entry["instrument/motor"].attrs["NX_class"] == "NXpositioner"
        assert entry["instrument/det"].attrs["NX_class"] == "NXdetector"
        assert entry["measurement/det"] == entry["instrument/det/data"]
        assert entry["end_time"].asstr()[()] >= entry["start_time"].asstr()[()]
        (baseline,) = [file[name] for name in file if name != file.attrs["default"]]
        assert baseline["measurement/slit"].shape == (2,)
