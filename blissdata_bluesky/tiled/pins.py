"""How many rows of a growing stream each client sees, from the listing of a stream to the last part of one read."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .viewer import Viewer

_Count = TypeVar("_Count")

# A client's `read()` lists a stream once and then asks for its parts one by one; between two of them it works on the
# last one, which may be large.
IDLE_SECONDS = 10.0
# What is asked for again so soon is a request that failed on its way.
AGAIN_SECONDS = 1.0
LONGEST_SECONDS = 600.0
_CLEAN_EVERY = 1000

_LISTS = "search"
# routes that begin a read without a listing
_BEGINS = frozenset({_LISTS, "metadata", "array", "ragged", "zarr"})
# how often one read asks for the same; metadata of an array: to count its requests, and to read it
_TIMES = {"metadata": 2}


@dataclass(slots=True)
class _Pin:
    rows: Any
    clock: Callable[[], float]
    taken: float
    used: float
    asked: Counter[Hashable] = field(default_factory=Counter)

    def serves(self, viewer: Viewer) -> bool:
        """Whether this request belongs to the read that the pin was taken for."""
        if not self.holds():
            return False
        if self.asked[viewer.wanted] >= _TIMES.get(viewer.route, 1):
            return self.clock() - self.used <= AGAIN_SECONDS
        self.note(viewer)
        return True

    def note(self, viewer: Viewer) -> None:
        """Go on at least until the request is answered: that may take long on a slow line."""
        self.asked[viewer.wanted] += 1
        self._use()
        viewer.when_answered(self._use)

    def holds(self) -> bool:
        now = self.clock()
        return now - self.used <= IDLE_SECONDS and now - self.taken <= LONGEST_SECONDS

    def _use(self) -> None:
        self.used = self.clock()


class Pins:
    """Row counts by client and stream. Thread-safe.

    Listing a stream takes a new count. It holds for what the client asks for afterwards, until ten seconds after the
    last answer, or until it asks for the stream itself. What it asks for again is no part of that read: a second later
    it sees the rows that are there then.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._pins: dict[tuple[str, Hashable], _Pin] = {}
        self._lock = threading.Lock()

    def rows(self, viewer: Viewer, stream: Hashable, count: Callable[[], _Count]) -> _Count:
        """The rows of `stream` that the viewer sees; `count` tells how many there are now.

        One number, or all of those that belong together.
        """
        if viewer.client is None:
            return count()
        key = (viewer.client, stream)
        with self._lock:
            pin = self._pins.get(key)
            if pin is not None and viewer.route != _LISTS and pin.serves(viewer):
                kept: _Count = pin.rows
                return kept
            self._pins.pop(key, None)
        rows = count()
        if viewer.route in _BEGINS:
            self._take(key, rows, viewer)
        return rows

    def drop(self, viewer: Viewer, stream: Hashable) -> None:
        """The viewer looks at the stream anew: what it asks for next is another read."""
        if viewer.client is not None:
            with self._lock:
                self._pins.pop((viewer.client, stream), None)

    def _take(self, key: tuple[str, Hashable], rows: Any, viewer: Viewer) -> None:
        now = self._clock()
        pin = _Pin(rows, self._clock, now, now)
        pin.note(viewer)
        with self._lock:
            if len(self._pins) >= _CLEAN_EVERY:
                self._pins = {key: old for key, old in self._pins.items() if old.holds()}
            self._pins[key] = pin
