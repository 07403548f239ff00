"""What Flint draws of a scan: `scan.info["plots"]` (blissdata.schemas.scan_info_display), and the axes of its channels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .axes import Axis, axes, is_scalar, number_of_points, ranges
from .plot import dimensions, hinted
from .streams import MappedStream

# the channels that have one value at each point of the scan
_GROUP = "scatter"


class ScanPlots:
    """The drawing of a run whose declared streams are `streams`; empty where the plan says too little, or what cannot be."""

    def __init__(self, start: Mapping[str, Any], streams: Iterable[MappedStream]) -> None:
        self._start = start
        self._stream = _main(start, [stream for stream in streams if stream.declared])
        self._axes = [] if self._stream is None else axes(start, self._stream)
        self._ranges = {} if self._stream is None else ranges(start, self._stream, self._axes)
        self._moved = {key for axis in self._axes for key in (axis.key, *axis.others)}

    @property
    def dimensions(self) -> int:
        """Number of axes; 0 when they are not known."""
        return len(self._axes)

    def plots(self) -> list[dict[str, Any]]:
        """A scatter of the two fastest axes, or curves over the only one; none when there is nothing to draw."""
        if self._stream is None or not self._axes:
            return []
        stream, values = self._stream, self._values(self._stream)
        *_, fastest = drawn = [_channel(stream, axis) for axis in self._axes]
        if not values:
            return []
        if len(drawn) > 1:
            item = {"kind": "scatter", "x": fastest, "y": drawn[-2], "value": stream.stream_name(values[0])}
            return [{"kind": "scatter-plot", "items": [item]}]
        curves = [{"kind": "curve", "x": fastest, "y": stream.stream_name(key), "y_axis": "left"} for key in values]
        return [{"kind": "curve-plot", "items": curves}]

    def members(self, stream: MappedStream, key: str) -> dict[str, Any]:
        """What the channel of a stream's data key says of axes."""
        if stream is not self._stream:
            return {}
        is_grid = len(self._axes) > 1
        members: dict[str, Any] = {"group": _GROUP} if is_grid and is_scalar(stream.columns[key]) else {}
        if key in self._ranges:
            members |= {"start": self._ranges[key].start, "stop": self._ranges[key].stop}
        if key in self._moved and (points := number_of_points(self._start)):
            members["points"] = points
        if is_grid:
            members |= self._grid_members(key)
        return members

    def _grid_members(self, key: str) -> dict[str, Any]:
        for number, axis in enumerate(reversed(self._axes)):
            if axis.key == key:
                known = {"axis_points": axis.points, "axis_kind": axis.kind}
                return {"axis_id": number, **{name: value for name, value in known.items() if value is not None}}
        return {}

    def _values(self, stream: MappedStream) -> list[str]:
        """The hinted scalars that are no axes; without hints the first scalar of all."""
        scalars = [key for key, column in stream.columns.items() if is_scalar(column) and key not in self._moved]
        known, wanted = set(scalars), dict.fromkeys(hinted(stream.descriptors[0]))
        return [key for key in wanted if key in known] if wanted else scalars[:1]


def _main(start: Mapping[str, Any], streams: list[MappedStream]) -> MappedStream | None:
    """The stream that the plan gives dimensions of; where it gives none, the first that is no baseline or monitor."""
    stated = {name for _, name in dimensions(start)}
    if len(stated) > 1:
        return None
    fitting = [stream for stream in streams if (stream.name in stated if stated else not stream.auxiliary)]
    return fitting[0] if fitting else None


def _channel(stream: MappedStream, axis: Axis) -> str:
    return stream.companion_name("time") if axis.key is None else stream.stream_name(axis.key)
