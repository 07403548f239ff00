"""Every kind of value, every way to declare a data key, and what each reader may make of a value."""

from __future__ import annotations

import base64
import datetime
import enum
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]


class Colour(enum.Enum):
    RED = "red"


class Gain(enum.StrEnum):
    HIGH = "high"


class Mode(enum.IntEnum):
    FAST = 3


class Kind(NamedTuple):
    """What a device gave, what it is kept as, and how JSON spells that."""

    given: Any
    kept: Any
    json: Any


def same(value: Any) -> Kind:
    """A value that is kept as it is, and that JSON knows."""
    return Kind(value, value, value)


def number(scalar: Any, plain: Any) -> Kind:
    """A numpy scalar, which is kept as the number of Python that it is."""
    return Kind(scalar, plain, plain)


def array(value: Array, json: Any = ...) -> Kind:
    """An array, of which JSON has the values."""
    return Kind(value, value, value.tolist() if json is ... else json)


def text(value: Any, json: str) -> Kind:
    """A value that JSON has no type for."""
    return Kind(value, value, json)


def data_uri(value: bytes) -> str:
    return f"data:application/octet-stream;base64,{base64.b64encode(value).decode()}"


NAN, INF = math.nan, math.inf
POINT = [("x", "<f8"), ("n", "<i4")]
POINTS = np.array([(0.5, 1), (NAN, 2)], POINT)
MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, 6, datetime.UTC)
LONG = np.longdouble(1) + np.finfo(np.longdouble).eps
READ_ONLY = np.arange(3.0)
READ_ONLY.flags.writeable = False

