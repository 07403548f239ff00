"""Arrays of bytes from a network. What they hold is never taken for objects, which would be addresses in memory.

All functions raise ValueError or TypeError for what is no array of plain values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

_CODE = re.compile(r"[<>=|]?(?:[?bBhHiIlLqQefdgFDG]|[biufcSUVmM]\d{1,10}|[SUV])(?:\[\d{0,9}[a-zA-Z]{1,2}\])?")
_OBJECTS = re.compile(r"[<>=|]?O\d{0,2}")
_MOST_FIELDS = 1000
_DEEPEST_FIELD = 8
_MOST_DIMENSIONS = 32
# an array without any byte is as long as its sender likes
_MOST_EMPTY = 2**20


class Field(NamedTuple):
    """One of a structured dtype."""

    name: str
    dtype: np.dtype[Any]
    offset: int


def simple_dtype(code: Any) -> np.dtype[Any]:
    """The dtype of a code such as `<f8`."""
    if isinstance(code, str) and _OBJECTS.fullmatch(code):
        _refuse_objects()
    if not isinstance(code, str) or _CODE.fullmatch(code) is None:
        raise ValueError("a dtype is none that is known here")
    return _checked(np.dtype(code))


def subarray_dtype(base: Any, shape: Any) -> np.dtype[Any]:
    """Several of a dtype in a row."""
    return _checked(np.dtype((_checked(base), _shape(shape))))


def structured_dtype(fields: Sequence[Field], itemsize: int) -> np.dtype[Any]:
    """A dtype with fields."""
    _count((field.dtype for field in fields), _MOST_FIELDS, _DEEPEST_FIELD)
    names, formats, offsets = zip(*fields, strict=True) if fields else ((), (), ())
    described: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize}
    return _checked(np.dtype(described))


def array(data: Any, dtype: Any, shape: Any, order: str = "C") -> npt.NDArray[Any]:
    """The array of these bytes."""
    dtype, shape, data = _checked(dtype), _shape(shape), _bytes(data)
    if math.prod(filter(None, shape)) > max(len(data), _MOST_EMPTY):
        raise ValueError("an array is longer than what is sent of it")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError("an array has another length than its shape and dtype say")
    found = np.frombuffer(data, dtype) if data else np.zeros(math.prod(shape), dtype)
    return found.reshape(shape, order="F" if order == "F" else "C")


def scalar(data: Any, dtype: Any) -> Any:
    """The one value of these bytes."""
    return array(data, dtype, ())[()]


def _checked(dtype: Any) -> np.dtype[Any]:
    if not isinstance(dtype, np.dtype):
        raise TypeError("what stands for a dtype is none")
    if dtype.hasobject:
        _refuse_objects()
    return dtype


def _refuse_objects() -> None:
    raise ValueError("it holds an array of objects, which is not made here; publish a list in its place")


def _count(dtypes: Any, budget: int, depth: int) -> int:
    """What is left of the budget when all fields, and the fields of fields, are counted."""
    if depth == 0:
        raise ValueError("a dtype is nested too deeply")
    for dtype in dtypes:
        budget -= 1
        if budget < 0:
            raise ValueError("a dtype has too many fields")
        base = _checked(dtype).base
        if base.names is not None:
            budget = _count((base[name] for name in base.names), budget, depth - 1)
    return budget


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, list | tuple) or len(shape) > _MOST_DIMENSIONS:
        raise TypeError("what stands for a shape is none")
    if not all(type(length) is int and 0 <= length < 2**63 for length in shape):
        raise ValueError("a shape has lengths that are none")
    return tuple(shape)


def _bytes(data: Any) -> bytes:
    if not isinstance(data, bytes | bytearray):
        raise TypeError("what stands for the bytes of an array is none")
    return bytes(data)
