"""Documents out of Tiled in the tools that people give documents to: event-model's and bluesky's own."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky.callbacks import LiveTable
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.callbacks.json_writer import JSONWriter
from bluesky.run_engine import RunEngine
from event_model import Filler, RunRouter, SingleRunDocumentRouter
from ophyd.sim import NumpySeqHandler

from .emitted import Named
from .fidelity import Followed, Station, events_of
from .sources import SOURCES, Devices, Source

pytestmark = pytest.mark.leaves("thread", reason="the pool of the module's Tiled server grows when it has to")


def replayed(engine: RunEngine, plan: Any, station: Station) -> list[list[Named]]:
    """The documents of each run of a plan, as Tiled's client gives them back."""
    followed = Followed(station)
    engine.subscribe(followed)
    engine(plan)
    return [followed.assert_faithful(uid) for uid in followed.uids]


class Router(SingleRunDocumentRouter):
    """Remembers which stream it was told for every event."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: list[str] = []

    def event(self, doc: Any) -> Any:
        self.streams.append(self.get_stream_name(doc))
        return doc


NAMES = ("grid_scan", "baseline, monitor, late", "fly, event_page", "scan, stream_datum", "tables and enums")


@pytest.mark.filterwarnings("ignore:The key .* will be skipped because LiveTable")
@pytest.mark.parametrize("name", NAMES)
def test_routers_and_live_displays(
    name: str,
    RE: RunEngine,
    devices: Devices,
    station: Station,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    # otherwise bluesky's callbacks keep their errors for themselves
    monkeypatch.setenv("BLUESKY_DEBUG_CALLBACKS", "1")
    source: Source = SOURCES[name]
    for documents in replayed(RE, source.plan(devices), station):
        events = events_of(documents)
        router, table, best = Router(), LiveTable(["det", "motor"]), BestEffortCallback()
        best.disable_plots()
        seen: list[str] = []
        run_router = RunRouter([lambda name, doc, seen=seen: ([lambda name, doc: seen.append(name)], [])])
        for callback in (router, table, best, run_router, JSONWriter(str(tmp_path), "run.json")):
            give(callback, documents)
        assert sorted(router.streams) == sorted(stream for stream, rows in events.items() for _ in rows)
        # it gives pages of one
        assert seen == ["event_page" if name == "event" else name for name, _ in documents]
        shown = capsys.readouterr().out
        assert all(f"New stream: {stream!r}" in shown for stream in events)
        for event in events.get("primary", ()):
            assert "det" not in event["data"] or f"{event['data']['det']:.3f}" in shown
        assert len(json.loads((tmp_path / "run.json").read_text())) == len(documents)


def give(callback: Any, documents: Iterable[Named]) -> None:
    for name, document in documents:
        callback(name, document)


def test_frames_filled_in_by_event_model(RE: RunEngine, devices: Devices, station: Station) -> None:
    """Resources, datums and events fit together: a Filler finds each frame."""
    (documents,) = replayed(RE, SOURCES["scan, datum"].plan(devices), station)
    with Filler({"NPY_SEQ": NumpySeqHandler}, inplace=False) as filler:
        filled = [filler(name, document) for name, document in documents]
    frames = [document["data"]["img"] for name, document in filled if name == "event"]
    assert [frame.shape for frame in frames] == [(5, 7)] * 3
    np.testing.assert_array_equal([frame[0, 0] for frame in frames], [1, 2, 3])
    assert [document["filled"] for name, document in documents if name == "event"] == [{"img": False}] * 3


def test_a_run_is_followed_by_its_documents(RE: RunEngine, devices: Devices, station: Station) -> None:
    """Each look at a run that goes on begins with what the look before had, but for the order of its last events."""
    followed, looks = Followed(station), []

    def look(name: str, document: dict[str, Any]) -> None:
        assert station.site.writer.flush(90)
        looks.append(list(station.runs.get(followed.uids[0]).documents()))

    RE.subscribe(followed)
    RE.subscribe(look)
    RE(SOURCES["scan, stream_datum"].plan(devices))
    assert [len(documents) for documents in looks] == list(range(1, len(looks) + 1))
    for earlier, later in zip(looks, looks[1:], strict=False):
        assert [document["uid"] for _, document in earlier] == [document["uid"] for _, document in later[:-1]]
