"""A Bluesky document as bytes and back, exactly: msgpack with extension types for what msgpack lacks."""

from __future__ import annotations

import ast
import datetime
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import IntEnum
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import ormsgpack


class Extension(IntEnum):
    """The extension codes of the format; a code is never given a second meaning."""

    ARRAY = 1
    COMPLEX = 2
    BIG_INTEGER = 3
    DATETIME = 4
    DATE = 5
    TIME = 6
    TIMEDELTA = 7


_EXACT = ormsgpack.OPT_PASSTHROUGH_DATETIME | ormsgpack.OPT_PASSTHROUGH_BIG_INT
_SCALARS = _EXACT | ormsgpack.OPT_SERIALIZE_NUMPY
# ormsgpack's numpy option is eight times as fast for scalars, and turns arrays into lists: so it is
# used only where every value is of one of these types.
_SCALAR_TYPES = frozenset(
    {float, int, str, bool, type(None), np.float64, np.float32, np.bool_}
    | {np.dtype(code).type for code in "bBhHiIlLqQ"}
)
# Values of other types come back as these: a copy would not be what the journal holds.
_COPIED_TYPES = frozenset({float, int, str, bool, type(None), np.float64})

# numpy scalars that a Python scalar holds exactly
_BUILTIN_CODES = frozenset("?bBhHiIlLqQefdUS")

_REFUSED = (TypeError, ValueError, RecursionError)

_COLUMN_DTYPES = {
    frozenset({float}): np.float64,
    frozenset({np.float64}): np.float64,
    frozenset({int}): np.int64,
}


def pack_document(name: str, document: Mapping[str, Any]) -> bytes:
    """Bytes of one document. Nothing in them refers to the caller's objects.

    Numpy arrays keep dtype and shape; tuples and sets become lists, paths strings, keys that are no
    strings strings, objects of unknown type their `repr`, and the columns of an event_page arrays.
    """
    return pack_and_copy(name, document)[0]


def pack_and_copy(name: str, document: Mapping[str, Any]) -> tuple[bytes, dict[str, Any] | None]:
    """The packed document, and a copy where that is cheaper than unpacking: of an event that holds scalars only."""
    if name == "event" and (types := _value_types(document)) <= _SCALAR_TYPES:
        try:
            packed = ormsgpack.packb((name, document), default=_extend, option=_SCALARS)
        except _REFUSED:
            return pack((name, document)), None
        return packed, _copy(document) if types <= _COPIED_TYPES else None
    return pack((name, _with_arrays(document) if name == "event_page" else document)), None


def unpack_document(data: bytes) -> tuple[str, dict[str, Any]]:
    """What `pack_document` was given. Arrays are read-only views of `data`.

    Raises ValueError when `data` is not a whole packed document.
    """
    name, document = unpack(data)
    return name, document


def pack(value: Any) -> bytes:
    """Bytes of any value that a document may hold."""
    try:
        return ormsgpack.packb(value, default=_extend, option=_EXACT)
    except _REFUSED:
        return ormsgpack.packb(_plain(value), default=_extend, option=_EXACT)


def unpack(data: bytes) -> Any:
    """The value that was packed."""
    return ormsgpack.unpackb(data, ext_hook=_restore)


def _value_types(event: Mapping[str, Any]) -> set[type]:
    """The types of what becomes a row of an event; `object` stands for what cannot become one."""
    try:
        numbers = (event["seq_num"], event["time"])
        return {*map(type, event["data"].values()), *map(type, event["timestamps"].values()), *map(type, numbers)}
    except (KeyError, AttributeError):
        return {object}


def _copy(event: Mapping[str, Any]) -> dict[str, Any]:
    return {**event, "data": dict(event["data"]), "timestamps": dict(event["timestamps"])}


def _with_arrays(page: Mapping[str, Any]) -> dict[str, Any]:
    # msgpack makes an object of every number, an array is taken and given back whole
    return {
        member: {key: _column(column) for key, column in value.items()} if isinstance(value, dict) else value
        for member, value in page.items()
    }


def _column(values: Any) -> Any:
    dtype = _COLUMN_DTYPES.get(frozenset(map(type, values))) if type(values) is list else None
    try:
        return values if dtype is None else np.array(values, dtype)
    except OverflowError:
        return values


