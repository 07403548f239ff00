"""What a writer of files cannot take from the data streams: put into the layout itself when the run is over.

blisswriter 3 reads the layout twice, when the scan is PREPARED and when it is CLOSED, and follows the streams of the
first one. Streams that are declared in between, JSON streams and documents come into its file as values of the second.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..protocol import JsonEncoding, NumericEncoding, dump_json, text_of
from .operations import ColumnRows
from .scan_info import room_in
from .streams import IRREGULAR, MappedStream

Group: TypeAlias = dict[str, Any]

# all of it stands in the scan's info, which takes a million characters
_MOST_CHARACTERS = 900_000
# blisswriter makes an array of texts, each of which takes as much room as the longest
_LARGEST_ARRAY = 2**26
# what a dataset's type and shape take
_COLUMN_CHARACTERS = 100
_GROUP = "bluesky"
_DOCUMENTS = "documents"
_TEXTS, _NUMBERS = "texts", "numbers"


@dataclass(slots=True)
class _Texts:
    """A dataset of texts."""

    path: str
    as_json: bool
    """Whether the texts are members of one JSON list; else each of them is a row."""
    size: int = 0
    longest: int = 0
    rows: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.size = _column_characters(self.path)

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.rows.append(text)
            # as it stands in the info
            self.size += len(json.dumps(text)) + 2
            self.longest = max(self.longest, len(text))

    @property
    def fits_memory(self) -> bool:
        return self.as_json or 4 * self.longest * len(self.rows) <= _LARGEST_ARRAY

    def datasets(self) -> dict[str, Group]:
        return {self.path: _dataset(f"[{','.join(self.rows)}]" if self.as_json else self.rows)}


@dataclass(slots=True)
class _Numbers:
    """The numeric columns of one Bluesky stream, which are shown together or not at all."""

    size: int = 0
    fits_memory = True
    columns: dict[str, tuple[NumericEncoding, list[bytes]]] = field(default_factory=dict)

    def add(self, path: str, encoding: NumericEncoding, rows: bytes) -> None:
        if path not in self.columns:
            self.columns[path] = (encoding, [])
            self.size += _column_characters(path)
        self.columns[path][1].append(rows)
        self.size += len(rows) * 4 // 3 + 4

    def datasets(self) -> dict[str, Group]:
        return {path: _dataset(_binary(encoding, b"".join(rows))) for path, (encoding, rows) in self.columns.items()}


class Inline:
    """Keeps of one run what may have to stand in its layout, up to a bound; past it the largest is let go of."""

    def __init__(self, entry: str) -> None:
        """`entry`: name of the first NXentry, which has the documents."""
        self._entry = entry
        # by what they are and how they are called: a stream may be called like a column, or "documents"
        self._parts: dict[tuple[str, str], _Texts | _Numbers | None] = {}

    def add_document(self, name: str, document: Mapping[str, Any]) -> None:
        """Keep a document that is no event."""
        self._add_texts(_DOCUMENTS, f"/{self._entry}/{_GROUP}/{_DOCUMENTS}", [_json([name, document])], as_json=True)

    def add_rows(self, stream: MappedStream, columns: Iterable[ColumnRows]) -> None:
        """Keep the rows of texts, and of numbers when the stream was declared too late."""
        if stream.place is None:
            return
        paths = {name: path for path, name in stream.datasets.items()} if stream.late else {}
        for column in columns:
            name = stream.column_name(column.name)
            if not isinstance(column.encoding, JsonEncoding):
                if stream.late:
                    self._add_numbers(stream.name, column, paths.get(column.name))
            elif name == IRREGULAR:
                path = f"/{stream.place.entry}/{_GROUP}/{name}"
                self._add_texts(column.name, path, map(_json, column.rows), as_json=True)
            else:
                self._add_texts(column.name, stream.place.companion(name), map(text_of, column.rows), as_json=False)

    def _add_texts(self, name: str, path: str, texts: Iterable[str], *, as_json: bool) -> None:
        part = self._parts.setdefault((_TEXTS, name), _Texts(path, as_json))
        if isinstance(part, _Texts):
            part.add(texts)
            self._bound()

    def _add_numbers(self, stream: str, column: ColumnRows, path: str | None) -> None:
        part = self._parts.setdefault((_NUMBERS, stream), _Numbers())
        if isinstance(part, _Numbers) and path and isinstance(column.encoding, NumericEncoding):
            part.add(path, column.encoding, np.ascontiguousarray(column.rows, column.encoding.dtype).tobytes())
            self._bound()

    def _bound(self) -> None:
        while self.size > _MOST_CHARACTERS:
            sizes = {key: part.size for key, part in self._parts.items() if part}
            # and not the one that happened to come last
            self._parts[max(sizes, key=lambda key: sizes[key])] = None

    @property
    def size(self) -> int:
        """Characters that all of it takes, about."""
        return sum(part.size for part in self._parts.values() if part)

    def complete(self, info: Group, path: str, streams: Iterable[MappedStream]) -> None:
        """Put it into the layout of the run's file, `path`, in the info of a scan; the info says what is left out."""
        if self.size > room_in(info) and info["bluesky"].pop("start", None):
            # it is among the documents that the file is to have
            info["bluesky"]["left_out"].append("start")
        declared = [stream for stream in streams if stream.declared]
        layout, left_out = self._completed(info["h5maps"][path], declared, room_in(info))
        info["h5maps"] = {path: layout}
        info["bluesky"]["left_out"] += [f"h5maps:{name}" for name in left_out]

    def _completed(self, layout: Group, streams: Iterable[MappedStream], room: int) -> tuple[Group, list[str]]:
        """The layout with what takes at most `room` characters, the smallest first, and the names of what is left out.

        Links to datasets that nobody makes, because they have no rows or came too late, are taken out of it.
        """
        shown: dict[tuple[str, str], _Texts | _Numbers] = {}
        for key, part in sorted(self._parts.items(), key=lambda item: item[1].size if item[1] else 0):
            if part is not None and part.fits_memory and part.size <= room:
                shown[key] = part
                room -= part.size
        missing = {
            path
            for stream in streams
            if not stream.rows or (stream.late and (_NUMBERS, stream.name) not in shown)
            for path in stream.datasets
        }
        layout = _without(layout, missing)
        for part in shown.values():
            for path, dataset in part.datasets().items():
                layout = _with(layout, path.split("/")[1:], dataset)
        if (_TEXTS, _DOCUMENTS) in shown:
            layout = self._with_links(layout)
        return layout, [name for kind, name in self._parts if (kind, name) not in shown]

    def _with_links(self, layout: Group) -> Group:
        link = {"type": "soft_link", "target_path": f"/{self._entry}/{_GROUP}/{_DOCUMENTS}"}
        for entry in layout["children"]:
            if entry != self._entry:
                layout = _with(layout, [entry, _GROUP, _DOCUMENTS], link)
        return layout


