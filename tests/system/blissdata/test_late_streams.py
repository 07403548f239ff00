"""When a scan passes from state to state, and how a blissdata reader learns of streams that begin after that."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from blissdata import DataStore, Scan, ScanState
from bluesky.run_engine import RunEngine
from ophyd import Signal

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.writer import BlissdataWriter

from .blissdata_runs import Beamline, wait_for_prepared, wait_until_blocked


def last_scan(writer: BlissdataWriter, data_store: DataStore) -> Scan:
    assert writer.flush(90)
    return data_store.load_scan(data_store.get_last_scan()[1])


def streams_of(scan: Scan) -> set[str]:
    return {name.split(":")[0] for name in scan.streams}


def test_the_first_primary_event_prepares_and_starts_the_scan(
    RE: RunEngine, writer: BlissdataWriter, data_store: DataStore
) -> None:
    beamline, ring, seen = Beamline(), Signal(name="ring", value=200.0), []

    @bpp.baseline_decorator([beamline.temperature])
    @bpp.monitor_during_decorator([ring])
    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.mv(ring, 201.0)
        seen.append(last_scan(writer, data_store))
        yield from bps.trigger_and_read([beamline.scalar])
        seen.append(last_scan(writer, data_store))

    RE(plan(), writer)
    seen.append(last_scan(writer, data_store))
    assert [scan.state for scan in seen] == [ScanState.CREATED, ScanState.STARTED, ScanState.CLOSED]
    assert [streams_of(scan) for scan in seen] == [set(), *[{"baseline", "ring_monitor", "primary"}] * 2]
    assert states(data_store, seen[-1]) == [0, 1, 2, 3, 4]


def test_update_shows_a_stream_that_begins_late(RE: RunEngine, writer: BlissdataWriter, data_store: DataStore) -> None:
    beamline, seen = Beamline(), []

    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([beamline.scalar])
        scan = last_scan(writer, data_store)
        waiting = pool.submit(scan.update, timeout=60)
        wait_until_blocked(data_store)
        yield from bps.trigger_and_read([beamline.image], name="dark")
        assert waiting.result()
        assert last_scan(writer, data_store).streams["dark:image"][0].shape == (3, 4)
        seen.append(scan)

    with ThreadPoolExecutor(1) as pool:
        RE(plan(), writer)
    (scan,) = seen
    assert scan.state == ScanState.STARTED
    assert streams_of(scan) == {"primary", "dark"}
    assert {chain["top_master"] for chain in scan.info["acquisition_chain"].values()} == {"primary", "dark"}
    assert states(data_store, last_scan(writer, data_store)) == [0, 1, 2, 2, 3, 4]


def test_streams_are_saved_some_time_before_the_state_that_announces_them(
    RE: RunEngine, writer: BlissdataWriter, any_redis_url: str
) -> None:
    """A reader that loads the document before and the state after would not see the streams."""
    beamline = Beamline()

    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.trigger_and_read([beamline.scalar])
        yield from bps.trigger_and_read([beamline.image], name="dark")

    with open_client(any_redis_url) as client, client.monitor() as monitor:
        RE(plan(), writer)
        commands = list(until_closed(monitor))
    for stream in ("primary:scalar", "dark:image"):
        saved = next(n for n, (_, command) in enumerate(commands) if f'"{stream}"' in command)
        announced = next(time for time, command in commands[saved:] if " state " in command)
        assert announced - commands[saved][0] > 0.005


def until_closed(monitor: Any) -> Iterator[tuple[float, str]]:
    """Time and text of each command that the server executes, up to the state CLOSED."""
    for command in monitor.listen():
        text = command["command"].replace('\\"', '"')
        yield command["time"], text
        if text.endswith(" state 4"):
            return


def test_a_run_without_primary_events_is_prepared_when_it_stops(
    RE: RunEngine, writer: BlissdataWriter, data_store: DataStore
) -> None:
    RE(bpp.baseline_wrapper(bpp.run_wrapper(bps.null()), [Beamline().temperature]), writer)
    scan = last_scan(writer, data_store)
    assert states(data_store, scan) == [0, 1, 2, 3, 4]
    assert scan.streams["baseline:temperature"][:].tolist() == [295.5, 295.5]


def test_prepare_after_ends_the_wait_for_a_first_primary_event(
    RE: RunEngine, any_redis_url: str, data_store: DataStore, tmp_path: Path
) -> None:
    beamline, seen = Beamline(), []

    @bpp.baseline_decorator([beamline.temperature])
    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        seen.append(waiting.result())
        yield from bps.trigger_and_read([beamline.scalar])

    with BlissdataWriter(any_redis_url, journal=tmp_path, prepare_after=0.1) as writer, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_prepared, any_redis_url)
        wait_until_blocked(data_store)
        RE(plan(), writer)
    assert streams_of(seen[0]) == {"baseline"}
    while seen[0].update():
        pass
    assert streams_of(seen[0]) == {"baseline", "primary"}
    assert states(data_store, seen[0]) == [0, 1, 2, 2, 3, 4]


def test_without_prepare_after_a_scan_stays_created(
    RE: RunEngine, any_redis_url: str, data_store: DataStore, tmp_path: Path
) -> None:
    @bpp.baseline_decorator([Beamline().temperature])
    @bpp.run_decorator()
    def plan() -> Iterator[Any]:
        yield from bps.sleep(0.8)
        assert last_scan(writer, data_store).state == ScanState.CREATED

    with BlissdataWriter(any_redis_url, journal=tmp_path, prepare_after=None) as writer:
        RE(plan(), writer)


def states(data_store: DataStore, scan: Scan) -> list[int]:
    entries = data_store._redis.xrange(scan._model.state_stream.key())
    return [int(fields[b"state"]) for _, fields in entries]
