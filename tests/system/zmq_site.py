"""bluesky's 0MQ proxy, RunEngines that publish to it, and `blissdata-bluesky listen`, each in a process of its own."""

from __future__ import annotations

import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from blissdata import ScanState
from blissdata.exceptions import ScanNotFoundError

from blissdata_bluesky.server.embedded import free_port

from .collected import load
from .emitted import Named
from .tiled_runs import eventually
from .zmq_engine import PROBE_UID, probe_uid

_PROBES, _ENGINES = itertools.count(), itertools.count()

SECONDS = 90


class Proxy:
    """bluesky-0MQ-proxy; at the same addresses however often it is started."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.into = f"{host}:{free_port()}"
        self.out = f"{host}:{free_port()}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [Path(sys.executable).with_name("bluesky-0MQ-proxy"), "--in-address", self.into]
        self._process = subprocess.Popen(
            [*command, "--out-address", self.out], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(SECONDS)
            self._process = None


class Engine:
    """A process of `zmq_engine`."""

    def __init__(self, address: str, directory: Path, prefix: str = "", serializer: str = "pickle") -> None:
        self._record = directory / f"emitted-{next(_ENGINES)}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.system.zmq_engine", address, self._record, prefix, serializer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def do(self, command: str = "") -> None:
        """Carry out a command, or, without one, the next step of the last one."""
        self.begin(command)
        self._wait()

    def begin(self, command: str) -> None:
        """The same without waiting for it."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def _wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n", self._process.poll()

    def emitted(self) -> list[Named]:
        """All documents, in order, without those of probes."""
        found = []
        with self._record.open("rb") as record:
            while record.peek(1):
                found.append(pickle.load(record))
        return found

    def runs(self) -> dict[str, list[Named]]:
        """The same by run; no two runs of an engine overlap."""
        found: dict[str, list[Named]] = {}
        for name, document in self.emitted():
            if name == "start":
                found[document["uid"]] = documents = []
            documents.append((name, document))
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


class Listening:
    """The command. What it prints is kept line by line."""

    def __init__(self, *options: object) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "blissdata_bluesky", "listen", *map(str, options)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        self.out: list[str] = []
        self.log: list[str] = []
        self._threads = [
            threading.Thread(target=_collect, args=(pipe, lines))
            for pipe, lines in ((self._process.stdout, self.out), (self._process.stderr, self.log))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def faults(self) -> list[str]:
        """The lines of the log, but those of probes of which the first half came too early."""
        return [line for line in self.log if PROBE_UID not in line]

    def said(self, pattern: str) -> str:
        """The first printed line with this in it, as soon as there is one."""
        return self._first(self.out, pattern)

    def logged(self, pattern: str) -> str:
        """The same of the log."""
        return self._first(self.log, pattern)

    def _first(self, lines: list[str], pattern: str) -> str:
        def find() -> str:
            found = next((line for line in list(lines) if re.search(pattern, line)), "")
            assert found or self._process.poll() is None, (self.out, self.log)
            return found

        return str(eventually(find, SECONDS))

    def hears(self, engine: Engine) -> None:
        """From now on it hears all that the engine publishes: before it was connected, 0MQ drops documents."""

        sent: list[int] = []

        def probe() -> bool:
            sent.append(next(_PROBES))
            engine.do(f"probe {sent[-1]}")
            return any(map(is_heard, sent))

        def is_heard(number: int) -> bool:
            return any(probe_uid(number) in line and "ends" in line for line in self.out)

        eventually(probe, SECONDS)
        # else it might be cut in two by what comes next
        eventually(lambda: is_heard(sent[-1]), SECONDS)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        return code

    @property
    def pid(self) -> int:
        return self._process.pid


def _collect(pipe: IO[Any] | None, lines: list[str]) -> None:
    assert pipe is not None
    with pipe:
        lines.extend(pipe)


@contextmanager
def running_proxy(host: str = "127.0.0.1") -> Iterator[Proxy]:
    proxy = Proxy(host)
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.kill()


@contextmanager
def running_engine(proxy: Proxy, directory: Path, **options: Any) -> Iterator[Engine]:
    engine = Engine(proxy.into, directory, **options)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def listening(proxy: Proxy, url: str, journal: Path, *options: object) -> Iterator[Listening]:
    """The command, which has found the proxy."""
    process = Listening("--zmq", proxy.out, "--redis", url, "--journal", journal, *options)
    try:
        process.said("connected to")
        yield process
    finally:
        process.end(signal.SIGKILL)


def found(url: str, uid: str) -> Any:
    """The scan, when there is one."""
    try:
        return load(url, uid)
    except ScanNotFoundError:
        return None


def closed(url: str, uid: str) -> Any:
    """The scan, when it is closed."""
    eventually(lambda: (scan := found(url, uid)) and scan.state == ScanState.CLOSED, SECONDS)
    # its info may have been read before its state
    return load(url, uid)
