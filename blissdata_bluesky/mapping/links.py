"""Links of a layout to detectors' files: named by URI, until somebody knows where the files are for him."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

Group = dict[str, Any]


def links(datasets: Sequence[tuple[str, str]]) -> Group:
    """The members of an NXdetector whose frames are in these HDF5 datasets, each a URI and a path in the file.

    One is called `data`, several `data_0`, `data_1`…
    """
    names = ["data"] if len(datasets) == 1 else [f"data_{number}" for number in range(len(datasets))]
    return {
        name: {"type": "external_link", "target_file": uri, "target_path": path}
        for name, (uri, path) in zip(names, datasets, strict=True)
    }


def located(item: Group, locate: Callable[[str], str | None]) -> Group:
    """The layout with the path that `locate` gives for the URI of each link; a link without one is left out."""
    if "children" not in item:
        return item
    children = {name: _located(child, locate) for name, child in item["children"].items()}
    return {**item, "children": {name: child for name, child in children.items() if child is not None}}


def _located(child: Any, locate: Callable[[str], str | None]) -> Any:
    match child:
        case {"type": "group"}:
            return located(child, locate)
        case {"type": "external_link", "target_file": str(uri)}:
            path = locate(uri)
            return None if path is None else {**child, "target_file": path}
    return child


def local_path(uri: str) -> str | None:
    """The path that a URI names on a host that sees the files where the detector's does; None for other hosts'."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    path = unquote(parts.path)
    is_local = parts.scheme in {"", "file"} and parts.netloc in {"", "localhost"}
    return path if is_local and path.startswith("/") and "\0" not in path else None
