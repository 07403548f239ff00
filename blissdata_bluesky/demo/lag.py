"""How old rows are when they are read."""

from __future__ import annotations

import time
from collections.abc import Iterable
from statistics import median


class Lag:
    """Ages in seconds of all rows that were read so far."""

    def __init__(self) -> None:
        self._ages: list[float] = []

    def add(self, times: Iterable[float]) -> None:
        """These rows, by the times of their events, were read now."""
        now = time.time()
        self._ages += [now - then for then in times]

    def __len__(self) -> int:
        return len(self._ages)

    @property
    def median(self) -> float | None:
        """None as long as nothing was read."""
        return median(self._ages) if self._ages else None
