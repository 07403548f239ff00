"""Sealing large runs while others are archived."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from .run import RunArchiver


class Sealing:
    """Seals one large run at a time, in a thread; small ones at once."""

    def __init__(self) -> None:
        self._run: RunArchiver | None = None
        self._future: Future[None] = Future()
        self._thread: threading.Thread | None = None

    def seal(self, run: RunArchiver) -> None:
        """Seal a run that has ended, or begin with it, or leave it for a later call; `run.complete` tells.

        Raises what `RunArchiver.seal` raises, of a large run in the call after it has failed.
        """
        if run is self._run:
            self._run = None
            self._future.result()
        elif not run.is_large:
            run.seal()
        elif self._run is None:
            self._run, self._future = run, Future()
            # a daemon: who is told to end leaves the rest to the next archiver
            self._thread = threading.Thread(target=self._seal, name="blissdata-bluesky-sealing", daemon=True)
            self._thread.start()

    def is_busy(self, run: RunArchiver) -> bool:
        """Whether the run is being sealed at this moment, and must be left alone."""
        return run is self._run and not self._future.done()

    def forget(self, run: RunArchiver) -> bool:
        """Let go of a run, whatever has become of it; False, and nothing is done, while it is being sealed."""
        if self.is_busy(run):
            return False
        if run is self._run:
            self._run = None
        return True

    def join(self, timeout: float) -> bool:
        """Wait `timeout` seconds for what is being sealed; whether nothing is any more."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _seal(self) -> None:
        run, future = self._run, self._future
        try:
            if run is not None:
                run.seal()
            future.set_result(None)
        except BaseException as error:  # noqa: BLE001 - it is raised where somebody can tell of it
            future.set_exception(error)
