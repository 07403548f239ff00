"""The embedded server starts ready, ends with whoever started it, and comes back on its port."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import redis
from blissdata.redis_engine.store import DataStore

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.errors import RedisModulesError, RedisServerStartError
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.server import RedisServer, find, guard
from blissdata_bluesky.server.find import find_installation

from .tiled_runs import eventually

# a parent whose server is entered in a thread that ends, and that leaves a forked child behind
PARENT = """
import os, sys, threading, time
from blissdata_bluesky.server import RedisServer

server = RedisServer()
thread = threading.Thread(target=server.start)
thread.start()
thread.join()
child = os.fork() or time.sleep(30)
print(server.pid, server.url, child, flush=True)
sys.stdin.read()
"""


def directory_of(pid: int) -> Path:
    return Path(psutil.Process(pid).cwd())


def test_it_is_ready_when_entered_and_gone_on_exit() -> None:
    with RedisServer() as server:
        pid = server.pid
        assert pid is not None
        directory = directory_of(pid)
        DataStore(server.url).search_existing_scans()
        assert directory.is_dir()
    assert not psutil.pid_exists(pid)
    assert not directory.exists()
    assert server.pid is None
    with pytest.raises(redis.ConnectionError):
        open_client(server.url).ping()


def test_it_listens_on_loopback_only(redis_server: RedisServer) -> None:
    listening = [at.laddr.ip for at in psutil.Process(redis_server.pid).net_connections() if at.status == "LISTEN"]
    assert listening == ["127.0.0.1"]


def test_ctrl_c_in_the_terminal_does_not_reach_it(redis_server: RedisServer) -> None:
    assert redis_server.pid is not None
    assert os.getpgid(redis_server.pid) != os.getpgid(0)


def test_it_runs_as_redis_8_too(redis8_server: RedisServer) -> None:
    with connect(redis8_server.url) as client:
        assert client.info()["redis_version"].startswith("8.")


def test_without_a_directory_nothing_is_kept() -> None:
    server = RedisServer()
    with server:
        port = server.port
        connect(server.url).set("kept", 1)
    with server, connect(server.url) as client:
        assert server.port == port
        assert client.get("kept") is None


def test_a_directory_keeps_data_and_index(tmp_path: Path) -> None:
    server = RedisServer(directory=tmp_path / "new")
    identity = {"name": "scan", "number": 1, "data_policy": "no_policy", "session": "s", "dataset": "uid"}
    with server:
        scan = DataStore(server.url).create_scan(identity)
        scan.close()
    with server:
        _, keys = DataStore(server.url).search_existing_scans(dataset="uid")
        assert keys == [scan.key]
    assert (tmp_path / "new" / "server.log").is_file()


def test_it_comes_back_after_it_was_killed() -> None:
    with RedisServer() as server:
        first = server.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        assert server.wait(60)
        server.start()
        assert server.pid != first
        with connect(server.url) as client:
            assert client.ping()


def test_starting_twice_and_stopping_twice_do_nothing() -> None:
    server = RedisServer()
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid
    assert not server.wait(0)
    server.stop()
    server.stop()


def test_a_server_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "STOP_SECONDS", 0.1)
    server = RedisServer()
    server.start()
    pid = server.pid
    assert pid is not None
    directory = directory_of(pid)
    watching = psutil.Process(pid).parent()
    assert watching is not None
    watching.suspend()
    server.stop()
    assert eventually(lambda: not psutil.pid_exists(pid))
    assert not watching.is_running()
    assert not directory.exists()


def test_a_server_whose_guard_was_killed_is_ended_too() -> None:
    server = RedisServer()
    server.start()
    process = psutil.Process(server.pid)
    directory = directory_of(process.pid)
    watching = process.parent()
    assert watching is not None
    watching.kill()
    assert server.wait(60)
    assert process.is_running()
    server.stop()
    # where nobody collects orphans, a zombie stays
    assert eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert not directory.exists()
    with RedisServer(port=server.port):
        pass


def test_it_starts_again_with_its_data_after_its_guard_was_killed(tmp_path: Path) -> None:
    with RedisServer(directory=tmp_path) as server:
        with connect(server.url) as client:
            client.set("kept", 1)
        watching = psutil.Process(server.pid).parent()
        assert watching is not None
        watching.kill()
        assert server.wait(60)
        server.start()
        with connect(server.url) as client:
            assert client.get("kept") == b"1"


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RedisServerStartError, match="Not a directory"):
        RedisServer(directory=tmp_path / "file" / "new").start()


def test_memory_is_bounded_and_nothing_is_evicted() -> None:
    with RedisServer(maxmemory="64mb") as server, connect(server.url) as client:
        settings = client.config_get("maxmemory*")
        assert (settings["maxmemory"], settings["maxmemory-policy"]) == (str(64 * 2**20), "noeviction")


def test_no_orphan_when_the_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout is not None
        pid, url, child = parent.stdout.readline().split()
        directory = directory_of(int(pid))
        time.sleep(1)
        with open_client(url) as client:
            assert client.ping(), "the server died with the thread that started it"
        parent.kill()
        try:
            assert eventually(lambda: not psutil.pid_exists(int(pid)))
            assert eventually(lambda: not directory.exists())
        finally:
            os.kill(int(child), signal.SIGKILL)


def test_a_taken_port_is_an_error_that_says_what_to_do(redis_server: RedisServer) -> None:
    with pytest.raises(RedisServerStartError) as raised:
        RedisServer(port=redis_server.port).start()
    assert str(raised.value) == (
        f"the Redis server cannot listen on port {redis_server.port} of 127.0.0.1 (Address already in use): "
        "give another port, or 0 for a free one"
    )
    with open_client(redis_server.url) as client:
        assert client.ping()


def test_a_port_that_is_taken_by_something_else_is_an_error() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(RedisServerStartError, match="Address already in use"),
    ):
        RedisServer(port=other.getsockname()[1]).start()


def test_an_option_that_the_server_refuses_is_an_error() -> None:
    with pytest.raises(RedisServerStartError, match="argument must be a memory value"):
        RedisServer(maxmemory="much").start()


def test_a_file_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "redis-server"
    text.write_text("no program")
    with pytest.raises(RedisServerStartError, match="Permission denied"):
        RedisServer(executable=text).start()


def test_a_server_without_the_modules_is_an_error() -> None:
    server = RedisServer(executable=find_installation().executable, modules=[])
    with pytest.raises(RedisModulesError, match="ReJSON and search"):
        server.start()
    assert server.pid is None


def test_a_redis_8_on_path_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, redis8_executable: Path) -> None:
    modules = find_installation().modules
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/redis/modules").mkdir(parents=True)
    shutil.copy(redis8_executable, tmp_path / "bin/redis-server")
    for module in modules:
        (tmp_path / "lib/redis/modules" / module.name).symlink_to(module)
    monkeypatch.setattr(find, "_package", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with RedisServer() as server:
        assert Path(psutil.Process(server.pid).exe()) == tmp_path / "bin/redis-server"


def test_servers_start_side_by_side() -> None:
    servers = [RedisServer() for _ in range(3)]
    starters = [threading.Thread(target=server.start) for server in servers]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    try:
        assert len({connect(server.url).info("server")["process_id"] for server in servers}) == len(servers)
    finally:
        for server in servers:
            server.stop()
