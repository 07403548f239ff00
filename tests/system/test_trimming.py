"""Runs that are far larger than their Redis: its memory tracker trims them, and their files have what it took."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import h5py
import numpy as np
import pytest
import redis
from blissdata import ScanState
from blissdata.exceptions import IndexNoMoreThereError
from blissdata.streams.hdf5_fallback.stream import Hdf5BackedStream

from blissdata_bluesky.archive.lock import ArchiverLock
from blissdata_bluesky.errors import RunUnavailableError
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, RedisRuns, RunStream
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .archived import Place
from .collected import load
from .emitted import whole_run
from .memory_tracker import MIB, MemoryTracker, fullness, limit_memory
from .published import levels
from .tiled_runs import Run, eventually, stopped

DATA_KEYS: dict[str, dict[str, Any]] = {
    "number": {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "s"},
    "count": {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], "source": "s"},
    "text": {"dtype": "string", "shape": [], "source": "s"},
    "spectrum": {"dtype": "array", "dtype_numpy": "<f8", "shape": [256], "source": "s"},
    "image": {"dtype": "array", "dtype_numpy": "<u2", "shape": [64, 64], "source": "s"},
}
NUMERIC = [key for key in DATA_KEYS if key != "text"]
ROW_BYTES = 8 + 8 + 8 * 256 + 2 * 64 * 64
ROOM = 20 * MIB
# its times are whole seconds; docs/how-to/archive.md has the rule
SHORT = {"threshold": 50, "protected": 1, "period": 1}
# the scan waits here for the tracker, as one whose detector is slow enough would not have to
_BRIM = 0.75
_PATIENCE_SECONDS = 60.0
_LOOK_SECONDS = 0.02

REFERENCE = Path(__file__).parents[2] / "docs/reference/archive.md"

_Answer = TypeVar("_Answer")


def values(start: int, stop: int) -> dict[str, Any]:
    """What rows `start` to `stop` hold of each key; no two rows hold the same."""
    rows = np.arange(start, stop)
    return {
        "number": rows / 3,
        "count": rows,
        "text": [f"row {row}" for row in rows],
        "spectrum": rows[:, None] + np.arange(256) / 256,
        "image": (rows[:, None, None] * 7 + np.arange(64 * 64).reshape(64, 64)).astype("<u2"),
    }


class Site:
    """A small Redis with its memory tracker, an archiver that is a process of its own, and a writer."""

    def __init__(self, server: RedisServer, directory: Path, room: int, settings: dict[str, int]) -> None:
        self.url = server.url
        self.root = directory / "archive"
        self.journal = directory / "journal"
        self.client = redis.Redis.from_url(server.url, protocol=2)
        self.run = Run(scan_id=7)
        self.rows = 0
        self.bound = limit_memory(self.client, room)
        self.tracker = MemoryTracker(self.url, directory / "tracker.log", **settings)
        self.archiver = archiving(self.journal, self.root)
        self.writer = BlissdataWriter(self.url, journal=self.journal, archive=self.root)

    @property
    def uid(self) -> str:
        return self.run.uid

    @property
    def file(self) -> Path:
        (file,) = self.root.rglob(f"{self.uid}.h5")
        return file

    def begin(self) -> None:
        for document in (self.run.start, self.run.describe(**DATA_KEYS)):
            self.writer(*document)

    def feed(self, count: int, rate: float) -> None:
        """Events of `rate` bytes/s, or fewer where Redis would overflow."""
        began, first = time.monotonic(), self.rows
        for block in range(first, first + count, 50):
            columns = values(block, min(block + 50, first + count))
            for index in range(len(columns["count"])):
                self.writer(*self.run.event({key: column[index] for key, column in columns.items()}))
                self.rows += 1
            time.sleep(max(0.0, (self.rows - first) * ROW_BYTES / rate - (time.monotonic() - began)))
            eventually(lambda: fullness(self.client) < _BRIM, 60)

    def first_in_redis(self, key: str) -> int:
        """The first row of a column that Redis still has."""
        ((entry, _),) = self.client.xrange(self.stream(key).key, count=1)
        return int(entry.split(b"-")[0])

    def stream(self, key: str) -> Any:
        """A column as an unmodified blissdata reads it."""
        return load(self.url, self.uid).streams[f"primary:{key}"]

    def close(self) -> None:
        self.writer.close()
        end(self.archiver)
        self.client.close()


def archiving(journal: Path, root: Path) -> subprocess.Popen[bytes]:
    """An archiver that is at work, as long as this process lives."""
    places = ["--journal", str(journal), "--root", str(root)]
    command = [sys.executable, "-m", "blissdata_bluesky", "archive", "--until-eof", *places]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    try:
        eventually(ArchiverLock(journal, root).is_held, 90)
    except BaseException:
        end(process)
        raise
    return process


def end(archiver: subprocess.Popen[bytes]) -> None:
    """As it may end at any time; otherwise it would wait for the list of runs."""
    with archiver:
        archiver.kill()


@contextmanager
def open_site(directory: Path, room: int, settings: dict[str, int]) -> Iterator[Site]:
    with RedisServer() as server:
        site = Site(server, directory, room, settings)
        try:
            with site.tracker:
                yield site
        finally:
            site.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path, ROOM, SHORT) as site:
        yield site


@contextmanager
def joined_runs(site: Site) -> Iterator[JoinedRuns]:
    with RedisRuns(site.url) as live, ArchivedRuns(site.root) as archived, JoinedRuns(live, archived) as runs:
        yield runs


@contextmanager
def tiled_client(site: Site) -> Iterator[Any]:
    import dask
    from tiled.client import from_uri

    from blissdata_bluesky.tiled import TiledServer

    with TiledServer(site.url, archive=site.root) as server, dask.config.set(scheduler="synchronous"):
        client = from_uri(server.url)
        try:
            yield client
        finally:
            client.context.http_client.close()


def rows_in_file(root: Path, uid: str) -> int:
    """Rows that plain h5py reads; none while it meets the file in the middle of a change."""
    try:
        (path,) = root.rglob(f"{uid}.h5")
        with h5py.File(path, "r") as file:
            return len(file[file.attrs["default"]]["measurement/image"][:])
    except (OSError, KeyError, ValueError, RuntimeError):
        return 0


def soon(question: Callable[[], _Answer], *errors: type[Exception]) -> _Answer:
    """The answer of a reader whom the archiver may be a moment behind, for the tracker's protection is so short."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return question()
        except errors:
            if time.monotonic() > deadline:
                raise
        time.sleep(_LOOK_SECONDS)


