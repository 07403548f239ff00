"""`scan.info` follows blissdata's schema, and what Flint and the HDF5 tools need stands in it, at every moment of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from blissdata import DataStore, Scan, ScanState
from blissdata.schemas.scan_info import ChainDict, ChannelDict, DeviceDict, ScanInfoDict
from bluesky.run_engine import RunEngine
from ophyd import Signal
from ophyd.sim import SynAxis, SynSignal
from pydantic import BaseModel, ConfigDict

from blissdata_bluesky.writer import BlissdataWriter

from ..simulated import Devices
from .blissdata_runs import Beamline

Plan: TypeAlias = Callable[[Beamline], Iterator[Any]]


class Validated(BaseModel):
    """The schema holds an array, so it validates as a field only."""

    model_config = ConfigDict(arbitrary_types_allowed=True, strict=True)

    info: ScanInfoDict


class Wide(SynSignal):
    """A device with a thousand columns."""

    def read(self) -> dict[str, Any]:
        """A number for each."""
        return {f"{self.name}_{n:04}": {"value": n / 3, "timestamp": 1.0} for n in range(1000)}

    def describe(self) -> dict[str, Any]:
        """A unit and limits for each."""
        key = {"source": "SIM:wide", "dtype": "number", "shape": [], "units": "counts", "lower_ctrl_limit": 0}
        return {name: dict(key) for name in self.read()}


def baseline_and_monitor(beamline: Beamline) -> Iterator[Any]:
    ring = Signal(name="ring", value=200.0)

    @bpp.baseline_decorator([beamline.temperature, beamline.motor])
    @bpp.monitor_during_decorator([ring])
    @bpp.run_decorator()
    def inner() -> Iterator[Any]:
        for current in (201.0, 202.0):
            yield from bps.mv(ring, current)
            yield from bps.trigger_and_read([beamline.scalar])

    return inner()


def grid(beamline: Beamline) -> Iterator[Any]:
    return bp.grid_scan([beamline.scalar], SynAxis(name="y"), 0, 1, 2, beamline.motor, 0, 1, 2, snake_axes=True)


PLANS: dict[str, Plan] = {
    "scan": lambda beamline: bp.scan(beamline.detectors, beamline.motor, 0, 2, 3),
    "grid_scan": grid,
    "count": lambda beamline: bp.count([beamline.image, beamline.spectrum], 2),
    "list_scan": lambda beamline: bp.list_scan([beamline.scalar], beamline.motor, [0.5, 1.5]),
    "baseline_and_monitor": baseline_and_monitor,
    "wide": lambda beamline: bp.count([Wide(name="wide")], 2),
    "empty": lambda beamline: bpp.run_wrapper(bps.null()),
}


@pytest.fixture(params=PLANS)
def scans(request: pytest.FixtureRequest, RE: RunEngine, writer: BlissdataWriter, any_redis_url: str) -> list[Scan]:
    """The scan of one plan as it was after each document."""
    store = DataStore(any_redis_url)
    scans: list[Scan] = []

    def load(name: str, document: dict[str, Any]) -> None:
        assert writer.flush(90)
        scans.append(store.load_scan(store.get_last_scan()[1]))

    RE.subscribe(writer)
    RE.subscribe(load)
    RE(PLANS[request.param](Beamline()))
    return scans


def test_info_is_valid_and_complete_at_every_moment(scans: list[Scan]) -> None:
    assert {scans[0].state, scans[-1].state} == {ScanState.CREATED, ScanState.CLOSED}
    for scan in scans:
        Validated(info=scan.info)
        assert_nothing_unknown(scan.info)
        assert_devices_lead_to_every_channel(scan.info)
        if scan.state >= ScanState.PREPARED:
            assert set(scan.info["channels"]) == set(scan.streams)
    assert {bool(scan.info.get("end_time")) for scan in scans if scan.state < ScanState.CLOSED} == {False}
    assert scans[-1].info["end_reason"] == "SUCCESS"


def assert_nothing_unknown(info: dict[str, Any]) -> None:
    """All members are those of the schema, but for one of ours and one of Flint's."""
    # BLISS itself gives data_dim
    assert set(info) - set(ScanInfoDict.__annotations__) - {"data_dim"} == {"bluesky"}
    assert info["bluesky"]["left_out"] == []
    for part, schema in (("acquisition_chain", ChainDict), ("devices", DeviceDict), ("channels", ChannelDict)):
        for member in info[part].values():
            assert set(member) <= set(schema.__annotations__)


def assert_devices_lead_to_every_channel(info: dict[str, Any]) -> None:
    """Flint's parser: from each chain's top master by `triggered_devices` to all channels, each of them once."""
    devices = info["devices"]
    channels: list[str] = []
    for chain in info["acquisition_chain"].values():
        reached = [chain["top_master"]]
        for name in reached:
            assert devices[name]["name"]
            channels += devices[name]["channels"]
            reached += devices[name].get("triggered_devices", [])
        assert reached == chain["devices"]
        own = {channel for name in reached for channel in devices[name]["channels"]}
        assert own == {*chain["scalars"], *chain["spectra"], *chain["images"]}
    # a vector for each point, which Flint would take for a spectrum
    assert sorted(channels) == sorted(name for name in info["channels"] if not name.endswith(":timestamps"))


@pytest.mark.parametrize(
    ("plan", "title", "points"),
    [("scan", "scan motor", 3), ("grid_scan", "grid_scan y motor", 4), ("count", "count", 2)],
)
def test_title_and_number_of_points(
    plan: str, title: str, points: int, RE: RunEngine, writer: BlissdataWriter, any_redis_url: str
) -> None:
    RE.subscribe(writer)
    RE(PLANS[plan](Beamline()))
    assert writer.flush(90)
    store = DataStore(any_redis_url)
    info = store.load_scan(store.get_last_scan()[1]).info
    assert (info["type"], info["title"], info["npoints"]) == (plan, title, points)


def test_units_and_choices_of_ophyd_async(
    RE: RunEngine, writer: BlissdataWriter, any_redis_url: str, tmp_path: Path
) -> None:
    devices = Devices(tmp_path)
    devices.connect()
    RE(bp.scan([devices.everything], devices.axis, 0, 1, 2), writer)
    assert writer.flush(90)
    store = DataStore(any_redis_url)
    info = store.load_scan(store.get_last_scan()[1]).info
    Validated(info=info)
    assert info["channels"]["primary:axis"] == {
        "display_name": "axis",
        "dim": 0,
        "unit": "mm",
        "start": 0.0,
        "stop": 1.0,
        "points": 2,
    }
    assert info["devices"]["primary:everything"]["metadata"]["choices"] == {
        "primary:everything-strict": ["Aaa", "Bbb", "Ccc"],
        "primary:everything-superset": ["Aaa", "Bbb", "Ccc", "Ddd"],
        "primary:everything-enums": ["Aaa", "Bbb", "Ccc"],
    }
