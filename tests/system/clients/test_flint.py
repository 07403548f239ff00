"""Flint's own parser on the infos of our scans: which plots it opens, over which axes, and of which shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import bluesky.plans as bp
import numpy as np
import pytest
from blissdata import DataStore
from bluesky.run_engine import RunEngine
from ophyd.sim import SynAxis, SynGauss, SynSignal

from blissdata_bluesky.writer import BlissdataWriter

from .flint import Flint

Plan: TypeAlias = Callable[[], Iterator[Any]]

x, y, z = (SynAxis(name=name) for name in "xyz")
det = SynGauss("det", x, "x", center=0, Imax=1, sigma=1)
other = SynGauss("other", x, "x", center=1, Imax=1, sigma=1)
mca = SynSignal(name="mca", func=lambda: np.arange(64.0))
camera = SynSignal(name="camera", func=lambda: np.ones((4, 6), "<u2"))

PLANS: dict[str, Plan] = {
    "scan": lambda: bp.scan([det, other], x, -1, 1, 5),
    "two motors": lambda: bp.scan([det], x, -1, 1, y, 0, 2, 5),
    "list": lambda: bp.list_scan([det], x, [0, 1, 5]),
    "grid": lambda: bp.grid_scan([det], y, 0, 2, 3, x, -1, 1, 5),
    "snaked": lambda: bp.grid_scan([det], y, 0, 2, 3, x, -1, 1, 5, snake_axes=True),
    "three axes": lambda: bp.grid_scan([det], z, 5, 6, 2, y, 0, 2, 3, x, -1, 1, 5, snake_axes=[x]),
    "spiral": lambda: bp.spiral_fermat([det], x, y, 0, 0, 2, 2, 1, 1),
    "count": lambda: bp.count([det], 2),
    "time scan": lambda: bp.count([det, other], 3, delay=0.001),
    "mca": lambda: bp.count([mca], 2),
    "camera": lambda: bp.count([camera], 2),
}


def curves(over: str, *keys: str) -> list[Any]:
    """The only plot: curves."""
    return [["CurvePlot", *({"x": f"primary:{over}", "y": f"primary:{key}"} for key in keys)]]


SCATTER = [["ScatterPlot", {"x": "primary:x", "y": "primary:y", "value": "primary:det"}]]
PLOTS: dict[str, list[Any]] = {
    "scan": curves("x", "det", "other"),
    "two motors": curves("x", "det"),
    "list": curves("x", "det"),
    "grid": SCATTER,
    "snaked": SCATTER,
    "three axes": SCATTER,
    "spiral": [["ScatterPlot", {"x": "primary:y", "y": "primary:x", "value": "primary:det"}]],
    "count": curves("time", "det"),
    "time scan": curves("time", "det", "other"),
    # its own, of each spectrum
    "mca": [["OneDimDataPlot", {"y": "primary:mca"}]],
    "camera": [["ImagePlot", {"image": "primary:camera"}]],
}
SHAPES = {"grid": [3, 5], "snaked": [3, 5], "three axes": [2, 3, 5], "spiral": [None, None]}


@pytest.fixture(scope="module")
def flint() -> Iterator[Flint]:
    # too large to be kept like other temporary directories
    with TemporaryDirectory() as directory:
        yield Flint(Path(directory))


@pytest.fixture
def found(flint: Flint, RE: RunEngine, redis_url: str, tmp_path: Path) -> Any:
    """What it makes of each plan's scan, when the scan is over."""
    store, infos = DataStore(redis_url), {}
    with BlissdataWriter(redis_url, journal=tmp_path) as writer:
        RE.subscribe(writer)
        for name, plan in PLANS.items():
            RE(plan())
            assert writer.flush(90)
            infos[name] = store.load_scan(store.get_last_scan()[1]).info
    return flint.read(infos)


def test_flint_draws_what_the_plan_means(found: Any) -> None:
    assert found["log"] == ""
    scans = found["scans"]
    assert {name: scan["plots"] for name, scan in scans.items()} == PLOTS
    assert {name: scan["scatter"]["shape"] for name, scan in scans.items() if scan["scatter"]} == SHAPES
    for name in SHAPES:
        axes = ["x", "y", "z"] if name == "three axes" else ["y", "x"] if name == "spiral" else ["x", "y"]
        assert scans[name]["scatter"]["axes"] == [[f"primary:{axis}"] for axis in axes]
        assert "primary:det" in scans[name]["scatter"]["counters"]
    kinds = {name: scans[name]["channels"]["primary:x"].get("axisKind") for name in SHAPES}
    assert kinds == {"grid": "forth", "snaked": "backnforth", "three axes": "backnforth", "spiral": None}
    assert {scans[name]["channels"]["primary:y"].get("axisKind") for name in ("grid", "snaked")} == {"forth"}
    fast = scans["snaked"]["channels"]["primary:x"]
    assert (fast["start"], fast["stop"], fast["axisPoints"], fast["points"]) == (-1, 1, 5, 15)
    assert scans["mca"]["channels"]["primary:mca"]["type"] == "VECTOR"
    assert scans["camera"]["channels"]["primary:camera"]["type"] == "IMAGE"
    assert scans["scan"]["channels"]["primary:det"]["decimals"] == 3