def _extend(value: Any) -> Any:  # noqa: C901, PLR0912 - a table, in the form of a match
    """A value ormsgpack does not know, as one that it does."""
    match value:
        case np.ma.MaskedArray():
            return value.tolist()
        case np.ndarray() | np.generic() if value.dtype.hasobject:
            return value.tolist()
        case np.generic() if value.dtype.char in _BUILTIN_CODES:
            return value.item()
        case np.ndarray() | np.generic():
            return ormsgpack.Ext(Extension.ARRAY, _array_bytes(np.asarray(value)))
        case complex():
            return ormsgpack.Ext(Extension.COMPLEX, np.complex128(value).tobytes())
        case int():
            return ormsgpack.Ext(Extension.BIG_INTEGER, hex(value).encode())
        case datetime.datetime():
            return ormsgpack.Ext(Extension.DATETIME, value.isoformat().encode())
        case datetime.date():
            return ormsgpack.Ext(Extension.DATE, value.isoformat().encode())
        case datetime.time():
            return ormsgpack.Ext(Extension.TIME, value.isoformat().encode())
        case datetime.timedelta():
            microseconds = value // datetime.timedelta(microseconds=1)
            return ormsgpack.Ext(Extension.TIMEDELTA, str(microseconds).encode())
        case float():
            return float(value)
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case Mapping():
            return dict(value)
        case PurePath():
            return str(value)
        case AbstractSet():
            return list(value)
        case bytearray() | memoryview():
            return bytes(value)
        case _:
            return _as_list_or_repr(value)


def _as_list_or_repr(value: Any) -> Any:
    try:
        if hasattr(value, "__array__"):
            return np.asarray(value)
        if hasattr(value, "__iter__") and hasattr(value, "__len__"):
            return list(value)
    except Exception:  # noqa: BLE001, S110 - whatever a stranger's object does, the document is kept
        pass
    return _safe_repr(value)


def _safe_repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a stranger's `__repr__`
        return object.__repr__(value)


_DEEPEST = 100


def _plain(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """The value with string keys only and no deeper than msgpack allows: the slow way, for what the fast one refused.

    `above`: ids of the containers that it stands in; one of them inside itself would have no end.
    """
    if len(above) > _DEEPEST or id(value) in above:
        return _safe_repr(value)
    here = above | {id(value)}
    match value:
        case Mapping():
            keys = _plain_keys(list(value))
            return {key: _plain(item, here) for key, item in zip(keys, value.values(), strict=True)}
        case list() | tuple() | AbstractSet() | deque():
            return [_plain(item, here) for item in value]
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case np.ndarray() if value.dtype.hasobject:
            return _plain(value.tolist(), here)
        case _:
            return value


def _plain_keys(keys: list[Any]) -> list[str]:
    """Keys as strings. Where 1 and "1" would become one, 1 and other keys that are no strings are marked."""
    plain = [_safe_text(key) for key in keys]
    if len(set(plain)) == len(keys):
        return plain
    return [_safe_text(key) if isinstance(key, str) else f"{type(key).__name__}({key!r})" for key in keys]


def _safe_text(key: Any) -> str:
    return str(key).encode("utf-8", "backslashreplace").decode()


def _array_bytes(array: npt.NDArray[Any]) -> bytes:
    descr = np.lib.format.dtype_to_descr(array.dtype)
    header = ormsgpack.packb((descr if isinstance(descr, str) else repr(descr), array.shape))
    # dates, alone or in a structure, have no buffer of their own
    data = np.ascontiguousarray(array).data if array.dtype.kind in "biufc" else array.tobytes()
    return b"".join((len(header).to_bytes(4), header, data))


def _array(data: bytes) -> npt.NDArray[Any]:
    end = 4 + int.from_bytes(data[:4])
    descr, shape = ormsgpack.unpackb(data[4:end])
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(descr) if descr.startswith("[") else descr)
    return np.frombuffer(data, dtype, offset=end).reshape(shape)


def _restore(code: int, data: bytes) -> Any:
    match code:
        case Extension.ARRAY:
            return _array(data)
        case Extension.COMPLEX:
            return complex(np.frombuffer(data, np.complex128)[0])
        case Extension.BIG_INTEGER:
            return int(data, 16)
        case Extension.DATETIME:
            return datetime.datetime.fromisoformat(data.decode())
        case Extension.DATE:
            return datetime.date.fromisoformat(data.decode())
        case Extension.TIME:
            return datetime.time.fromisoformat(data.decode())
        case Extension.TIMEDELTA:
            return datetime.timedelta(microseconds=int(data))
    raise ValueError(f"unknown extension code {code} in a packed document: written by a newer version?")
