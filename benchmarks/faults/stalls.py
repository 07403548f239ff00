"""P1: whatever Redis does, documents of every type are taken at once, and arrive."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from blissdata import DataStore, ScanState

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.protocol import documents_key, scan_key

from .bench import FAULTS, IMPATIENT, LEAVE_REDIS_USABLE, Bench, bench
from .every_type import EVENT_TYPES, ROWS, TYPES, Document, every_type
from .figure import Figure

CALL_SECONDS = 1.0
_CAUGHT_UP_SECONDS = 60.0
# longer than it takes to notice
_FAULT_SECONDS = 0.5


@dataclass
class Survived:
    """Cells of the matrix faults x document types."""

    total: int = 0
    slowest: float = 0.0
    """Seconds that the slowest call of a callback took."""
    failed: list[str] = field(default_factory=list)
    """What went wrong in which cell."""


def survive(bench: Bench, name: str, directory: Path, first: int = 0) -> Survived:
    """One fault that begins just before documents of each type are given, to one run each, `first` before all others.

    In the end every run must be whole.
    """
    runs = [every_type() for _ in TYPES]
    runs = runs[first:] + runs[:first]
    types = TYPES[first:] + TYPES[:first]
    survived = Survived(len(runs))
    with BlissdataWriter(bench.proxy.url + IMPATIENT, journal=directory) as writer:
        for type_, documents in zip(types, runs, strict=True):
            for document in documents[: TYPES.index(type_)]:
                writer(*document)
        if not writer.flush(_CAUGHT_UP_SECONDS):
            raise RuntimeError("the runs could not be begun")
        with FAULTS[name](bench):
            for type_, documents in zip(types, runs, strict=True):
                _give(writer, documents[TYPES.index(type_)], survived, f"{name}, {type_}")
            time.sleep(_FAULT_SECONDS)
            for type_, documents in zip(types, runs, strict=True):
                for document in documents[TYPES.index(type_) + 1 :]:
                    _give(writer, document, survived, f"{name}, {type_}")
            if name not in LEAVE_REDIS_USABLE and not writer.statistics().queued:
                survived.failed.append(f"{name}: Redis took all documents, so this shows nothing")
        writer.flush(_CAUGHT_UP_SECONDS)
    for type_, documents in zip(types, runs, strict=True):
        if wrong := _wrong(bench, documents):
            survived.failed.append(f"{name}, {type_}: {wrong}")
    return survived


def _give(writer: BlissdataWriter, document: Document, survived: Survived, cell: str) -> None:
    began = time.perf_counter()
    try:
        writer(*document)
    except Exception as error:  # noqa: BLE001 - none must come
        survived.failed.append(f"{cell}: {error!r}")
    seconds = time.perf_counter() - began
    survived.slowest = max(survived.slowest, seconds)


def _wrong(bench: Bench, documents: list[Document]) -> str:
    """What the run of these documents lacks in Redis."""
    uid = documents[0][1]["uid"]
    try:
        scan = DataStore(bench.server.url).load_scan(scan_key(uid))
        rows = list(scan.streams["primary:value"][:])
    except Exception as error:  # noqa: BLE001 - whatever cannot be read is not whole
        return f"it cannot be read: {error!r}"
    with bench.client() as client:
        others = client.xlen(documents_key(uid))
    if others != sum(name not in EVENT_TYPES for name, _ in documents):
        return f"it has {others} documents that are no events"
    if scan.state != ScanState.CLOSED or scan.info["end_reason"] != "SUCCESS":
        return f"it ended as {scan.state.name}, {scan.info.get('end_reason')}"
    return "" if rows == list(range(ROWS)) else f"its rows are {rows}"


def matrix(names: list[str], firsts: int) -> Survived:
    """`survive` for each of these faults, with each of the first `firsts` types before all others."""
    whole = Survived()
    with tempfile.TemporaryDirectory() as directory, bench(Path(directory) / "redis") as there:
        for number, name in enumerate(names):
            for first in range(firsts):
                found = survive(there, name, Path(directory) / f"{number}-{first}", first)
                whole.total += found.total
                whole.slowest = max(whole.slowest, found.slowest)
                whole.failed += found.failed
    return whole


def figures(short: bool) -> list[Figure]:
    found = matrix(list(FAULTS), 1 if short else len(TYPES))
    whole = found.total - len({failure.rpartition(":")[0] for failure in found.failed})
    return [
        Figure(
            "P1",
            f"{len(FAULTS)} faults x {len(TYPES)} document types; slowest call {found.slowest * 1e3:.1f} ms",
            f"{whole}/{found.total} whole",
            f"all, each call ≤ {CALL_SECONDS:.0f} s",
            not found.failed and found.slowest <= CALL_SECONDS,
        )
    ]
