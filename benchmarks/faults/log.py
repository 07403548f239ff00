"""P7: the log has one warning when an outage begins, one when it ends with what was caught up, and nothing else."""

from __future__ import annotations

import logging
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from unittest.mock import patch

from blissdata import DataStore

from benchmarks.documents import scalar_run
from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import publisher
from tests.proxy import Fault

from .bench import FAULTS, Bench, bench
from .figure import Figure

PASSWORD = "never-to-be-seen"
_RUNS = 3
_BURST = 30
# so long may a reply take before the connection counts as lost: nothing else tells of a server that is silent
_REPLY_SECONDS, _REPLY_SECONDS_OF_SILENT = 60.0, 5.0
_FAULT_SECONDS = 0.4
_END_SECONDS = 60.0

FLAPPING = "flapping"
KINDS = [*(kind for kind in FAULTS if kind not in {"disk full", "connections: delay"}), FLAPPING]
_FLAPS = 5
_SILENT = {f"connections: {Fault.HANG}", "SIGSTOP"}
# over at once
_INSTANT = "FLUSHALL"
# reading goes on
_UNSEEN_BY_IDLE = "maxmemory"


class Scan(StrEnum):
    """What the scans do meanwhile."""

    BUSY = "busy"
    """Events all the time."""
    PAUSED = "paused"
    """Events during the outage, none afterwards."""
    IDLE = "idle"
    """No events."""


@dataclass
class Told:
    """What the log said of an outage over several open runs."""

    during: int = 0
    """Documents given while the fault lasted."""
    after: int = 0
    """Documents given afterwards, until the end was told."""
    records: list[tuple[str, str]] = field(default_factory=list)
    """(level, message) of the package's loggers."""
    whole: bool = False
    """Whether all runs had all rows in the end."""

    @property
    def outages(self) -> list[int]:
        """Of each outage that was told of as it should be, how many documents were caught up."""
        ends = [re.search(r"documents caught up: (\d+)", text) for _, text in self.records[1::2]]
        return [int(end[1]) for end in ends if end]

    @property
    def in_order(self) -> bool:
        """Whether there is nothing but pairs of warnings: one begins an outage, one ends it."""
        begins = [text for _, text in self.records[::2]]
        return (
            len(self.records) == 2 * len(self.outages)
            and all("is interrupted" in text for text in begins)
            and {level for level, _ in self.records} == {"WARNING"}
        )

    @property
    def interrupted(self) -> bool:
        """Whether an outage was told of, and its end not yet: each takes one record."""
        return len(self.records) % 2 == 1

    @property
    def counted(self) -> bool:
        """Whether the numbers of what was caught up are possible."""
        return self.during <= sum(self.outages) <= self.during + self.after

    @property
    def secret(self) -> bool:
        """Whether the password stands in no message."""
        return PASSWORD not in str(self.records)


def kinds(scan: Scan) -> list[str]:
    """What can be noticed during such a scan."""
    return [kind for kind in KINDS if not (scan is Scan.IDLE and kind == _UNSEEN_BY_IDLE)]


def tell(kind: str, scan: Scan) -> Told:
    """One outage (many, when it flaps), while several runs are open."""
    told = Told()
    reply = _REPLY_SECONDS_OF_SILENT if kind in _SILENT else _REPLY_SECONDS
    with (
        tempfile.TemporaryDirectory() as directory,
        bench(Path(directory) / "redis") as there,
        # an idle writer finds out in time
        patch.object(publisher, "_CHECK_SECONDS", 0.1),
        listening(told),
    ):
        _let_in(there)
        url = there.proxy.url.replace("//", f"//bluesky:{PASSWORD}@") + f"?socket_timeout={reply}"
        with BlissdataWriter(url, journal=Path(directory) / "journal") as writer:
            runs = [_Run(writer) for _ in range(_RUNS)]
            if not writer.flush(_END_SECONDS):
                raise RuntimeError("the runs could not be begun")
            _forget_the_beginning(told)
            for _ in range(_FLAPS if kind == FLAPPING else 1):
                told.during += _fault(there, kind, scan, runs, told)
                if kind == "SIGKILL":
                    _let_in(there)
            deadline = time.monotonic() + _END_SECONDS
            while not told.in_order and time.monotonic() < deadline:
                told.after += _events(runs, 1) if scan is Scan.BUSY else 0
                time.sleep(0.005)
            for run in runs:
                run.stop()
            writer.flush(_END_SECONDS)
        store = DataStore(there.server.url)
        told.whole = all(len(store.load_scan(scan_key(run.uid)).streams["primary:time"]) == run.events for run in runs)
    return told


