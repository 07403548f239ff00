"""The servers of the demo: the embedded Redis and a Tiled server on loopback, with their files in one directory."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..server import RedisServer

if TYPE_CHECKING:
    from ..tiled import TiledServer

Step = Callable[[str, str], None]


class Servers:
    """Both servers for as long as it is entered. `step` is told what has started, and where."""

    redis: RedisServer
    tiled: TiledServer

    def __init__(self, directory: Path, step: Step) -> None:
        self._directory = directory
        self._step = step
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self.redis = stack.enter_context(RedisServer(directory=self._directory / "redis"))
            self._step("Redis", self.redis.url)
            self.tiled = stack.enter_context(self._start_tiled())
            self._step("Tiled", f"http://127.0.0.1:{self.tiled.port}")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_tiled(self) -> TiledServer:
        # left open: threads may log until the very end
        log = (self._directory / "tiled.log").open("a", encoding="utf-8", buffering=1)  # noqa: SIM115
        logging.basicConfig(stream=log, format="%(asctime)s %(name)s %(levelname)s %(message)s")
        # Tiled and uvicorn make their handlers when they are imported and started
        with redirect_stderr(log):
            from ..tiled import TiledServer

            return TiledServer(self.redis.url, api_key=secrets.token_hex(8), catalog=self._directory / "catalog.db")
