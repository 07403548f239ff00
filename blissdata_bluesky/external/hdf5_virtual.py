"""Virtual datasets, whose sources are opened by us: HDF5 would open whatever they name, and fill in what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import h5py
from h5py import h5s

from ..errors import ExternalFormatError
from .layout import Selection

# the length of what grows; `range` takes no longer ones
ENDLESS = 2**62


@dataclass(frozen=True, slots=True)
class Axis:
    """Regular blocks of rows of one axis."""

    start: int
    stride: int
    count: int
    block: int

    @property
    def length(self) -> int:
        """How many rows there are; ENDLESS when they grow."""
        return ENDLESS if h5s.UNLIMITED in {self.count, self.block} else self.count * self.block

    def among(self, rows: range) -> range:
        """Those of the rows between the first and the last row here."""
        last = rows.stop if self.length == ENDLESS else self.start + (self.count - 1) * self.stride + self.block
        return range(max(rows.start, self.start), min(rows.stop, last))

    def place(self, row: int) -> int | None:
        """Which of the rows this is; None when it is none."""
        if self.block == h5s.UNLIMITED:
            return row - self.start if row >= self.start else None
        number, rest = divmod(row - self.start, self.stride)
        place = number * self.block + rest
        return place if row >= self.start and rest < self.block and place < self.length else None

    def row(self, place: int) -> int:
        """The row in this place."""
        if self.block == h5s.UNLIMITED:
            return self.start + place
        number, rest = divmod(place, self.block)
        return self.start + number * self.stride + rest

    @property
    def slice(self) -> slice | None:
        """All rows, when they follow each other."""
        follow = self.count == 1 or self.stride == self.block
        return slice(self.start, self.start + self.length) if follow and self.length < ENDLESS else None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a virtual dataset, and the part of another one that is there; no `source`: all of that one."""

    file: str
    dataset: str
    axes: tuple[Axis, ...]
    source: tuple[Axis, ...]

    def parts(self, rows: range) -> Iterator[tuple[slice, Selection, Selection]]:
        """Which of the rows come from here: their positions in `rows`, the part of each row, and the part of the source.

        Raises ExternalFormatError for what is not read.
        """
        rest = _whole(self.axes[1:], self.file)
        if self.axes[0].length == 1:
            # the row may be all of a source without rows
            if self.axes[0].start in rows:
                position = rows.index(self.axes[0].start)
                yield slice(position, position + 1), rest, _whole(self.source, self.file)
            return
        if self.source and self.axes[0].length != self.source[0].length:
            raise ExternalFormatError(f"the virtual dataset's part from {self.file} has rows that are no rows there")
        for first, place, count in self._runs(rows):
            row = self._source_row(place)
            yield slice(first, first + count), rest, (slice(row, row + count), *_whole(self.source[1:], self.file))

    def _runs(self, rows: range) -> Iterator[tuple[int, int, int]]:
        """First position, place and number of rows that follow each other here and there."""
        begun: tuple[int, int, int] | None = None
        for row in self.axes[0].among(rows):
            if row not in rows:
                # some are left out between two of them
                continue
            position, place = rows.index(row), self.axes[0].place(row)
            if begun is not None and self._follows(begun, position, place):
                begun = (begun[0], begun[1], begun[2] + 1)
                continue
            if begun is not None:
                yield begun
            begun = None if place is None else (position, place, 1)
        if begun is not None:
            yield begun

    def _follows(self, begun: tuple[int, int, int], position: int, place: int | None) -> bool:
        first, first_place, count = begun
        return (
            place is not None
            and (position, place) == (first + count, first_place + count)
            and self._source_row(place) == self._source_row(first_place) + count
        )

    def _source_row(self, place: int) -> int:
        return self.source[0].row(place) if self.source else place


def parts_of(dataset: h5py.Dataset, where: str) -> list[Part]:
    """What a virtual dataset consists of. Raises ExternalFormatError when that is not regular."""
    return [
        Part(
            _file_name(source.file_name, where),
            source.dset_name,
            _axes(source.vspace, where),
            _axes(source.src_space, where),
        )
        for source in dataset.virtual_sources()
    ]


def virtual_shape(parts: Sequence[Part], dataset: h5py.Dataset) -> tuple[int, ...]:
    """The shape of a virtual dataset as far as it says it without its sources; (ENDLESS, …) when it grows with them."""
    source = dataset.virtual_sources()[0]
    length, *row = source.vspace.get_simple_extent_dims()
    grows = any(part.axes[0].length == ENDLESS for part in parts)
    return (ENDLESS if grows else length, *row)


def _whole(axes: Sequence[Axis], name: str) -> Selection:
    slices = [axis.slice for axis in axes]
    if None in slices:
        raise ExternalFormatError(f"the virtual dataset's part from {name} has gaps within a row, which is not read")
    return tuple(one for one in slices if one is not None)


def _file_name(name: str, where: str) -> str:
    if "%b" in name:
        raise ExternalFormatError(f"{where} takes its data from files named by a pattern, {name!r}, which is not read")
    return name.replace("%%", "%")


def _axes(space: h5s.SpaceID, where: str) -> tuple[Axis, ...]:
    if space.get_select_type() == h5s.SEL_ALL:
        return tuple(Axis(0, 1, 1, length) for length in space.get_simple_extent_dims())
    if space.get_select_type() != h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        raise ExternalFormatError(f"{where} is put together from irregular parts, which is not read")
    # the stride of one block says nothing
    return tuple(
        Axis(int(start), int(block if count == 1 else stride), int(count), int(block))
        for start, stride, count, block in zip(*space.get_regular_hyperslab(), strict=True)
    )
