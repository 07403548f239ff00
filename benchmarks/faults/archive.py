"""A1: an archiver that is killed, again and again, loses, doubles and changes nothing; its file can always be read."""

from __future__ import annotations

import logging
import os
import random
import signal
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from blissdata_bluesky.archive import run as archive_run
from blissdata_bluesky.archive import service
from blissdata_bluesky.archive.columns import Written
from blissdata_bluesky.archive.state import ArchiveState, load_state
from blissdata_bluesky.journal import ARCHIVE_SUFFIX
from tests.system.archived import Place, Registered, add, assert_archived
from tests.system.emitted import EmittedRun, Named

from .figure import Figure

NUMBER = {"dtype": "number", "dtype_numpy": "<f8", "shape": []}
DATA_KEYS: dict[str, Any] = {
    **{f"key{number}": NUMBER for number in range(8)},
    # large enough to be a chunk of its own
    "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [160, 160]},
    "text": {"dtype": "string", "shape": []},
    "ragged": {"dtype": "array", "dtype_numpy": "<f8", "shape": [None]},
}
IRREGULAR_EVERY, LATE_AFTER = 11, 30
LONGEST_LIFE = 0.12
SECONDS = 30.0
_KILLS_OF_A_RUN = 20
_PAUSE_SECONDS = 0.002
_SEALED_ROWS = 300


@dataclass
class Outcome:
    """Of all kills together."""

    kills: int = 0
    files: int = 0
    """Kills after which there was a file."""
    rows: int = 0
    unreadable: list[str] = field(default_factory=list)
    """What plain h5py said of files that it could not read."""
    lacking: list[str] = field(default_factory=list)
    """Datasets without rows, or with other ones, that the archiver had counted as written."""
    made_again: int = 0
    """Files that were made again from the journal."""
    differences: list[str] = field(default_factory=list)
    """Between documents and file, in the end."""


