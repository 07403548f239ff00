"""Where the frames are in a stored array: rows of it, some rows each, or rows of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import ExternalFormatError, ExternalNotReadyError
from .kinds import FrameKind

Selection: TypeAlias = tuple[int | slice, ...]


class FrameLayout:
    """The frames in an array of `shape`, of which the resource's parameter `slice` may take a part.

    Axes that are longer than one frame lie before the one along which frames follow each other, so that row-major order
    of the array is the order of the frames. `where` says in messages what it is an array of. Raises ExternalFormatError.
    """

    def __init__(self, shape: Sequence[int], kind: FrameKind, part: Any, where: str) -> None:
        self._where = where
        self._axes = _taken(shape, part, where)
        lengths = [len(axis) for axis in self._axes if isinstance(axis, range)]
        frame_axis = next((axis for axis in range(len(lengths)) if math.prod(lengths[axis + 1 :]) <= kind.size), 0)
        self._lines = lengths[:frame_axis]
        length, row = (lengths[frame_axis], lengths[frame_axis + 1 :]) if lengths else (1, [])
        kind.require_shape(row, where)
        # a frame may be several rows: some exposures, say
        self._rows_each = kind.size // max(1, math.prod(row))
        self._line = length // max(1, self._rows_each)
        if self._lines and self._line * self._rows_each != length:
            raise ExternalFormatError(
                f"{where} has {length} rows in a line, no multiple of the {self._rows_each} of a frame"
            )

    @property
    def count(self) -> int:
        """How many whole frames there are."""
        return math.prod(self._lines) * self._line

    def selections(self, indices: Sequence[int]) -> Iterator[tuple[slice, Selection]]:
        """What to read of the array for runs of consecutive indices, and which of the indices these are.

        Raises ExternalNotReadyError when there are not so many frames.
        """
        if max(indices, default=-1) >= self.count:
            raise ExternalNotReadyError(
                f"{self._where} has {self.count} rows, and row {max(indices)} (counted from 0) was asked for. If it is still "
                "being written, try again when it is flushed; else it is truncated"
            )
        begin = 0
        for position in range(1, len(indices) + 1):
            goes_on = position < len(indices) and indices[position] == indices[position - 1] + 1
            if not goes_on or (self._lines and indices[position] % self._line == 0):
                yield slice(begin, position), self._selection(indices[begin], position - begin)
                begin = position

    def _selection(self, first: int, count: int) -> Selection:
        line, row = divmod(first, self._line)
        coordinates = [int(index) for index in np.unravel_index(line, self._lines)] if self._lines else []
        rows = slice((row if self._lines else first) * self._rows_each, None)
        wanted: list[int | slice] = [*coordinates, slice(rows.start, rows.start + count * self._rows_each)]
        selection: list[int | slice] = []
        for axis in self._axes:
            if isinstance(axis, int):
                selection.append(axis)
                continue
            one = wanted.pop(0) if wanted else slice(None)
            selection.append(axis[one] if isinstance(one, int) else _slice(axis[one]))
        return tuple(selection)


def _slice(taken: range) -> slice:
    return slice(taken.start, taken.stop, taken.step)


def _taken(shape: Sequence[int], part: Any, where: str) -> list[int | range]:
    """What is taken of each axis. `part`: as bluesky-tiled-plugins has it, `":,0:5,3"` or a tuple of such members."""
    members = part.strip("()[] ").split(",") if isinstance(part, str) else list(part or ())
    try:
        keys = [_key(member) for member in members if member != ""]
        if Ellipsis in keys:
            at = keys.index(Ellipsis)
            keys[at : at + 1] = [slice(None)] * (len(shape) - len(keys) + 1)
        keys += [slice(None)] * (len(shape) - len(keys))
        axes = [range(length)[key] for length, key in zip(shape, keys, strict=True)]
    except (ValueError, TypeError, IndexError) as error:
        raise ExternalFormatError(
            f"{where} has shape {tuple(shape)}, of which slice {part!r} is no part: {error}"
        ) from None
    if any(isinstance(axis, range) and axis.step < 0 for axis in axes):
        raise ExternalFormatError(f"{where}: slice {part!r} goes backwards, which is not read")
    return axes


def _key(member: Any) -> Any:
    if not isinstance(member, str):
        return member
    text = member.strip()
    if text == "...":
        return Ellipsis
    if ":" not in text:
        return int(text)
    return slice(*(int(number) if number.strip() else None for number in text.split(":")))
