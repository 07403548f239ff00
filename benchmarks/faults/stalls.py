"""P1: Redis never aborts or stalls a scan; `flush`, `close` and the end of the interpreter are bounded in time."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import bluesky.plans as bp
import redis
from blissdata import DataStore, ScanState
from bluesky.run_engine import RunEngine
from event_model import compose_run
from ophyd.sim import det

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.protocol import documents_key, scan_key
from blissdata_bluesky.server import RedisServer
from tests.proxy import Fault, Proxy

from .figure import Figure

Document = tuple[str, dict[str, Any]]
# a Redis that does not answer is noticed soon, not after ten seconds
IMPATIENT = "?socket_timeout=0.2"
CALL_SECONDS = 1.0
_CAUGHT_UP_SECONDS = 60.0
# longer than it takes to notice
_FAULT_SECONDS = 0.5


def every_type() -> list[Document]:
    """A run that has a document of every type, and the events 0, 1, 2 … in its stream."""
    run = compose_run()
    names = {"object_name": "dev", "source": "s"}
    keys: dict[str, Any] = {
        "value": {"dtype": "integer", "dtype_numpy": "<i8", "shape": [], **names},
        "streamed": {"dtype": "array", "dtype_numpy": "<u2", "shape": [2], "external": "STREAM:", **names},
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys, object_keys={"dev": list(keys)})
    resource_ = run.compose_resource(spec="x", root="/", resource_path="r", resource_kwargs={})
    streamed = run.compose_stream_resource(mimetype="x/x", uri="file://x/r", data_key="streamed", parameters={})

    def event(number: int) -> dict[str, Any]:
        return stream.compose_event(data={"value": number}, timestamps={"value": 1.0}, validate=False)

    page = stream.compose_event_page(
        data={"value": [1, 2]}, timestamps={"value": [1.0, 1.0]}, seq_num=[2, 3], time=[1.0, 2.0], validate=False
    )
    return [
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        ("event", event(0)),
        ("event_page", page),
        ("bulk_events", {"primary": [event(3), event(4)]}),
        ("resource", resource_.resource_doc),
        ("datum", resource_.compose_datum(datum_kwargs={"i": 0})),
        ("datum_page", dict(resource_.compose_datum_page(datum_kwargs={"i": [1, 2]}))),
        ("stream_resource", streamed.stream_resource_doc),
        ("stream_datum", streamed.compose_stream_datum({"start": 0, "stop": 5}, descriptor=stream.descriptor_doc)),
        ("stop", run.compose_stop()),
    ]


TYPES = [name for name, _ in every_type()]
_ROWS = 5
_EVENT_TYPES = {"event", "event_page", "bulk_events"}


@dataclass(frozen=True)
class Bench:
    """What faults are done to."""

    server: RedisServer
    proxy: Proxy

    def client(self) -> redis.Redis:
        """Straight to the server."""
        return redis.Redis.from_url(self.server.url, protocol=2)


@contextmanager
def bench(directory: Path, delay: float = 0.5) -> Iterator[Bench]:
    """A server that keeps its data, behind a proxy."""
    with RedisServer(directory=directory) as server, Proxy(server.port, delay) as proxy:
        yield Bench(server, proxy)


@contextmanager
def killed(bench: Bench) -> Iterator[None]:
    """The server is killed, and started again with what it has on disk."""
    os.kill(bench.server.pid or 0, signal.SIGKILL)
    bench.server.wait(10)
    yield
    bench.server.start()


@contextmanager
def stopped(bench: Bench) -> Iterator[None]:
    """The server hangs: SIGSTOP, later SIGCONT."""
    os.kill(bench.server.pid or 0, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(bench.server.pid or 0, signal.SIGCONT)


@contextmanager
def flushed(bench: Bench) -> Iterator[None]:
    """The database is emptied."""
    with bench.client() as client:
        client.flushall()
    yield


@contextmanager
def full(bench: Bench) -> Iterator[None]:
    """Redis is at `maxmemory`."""
    with bench.client() as client:
        client.config_set("maxmemory", "1mb")
        yield
        client.config_set("maxmemory", "0")


@contextmanager
def disk_full(_: Bench | None = None) -> Iterator[None]:
    """No file of this process grows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def spoilt(fault: Fault, bench: Bench) -> Iterator[None]:
    """The proxy spoils connections."""
    with bench.proxy.spoilt(fault):
        yield


FAULTS: dict[str, Callable[[Bench], Any]] = {
    **{f"connections: {fault}": partial(spoilt, fault) for fault in Fault},
    "SIGKILL": killed,
    "SIGSTOP": stopped,
    "FLUSHALL": flushed,
    "maxmemory": full,
    "disk full": disk_full,
}
_LEAVE_REDIS_USABLE = {"FLUSHALL", "disk full"}


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
            if name not in _LEAVE_REDIS_USABLE and not writer.statistics().queued:
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
    if seconds > CALL_SECONDS:
        survived.failed.append(f"{cell}: {document[0]} took {seconds:.1f} s")


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
    if others != sum(name not in _EVENT_TYPES for name, _ in documents):
        return f"it has {others} documents that are no events"
    if scan.state != ScanState.CLOSED or scan.info["end_reason"] != "SUCCESS":
        return f"it ended as {scan.state.name}, {scan.info.get('end_reason')}"
    return "" if rows == list(range(_ROWS)) else f"its rows are {rows}"


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