def _forget_the_beginning(told: Told) -> None:
    """A machine that is very busy may have had an outage of its own already."""
    deadline = time.monotonic() + _END_SECONDS
    while told.interrupted and time.monotonic() < deadline:
        time.sleep(0.005)
    told.records.clear()


def _fault(there: Bench, kind: str, scan: Scan, runs: list[_Run], told: Told) -> int:
    """Return how many documents were given until it ended."""
    fault = FAULTS[f"connections: {Fault.RESET}" if kind == FLAPPING else kind]
    # else the burst might go on when all is over
    held = there.proxy.spoilt(Fault.HANG) if kind == _INSTANT else nullcontext()
    with held, fault(there):
        given = _events(runs, _BURST) if scan is not Scan.IDLE else 0
        return given if kind == _INSTANT else given + _until_it_is_told(told, scan, runs)


def _until_it_is_told(told: Told, scan: Scan, runs: list[_Run]) -> int:
    """Let the fault last, until it has been noticed at least; return how many documents were given."""
    given, began = 0, time.monotonic()
    while (seconds := time.monotonic() - began) < _FAULT_SECONDS or (not told.interrupted and seconds < _END_SECONDS):
        given += _events(runs, 1) if scan is Scan.BUSY else 0
        time.sleep(0.005)
    return given


def _let_in(there: Bench) -> None:
    """The user of the URL, whom a killed server has forgotten."""
    with there.client() as client:
        client.acl_setuser("bluesky", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", categories=["+@all"])


class _Run:
    def __init__(self, writer: BlissdataWriter) -> None:
        self._writer = writer
        self._documents = list(scalar_run(3, 10_000))
        self.uid: str = self._documents[0][1]["uid"]
        self.events = 0
        for document in self._documents[:2]:
            writer(*document)
        self.event()

    def event(self) -> None:
        self.events += 1
        self._writer(*self._documents[1 + self.events])

    def stop(self) -> None:
        self._writer(*self._documents[-1])


def _events(runs: list[_Run], count: int) -> int:
    for run in runs:
        for _ in range(count):
            run.event()
    return len(runs) * count


@contextmanager
def listening(told: Told) -> Iterator[None]:
    """Keep what the log says."""
    handler = logging.Handler()
    handler.emit = lambda record: told.records.append((record.levelname, logging.Formatter().format(record)))  # type: ignore[method-assign]
    logger = logging.getLogger("blissdata_bluesky")
    with ExitStack() as stack:
        stack.callback(logger.removeHandler, handler)
        logger.addHandler(handler)
        yield


def figures(short: bool) -> list[Figure]:
    repeats = 1 if short else 10
    lines = []
    for scan in Scan:
        found = [(kind, tell(kind, scan)) for _ in range(repeats) for kind in kinds(scan)]
        good = [told for _, told in found if told.in_order and told.counted and told.secret and told.whole]
        lines.append(
            Figure(
                "P7",
                f"{len(kinds(scan))} kinds of outages over {_RUNS} open runs, {scan}: {sum(len(t.outages) for _, t in found)} outages told",
                f"{sum(len(told.records) for _, told in found)} lines; {len(good)}/{len(found)} right",
                "two lines an outage, all right",
                len(good) == len(found),
            )
        )
    return lines
