"""The publishers that are compared, each as a callback with a way to wait until its data is acknowledged."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from blissdata.redis_engine.store import DataStore
from blissdata.streams.default import Stream

from blissdata_bluesky import BlissdataWriter
from blissdata_bluesky.server.embedded import free_port

Callback = Callable[[str, dict[str, Any]], None]


@contextmanager
def ours(url: str, journal: Path | None) -> Iterator[tuple[Callback, Callable[[], None]]]:
    """BlissdataWriter."""
    with BlissdataWriter(url, journal=journal) as writer:
        yield writer, lambda: _require(writer.flush(600))


def _require(acknowledged: bool) -> None:
    if not acknowledged:
        raise RuntimeError("not acknowledged")


class BlissdataStreams:
    """What a callback on blissdata's own publisher does: one stream per key, one send per value."""

    def __init__(self, url: str) -> None:
        self._store = DataStore(url + "?max_connections=3000")
        self._streams: dict[str, Stream] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        getattr(self, f"_{name}")(doc)

    def _start(self, doc: dict[str, Any]) -> None:
        identity = {"name": doc["plan_name"], "number": doc["scan_id"], "data_policy": "no_policy"}
        self._scan = self._store.create_scan(identity, {"name": doc["plan_name"]})

    def _descriptor(self, doc: dict[str, Any]) -> None:
        for key, data_key in doc["data_keys"].items():
            definition = Stream.make_definition(key, np.dtype(data_key["dtype_numpy"]), tuple(data_key["shape"]))
            self._streams[key] = self._scan.create_stream(definition)
        self._scan.prepare()
        self._scan.start()

    def _event(self, doc: dict[str, Any]) -> None:
        for key, value in doc["data"].items():
            self._streams[key].send(value)

    def _event_page(self, doc: dict[str, Any]) -> None:
        for key, values in doc["data"].items():
            self._streams[key].send(np.asarray(values))

    def _stop(self, _doc: dict[str, Any]) -> None:
        self._scan.stop()
        self._scan.close()


@contextmanager
def blissdata_streams(url: str) -> Iterator[tuple[Callback, Callable[[], None]]]:
    """blissdata's own streams; its `stop` waits until all is sent."""
    yield BlissdataStreams(url), lambda: None


@contextmanager
def tiled_server(directory: Path) -> Iterator[str]:
    """A stock Tiled catalog server in a process of its own; the URL with its key."""
    port, key = free_port(), "secret"
    command = [sys.executable, "-m", "tiled", "serve", "catalog", "--temp", "--port", str(port), "--api-key", key]
    with (directory / "tiled.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "TMPDIR": str(directory)})
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}/api/v1?api_key={key}"
        finally:
            server.terminate()
            server.wait(10)


@contextmanager
def tiled_writer(url: str, batch: int) -> Iterator[tuple[Callback, Callable[[], None]]]:
    """TiledWriter over HTTP; what it has not flushed it flushes with the stop document."""
    from bluesky_tiled_plugins import TiledWriter
    from tiled.client import from_uri

    client = from_uri(url)
    yield TiledWriter(client, batch_size=batch), lambda: None
    client.context.close()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("the Tiled server did not start; see tiled.log")
