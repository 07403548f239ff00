"""JSON that holds every value exactly: `{"$type": …}` stands for what JSON lacks."""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import packing

_TAG = "$type"
# numpy scalars that a Python scalar holds exactly
_BUILTIN_CODES = frozenset("?bBhHiIlLqQefdFD")
# Python writes and reads integers of at most 4300 digits as text
_MOST_BITS = 10_000


class Missing:
    """The value of a data key that an event did not bring."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


def dump_json(value: Any) -> bytes:
    """Compact JSON of any value, exactly, with `{"$type": …}` for what JSON lacks."""
    return json.dumps(tag(value), separators=(",", ":"), allow_nan=False).encode()


def load_json(data: bytes | str) -> Any:
    """The value given to `dump_json`."""
    return json.loads(data, object_hook=_untag)


def tag(value: Any) -> Any:
    """A value in JSON's own types: complex, bytes, NaN, ±inf, dates, arrays and MISSING become tagged objects."""
    match value:
        case None | bool() | str():
            return value
        case np.generic() if value.dtype.char in _BUILTIN_CODES:
            return tag(value.item())
        case int() if value.bit_length() <= _MOST_BITS:
            return value
        case float():
            return float(value) if math.isfinite(value) else _tagged("float", repr(float(value)))
        case list() | tuple():
            return [tag(item) for item in value]
        case Mapping():
            plain = {str(key): tag(item) for key, item in value.items()}
            return _tagged("object", list(plain.items())) if _TAG in plain else plain
        case bytes():
            return _tagged("bytes", _base64(value))
        case np.ndarray() | np.generic():
            return _tagged("array", _base64(packing.pack(np.asarray(value))))
        case complex():
            return _tagged("complex", [repr(value.real), repr(value.imag)])
        case datetime.datetime():
            return _tagged("datetime", value.isoformat())
        case Missing():
            return _tagged("missing", None)
        case _:
            return _tagged("packed", _base64(packing.pack(value)))


def _tagged(kind: str, value: Any) -> dict[str, Any]:
    return {_TAG: kind, "value": value}


def _untag(item: dict[str, Any]) -> Any:
    value = item.get("value")
    match item.get(_TAG):
        case None:
            return item
        case "float":
            return float(value)  # type: ignore[arg-type]
        case "complex":
            return complex(float(value[0]), float(value[1]))  # type: ignore[index]
        case "bytes":
            return base64.b64decode(value)  # type: ignore[arg-type]
        case "datetime":
            return datetime.datetime.fromisoformat(value)  # type: ignore[arg-type]
        case "array" | "packed":
            return packing.unpack(base64.b64decode(value))  # type: ignore[arg-type]
        case "object":
            return dict(value)  # type: ignore[arg-type]
        case "missing":
            return MISSING
        case unknown:
            raise ValueError(f"unknown tag {unknown!r}")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
