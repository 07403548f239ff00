"""Values that detectors write to files: data keys whose rows refer to frames, and the files that these are in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DocumentError
from ..foreign import as_text, safe_repr
from ..protocol import EXTERNAL_PLUGIN, REFERENCES, Array
from .columns import declared_dtype

_HDF5 = "application/x-hdf5"
# a reference takes 24 bytes, and one document's are in memory at once
_MOST_FRAMES = 10**7
# they stand in the scan's document, whose size is limited
_MOST_LINKS = 256

Document = Mapping[str, Any]


def is_external(data_key: Document) -> bool:
    """Whether the values are in files: events lack the key, or have the id of a datum for it."""
    return "external" in data_key


@dataclass(slots=True)
class ExternalKey:
    """One data key of a stream that comes by stream_datum: a row of its own for every frame."""

    key: str
    name: str
    """As it may stand in paths and names (`names.escape_keys`)."""
    declared: bool = False
    rows: int = 0


def frame_info(data_key: Document) -> dict[str, Any]:
    """What a blissdata stream's info says of frames in files: plugin, and dtype and shape as far as they are known."""
    dtype = declared_dtype(data_key)
    shape = data_key.get("shape")
    lengths = [length if isinstance(length, int) else -1 for length in shape] if isinstance(shape, list | tuple) else []
    return {
        "plugin": EXTERNAL_PLUGIN,
        "dtype": None if dtype is None else dtype.name,
        "shape": [] if lengths == [1] else lengths,
    }


class Resources:
    """The stream_resources of one run, in the order of their documents."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._files: dict[str, list[Document]] = {}
        self._streams: dict[str, set[str]] = {}
        """uid of a stream_resource → the streams that have frames of it."""
        self._count = 0

    def add(self, resource: Document) -> None:
        """Count a stream_resource. Raises DocumentError when no stream_datum can refer to it."""
        number = self._count
        self._count += 1
        uid, key = resource.get("uid"), resource.get("data_key")
        if not isinstance(uid, str) or not isinstance(key, str):
            raise DocumentError("'uid' or 'data_key' is missing or no string")
        self._numbers[uid] = number
        self._keys[uid] = key
        files = self._files.setdefault(key, [])
        if len(files) <= _MOST_LINKS:
            files.append(resource)

    def key_of(self, datum: Document) -> str:
        """The data key whose frames a stream_datum tells of. Raises DocumentError."""
        uid = as_text(datum.get("stream_resource"))
        if uid not in self._keys:
            raise DocumentError(f"its stream_resource {safe_repr(uid)} is not one of this run's")
        return self._keys[uid]

    def references(self, datum: Document, stream: str) -> Array:
        """A row for each frame that a stream_datum tells of: (frames, 3), `protocol.REFERENCES`.

        Raises DocumentError.
        """
        indices, seq_nums = _range(datum, "indices"), _range(datum, "seq_nums")
        if len(indices) > _MOST_FRAMES:
            raise DocumentError(f"its indices are {len(indices)}; more than {_MOST_FRAMES} are not taken at once")
        if indices:
            self._streams.setdefault(as_text(datum["stream_resource"]), set()).add(stream)
        rows = np.empty((len(indices), 3), REFERENCES.dtype)
        rows[:, 0] = self._numbers[as_text(datum["stream_resource"])]
        rows[:, 1] = np.arange(indices.start, indices.stop)
        # several frames may belong to one event
        rows[:, 2] = seq_nums.start + np.arange(len(indices)) * len(seq_nums) // max(1, len(indices))
        return rows

    def datasets(self, key: str, stream: str) -> list[tuple[str, str]]:
        """URI and path of each HDF5 dataset that has frames of a data key; none when there are too many.

        Without those whose frames are in other streams: the detector's dark frames are none of `primary`.
        """
        files = self._files.get(key, [])
        own = [file for file in files if stream in self._streams.get(file["uid"], {stream})]
        found = [dataset for dataset in map(_dataset, own) if dataset] if len(files) <= _MOST_LINKS else []
        return list(dict.fromkeys(found))


def _dataset(resource: Document) -> tuple[str, str] | None:
    parameters = resource.get("parameters")
    if resource.get("mimetype") != _HDF5 or not isinstance(parameters, Mapping) or parameters.get("template"):
        return None
    uri, path = resource.get("uri"), parameters.get("dataset")
    if not isinstance(uri, str) or not isinstance(path, str) or not path.strip("/") or "\0" in path:
        return None
    return uri, path


def _range(datum: Document, member: str) -> range:
    with suppress(KeyError, TypeError):
        start, stop = datum[member]["start"], datum[member]["stop"]
        if type(start) is int and type(stop) is int and 0 <= start <= stop < 2**62:
            return range(start, stop)
    raise DocumentError(f"{member!r} is no range of integers that begins at 0 or above")
