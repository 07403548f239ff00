"""A Redis behind a proxy, and all that is done to it."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from blissdata_bluesky.server import RedisServer
from tests.proxy import Fault, Proxy

# a Redis that does not answer is noticed soon, not after ten seconds
IMPATIENT = "?socket_timeout=0.2"


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
    if not bench.server.wait(60):
        raise TimeoutError("the server has not ended")
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


FAULTS: dict[str, Callable[[Bench], AbstractContextManager[None]]] = {
    **{f"connections: {fault}": partial(spoilt, fault) for fault in Fault},
    "SIGKILL": killed,
    "SIGSTOP": stopped,
    "FLUSHALL": flushed,
    "maxmemory": full,
    "disk full": disk_full,
}
LEAVE_REDIS_USABLE = {"FLUSHALL", "disk full"}
