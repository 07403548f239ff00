"""What is made of the classes and functions that a pickle names: one table, and what any other class may stand for."""

from __future__ import annotations

import collections
import datetime
import decimal
import pathlib
import pickle
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from . import arrays

# they hold what runs code, and no class whose values are plain
_OF_PYTHON = sys.stdlib_module_names | {"numpy"}
_LONGEST_NAME = 100


class Named:
    """A class or function that a pickle names. Nothing is imported: it is a name, and what is made in its place."""

    __slots__ = ("_make", "_name")

    def __init__(self, module: str, name: str) -> None:
        """Raises pickle.UnpicklingError for one of Python's own that is not in the table."""
        self._name = f"{module}.{name}"
        self._make = _TABLE.get((module, name))
        if self._make is None and module.partition(".")[0] in _OF_PYTHON:
            self.refuse()

    def refuse(self) -> NoReturn:
        """Raise pickle.UnpicklingError with its name."""
        name = self._name if len(self._name) < _LONGEST_NAME else f"{self._name[:_LONGEST_NAME]}…"
        raise pickle.UnpicklingError(
            f"it holds a {name}, which is not made here, for a pickle can run any code; publish plain values in its "
            "place"
        )

    def call(self, arguments: tuple[Any, ...]) -> Any:
        """What stands for the result."""
        if self._make is not None:
            return self._make(*arguments)
        # an enum is its class, called with its value
        if len(arguments) == 1 and type(arguments[0]) in _PLAIN:
            return arguments[0]
        return self.refuse()

    def new(self, arguments: tuple[Any, ...]) -> Any:
        """What stands for a new object: its fields come later; a subclass of a plain type is its plain value."""
        if self._make is None and not arguments:
            return Fields(self)
        return self.call(arguments) if self._make is None else self.refuse()


class Pending:
    """A value of which a pickle tells the rest later (BUILD)."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        """Take the rest. Raises ValueError for what it cannot be."""
        raise NotImplementedError

    def value(self) -> Any:
        """The value as a document has it."""
        raise NotImplementedError


class Fields(Pending):
    """An object of a class that is not known: its fields, as of pydantic's models and dataclasses."""

    __slots__ = ("_class", "_fields")

    def __init__(self, named: Named) -> None:
        self._class = named
        self._fields: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        if not isinstance(state, dict):
            self._class.refuse()
        if "__pydantic_fields_set__" in state:
            fields, extra = state.get("__dict__"), state.get("__pydantic_extra__")
            state = {**_mapping(fields), **_mapping(extra)}
        self._fields = state

    def value(self) -> Any:
        return self._fields


