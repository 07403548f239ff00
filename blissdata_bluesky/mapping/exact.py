"""Values into numpy only where numpy holds them exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..protocol import Array, NumericEncoding

NUMERIC_KINDS = "biufc"
_FLOATS = frozenset({float, np.float64})
_NUMBERS = frozenset({float, int, bool, complex, np.bool_, *(np.dtype(code).type for code in "bhilqBHILQfd")})
# below this every integer is a float64; numpy rounds the others when a list mixes them with floats
_EXACT_INTEGERS = 2**53


def exact_cast(array: Array, dtype: np.dtype[Any]) -> Array | None:
    """`array` as `dtype`, or None when an element would change its value (NaN equals NaN)."""
    if array.dtype == dtype:
        return array
    if array.dtype.kind not in NUMERIC_KINDS:
        return None
    if array.dtype.kind == "c" and dtype.kind != "c":
        return exact_cast(array.real, dtype) if not array.imag.any() else None
    with np.errstate(all="ignore"):
        cast = array.astype(dtype)
    return cast if _widens(array.dtype, dtype) or _equal(array, cast) else None


def _widens(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    # numpy calls int64 → float64 safe, which it is not above 2**53
    same_kind = source.kind in {target.kind, "b"} or source.itemsize <= 4
    return same_kind and np.can_cast(source, target, "safe")


def _equal(one: Array, other: Array) -> bool:
    if other.dtype.kind == "c":
        # (NaN, 0.1) is a NaN as a whole
        return _equal(one.real, other.real) and _equal(one.imag, other.imag)
    # in Python's numbers, which compare integers and floats without rounding
    nan = np.isnan(one)
    return np.array_equal(nan, np.isnan(other)) and bool(one[~nan].tolist() == other[~nan].tolist())


def exact_value(encoding: NumericEncoding, value: Any) -> Array | None:
    """`value` as one row of the encoding, or None when the encoding cannot hold it exactly."""
    array = numeric_array(value)
    if array is None or not fits(encoding.shape, array.shape):
        return None
    return exact_cast(array, encoding.dtype)


def numeric_array(value: Any) -> Array | None:
    """`value` as an array of numbers; None for strings, None, ragged lists, integers beyond 64 bits…"""
    if isinstance(value, str | bytes | dict) or value is None:
        return None
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        return None
    return array if array.dtype.kind in NUMERIC_KINDS and _lists_kept(value, array) else None


def _lists_kept(value: Any, array: Array) -> bool:
    # a list of mixed numbers (2**60 + 1 beside 0.5) is rounded by numpy on the way in
    if isinstance(value, np.ndarray | np.generic) or array.dtype.kind not in "fc":
        return True
    given = np.asarray(value, object)
    return given.shape == array.shape and bool(((given == array.astype(object)) | np.isnan(array)).all())


def fits(shape: Sequence[int], actual: Sequence[int]) -> bool:
    """Whether a value's shape is one that the column has room for."""
    return len(shape) == len(actual) and all(want in (-1, got) for want, got in zip(shape, actual, strict=True))


def scalar_column(values: Sequence[Any], dtype: np.dtype[Any]) -> Array | None:
    """Python scalars as one array; None when one of them would change, or is no number."""
    types = set(map(type, values))
    if not types <= _NUMBERS:
        return None
    try:
        array = np.array(values, np.float64 if types <= _FLOATS else None)
    except OverflowError:
        return None
    if array.dtype.kind not in NUMERIC_KINDS or (not types <= _FLOATS and _may_be_rounded(array)):
        return None
    return exact_cast(array, dtype)


def _may_be_rounded(array: Array) -> bool:
    # of [2**63 + 1, -1] numpy makes floats, too
    with np.errstate(over="ignore"):
        return array.dtype.kind in "fc" and bool((np.abs(array) >= _EXACT_INTEGERS).any())


def fill_value(encoding: NumericEncoding) -> Array:
    """What stands in a column for a value that it cannot hold: NaN, or 0 where there is none; ragged: nothing."""
    shape = tuple(0 if length == -1 else length for length in encoding.shape)
    return np.full(shape, math.nan if encoding.dtype.kind in "fc" else 0, encoding.dtype)
