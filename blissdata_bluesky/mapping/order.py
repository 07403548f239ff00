"""In which order readers find events of several streams."""

from __future__ import annotations

import math
from collections.abc import Sequence

# times of each stream, at most; what comes behind more of them may be told apart in vain
_REMEMBERED = 1000


class EventOrder:
    """Notices the events that have to be told apart from those before them.

    Only the rows of each stream are stored, so readers merge streams by time, and where the times are equal, by the
    order of the streams (`runs.replay`, ADR 24). An event that came behind one of a later stream with the same time
    would be found before it.

    Remembered are the last times that came in each stream, and, of those before them, the latest.
    """

    def __init__(self) -> None:
        self._time = -math.inf
        self._times: dict[int, set[float]] = {}
        self._forgotten: dict[int, float] = {}

    def parts(self, position: int, times: Sequence[float]) -> bool:
        """Whether an event, or a page of them, must be told apart from what was given before.

        `position`: of its stream; `times`: of the events; without any it has no place in time.
        """
        if not times:
            return False
        first, last = min(times), max(times)
        # nothing is equal to a time that comes after all others, which is what nearly every event has
        parts = first <= self._time and self._meets_later_streams(position, first, times)
        if parts:
            self._times.clear()
            self._forgotten.clear()
        known = self._times.setdefault(position, set())
        known.update(times)
        self._time = max(self._time, last)
        if len(known) > _REMEMBERED:
            self._forgotten[position] = max(self._forgotten.get(position, -math.inf), *known)
            known.clear()
        return parts

    def _meets_later_streams(self, position: int, first: float, times: Sequence[float]) -> bool:
        return any(
            later > position and (first <= self._forgotten.get(later, -math.inf) or not known.isdisjoint(times))
            for later, known in self._times.items()
        )
