"""Each permanent fault of a Redis has a name and a remedy, and an empty database becomes ready."""

from __future__ import annotations

import multiprocessing
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis
from blissdata.redis_engine.store import DataStore

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.errors import (
    RedisDatabaseError,
    RedisModulesError,
    RedisPermissionError,
    RedisTargetError,
    RedisUnreachableError,
)
from blissdata_bluesky.publish.database import connect, data_store
from blissdata_bluesky.publish.report import inspect
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.server.find import find_installation

IDENTITY = {"name": "count", "number": 7, "data_policy": "no_policy", "session": "s", "dataset": "some-uid"}


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server whose configuration the test may change."""
    with RedisServer() as server:
        yield server


@contextmanager
def bare_server(directory: Path, *options: str) -> Iterator[str]:
    """A server as somebody else configured it; yields the URL of its socket."""
    path = directory / "redis.sock"
    command = [find_installation().executable, "--port", "0", "--save", "", "--dir", directory, "--unixsocket", path]
    with subprocess.Popen([*map(str, command), *options], stdout=subprocess.DEVNULL) as process:
        try:
            url = f"unix://{path}"
            with open_client(url) as client:
                while process.poll() is None:
                    with suppress(redis.ConnectionError):
                        client.ping()
                        break
                    time.sleep(0.01)
            yield url
        finally:
            process.terminate()


def with_modules() -> list[str]:
    return [word for module in find_installation().modules for word in ("--loadmodule", str(module))]


def with_login(url: str, login: str) -> str:
    return url.replace("://", f"://{login}@")


def emptied(url: str) -> str:
    with open_client(url) as client:
        client.flushall()
    return url


def try_to_connect(url: str) -> str:
    connect(url).close()
    return "connected"


def test_an_empty_database_is_initialised(any_redis_url: str) -> None:
    with connect(emptied(any_redis_url), write=True) as client:
        assert client.get("_PROTOCOL_VERSION_") == b"1"
        keys = set(client.keys())
    assert DataStore(any_redis_url).search_existing_scans() == ("0-0", [])
    with connect(any_redis_url, write=True) as client:
        assert set(client.keys()) == keys


def test_processes_that_initialise_at_once_all_succeed(redis_url: str) -> None:
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        for _ in range(20):
            emptied(redis_url)
            assert pool.map(try_to_connect, [redis_url] * 8, chunksize=1) == ["connected"] * 8
            scan = DataStore(redis_url).create_scan(IDENTITY)
            scan.close()
            assert DataStore(redis_url).search_existing_scans(dataset="some-uid")[1] == [scan.key]


def test_a_wrong_password_is_named_and_not_shown(own_server: RedisServer) -> None:
    with connect(own_server.url) as client:
        client.config_set("requirepass", "right")
    for login in ("", ":sesame", "ann:sesame"):
        with pytest.raises(RedisPermissionError, match="password in the URL") as caught:
            connect(with_login(own_server.url, login) if login else own_server.url)
        assert "sesame" not in str(caught.value)
    connect(with_login(own_server.url, ":right")).close()


def test_blissdata_itself_does_not_show_the_password(redis_url: str) -> None:
    # the default user without a password takes any
    url = with_login(emptied(redis_url), "default:sesame")
    with pytest.raises(RedisDatabaseError, match="redis://default@") as caught:
        data_store(url)
    assert "sesame" not in str(caught.value)


def test_what_an_acl_user_lacks_is_named(own_server: RedisServer) -> None:
    with connect(own_server.url) as client:
        client.acl_setuser("reader", enabled=True, passwords=["+pw"], categories=["+@all", "-@write"], keys=["*"])
        client.acl_setuser("elsewhere", enabled=True, passwords=["+pw"], categories=["+@all"], keys=["other:*"])
        client.acl_setuser("beamline", enabled=True, passwords=["+pw"], categories=["+@all", "-@dangerous"], keys=["*"])
    connect(with_login(own_server.url, "beamline:pw"), write=True).close()
    connect(with_login(own_server.url, "reader:pw")).close()
    with pytest.raises(RedisPermissionError, match="ACL SETUSER"):
        connect(with_login(own_server.url, "reader:pw"), write=True)
    with pytest.raises(RedisPermissionError, match="ACL SETUSER"):
        connect(with_login(own_server.url, "elsewhere:pw"))


def test_a_user_who_may_not_initialise_is_told_so(own_server: RedisServer) -> None:
    with connect(own_server.url) as client:
        client.acl_setuser("beamline", enabled=True, passwords=["+pw"], categories=["+@all", "-@dangerous"], keys=["*"])
    emptied(own_server.url)
    with pytest.raises(RedisPermissionError, match="administrator"):
        connect(with_login(own_server.url, "beamline:pw"))


def test_missing_modules_are_named(tmp_path: Path) -> None:
    with bare_server(tmp_path) as url, pytest.raises(RedisModulesError, match="ReJSON and search.*Redis 8"):
        connect(url)
    with bare_server(tmp_path, *with_modules()[:2]) as url, pytest.raises(RedisModulesError, match="modules search"):
        connect(url)


def test_a_unix_socket(tmp_path: Path) -> None:
    with bare_server(tmp_path, *with_modules()) as url, connect(url, write=True) as client:
        assert inspect(client, url).protocol == "1"


def test_another_protocol_version_is_refused(redis_url: str) -> None:
    with connect(redis_url) as client:
        client.set("_PROTOCOL_VERSION_", 2)
    with pytest.raises(RedisDatabaseError, match="has version 2 of blissdata's protocol, not 1"):
        connect(redis_url)


def test_a_database_with_other_data_is_refused_and_left_alone(redis_url: str) -> None:
    with open_client(emptied(redis_url)) as client:
        client.set("shopping list", "milk")
        with pytest.raises(RedisDatabaseError, match=r"1 keys, one is 'shopping list'.*FLUSHALL"):
            connect(redis_url)
        assert client.keys() == [b"shopping list"]


def test_only_database_0_can_be_searched(redis_url: str) -> None:
    with pytest.raises(RedisDatabaseError, match="not database 0"):
        connect(f"{redis_url}/1")


def test_a_replica_cannot_be_written(own_server: RedisServer, redis_url: str) -> None:
    with connect(own_server.url) as client:
        client.replicaof("127.0.0.1", redis_url.rsplit(":", 1)[1])
        with pytest.raises(RedisTargetError, match="replica"):
            connect(own_server.url, write=True)


def test_a_full_memory_is_no_permanent_fault(own_server: RedisServer) -> None:
    with connect(own_server.url) as client:
        client.config_set("maxmemory", 1)
    connect(own_server.url, write=True).close()


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "redis://no.such.host.invalid:6379", "unix:///no/such.sock"])
def test_nothing_answers(url: str) -> None:
    with pytest.raises(RedisUnreachableError, match="start the server there, or correct the URL"):
        connect(url)


def test_tls_with_a_server_that_has_none(redis_url: str) -> None:
    with pytest.raises(RedisUnreachableError):
        connect(redis_url.replace("redis://", "rediss://") + "?socket_timeout=0.3")


def test_a_server_that_is_silent_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}?socket_timeout=0.3"
        begin = time.monotonic()
        with pytest.raises(RedisUnreachableError):
            connect(url)
        assert time.monotonic() - begin < 20


def test_something_that_is_no_redis() -> None:
    with (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _),
        pytest.raises(RedisTargetError, match="must be a stand-alone Redis"),
    ):
        connect(url)


def test_a_command_is_never_repeated_by_itself() -> None:
    with answering(b"") as (url, connections), open_client(url) as client:
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert len(connections) == 1


@contextmanager
def answering(reply: bytes) -> Iterator[tuple[str, list[Any]]]:
    """A listener that sends `reply` to whoever connects and hangs up; yields its URL and who came."""
    came: list[Any] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, address = listener.accept()
                came.append(address)
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(thread.join)
        stack.callback(listener.shutdown, socket.SHUT_RDWR)
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}", came


@pytest.mark.parametrize("query", ["", "?protocol=3"])
def test_a_report_of_scans(any_redis_url: str, query: str) -> None:
    store = DataStore(any_redis_url)
    scans = [store.create_scan({**IDENTITY, "number": number}) for number in range(3)]
    for scan in scans:
        scan.prepare()
    scans[0].close()
    url = any_redis_url + query
    with connect(url) as client:
        report = inspect(client, url)
        assert report.scans == {"PREPARED": 2, "CLOSED": 1}
        assert {(scan.key, scan.uid, scan.name, scan.number, scan.state) for scan in report.open_scans} == {
            (scan.key, "some-uid", "count", number, "PREPARED") for number, scan in enumerate(scans) if number
        }
        assert {"ReJSON", "search"} <= set(report.modules)
        assert report.used_memory > 0
        assert (report.maxmemory, report.maxmemory_policy) == (0, "noeviction")
    for scan in scans[1:]:
        scan.close()


def test_a_report_leaves_out_scans_that_are_half_gone(redis_url: str) -> None:
    store = DataStore(redis_url)
    scans = [store.create_scan({**IDENTITY, "number": number}) for number in range(2)]
    with connect(redis_url) as client:
        client.delete(scans[0]._model.state_stream.key())
        report = inspect(client, redis_url)
    assert [scan.number for scan in report.open_scans] == [1]
    scans[1].close()


def test_a_report_of_an_empty_database_changes_nothing(redis_url: str) -> None:
    with open_client(emptied(redis_url)) as client:
        report = inspect(client, redis_url)
        assert (report.protocol, report.keys, report.scans, report.open_scans) == (None, 0, {}, ())
        assert client.dbsize() == 0
