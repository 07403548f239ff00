"""Whatever a RunEngine runs: every reader gives back the documents, blissdata and Tiled every row."""

from __future__ import annotations

import pytest
from bluesky.run_engine import RunEngine

from .fidelity import Followed, Station, events_of
from .sources import SOURCES, Devices

pytestmark = pytest.mark.leaves("thread", reason="the pool of the module's Tiled server grows when it has to")


@pytest.mark.parametrize("name", SOURCES)
def test_source(name: str, RE: RunEngine, devices: Devices, station: Station) -> None:
    source, followed = SOURCES[name], Followed(station)
    RE.subscribe(followed)
    source.drive(RE, source.plan(devices))
    assert len(followed.uids) == source.runs
    rows = [len(events) for uid in followed.uids for events in events_of(followed.emitted(uid)).values()]
    assert source.rows in {sum(rows), None}
    for uid in followed.uids:
        followed.assert_faithful(uid)
        followed.assert_rows(uid, source.reason)
