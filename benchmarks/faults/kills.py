"""P2: what the callback has returned from survives the death of the process, and of nothing is more than the tail torn."""

from __future__ import annotations

import io
import logging
import os
import random
import select
import signal
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blissdata_bluesky.journal import Fsync, JournalDirectory, JournalReader
from blissdata_bluesky.packing import unpack_document
from blissdata_bluesky.writer import BlissdataWriter

from .figure import Figure

# nothing listens there: the journal is all that remains
NOWHERE = "redis://127.0.0.1:1"
UID = "00000000-0000-4000-8000-00000000dead"
KEYS = [f"key{number}" for number in range(20)]
FRAME_EVERY = 7
POLICIES: tuple[Fsync, ...] = ("never", "run", 0.05)
LONGEST_LIFE = 0.08
SECONDS = 30.0
_COUNT_BYTES = 8
# documents that a writer has given at least; fewer for some than for others
_LEAST = 5


@dataclass
class Outcome:
    """Of all kills together."""

    kills: int = 0
    given: int = 0
    """Documents that the callback returned from, as far as the writer could still report them."""
    lost: int = 0
    changed: int = 0
    torn: int = 0
    """Journals with a torn record at their end."""


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """A run that does not end, the same one every time."""
    yield "start", {"uid": UID, "time": 1.7e9, "plan_name": "count", "scan_id": 1}
    keys: dict[str, Any] = {key: {"dtype": "number", "shape": [], "source": "s"} for key in KEYS}
    keys["frame"] = {"dtype": "array", "dtype_numpy": "<u2", "shape": [64, 64], "source": "s"}
    yield "descriptor", {"uid": "d", "run_start": UID, "name": "primary", "time": 1.7e9, "data_keys": keys}
    number = 0
    while True:
        number += 1
        data: dict[str, Any] = dict.fromkeys(KEYS, number / 3)
        if number % FRAME_EVERY == 0:
            data["frame"] = (np.arange(4096, dtype="<u2") + number).reshape(64, 64)
        timestamps = dict.fromkeys(data, 1.7e9 + number)
        event = {"uid": f"e{number}", "descriptor": "d", "seq_num": number, "time": 1.7e9 + number, "filled": {}}
        yield "event", {**event, "data": data, "timestamps": timestamps}


def kill_writers(kills: int, seed: int = 0) -> Outcome:
    """Kill so many writers in the middle of a run, and count what their journals have not."""
    outcome = Outcome()
    random_life = random.Random(seed)
    for number in range(kills):
        with tempfile.TemporaryDirectory(prefix="kills-") as directory:
            life = random_life.uniform(0, LONGEST_LIFE)
            given = _killed(Path(directory), POLICIES[number % len(POLICIES)], life, least=1 + number % _LEAST)
            _compare(Path(directory), given, outcome)
    return outcome


def _killed(directory: Path, fsync: Fsync, life: float, least: int) -> int:
    """Let a writer run for `life` seconds after its first `least` documents; how many documents it reported."""
    reading, writing = os.pipe()
    child = _fork(directory, fsync, writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        try:
            reports = _reports(pipe, SECONDS, enough=least * _COUNT_BYTES)
            reports += _reports(pipe, life)
        finally:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        reports += pipe.readall() or b""
    if (code := os.waitstatus_to_exitcode(status)) != -signal.SIGKILL:
        raise RuntimeError(f"the writer ended by itself, with {code}")
    return int.from_bytes(reports[-_COUNT_BYTES:], "little")


def _reports(pipe: io.FileIO, seconds: float, enough: int = 2**31) -> bytes:
    """What comes within so many seconds, or so many bytes: a pipe that is not read would stop the writer."""
    deadline, reports = time.monotonic() + seconds, b""
    while len(reports) < enough and (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            piece = pipe.read(2**16)
            if not piece:
                raise RuntimeError("the writer ended by itself")
            reports += piece
    return reports


def _fork(directory: Path, fsync: Fsync, pipe: int) -> int:
    """A warm interpreter: a new one would take a second for each kill."""
    with warnings.catch_warnings():
        # of threads that the child does not have; it begins everything anew
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        logging.disable()
        writer = BlissdataWriter(NOWHERE, journal=directory, fsync=fsync)
        for count, (name, document) in enumerate(documents(), 1):
            writer(name, document)
            os.write(pipe, count.to_bytes(_COUNT_BYTES, "little"))
    finally:
        os._exit(1)


def _compare(directory: Path, given: int, outcome: Outcome) -> None:
    [path] = JournalDirectory(directory).paths()
    with JournalReader(path) as reader:
        found = [unpack_document(payload) for _, payload in reader.records(reader.begin)]
        outcome.torn += reader.whole() < reader.size
    outcome.kills += 1
    outcome.given += given
    outcome.lost += max(0, given - len(found))
    outcome.changed += sum(not _equal(*pair) for pair in zip(found, documents(), strict=False))


def _equal(found: tuple[str, dict[str, Any]], given: tuple[str, dict[str, Any]]) -> bool:
    frames = [document.get("data", {}).pop("frame", None) for _, document in (found, given)]
    return found == given and np.array_equal(*frames)


def figures(short: bool) -> list[Figure]:
    outcome = kill_writers(15 if short else 240)
    done = (
        f"{outcome.kills} writers killed (SIGKILL) after up to {1000 * LONGEST_LIFE:.0f} ms of a run, K = {len(KEYS)} and "
        f"arrays, fsync {', '.join(map(str, POLICIES))}; {outcome.given} documents given, {outcome.torn} torn tails"
    )
    found = f"{outcome.lost} lost, {outcome.changed} changed"
    return [Figure("P2", done, found, "0 lost, 0 changed", not (outcome.lost or outcome.changed))]
