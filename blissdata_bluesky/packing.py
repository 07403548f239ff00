"""A Bluesky document as bytes and back, exactly: msgpack with extension types for what msgpack lacks."""

from __future__ import annotations

import ast
import datetime
from collections import deque
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from enum import Enum, IntEnum
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
import ormsgpack
from numpy.lib.recfunctions import repack_fields

from .foreign import as_container_or_repr, keys_as_texts, safe_repr, safe_text


class Extension(IntEnum):
    """The extension codes of the format; a code is never given a second meaning."""

    ARRAY = 1
    COMPLEX = 2
    BIG_INTEGER = 3
    DATETIME = 4
    DATE = 5
    TIME = 6
    TIMEDELTA = 7


# left to itself, ormsgpack forgets the fields of a dataclass that begin with `_`
_EXACT = ormsgpack.OPT_PASSTHROUGH_DATETIME | ormsgpack.OPT_PASSTHROUGH_BIG_INT | ormsgpack.OPT_PASSTHROUGH_DATACLASS
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
_BUILTIN_CODES = frozenset("?bBhHiIlLqQefdFDUS")

_COLUMN_DTYPES = {
    frozenset({float}): np.float64,
    frozenset({np.float64}): np.float64,
    frozenset({int}): np.int64,
}


def pack_document(name: str, document: Mapping[str, Any]) -> bytes:
    """Bytes of one document. Nothing in them refers to the caller's objects.

    Numpy arrays keep dtype and shape; tuples and sets become lists, paths and UUIDs strings, keys that are no
    strings strings, enumerations their values, dataclasses and pydantic's models dictionaries, objects of unknown
    type their `repr`, and the columns of an event_page arrays. Nothing is refused.
    """
    return pack_and_copy(name, document)[0]


def pack_and_copy(name: str, document: Mapping[str, Any]) -> tuple[bytes, dict[str, Any] | None]:
    """The packed document, and a copy where that is cheaper than unpacking: of an event that holds scalars only."""
    if name == "event" and (types := _value_types(document)) <= _SCALAR_TYPES:
        try:
            packed = ormsgpack.packb((name, document), default=_extend, option=_SCALARS)
        except Exception:  # noqa: BLE001 - as in `pack`
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
        return _packed(value)
    except Exception:  # noqa: BLE001 - a stranger's object may raise whatever it likes
        return _packed(_plain(value))


def unpack(data: bytes) -> Any:
    """The value that was packed."""
    return ormsgpack.unpackb(data, ext_hook=_restore)


def _packed(value: Any) -> bytes:
    return ormsgpack.packb(value, default=_extend, option=_EXACT)


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
        case bytes():
            return bytes(value)
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
            return _moment(value)
        case datetime.date():
            return ormsgpack.Ext(Extension.DATE, value.isoformat().encode())
        case datetime.time():
            return ormsgpack.Ext(Extension.TIME, value.isoformat().encode())
        case datetime.timedelta():
            return _duration(value)
        case float():
            return float(value)
        case str():
            return safe_text(value)
        case Mapping():
            return dict(value)
        case PurePath():
            return str(value)
        case AbstractSet():
            return list(value)
        case bytearray() | memoryview():
            return bytes(value)
        case _:
            return as_container_or_repr(value)


def _moment(value: datetime.datetime) -> Any:
    text = value.isoformat()
    # pandas knows nanoseconds, and a moment that is none
    exact = _is_moment(text)
    return ormsgpack.Ext(Extension.DATETIME, text.encode()) if exact else text


def _is_moment(text: str) -> bool:
    try:
        return datetime.datetime.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _duration(value: datetime.timedelta) -> Any:
    microseconds = value // datetime.timedelta(microseconds=1)
    if datetime.timedelta(microseconds=microseconds) != value:
        return safe_repr(value)
    return ormsgpack.Ext(Extension.TIMEDELTA, str(microseconds).encode())


_DEEPEST = 100
_ATOMS = frozenset({type(None), bool, int, float, bytes})


def _plain(value: Any, above: frozenset[int] = frozenset()) -> Any:
    """The value with string keys only and no deeper than msgpack allows: the slow way, for what the fast one refused.

    `above`: ids of the containers that it stands in; one of them inside itself would have no end.
    """
    if type(value) in _ATOMS:
        return value
    if id(value) in above:
        return f"<the {type(value).__name__} that this stands in>"
    if len(above) > _DEEPEST:
        return safe_repr(value)
    try:
        return _plain_content(value, above | {id(value)})
    except Exception:  # noqa: BLE001 - as in `as_container_or_repr`
        return safe_repr(value)


def _plain_content(value: Any, here: frozenset[int]) -> Any:
    match value:
        case str():
            return safe_text(value)
        case Enum():
            return _plain(value.value, here)
        case Mapping():
            items = dict(value)
            return {key: _plain(item, here) for key, item in zip(keys_as_texts(items), items.values(), strict=True)}
        case list() | tuple() | AbstractSet() | deque():
            return [_plain(item, here) for item in value]
        case np.ndarray() if value.dtype.hasobject:
            return _plain(value.tolist(), here)
        case _:
            return value if _is_packable(value) else _plain(_extend(value), here)


def _is_packable(value: Any) -> bool:
    try:
        _packed(value)
    except Exception:  # noqa: BLE001 - as in `pack`
        return False
    return True


def _array_bytes(array: npt.NDArray[Any]) -> bytes:
    descr: Any = array.dtype.str
    if array.dtype.names is not None:
        array = _describable(array)
        descr = repr(np.lib.format.dtype_to_descr(array.dtype))
    header = ormsgpack.packb((descr, array.shape))
    # dates, alone or in a structure, have no buffer of their own
    data = np.ascontiguousarray(array).data if array.dtype.kind in "biufc" else array.tobytes()
    return b"".join((len(header).to_bytes(4), header, data))


def _describable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A structured array as numpy can describe it: the fields in the order in which they lie in memory."""
    array = array.view(np.lib.format.drop_metadata(array.dtype))
    try:
        np.lib.format.dtype_to_descr(array.dtype)
    except ValueError:
        packed: npt.NDArray[Any] = repack_fields(array, recurse=True)
        return packed
    return array


def _array(data: bytes) -> npt.NDArray[Any]:
    end = 4 + int.from_bytes(data[:4])
    descr, shape = ormsgpack.unpackb(data[4:end])
    dtype = np.lib.format.descr_to_dtype(ast.literal_eval(descr) if descr.startswith("[") else descr)
    if not dtype.itemsize:
        return np.zeros(shape, dtype)
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
