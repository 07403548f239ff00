"""Publishing the same documents through BlissdataWriter, blissdata's own streams and TiledWriter.

`python -m benchmarks.writer [--quick]` prints the tables of docs/performance.md.
"""

from __future__ import annotations

import gc
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from blissdata_bluesky.server import RedisServer

from . import documents, latency, peers

Make = Callable[[], AbstractContextManager[tuple[peers.Callback, Callable[[], None]]]]
console = Console(width=130)


@dataclass(frozen=True)
class Result:
    """One peer, one kind of run; medians over the repetitions."""

    events: float
    """Per second, until the data is acknowledged."""
    p50: float
    p99: float
    """Microseconds that a call for an event takes on the caller's thread."""
    threads: int
    """Threads more than without the peer."""
    rss: float
    """MB more at the end than before."""


def measure(make: Make, run: Callable[[], documents.Documents], per_document: int, repeat: int) -> Result:
    """Publish the run `repeat` times."""
    results = [_measure_once(make, list(run()), per_document) for _ in range(repeat)]
    return Result(*(median(getattr(result, name) for result in results) for name in Result.__annotations__))


def _measure_once(make: Make, run: list[tuple[str, Any]], per_document: int) -> Result:
    # the documents of the benchmark would be walked by every collection of the garbage of the peers
    gc.collect()
    gc.freeze()
    process = psutil.Process()
    threads, rss = threading.active_count(), process.memory_info().rss
    with make() as (publish, wait):
        calls = np.empty(len(run))
        begin = time.perf_counter()
        most = 0
        for number, (name, document) in enumerate(run):
            called = time.perf_counter()
            publish(name, document)
            calls[number] = time.perf_counter() - called
            if number == len(run) // 2:
                most = threading.active_count() - threads
        wait()
        seconds = time.perf_counter() - begin
        grown = process.memory_info().rss - rss
    gc.unfreeze()
    p50, p99 = np.percentile(calls[2:-1], [50, 99]) * 1e6
    return Result((len(run) - 3) * per_document / seconds, p50, p99, most, grown / 2**20)


def compare(
    title: str, values: int, candidates: list[tuple[str, Make, Callable[[], documents.Documents], int]], repeat: int
) -> None:
    """Measure and print one table. `values`: values per event; the first candidate is the one of the ratios."""
    table = Table(title=title, title_justify="left")
    for column in ("publisher", "events/s", "values/s", "ours is faster by", "call p50", "call p99", "threads", "RSS"):
        table.add_column(column, justify="left" if column == "publisher" else "right")
    first = None
    for name, make, run, per_document in candidates:
        with console.status(f"{title}: {name}"):
            result = measure(make, run, per_document, repeat)
        first = first or result
        table.add_row(
            name,
            f"{result.events:,.0f}",
            f"{result.events * values:,.0f}",
            f"{first.events / result.events:,.1f} x",
            f"{result.p50:,.1f} µs",
            f"{result.p99:,.1f} µs",
            f"{result.threads}",
            f"{result.rss:+,.0f} MB",
        )
    console.print(table)


def latencies(url: str, directory: Path, seconds: float) -> None:
    """Print how long an event takes to a reader that waits for it."""
    table = Table(title="latency to an unmodified blissdata cursor in another process", title_justify="left")
    for column in ("publisher", "rate", "p50", "p99", "max"):
        table.add_column(column, justify="left" if column == "publisher" else "right")
    for rate in (200, 1000):
        for name, make, stream in (
            ("BlissdataWriter, journal on", lambda: peers.ours(url, directory), "primary:key0"),
            ("blissdata's own streams", lambda: peers.blissdata_streams(url), "key0"),
        ):
            with console.status(f"latency: {name}"), make() as (publish, wait):
                values = latency.measure(url, publish, stream, rate, seconds) * 1e3
                wait()
            p50, p99 = np.percentile(values, [50, 99])
            table.add_row(name, f"{rate} Hz", f"{p50:.2f} ms", f"{p99:.2f} ms", f"{values.max():.1f} ms")
    console.print(table)


