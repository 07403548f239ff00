"""Frames in Zarr arrays, versions 2 and 3."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .files import decoding, found_directory, shown
from .kinds import Array, FrameKind
from .layout import FrameLayout
from .resources import Resource
from .roots import Roots


def read(resource: Resource, kind: FrameKind, indices: Sequence[int], roots: Roots, into: Array) -> None:
    """Write the frames with these indices into an array (n, *shape). Raises ExternalDataError.

    A chunk that is not there has the fill value: this is how Zarr writes chunks that are full of it.
    """
    path = found_directory(resource.uri, roots)
    where = shown(path, resource.uri)
    with decoding(where):
        array = _opened(path, str(resource.parameters.get("dataset") or ""), roots)
        kind.require_dtype(array.dtype, where)
        layout = FrameLayout(array.shape, kind, resource.parameters.get("slice"), where)
        for rows, selection in layout.selections(indices):
            into[rows] = array[selection].reshape(into[rows].shape)


def _opened(path: Path, name: str, roots: Roots) -> Any:
    import zarr

    from .zarr_store import RootedStore

    return zarr.open_array(RootedStore(path, roots), path=name.strip("/"), mode="r")
