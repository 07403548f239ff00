"""The plot that a stream opens with: which column against which, as an NXdata group of blissdata's h5map."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from ..protocol import NumericEncoding
from .columns import Column
from .streams import MappedStream, Place, has_dataset, mapping_or_empty, row_shape, sequence_or_empty

# what silx draws as a scatter: two axes in a plane, three in space
_MOST_AXES = 3
_TIME = "time"


def dimensions(start: Mapping[str, Any]) -> list[tuple[list[str], str]]:
    """The scan's dimensions as its plan states them: fields that move together, and the stream that has them."""
    given = sequence_or_empty(mapping_or_empty(start.get("hints")).get("dimensions"))
    pairs = [pair for pair in given if isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[1], str)]
    return [([field for field in sequence_or_empty(fields) if isinstance(field, str)], name) for fields, name in pairs]


def plot(start: Mapping[str, Any], stream: MappedStream, place: Place) -> dict[str, Any] | None:
    """The NXdata group of a declared stream, all of soft links; None when the stream has no column to draw."""
    fields = _axes(start, stream, place)
    signal = _signal(stream, {*chain.from_iterable(fields), *place.positioners})
    if signal is None:
        return None
    rank = len(row_shape(signal.encoding))
    moved = [column for column in (_first(stream, dimension) for dimension in fields) if column and column != signal]
    if rank and len(moved) > 1:
        # spectra and images have one axis along their rows, for which no motor of a grid will do
        moved = []
    axes = {column.name: place.data(column) for column in moved[-_MOST_AXES:]} or {_TIME: place.companion(_TIME)}
    links = {signal.name: place.data(signal), **axes}
    return {
        "type": "group",
        "attributes": {
            "NX_class": "NXdata",
            "signal": signal.name,
            "axes": [*axes, *["."] * rank],
            **{f"{name}_indices": 0 for name in axes},
        },
        "children": {name: {"type": "soft_link", "target_path": path} for name, path in links.items()},
    }


def _axes(start: Mapping[str, Any], stream: MappedStream, place: Place) -> list[list[str]]:
    """The fields of each of the stream's dimensions; of a plan that states none, its motors in one."""
    stated = dimensions(start)
    if stated or stream.auxiliary:
        return [fields for fields, name in stated if name == stream.name]
    return [[key for key in (*hinted(stream.descriptors[0]), *stream.keys) if key in place.positioners]]


def _signal(stream: MappedStream, axes: set[str]) -> Column | None:
    """The first hinted column that is no axis; without hints the first of all; an axis where there is nothing else."""
    first, keys = [*hinted(stream.descriptors[0])], stream.keys
    ranked = chain(*([key for key in given if key not in axes] for given in (first, keys)), first, keys)
    return _first(stream, ranked, scalar=False)


def hinted(descriptor: Mapping[str, Any]) -> Iterator[str]:
    """The data keys that a descriptor's devices want to be drawn."""
    for hints in mapping_or_empty(descriptor.get("hints")).values():
        fields = sequence_or_empty(mapping_or_empty(hints).get("fields"))
        yield from (field for field in fields if isinstance(field, str))


def _first(stream: MappedStream, keys: Iterable[str], *, scalar: bool = True) -> Column | None:
    columns = (stream.columns[key] for key in keys if key in stream.columns)
    return next(
        (column for column in columns if _is_drawn(column) and not (scalar and row_shape(column.encoding))), None
    )


def _is_drawn(column: Column) -> bool:
    # silx draws neither booleans nor a column that the file lacks; of complex numbers it needs to be told which part
    encoding = column.encoding
    return isinstance(encoding, NumericEncoding) and encoding.dtype.kind in "iuf" and has_dataset(column.name, encoding)
