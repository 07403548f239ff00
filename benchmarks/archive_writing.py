"""Archiving alone, from a journal that is there, and beside a run that goes on."""

from __future__ import annotations

import itertools
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.archive.run import RunArchiver
from blissdata_bluesky.archive.state import load_state, state_path
from blissdata_bluesky.external import Roots
from blissdata_bluesky.journal import Header, JournalDirectory
from blissdata_bluesky.mapping import PathTemplate
from blissdata_bluesky.packing import pack_document
from blissdata_bluesky.publish import identity_from_start
from blissdata_bluesky.server import RedisServer

from . import documents

SAMPLE_SECONDS = 0.25
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Alone:
    """One journal archived while nothing else happens. Sizes in MB."""

    journal: float
    seconds: float
    """Until all of it is in the growing file."""
    cpu: float
    growing: float
    """Size of the file then."""
    sealing: float
    """Seconds to compress, verify and sync it."""
    sealed: float


@dataclass
class Beside:
    """One run that was published at a steady rate, archived meanwhile or not. Seconds and MB."""

    seconds: float = 0.0
    """How long the run took to be given."""
    calls: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Median, 99th percentile and longest of a call for an event, µs."""
    publishing: list[float] = field(default_factory=list)
    """Lag of Redis, s, sampled."""
    bytes_behind: list[float] = field(default_factory=list)
    """Of the archiver, MB of the journal, sampled."""
    seconds_behind: list[float] = field(default_factory=list)
    caught_up: float = 0.0
    """From the end of the run until all of it is in the file."""
    complete: float = 0.0
    """From the end of the run until the file is sealed."""
    cpu: dict[str, float] = field(default_factory=dict)
    """CPU seconds of each process while the run went on."""
    rss: dict[str, float] = field(default_factory=dict)
    """The most memory of each process."""


def write_journal(journal: Path, root: Path, run: documents.Documents) -> tuple[str, Path, int]:
    """A journal as a writer leaves it whose run Redis has: uid of the run, path, bytes."""
    first = next(run)
    start = first[1]
    place = str(root / PathTemplate().relative(start))
    directory = JournalDirectory(journal)
    header = Header(start["uid"], uuid.uuid4().hex, "none", {**identity_from_start(start), "path": place}, str(root))
    written = directory.create(header)
    if written is None or not all(written.append(pack_document(*one)) for one in itertools.chain([first], run)):
        raise OSError(f"no journal could be written in {journal}")
    directory.finish(written)
    return start["uid"], written.path, written.size


def archive_alone(run: documents.Documents) -> Alone:
    """Archive a run from its journal."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "archive"
        _, journal, size = write_journal(Path(directory) / "journal", root, run)
        archiver = RunArchiver(journal, root, Roots.configured())
        began, cpu = time.perf_counter(), time.process_time()
        while archiver.step():
            pass
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        growing = archiver.path.stat().st_size
        began = time.perf_counter()
        archiver.seal()
        sealing = time.perf_counter() - began
        archiver.close()
        return Alone(size / 1e6, seconds, cpu, growing / 1e6, sealing, archiver.path.stat().st_size / 1e6)


def archive_beside(run: documents.Documents, rate: float, *, archived: bool) -> Beside:
    """Publish a run at `rate` events/s, with or without an archive."""
    with tempfile.TemporaryDirectory() as directory, RedisServer() as redis:
        place = Path(directory)
        root = place / "archive" if archived else None
        with BlissdataWriter(redis.url, journal=place / "journal", archive=root) as writer:
            watch = _Watch(writer, place / "journal", _processes(redis, root))
            watch.give(run, rate)
            if not writer.flush(PATIENCE_SECONDS):
                raise RuntimeError("not acknowledged")
            if root is not None:
                watch.wait_for_archive()
            return watch.result


def _processes(redis: RedisServer, root: Path | None) -> dict[str, psutil.Process]:
    """The processes that take part, by name. Waits for the archiver."""
    this = psutil.Process()
    found = {"RunEngine": this, "Redis": psutil.Process(redis.pid)}
    deadline = time.monotonic() + 30
    while root and "archiver" not in found:
        for child in this.children():
            # the one of the round before may be about to end
            with suppress(psutil.NoSuchProcess):
                if str(root) in child.cmdline():
                    found["archiver"] = child
        if time.monotonic() > deadline:
            raise TimeoutError("no archiver")
        time.sleep(0.1)
    # it imports for a second or two
    time.sleep(3.0 if root else 0.0)
    return found


class _Watch:
    """Gives a run and looks at all that happens meanwhile."""

    def __init__(self, writer: BlissdataWriter, journal: Path, processes: dict[str, psutil.Process]) -> None:
        self.result = Beside(rss=dict.fromkeys(processes, 0.0))
        self._writer = writer
        self._journal = journal
        self._processes = processes
        self._written: list[tuple[float, int]] = []
        self._archived = "archiver" in processes

    def give(self, run: documents.Documents, rate: float) -> None:
        calls = []
        with self._cpu():
            began = sampled = time.perf_counter()
            for index, (name, document) in enumerate(run):
                now = _paced(began + index / rate)
                if now - sampled > SAMPLE_SECONDS:
                    sampled = now
                    self._sample()
                called = time.perf_counter()
                self._writer(name, document)
                calls.append(time.perf_counter() - called)
            self.result.seconds = time.perf_counter() - began
        p50, p99 = np.percentile(calls[2:-1], [50, 99]) * 1e6
        self.result.calls = (float(p50), float(p99), 1e6 * max(calls[2:-1]))

    def wait_for_archive(self) -> None:
        began = time.monotonic()
        while state := self._state():
            self._measure_memory()
            if not self.result.caught_up and self._offset(state) >= self._size():
                self.result.caught_up = time.monotonic() - began
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise TimeoutError("not archived")
            time.sleep(0.05)
        self.result.complete = time.monotonic() - began

    @contextmanager
    def _cpu(self) -> Iterator[None]:
        before = {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
        yield
        for name, process in self._processes.items():
            self.result.cpu[name] = sum(process.cpu_times()[:2]) - before[name]

    def _sample(self) -> None:
        self._measure_memory()
        self.result.publishing.append(self._writer.statistics().lag)
        state = self._state()
        if not self._archived or state is None:
            return
        now, size, offset = time.monotonic(), self._size(), self._offset(state)
        self._written.append((now, size))
        self.result.bytes_behind.append((size - offset) / 1e6)
        times, sizes = zip(*self._written, strict=True)
        self.result.seconds_behind.append(now - float(np.interp(offset, sizes, times)) if offset < size else 0.0)

    def _measure_memory(self) -> None:
        for name, process in self._processes.items():
            self.result.rss[name] = max(self.result.rss[name], process.memory_info().rss / 1e6)

    def _state(self) -> Path | None:
        """The archiver's mark beside the journal; None when it is done."""
        return next(self._journal.glob("*.archive"), None)

    def _offset(self, state: Path) -> int:
        return load_state(state_path(state)).offset

    def _size(self) -> int:
        return sum(path.stat().st_size for path in self._journal.glob("*journal"))


def _paced(due: float) -> float:
    """Wait until something is due, when that is a millisecond or more; what time it is."""
    now = time.perf_counter()
    if due - now > 1e-3:
        time.sleep(due - now)
        return time.perf_counter()
    return now
