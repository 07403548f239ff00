"""One Bluesky stream while it is mapped: its descriptors, its columns once they are settled, its rows so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .. import protocol
from ..errors import DocumentError
from ..names import escape_keys
from ..protocol import MISSING, REFERENCES, JsonEncoding, NumericEncoding
from .columns import Column, expected_encoding, is_certain, is_external_stream, settled_encoding
from .external import ExternalKey, frame_info, is_external
from .operations import StreamDeclaration

_TIME = NumericEncoding(np.dtype("<f8"))
_SEQ_NUM = NumericEncoding(np.dtype("<i8"))
IRREGULAR = "irregular"

# HDF5 has no more dimensions, of which the rows are one
_MOST_DIMENSIONS = 31
# attributes are named after keys, and all attributes of a group share 64 kB
_LONGEST_NAME = 1000


def mapping_or_empty(value: Any) -> Mapping[str, Any]:
    """The value, when it is a mapping; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def sequence_or_empty(value: Any) -> Sequence[Any]:
    """The value, when it is a list or tuple; else an empty one."""
    return value if isinstance(value, list | tuple) else []


@dataclass(frozen=True, slots=True)
class Place:
    """Where the run's file has one Bluesky stream."""

    file: str
    """Absolute path."""
    entry: str
    """Name of the NXentry, `3.1`."""
    positioners: frozenset[str] = frozenset()
    """Data keys that say where a motor is."""

    def companion(self, name: str) -> str:
        """Path of a companion's dataset."""
        return f"/{self.entry}/measurement/{name}"

    def data(self, column: Column) -> str:
        """Path of a data key's dataset."""
        return f"/{self.entry}/instrument/{column.name}/{'value' if self.is_positioner(column) else 'data'}"

    def references(self, external: ExternalKey) -> str:
        """Path of the dataset that says in which file each frame is."""
        return f"/{self.entry}/instrument/{external.name}/references"

    def is_positioner(self, column: Column) -> bool:
        """Whether NeXus calls it a positioner, which has a number per row."""
        return column.key in self.positioners and not row_shape(column.encoding)


def row_shape(encoding: protocol.Encoding) -> tuple[int, ...]:
    """Shape of one row; () for a JSON value."""
    return encoding.shape if isinstance(encoding, NumericEncoding) else ()


def has_dataset(name: str, encoding: protocol.Encoding) -> bool:
    """Whether a data stream is a dataset of the layout: it has to have rows of one shape.

    A JSON stream makes blisswriter fail; ragged rows, to which those of shape (0,) belong, it would fill up.
    """
    return is_array(encoding) and is_text(name) and len(name.encode()) <= _LONGEST_NAME


def is_array(encoding: protocol.Encoding) -> bool:
    """Whether HDF5 can hold all rows as one array (rows, *shape)."""
    if not isinstance(encoding, NumericEncoding) or encoding.ragged:
        return False
    return len(encoding.shape) <= _MOST_DIMENSIONS


def is_text(name: str) -> bool:
    """Whether HDF5 can hold it: not with a lone surrogate."""
    return not any("\ud800" <= char <= "\udfff" for char in name)


