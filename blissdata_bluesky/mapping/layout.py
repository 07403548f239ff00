"""The NeXus layout of a run's file: which dataset holds which data stream, as a group of blissdata's h5map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._version import __version__
from .columns import Column
from .external import Resources
from .links import links
from .plot import dimensions, plot
from .scan_info import iso_time, title
from .streams import MappedStream, Place, has_dataset, is_auxiliary, is_text, owners, row_shape, sequence_or_empty

Group = dict[str, Any]

_LONGEST_TEXT = 200


class NexusLayout:
    """The layout of one run. Without a file (`identity["path"]`) there is none.

    One NXentry per Bluesky stream: `<number>.1` for the measurement itself, there from the beginning, and `.2`, `.3`…
    for the others in the order of their descriptors. What is once in the layout stays as it is; only the title of
    `<number>.1` may change when its stream is known, and the end is added to every entry.
    """

    def __init__(self, start: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
        self._start = start
        self._identity = identity
        self._main = next((name for _, name in dimensions(start)), None)
        self._numbers = {} if self._main is None else {self._main: 1}
        self._entries: dict[str, Group] = {}

    def place(self, descriptor: Mapping[str, Any]) -> Place | None:
        """Where the stream of this descriptor, its first one, is in the file; None when it cannot be in one."""
        name = descriptor["name"]
        if not self._identity.get("path") or not is_text(name):
            return None
        if self._main is None and not is_auxiliary(name):
            self._main = name
            self._numbers[name] = 1
        others = [number for number in self._numbers.values() if number > 1]
        number = self._numbers.setdefault(name, len(others) + 2)
        return Place(self._identity["path"], self._entry_name(number), self._positioners(descriptor))

    def h5map(self, streams: Iterable[MappedStream], resources: Resources, end: Mapping[str, Any]) -> Group:
        """The root group with all declared streams; `end` (`end_info`) is empty until the run has ended.

        `type`, `attributes` and `children` of each group; datasets with a raw value or the name of a stream; soft links
        with absolute targets; from the end on external links to detectors' files, whose `target_file` is a URI
        (`links.located`). The dictionaries are shared between calls: they must not be changed.
        """
        if not self._identity.get("path"):
            return {}
        first = self._entry_name(1)
        entries = {first: self._entry(self._main, {}, None)}
        for stream in streams:
            if stream.place and stream.declared:
                entry = self._entry_of(stream)
                entries[stream.place.entry] = _with_files(entry, stream, resources) if end else entry
        if end:
            end_time = _dataset(end["end_time"])
            entries = {name: _with_children(entry, {"end_time": end_time}) for name, entry in entries.items()}
        return _group(
            "NXroot",
            entries,
            default=first,
            creator="blissdata-bluesky",
            creator_version=__version__,
            file_name=_text(self._identity["path"]),
        )

    @property
    def first_entry(self) -> str:
        """Name of the first NXentry."""
        return self._entry_name(1)

    def _entry_name(self, number: int) -> str:
        return f"{self._identity['number']}.{number}"

    def _positioners(self, descriptor: Mapping[str, Any]) -> frozenset[str]:
        fields = {field for fields, _ in dimensions(self._start) for field in fields}
        motors = [motor for motor in sequence_or_empty(self._start.get("motors")) if isinstance(motor, str)]
        owner = owners(descriptor)
        return frozenset(key for key in descriptor["data_keys"] if key in fields or owner.get(key) in motors)

    def _entry_of(self, stream: MappedStream) -> Group:
        # a stream is declared once and for all, and the layout is asked for whenever anything of the run changes
        if stream.name not in self._entries and stream.place:
            children = _children(stream, stream.place)
            self._entries[stream.name] = self._entry(stream.name, children, plot(self._start, stream, stream.place))
        return self._entries[stream.name]

    def _entry(self, stream: str | None, children: Mapping[str, Any], data: Group | None) -> Group:
        name = title(self._start)[:_LONGEST_TEXT]
        fields = {
            "title": name if stream is None else f"{name} ({stream})",
            "start_time": iso_time(self._start.get("time")),
            "entry_identifier": self._start["uid"],
            "experiment_identifier": str(self._identity.get("proposal") or ""),
            "program_name": "blissdata-bluesky",
        }
        members = {name: _dataset(value) for name, value in fields.items() if value}
        if data is None:
            return _group("NXentry", {**members, **children})
        return _group("NXentry", {**members, **children, "plot": data}, default="plot")


def _children(stream: MappedStream, place: Place) -> dict[str, Group]:
    instrument, soft_links = {}, {}
    for key, column in stream.columns.items():
        if has_dataset(column.name, column.encoding):
            instrument[column.name] = _device(stream, place, column, stream.descriptors[0]["data_keys"][key])
            soft_links[column.name] = {"type": "soft_link", "target_path": place.data(column)}
    companions = {name: _companion(stream, name) for name in stream.companions}
    if stream.keys:
        # escaped names never begin with `_`
        companions["_timestamps_keys"] = _dataset([_text(key) for key in stream.keys])
    instrument |= {external.name: _group("NXdetector", {}) for external in stream.external.values()}
    return {
        "instrument": _group("NXinstrument", instrument),
        "measurement": _group("NXcollection", {**companions, **soft_links}),
    }


def _device(stream: MappedStream, place: Place, column: Column, data_key: Mapping[str, Any]) -> Group:
    unit = data_key["units"][:_LONGEST_TEXT] if isinstance(data_key.get("units"), str) else ""
    rank = len(row_shape(column.encoding))
    attributes = {
        "units": unit,
        # without it silx labels with name and unit
        "long_name": "" if column.name == column.key else f"{column.key} ({unit})" if unit else column.key,
        "interpretation": ("", "spectrum")[rank] if rank < 2 else "image",
    }
    given = {name: _text(text) for name, text in attributes.items() if text}
    dataset = _stream(stream.stream_name(column.key), **given)
    if place.is_positioner(column):
        return _group("NXpositioner", {"value": dataset})
    return _group("NXdetector", {"data": dataset})


def _companion(stream: MappedStream, name: str) -> Group:
    if name == "seq_num":
        return _stream(stream.companion_name(name))
    return _stream(stream.companion_name(name), units="s", long_name="seconds since 1970-01-01 UTC")


def _stream(name: str, **attributes: str) -> Group:
    return _dataset({"type": "stream", "stream": name}, **attributes)


def _dataset(value: Any, **attributes: str) -> Group:
    dataset = {"type": "dataset", "value": _text(value) if isinstance(value, str) else value}
    return {**dataset, "attributes": attributes} if attributes else dataset


def _group(nx_class: str, children: Mapping[str, Any], **attributes: Any) -> Group:
    return {"type": "group", "attributes": {"NX_class": nx_class, **attributes}, "children": children}


def _with_files(entry: Group, stream: MappedStream, resources: Resources) -> Group:
    """The entry with links to the files that hold frames of the stream."""
    instrument, measurement = (entry["children"][name] for name in ("instrument", "measurement"))
    for external in stream.external.values():
        if found := links(resources.datasets(external.key, stream.name)):
            detector = _with_children(instrument["children"][external.name], found)
            instrument = _with_children(instrument, {external.name: detector})
            measurement = _with_children(measurement, {external.name: found["data"]} if "data" in found else {})
    return _with_children(entry, {"instrument": instrument, "measurement": measurement})


def _with_children(group: Group, children: Mapping[str, Any]) -> Group:
    return {**group, "children": {**group["children"], **children}}


def _text(value: str) -> str:
    # HDF5's texts end at a NUL and hold no lone surrogates
    return value.replace("\0", "\ufffd").encode(errors="replace").decode()
