"""The servers of the demo: the embedded Redis and a Tiled server on loopback, with their files in one directory."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING

from ..server import RedisServer

if TYPE_CHECKING:
    from ..tiled import TiledServer

Step = Callable[[str, str], None]


@contextmanager
def serving(directory: Path, step: Step) -> Iterator[tuple[RedisServer, TiledServer]]:
    """Both servers while the block runs. `step` is told what has started, and where."""
    with RedisServer(directory=directory / "redis") as redis:
        step("Redis", redis.url)
        with _start_tiled(redis.url, directory) as tiled:
            step("Tiled", f"http://127.0.0.1:{tiled.port}")
            yield redis, tiled


def _start_tiled(redis_url: str, directory: Path) -> TiledServer:
    # left open: threads may log until the very end
    log = (directory / "tiled.log").open("a", encoding="utf-8", buffering=1)
    logging.basicConfig(stream=log, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    # Tiled and uvicorn make their handlers when they are imported and started
    with redirect_stderr(log):
        from ..tiled import TiledServer

        return TiledServer(redis_url, api_key=secrets.token_hex(8), catalog=directory / "catalog.db")
