"""Of a run that was heard whole nothing is ever said to be missing, whatever plan it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bluesky.run_engine import RunEngine

from blissdata_bluesky.listening import HeardRun

from .sources import SOURCES, Devices


class Hearing:
    """Subscribed to a RunEngine as if its documents came over a network."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.missing: list[str] = []
        self._runs: dict[str, HeardRun] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        if name == "start":
            self._runs[document["uid"]] = HeardRun(document["uid"], "")
        elif name == "stop":
            self.missing.append(self._runs.pop(document["run_start"]).missing(document))
        else:
            # of runs that are open at once, each knows its own
            self.said += [run.take(name, document) for run in self._of(document)]

    def _of(self, document: dict[str, Any]) -> list[HeardRun]:
        uid = document.get("run_start")
        return [self._runs[uid]] if uid in self._runs else list(self._runs.values())


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_is_missing(name: str, RE: RunEngine, tmp_path: Path) -> None:
    source, devices, hearing = SOURCES[name], Devices(tmp_path), Hearing()
    RE.subscribe(hearing)
    devices.connect()
    source.drive(RE, source.plan(devices))
    assert hearing.missing == [""] * source.runs
    assert not any(hearing.said)
