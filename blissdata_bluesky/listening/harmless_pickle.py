"""Reads the pickles in which bluesky publishes documents, without letting the sender run code here.

A pickle says which functions are to be called with which arguments. Here it can reach those of one table: containers,
numbers, times, paths and arrays. Arrays and their dtypes are made here rather than by numpy's own `__setstate__`, which
believes whatever it is told of where memory holds objects.
"""

from __future__ import annotations

import collections
import datetime
import decimal
import io
import pathlib
import pickle
from collections.abc import Mapping
from functools import partial
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt


def unpickle(data: bytes) -> Any:
    """The value. Raises pickle.UnpicklingError for a type that is not in the table, anything for what is no pickle."""
    return _Unpickler(io.BytesIO(data)).load()


class _Unpickler(pickle.Unpickler):
    """Knows one table and imports nothing."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            found = _TABLE[module, name]
            # a pickle may set attributes of what it is given, even of a function: each gets one of its own
            return partial(found) if isinstance(found, FunctionType) else found
        except KeyError:
            raise pickle.UnpicklingError(
                f"it holds a {module}.{name}, which is not made here, for a pickle can run any code; publish plain "
                "values in its place"
            ) from None


class _Dtype:
    """What a pickle tells of a dtype."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._state: tuple[Any, ...] = (3, "|", None, None, None, -1, -1, 0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._state = state

    def __repr__(self) -> str:
        return repr(self.make())

    def make(self) -> np.dtype[Any]:
        """The dtype. Raises ValueError for one of objects."""
        _, order, subarray, names, fields, itemsize, *_ = self._state
        if subarray is not None:
            base, shape = subarray
            return np.dtype((base.make(), shape))
        if names is not None:
            formats, offsets = zip(*((fields[name][0].make(), fields[name][1]) for name in names), strict=True)
            return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": itemsize})
        dtype = np.dtype(self._code + self._unit())
        if dtype.hasobject:
            raise ValueError("it holds an array of objects, which is not made here; publish a list in its place")
        return dtype if order == "|" else dtype.newbyteorder(order)

    def _unit(self) -> str:
        """Of a datetime64 or timedelta64."""
        if not self._code.startswith(("M8", "m8")):
            return ""
        _, (unit, count, *_) = self._state[8]
        return f"[{int(count)}{unit.decode()}]"


class _Array(np.ndarray[Any, Any]):
    """An array that takes what a pickle tells of it."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, dtype, is_fortran, data = state
        super().__setstate__((version, shape, dtype.make(), is_fortran, data))


# Functions, for attributes of a class could be changed from within a pickle for all that come after.
def _dtype(code: str, *_: Any) -> _Dtype:
    return _Dtype(code)


def _empty_array(*_: Any) -> _Array:
    return _Array((0,), np.int8)


def _filled_array(data: bytes, dtype: _Dtype, shape: Any, order: str) -> npt.NDArray[Any]:
    return np.frombuffer(data, dtype.make()).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _Dtype, data: bytes = b"") -> Any:
    made = dtype.make()
    return np.ndarray((), made, data)[()] if made.itemsize else made.type()


def _posix_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PurePosixPath(*parts)


def _windows_path(*parts: str) -> pathlib.PurePath:
    return pathlib.PureWindowsPath(*parts)


_BUILTINS = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
_TIMES = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone)
_CONTAINERS = (collections.OrderedDict, collections.defaultdict, collections.deque)
_ARRAYS = {"_reconstruct": _empty_array, "_frombuffer": _filled_array, "scalar": _scalar}
_TABLE: Mapping[tuple[str, str], Any] = {
    **{(kind.__module__, kind.__name__): kind for kind in (*_BUILTINS, *_TIMES, *_CONTAINERS, decimal.Decimal)},
    # the type that `_reconstruct` is to make
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): _dtype,
    **{
        (f"{package}.{module}", name): function
        for package in ("numpy.core", "numpy._core")
        for module in ("multiarray", "numeric")
        for name, function in _ARRAYS.items()
    },
    **{
        (module, f"{pure}{system}Path"): path
        for module in ("pathlib", "pathlib._local")
        for pure in ("", "Pure")
        for system, path in (("Posix", _posix_path), ("Windows", _windows_path))
    },
}
