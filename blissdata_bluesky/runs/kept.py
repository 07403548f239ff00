"""The runs that were asked for last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from ..errors import RunNotFoundError
from .run import StoredRun

_RUNS_KEPT = 128


class KeptRuns:
    """One object for each run, as long as it is in use. Thread-safe."""

    def __init__(self) -> None:
        self._runs: OrderedDict[Hashable, StoredRun] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], StoredRun]) -> StoredRun:
        """The run as it is now; `make` makes it when it is not there. Raises what `StoredRun.refresh` raises."""
        with self._lock:
            run = self._runs.get(key)
        try:
            if run is None:
                return self._keep(key, make())
            run.refresh()
        except RunNotFoundError:
            with self._lock:
                self._runs.pop(key, None)
            raise
        return self._keep(key, run)

    def clear(self) -> None:
        """Forget all of them, and what is cached of them."""
        with self._lock:
            runs, self._runs = list(self._runs.values()), OrderedDict()
        for run in runs:
            run.forget()

    def _keep(self, key: Hashable, run: StoredRun) -> StoredRun:
        with self._lock:
            # another thread may have been faster
            run = self._runs.setdefault(key, run)
            self._runs.move_to_end(key)
            while len(self._runs) > _RUNS_KEPT:
                self._runs.popitem(last=False)[1].forget()
            return run
