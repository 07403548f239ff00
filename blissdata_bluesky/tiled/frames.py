"""Array nodes of data keys whose values are in files of detectors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import anyio
import numpy as np
from anyio.lowlevel import RunVar
from fastapi import HTTPException

from ..catalog import clean_mapping
from ..errors import ExternalFormatError, ExternalNotReadyError
from ..protocol import Array
from ..runs import ExternalColumn, Run, RunStream
from .arrays import ArrayNode, ArrayRows
from .place import Place
from .visible import stand_beside, take, visible_frames
from .window import Window

_TIME = "time"
# a disk that hangs takes so many threads of the server's 40, and leaves the others to lists and tables
_READERS = 16
_limiter: RunVar[anyio.CapacityLimiter] = RunVar("external frames")


def _frames_limiter() -> anyio.CapacityLimiter:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = anyio.CapacityLimiter(_READERS)
        _limiter.set(limiter)
    return limiter


class Counts(NamedTuple):
    """How many stored rows of a stream are seen together."""

    events: int
    frames: Mapping[str, int]
    """By data key."""


def count_rows(run: Run, stream: RunStream) -> Counts:
    """The rows that are there now. Frames that are ahead of their events wait for them while the run goes on.

    They are sent first, and whoever reads all of a growing stream wants as many of the one as of the other.
    """
    events = stream.rows()
    external = stream.external
    frames = {key: column.rows() for key, column in external.items()}
    if not run.closed and (events or stream.columns.keys() - external.keys()):
        last = int(stream.seq_num(events - 1, events)[0]) if events else 0
        frames = {key: _not_beyond(last, external[key], rows) for key, rows in frames.items()}
    return Counts(events, frames)


def _not_beyond(seq_num: int, column: ExternalColumn, rows: int) -> int:
    """How many rows there are until the last one that belongs to this seq_num, or to one before."""
    found = np.flatnonzero(column.seq_num(0, rows) <= seq_num)
    return int(found[-1]) + 1 if len(found) else 0


class FrameNodes:
    """Makes the array nodes of one stream, as one client sees it."""

    def __init__(self, place: Place, run: Run, window: Window, counts: Counts) -> None:
        self._place = place
        self._run = run
        self._window = window
        self._counts = counts

    def nodes(self, only: str | None, columns: Collection[str]) -> dict[str, ArrayNode]:
        """Name → array, of all data keys or of the one called `only`; `columns`: names of what the events have.

        A key of which the documents do not say dtype and shape is left out; asked for, ExternalFormatError is raised.
        """
        frames: dict[str, _VisibleFrames] = {}
        for column in self._window.stream.external.values():
            try:
                frames[column.name] = _VisibleFrames(self._run, self._window, column, self._counts)
            except ExternalFormatError:
                if column.name == only:
                    raise
        # dimensions have the same names whichever of the arrays is asked for
        has_table = bool(columns or self._counts.events)
        rows = len(self._window) if has_table else max(map(len, frames.values()), default=0)
        dims = DimensionNames(rows, {*columns, *frames})
        named = {
            name: dims.of(column, beside_events=not has_table or column.stand_beside(self._window))
            for name, column in frames.items()
        }
        return {name: self._node(frames[name], dims) for name, dims in named.items() if only in (None, name)}

    def _node(self, frames: _VisibleFrames, dims: Sequence[str]) -> ArrayNode:
        metadata = clean_mapping(frames.column.data_key)
        if not frames.dtype.fields:
            metadata["dtype_numpy"] = frames.dtype.str
        rows = ArrayRows(frames.read, frames.dtype, frames.shape, _frames_limiter)
        return ArrayNode(self._place, rows, len(frames), metadata, dims)


class _VisibleFrames:
    """Rows of the array: frames, or where these are joined, parts of frames.

    Shape (rows, *shape) of the array, or (rows * shape[0], *shape[1:]). Raises ExternalFormatError when the documents
    do not say it.
    """

    def __init__(self, run: Run, window: Window, column: ExternalColumn, counts: Counts) -> None:
        self._run = run
        self.column = column
        self.dtype = column.dtype
        shape = column.shape
        self._parts, self.shape = (shape[0], shape[1:]) if column.joined else (1, shape)
        self._visible = visible_frames(column, counts.frames.get(column.key, 0), window.stream, counts.events)

    def __len__(self) -> int:
        return len(self._visible) * self._parts

    def stand_beside(self, window: Window) -> bool:
        """Whether the row of each event is that of its frame."""
        return self._parts == 1 and stand_beside(self._visible, self.column, window.visible, window.stream)

    def read(self, start: int, stop: int) -> Array:
        first = start // self._parts
        frames = self._frames(first, -(-stop // self._parts))
        rows = frames.reshape(-1, *self.shape)
        return rows[start - first * self._parts : stop - first * self._parts]

    def _frames(self, start: int, stop: int) -> Array:
        low, high, chosen = self._visible.stored(start, stop)
        try:
            return np.asarray(take(self.column.read(low, high), chosen))
        except ExternalNotReadyError as error:
            if not self._run.closed:
                raise
            # Tiled's client asks again for about half a minute after a 503, and then hides the sentence
            raise HTTPException(409, str(error)) from error


class DimensionNames:
    """Names the dimensions of the arrays of a stream so that all of them fit into one xarray.Dataset.

    As TiledWriter does: `time`, then those that the data key says (`dims`), else `<name>_dim1`… Where frames are not
    those of the events, one by one, or another array has a dimension of that name and another size, it is
    `<name>_dim0`…
    """

    def __init__(self, rows: int, taken: Iterable[str]) -> None:
        """`rows`: the length of `time`; `taken`: names of variables, which no dimension can have."""
        self._sizes = {_TIME: rows}
        self._taken = frozenset(taken)

    def of(self, frames: _VisibleFrames, *, beside_events: bool) -> tuple[str, ...]:
        """The names for one array."""
        own = [f"{frames.column.name}_dim{axis}" for axis in range(1 + len(frames.shape))]
        said = [_TIME if beside_events else own[0], *(self._said(frames.column.data_key, len(frames.shape)) or own[1:])]
        sizes = (len(frames), *frames.shape)
        return tuple(
            name if self._fits(name, size) else other for name, size, other in zip(said, sizes, own, strict=True)
        )

    def _said(self, data_key: Mapping[str, Any], count: int) -> list[str]:
        """What the data key calls its last `count` dimensions; nothing where that cannot be used."""
        dims = data_key.get("dims")
        if not isinstance(dims, list | tuple) or not all(isinstance(name, str) for name in dims):
            return []
        names = list(dims[len(dims) - count :])
        usable = len(set(names)) == count and _TIME not in names and self._taken.isdisjoint(names)
        return names if usable else []

    def _fits(self, name: str, size: int) -> bool:
        return self._sizes.setdefault(name, size) == size
