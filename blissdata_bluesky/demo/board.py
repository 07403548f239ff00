"""The board: for every run what was emitted, what each reader has read, and where they differ."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .tally import Report, Tally, View

BLISSDATA, TILED = "blissdata", "Tiled"
READERS = (BLISSDATA, TILED)


@dataclass
class RunOnBoard:
    """One run as its writer and its readers see it."""

    number: int
    plan: str
    points: int
    emitted: View = field(default_factory=View)
    read: dict[str, View] = field(default_factory=lambda: {reader: View() for reader in READERS})

    @property
    def done(self) -> bool:
        """Whether it was emitted and read to its end."""
        return self.emitted.done and all(view.done for view in self.read.values())

    def differences(self) -> Iterator[str]:
        """One sentence for each number in which a reader differs from what was emitted; none: all is well."""
        for reader, view in self.read.items():
            if not view.done:
                yield f"{self._name}: {reader} did not come to its end"
            for name in self.emitted.streams | view.streams:
                emitted = self.emitted.streams.get(name, Tally())
                for what in _difference(emitted, view.streams.get(name, Tally())):
                    yield f"{self._name}, stream {name}: {what} by {reader}"

    @property
    def _name(self) -> str:
        return f"run {self.number} ({self.plan})"


class Board:
    """All runs of the demo. Thread-safe: whoever looks at `runs` holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.runs: dict[str, RunOnBoard] = {}
        self._streams: dict[str, tuple[str, str]] = {}

    def emit(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of the RunEngine: subscribe this."""
        with self.lock:
            if name == "start":
                self.runs[doc["uid"]] = RunOnBoard(doc["scan_id"], doc["plan_name"], doc["num_points"])
            elif name == "descriptor":
                self._streams[doc["uid"]] = doc["run_start"], doc["name"]
            elif name == "event":
                uid, stream = self._streams[doc["descriptor"]]
                tally = self.runs[uid].emitted.stream(stream)
                for key, value in (doc["data"] | {"time": doc["time"]}).items():
                    tally.add(key, [value])
            elif name == "stop":
                self.runs[doc["run_start"]].emitted.done = True

    def take(self, report: Report) -> None:
        """Take what a reader tells."""
        with self.lock:
            if (run := self.runs.get(report.uid)) is not None:
                run.read[report.reader] = report.view

    def done(self) -> bool:
        """Whether every run that was started has been read to its end by every reader."""
        with self.lock:
            return all(run.done for run in self.runs.values())

    def differences(self) -> list[str]:
        """Where readers differ from what was emitted, over all runs."""
        with self.lock:
            return [difference for run in self.runs.values() for difference in run.differences()]


def _difference(emitted: Tally, read: Tally) -> Iterator[str]:
    if read.rows != emitted.rows:
        yield f"{emitted.rows} rows were emitted, {read.rows} were read"
    elif read.checksums != emitted.checksums:
        keys = sorted({key for key, _ in read.checksums.items() ^ emitted.checksums.items()})
        yield f"the values of {', '.join(keys)} were read otherwise than emitted"
