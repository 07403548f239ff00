"""Events of one stream, several at a time, column by column."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import DocumentError
from ..foreign import in_64_bits
from ..protocol import MISSING, Array, Encoding, JsonEncoding, NumericEncoding, Rows
from .exact import exact_cast, exact_value, fill_value, fits, scalar_column

_TIME_TYPES = frozenset({float, int, np.float64})
# as far as float64 has every integer
_EXACT_INTEGERS = 2.0**53


@dataclass(frozen=True, slots=True)
class EventBlock:
    """`length` events, transposed."""

    length: int
    seq_num: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    data: Mapping[str, Sequence[Any]]
    """Data key → one value per event, MISSING where the event lacked it."""
    timestamps: npt.NDArray[np.float64]
    """Shape (length, keys), NaN where an event lacked one."""
    odd_timestamps: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    """Data key → position → what came, where that is no float64 or the descriptor lacks the key."""


def check_event(event: Mapping[str, Any]) -> None:
    """Raise DocumentError, saying which member is wrong, for an event that cannot be a row."""
    _check_members(event)
    if type(event["seq_num"]) is not int or not in_64_bits(event["seq_num"]):
        raise DocumentError("seq_num must be an integer of 64 bits")
    if type(event["time"]) not in _TIME_TYPES or (type(event["time"]) is int and not in_64_bits(event["time"])):
        raise DocumentError("time must be a number")


def _check_members(document: Mapping[str, Any]) -> None:
    for member in ("data", "timestamps"):
        if not isinstance(document.get(member), dict):
            raise DocumentError(f"{member!r} is missing or no mapping")
    for member in ("seq_num", "time"):
        if member not in document:
            raise DocumentError(f"{member!r} is missing")


def block_of_events(keys: Sequence[str], events: Sequence[Mapping[str, Any]]) -> EventBlock:
    """One block. Keys that the descriptor lacks come after `keys`.

    Raises DocumentError when one of the events does not pass `check_event`.
    """
    try:
        seq_num = [event["seq_num"] for event in events]
        time = [event["time"] for event in events]
        data = [event["data"] for event in events]
        timestamps = [event["timestamps"] for event in events]
    except KeyError as error:
        raise DocumentError(f"{error} is missing") from error
    if events and not (
        _types(seq_num) == {int} and _types(time) <= _TIME_TYPES and _types(data) | _types(timestamps) == {dict}
    ):
        raise DocumentError("seq_num, time, data or timestamps have the wrong type")
    stamps = _columns_of(timestamps, keys, np.nan)
    return EventBlock(
        len(events),
        _integers(seq_num),
        _times(time),
        _columns_of(data, keys, MISSING),
        table := _timestamps(stamps, keys, len(events)),
        _odd_timestamps(stamps, keys, table),
    )


def _types(values: Sequence[Any]) -> set[type]:
    return set(map(type, values))


def _columns_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str], default: Any) -> dict[str, Sequence[Any]]:
    if set(map(len, rows)) == {len(keys)}:
        with suppress(KeyError):
            return _exact_columns(rows, keys)
    seen = dict.fromkeys(keys) | dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key, default) for row in rows] for key in seen}


def _exact_columns(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> dict[str, Sequence[Any]]:
    if len(keys) < 2:
        return {key: [row[key] for row in rows] for key in keys}
    return dict(zip(keys, zip(*map(itemgetter(*keys), rows), strict=True), strict=True))


def block_of_page(keys: Sequence[str], page: Mapping[str, Any]) -> EventBlock:
    """One block of an event_page. Raises DocumentError when its columns differ in length or are no columns."""
    _check_members(page)
    length = _page_length(page)
    data = {key: page["data"].get(key, [MISSING] * length) for key in {**dict.fromkeys(keys), **page["data"]}}
    return EventBlock(
        length,
        _integers(page["seq_num"]),
        _times(page["time"]),
        data,
        table := _timestamps(page["timestamps"], keys, length),
        _odd_timestamps(page["timestamps"], keys, table),
    )


def _page_length(page: Mapping[str, Any]) -> int:
    lengths = {name: _length(page[name]) for name in ("seq_num", "time")}
    lengths |= {f"data[{key!r}]": _length(values) for key, values in page["data"].items()}
    lengths |= {f"timestamps[{key!r}]": _length(values) for key, values in page["timestamps"].items()}
    if len(set(lengths.values())) != 1 or None in lengths.values():
        raise DocumentError(f"the columns of the page differ in length: {lengths}")
    return lengths["seq_num"] or 0


def _length(values: Any) -> int | None:
    is_column = isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim > 0)
    return len(values) if is_column else None


def _integers(values: Sequence[Any]) -> npt.NDArray[np.int64]:
    array = _flat(values, "iu")
    exact = None if array is None else exact_cast(array, np.dtype(np.int64))
    if exact is None:
        raise DocumentError("seq_num must be an integer of 64 bits")
    return exact


def _times(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    array = _flat(values, "fiu")
    if array is None:
        raise DocumentError("time must be a number")
    return array.astype(np.float64, copy=False)


def _flat(values: Sequence[Any], kinds: str) -> Array | None:
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    return array if array.ndim == 1 and (array.dtype.kind in kinds or not array.size) else None


def _timestamps(columns: Mapping[str, Sequence[Any]], keys: Sequence[str], length: int) -> npt.NDArray[np.float64]:
    table = np.full((length, len(keys)), np.nan)
    for position, key in enumerate(keys):
        if key in columns:
            table[:, position] = _floats(columns[key])
    return table


def _odd_timestamps(
    columns: Mapping[str, Sequence[Any]], keys: Sequence[str], table: npt.NDArray[np.float64]
) -> dict[str, dict[int, Any]]:
    """What `table` does not tell exactly, and those of keys that it lacks."""
    # NaN is none of these: it may stand for what is no number
    is_exact = bool((np.abs(table) <= _EXACT_INTEGERS).all())
    doubtful = {} if is_exact else {key: _those(columns[key], _is_no_float) for key in keys if key in columns}
    others = {key: _those(columns[key], _is_given) for key in sorted(columns.keys() - keys)}
    return {key: odd for key, odd in (doubtful | others).items() if odd}


def _those(values: Sequence[Any], wanted: Callable[[Any], bool]) -> dict[int, Any]:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return {position: value for position, value in enumerate(plain) if wanted(value)}


def _is_given(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))


def _is_no_float(value: Any) -> bool:
    is_integer = isinstance(value, int) and in_64_bits(value)
    return not (isinstance(value, float) or (is_integer and int(float(value)) == value))


def _floats(values: Sequence[Any]) -> npt.NDArray[np.float64]:
    with suppress(TypeError, ValueError, OverflowError):
        array = np.array(values, np.float64)
        if array.ndim == 1:
            return array
    return np.array([_float(value) for value in values], np.float64)


def _float(value: Any) -> float:
    try:
        return float(value) if isinstance(value, int | float) else np.nan
    except OverflowError:
        return np.nan


def rows_of(encoding: Encoding, values: Sequence[Any]) -> tuple[Rows, dict[int, Any]]:
    """The values as rows of a column, and those that it cannot hold by their position (a fill stands for them)."""
    if isinstance(encoding, JsonEncoding):
        return [_without_numpy(value) for value in values], {}
    whole = _whole_column(encoding, values)
    return (whole, {}) if whole is not None else _value_by_value(encoding, values)


def _whole_column(encoding: NumericEncoding, values: Sequence[Any]) -> Array | None:
    if isinstance(values, np.ndarray):
        whole = fits(encoding.shape, values.shape[1:]) and not encoding.ragged
        return exact_cast(values, encoding.dtype) if whole else None
    if not encoding.shape:
        return scalar_column(values, encoding.dtype)
    return None


def _value_by_value(encoding: NumericEncoding, values: Sequence[Any]) -> tuple[Rows, dict[int, Any]]:
    held = [exact_value(encoding, value) for value in values]
    irregular = {position: values[position] for position, row in enumerate(held) if row is None}
    fill = fill_value(encoding)
    return [fill if row is None else row for row in held], irregular


def _without_numpy(value: Any) -> Any:
    # an array of strings is a list to every reader of JSON
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype.kind == "U" else value
