"""`serve --journal`: what killed publishers leave is finished beside the Tiled server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from blissdata import ScanState

from blissdata_bluesky.cli.serve import _recovery
from blissdata_bluesky.journal import Fate, JournalDirectory
from blissdata_bluesky.publish.recovery import Recovery
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.server.embedded import free_port

from .collected import load
from .test_recovery import UID, killed
from .test_tiled_serving import _process
from .tiled_runs import eventually


@contextmanager
def served(url: str, journal: Path) -> Iterator[str]:
    """The address of a Tiled server that everybody may read."""
    command = ("blissdata-bluesky", "serve", "--redis", url, "--port", "0", "--public", "--journal", str(journal))
    with _process(*command, ready="journal runs that dead writers leave") as (process, line):
        assert str(journal) in line
        assert process.stdout is not None
        found = next(filter(None, (re.search(r'from_uri\("(.*)"\)', line) for line in process.stdout)))
        yield found[1]


def metadata(address: str) -> dict[str, Any]:
    """What is told of the run over HTTP; nothing while it is not listed."""
    answer = httpx.get(f"{address}/metadata/{UID}", timeout=60)
    return answer.json()["data"]["attributes"]["metadata"] if answer.status_code == 200 else {}


def test_a_publisher_that_is_killed_while_it_serves(
    redis_url: str, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recovery.__init__, "__defaults__", (0.2,))
    with _recovery(tmp_path, redis_url):
        killed(redis_url, tmp_path, 10, 10, stopped=False)
        found = eventually(lambda: told if "incomplete" in (told := client[UID].metadata) else None)
        assert "ended before the run did" in found["incomplete"]
        assert "stop" not in found
        scan = load(redis_url, UID)
        assert scan.state == ScanState.CLOSED
        assert scan.info["end_reason"] == "FAILURE"
        assert len(scan.streams["primary:number"]) == 20
    assert JournalDirectory(tmp_path).paths(Fate.UNFINISHED, Fate.ABANDONED) == []


def test_a_redis_that_comes_later(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}"
    killed(url, tmp_path, 0, 10, stopped=True)
    with served(url, tmp_path) as address:
        assert metadata(address) == {}
        with RedisServer(port):
            assert eventually(lambda: "stop" in metadata(address))
            assert len(load(url, UID).streams["primary:number"]) == 10


def test_a_directory_that_is_new_is_told(redis_url: str, tmp_path: Path) -> None:
    """It may have been mistyped."""
    command = ("blissdata-bluesky", "serve", "--redis", redis_url, "--port", "0", "--journal", str(tmp_path / "jurnal"))
    with _process(*command, ready="is new: it is empty until a writer is given it") as (_, line):
        assert str(tmp_path / "jurnal") in line