def _column_characters(path: str) -> int:
    return len(json.dumps(path)) + _COLUMN_CHARACTERS


def _json(value: Any) -> str:
    return dump_json(value).decode()


def _dataset(value: Any) -> Group:
    return {"type": "dataset", "value": value}


def _binary(encoding: NumericEncoding, data: bytes) -> Group:
    rows = len(data) // (encoding.dtype.itemsize * math.prod(encoding.shape))
    return {
        "type": "inline_b64",
        "dtype": encoding.dtype.str,
        "shape": [rows, *encoding.shape],
        "value": base64.b64encode(data).decode(),
    }


def _with(group: Group, path: list[str], item: Group) -> Group:
    """The group with an item at a path below it; what stands there keeps its attributes."""
    name, *rest = path
    old = group["children"].get(name, {})
    if rest:
        empty = {"type": "group", "attributes": {"NX_class": "NXcollection"}, "children": {}}
        item = _with(old or empty, rest, item)
    return {**group, "children": {**group["children"], name: {**old, **item}}}


def _without(group: Group, missing: set[str]) -> Group:
    """The group without links to these datasets, and without plots that would need them."""
    children = {
        name: _without(child, missing) if child.get("type") == "group" else child
        for name, child in group["children"].items()
        if not _needs(child, missing)
    }
    attributes = dict(group["attributes"])
    if attributes.get("default") not in children:
        attributes.pop("default", None)
    return {**group, "attributes": attributes, "children": children}


def _needs(item: Group, missing: set[str]) -> bool:
    if item.get("type") == "soft_link":
        return item["target_path"] in missing
    is_plot = item.get("type") == "group" and item["attributes"]["NX_class"] == "NXdata"
    return is_plot and any(_needs(link, missing) for link in item["children"].values())