KINDS: dict[str, Kind] = {
    "none": same(None),
    "bool": same(True),
    "integer": same(5),
    "negative": same(-3),
    "beyond_f8": same(2**53 + 1),
    "beyond_i8": same(2**63 + 1),
    "beyond_u8": same(2**70),
    "beyond_double": same(10**400),
    "float": same(0.1),
    "whole_float": same(2.0),
    "minus_zero": same(-0.0),
    "nan": same(NAN),
    "inf": same(INF),
    "minus_inf": same(-INF),
    "complex": text(1 + 2j, "(1+2j)"),
    "real_complex": text(2 + 0j, "(2+0j)"),
    "nan_complex": text(complex(NAN, 0.1), "(nan+0.1j)"),
    "text": same("é\0x"),
    "json_text": same('json:{"$type": "float"}'),
    "empty_text": same(""),
    "bytes": text(b"\x00\xff", data_uri(b"\x00\xff")),
    "datetime": text(MOMENT, MOMENT.isoformat()),
    "naive": text(datetime.datetime(2026, 1, 2), "2026-01-02T00:00:00"),
    "date": text(datetime.date(2026, 1, 2), "2026-01-02"),
    "time_of_day": text(datetime.time(3, 4), "03:04:00"),
    "timedelta": text(datetime.timedelta(seconds=5), "0:00:05"),
    "enum": Kind(Colour.RED, "red", "red"),
    "str_enum": Kind(Gain.HIGH, "high", "high"),
    "int_enum": Kind(Mode.FAST, 3, 3),
    "path": Kind(Path("/data"), "/data", "/data"),
    "numbers": same([1, 2, 3]),
    "floats": same([0.5, NAN, -INF]),
    "mixed_numbers": same([2**53 + 1, 0.5, 1]),
    "mixed": same([1, "a", None]),
    "texts": same(["a", "bb", "c"]),
    "nested": same([[1, 2], [3, 4]]),
    "ragged": same([[1], [1, 2]]),
    "empty": same([]),
    "tuple": Kind((1, (2, 3)), [1, [2, 3]], [1, [2, 3]]),
    "mapping": same({"$type": "float", "value": [1, {"a": NAN}]}),
    "spectrum": same([float(i) for i in range(20)]),
    "np_bool": number(np.bool_(True), True),
    **{f"np_{code}": number(np.dtype(code).type(7), 7) for code in ("i1", "i2", "i4", "i8", "u1", "u2", "u4")},
    "np_u8": number(np.uint64(2**64 - 1), 2**64 - 1),
    "np_f2": number(np.float16(0.1), float(np.float16(0.1))),
    "np_f4": number(np.float32(0.1), float(np.float32(0.1))),
    "np_f8": number(np.float64(0.1), 0.1),
    "np_c8": Kind(np.complex64(1 + 2j), 1 + 2j, "(1+2j)"),
    "np_c16": Kind(np.complex128(1 + 2j), 1 + 2j, "(1+2j)"),
    "np_str": number(np.str_("a"), "a"),
    "np_bytes": Kind(np.bytes_(b"a"), b"a", data_uri(b"a")),
    "longdouble": Kind(LONG, np.array(LONG), 1.0),
    "short_longdouble": Kind(np.longdouble(0.5), np.array(0.5, np.longdouble), 0.5),
    "datetime64": Kind(
        np.datetime64("2026-01-02", "ns"), np.array("2026-01-02", "M8[ns]"), "2026-01-02T00:00:00.000000000"
    ),
    "not_a_time": Kind(np.datetime64("NaT"), np.array("NaT", "M8"), "NaT"),
    "timedelta64": Kind(np.timedelta64(5, "ns"), np.array(5, "m8[ns]"), 5),
    "void": Kind(POINTS[0], np.array(POINTS[0]), [0.5, 1]),
    "array_0d": array(np.array(1.5)),
    "array_bool": array(np.array([True, False, True])),
    **{f"array_{code}": array(np.array([1, 2, 3], f"<{code}")) for code in ("i2", "u2", "f4", "f8")},
    "array_u8": array(np.array([2**64 - 1, 0, 1], "<u8")),
    "array_f2": array(np.array([0.1, 1, 2], "<f2")),
    "array_big_endian": array(np.array([1, 2, 3], ">i4")),
    "array_complex": array(np.array([1 + 2j, 0, NAN]), ["(1+2j)", "0j", "(nan+0j)"]),
    "array_longdouble": array(np.array([LONG, 1, 2]), [1.0, 1.0, 2.0]),
    "array_strided": array(np.arange(6.0)[::2]),
    "array_backwards": array(np.arange(3, dtype="<i4")[::-1]),
    "array_fortran": array(np.asfortranarray(np.arange(4, dtype="<u2").reshape(2, 2))),
    "array_read_only": array(READ_ONLY),
    "array_empty": array(np.zeros(0)),
    "array_no_width": array(np.zeros((2, 0), "<u2")),
    "array_image": array(np.array([[1, 2], [3, 4]], "<u2")),
    "array_cube": array(np.zeros((1, 2, 1), "<i8")),
    "array_texts": array(np.array(["a", "bb"])),
    "array_bytes": array(np.array([b"a", b"bb"]), [data_uri(b"a"), data_uri(b"bb")]),
    "array_structured": array(POINTS, [[0.5, 1], [NAN, 2]]),
    "array_datetime64": array(np.array(["2026-01-02", "NaT"], "M8[s]"), ["2026-01-02T00:00:00", "NaT"]),
    "array_masked": Kind(np.ma.masked_array([1, 2, 3], [False, True, False]), [1, None, 3], [1, None, 3]),
    "array_object": Kind(np.array([1, "a", None], object), [1, "a", None], [1, "a", None]),
}

