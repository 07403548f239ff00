"""Where a plan moves its motors, as far as its start document states it: an axis for each dimension of a scan.

Members of the start document as bluesky.plans fills them in: `hints.dimensions`, `motors`, `shape`, `extents`,
`snaking`, `num_points`, `plan_pattern` with its arguments. What is missing or contradicts the rest is left out; the
name of the plan says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, TypeGuard

import numpy as np

from ..foreign import in_64_bits
from .columns import Column
from .plot import dimensions
from .streams import MappedStream, mapping_or_empty, row_shape, sequence_or_empty

Start: TypeAlias = Mapping[str, Any]

_TIME = "time"
_PATTERNS = "bluesky.plan_patterns"


@dataclass(frozen=True, slots=True)
class Range:
    """The way of one motor: its first and last position, and on how many points, where that is known."""

    start: float
    stop: float
    points: int | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """One dimension of a stream's scan."""

    key: str | None
    """The data key that is drawn; None is the time of the event."""
    others: tuple[str, ...] = ()
    """Data keys that move together with it."""
    points: int | None = None
    """Points along it, of a regular grid."""
    kind: Literal["forth", "backnforth"] | None = None


def axes(start: Start, stream: MappedStream) -> list[Axis]:
    """The dimensions of a declared stream, the slowest first; none when the plan states none, or what cannot be.

    A plan that states no dimensions but one motor has that one.
    """
    stated = [fields for fields, name in dimensions(start) if name == stream.name]
    motors = [str(motor) for motor in sequence_or_empty(start.get("motors"))]
    if not dimensions(start) and len(motors) == 1:
        stated = [_keys_of(stream, *motors)]
    found = [_axis(stream, fields) for fields in stated]
    known = [axis for axis in found if axis is not None]
    drawn = [axis.key for axis in known]
    if len(known) < len(found) or len({*drawn}) < len(drawn):
        return []
    return _with_grid(start, known) if len(known) > 1 else known


def number_of_points(start: Start) -> int | None:
    """How many points the plan is to measure."""
    points = start.get("num_points")
    return points if _is_count(points) else None


def ranges(start: Start, stream: MappedStream, found: Sequence[Axis]) -> dict[str, Range]:
    """Data key → where it is to go, for the motors of a stream's axes."""
    moved = _of_extents(start, found) | (_of_motors(start, stream, found) if len(found) == 1 else {})
    # relative plans state how far, and not where; the first event knows
    return {key: way for key, way in moved.items() if _begins_there(way, stream, key)}


def _axis(stream: MappedStream, fields: Sequence[str]) -> Axis | None:
    if not fields:
        return None
    if [*fields] == [_TIME] and _TIME not in stream.columns:
        return Axis(None)
    columns = [stream.columns.get(field) for field in fields]
    if not all(column is not None and is_scalar(column) for column in columns):
        return None
    return Axis(fields[0], tuple(fields[1:]))


def is_scalar(column: Column) -> bool:
    """Whether each row of a column is one real number."""
    dtype = getattr(column.encoding, "dtype", None)
    return dtype is not None and dtype.kind in "iuf" and not row_shape(column.encoding)


def _keys_of(stream: MappedStream, motor: str) -> list[str]:
    owner = stream.owners
    hinted = mapping_or_empty(mapping_or_empty(stream.descriptors[0].get("hints")).get(motor)).get("fields")
    fields = [field for field in sequence_or_empty(hinted) if isinstance(field, str) and owner.get(field) == motor]
    return fields or [key for key in stream.keys if owner.get(key) == motor]


def _with_grid(start: Start, found: list[Axis]) -> list[Axis]:
    """The axes with what is known of a regular grid."""
    shape = sequence_or_empty(start.get("shape"))
    if len(shape) != len(found) or not all(_is_count(points) for points in shape):
        return found
    if number_of_points(start) not in {None, math.prod(shape)} or not _is_regular(start):
        return found
    found = [replace(axis, points=points) for axis, points in zip(found, shape, strict=True)]
    snaking = _snaking(start, len(found))
    if snaking is None:
        return found
    return [replace(axis, kind="backnforth" if turns else "forth") for axis, turns in zip(found, snaking, strict=True)]