def _mapping(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


class _Dtype(Pending):
    """A dtype, which numpy's own `__setstate__` would make of whatever it is told."""

    __slots__ = ("_code", "_made")

    def __init__(self, code: Any, *_: Any) -> None:
        self._code = code
        self._made: np.dtype[Any] | None = None

    def build(self, state: Any) -> None:
        _, order, subarray, names, fields, itemsize, *_ = state
        if subarray is not None:
            self._made = arrays.subarray_dtype(*subarray)
        elif names is not None:
            described = [arrays.Field(str(name), *fields[name][:2]) for name in names]
            self._made = arrays.structured_dtype(described, itemsize)
        else:
            dtype = arrays.simple_dtype(f"{self._code}{self._unit(state)}")
            self._made = dtype if order == "|" else dtype.newbyteorder(order)

    def value(self) -> np.dtype[Any]:
        return arrays.simple_dtype(self._code) if self._made is None else self._made

    def _unit(self, state: Any) -> str:
        """Of a datetime64 or timedelta64."""
        if self._code not in {"M8", "m8"}:
            return ""
        _, (unit, count, *_) = state[8]
        return f"[{count}{unit.decode()}]"


class _Array(Pending):
    """An array, in the place of `numpy._core.multiarray._reconstruct`."""

    __slots__ = ("_made",)

    def __init__(self, *_: Any) -> None:
        self._made = np.zeros(0)

    def build(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        self._made = arrays.array(data, dtype, shape, "F" if is_fortran else "C")

    def value(self) -> Any:
        return self._made


def _filled_array(data: Any, dtype: Any, shape: Any, order: str = "C") -> Any:
    return arrays.array(data, dtype, shape, order)


def _scalar(dtype: Any, data: Any = b"") -> Any:
    return arrays.scalar(data, dtype)


def _no_call(*_: Any) -> NoReturn:
    raise pickle.UnpicklingError("a type of Python's is called that no pickle of a document calls")


def _set(items: Any = ()) -> set[Any]:
    return set(_listed(items))


def _frozenset(items: Any = ()) -> frozenset[Any]:
    return frozenset(_listed(items))


def _listed(items: Any) -> list[Any]:
    if not isinstance(items, list):
        raise pickle.UnpicklingError("a set is made of something else than a list")
    return list(map(require_key, items))


def require_key(value: Any) -> Any:
    """The value, if its hash is found in no time. Raises pickle.UnpicklingError for tuples in tuples."""
    if isinstance(value, tuple) and any(isinstance(item, tuple | frozenset) for item in value):
        raise pickle.UnpicklingError("a key is a tuple of tuples")
    return value


def _bytearray(data: bytes = b"") -> bytearray:
    return bytearray(_of(bytes, data))


def _latin1(text: str, coding: str) -> bytes:
    """Bytes, as protocol 2 writes them."""
    if coding != "latin1":
        raise pickle.UnpicklingError("bytes are written in another coding than pickle's")
    return str.encode(_of(str, text), coding)


def _bytes() -> bytes:
    return b""


def _complex(real: float, imaginary: float) -> complex:
    return complex(_of(float, real), _of(float, imaginary))


def _decimal(text: str) -> decimal.Decimal:
    return decimal.Decimal(_of(str, text))


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise pickle.UnpicklingError(f"what should be a {kind.__name__} is none")
    return value


def _time(kind: Any) -> Callable[..., Any]:
    # C's constructors take any bytes for fields; `replace` looks at them
    return lambda *arguments: kind(*arguments).replace()


def _ordered(*arguments: Any) -> Any:
    return collections.OrderedDict() if not arguments else _no_call()


def _default_dict(*_: Any) -> Any:
    return collections.defaultdict()


def _deque(items: Any = (), most: int | None = None) -> Any:
    return collections.deque(_of(tuple, items) if items == () else _of(list, items), most)


def _posix_path(*parts: Any) -> pathlib.PurePath:
    return pathlib.PurePosixPath(*(_of(str, part) for part in parts))


def _windows_path(*parts: Any) -> pathlib.PurePath:
    return pathlib.PureWindowsPath(*(_of(str, part) for part in parts))


_PLAIN = frozenset({str, int, float, bool})
_BUILTINS: Mapping[str, Any] = {
    # named as the factory of a defaultdict
    **dict.fromkeys(("bool", "dict", "float", "int", "list", "str", "tuple"), _no_call),
    "bytearray": _bytearray,
    "bytes": _bytes,
    "complex": _complex,
    "frozenset": _frozenset,
    "set": _set,
}
_CONTAINERS: Mapping[str, Any] = {"OrderedDict": _ordered, "defaultdict": _default_dict, "deque": _deque}
_TIMES = (datetime.date, datetime.datetime, datetime.time)
_ARRAYS: Mapping[str, Any] = {"_reconstruct": _Array, "_frombuffer": _filled_array, "scalar": _scalar}
_TABLE: Mapping[tuple[str, str], Callable[..., Any]] = {
    **{(module, name): make for module in ("builtins", "__builtin__") for name, make in _BUILTINS.items()},
    ("_codecs", "encode"): _latin1,
    **{("collections", name): function for name, function in _CONTAINERS.items()},
    **{("datetime", kind.__name__): _time(kind) for kind in _TIMES},
    ("datetime", "timedelta"): datetime.timedelta,
    ("datetime", "timezone"): datetime.timezone,
    ("decimal", "Decimal"): _decimal,
    # the type that `_reconstruct` is to make
    ("numpy", "ndarray"): _no_call,
    ("numpy", "dtype"): _Dtype,
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
