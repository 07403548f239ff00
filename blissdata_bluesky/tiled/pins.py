"""How many rows of a growing stream each client sees, from the listing of a stream to the last array of one read."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

_Count = TypeVar("_Count")

# A client's `read()` lists a stream once and then asks for its parts one by one.
IDLE_SECONDS = 1.0
LONGEST_SECONDS = 60.0
_CLEAN_EVERY = 1000

# what each of Tiled's routes does to a pin
_TAKES = frozenset({"search"})
_PROLONGS = frozenset({"metadata", "array", "ragged", "zarr"})


@dataclass(slots=True)
class _Pin:
    rows: Any
    taken: float
    used: float

    def holds(self, now: float) -> bool:
        return now - self.used <= IDLE_SECONDS and now - self.taken <= LONGEST_SECONDS


class Pins:
    """Row counts by client and stream. Thread-safe.

    Listing a stream takes a new count. It holds until one second after the client's last listing, metadata or array
    request of the stream, for a minute at most; table requests see it, and do not prolong it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pins: dict[tuple[str, Hashable], _Pin] = {}
        self._lock = threading.Lock()

    def rows(self, client: str | None, stream: Hashable, route: str, count: Callable[[], _Count]) -> _Count:
        """The rows of `stream` that `client` sees in a request of this route; `count` tells how many there are now.

        One number, or all of those that belong together.
        """
        if client is None:
            return count()
        now = self._clock()
        with self._lock:
            pin = self._pins.get((client, stream))
            if pin is not None and route not in _TAKES and pin.holds(now):
                if route in _PROLONGS:
                    pin.used = now
                kept: _Count = pin.rows
                return kept
        rows = count()
        if route in _TAKES or route in _PROLONGS:
            self._keep((client, stream), _Pin(rows, now, now))
        return rows

    def _keep(self, key: tuple[str, Hashable], pin: _Pin) -> None:
        with self._lock:
            if len(self._pins) >= _CLEAN_EVERY and key not in self._pins:
                now = self._clock()
                self._pins = {key: old for key, old in self._pins.items() if old.holds(now)}
            self._pins[key] = pin
