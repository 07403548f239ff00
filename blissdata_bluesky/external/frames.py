"""The frames of one data key, read from the files that its references lead to."""

from __future__ import annotations

import copy
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from event_model import DatumPage, unpack_datum_page

from ..errors import ExternalDataError, ExternalFormatError, ExternalMissingError, ExternalNotReadyError
from ..foreign import as_text
from . import hdf5, sequences, zarr_arrays
from .kinds import Array, FrameKind, frame_kind
from .resources import HDF5, JPEG, NPY, TIFF, ZARR, Datum, Resource, datum, resource, stream_resource
from .roots import Roots

Document = Mapping[str, Any]
Parsed = TypeVar("Parsed")
Reader = Callable[[Resource, FrameKind, Sequence[int], Roots, Array], None]

# each writes the frames with these indices into an array (n, *shape)
_READERS: dict[str, Reader] = {
    HDF5: hdf5.read,
    TIFF: sequences.read,
    JPEG: sequences.read,
    NPY: sequences.read,
    ZARR: zarr_arrays.read,
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the data of one reference is."""

    resource: Resource
    index: int


@dataclass(frozen=True, slots=True)
class _Streamed:
    """A stream_resource of the data key, or why it cannot be read."""

    resource: Resource | ExternalFormatError
    begins: int
    """Its first index, if its indices run on from those of the resources before: bluesky-tiled-plugins wants it so of
    sequences of files."""
    uid: str


class Frames:
    """The frames of one data key of one Bluesky stream of one run. Thread-safe.

    `about` begins every message, as in "run <uid>, stream 'primary', key 'cam'"; `descriptor` is the stream's. No file
    is open between two calls: a file is read as it is at that time.
    """

    def __init__(self, about: str, key: str, descriptor: Document, roots: Roots) -> None:
        self._about = about
        self._key = key
        self._data_key = copy.deepcopy(dict(descriptor["data_keys"][key]))
        self._roots = roots
        self._lock = threading.Lock()
        self._streamed: list[_Streamed | None] = []
        self._places: set[tuple[str, ...]] = set()
        self._resources: dict[str, Resource | ExternalFormatError] = {}
        self._datums: dict[str, Datum | ExternalFormatError] = {}
        self._channels: dict[tuple[str, int | None], Resource] = {}
        self._counts: Counter[str] = Counter()
        self._stream = descriptor.get("name")
        self._descriptors = {str(descriptor.get("uid"))}
        self._lowest: dict[str, float] = {}
        """uid of each stream_resource of the key → the first of its indices, whichever stream they belong to."""
        self._announced = 0

    def take(self, name: str, document: Document) -> None:
        """Every stream_resource, stream_datum, resource, datum and datum_page of the run, in order.

        Documents of other types and of other data keys may be among them. What is wrong with a document is said when
        somebody reads what it leads to.
        """
        with self._lock:
            match name:
                case "stream_resource":
                    self._streamed.append(self._stream_resource(document))
                case "descriptor" if document.get("name") == self._stream:
                    self._descriptors.add(as_text(document.get("uid")))
                case "stream_datum" if as_text(document.get("stream_resource")) in self._lowest:
                    self._take_stream_datum(document)
                case "resource":
                    self._resources[as_text(document.get("uid"))] = _tried(resource, document)
                case "datum":
                    self._take_datum(document)
                case "datum_page":
                    with suppress(KeyError, TypeError, ValueError, AttributeError):
                        for unpacked in unpack_datum_page(cast("DatumPage", document)):
                            self._take_datum(unpacked)

    def allow(self, roots: Roots) -> None:
        """Read below these roots from now on."""
        self._roots = roots

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of one reference's data. Raises ExternalFormatError when the documents do not say it."""
        return self._kind().dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one reference's data, as bluesky-tiled-plugins has it (`datum_shape`). Raises ExternalFormatError."""
        return self._kind().shape

    @property
    def joined(self) -> bool:
        """Whether frames follow each other along their first axis, so that all are (rows * shape[0], *shape[1:])."""
        return self._kind().joined

    def read(self, references: Array | Sequence[Any]) -> Array:
        """The data of references, in their order: (n, *shape) of `dtype`.

        References are rows of resource, index and seq_num, an (n, 3) array of integers, or what events have in the place
        of a datum's id: what is no text gives a blank, NaN or 0. Only the files that these refer to are opened.

        Raises children of ExternalDataError: ExternalRefusedError, ExternalMissingError, ExternalNotReadyError (it may be
        there later), ExternalFormatError.
        """
        kind = self._kind()
        with self._told():
            with self._lock:
                rows = _rows(references)
                places = {row: self._place(reference) for row, reference in enumerate(rows) if reference is not None}
            frames = _empty(len(rows), kind)
            if len(places) < len(rows):
                frames[...] = np.nan if kind.dtype.kind in "fc" else np.zeros((), kind.dtype)
            for where, positions in _by_resource(places):
                self._read(where, kind, [places[position].index for position in positions], frames, positions)
        return frames

    def _read(self, where: Resource, kind: FrameKind, indices: list[int], frames: Array, positions: list[int]) -> None:
        reader = _reader(where)
        if min(indices) < 0:
            raise ExternalFormatError(f"{where.uri}: there is no frame {min(indices)}")
        kind.require_same(frame_kind(self._data_key, where.parameters), where.uri)
        first, last = positions[0], positions[-1]
        if last - first + 1 == len(positions):
            reader(where, kind, indices, self._roots, frames[first : last + 1])
        else:
            part = _empty(len(positions), kind)
            reader(where, kind, indices, self._roots, part)
            frames[positions] = part

    def _kind(self) -> FrameKind:
        """The kind of the first stream_resource, which the others must have too."""
        with self._lock:
            known = (streamed.resource for streamed in self._streamed if streamed is not None)
            first = next((known for known in known if isinstance(known, Resource)), None)
        with self._told():
            return frame_kind(self._data_key, first.parameters if first is not None else {})

    def _place(self, reference: Any) -> _Place:
        return self._datum_place(reference) if isinstance(reference, str) else self._streamed_place(*reference)

    def _streamed_place(self, number: int, index: int, seq_num: int) -> _Place:
        if not 0 <= number < len(self._streamed):
            raise ExternalNotReadyError(f"stream_resource number {number} has not come yet: try again")
        streamed = self._streamed[number]
        if streamed is None:
            raise ExternalFormatError(
                f"stream_resource number {number} is another data key's: the run's rows are damaged"
            )
        # indices that begin anew in each resource stay behind the seq_nums
        runs_on = 0 < streamed.begins == self._lowest[streamed.uid] and index >= seq_num - 1
        return _Place(_sound(streamed.resource), index - streamed.begins if runs_on else index)

    def _datum_place(self, datum_id: str) -> _Place:
        found = self._datums.get(datum_id)
        if found is None:
            raise ExternalMissingError(f"the run has no datum {datum_id!r}, so nobody can say where its frame is")
        known = _sound(found)
        if known.resource not in self._resources:
            raise ExternalMissingError(f"the run has no resource {known.resource!r}, of which datum {datum_id!r} tells")
        one = (known.resource, known.channel)
        if one not in self._channels:
            self._channels[one] = _sound(self._resources[known.resource]).of_channel(known.channel)
        return _Place(self._channels[one], known.index)

    def _stream_resource(self, document: Document) -> _Streamed | None:
        if document.get("data_key") != self._key:
            return None
        uid = as_text(document.get("uid"))
        self._lowest.setdefault(uid, math.inf)
        new = _tried(stream_resource, document)
        if not isinstance(new, Resource):
            return _Streamed(new, 0, uid)
        # whatever else they say: in one dataset, indices mean the same
        place = (new.mimetype, new.uri, *(repr(new.parameters.get(name)) for name in ("dataset", "template")))
        begins = 0 if place in self._places else self._announced
        self._places.add(place)
        return _Streamed(new, begins, uid)

    def _take_stream_datum(self, document: Document) -> None:
        uid, indices = as_text(document["stream_resource"]), document.get("indices")
        if not isinstance(indices, Mapping) or not all(type(indices.get(end)) is int for end in ("start", "stop")):
            return
        if indices["start"] >= indices["stop"]:
            return
        self._lowest[uid] = min(self._lowest[uid], indices["start"])
        if as_text(document.get("descriptor")) in self._descriptors:
            # frames of the same detector in other streams are no rows of this one
            self._announced += indices["stop"] - indices["start"]

    def _take_datum(self, document: Document) -> None:
        uid = as_text(document.get("resource"))
        self._datums[as_text(document.get("datum_id"))] = _tried(
            lambda given: datum(given, self._counts[uid]), document
        )
        self._counts[uid] += 1

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Errors begin with what this is about."""
        try:
            yield
        except ExternalDataError as error:
            raise type(error)(f"{self._about}: {error}") from error
        except Exception as error:
            raise ExternalFormatError(f"{self._about}: {_not_understood(error)}") from error


def _reader(resource: Resource) -> Reader:
    if resource.mimetype not in _READERS:
        raise ExternalFormatError(
            f"{resource.uri}: files of type {resource.mimetype!r} cannot be read here; the known are {', '.join(_READERS)}"
        )
    is_sequence = resource.mimetype == HDF5 and resource.parameters.get("template")
    return sequences.read if is_sequence else _READERS[resource.mimetype]


def _rows(references: Array | Sequence[Any]) -> list[Any]:
    if not isinstance(references, np.ndarray) or references.dtype.kind in "OUT":
        return [str(reference) if isinstance(reference, str) else None for reference in references]
    if references.ndim != 2 or references.shape[1] != 3 or references.dtype.kind not in "iu":
        raise ExternalFormatError(f"references are rows of three integers, not {references.dtype} {references.shape}")
    rows: list[list[int]] = references.tolist()
    return rows


def _by_resource(places: Mapping[int, _Place]) -> Iterator[tuple[Resource, list[int]]]:
    """The resources, and which of the places are in each."""
    found: dict[int, tuple[Resource, list[int]]] = {}
    for position, place in places.items():
        found.setdefault(id(place.resource), (place.resource, []))[1].append(position)
    yield from found.values()


def _empty(rows: int, kind: FrameKind) -> Array:
    try:
        return np.empty((rows, *kind.shape), kind.dtype)
    except (MemoryError, ValueError):
        raise ExternalFormatError(
            f"{rows} frames of shape {kind.shape} are too large to be read at once: read fewer"
        ) from None


def _tried(parse: Callable[[Document], Parsed], document: Document) -> Parsed | ExternalFormatError:
    try:
        return parse(document)
    except ExternalFormatError as error:
        return error
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return ExternalFormatError(_not_understood(error))


def _not_understood(error: Exception) -> str:
    return f"the documents of its files are damaged ({type(error).__name__}: {error}): mend the device that makes them"


def _sound(known: Parsed | ExternalFormatError) -> Parsed:
    if isinstance(known, ExternalFormatError):
        raise ExternalFormatError(str(known))
    return known