# with the value that such a device would give
DATA_KEYS: dict[str, tuple[dict[str, Any], Kind]] = {
    "number": ({"dtype": "number", "shape": []}, same(0.25)),
    "integer": ({"dtype": "integer", "shape": []}, same(4)),
    "boolean": ({"dtype": "boolean", "shape": []}, same(False)),
    "string": ({"dtype": "string", "shape": []}, same("regular")),
    "choices": ({"dtype": "string", "dtype_numpy": "|S40", "shape": [], "choices": ["red", "high"]}, same("red")),
    "f4": ({"dtype": "number", "dtype_numpy": "<f4", "shape": []}, same(0.25)),
    "i1": ({"dtype": "integer", "dtype_numpy": "|i1", "shape": []}, same(-4)),
    "u8": ({"dtype": "integer", "dtype_numpy": "<u8", "shape": []}, same(2**63 + 5)),
    "c8": ({"dtype": "number", "dtype_numpy": "<c8", "shape": []}, text(0.5 + 1j, "(0.5+1j)")),
    "three": ({"dtype": "array", "dtype_numpy": "<f8", "shape": [3]}, same([0.5, 1.0, 2.0])),
    "open": ({"dtype": "array", "dtype_numpy": "<i4", "shape": [None]}, array(np.array([1, 2], "<i4"))),
    "undeclared": ({"dtype": "array", "shape": [3]}, same([1, 2, 3])),
    "image": ({"dtype": "array", "dtype_numpy": "<u2", "shape": [2, 2]}, array(np.array([[9, 8], [7, 6]], "<u2"))),
    "wide": ({"dtype": "array", "dtype_numpy": ">f4", "shape": [20]}, array(np.arange(20, dtype=">f4"))),
    "complexes": (
        {"dtype": "array", "dtype_numpy": "<c16", "shape": [3]},
        array(np.array([1j, 2, 3]), ["1j", "(2+0j)", "(3+0j)"]),
    ),
    "texts": ({"dtype": "array", "dtype_numpy": "<U4", "shape": [2]}, same(["a", "b"])),
    "points": (
        {"dtype": "array", "dtype_numpy": [list(field) for field in POINT], "shape": [2]},
        array(POINTS, [[0.5, 1], [NAN, 2]]),
    ),
    "wrong_shape": ({"dtype": "integer", "shape": [2, 2]}, same(6)),
}


# an event that has no value
LACKING = Kind(..., ..., ...)


def identical(found: Any, kept: Any) -> bool:
    """The same value of the same type; NaN is itself, and numbers are Python's."""
    match kept:
        case np.ndarray():
            return (
                isinstance(found, np.ndarray)
                and (found.dtype, found.shape) == (kept.dtype, kept.shape)
                # of the bytes of a long double, six say nothing
                and (found.tobytes() == kept.tobytes() or (kept.dtype.char == "g" and np.array_equal(found, kept)))
            )
        case list() | tuple():
            return type(found) is type(kept) and len(found) == len(kept) and all(map(identical, found, kept))
        case dict():
            return type(found) is dict and identical(list(found.items()), list(kept.items()))
        case float() | complex():
            return type(found) is type(kept) and repr(found) == repr(kept)
    return type(found) is type(kept) and bool(found == kept)


def same_number(found: Any, kept: Any) -> bool:
    """The same numbers in the same shape, in whatever type numpy has for them."""
    if isinstance(found, np.ndarray) and isinstance(kept, np.ndarray) and found.shape != kept.shape:
        return False
    one, other = listed(found), listed(kept)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_number, one, other))
    if not is_number(one) or not is_number(other):
        return False
    if isinstance(one, complex) or isinstance(other, complex):
        return same_number(one.real, other.real) and same_number(one.imag, other.imag)
    return bool(one == other) or (one != one and other != other)


def is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex | np.longdouble)


def listed(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def same_json(found: Any, spelled: Any) -> bool:
    """The same JSON, numbers in the same type."""
    match spelled:
        case list():
            return isinstance(found, list) and len(found) == len(spelled) and all(map(same_json, found, spelled))
        case dict():
            return (
                isinstance(found, dict)
                and found.keys() == spelled.keys()
                and all(same_json(found[key], spelled[key]) for key in spelled)
            )
    return identical(found, spelled)


def numbers(spelled: Any) -> Any:
    """The numbers that JSON spells, complex ones as text."""
    if isinstance(spelled, list):
        return list(map(numbers, spelled))
    return complex(spelled) if isinstance(spelled, str) else spelled
