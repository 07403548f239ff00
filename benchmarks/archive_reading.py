"""Reading one archived run: by an unmodified Tiled client, and by those who read files.

`python -m benchmarks.archive_reading DIRECTORY` serves the Parquet files of a directory, as one table.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import h5py
import numpy as np
import pandas as pd
import psutil
from tiled.adapters.mapping import MapAdapter
from tiled.adapters.parquet import ParquetDatasetAdapter
from tiled.client import from_uri

from blissdata_bluesky.protocol import Array
from blissdata_bluesky.runs import ArchivedRuns
from blissdata_bluesky.tiled.server import LOOPBACK, Served, make_app, new_api_key

from . import documents, reader
from .archive_writing import write_journal

COLUMNS = 10
NAMES = [f"key{number}" for number in range(COLUMNS)]
_PAGE = 10_000
# as many as a partition of ours has with this many columns
_PARTITION_ROWS = 2**18
_MEASUREMENT = "1.1/measurement"
READY = r'from_uri\("(.*)"\)'


@dataclass
class Readings:
    """One way to read, what was asked for → seconds and CPU seconds (server and client together) of each reading."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    rss: float = 0.0
    """MB of the server at most; 0 without one."""


Ask = Callable[[], int]


@dataclass(frozen=True)
class Way:
    """A way to read, with what can be asked: a name, and a function that reads and says how many rows it got."""

    name: str
    questions: dict[str, Ask]
    files: Sequence[Path]
    server: psutil.Process | None = None


def measured_run(rows: int) -> documents.Documents:
    """Columns of three kinds: noise, counts, and positions of an encoder. Timestamps are a millisecond apart."""
    start, descriptor, stop = documents.paged_run(COLUMNS, 0)
    rng = np.random.default_rng(0)
    yield start
    yield descriptor
    for first in range(0, rows, _PAGE):
        numbers = np.arange(first + 1, min(first + _PAGE, rows) + 1)
        times = 1.8e9 + numbers * 1e-3
        page = {
            "uid": [f"{number:036d}" for number in numbers.tolist()],
            "descriptor": descriptor[1]["uid"],
            "seq_num": numbers,
            "time": times,
            "data": {name: _column(index, numbers, rng) for index, name in enumerate(NAMES)},
            "timestamps": dict.fromkeys(NAMES, times),
            "filled": {},
        }
        yield "event_page", page
    yield stop


def _column(index: int, numbers: Array, rng: np.random.Generator) -> Array:
    match index % 3:
        case 0:
            return rng.normal(size=len(numbers))
        case 1:
            return rng.poisson(1000, len(numbers)).astype(float)
        case _:
            return np.round(np.sin(numbers * 1e-4), 4)


def archived_run(directory: Path, rows: int) -> tuple[Path, str]:
    """Archive a run and put it on the list: root of the archive, uid."""
    journal, root = directory / "journal", directory / "archive"
    uid, *_ = write_journal(journal, root, measured_run(rows))
    program = Path(sys.executable).with_name("blissdata-bluesky")
    subprocess.run(
        [program, "archive", "--journal", journal, "--root", root, "--once"], check=True, stdout=subprocess.DEVNULL
    )
    return root, uid


def parquet_files(run_root: Path, uid: str, directory: Path) -> list[Path]:
    """The table of the run in Parquet files, one for each partition."""
    directory.mkdir()
    stream = ArchivedRuns(run_root).get(uid).streams["primary"]
    files: list[Path] = []
    for first in range(0, stream.rows(), _PARTITION_ROWS):
        table = stream.table(None, first, first + _PARTITION_ROWS)
        stamps = {f"ts_{name}": table.timestamps[:, index] for index, name in enumerate(NAMES)}
        columns = {"seq_num": table.seq_num, "time": table.time, **table.data, **stamps}
        files.append(directory / f"{len(files):06}.parquet")
        pd.DataFrame(columns).to_parquet(files[-1])
    return files


def through_tiled(name: str, table: Any, files: Sequence[Path], server: psutil.Process, *, arrays: bool) -> Way:
    """A table that is read by a Tiled client."""
    questions: dict[str, Ask] = {
        "10 columns": lambda: len(table.read(NAMES)),
        "whole table": lambda: len(table.read()),
    }
    if arrays:
        questions["10 arrays"] = lambda: min(len(table[key].read()) for key in NAMES)
    return Way(name, questions, files, server)


