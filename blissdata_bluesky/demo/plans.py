"""The plan of the demo: a scan, a grid scan, and a count with a camera, a spectrum and a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from bluesky import plans
from bluesky.preprocessors import baseline_wrapper
from ophyd.sim import Syn2DGauss, SynAxis, SynGauss, SynSignal

Frame = npt.NDArray[np.uint16]
Spectrum = npt.NDArray[np.uint32]

FRAME_SHAPE = (64, 96)
CHANNELS = 256
MOVE_SECONDS = 0.05
EXPOSURE_SECONDS = 0.1


class ArraySignal(SynSignal):  # type: ignore[misc]
    """A detector whose reading is an array, and which says of what type."""

    def describe(self) -> dict[str, Any]:
        """The data key as ophyd makes it, with the dtype that it leaves out."""
        described: dict[str, Any] = super().describe()
        described[self.name]["dtype_numpy"] = self.get().dtype.str
        return described


def demo_plan(points: int = 60) -> Iterator[Any]:
    """Three runs of about `points` rows each, one after the other."""
    x, y = SynAxis(name="x", delay=MOVE_SECONDS), SynAxis(name="y", delay=MOVE_SECONDS)
    diode = SynGauss("diode", x, "x", center=0.2, Imax=5000, sigma=0.6, noise="uniform", noise_multiplier=60)
    monitor = SynGauss("monitor", x, "x", center=0, Imax=900, sigma=50, noise="uniform", noise_multiplier=20)
    yield from plans.scan([diode, monitor], x, -2, 2, points)

    side = round(points**0.5)
    spot = Syn2DGauss("spot", x, "x", y, "y", center=(0.3, -0.2), Imax=1000, sigma=0.5)
    yield from plans.grid_scan([spot], y, -1, 1, side, x, -1, 1, side, snake_axes=True)

    camera = ArraySignal(_moving_spot(), name="camera", exposure_time=EXPOSURE_SECONDS)
    spectrum = ArraySignal(_noisy_peak(), name="spectrum", exposure_time=EXPOSURE_SECONDS)
    temperature = SynSignal(_drift(295.0, 0.1), name="temperature")
    current = SynSignal(_drift(196.0, 0.5), name="current")
    yield from baseline_wrapper(plans.count([camera, spectrum], num=points // 2), [temperature, current])


def _moving_spot() -> Callable[[], Frame]:
    rng, steps = np.random.default_rng(1), count()
    rows, columns = np.indices(FRAME_SHAPE)

    def expose() -> Frame:
        angle = 0.2 * next(steps)
        row, column = 32 + 18 * np.sin(angle), 48 + 30 * np.cos(angle)
        spot = 3000 * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 50)
        frame: Frame = rng.poisson(spot + 100).astype(np.uint16)
        return frame

    return expose


def _noisy_peak() -> Callable[[], Spectrum]:
    rng, steps = np.random.default_rng(2), count()
    channels = np.arange(CHANNELS)

    def expose() -> Spectrum:
        center = CHANNELS / 2 + 40 * np.sin(0.1 * next(steps))
        peak = 800 * np.exp(-((channels - center) ** 2) / 200)
        spectrum: Spectrum = rng.poisson(20 + peak).astype(np.uint32)
        return spectrum

    return expose


def _drift(value: float, width: float) -> Callable[[], float]:
    rng = np.random.default_rng(3)
    return lambda: float(value + rng.normal(scale=width))