class GrowingRun:
    """A run with rows of every kind, whose journal grows."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.run = EmittedRun()
        self.run.describe(data_keys=DATA_KEYS)
        self.path = place.path(self.run.documents[0][1])
        self.rows = 0
        self._journal = place.begin(self.run.documents)
        self.state = self._journal.path.with_suffix(ARCHIVE_SUFFIX)

    def grow(self) -> None:
        """One event more; from `LATE_AFTER` on, another stream as well."""
        documents: list[Named] = self.run.event(values(self.rows))
        if self.rows == LATE_AFTER:
            documents += self.run.describe("late", {"number": NUMBER})
        if self.rows >= LATE_AFTER:
            documents += self.run.event({"number": float(self.rows)}, "late")
        add(self._journal, documents)
        self.rows += 1

    def stop(self) -> None:
        """The stop document; Redis has the whole run."""
        add(self._journal, self.run.stop())
        self.place.directory.finish(self._journal)

    def archived(self) -> ArchiveState:
        """What the archiver says that the file has."""
        return load_state(self.state)


def values(row: int) -> dict[str, Any]:
    """What event `row` brings."""
    numbers: dict[str, Any] = {f"key{number}": row / 3 + number for number in range(8)}
    if row % IRREGULAR_EVERY == 0:
        numbers["key0"] = f"no number at {row}"
    image = np.random.default_rng(row).integers(0, 2**12, (160, 160), "<u2")
    return numbers | {
        "image": image,
        "text": "é" * (row % 4) + str(row),
        "ragged": np.arange(row % 7, dtype="<f8") + row,
    }


def kill_while_it_grows(kills: int, outcome: Outcome, seed: int = 0) -> None:
    """Kill so many archivers while journals grow, then let one finish."""
    random_life = random.Random(seed)
    while outcome.kills < kills:
        with tempfile.TemporaryDirectory(prefix="archive-kills-") as directory:
            growing = GrowingRun(Place(Path(directory)))
            for _ in range(min(_KILLS_OF_A_RUN, kills - outcome.kills)):
                before = growing.archived()
                _kill_one(growing, random_life.uniform(0, LONGEST_LIFE))
                check(growing, before, outcome)
            growing.stop()
            _finish(growing, outcome)


def kill_while_it_is_sealed(kills: int, outcome: Outcome, seed: int = 0) -> None:
    """Kill so many archivers after the stop document, while one and the same file is finished."""
    random_life = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="archive-kills-") as directory:
        growing = GrowingRun(Place(Path(directory)))
        for _ in range(_SEALED_ROWS):
            growing.grow()
        growing.stop()
        for _ in range(kills):
            before = growing.archived()
            child = fork_archiver(growing.place, keep_unregistered)
            _wait_for(growing.path)
            time.sleep(random_life.uniform(0, 0.8))
            kill(child)
            check(growing, before, outcome)
        _finish(growing, outcome)


def _kill_one(growing: GrowingRun, life: float) -> None:
    """Let an archiver begin, and kill it `life` seconds after it has written something, while the journal grows."""
    before = growing.archived()
    child = fork_archiver(growing.place)
    begun = time.monotonic()
    deadline = begun + SECONDS
    while time.monotonic() < deadline:
        growing.grow()
        time.sleep(_PAUSE_SECONDS)
        if deadline == begun + SECONDS and growing.archived() != before:
            deadline = time.monotonic() + life
    kill(child)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def check(growing: GrowingRun, before: ArchiveState, outcome: Outcome) -> None:
    """After a kill: what plain h5py says of the file, beside what the archiver has counted as written."""
    outcome.kills += 1
    if not growing.path.exists():
        return
    outcome.files += 1
    state = growing.archived()
    # the offset begins anew with each archiver, what is written of a file does not
    outcome.made_again += any(
        state.progress.get(name, Written()).rows < it.rows for name, it in before.progress.items()
    )
    try:
        with h5py.File(growing.path, "r", locking=False) as file:
            for name, written in state.progress.items():
                rows = np.ascontiguousarray(file[name][: written.rows])
                if (len(rows), zlib.crc32(rows.tobytes())) != written:
                    outcome.lacking.append(f"{name}: {len(rows)} of {written.rows} rows")
            file.visititems(_read)
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        outcome.unreadable.append(repr(error))


def _read(_: str, item: h5py.Group | h5py.Dataset) -> None:
    if isinstance(item, h5py.Dataset):
        item[()]


def _finish(growing: GrowingRun, outcome: Outcome) -> None:
    registered = Registered()
    growing.place.archive(registered)
    try:
        assert_archived(growing.path, growing.run)
        outcome.rows += growing.rows
        assert registered.complete(growing.run.uid), "it is not registered"
        assert not list(growing.place.journals.glob("*journal")), "its journal was not removed"
        beside = {path for path in growing.place.files() if not path.name.endswith(".damaged")}
        assert beside == {growing.path.relative_to(growing.place.root)}
    except AssertionError as error:
        outcome.differences.append(str(error) or repr(error))


def keep_unregistered(_: Any) -> None:
    """A list of runs that never answers."""
    time.sleep(3600)


def fork_archiver(place: Place, register: Callable[[Any], None] | None = None) -> int:
    """Start an archiver in a warm interpreter: a new one would take a second for each kill."""
    with warnings.catch_warnings():
        # of threads that the child does not have; it begins everything anew
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return child
    try:
        logging.disable()
        service.LOOK_SECONDS = 0.002
        # many flushes, and so many moments to be killed in
        archive_run._LONGEST_STEP_SECONDS = 0.01
        service.Archiver(place.journals, place.root, register).run(lambda: True)
    finally:
        os._exit(1)


def kill(child: int) -> None:
    """SIGKILL. Raises RuntimeError when it had ended by itself."""
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if (code := os.waitstatus_to_exitcode(status)) != -signal.SIGKILL:
        raise RuntimeError(f"the archiver ended by itself, with {code}")


def figures(short: bool) -> list[Figure]:
    growing, sealing = Outcome(), Outcome()
    kill_while_it_grows(10 if short else 200, growing)
    kill_while_it_is_sealed(5 if short else 40, sealing)
    return [
        _figure(growing, "killed (SIGKILL) while journals grew"),
        _figure(sealing, "killed after the stop document, while the file was finished"),
    ]


def _figure(outcome: Outcome, what: str) -> Figure:
    done = f"{outcome.kills} archivers {what}: scalars, images, texts, ragged arrays; {outcome.rows} events"
    found = (
        f"{len(outcome.unreadable)} of {outcome.files} files unreadable, {len(outcome.lacking)} lacked rows, "
        f"{outcome.made_again} made again; in the end {len(outcome.differences)} differences"
    )
    kept = not (outcome.unreadable or outcome.differences)
    return Figure("A1", done, found, "0 unreadable, 0 differences", kept)