def by_h5py(file: Path) -> Way:
    """The run's file in the hands of somebody who has h5py."""

    def read(names: Sequence[str]) -> int:
        with h5py.File(file) as opened:
            return min(map(len, [opened[_MEASUREMENT][name][:] for name in names]))

    own = ["seq_num", "time", "timestamps"]
    columns = partial(read, NAMES)
    return Way(
        "plain h5py, the same file",
        {"10 columns": columns, "whole table": partial(read, [*own, *NAMES]), "10 arrays": columns},
        [file],
    )


def by_runs(root: Path, uid: str, file: Path) -> Way:
    """`ArchivedRuns`, on which our server stands."""
    stream = ArchivedRuns(root).get(uid).streams["primary"]
    return Way(
        "ArchivedRuns, in this process",
        {
            "10 columns": lambda: min(map(len, stream.read_many(NAMES).values())),
            "whole table": lambda: len(stream.table()),
            "10 arrays": lambda: min(len(stream.read(name)) for name in NAMES),
        },
        [file],
    )


def compare(directory: Path, rows: int, repeat: int) -> dict[str, Readings]:
    """Read the same rows in each way, one way after the other, `repeat` times after a first one."""
    root, uid = archived_run(directory, rows)
    (file,) = root.rglob(f"{uid}.h5")
    parquet = parquet_files(root, uid, directory / "parquet")
    ours = ("blissdata-bluesky", "serve", "--archive", str(root), "--port", "0")
    theirs = ("python", "-m", "benchmarks.archive_reading", str(parquet[0].parent))
    with reader.served(*ours, ready=READY) as (our_url, our), reader.served(*theirs, ready=READY) as (their_url, their):
        table = from_uri(our_url)[uid]["primary"].base["internal"]
        ways = [
            through_tiled("Tiled, our archive", table, [file], our, arrays=True),
            # Tiled does not serve the columns of such a table as arrays
            through_tiled("Tiled, its Parquet adapter", from_uri(their_url)["table"], parquet, their, arrays=False),
            by_h5py(file),
            by_runs(root, uid, file),
        ]
        for way in ways:
            way.questions["10 columns"]()
        readings = {way.name: Readings() for way in ways}
        for _ in range(repeat):
            for way in ways:
                _read_all(way, readings[way.name], rows)
    return readings


def _read_all(way: Way, readings: Readings, rows: int) -> None:
    _forget(way.files)
    for name, ask in {"10 columns, cold": way.questions["10 columns"], **way.questions}.items():
        before, began = _cpu(way), time.perf_counter()
        found = ask()
        readings.seconds.setdefault(name, []).append(time.perf_counter() - began)
        readings.cpu.setdefault(name, []).append(_cpu(way) - before)
        if found != rows:
            raise ValueError(f"{way.name}, {name}: {found} rows instead of {rows}")
        if way.server is not None:
            readings.rss = max(readings.rss, way.server.memory_info().rss / 1e6)


def _cpu(way: Way) -> float:
    server = sum(way.server.cpu_times()[:2]) if way.server is not None else 0.0
    return float(server + time.process_time())


def _forget(files: Sequence[Path]) -> None:
    """Have the operating system drop the files from its memory."""
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def ratio(readings: dict[str, Readings], question: str) -> float:
    """How many times as long ours takes through Tiled as the faster one of the two others."""
    ours, *others, _ = (median(one.seconds[question]) for one in readings.values() if question in one.seconds)
    return ours / min(others)


def serve_parquet(directory: Path) -> None:
    """A Tiled server like ours, of one table in Parquet files."""
    key = new_api_key()
    adapter = ParquetDatasetAdapter.from_uris(*(path.as_uri() for path in sorted(directory.glob("*.parquet"))))
    Served(
        make_app(MapAdapter({"table": adapter}), key),
        LOOPBACK,
        0,
        lambda port: print(f'from_uri("http://{LOOPBACK}:{port}/api/v1?api_key={key}")', flush=True),
    ).run()


if __name__ == "__main__":
    serve_parquet(Path(sys.argv[1]))