def assert_rows(key: str, start: int, found: Any) -> None:
    """`found` are the rows from `start` on."""
    expected = values(start, start + len(found))[key]
    assert len(found), f"{key}: there are no rows from {start} on"
    if key == "text":
        assert list(found) == expected
    else:
        assert np.array_equal(found, expected), f"{key}, rows from {start} on"


def assert_blissdata_reads(site: Site, key: str, rows: int) -> None:
    """An unmodified client reads at least `rows` rows of a numeric column: by cursor, by index, across the border."""
    stream = site.stream(key)
    assert isinstance(stream, Hdf5BackedStream)
    assert len(stream) >= rows
    view = stream.cursor().read()
    assert view.index == 0
    trimmed = view._events.nb_expired
    assert trimmed > 0
    for start in range(0, len(view), 2000):
        stop = min(start + 2000, len(view))
        piece = view.get_data(start, stop)
        assert len(piece) == stop - start
        assert_rows(key, start, piece)
    for index in random.Random(rows).sample(range(rows), 40):
        assert_rows(key, index, [stream[index]])
    # the tracker may have left a few rows only
    for start, stop in [(trimmed - 30, min(trimmed + 30, len(view))), (0, 10), (rows - 10, rows)]:
        piece = stream[start:stop]
        assert len(piece) == stop - start, f"{key}: rows {start} to {stop}"
        assert_rows(key, start, piece)


def assert_h5py_reads(site: Site, rows: int) -> None:
    """Plain h5py finds at least `rows` rows of every column."""
    with h5py.File(site.file, "r") as file:
        entry = file[file.attrs["default"]]
        for key in NUMERIC:
            dataset = entry["measurement"][key]
            assert len(dataset) >= rows, key
            for start in range(0, len(dataset), 2000):
                assert_rows(key, start, dataset[start : start + 2000])
        assert_rows("text", 0, texts(entry["bluesky/primary:text"]))


