"""One Bluesky stream while it is mapped: its descriptors, its columns once they are settled, its rows so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import protocol
from ..errors import DocumentError
from ..names import escape_keys
from ..protocol import MISSING, JsonEncoding, NumericEncoding
from .columns import Column, expected_encoding, is_certain, is_external_stream, settled_encoding
from .operations import StreamDeclaration

_TIME = NumericEncoding(np.dtype("<f8"))
_SEQ_NUM = NumericEncoding(np.dtype("<i8"))
IRREGULAR = "irregular"


@dataclass(slots=True)
class MappedStream:
    """The state of one stream. `columns` is empty until the stream is declared."""

    name: str
    descriptors: list[Mapping[str, Any]]
    keys: list[str]
    columns: dict[str, Column] = field(default_factory=dict)
    declared: bool = False
    rows: int = 0
    irregular_rows: int = 0
    warned: set[str] = field(default_factory=set)

    @classmethod
    def from_descriptor(cls, descriptor: Mapping[str, Any]) -> MappedStream:
        """A stream with its first descriptor, checked by `check_descriptor`."""
        data_keys = descriptor["data_keys"]
        keys = [key for key, data_key in data_keys.items() if not is_external_stream(data_key)]
        return cls(descriptor["name"], [descriptor], keys)

    @property
    def auxiliary(self) -> bool:
        """Whether its first event says nothing about when the measurement begins (DESIGN 8)."""
        return self.name in {"baseline", "interruptions"} or self.name.endswith("_monitor")

    @property
    def certain(self) -> bool:
        """Whether its columns can be declared before an event came."""
        return all(is_certain(self.descriptors[0]["data_keys"][key]) for key in self.keys)

    @property
    def companions(self) -> dict[str, NumericEncoding]:
        """What every row has beside its data."""
        companions = {"time": _TIME, "seq_num": _SEQ_NUM}
        if self.keys:
            companions["timestamps"] = NumericEncoding(np.dtype("<f8"), (len(self.keys),))
        return companions

    def companion_name(self, name: str) -> str:
        """blissdata's name of a companion stream."""
        return protocol.stream_name(self.name, name)

    def stream_name(self, key: str) -> str:
        """blissdata's name of a data key's stream."""
        return protocol.stream_name(self.name, self.columns[key].name)

    def declare(self, first: Mapping[str, Any] | None) -> tuple[StreamDeclaration, ...]:
        """Settle the columns by the first event's data, or without one by the descriptor alone."""
        data_keys = self.descriptors[0]["data_keys"]
        names = escape_keys(self.keys)
        for key in self.keys:
            value = MISSING if first is None else first.get(key, MISSING)
            known = value is not MISSING
            encoding = settled_encoding(data_keys[key], value) if known else expected_encoding(data_keys[key])
            self.columns[key] = Column(key, names[key], encoding)
        self.declared = True
        companions = [self._declaration(name, encoding, None) for name, encoding in self.companions.items()]
        return (*companions, *(self._declaration(c.name, c.encoding, c.key) for c in self.columns.values()))

    def declare_irregular(self) -> StreamDeclaration:
        """The stream of values that the columns cannot hold."""
        return self._declaration(IRREGULAR, JsonEncoding(), None)

    def _declaration(self, name: str, encoding: protocol.Encoding, key: str | None) -> StreamDeclaration:
        origin = {"stream": self.name} if key is None else {"stream": self.name, "key": key}
        info = {**encoding.stream_info(), "bluesky": origin}
        return StreamDeclaration(protocol.stream_name(self.name, name), encoding, info)


def check_descriptor(descriptor: Mapping[str, Any]) -> None:
    """Raise DocumentError, saying which member is wrong, for a descriptor that no stream can be made of."""
    for member in ("uid", "name", "run_start"):
        if not isinstance(descriptor.get(member), str):
            raise DocumentError(f"{member!r} is missing or no string")
    data_keys = descriptor.get("data_keys")
    if not isinstance(data_keys, dict) or not all(isinstance(item, dict) for item in data_keys.values()):
        raise DocumentError("'data_keys' is missing or not a mapping of mappings")