@dataclass(slots=True)
class MappedStream:
    """The state of one stream. `columns` is empty until the stream is declared."""

    name: str
    descriptors: list[Mapping[str, Any]]
    keys: list[str]
    """Those that events have."""
    external: dict[str, ExternalKey] = field(default_factory=dict)
    """Those that come by stream_datum."""
    position: int = 0
    """Among the streams, in the order of their first descriptors."""
    place: Place | None = None
    """None when the run has no file."""
    current: str = ""
    """The uid of the descriptor that the next rows have, unless another one is given before."""
    columns: dict[str, Column] = field(default_factory=dict)
    first: Mapping[str, Any] = field(default_factory=dict)
    """The numbers of the first event."""
    declared: bool = False
    late: bool = False
    """Whether it was declared when the scan was PREPARED already."""
    rows: int = 0
    irregular_rows: int = 0

    @classmethod
    def from_descriptor(
        cls, descriptor: Mapping[str, Any], position: int = 0, place: Place | None = None
    ) -> MappedStream:
        """A stream with its first descriptor, checked by `check_descriptor`."""
        data_keys = descriptor["data_keys"]
        names = escape_keys(data_keys)
        external = {
            key: ExternalKey(key, names[key]) for key, data_key in data_keys.items() if is_external_stream(data_key)
        }
        keys = [key for key in data_keys if key not in external]
        return cls(descriptor["name"], [descriptor], keys, external, position, place, descriptor["uid"])

    @property
    def auxiliary(self) -> bool:
        """Whether its first event says nothing about when the measurement begins (DESIGN 8)."""
        return is_auxiliary(self.name)

    @property
    def owners(self) -> dict[str, str]:
        """Data key → the device that it belongs to."""
        return owners(self.descriptors[0])

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

    @property
    def has_rows(self) -> bool:
        """Whether anything has been measured."""
        return self.rows > 0 or any(external.rows for external in self.external.values())

    def reference_name(self, external: ExternalKey) -> str:
        """blissdata's name of the references to a data key's frames."""
        return protocol.stream_name(self.name, external.name)

    def companion_name(self, name: str) -> str:
        """blissdata's name of a companion stream."""
        return protocol.stream_name(self.name, name)

    @property
    def datasets(self) -> dict[str, str]:
        """Path of each dataset that the layout has for rows of the stream's events, and blissdata's name of its stream."""
        if self.place is None:
            return {}
        found = {self.place.companion(name): self.companion_name(name) for name in self.companions}
        return found | {
            self.place.data(column): self.stream_name(key)
            for key, column in self.columns.items()
            if has_dataset(column.name, column.encoding)
        }

    def column_name(self, name: str) -> str:
        """The name of a data stream within this one."""
        return name.removeprefix(protocol.stream_name(self.name, ""))

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
        companions = [self._companion(name, encoding) for name, encoding in self.companions.items()]
        return (*companions, *map(self._data, self.columns.values()), *self.declare_external())

    def declare_external(self) -> tuple[StreamDeclaration, ...]:
        """The streams of references, those that are declared already left out."""
        new = [external for external in self.external.values() if not external.declared]
        for external in new:
            external.declared = True
        return tuple(map(self._references, new))

    def declare_irregular(self) -> StreamDeclaration:
        """The stream of values that the columns cannot hold."""
        return self._declaration(IRREGULAR, JsonEncoding(), {})

    def _companion(self, name: str, encoding: NumericEncoding) -> StreamDeclaration:
        return self._declaration(name, encoding, {}, self.place.companion(name) if self.place else None)

    def _data(self, column: Column) -> StreamDeclaration:
        path = self.place.data(column) if self.place and has_dataset(column.name, column.encoding) else None
        if is_external(self._data_key(column.key)) and isinstance(column.encoding, JsonEncoding):
            return self._frames(column.key, column.name, column.encoding, None)
        return self._declaration(column.name, column.encoding, {"key": column.key}, path)

    def _references(self, external: ExternalKey) -> StreamDeclaration:
        path = self.place.references(external) if self.place and has_dataset(external.name, REFERENCES) else None
        return self._frames(external.key, external.name, REFERENCES, path)

    def _frames(self, key: str, name: str, encoding: protocol.Encoding, path: str | None) -> StreamDeclaration:
        origin = {"key": key, "external": True, "uid": self.descriptors[0]["run_start"]}
        declaration = self._declaration(name, encoding, origin, path)
        return replace(declaration, info={**declaration.info, **frame_info(self._data_key(key))})

    def _data_key(self, key: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.descriptors[0]["data_keys"][key]
        return found

    def _declaration(
        self, name: str, encoding: protocol.Encoding, origin: Mapping[str, Any], path: str | None = None
    ) -> StreamDeclaration:
        info = {**encoding.stream_info(), "bluesky": {"stream": self.name, **origin}}
        if self.place and path:
            # blissdata's readers take rows that Redis has let go of from there (blissdata.streams.hdf5_fallback)
            info |= {"plugin": "hdf5_fallback", "file_path": self.place.file, "data_path": path, "save": True}
        return StreamDeclaration(protocol.stream_name(self.name, name), encoding, info)


def is_auxiliary(name: str) -> bool:
    """Whether a stream of this name surrounds the measurement."""
    return name in {"baseline", "interruptions"} or name.endswith("_monitor")


def owners(descriptor: Mapping[str, Any]) -> dict[str, str]:
    """Data key → the device that it belongs to."""
    return {
        key: device
        for device, keys in mapping_or_empty(descriptor.get("object_keys")).items()
        for key in sequence_or_empty(keys)
        if isinstance(key, str)
    }


def check_descriptor(descriptor: Mapping[str, Any]) -> None:
    """Raise DocumentError, saying which member is wrong, for a descriptor that no stream can be made of."""
    for member in ("uid", "name", "run_start"):
        if not isinstance(descriptor.get(member), str):
            raise DocumentError(f"{member!r} is missing or no string")
    data_keys = descriptor.get("data_keys")
    if not isinstance(data_keys, dict) or not all(isinstance(item, dict) for item in data_keys.values()):
        raise DocumentError("'data_keys' is missing or not a mapping of mappings")
