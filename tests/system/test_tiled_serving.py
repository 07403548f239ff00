"""The ways of serving: a configuration file, the command, a thread, in process."""

from __future__ import annotations

import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import httpx
import pytest
import yaml
from tiled.client import from_context, from_uri
from tiled.client.context import Context
from tiled.server.app import build_app, build_app_from_config
from typer.testing import CliRunner

from blissdata_bluesky.cli import app as command
from blissdata_bluesky.errors import ArchiveError, CatalogError, RedisURLError, TiledServerError
from blissdata_bluesky.server.embedded import free_port
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.tiled import from_uri as tree_from_uri
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, eventually, publish, stopped

KEY = "secret123"
SECONDS = 90

# tiled's in-process client
pytestmark = pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient` is deprecated")


@pytest.fixture
def run(writer: BlissdataWriter) -> Run:
    """A finished run."""
    run = Run(scan_id=1)
    publish(writer, run.whole(3))
    return run


def _check(client: Any, run: Run) -> None:
    with dask.config.set(scheduler="synchronous"):
        found = stopped(client, run.uid)
        assert found["primary"].read().sizes["time"] == 3
        assert [name for name, _ in found.documents()] == ["start", "descriptor", "event", "event", "event", "stop"]
    client.context.http_client.close()


def _config(redis_url: str, port: int) -> dict[str, Any]:
    return {
        "authentication": {"single_user_api_key": KEY},
        "trees": [{"path": "/", "tree": "blissdata_bluesky.tiled:from_uri", "args": {"redis": redis_url}}],
        "uvicorn": {"host": "127.0.0.1", "port": port},
    }


@contextmanager
def _process(*command: str, ready: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process and the line of its output that says that it is ready."""
    with subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        output = process.stdout
        assert output is not None
        try:
            line = next((line for line in output if re.search(ready, line)), "")
            assert line, process.poll()
            yield process, line
            process.terminate()
            process.communicate(timeout=SECONDS)
        finally:
            process.kill()


def test_configuration_file(run: Run, redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump(_config(redis_url, port)))
    with _process("tiled", "serve", "config", str(path), ready="running on"):
        client = eventually(lambda: _connected(f"http://127.0.0.1:{port}/api/v1?api_key={KEY}"))
        _check(client, run)


def _connected(url: str) -> Any:
    try:
        return from_uri(url)
    except (httpx.TransportError, OSError):
        return None


def test_below_another_path(run: Run, redis_url: str) -> None:
    config = _config(redis_url, 0)
    config["trees"][0]["path"] = "/beamline/runs"
    with Context.from_app(build_app_from_config(config), api_key=KEY) as context:
        client = from_context(context)["beamline", "runs"]
        assert stopped(client, run.uid)["primary"].base["image"].shape == (3, 6, 40)
        assert len(list(stopped(client, run.uid).documents())) == 6


def test_in_process(run: Run, redis_url: str) -> None:
    app = build_app(tree_from_uri(redis_url))
    # twice: an application may be started again
    for _ in range(2):
        with Context.from_app(app) as context, dask.config.set(scheduler="synchronous"):
            found = stopped(from_context(context), run.uid)
            assert found["primary"].read().sizes["time"] == 3
            assert len(list(found.documents())) == 6


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_command(run: Run, redis_url: str, signal_number: int) -> None:
    command = ("blissdata-bluesky", "serve", "--redis", redis_url, "--port", "0")
    with _process(*command, ready="from_uri\\(") as (process, line):
        found = re.search(r'from_uri\("(.*)"\)', line)
        assert found
        url = found[1]
        _check(from_uri(url), run)
        assert httpx.get(url.split("?")[0] + "/metadata/", timeout=SECONDS).status_code == 401
        process.send_signal(signal_number)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, rest
        key = url.split("=")[1]
        assert key not in rest


def test_public_command(run: Run, redis_url: str) -> None:
    command = ("blissdata-bluesky", "serve", "--redis", redis_url, "--port", "0", "--public")
    with _process(*command, ready="from_uri\\(") as (_, line):
        assert "api_key" not in line
        found = re.search(r'from_uri\("(.*)"\)', line)
        assert found
        _check(from_uri(found[1]), run)


@pytest.mark.parametrize(
    ("catalog", "shown"),
    [
        ("/no/such/x.db", "/no/such/x.db"),
        ("/etc/hostname", "file is not a database"),
        ("postgresql://ann:sesame@127.0.0.1:1/x", "postgresql://ann@127.0.0.1:1/x"),
        ("postgresql://ann:sesame@localhost:notaport/x", "cannot be parsed"),
        ("mysql://ann:sesame@localhost/x", "mysql is not supported"),
        ("", "it is empty"),
        ("/tmp", "the catalog /tmp is a directory: give a file, /tmp/catalog.db"),
    ],
)
def test_a_catalog_that_cannot_be_used_is_one_sentence(catalog: str, shown: str) -> None:
    result = _fails("--port", "0", "--catalog", catalog)
    assert shown in result.stderr
    assert "sesame" not in result.stderr
    assert isinstance(CliRunner().invoke(command, _serve("--catalog", catalog, debug=True)).exception, CatalogError)


def test_an_old_catalog_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        database.execute("INSERT INTO alembic_version VALUES ('6825c778aa3c')")
    assert "tiled catalog upgrade-database" in _fails("--port", "0", "--catalog", str(path)).stderr


def test_an_address_that_cannot_be_listened_at_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use" in _fails("--port", str(other.getsockname()[1])).stderr
    assert "not an address of this computer" in _fails("--port", "0", "--host", "192.0.2.1").stderr
    assert "nohost.invalid" in _fails("--port", "0", "--host", "nohost.invalid").stderr


def _serve(*arguments: str, debug: bool = False) -> list[str]:
    return [*(["--debug"] if debug else []), "serve", "--redis", "redis://127.0.0.1:1", "--port", "0", *arguments]


def _fails(*arguments: str) -> subprocess.CompletedProcess[str]:
    line = [str(Path(sys.executable).with_name("blissdata-bluesky")), *_serve(*arguments)]
    result = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS)
    assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result
    return result


def test_server_on_a_thread(run: Run, redis_url: str) -> None:
    # not one of those that clients are given: one could have it when the server comes back
    with TiledServer(redis_url, port=free_port(), api_key=KEY) as server:
        assert KEY in server.url
        assert KEY not in repr(server)
        assert httpx.get(server.browse_url, follow_redirects=True, timeout=SECONDS).status_code == 200
        _check(from_uri(server.url), run)
        port = server.port
    server.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/")
    with TiledServer(redis_url, port=port) as again:
        _check(from_uri(again.url), run)


def test_a_port_that_is_taken(redis_url: str) -> None:
    with TiledServer(redis_url) as server, pytest.raises(TiledServerError, match=str(server.port)):
        TiledServer(redis_url, port=server.port)


def test_what_cannot_be_served(redis_url: str) -> None:
    with pytest.raises(ArchiveError, match="/data"):
        tree_from_uri(redis_url, archive="/data")
    with pytest.raises(RedisURLError):
        tree_from_uri("http://nonsense")
