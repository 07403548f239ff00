"""Making a layout (blissdata's h5map, as plain dicts) real in an HDF5 file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

Layout = Mapping[str, Any]


def write_layout(group: h5py.Group, layout: Layout) -> None:
    """Make what the layout has and the file lacks, and bring values up to date. May be repeated.

    Datasets whose rows come from a data stream are somebody else's to make; here they get their attributes.
    """
    _write_attributes(group, layout)
    for name, child in layout.get("children", {}).items():
        match child:
            case {"type": "group"}:
                write_layout(group.require_group(name), child)
            case {"type": "soft_link", "target_path": target}:
                _link(group, name, h5py.SoftLink(target))
            case {"type": "external_link", "target_file": file, "target_path": target}:
                _link(group, name, h5py.ExternalLink(file, target))
            case {"value": {"type": "stream"}}:
                _write_attributes(group[name], child)
            case {"type": "stream"}:
                continue
            case {"type": "dataset", "value": value}:
                _write_value(group, name, value)
                _write_attributes(group[name], child)
            case value:
                _write_value(group, name, value)


def _write_attributes(item: h5py.Group | h5py.Dataset, layout: Layout) -> None:
    for name, value in layout.get("attributes", {}).items():
        if name not in item.attrs or not np.array_equal(text_of_bytes(item.attrs[name]), value):
            item.attrs[name] = stored(value)


def _link(group: h5py.Group, name: str, link: h5py.SoftLink | h5py.ExternalLink) -> None:
    if group.get(name, getlink=True) is None:
        group[name] = link


def _write_value(group: h5py.Group, name: str, value: Any) -> None:
    if name in group:
        if np.array_equal(text_of_bytes(group[name][()]), value):
            return
        del group[name]
    group.create_dataset(name, data=stored(value), track_times=False)


def stored(value: Any) -> Any:
    """A value with its texts as arrays of bytes (UTF-8) of one length.

    Texts of any length lie in a heap, which a writer that is killed leaves unreadable.
    """
    array = np.asarray(value)
    if array.dtype.kind != "U":
        return value
    encoded = np.char.encode(array, "utf-8")
    return encoded.astype(h5py.string_dtype("utf-8", max(1, encoded.dtype.itemsize)))


def text_of_bytes(value: Any) -> Any:
    """What `stored` was given, texts as `str`."""
    if np.asarray(value).dtype.kind != "S":
        return value
    return np.char.decode(value, "utf-8").tolist()