def texts(column: h5py.Group) -> list[str]:
    """The rows of a text column while the run goes on, as docs/reference/archive.md describes them."""
    ends = np.cumsum(column["shapes"][:, 0])
    values = column["values"][: ends[-1]].tobytes()
    return [values[start:stop].decode() for start, stop in pairwise([0, *ends])]


def assert_tiled_reads(client: Any, uid: str, rows: int) -> None:
    """An unmodified Tiled client reads at least `rows` rows of every column, the whole of the scalars and texts."""
    stream = client[uid]["primary"]
    # takes new row counts, which hold while this client asks for more
    assert set(DATA_KEYS) <= set(stream)
    table = stream.base["internal"].read(["number", "count"])
    assert len(table) >= rows
    for key in table:
        assert_rows(key, 0, table[key].to_numpy())
    assert_rows("text", 0, stream["text"].read())
    for key in ("spectrum", "image"):
        assert len(stream[key]) >= rows
        for start in (0, rows // 2, rows - 50):
            assert_rows(key, start, stream[key][start : start + 50])


@pytest.mark.timeout(600)
def test_a_scan_ten_times_larger_than_its_redis(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    scan_ten_times_larger(site, 6.5 * MIB)
    assert_nothing_was_refused_for_good(caplog)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_scan_of_a_gigabyte(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_site(tmp_path, 100 * MIB, {"threshold": 70, "protected": 3, "period": 1}) as site:
        scan_ten_times_larger(site, 12 * MIB)
    assert_nothing_was_refused_for_good(caplog)


def assert_nothing_was_refused_for_good(caplog: pytest.LogCaptureFixture) -> None:
    """Replies on their way to readers count as memory, too: for a moment, Redis may be full of them."""
    told = [record.getMessage() for record in caplog.records if record.name.startswith("blissdata_bluesky")]
    # it refuses a command, or a connection finds it nearly full
    assert all(re.search("is interrupted: .*memory", message) for message in told[::2])
    assert all("goes on after" in message for message in told[1::2]) and len(told) % 2 == 0
    assert set(levels(caplog)) <= {"WARNING"}


def scan_ten_times_larger(site: Site, rate: float) -> None:
    """Publish ten times what Redis may hold, with all readers at work meanwhile and afterwards."""
    total = 10 * site.bound // ROW_BYTES
    site.begin()
    scan = threading.Thread(target=site.feed, args=(total, rate))
    scan.start()
    looks = 0
    try:
        eventually(lambda: site.tracker.cleanings, 60)
        with tiled_client(site) as client:
            while scan.is_alive():
                all_readers_look(site, client)
                looks += 1
            site.writer(*site.run.stop())
            assert site.writer.flush(60)
            assert looks, "nobody has looked while the scan was under way"
            assert site.rows == total
            assert load(site.url, site.uid).state == ScanState.CLOSED
            for key in DATA_KEYS:
                assert site.first_in_redis(key) > total / 2, f"{key} is not trimmed"
            eventually(lambda: not list(site.journal.glob("*.archive")), 120)
            for key in NUMERIC:
                assert_blissdata_reads(site, key, total)
            assert_h5py_reads(site, total)
            stopped(client, site.uid)
            assert_tiled_reads(client, site.uid, total)
    finally:
        scan.join()


def all_readers_look(site: Site, client: Any) -> None:
    """While the scan goes on."""
    rows = len(site.stream("number"))
    # what a reader may meet whose archiver is a moment behind: ours, and blissdata's own
    behind = (AssertionError, OSError, KeyError, IndexError, RuntimeError)
    for key in NUMERIC:
        soon(partial(assert_blissdata_reads, site, key, rows), *behind)
    soon(partial(assert_h5py_reads, site, rows), *behind)
    # which waits for the archiver itself
    assert_tiled_reads(client, site.uid, rows)


@pytest.mark.timeout(300)
def test_rows_that_are_trimmed_before_they_are_archived_reappear(site: Site) -> None:
    site.begin()
    site.feed(200, 20 * MIB)
    eventually(lambda: rows_in_file(site.root, site.uid) == 200)
    site.archiver.send_signal(signal.SIGSTOP)
    while min(map(site.first_in_redis, DATA_KEYS)) < 300:
        site.feed(100, 6 * MIB)
    lost = range(250, site.first_in_redis("image"))
    with joined_runs(site) as runs:
        stream = runs.get(site.uid).streams["primary"]
        assert stream.rows() == site.rows, "rows that cannot be read now are counted"
        for key in DATA_KEYS:
            with pytest.raises(RunUnavailableError, match=rf"(?s){site.uid}.*archiver has not written") as told:
                stream.read(key, 0, 260)
            assert str(site.file) in str(told.value)
        # which it is, the tracker may have changed meanwhile
        soon(lambda: assert_last_rows(site, stream), RunUnavailableError)
        assert_tiled_answers_503(site)
        # blissdata's own clients are told in its own way, or, of a slice, find less
        with pytest.raises((IndexError, RuntimeError, OSError)):
            site.stream("image")[lost[-1]]
        with pytest.raises(AssertionError):
            site.stream("image").cursor().read().get_data()
        assert len(site.stream("image")[lost[0] : site.rows]) < site.rows - lost[0]
        site.archiver.send_signal(signal.SIGCONT)
        for key in DATA_KEYS:
            assert_rows(key, 0, soon(partial(stream.read, key, 0, site.rows), RunUnavailableError))
        assert_rows("image", lost[-1], soon(lambda: [site.stream("image")[lost[-1]]], IndexError, OSError))
        assert_rows("image", 0, site.stream("image").cursor().read().get_data())
    site.writer(*site.run.stop())
    assert site.writer.flush(90)


def assert_last_rows(site: Site, stream: RunStream) -> None:
    """Those that Redis has are read."""
    first = site.first_in_redis("count")
    assert_rows("count", first, stream.read("count", first))


def assert_tiled_answers_503(site: Site) -> None:
    """A server that has not seen the lost rows cannot list the stream: which of them count is told by their seq_nums."""
    with tiled_client(site) as client:
        run = eventually(lambda: client[site.uid])
        address = run.uri.replace("/metadata/", "/search/") + "/primary"
        # Tiled's own client asks again and again
        answer = client.context.http_client.get(address)
    assert answer.status_code == 503
    assert site.uid in answer.text
    assert "archiver has not written" in answer.text


@pytest.mark.timeout(300)
def test_what_a_stock_client_gets_of_a_json_stream(site: Site) -> None:
    site.begin()
    while site.rows == 0 or site.first_in_redis("text") < 10:
        site.feed(200, 6 * MIB)
    assert site.writer.flush(90)
    stream = site.stream("text")
    assert not isinstance(stream, Hdf5BackedStream)
    with pytest.raises(IndexNoMoreThereError):
        stream[0]
    with pytest.raises(IndexNoMoreThereError):
        stream[:]
    with pytest.raises(IndexNoMoreThereError):
        stream.cursor().read().get_data()

    def read_what_is_left() -> None:
        first = site.first_in_redis("text")
        assert_rows("text", first, stream[first:])

    soon(read_what_is_left, IndexNoMoreThereError)
    with joined_runs(site) as runs:
        ours = runs.get(site.uid).streams["primary"]
        found = soon(partial(ours.read, "text"), RunUnavailableError)
        assert len(found) == site.rows
        assert_rows("text", 0, found)
    site.writer(*site.run.stop())
    assert site.writer.flush(90)


def test_the_reference_reads_a_file_as_it_says(tmp_path: Path) -> None:
    place, run = Place(tmp_path), whole_run(5, scan_id=7)
    path = place.whole(run)
    place.archive()
    names: dict[str, Any] = {"path": path, "root": place.root, "uid": run.uid}
    for code in re.findall(r"^```python\n(.*?)^```", REFERENCE.read_text(), re.MULTILINE | re.DOTALL):
        exec(compile(code, str(REFERENCE), "exec"), names)
    expected = [document for name, document in run.documents if name != "event"]
    assert [document for _, document, _ in names["documents"]] == expected
    assert [document for name, document in names["all_documents"] if name != "event"] == expected
    assert list(names["number"]) == [row / 3 for row in range(5)]
    with h5py.File(path) as file:
        expected_texts = ["é" * (row % 4) + str(row) for row in range(5)]
        assert names["texts"](file["7.1/bluesky/primary:text"]) == expected_texts
        assert list(file["7.1/measurement/text"].asstr()[:]) == expected_texts
