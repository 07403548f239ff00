"""blissdata's own memory tracker, as it runs beside a Redis: in a process of its own, with shorter times."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

import redis

from .tiled_runs import eventually

MIB = 2**20
# what `pip install blissdata` puts beside this interpreter
_COMMAND = Path(sys.executable).with_name("memory_tracker")


class MemoryTracker:
    """Runs while it is entered. Times are whole seconds, as on its command line; the server needs a `maxmemory`."""

    def __init__(
        self, url: str, log: Path, *, threshold: int, protected: int, period: int, closed: int | None = None
    ) -> None:
        """`closed`: after so many seconds a closed scan is deleted; None is what it does by itself, a week."""
        self._log = log
        self._command = [
            *(str(_COMMAND), "--redis-url", url, "--cleaning-threshold", str(threshold)),
            *("--protected-history", str(protected), "--monitoring-period", str(period)),
            *(() if closed is None else ("--closed-scan-deletion", str(closed))),
        ]

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    @property
    def cleanings(self) -> int:
        """How often it has removed rows."""
        return self.log.count("Trimmed off")

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: "Memory usage" in self.log)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._process.kill()
        self._process.wait()


def limit_memory(client: redis.Redis, room: int) -> int:
    """Let the server use `room` bytes more than it does now; all that it may use."""
    bound = client.info("memory")["used_memory"] + room
    client.config_set("maxmemory", bound)
    return int(bound)


def fullness(client: redis.Redis) -> float:
    """The part of what the server may use that it does use."""
    memory = client.info("memory")
    return float(memory["used_memory"] / memory["maxmemory"])
