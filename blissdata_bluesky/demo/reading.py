"""The second process, seen from the first: starts it, puts its reports on the board, ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

from .board import Board
from .errors import DemoError
from .tally import Report

START_SECONDS = 60.0
STOP_SECONDS = 5.0


class Reading:
    """A process of its own that reads what is published, for as long as it is entered; ready when entered.

    It ends when its standard input does, so also when this process is killed.
    """

    def __init__(self, redis_url: str, tiled_url: str, directory: Path, board: Board) -> None:
        self._urls = json.dumps({"redis": redis_url, "tiled": tiled_url})
        self._log = directory / "reader.log"
        self.board = board
        self._ready = threading.Event()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise DemoError when the process has ended."""
        if (code := self._process.poll()) is not None:
            raise DemoError(f"the reading process ended with code {code}:\n{self._last_words()}")

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "blissdata_bluesky.demo.reader"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C in a terminal is for the first process
                start_new_session=True,
            )
        self._thread = threading.Thread(target=self._listen, name="demo-reading", daemon=True)
        self._thread.start()
        try:
            self._wait_until_ready()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _wait_until_ready(self) -> None:
        if self._process.stdin:
            self._process.stdin.write(self._urls + "\n")
            self._process.stdin.flush()
        if not self._ready.wait(START_SECONDS):
            raise DemoError(f"the reading process was not ready within {START_SECONDS:.0f} s; see {self._log}")
        self.check()

    def _listen(self) -> None:
        for line in self._process.stdout or ():
            if self._ready.is_set():
                self.board.take(Report.from_json(line))
            self._ready.set()
        self._process.wait()
        self._ready.set()

    def _end(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._thread.join()
        if self._process.stdout:
            self._process.stdout.close()

    def _last_words(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-8:])
