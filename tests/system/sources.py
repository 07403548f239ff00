"""Plans of every kind over real devices: what a beamline's RunEngine may run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky.run_engine import RunEngine, RunEngineInterrupted
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import Msg
from ophyd_async.core import TriggerInfo

from .simulated import Devices

Plan = Iterator[Any]


def blob_flight(devices: Devices) -> Plan:
    """The detector goes on by itself, and is collected meanwhile."""
    blob = devices.blob

    @bpp.stage_decorator([blob])
    @bpp.run_decorator(md={"plan_name": "blob_flight"})
    def plan() -> Plan:
        yield from bps.prepare(blob, TriggerInfo(number_of_events=6, livetime=0.05), wait=True)
        yield from bps.declare_stream(blob, name="primary", collect=True)
        yield from bps.kickoff(blob, wait=True)
        yield from bps.collect_while_completing([blob], [blob], flush_period=0.02, stream_name="primary")

    return plan()


def blob_fly(devices: Devices) -> Plan:
    """`fly` itself, which knows nothing of the streams that detectors of ophyd-async ask for."""
    blob = devices.blob

    def declared(message: Msg) -> tuple[None, Plan | None]:
        declares = message.command == "open_run"
        return None, bps.declare_stream(blob, name="primary", collect=True) if declares else None

    @bpp.stage_decorator([blob])
    def plan() -> Plan:
        yield from bps.prepare(blob, TriggerInfo(number_of_events=3, livetime=0.05), wait=True)
        yield from bpp.plan_mutator(bp.fly([blob]), declared)

    return plan()


def blob_scan(devices: Devices) -> Plan:
    """A frame at each point, each with another intensity."""

    def point(detectors: Any, step: Any, pos_cache: Any) -> Plan:
        devices.blob.pattern_generator.set_x(step[devices.axis])
        yield from bps.one_nd_step(detectors, step, pos_cache)

    return bp.scan([devices.blob, devices.det], devices.axis, -1.5, 1.5, 3, per_step=point)


def surrounded(devices: Devices) -> Plan:
    """Baseline, monitor, a stream that is declared before its events, and one that comes late."""

    @bpp.run_decorator()
    def plan() -> Plan:
        yield from bps.declare_stream(devices.motor, devices.det, name="primary")
        for position in range(3):
            yield from bps.mv(devices.motor, position)
            devices.ring.put(position)
            yield from bps.trigger_and_read([devices.motor, devices.det])
        yield from bps.trigger_and_read([devices.det], name="dark")
        yield from bps.trigger_and_read([devices.motor, devices.det])

    supplements = bpp.SupplementalData(baseline=[devices.motor, devices.axis], monitors=[devices.ring])
    return supplements(plan())


def changed_configuration(devices: Devices) -> Plan:
    """Each change of a device makes another descriptor of its stream, and leaves that of others alone."""

    @bpp.run_decorator()
    def plan() -> Plan:
        for gain in (1, 2, 3):
            yield from bps.configure(devices.adjustable, gain)
            yield from bps.trigger_and_read([devices.adjustable, devices.motor])
            yield from bps.trigger_and_read([devices.det], name="other")
            yield from bps.trigger_and_read([devices.adjustable, devices.motor])

    return plan()


def configured_while_monitored(devices: Devices) -> Plan:
    """A monitor goes on with the descriptor that it began with."""

    @bpp.monitor_during_decorator([devices.adjustable])
    @bpp.run_decorator()
    def plan() -> Plan:
        for gain in (1, 2):
            yield from bps.trigger_and_read([devices.adjustable, devices.det])
            yield from bps.configure(devices.adjustable, gain)

    return plan()


def interleaved(devices: Devices) -> Plan:
    """Two runs are open at once, and their events alternate."""
    for key in "ab":
        yield from bpp.set_run_key_wrapper(bps.open_run(), key)
    for key in "abbab":
        yield from bpp.set_run_key_wrapper(bps.trigger_and_read([devices.det]), key)
    for key in "ab":
        yield from bpp.set_run_key_wrapper(bps.close_run(), key)


def nested(devices: Devices) -> Plan:
    """A whole run within each point of another."""

    @bpp.set_run_key_decorator("outer")
    @bpp.run_decorator(md={"plan_name": "outer"})
    def outer() -> Plan:
        for position in range(2):
            yield from bps.mv(devices.motor, position)
            yield from inner()
            yield from bps.trigger_and_read([devices.motor])

    @bpp.set_run_key_decorator("inner")
    def inner() -> Plan:
        yield from bp.count([devices.det], 2)

    return outer()


def suspended(devices: Devices) -> Plan:
    """The signal of a suspender trips, and lets go a little later."""

    @bpp.run_decorator()
    def plan() -> Plan:
        release = threading.Timer(0.1, devices.ring.put, (0,))
        yield from bps.checkpoint()
        for point in range(4):
            yield from bps.trigger_and_read([devices.det])
            if point == 2 and not release.ident:
                devices.ring.put(1)
                release.start()
                yield from bps.sleep(0.05)
        release.join()

    suspender = SuspendBoolHigh(devices.ring)
    return bpp.suspend_wrapper(plan(), suspender)


def paused(devices: Devices, *detectors: Any) -> Plan:
    """It pauses once, behind its last checkpoint."""

    @bpp.stage_decorator(detectors)
    @bpp.run_decorator()
    def plan() -> Plan:
        yield from bps.checkpoint()
        for point in range(5):
            yield from bps.trigger_and_read([devices.motor, devices.det, *detectors])
            if point == 1:
                yield from bps.checkpoint()
            if point == 3:
                yield from bps.pause()

    return plan()


def failing(devices: Devices) -> Plan:
    """The plan raises."""

    @bpp.run_decorator()
    def plan() -> Plan:
        yield from bps.trigger_and_read([devices.det])
        raise ValueError("the plan is wrong")

    return plan()


def ramp(devices: Devices) -> Plan:
    """Rows while a motor goes on, with the motor as a monitor."""

    def go() -> Iterator[Any]:
        return (yield from bps.abs_set(devices.motor, 3))

    return bp.ramp_plan(go(), devices.motor, lambda: bps.trigger_and_read([devices.det]))


Drive = Callable[[RunEngine, Plan], None]


def to_its_end(engine: RunEngine, plan: Plan) -> None:
    engine(plan)


def interrupted(then: Callable[[RunEngine], Any]) -> Drive:
    """The plan pauses; `then` says how it goes on."""

    def drive(engine: RunEngine, plan: Plan) -> None:
        with pytest.raises(RunEngineInterrupted):
            engine(plan)
        then(engine)

    return drive


def with_interruptions(drive: Drive) -> Drive:
    """A stream tells when the plan paused and went on."""

    def recording(engine: RunEngine, plan: Plan) -> None:
        engine.record_interruptions = True
        drive(engine, plan)

    return recording


def failed(engine: RunEngine, plan: Plan) -> None:
    with pytest.raises(ValueError, match="the plan is wrong"):
        engine(plan)


@dataclass(frozen=True, slots=True)
class Source:
    """One plan, how it is run, and how its scans end."""

    plan: Callable[[Devices], Plan]
    drive: Drive = to_its_end
    reason: str = "SUCCESS"
    runs: int = 1
    rows: int | None = None
    """Rows of all streams of all runs; None where time decides."""


SOURCES: dict[str, Source] = {
    "count": Source(lambda d: bp.count([d.det], 3), rows=3),
    "scan": Source(lambda d: bp.scan([d.det], d.motor, 0, 1, 4), rows=4),
    "rel_scan": Source(lambda d: bp.rel_scan([d.det], d.motor, -1, 1, 3), rows=3),
    "list_scan": Source(lambda d: bp.list_scan([d.det], d.motor, [0, 2, 1]), rows=3),
    "grid_scan": Source(
        lambda d: bp.grid_scan([d.det], d.motor, 0, 1, 2, d.other, 0, 1, 3, snake_axes=True),
        rows=6,
    ),
    "spiral": Source(lambda d: bp.spiral([d.det], d.motor, d.other, 0, 0, 1, 1, 0.5, 4)),
    "x2x_scan": Source(lambda d: bp.x2x_scan([d.det], d.motor, d.other, 0, 1, 3), rows=3),
    "adaptive_scan": Source(lambda d: bp.adaptive_scan([d.det], "det", d.motor, -1.0, 1.0, 0.1, 0.4, 0.2, True)),
    "ramp_plan": Source(ramp),
    "fly, event_page": Source(lambda d: bp.fly([d.flyer]), rows=5),
    "fly, stream_datum": Source(blob_fly, rows=0),
    "collect while completing, stream_datum": Source(blob_flight, rows=0),
    "scan, stream_datum": Source(blob_scan, rows=3),
    "scan, datum": Source(lambda d: bp.scan([d.img, d.det], d.motor, 0, 1, 3), rows=3),
    "baseline, monitor, late": Source(surrounded),
    "changed configuration": Source(changed_configuration, rows=9),
    "configured while monitored": Source(configured_while_monitored, rows=4),
    "1,000 columns": Source(lambda d: bp.count([d.wide], 20), rows=20),
    "tables and enums": Source(lambda d: bp.count([d.everything, d.configured], 2), rows=2),
    "interleaved runs": Source(interleaved, runs=2, rows=5),
    "nested runs": Source(nested, runs=3, rows=6),
    # three points, again from the checkpoint before them, and the fourth
    "suspender": Source(suspended, rows=7),
    "pause, resume": Source(paused, interrupted(lambda engine: engine.resume()), rows=7),
    "pause, resume, stream_datum": Source(
        lambda d: paused(d, d.blob), interrupted(lambda engine: engine.resume()), rows=7
    ),
    "interruptions": Source(paused, with_interruptions(interrupted(lambda engine: engine.resume())), rows=9),
    "pause, abort": Source(paused, interrupted(lambda engine: engine.abort("enough")), "USER_ABORT", rows=4),
    "pause, halt": Source(paused, interrupted(lambda engine: engine.halt()), "USER_ABORT", rows=4),
    "pause, stop": Source(paused, interrupted(lambda engine: engine.stop()), rows=4),
    "failure": Source(failing, failed, "FAILURE", rows=1),
}
