"""P3: a Redis that keeps its data, behind a proxy, and all that a history may do to it."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from blissdata import DataStore, ScanState

from blissdata_bluesky.protocol import DocumentEntry, documents_key, scan_key
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.server import RedisServer
from tests.proxy import Proxy

SECONDS = 60.0
RESTARTS = ("restart", "restart after SIGKILL", "restart, empty")
BATCHES = [1, 2, 7, 40, 4000]
_NEVER_SENT = b"\0 is in no request"


@dataclass
class Stage:
    """What all histories share; each begins with `empty`."""

    server: RedisServer
    data: Path
    proxy: Proxy

    def empty(self) -> None:
        """FLUSHALL, and the database is initialised again."""
        self._let_initialise()
        with redis.Redis.from_url(self.server.url) as client:
            client.flushall()
            connect(self.server.url).close()
            _rewrite_log(client)

    def restart(self, how: str) -> None:
        """One of `RESTARTS`."""
        if how == "restart after SIGKILL":
            os.kill(self.server.pid or 0, signal.SIGKILL)
            self.server.wait(SECONDS)
        self.server.stop()
        if how == "restart, empty":
            self._let_initialise()
            shutil.rmtree(self.data)
        self.server.start()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Redis is at `maxmemory`."""
        with redis.Redis.from_url(self.server.url) as client:
            client.config_set("maxmemory", "1mb")
            yield
            client.config_set("maxmemory", 0)

    def spoil(self, fault: str, containing: bytes, after: int) -> None:
        """Lose the reply to the next request that holds these bytes, or cut that request; "": nothing."""
        if fault == "reply lost":
            self.proxy.lose_reply(containing)
        if fault == "request cut":
            self.proxy.cut_request(containing, after)

    def _let_initialise(self) -> None:
        # a writer that is cut off meanwhile leaves an unusable database: see the expected failure in
        # tests/system/test_promise_emptied.py
        self.spoil("reply lost", _NEVER_SENT, 0)
        self.spoil("request cut", _NEVER_SENT, 0)

    def publisher(self, uid: str) -> str | None:
        """Whose run it is in Redis."""
        with redis.Redis.from_url(self.server.url) as client:
            entries = client.xrange(documents_key(uid), count=1)
        return DocumentEntry.parse(entries[0]).publisher if entries else None

    def is_closed(self, uid: str) -> bool:
        """Whether the scan of this run has ended."""
        return DataStore(self.server.url).load_scan(scan_key(uid)).state == ScanState.CLOSED


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage on which nobody waits for long: pauses only make the histories fewer."""
    with (
        pytest.MonkeyPatch.context() as patch,
        tempfile.TemporaryDirectory(prefix="once-redis-") as directory,
        RedisServer(directory=Path(directory) / "data") as server,
        Proxy(server.port) as proxy,
    ):
        for module in _batch_modules():
            patch.setattr(module, "BATCH_DOCUMENTS", BATCHES[-1])
        patch.setattr("blissdata_bluesky.publish.publisher._LONGEST_PAUSE", 0.1)
        patch.setattr("blissdata_bluesky.publish.publisher._CHECK_SECONDS", 0.2)
        yield Stage(server, Path(directory) / "data", proxy)


def cut_batches(documents: int) -> None:
    """From now on batches, of whomever, have so many documents at most."""
    for module in _batch_modules():
        module.BATCH_DOCUMENTS = documents


def _batch_modules() -> list[Any]:
    # the name of the second one is also the name of a function
    return [importlib.import_module(f"blissdata_bluesky.publish.{name}") for name in ("feed", "replay")]


def _rewrite_log(client: redis.Redis) -> None:
    """Valkey 9.1.2 sometimes aborts while it loads a log (AOF) with a FLUSHALL in it: a new log has none."""
    # so often a second it looks whether the rewriting is done
    client.config_set("hz", 500)
    client.bgrewriteaof()
    while any(client.info("persistence")[f"aof_rewrite_{state}"] for state in ("scheduled", "in_progress")):
        time.sleep(0.002)
