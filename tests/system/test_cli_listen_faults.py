"""`blissdata-bluesky listen`: what cannot be listened to or published to."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import zmq

from blissdata_bluesky.listening import Link, Message, Subscription, zmq_address
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.server.embedded import free_port

from .tiled_runs import eventually
from .zmq_site import SECONDS, Listening, closed, listening, running_engine, running_proxy

UNUSED = ["--zmq", "127.0.0.1:9", "--redis", "redis://127.0.0.1:9"]


def called(*options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blissdata_bluesky", "listen", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--zmq", "nowhere"], "write HOST:PORT"),
        (["--redis", "http://127.0.0.1"], "not a usable Redis URL"),
        (["--prefix", "a b"], "a Publisher's prefix has no space"),
        (["--path-template", "{scan_id}"], "uid"),
        (["--serializer", "yaml"], "yaml"),
        (["--journal", "/proc/nowhere"], "cannot be made"),
    ],
)
def test_what_cannot_be_is_said_at_once(tmp_path: Path, options: list[str], word: str) -> None:
    done = called(*UNUSED, "--journal", tmp_path, "--archive", tmp_path / "archive", *options)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_redis_that_comes_later_and_one_that_never_came(tmp_path: Path) -> None:
    port = free_port()
    url, journal = f"redis://127.0.0.1:{port}", tmp_path / "journal"
    with running_proxy() as proxy, running_engine(proxy, tmp_path) as engine:
        with listening(proxy, url, journal) as listener:
            assert "Runs are taken all the same" in listener.logged("WARNING")
            listener.hears(engine)
            engine.do("scan 3")
            assert listener.end() == 0
            assert listener.out[-1].endswith(f"what Redis lacks is in {journal}\n")
        with listening(proxy, url, journal) as listener:
            listener.hears(engine)
            engine.do("scan 4")
            with RedisServer(port):
                rows = [len(closed(url, uid).streams["primary:det"]) for uid in engine.runs()]
                assert rows == [3, 4]
                assert listener.end() == 0


def test_the_port_that_engines_publish_to(redis_url: str, tmp_path: Path) -> None:
    with running_proxy() as proxy:
        listener = Listening("--zmq", proxy.into, "--redis", redis_url, "--journal", tmp_path)
        try:
            assert "give --zmq the second port of bluesky-0MQ-proxy" in listener.logged("ERROR")
            assert listener.end() == 0
            assert len(listener.log) == 1
        finally:
            listener.end(signal.SIGKILL)


@contextmanager
def publishing(family: int, address: str) -> Iterator[tuple[Any, str]]:
    """A PUB socket and where it is."""
    with zmq.Context() as context, context.socket(zmq.PUB) as publisher:
        publisher.setsockopt(zmq.SNDHWM, 0)
        publisher.setsockopt(zmq.IPV6, family == socket.AF_INET6)
        yield publisher, f"{address}:{publisher.bind_to_random_port(f'tcp://{address}')}"


@pytest.mark.skipif(not socket.has_ipv6, reason="this computer has no IPv6")
def test_ipv6() -> None:
    with (
        publishing(socket.AF_INET6, "[::1]") as (publisher, address),
        Subscription(zmq_address(address)) as subscription,
    ):
        assert eventually(lambda: sent_and_heard(publisher, subscription)) == Message("start", b"payload")


def sent_and_heard(publisher: Any, subscription: Subscription) -> Any:
    publisher.send(b" start payload")
    return next((item for item in subscription.take(0.1) if isinstance(item, Message)), None)


def test_what_arrived_is_taken_without_waiting_and_the_connection_is_told_of() -> None:
    with publishing(socket.AF_INET, "127.0.0.1") as (publisher, address), Subscription(zmq_address(address)) as heard:
        eventually(lambda: Link.MADE in heard.take(0.1))
        eventually(lambda: sent_and_heard(publisher, heard))
        for number in range(3000):
            publisher.send(b" start %d" % number)
        numbers: list[int] = []
        eventually(
            lambda: (
                numbers.extend(int(item.payload) for item in heard.take(1) if item.name == "start") or 2999 in numbers
            )
        )
        assert numbers[-3000:] == list(range(3000))


def test_a_prefix_is_compared_as_a_whole() -> None:
    with (
        publishing(socket.AF_INET, "127.0.0.1") as (publisher, address),
        Subscription(zmq_address(address), b"here") as heard,
    ):
        found: list[Any] = []

        def send() -> bool:
            for prefix in (b"", b"her", b"here2", b"here", b"nothere"):
                publisher.send(prefix + b" start " + prefix)
            found.extend(item for item in heard.take(0.1) if isinstance(item, Message))
            return len(found) > 5

        eventually(send)
        assert {item.payload for item in found} == {b"here"}
