"""Which of the stored rows are shown: after a rewind, the last ones (DESIGN 10)."""

from __future__ import annotations

from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from ..protocol import Rows
from ..runs import ExternalColumn, RunStream, is_increasing, last_frames_of_each, last_of_each


class Numbered(Protocol):
    """Rows with seq_nums."""

    def seq_num(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]: ...


class _Increasing(NamedTuple):
    """The first rows, among which no seq_num repeats, and the last seq_num of them."""

    rows: int
    last: int


# to find it out, all rows are looked at, and what is asked for may be a few of them
_increasing: WeakKeyDictionary[Numbered, _Increasing] = WeakKeyDictionary()


class VisibleRows:
    """Those of the first `rows` stored ones that are shown."""

    def __init__(self, rows: int, chosen: npt.NDArray[np.int64] | slice) -> None:
        self._rows = rows
        self._chosen = chosen

    @property
    def increasing(self) -> bool:
        """Whether no seq_num repeats or goes back."""
        return isinstance(self._chosen, slice)

    def __len__(self) -> int:
        return self._rows if isinstance(self._chosen, slice) else len(self._chosen)

    def seq_num(self, numbered: Numbered, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Those of visible rows."""
        low, high, chosen = self.stored(start, stop)
        found = numbered.seq_num(low, high)
        return found if chosen is None else found[chosen]

    def stored(self, start: int, stop: int) -> tuple[int, int, npt.NDArray[np.int64] | None]:
        """The stored rows around visible ones, and which of them count, from the first; None: all of them."""
        if isinstance(self._chosen, slice):
            return start, min(stop, self._rows), None
        chosen = self._chosen[start:stop]
        if not len(chosen):
            return 0, 0, chosen
        low = int(chosen.min())
        return low, int(chosen.max()) + 1, chosen - low


def visible_events(stream: RunStream, rows: int) -> VisibleRows:
    """Of a stream's events: the last of each seq_num."""
    chosen = slice(None) if _is_increasing(stream, rows) else last_of_each(stream.seq_num(0, rows))
    return VisibleRows(rows, chosen)


def visible_frames(column: ExternalColumn, rows: int, stream: RunStream, events: int) -> VisibleRows:
    """Of the frames of a data key of a stream, of which so many events are seen."""
    if _is_increasing(column, rows):
        return VisibleRows(rows, slice(None))
    return VisibleRows(rows, last_frames_of_each(column.seq_num(0, rows), stream.seq_num(0, events)))


def stand_beside(frames: VisibleRows, column: ExternalColumn, events: VisibleRows, stream: Numbered) -> bool:
    """Whether row by row, frames belong to events; where documents give frames no seq_nums, their number tells."""
    if len(frames) != len(events):
        return False
    if not len(frames):
        return True
    last = len(frames) - 1
    ends = [rows.seq_num(of, at, at + 1)[0] for rows, of in ((frames, column), (events, stream)) for at in (0, last)]
    if ends[:2] == [0, 0]:
        return True
    if ends[:2] != ends[2:]:
        return False
    # so many different integers in so small a range
    is_gapless = ends[1] - ends[0] == last and frames.increasing and events.increasing
    return is_gapless or np.array_equal(frames.seq_num(column, 0, last + 1), events.seq_num(stream, 0, last + 1))


def take(rows: Rows, chosen: npt.NDArray[np.int64] | None) -> Rows:
    """The chosen ones of some rows; None: all."""
    if chosen is None:
        return rows
    return [rows[i] for i in chosen] if isinstance(rows, list) else rows[chosen]


def _is_increasing(numbered: Numbered, rows: int) -> bool:
    known = _increasing.get(numbered, _Increasing(0, -1))
    if rows <= known.rows:
        return True
    new = numbered.seq_num(known.rows, rows)
    if not is_increasing(new) or (known.rows and len(new) and new[0] <= known.last):
        return False
    if len(new):
        _increasing[numbered] = _Increasing(known.rows + len(new), int(new[-1]))
    return True
