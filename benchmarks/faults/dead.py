"""P6: the publishing process is killed at a random moment; a damaged run never looks complete."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import redis
from blissdata import DataStore, ScanState

from blissdata_bluesky.protocol import scan_key
from blissdata_bluesky.publish import recover
from blissdata_bluesky.runs import RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter
from tests.system.collected import load
from tests.system.tiled_runs import eventually

from .figure import Figure

UID = "00000000-1111-2222-3333-444444444444"
# prints the number of events whose callback has returned
PUBLISHER = """
    import itertools, os, sys, time
    from blissdata_bluesky.writer import BlissdataWriter
    from tests.system.tiled_runs import Run, row
    writer = BlissdataWriter(sys.argv[1], journal=sys.argv[2])
    run = Run(uid=sys.argv[3])
    writer(*run.start)
    os.write(1, b"begun\\n")
    writer(*run.describe())
    for index in itertools.count():
        writer(*run.event(row(index)))
        os.write(1, b"%d\\n" % (index + 1))
        time.sleep(0.001)
"""


@dataclass(frozen=True)
class Outcome:
    """What is in Redis after one kill and the recovery."""

    rows_kept: bool
    """Every row whose callback had returned is there, in order."""
    ended: bool
    """CLOSED, every stream sealed, `end_reason` FAILURE."""
    marked: bool
    """Readers see no stop document, and why the run is incomplete."""


def kill(url: str, journal: Path, seconds: float) -> int:
    """Kill a publisher so many seconds after it has begun its run; return how many callbacks had returned."""
    command = [sys.executable, "-c", textwrap.dedent(PUBLISHER), url, str(journal), UID]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        if process.stdout is None or process.stdout.readline() != b"begun\n":
            raise RuntimeError("the publisher did not begin")
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        # the last line may be torn
        return len(process.stdout.read().split(b"\n")) - 1


def by_recover(url: str, journal: Path) -> None:
    recover(journal, url, 60)


def by_the_next_writer(url: str, journal: Path) -> None:
    with BlissdataWriter(url, journal=journal) as writer:
        eventually(lambda: writer.statistics().recovered, 60)


FINISHERS: dict[str, Callable[[str, Path], None]] = {"recover": by_recover, "next writer": by_the_next_writer}


def die(server: RedisServer, seconds: float, finisher: str, *, emptied: bool = False) -> Outcome:
    """One kill, then the recovery; `emptied`: Redis has lost everything in between."""
    with tempfile.TemporaryDirectory() as directory, redis.Redis.from_url(server.url) as client:
        client.flushall()
        returned = kill(server.url, Path(directory), seconds)
        if emptied:
            client.flushall()
        FINISHERS[finisher](server.url, Path(directory))
        return _outcome(server.url, returned)


def die_and_be_deleted(server: RedisServer) -> bool:
    """Whether a scan that somebody deleted after the kill stays deleted through two recoveries."""
    with tempfile.TemporaryDirectory() as directory, redis.Redis.from_url(server.url) as client:
        client.flushall()
        kill(server.url, Path(directory), 0.2)
        DataStore(server.url).delete_scan(scan_key(UID), force=True)
        for _ in range(2):
            recover(directory, server.url, 60)
        return not client.exists(scan_key(UID)) or client.ttl(scan_key(UID)) >= 0


def _outcome(url: str, returned: int) -> Outcome:
    scan = load(url, UID)
    stream = scan.streams.get("primary:integer")
    found = list(stream[:]) if stream is not None and len(stream) else []
    sealed = all(stream.is_sealed() for stream in scan.streams.values())
    with RedisRuns(url) as runs:
        run = runs.get(UID)
        return Outcome(
            rows_kept=found == list(range(len(found))) and len(found) >= returned,
            ended=sealed and scan.state == ScanState.CLOSED and scan.info["end_reason"] == "FAILURE",
            marked=run.closed and run.stop is None and bool(run.incomplete),
        )


def figures(short: bool) -> list[Figure]:
    moments = random.Random(6)
    with RedisServer() as server:
        outcomes = [
            die(server, moments.uniform(0.0, 0.3), finisher, emptied=emptied)
            for finisher in FINISHERS
            for emptied in (False, True)
            for _ in range(1 if short else 25)
        ]
        deleted = [die_and_be_deleted(server) for _ in range(1 if short else 5)]
    counted = {
        "every row whose callback had returned is there": [outcome.rows_kept for outcome in outcomes],
        "sealed, CLOSED, FAILURE": [outcome.ended for outcome in outcomes],
        "no stop invented, marked incomplete": [outcome.marked for outcome in outcomes],
        "deleted scans that stayed deleted": deleted,
    }
    return [
        Figure("P6", what, f"{sum(found)} of {len(found)} kills", "all", all(found)) for what, found in counted.items()
    ]