@contextmanager
def run_engine() -> Iterator[RunEngine]:
    """A RunEngine whose thread ends."""
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop)
    try:
        yield engine
    finally:
        loop.call_soon_threadsafe(loop.stop)
        engine._th.join()
        loop.close()


@dataclass(frozen=True)
class Slowdown:
    """The same scan beside a Redis that answers at once, and one that is slow."""

    prompt: float
    """Seconds, median."""
    delayed: float
    rows: int
    """Rows of the last delayed scan in Redis, afterwards."""


def slow_redis(events: int, delay: float, repeats: int) -> Slowdown:
    """Scans of a RunEngine, in turns straight to Redis and with each command delayed."""
    prompt, delayed, rows = [], [], 0
    with tempfile.TemporaryDirectory() as directory, bench(Path(directory) / "redis", delay) as there:
        for number in range(repeats):
            seconds, _ = _scan(there, there.server.url, Path(directory) / f"p{number}", events)
            prompt.append(seconds)
            with there.proxy.spoilt(Fault.DELAY):
                seconds, rows = _scan(there, there.proxy.url, Path(directory) / f"d{number}", events)
            delayed.append(seconds)
    return Slowdown(median(prompt), median(delayed), rows)


def _scan(there: Bench, url: str, journal: Path, events: int) -> tuple[float, int]:
    with run_engine() as engine, BlissdataWriter(url, journal=journal) as writer:
        engine.subscribe(writer)
        began = time.perf_counter()
        uid = engine(bp.count([det], num=events))[0]
        seconds = time.perf_counter() - began
        writer.flush(_CAUGHT_UP_SECONDS)
    return seconds, len(DataStore(there.server.url).load_scan(scan_key(uid)).streams["primary:det"])


# what the interpreter itself takes to end, with all that is imported
_INTERPRETER_SECONDS = 1.0

ENDINGS = {
    "hung": partial(spoilt, Fault.HANG),
    "refused": partial(spoilt, Fault.REFUSE),
    "stopped": stopped,
}

# What it says when it is about to end is compared with when it has ended.
_ENDING = """
    import sys, time
    from benchmarks.faults.stalls import every_type
    from blissdata_bluesky import writer
    writer._EXIT_SECONDS = float(sys.argv[3])
    publish = writer.BlissdataWriter(sys.argv[1], journal=sys.argv[2])
    begun = every_type()
    publish(*begun[0])
    assert publish.flush(10)
    print("ready", flush=True)
    sys.stdin.readline()
    for document in begun[1:]:
        publish(*document)
    print(time.time(), flush=True)
"""


@dataclass(frozen=True)
class Ending:
    """Seconds that these took, beside the `timeout` that they were given, and whether a journal was left."""

    timeout: float
    flush: float
    close: float
    exit: float
    left: bool


def ending(kind: str, timeout: float) -> Ending:
    """`flush`, `close` and the end of the interpreter, with runs pending and a Redis that does not answer."""
    with tempfile.TemporaryDirectory() as name, bench(Path(name) / "redis") as there, ExitStack() as stack:
        directory = Path(name)
        writer = BlissdataWriter(there.proxy.url + IMPATIENT, journal=directory / "one")
        documents = every_type()
        writer(*documents[0])
        writer.flush(10)
        arguments = [there.proxy.url, str(directory / "other"), str(timeout)]
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-c", textwrap.dedent(_ENDING), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with ENDINGS[kind](there):
            for document in documents[1:]:
                writer(*document)
            flush = _seconds(lambda: writer.flush(timeout))
            close = _seconds(lambda: writer.close(timeout))
            process.stdin.write("\n")
            process.stdin.flush()
            began = float(process.stdout.readline())
            process.wait(timeout + 30)
            exit_ = time.time() - began
        return Ending(timeout, flush, close, exit_, any((directory / "other").glob("*.journal")))


def _seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def figures(short: bool) -> list[Figure]:
    found = matrix(list(FAULTS), 1 if short else len(TYPES))
    whole = found.total - len({failure.rpartition(":")[0] for failure in found.failed})
    lines = [
        Figure(
            "P1",
            f"faults x document types, {len(FAULTS)} x {len(TYPES)}; slowest call {found.slowest * 1e3:.1f} ms",
            f"{whole}/{found.total} whole",
            "all",
            not found.failed,
        )
    ]
    slow = slow_redis(200, 0.5, 3) if short else slow_redis(1000, 0.5, 7)
    percent = (slow.delayed / slow.prompt - 1) * 100
    events = 200 if short else 1000
    lines.append(
        Figure(
            "P1",
            f"a scan of {events} events, each Redis command delayed by 500 ms; {slow.prompt:.2f} s without delay",
            f"{percent:+.1f} %",
            "≤ 5 %",
            percent <= 5 and slow.rows == events,
        )
    )
    for kind in ENDINGS:
        end = ending(kind, 1.0 if short else 5.0)
        longest = max(end.flush, end.close, end.exit)
        lines.append(
            Figure(
                "P1",
                f"Redis {kind}: flush, close, exit of the interpreter, each given {end.timeout:.0f} s",
                f"{end.flush:.2f} s, {end.close:.2f} s, {end.exit:.2f} s",
                "≤ the time given, + 1 s",
                longest <= end.timeout + _INTERPRETER_SECONDS and end.left,
            )
        )
    return lines
