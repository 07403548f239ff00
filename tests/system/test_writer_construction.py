"""What is wrong for good is said when the writer is made, by a named error and without the password."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from blissdata_bluesky.errors import (
    BlissdataBlueskyError,
    JournalError,
    RedisDatabaseError,
    RedisModulesError,
    RedisPermissionError,
    RedisUnreachableError,
    RedisURLError,
)
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish

SECRET = "s3cr3t-w0rd"


@pytest.fixture(scope="module")
def locked_url() -> Iterator[str]:
    """A server with a password; the URL has it."""
    with RedisServer() as server:
        with redis.Redis.from_url(server.url) as client:
            client.config_set("requirepass", SECRET)
        yield server.url.replace("redis://", f"redis://:{SECRET}@")
        with redis.Redis.from_url(server.url, password=SECRET) as client:
            client.config_set("requirepass", "")


@pytest.mark.parametrize("url", ["nonsense", "http://host", f"redis://:{SECRET}@host:port", "redis://", "unix://"])
def test_a_bad_url(url: str, tmp_path: Path) -> None:
    with pytest.raises(RedisURLError) as caught:
        BlissdataWriter(url, journal=tmp_path)
    assert SECRET not in str(caught.value)


def test_a_wrong_password(locked_url: str, tmp_path: Path) -> None:
    with pytest.raises(RedisPermissionError) as caught:
        BlissdataWriter(locked_url.replace(SECRET, SECRET + "x"), journal=tmp_path)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (("SET", "_PROTOCOL_VERSION_", 99), RedisDatabaseError),
        (("RENAME", "_PROTOCOL_VERSION_", "other data"), RedisDatabaseError),
    ],
)
def test_a_database_of_somebody_else(
    redis_url: str, tmp_path: Path, command: tuple[str, ...], error: type[BlissdataBlueskyError]
) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.execute_command(*command)
    with pytest.raises(error):
        BlissdataWriter(redis_url, journal=tmp_path)


def test_a_server_without_modules(redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        client.execute_command("ACL", "SETUSER", "bare", "on", "nopass", "~*", "+@all", "-json.set")
        url = redis_url.replace("redis://", "redis://bare:x@")
        try:
            with pytest.raises((RedisModulesError, RedisPermissionError)):
                BlissdataWriter(url, journal=tmp_path)
        finally:
            client.execute_command("ACL", "DELUSER", "bare")


def test_an_empty_database_is_initialised(redis_url: str, tmp_path: Path) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        BlissdataWriter(redis_url, journal=tmp_path).close()
        assert client.get("_PROTOCOL_VERSION_") == b"1"


def test_require_redis_raises_when_nothing_answers(tmp_path: Path) -> None:
    with pytest.raises(RedisUnreachableError, match="start the server"):
        BlissdataWriter(RedisServer().url, journal=tmp_path, require_redis=True)


def test_a_journal_that_cannot_be(redis_url: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="file"):
        BlissdataWriter(redis_url, journal=tmp_path / "file" / "journal")


def test_the_password_stands_nowhere(locked_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with BlissdataWriter(locked_url, journal=tmp_path) as writer:
        publish(writer, Run().whole(3))
        writer("event", {"descriptor": "x"})
    files = list(tmp_path.iterdir())
    assert {path.suffix for path in files} == {".finished-journal", ".marks"}
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
    assert SECRET not in caplog.text


def test_the_writer_needs_no_tiled() -> None:
    code = """
        import sys
        for name in ("tiled", "bluesky_tiled_plugins", "pandas", "rich", "typer"):
            sys.modules[name] = None
        import blissdata_bluesky.writer
        assert "fastapi" not in sys.modules
        assert not any(name.startswith("blissdata_bluesky.tiled") for name in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
