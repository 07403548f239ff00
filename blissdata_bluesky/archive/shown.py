"""What people look for beside the columns: each key's timestamps, and strings, as datasets of their own.

They are made when all rows are there, and nothing of this package reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import h5py
import numpy as np

from ..protocol import Array, encoding_from_json, has_references, stream_name
from .chunks import copy_rows
from .format import SHAPES, VALUES, is_text

# longer texts are not shown: the shortest one would take as much room
_LONGEST_TEXT = 1024
_TEXTS_AT_ONCE = 8192


class _Key(NamedTuple):
    """A data key of a stream."""

    prefix: str
    """Of the stream's columns, `primary:`."""
    name: str
    """Of the column, without it."""
    model: Mapping[str, Any]


def show_columns(file: h5py.File, streams: Mapping[str, Mapping[str, Any]], paths: Mapping[str, str]) -> None:
    """Make these datasets beside each stream's times, in a file that lacks them."""
    positions: dict[str, int] = {}
    for key in _keys(streams):
        position = positions.setdefault(key.prefix, 0)
        positions[key.prefix] += 1
        timestamps = file[paths[f"{key.prefix}timestamps"]]
        _show_timestamps(timestamps, f"ts_{key.name}", position)
        if is_text(encoding_from_json(key.model["encoding"])):
            _show_texts(file[paths[key.prefix + key.name]], timestamps.parent, key.name)


def _keys(streams: Mapping[str, Mapping[str, Any]]) -> Iterator[_Key]:
    for name, model in streams.items():
        if "key" in (origin := model["info"]["bluesky"]) and not has_references(model):
            prefix = stream_name(origin["stream"], "")
            yield _Key(prefix, name.removeprefix(prefix), model)


def _show_timestamps(timestamps: h5py.Dataset, name: str, position: int) -> None:
    """One column of the array, as a dataset that takes no room."""
    layout = h5py.VirtualLayout(timestamps.shape[:1], timestamps.dtype)
    layout[:] = h5py.VirtualSource(".", timestamps.name, timestamps.shape)[:, position]
    timestamps.parent.create_virtual_dataset(name, layout).attrs["units"] = "s"


def _show_texts(texts: h5py.Group, parent: h5py.Group, name: str) -> None:
    rows = len(texts[SHAPES])
    lengths = _rows(texts[SHAPES], 0, rows)[:, 0]
    longest = int(lengths.max(initial=1))
    if longest > _LONGEST_TEXT:
        return
    filters = {"compression": "gzip", "compression_opts": 1} if rows else {}
    shown = parent.create_dataset(
        name, (rows,), h5py.string_dtype("utf-8", max(1, longest)), track_times=False, **filters
    )
    ends = np.concatenate([[0], np.cumsum(lengths)])
    for first in range(0, rows, _TEXTS_AT_ONCE):
        last = min(first + _TEXTS_AT_ONCE, rows)
        data = _rows(texts[VALUES], int(ends[first]), int(ends[last])).tobytes()
        cuts = ends[first : last + 1] - ends[first]
        shown[first:last] = [data[low:high] for low, high in pairwise(cuts)]


def _rows(dataset: h5py.Dataset, start: int, stop: int) -> Array:
    return copy_rows(dataset, start, np.empty((stop - start, *dataset.shape[1:]), dataset.dtype))
