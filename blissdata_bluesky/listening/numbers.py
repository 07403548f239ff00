"""Numbers that follow each other: which were heard."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from operator import itemgetter


@dataclass(slots=True)
class SeqNums:
    """Which seq_nums of one series were heard; they may come again, after a rewind. Counted from 1."""

    ranges: list[tuple[int, int]] = field(default_factory=list)
    """[start, stop) of what was heard, in order, none touching the next."""
    count: int = 0
    """How many different ones."""

    def add(self, start: int, stop: int) -> None:
        """`start` to `stop` - 1 were heard."""
        # those that it touches lie together, most often at the end
        ranges = self.ranges
        first = bisect_left(ranges, start, key=itemgetter(1))
        last = bisect_right(ranges, stop, lo=first, key=itemgetter(0))
        if first < last:
            start, stop = min(start, ranges[first][0]), max(stop, ranges[last - 1][1])
        self.count += stop - start - sum(high - low for low, high in ranges[first:last])
        ranges[first:last] = [(start, stop)]

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self.ranges, number, key=itemgetter(0)) - 1
        return place >= 0 and number < self.ranges[place][1]

    @property
    def end(self) -> int:
        """One more than the greatest."""
        return self.ranges[-1][1] if self.ranges else 1
