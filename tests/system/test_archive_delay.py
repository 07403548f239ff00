"""How soon plain h5py finds an event in the file of its run, whatever else the archiver has to do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from blissdata_bluesky.writer import BlissdataWriter

from .memory_tracker import MIB
from .test_trimming import DATA_KEYS, ROW_BYTES, archiving, end, rows_in_file, values
from .tiled_runs import Run, eventually

_LOOK_SECONDS = 0.02


@pytest.mark.timeout(300)
def test_rows_are_in_the_file_within_seconds_beside_a_large_run(redis_url: str, tmp_path: Path) -> None:
    assert_in_file_within_seconds(redis_url, tmp_path, large_bytes=64 * MIB)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_rows_are_in_the_file_within_seconds_beside_one_that_is_sealed(redis_url: str, tmp_path: Path) -> None:
    assert_in_file_within_seconds(redis_url, tmp_path, large_bytes=2500 * MIB)


def assert_in_file_within_seconds(redis_url: str, directory: Path, large_bytes: int) -> None:
    """The archiver's promise is five seconds, also beside a run that comes at full speed; what it took is printed."""
    journal, root = directory / "journal", directory / "archive"
    archiver = archiving(journal, root)
    try:
        with BlissdataWriter(redis_url, journal=journal, archive=root) as writer:
            slow = SlowRun(writer, root)
            large = large_run(writer, large_bytes)
            while slow.step() < 12 or next(large, None) or len(list(journal.glob("*.archive"))) > 1:
                time.sleep(_LOOK_SECONDS)
            delays = slow.stop()
            assert writer.flush(60)
    finally:
        end(archiver)
    print(f"rows were in the file after {np.median(delays):.2f} s, the last one after {max(delays):.2f} s")
    assert max(delays) <= 60


def large_run(writer: BlissdataWriter, size: int) -> Iterator[int]:
    """Gives a run of so many bytes, a piece at a time."""
    run = Run()
    columns = values(0, 100)
    for document in (run.start, run.describe(**DATA_KEYS)):
        writer(*document)
    for piece in range(size // (100 * ROW_BYTES)):
        for index in range(100):
            writer(*run.event({key: column[index] for key, column in columns.items()}))
        yield piece + 1
    writer(*run.stop())


class SlowRun:
    """An event every half second, and when plain h5py found it in the file."""

    def __init__(self, writer: BlissdataWriter, root: Path) -> None:
        self._writer = writer
        self._root = root
        self._run = Run()
        self._given: list[float] = []
        self._seen: list[float] = []
        for document in (self._run.start, self._run.describe(**DATA_KEYS)):
            writer(*document)

    def step(self) -> int:
        """Give an event when it is time, and look; how many were seen."""
        if not self._given or time.monotonic() > self._given[-1] + 0.5:
            columns = values(len(self._given), len(self._given) + 1)
            self._writer(*self._run.event({key: column[0] for key, column in columns.items()}))
            self._given.append(time.monotonic())
        self._look()
        assert len(self._given) < len(self._seen) + 120, "rows are not in the file after a minute"
        return len(self._seen)

    def stop(self) -> list[float]:
        """The delay of each event, in seconds."""
        eventually(lambda: self._look() or len(self._seen) == len(self._given))
        self._writer(*self._run.stop())
        return [seen - given for given, seen in zip(self._given, self._seen, strict=True)]

    def _look(self) -> None:
        self._seen += [time.monotonic()] * (rows_in_file(self._root, self._run.uid) - len(self._seen))
