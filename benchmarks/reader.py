"""Reading a whole run through Tiled over HTTP, beside the same run that TiledWriter wrote into its SQL store.

`python -m benchmarks.reader [--quick]` prints the table of docs/performance.md.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table
from tiled.client import from_uri

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.server import RedisServer

from . import documents, peers

KEYS = 20
WARM_READS = 7
console = Console(width=130)


@dataclass(frozen=True)
class Result:
    """One server, one run. Seconds of the first read and medians of the others; MB of the server's memory."""

    cold: float
    xarray: float
    table: float
    column: float
    rss: float


@contextmanager
def served(*command: str, ready: str) -> Iterator[tuple[str, psutil.Process]]:
    """A server in a process of its own; `ready` finds the URL for clients in what it prints."""
    program = Path(sys.executable).with_name(command[0])
    process = subprocess.Popen([program, *command[1:]], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("no output")
        found = next(match for line in process.stdout if (match := re.search(ready, line)))
        yield found[1], psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def noisy_run(events: int, seed: int) -> documents.Documents:
    """The scalars of `documents.scalar_run`, but numbers that do not compress."""
    rng = np.random.default_rng(seed)
    for name, document in documents.scalar_run(KEYS, events):
        if name == "event":
            values = rng.normal(size=KEYS).tolist()
            yield name, document | {"data": dict(zip(document["data"], values, strict=True))}
        else:
            yield name, document


def publish(url: str, journal: Path, run: documents.Documents, *, one_by_one: bool) -> str:
    """Write a run to Redis; `one_by_one`: each event acknowledged before the next, as at 200 Hz. Returns the uid."""
    uid = ""
    with BlissdataWriter(url, journal=journal) as writer:
        for name, document in run:
            uid = document["uid"] if name == "start" else uid
            writer(name, document)
            if one_by_one:
                writer.flush()
    return uid


def measure(url: str, uid: str, server: psutil.Process, events: int) -> Result:
    """Read the run again and again."""
    run = _listed(from_uri(url), uid)

    def xarray() -> int:
        return int(run["primary"].read().sizes["time"])

    def table() -> int:
        return len(run["primary"].base["internal"].read())

    def column() -> int:
        return len(run["primary"].base["internal"].read(["time", "seq_num"]))

    cold = _seconds(xarray, events)
    warm = [median(_seconds(read, events) for _ in range(WARM_READS)) for read in (xarray, table, column)]
    return Result(cold, warm[0], warm[1], warm[2], server.memory_info().rss / 1e6)


def _listed(client: Any, uid: str) -> Any:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            return client[uid]
        except KeyError:
            time.sleep(0.05)
    raise TimeoutError(uid)


def _seconds(read: Callable[[], int], events: int) -> float:
    began = time.perf_counter()
    found = read()
    if found != events:
        raise ValueError(f"{found} rows instead of {events}")
    return time.perf_counter() - began


def ours(redis: str, uid: str, warm_up: str, events: int) -> Result:
    """A fresh server of ours, whose cache is empty."""
    ready = r'from_uri\("(.*)"\)'
    with served("blissdata-bluesky", "serve", "--redis", redis, "--port", "0", ready=ready) as (url, server):
        _listed(from_uri(url), warm_up)["primary"].read()
        return measure(url, uid, server, events)


def theirs(directory: Path, run: documents.Documents, warm_up: documents.Documents, events: int) -> Result:
    """A stock server with the run in its SQL store."""
    with peers.tiled_server(directory) as url:
        client = from_uri(url)
        uids = []
        for source in (warm_up, run):
            with peers.tiled_writer(url, 10_000) as (give, wait):
                for name, document in source:
                    if name == "start":
                        uids.append(document["uid"])
                    give(name, document)
                wait()
        _listed(client, uids[0])["primary"].read()
        server = next(p for p in psutil.Process().children(recursive=True) if "tiled" in " ".join(p.cmdline()))
        return measure(url, uids[1], server, events)


def main(quick: Annotated[bool, typer.Option(help="A tenth of the events.")] = False) -> None:
    """Print one table."""
    compare(10_000 if quick else 100_000)


def compare(events: int) -> None:
    """Read a run of so many events from each server, and print the table."""
    results: dict[str, Result] = {}
    with tempfile.TemporaryDirectory() as directory, RedisServer() as redis:
        root = Path(directory)
        warm_up = publish(redis.url, root / "journal", noisy_run(100, 0), one_by_one=False)
        fast = publish(redis.url, root / "journal", noisy_run(events, 1), one_by_one=False)
        slow = publish(redis.url, root / "journal", noisy_run(events, 1), one_by_one=True)
        results["ours, arrived fast (large entries)"] = ours(redis.url, fast, warm_up, events)
        results["ours, arrived at 200 Hz (one-row entries)"] = ours(redis.url, slow, warm_up, events)
        results["TiledWriter, batch 10000"] = theirs(root, noisy_run(events, 1), noisy_run(100, 0), events)
    _print(results, events)


def _print(results: dict[str, Result], events: int) -> None:
    table = Table(title=f"Reading {events} x {KEYS} through Tiled, ms (and how many times as fast as TiledWriter's)")
    for name in ("", "cold xarray", "warm xarray", "warm table", "warm 2 columns", "server RSS, MB"):
        table.add_column(name, justify="left" if not name else "right")
    *_, peer = results.values()
    for name, result in results.items():
        cells = [
            f"{1000 * getattr(result, field):.0f} ({getattr(peer, field) / getattr(result, field):.1f})"
            for field in ("cold", "xarray", "table", "column")
        ]
        table.add_row(name, *cells, f"{result.rss:.0f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
