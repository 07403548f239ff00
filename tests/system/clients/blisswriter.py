"""blisswriter, as a beamline runs it: a process of its own that follows a Redis, without a Tango server."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self

from blissdata import DataStore

from blissdata_bluesky.protocol import scan_key

from ..blissdata.blissdata_runs import wait_until_blocked
from ..tiled_runs import eventually

# what `pip install blisswriter` puts beside this interpreter
_COMMAND = Path(sys.executable).with_name("blisswriter")


class BlissWriter:
    """Writes while it is entered."""

    def __init__(self, url: str, log: Path) -> None:
        self._url = url
        self._log = log

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def says(self, uid: str, words: str) -> bool:
        """Whether it has said this of a run."""
        return any(scan_key(uid) in line and words in line for line in self.log.splitlines())

    def wait(self, uid: str) -> None:
        """Return when it has finished a run's file; fail when it has failed."""
        eventually(lambda: self.says(uid, "Saving complete.") or self.says(uid, "ERROR"), 60)
        assert not self.says(uid, "ERROR"), self.log

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen([_COMMAND, "run", self._url], stdout=log, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: "Listening" in self.log, 90)
            self.wait_for_runs()
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_for_runs(self) -> None:
        """Return when it waits for the next run: until it has seen one, it knows of those only that come meanwhile."""
        wait_until_blocked(DataStore(self._url))

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(30)
        self._process.kill()
        self._process.wait()
