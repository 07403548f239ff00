"""P5: the memory of a writer is bounded in bytes, however long Redis is away; past the bound the journal has the rest.

The writer runs in a process of its own, `python -m benchmarks.faults.memory`, whose memory is watched.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import psutil
from blissdata import DataStore

from benchmarks.documents import scalar_run, stop
from blissdata_bluesky import writer as writer_module
from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.server import RedisServer

from .figure import Figure

Document = tuple[str, dict[str, Any]]
_SCALARS = 20
_IMAGE = (1024, 512)
_BURST_SECONDS = 0.02
# of events that come at once, when it lags behind: the memory is looked at all the while
_LONGEST_BURST_SECONDS = 0.06
_CAUGHT_UP_SECONDS = 900.0


@dataclass(frozen=True)
class Outage:
    """What is given while Redis is away: `seconds` x `rate` events."""

    seconds: float
    """It lasts longer where events cannot be given at this rate."""
    rate: int
    """Events per second, at most."""
    limit: int
    """Bytes that may wait in memory."""
    images: bool = False
    """Each event has one image of 1 MB, not 20 scalars."""
    journal: bool = True


@dataclass
class Memory:
    """What it took."""

    outage: Outage
    events: int = 0
    seconds: float = 0.0
    """How long giving them took."""
    baseline: int = 0
    """Bytes of the process before the first document."""
    away: list[tuple[float, int]] = field(default_factory=list)
    """(seconds, bytes) from when the bound was reached until Redis came back."""
    peak_away: int = 0
    peak_after: int = 0
    """While it was caught up."""
    catching_up: float = 0.0
    """Seconds."""
    errors: list[str] = field(default_factory=list)
    """What the log said at level ERROR."""
    rows: int = 0
    """Rows in Redis at the end."""
    reason: str = ""
    """How the scan ended."""

    @property
    def slope(self) -> float:
        """MB per minute after the bound was reached."""
        seconds, sizes = np.array(self.away, float).T
        return float(np.polyfit(seconds, sizes, 1)[0]) * 60 / 2**20

    @property
    def above_baseline(self) -> int:
        """Bytes by which the process ever exceeded the baseline."""
        return max(self.peak_away, self.peak_after) - self.baseline


def endure(outage: Outage) -> Memory:
    """Give documents in a process of its own while Redis is away; then start Redis, and count what comes."""
    server = RedisServer()
    with tempfile.TemporaryDirectory() as journal:
        command = [sys.executable, "-m", __name__, server.url, journal, json.dumps(asdict(outage))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            uid = process.stdout.readline().strip()
            with server:
                found = json.loads(process.communicate("\n")[0])
                memory = Memory(**(found | {"outage": outage}))
                scan = DataStore(server.url).load_scan(scan_key(uid))
                memory.rows = len(scan.streams["primary:time"])
                memory.reason = scan.info["end_reason"]
    return memory


def _main(url: str, journal: str, options: str) -> None:
    outage = Outage(**json.loads(options))
    memory = Memory(outage)
    logging.getLogger("blissdata_bluesky").addHandler(_Errors(memory.errors))
    writer_module._MEMORY_LIMIT = outage.limit
    with writer_module.BlissdataWriter(url, journal=journal if outage.journal else None) as writer:
        documents = _documents(outage)
        begun = list(itertools.islice(documents, 2))
        gc.collect()
        memory.baseline = _rss()
        for document in begun:
            writer(*document)
        _give(writer, documents, memory)
        print(begun[0][1]["uid"], flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        while writer.statistics().queued and time.monotonic() - began < _CAUGHT_UP_SECONDS:
            memory.peak_after = max(memory.peak_after, _rss())
            time.sleep(_BURST_SECONDS)
        memory.catching_up = time.monotonic() - began
        # only now it finds room in memory, whether there is a journal or not
        writer("stop", stop(begun[0][1]))
        writer.flush(300)
    print(json.dumps(asdict(memory)))


def _give(writer: writer_module.BlissdataWriter, documents: Iterator[Document], memory: Memory) -> None:
    """Give events at the rate wanted, and look at the memory all the while."""
    intake = writer._publisher.intake
    largest = 2 * 2**20 if memory.outage.images else 4096
    began = time.monotonic()
    while memory.events < memory.outage.seconds * memory.outage.rate:
        now = time.monotonic() - began
        due = int(now * memory.outage.rate) - memory.events
        for document in itertools.islice(documents, min(due, int(_LONGEST_BURST_SECONDS * memory.outage.rate))):
            writer(*document)
            memory.events += 1
        size = _rss()
        memory.peak_away = max(memory.peak_away, size)
        if intake.waiting_bytes > memory.outage.limit - largest:
            memory.away.append((now, size))
        time.sleep(_BURST_SECONDS)
    memory.seconds = time.monotonic() - began


def _documents(outage: Outage) -> Iterator[Document]:
    return _images() if outage.images else scalar_run(_SCALARS, sys.maxsize)


def _images() -> Iterator[Document]:
    begun = list(itertools.islice(scalar_run(0, 1), 2))
    begun[1][1]["data_keys"] = {
        "camera": {"source": "bench", "dtype": "array", "dtype_numpy": "<u2", "shape": list(_IMAGE)}
    }
    yield from begun
    image = np.random.default_rng(0).integers(0, 4096, _IMAGE, np.uint16)
    for number in itertools.count(1):
        now = time.time()
        yield (
            "event",
            {
                "uid": f"{number:036d}",
                "descriptor": begun[1][1]["uid"],
                "seq_num": number,
                "time": now,
                "data": {"camera": image},
                "timestamps": {"camera": now},
                "filled": {},
            },
        )


def _rss() -> int:
    return psutil.Process().memory_info().rss


class _Errors(logging.Handler):
    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.append(record.getMessage())


MB = 2**20
SHORT = {
    "scalars": Outage(10, 5000, 16 * MB),
    "images": Outage(4, 25, 32 * MB, images=True),
    "no journal": Outage(4, 5000, 8 * MB, journal=False),
}
LONG = {
    "scalars": Outage(300, 5000, 256 * MB),
    "images": Outage(30, 40, 256 * MB, images=True),
    "no journal": Outage(120, 5000, 256 * MB, journal=False),
}
# of some 180 MB that come in a minute
_SLOPE_AIM = {True: 10.0, False: 1.0}
# of the batches on their way to Redis, whatever the bound
_WORKING = 128 * MB


def figures(short: bool) -> list[Figure]:
    lines = []
    for name, outage in (SHORT if short else LONG).items():
        memory = endure(outage)
        aim = _SLOPE_AIM[short]
        what = f"{name}: {memory.events / memory.seconds:,.0f} events/s for {memory.seconds:.0f} s without Redis"
        whole = memory.rows == memory.events and not memory.errors if outage.journal else _said_once(memory)
        lines += [
            Figure("P5", what, f"{memory.slope:+.2f} MB/min", f"≤ {aim:.0f} MB/min", abs(memory.slope) <= aim),
            Figure(
                "P5",
                f"{name}: peak RSS above the baseline, of {outage.limit // MB} MB that may wait",
                f"{(memory.peak_away - memory.baseline) / MB:.0f} MB; {(memory.peak_after - memory.baseline) / MB:.0f} "
                f"MB while catching up in {memory.catching_up:.0f} s",
                "≤ 2 x the bound + 128 MB",
                memory.above_baseline <= 2 * outage.limit + _WORKING,
            ),
            Figure(
                "P5",
                f"{name}: rows in Redis afterwards; {len(memory.errors)} errors logged, {memory.reason}",
                f"{memory.rows:,} of {memory.events:,}",
                "all" if outage.journal else "the first, one error, FAILURE",
                whole,
            ),
        ]
    return lines


def _said_once(memory: Memory) -> bool:
    return 0 < memory.rows < memory.events and len(memory.errors) == 1 and memory.reason == "FAILURE"


if __name__ == "__main__":
    _main(*sys.argv[1:])
