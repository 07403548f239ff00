"""From bytes off the network to a document."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

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

    return msgpack.unpackb(data, object_hook=_numpy_value, strict_map_key=False)


def _numpy_value(members: dict[Any, Any]) -> Any:
    # msgpack-numpy would unpickle it
    if members.get(b"kind") == b"O":
        raise ValueError("it holds an array of objects, which is not made here; publish a list in its place")
    import msgpack_numpy  # type: ignore[import-untyped]

    return msgpack_numpy.decode(members)


_DESERIALIZERS: Mapping[Serializer, Deserializer] = {
    Serializer.PICKLE: unpickle,
    Serializer.MSGPACK: _unpack,
    Serializer.JSON: json.loads,
    Serializer.UNSAFE_PICKLE: pickle.loads,
}
