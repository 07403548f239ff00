"""Metadata as JSON that SQLite, PostgreSQL, msgpack and every Tiled client take."""

from __future__ import annotations

import base64
import datetime
import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, TypeAlias

import numpy as np

from ..foreign import in_64_bits, integer_text

Json: TypeAlias = dict[str, "Json"] | list["Json"] | str | int | float | bool | None

# databases and the JSON writer refuse to recurse for ever
_DEEPEST = 100


def clean(value: Any, depth: int = 0) -> Json:
    """`value` in JSON's own types, never an error.

    NaN and ±inf become None, as everywhere in JSON; integers beyond 64 bits, complex numbers and unknown objects
    become text; bytes a data URI, as Tiled writes them; arrays, tuples and sets lists; keys strings; dates ISO 8601.
    """
    match value:
        case None | bool():
            return value
        case str():
            return _text(value)
        case int():
            return int(value) if in_64_bits(value) else integer_text(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case _ if depth >= _DEEPEST:
            return _text(repr(value))
        case Mapping():
            return {_text(str(key)): clean(item, depth + 1) for key, item in value.items()}
        case list() | tuple() | AbstractSet():
            return [clean(item, depth + 1) for item in value]
        case np.ndarray() | np.generic() if value.dtype.kind == "M":
            return clean(value.astype(str).tolist(), depth + 1)
        case np.ndarray() | np.generic() if not isinstance(value.tolist(), type(value)):
            return clean(value.tolist(), depth + 1)
        case bytes() | bytearray():
            return f"data:application/octet-stream;base64,{base64.b64encode(value).decode()}"
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return _text(str(value))


def clean_mapping(value: Mapping[str, Any]) -> dict[str, Any]:
    """The same of a document."""
    return {_text(str(key)): clean(item, 1) for key, item in value.items()}


def _text(value: str) -> str:
    # PostgreSQL takes no NUL, and nobody takes a lone surrogate
    return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
