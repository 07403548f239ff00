"""The name of a Redis in the header of a journal: one for all who reach the same server, another for any other."""

from __future__ import annotations

import socket

import pytest

from blissdata_bluesky.connection import target

HERE = socket.gethostname()


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://host:6379", "redis://host:6379/0"),
        ("redis://host", "redis://host:6379/0"),
        ("redis://host/", "redis://host:6379/0"),
        ("redis://host/0", "redis://host:6379/0"),
        ("redis://host:7000/3", "redis://host:7000/3"),
        ("redis://host?db=3", "redis://host:6379/3"),
        ("redis://HOST", "redis://host:6379/0"),
        ("redis://ann:secret@host", "redis://host:6379/0"),
        ("redis://:secret@host?socket_timeout=3&protocol=3", "redis://host:6379/0"),
        ("redis://ann:se%40cret@host?password=other", "redis://host:6379/0"),
        ("rediss://host?ssl_cert_reqs=none", "rediss://host:6379/0"),
        ("redis://localhost:7000", f"redis://{HERE}:7000/0"),
        ("redis://LocalHost", f"redis://{HERE}:6379/0"),
        ("redis://127.0.0.1", f"redis://{HERE}:6379/0"),
        ("redis://127.1.2.3", f"redis://{HERE}:6379/0"),
        ("redis://[::1]:7000", f"redis://{HERE}:7000/0"),
        ("redis://[2001:DB8::1]:7000/1", "redis://2001:db8::1:7000/1"),
        ("redis://192.168.1.127", "redis://192.168.1.127:6379/0"),
        ("redis://localhost.example.org", "redis://localhost.example.org:6379/0"),
        ("unix:///run/redis.sock", f"unix://{HERE}/run/redis.sock"),
        ("unix://ann:secret@/run/redis.sock", f"unix://{HERE}/run/redis.sock"),
    ],
)
def test_the_name_has_place_and_database_and_nothing_else(url: str, name: str) -> None:
    assert target(url) == name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://host", "redis://host2"),
        ("redis://host:1", "redis://host:2"),
        ("redis://host/0", "redis://host/1"),
        ("redis://host", "rediss://host"),
        ("unix:///run/a.sock", "unix:///run/b.sock"),
        ("redis://[2001:db8::1]:7000", "redis://[2001:db8::2]:7000"),
        ("redis://localhost", "redis://elsewhere"),
    ],
)
def test_another_redis_has_another_name(one: str, other: str) -> None:
    assert target(one) != target(other)
