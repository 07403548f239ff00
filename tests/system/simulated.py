"""Devices of ophyd.sim and ophyd-async, and a few of the kinds that those lack."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ophyd import Signal
from ophyd.sim import MockFlyer, SynAxis, SynGauss, SynSignal, SynSignalWithRegistry
from ophyd_async.core import (
    Array1D,
    StandardReadable,
    StandardReadableFormat,
    StaticPathProvider,
    UUIDFilenameProvider,
    init_devices,
    soft_signal_rw,
)
from ophyd_async.sim import SimBlobDetector, SimMotor
from ophyd_async.testing import ExampleEnum, ExampleSupersetEnum, ExampleTable, OneOfEverythingDevice

COLUMNS = 1000


class Wide:
    """A device with `COLUMNS` numbers in each of its events."""

    name = "wide"
    parent = None

    def __init__(self) -> None:
        self._keys = [f"wide_{i:04}" for i in range(COLUMNS)]
        self._reads = 0

    def read(self) -> dict[str, Any]:
        """Another value in every column of every row."""
        self._reads += 1
        return {key: {"value": self._reads + i / 8, "timestamp": 1.5e9 + i} for i, key in enumerate(self._keys)}

    def describe(self) -> dict[str, Any]:
        return {key: {"source": "sim", "dtype": "number", "shape": []} for key in self._keys}

    def read_configuration(self) -> dict[str, Any]:
        return {}

    def describe_configuration(self) -> dict[str, Any]:
        return {}


class Adjustable(SynSignal):
    """A detector whose gain can be configured."""

    def __init__(self, name: str) -> None:
        self._gain = 1
        super().__init__(func=lambda: self._gain * 0.5, name=name)

    def configure(self, gain: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Another gain."""
        old, self._gain = self.read_configuration(), gain
        return old, self.read_configuration()

    def read_configuration(self) -> dict[str, Any]:
        return {"gain": {"value": self._gain, "timestamp": 1.5e9 + self._gain}}

    def describe_configuration(self) -> dict[str, Any]:
        return {"gain": {"source": "sim", "dtype": "integer", "shape": []}}


TABLE = ExampleTable(
    a_bool=np.array([False, True]),
    a_int=np.array([1, -(2**31)], np.int32),
    a_float=np.array([0.1, -np.inf]),
    a_str=["é", ""],
    a_enum=[ExampleEnum.A, ExampleEnum.C],
)


class Everything(StandardReadable):
    """Tables, enums and texts of ophyd-async, in events."""

    def __init__(self, name: str = "") -> None:
        with self.add_children_as_readables(StandardReadableFormat.HINTED_SIGNAL):
            self.table = soft_signal_rw(ExampleTable, TABLE)
            self.strict = soft_signal_rw(ExampleEnum, ExampleEnum.B)
            self.superset = soft_signal_rw(ExampleSupersetEnum, ExampleSupersetEnum.D)
            self.texts = soft_signal_rw(Sequence[str], ["one", "two"])
            self.enums = soft_signal_rw(Sequence[ExampleEnum], [ExampleEnum.A, ExampleEnum.C])
            self.bytes = soft_signal_rw(Array1D[np.uint8], np.array([0, 255], np.uint8))
            self.large = soft_signal_rw(Array1D[np.uint64], np.array([0, 2**64 - 1], np.uint64))
            self.flag = soft_signal_rw(bool, True)
            self.text = soft_signal_rw(str, "é")
        super().__init__(name)


class Devices:
    """Devices of ophyd.sim and ophyd-async. `directory`: where detectors write their files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.motor = SynAxis(name="motor")
        self.other = SynAxis(name="other")
        self.det = SynGauss("det", self.motor, "motor", center=0, Imax=1, sigma=1)
        self.ring = Signal(name="ring", value=0)
        self.wide = Wide()
        self.adjustable = Adjustable("adjustable")
        self.flyer = MockFlyer("flyer", self.det, self.motor, 0, 1, 5)
        frames = iter(range(10**6))
        self.img = SynSignalWithRegistry(
            func=lambda: np.full((5, 7), next(frames), np.uint16), name="img", save_path=str(directory)
        )

    def connect(self) -> None:
        """Make the devices of ophyd-async; their loop is that of the RunEngine."""
        paths = StaticPathProvider(UUIDFilenameProvider(), self.directory)
        with init_devices():
            self.axis = SimMotor(name="axis", instant=True)
            self.blob = SimBlobDetector(paths, name="blob")
            self.everything = Everything(name="everything")
            self.configured = OneOfEverythingDevice(name="configured")
