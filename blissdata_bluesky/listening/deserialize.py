"""From bytes off the network to a document."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np

from . import arrays
from .bounds import require_bounded
from .harmless_pickle import unpickle

Deserializer: TypeAlias = Callable[[bytes], Any]


class Serializer(StrEnum):
    """How documents are written on the wire."""

    PICKLE = "pickle"
    """bluesky's default. Only plain values are made of it, and no code of the sender's is run."""
    MSGPACK = "msgpack"
    """As msgpack writes it, with msgpack-numpy's arrays."""
    JSON = "json"
    UNSAFE_PICKLE = "unsafe-pickle"
    """Any pickle: who can publish to the proxy can run any code as the user who listens."""


def deserializer(serializer: Serializer) -> Deserializer:
    """The function that makes a document of bytes. It raises whatever it likes for those that are none."""
    return _DESERIALIZERS[serializer]


def _unpack(data: bytes) -> Any:
    import msgpack  # type: ignore[import-untyped]

    value = msgpack.unpackb(data, object_hook=_numpy_value, strict_map_key=False)
    require_bounded([value], len(data))
    return value


def _numpy_value(members: dict[Any, Any]) -> Any:
    """What msgpack-numpy wrote; its own reading unpickles, and makes objects of bytes."""
    if b"complex" in members:
        return complex(str(members.get(b"data")))
    dtype, data = members.get(b"type"), members.get(b"data")
    if b"nd" not in members or dtype is None:
        return members
    if members.get(b"kind") == b"O":
        raise ValueError("it holds an array of objects, which is not made here; publish a list in its place")
    if members[b"nd"] is True:
        return arrays.array(data, _dtype(dtype), members.get(b"shape"))
    return arrays.scalar(data, _dtype(dtype))


def _dtype(description: Any) -> np.dtype[Any]:
    """Of a code, or of a list of fields (`numpy.dtype.descr`): name, code or fields, and sometimes a shape."""
    if not isinstance(description, list):
        return arrays.simple_dtype(description)
    fields, offset = [], 0
    for name, code, *shape in description:
        dtype = arrays.subarray_dtype(_dtype(code), shape[0]) if shape else _dtype(code)
        # numpy's way to tell of bytes between fields
        if name:
            fields.append(arrays.Field(name, dtype, offset))
        offset += dtype.itemsize
    return arrays.structured_dtype(fields, offset)


def _load_json(data: bytes) -> Any:
    value = json.loads(data)
    require_bounded([value], len(data))
    return value


_DESERIALIZERS: Mapping[Serializer, Deserializer] = {
    Serializer.PICKLE: unpickle,
    Serializer.MSGPACK: _unpack,
    Serializer.JSON: _load_json,
    Serializer.UNSAFE_PICKLE: pickle.loads,
}