def main(quick: Annotated[bool, typer.Option(help="A tenth of the events, once.")] = False) -> None:
    """Compare the publishers."""
    compare_all(*((10, 1) if quick else (1, 3)))


def compare_all(scale: int, repeat: int) -> None:
    """Print every table, of runs that are `scale` times as small."""
    with (
        tempfile.TemporaryDirectory() as directory,
        RedisServer() as redis,
        peers.tiled_server(Path(directory)) as tiled,
    ):
        journal = Path(directory) / "journal"
        for keys, events in ((5, 400_000), (20, 200_000), (80, 50_000), (1000, 4000)):
            _compare_scalars(redis.url, tiled, journal, keys, events // scale, repeat)
        _compare_images(redis.url, tiled, journal, max(1000 // scale, 40), repeat)
        _compare_pages(redis.url, tiled, journal, 1_000_000 // scale, repeat)
        latencies(redis.url, journal, 20 / scale)


def _compare_scalars(url: str, tiled: str, journal: Path, keys: int, events: int, repeat: int) -> None:
    def run(events: int) -> Callable[[], documents.Documents]:
        return lambda: documents.scalar_run(keys, max(events, 20))

    compare(
        f"K = {keys} scalars per event",
        keys,
        [
            ("BlissdataWriter, journal on", lambda: peers.ours(url, journal), run(events), 1),
            ("BlissdataWriter, journal off", lambda: peers.ours(url, None), run(events), 1),
            *(
                [("blissdata's own streams", lambda: peers.blissdata_streams(url), run(events // 20), 1)]
                if keys < 1000
                else []
            ),
            ("TiledWriter, batch 10000", lambda: peers.tiled_writer(tiled, 10000), run(events // 20), 1),
            ("TiledWriter, batch 1", lambda: peers.tiled_writer(tiled, 1), run(events // 2000), 1),
        ],
        repeat,
    )


def _compare_images(url: str, tiled: str, journal: Path, events: int, repeat: int) -> None:
    compare(
        "one 512 x 512 uint16 image per event",
        documents.IMAGE_SHAPE[0] * documents.IMAGE_SHAPE[1],
        [
            ("BlissdataWriter, journal on", lambda: peers.ours(url, journal), lambda: documents.image_run(events), 1),
            # without a journal, what does not fit into 256 MB is lost
            (
                "BlissdataWriter, journal off",
                lambda: peers.ours(url, None),
                lambda: documents.image_run(min(events, 400)),
                1,
            ),
            ("blissdata's own streams", lambda: peers.blissdata_streams(url), lambda: documents.image_run(events), 1),
            (
                "TiledWriter, batch 10000",
                lambda: peers.tiled_writer(tiled, 10000),
                lambda: documents.image_run(events // 10),
                1,
            ),
            (
                "TiledWriter, batch 1",
                lambda: peers.tiled_writer(tiled, 1),
                lambda: documents.image_run(events // 40),
                1,
            ),
        ],
        repeat,
    )


def _compare_pages(url: str, tiled: str, journal: Path, events: int, repeat: int) -> None:
    compare(
        "event_pages of 1000 events, K = 20",
        20,
        [
            (
                "BlissdataWriter, journal on",
                lambda: peers.ours(url, journal),
                lambda: documents.paged_run(20, events),
                1000,
            ),
            (
                "BlissdataWriter, journal off",
                lambda: peers.ours(url, None),
                lambda: documents.paged_run(20, min(events, 300_000)),
                1000,
            ),
            (
                "blissdata's own streams",
                lambda: peers.blissdata_streams(url),
                lambda: documents.paged_run(20, events // 10),
                1000,
            ),
            (
                "TiledWriter, batch 10000",
                lambda: peers.tiled_writer(tiled, 10000),
                lambda: documents.paged_run(20, events // 50),
                1000,
            ),
        ],
        repeat,
    )


if __name__ == "__main__":
    typer.run(main)
