"""A simulated beamline, its plans, and what a blissdata reader does that has to be importable by another process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
from blissdata import DataStore, Scan, ScanState
from blissdata.exceptions import EndOfStream
from ophyd.sim import SynAxis, SynGauss, SynSignal

POINTS = 6


class Beamline:
    """One motor, and detectors whose values follow from its position: a scalar, a vector, an image and a text."""

    def __init__(self) -> None:
        self.motor = SynAxis(name="motor")
        self.scalar = SynGauss("scalar", self.motor, "motor", center=0, Imax=1, sigma=1)
        self.spectrum = self._signal("spectrum", lambda: np.arange(5) * 0.5 + self._position)
        self.image = self._signal("image", lambda: np.full((3, 4), self._position, "<u2"))
        self.text = self._signal("text", lambda: f"at {self._position}")
        self.temperature = self._signal("temperature", lambda: 295.5)

    @property
    def detectors(self) -> list[Any]:
        """What each point of `scan` reads beside the motor."""
        return [self.scalar, self.spectrum, self.image, self.text]

    def scan(self, *, points: int = POINTS, between: Callable[[int], None] = lambda row: None) -> Iterator[Any]:
        """A step scan with a baseline; `between` is called after each point with its row, while the scan runs."""

        @bpp.baseline_decorator([self.temperature])
        @bpp.stage_decorator(self.detectors)
        @bpp.run_decorator(md={"plan_name": "scan", "num_points": points})
        def inner() -> Iterator[Any]:
            for row in range(points):
                yield from bps.mv(self.motor, float(row))
                yield from bps.trigger_and_read([self.motor, *self.detectors])
                between(row)

        return inner()

    @property
    def _position(self) -> int:
        return int(self.motor.position)

    def _signal(self, name: str, value: Callable[[], Any]) -> SynSignal:
        return SynSignal(func=value, name=name)


def expected_rows() -> dict[str, Any]:
    """What `Beamline.scan` gives, by the name of the blissdata stream."""
    rows = np.arange(POINTS)
    return {
        "baseline:temperature": [295.5, 295.5],
        "primary:motor": rows,
        "primary:scalar": np.exp(-(rows**2) / 2),
        "primary:spectrum": np.arange(5) * 0.5 + rows[:, None],
        "primary:image": np.broadcast_to(rows[:, None, None], (POINTS, 3, 4)),
        "primary:text": [f"at {row}" for row in rows],
        "primary:seq_num": rows + 1,
    }


def wait_until_blocked(store: DataStore) -> None:
    """Return when a reader waits in Redis."""
    deadline = time.monotonic() + 90
    while not store._redis.info("clients")["blocked_clients"]:
        assert time.monotonic() < deadline, "no reader waits"
        time.sleep(0.005)


def wait_for_prepared(url: str) -> Scan:
    """Wait for the next scan, and until its streams are known."""
    store = DataStore(url)
    _, key = store.get_next_scan(timeout=60)
    scan = store.load_scan(key)
    while scan.state < ScanState.PREPARED:
        scan.update(timeout=60)
    return scan


def follow(url: str, stream: str) -> list[tuple[int, Any, float]]:
    """Wait for the next scan and read one stream to its end: index, value and time of arrival of each point."""
    cursor = wait_for_prepared(url).streams[stream].cursor()
    points: list[tuple[int, Any, float]] = []
    while True:
        try:
            view = cursor.read(timeout=60)
        except EndOfStream:
            return points
        assert view is not None, "nothing came for 60 s"
        now = time.time()
        points += [(view.index + offset, value, now) for offset, value in enumerate(view.get_data())]