def _is_regular(start: Start) -> bool:
    """Whether nothing says that the points are no grid of equal steps."""
    if mapping_or_empty(start.get("hints")).get("gridding", "rectilinear") != "rectilinear":
        return False
    given = sequence_or_empty(_arguments(start).get("args"))
    return _pattern(start) != "outer_list_product" or all(_are_equal_steps(positions) for positions in given[1::2])


def _are_equal_steps(positions: Any) -> bool:
    positions = sequence_or_empty(positions)
    if len(positions) < 3 or not all(map(is_number, positions)):
        return len(positions) < 3
    with np.errstate(all="ignore"):
        steps = np.diff(np.asarray(positions, float))
        return bool(np.ptp(steps) <= 1e-6 * np.abs(steps).max())


def _snaking(start: Start, count: int) -> list[bool] | None:
    stated = sequence_or_empty(start.get("snaking"))
    if len(stated) == count and all(isinstance(turns, bool) for turns in stated):
        return [*stated]
    if _pattern(start) == "outer_list_product" and "snaking" not in start:
        # list_grid_scan has nothing but this, as a text
        turns = {"True": True, "False": False}.get(str(_arguments(start).get("snake_axes")))
        return None if turns is None else [False] + [turns] * (count - 1)
    return None


def _of_extents(start: Start, found: Sequence[Axis]) -> dict[str, Range]:
    extents = sequence_or_empty(start.get("extents"))
    if len(extents) != len(found):
        return {}
    points = number_of_points(start) if len(found) == 1 else None
    ways = [_range(extent, axis.points or points) for extent, axis in zip(extents, found, strict=True)]
    return {axis.key: way for axis, way in zip(found, ways, strict=True) if axis.key and way}


def _of_motors(start: Start, stream: MappedStream, found: Sequence[Axis]) -> dict[str, Range]:
    """Of motors that move together, by the arguments of the pattern: for each its ends, or its positions."""
    motors = [str(motor) for motor in sequence_or_empty(start.get("motors"))]
    given, points = sequence_or_empty(_arguments(start).get("args")), number_of_points(start)
    match _pattern(start):
        case "inner_product" if len(given) == 3 * len(motors) and _arguments(start).get("num") == points:
            ways = [_range(given[i + 1 : i + 3], points) for i in range(0, len(given), 3)]
        case "inner_list_product" if len(given) == 2 * len(motors):
            ways = [_range_of_positions(given[i + 1], points) for i in range(0, len(given), 2)]
        case _:
            return {}
    owner = stream.owners
    moved = [key for axis in found for key in (axis.key, *axis.others) if key]
    by_motor = dict(zip(motors, ways, strict=True))
    return {key: way for key in moved if (way := by_motor.get(owner.get(key, "")))}


def _range(ends: Any, points: int | None) -> Range | None:
    ends = sequence_or_empty(ends)
    if len(ends) != 2 or not all(is_number(end) for end in ends):
        return None
    return Range(float(ends[0]), float(ends[1]), points)


def _range_of_positions(positions: Any, points: int | None) -> Range | None:
    """Of positions that go one way only: where they turn, the ends say nothing of the rest."""
    positions = sequence_or_empty(positions)
    if len(positions) != points or not positions or not all(is_number(position) for position in positions):
        return None
    if [*positions] not in (sorted(positions), sorted(positions, reverse=True)):
        return None
    return Range(float(positions[0]), float(positions[-1]), points)


def _begins_there(way: Range, stream: MappedStream, key: str) -> bool:
    first = stream.first.get(key)
    first = first.item() if isinstance(first, np.generic) else first
    if not is_number(first):
        return True
    least, greatest = sorted((way.start, way.stop))
    if way.points is None:
        return least <= first <= greatest
    step = (greatest - least) / max(1, way.points - 1)
    return abs(first - way.start) <= max(step / 2, 1e-6 * max(1.0, abs(way.start)))


def _pattern(start: Start) -> str:
    return str(start.get("plan_pattern")) if start.get("plan_pattern_module") == _PATTERNS else ""


def _arguments(start: Start) -> Mapping[str, Any]:
    return mapping_or_empty(start.get("plan_pattern_args"))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63


def is_number(value: Any) -> TypeGuard[float]:
    """Whether JSON and Redis take this number."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return in_64_bits(value)
    return isinstance(value, float) and math.isfinite(value)
