"""`scan.info` as ESRF tools expect it (blissdata.schemas.scan_info.ScanInfoDict), from a run's documents."""

from __future__ import annotations

import datetime
import getpass
import json
from collections.abc import Iterable, Mapping
from typing import Any

from .. import protocol
from .._version import __version__
from ..foreign import in_64_bits, integer_text
from ..protocol import Encoding, JsonEncoding, NumericEncoding
from .axes import is_number
from .external import frame_info, is_external
from .scan_plots import ScanPlots
from .streams import MappedStream, mapping_or_empty, sequence_or_empty

Info = dict[str, Any]

# blissdata refuses more than 2**20 characters; what the publisher adds must fit as well
MOST_CHARACTERS = 1_000_000

_LONGEST_TEXT = 200
# Redis takes 127 levels, of which the info has some itself
_DEEPEST = 50

_TIMESTAMPS = "timestamps"
_END_REASON = {"success": "SUCCESS", "abort": "USER_ABORT", "fail": "FAILURE"}


def scan_info(
    start: Mapping[str, Any],
    identity: Mapping[str, Any],
    streams: Iterable[MappedStream],
    end: Mapping[str, Any],
    incomplete: str = "",
) -> Info:
    """The info of a scan whose declared streams are `streams`; `end` is empty until the run stops (`end_info`).

    `start`: as `plain` gives it. `incomplete`: why the run is not whole; stands in `info["bluesky"]["incomplete"]`.
    """
    streams = [stream for stream in streams if stream.declared or _referred(stream)]
    drawing = ScanPlots(start, streams)
    channels = {stream.name: _channels(stream, drawing) for stream in streams}
    devices = {stream.name: _devices(stream) for stream in streams}
    info: Info = {
        "acquisition_chain": {name: _chain(name, devices[name], channels[name]) for name in devices},
        "devices": {name: device for stream in devices.values() for name, device in stream.items()},
        "channels": {name: channel for stream in channels.values() for name, channel in stream.items()},
        "start_time": iso_time(start.get("time")),
        "scan_nb": identity["number"],
        "type": _text(start.get("plan_name") or "run"),
        "title": title(start),
        "data_policy": identity["data_policy"],
        "data_writer": "null",
        "publisher": "blissdata-bluesky",
        "publisher_version": __version__,
        "save": bool(identity.get("path")),
        "session_name": _text(identity.get("session") or "bluesky"),
        "user_name": _text(start.get("operator") or start.get("user") or _login()),
        "bluesky": {"uid": start["uid"], "left_out": []},
        **end,
    }
    if incomplete:
        info["bluesky"]["incomplete"] = incomplete
    if isinstance(points := start.get("num_points"), int) and is_number(points):
        info["npoints"] = points
    if plots := drawing.plots():
        info["plots"] = plots
    if drawing.dimensions:
        # not in the schema, but what BLISS gives for its meshes
        info["data_dim"] = drawing.dimensions
    return info


def end_info(stop: Mapping[str, Any]) -> Info:
    """What the stop document adds to the info."""
    status = stop.get("exit_status")
    reason = _END_REASON.get(status, "FAILURE") if isinstance(status, str) else "FAILURE"
    return {"end_time": iso_time(stop.get("time")), "end_reason": reason}


def iso_time(seconds: Any) -> str:
    """Seconds since the epoch as ISO 8601 with the local zone's offset; of something else its text."""
    try:
        return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return _text(seconds)


def _text(value: Any) -> str:
    return (integer_text(value) if isinstance(value, int) else str(value))[:_LONGEST_TEXT]


def plain(value: Any) -> Any:
    """A value as Redis takes it in JSON; NaN becomes null, as in blissdata, and what JSON lacks is tagged.

    Integers beyond 64 bits, and what is nested too deeply, become text.
    """
    return _acceptable(protocol.tag(value), 0)


def _acceptable(value: Any, depth: int) -> Any:
    match value:
        case list() | dict() if depth > _DEEPEST:
            return json.dumps(value)
        case list():
            return [_acceptable(item, depth + 1) for item in value]
        case {"$type": "float"}:
            return None
        case dict():
            return {key: _acceptable(item, depth + 1) for key, item in value.items()}
        case int() if not in_64_bits(value):
            return integer_text(value)
    return value


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # a container may run under a number that has no name
        return "unknown"


def title(start: Mapping[str, Any]) -> str:
    """The plan and its motors."""
    name = _text(start.get("plan_name") or "run")
    return " ".join([name, *map(_text, sequence_or_empty(start.get("motors")))])


def _chain(name: str, devices: Mapping[str, Info], channels: Mapping[str, Info]) -> Info:
    by_dimension: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for channel in (channel for device in devices.values() for channel in device["channels"]):
        by_dimension[min(channels[channel]["dim"], 2)].append(channel)
    return {
        "top_master": name,
        "devices": list(devices),
        "scalars": by_dimension[0],
        "spectra": by_dimension[1],
        "images": by_dimension[2],
        "master": {"scalars": [], "spectra": [], "images": []},
    }


def _devices(stream: MappedStream) -> dict[str, Info]:
    """The stream itself as the master, which gives the companions, and the Bluesky devices that it triggers."""
    owner = stream.owners
    names = {key: stream.stream_name(key) for key in stream.columns} | _referred(stream)
    channels: dict[str, list[str]] = {}
    for key, name in names.items():
        channels.setdefault(owner.get(key, stream.name), []).append(name)
    companions = stream.companions if stream.declared else {}
    # one vector a point: Flint would draw it as a spectrum
    own = [stream.companion_name(name) for name in companions if name != _TIMESTAMPS] + channels.pop(stream.name, [])
    triggered = {protocol.stream_name(stream.name, device): device for device in channels}
    master = {"name": stream.name, "channels": own, "triggered_devices": list(triggered)}
    choices = _choices(stream, names)
    devices: dict[str, Info] = {stream.name: master}
    devices |= {name: {"name": device, "channels": channels[device]} for name, device in triggered.items()}
    for device in devices.values():
        if own_choices := {name: choices[name] for name in device["channels"] if name in choices}:
            device["metadata"] = {"choices": own_choices}
    return devices


def _referred(stream: MappedStream) -> dict[str, str]:
    """Data keys whose values are in files, and their channels, as far as these are declared."""
    return {key: stream.reference_name(external) for key, external in stream.external.items() if external.declared}


def _choices(stream: MappedStream, names: Mapping[str, str]) -> dict[str, list[str]]:
    """What the values of a channel are chosen from; blissdata's schema has a place for it with the device only."""
    data_keys = stream.descriptors[0]["data_keys"]
    found = {name: sequence_or_empty(data_keys[key].get("choices")) for key, name in names.items()}
    return {name: [_text(choice) for choice in choices] for name, choices in found.items() if choices}


def _channels(stream: MappedStream, drawing: ScanPlots) -> dict[str, Info]:
    data_keys = stream.descriptors[0]["data_keys"]
    channels: dict[str, Info] = {}
    if stream.declared:
        channels = {stream.companion_name(name): _companion(name, kind) for name, kind in stream.companions.items()}
    for key, column in stream.columns.items():
        channel = _channel(key, data_keys[key], _dimensions(column.encoding, data_keys[key]))
        channels[stream.stream_name(key)] = channel | drawing.members(stream, key)
    for key, name in _referred(stream).items():
        channels[name] = _channel(key, data_keys[key], _frame_dimensions(data_keys[key]))
    return channels


def _companion(name: str, encoding: NumericEncoding) -> Info:
    channel: Info = {"display_name": name, "dim": len(encoding.shape)}
    return channel if name == "seq_num" else channel | {"unit": "s"}


def _dimensions(encoding: Encoding, data_key: Mapping[str, Any]) -> int:
    if isinstance(encoding, JsonEncoding):
        return _frame_dimensions(data_key) if is_external(data_key) else 0
    return len(encoding.shape)


def _frame_dimensions(data_key: Mapping[str, Any]) -> int:
    """Of what an event has in a file: a frame of shape (1, 480, 640) is an image."""
    shape = [*frame_info(data_key)["shape"]]
    return len(shape[1:] if shape[:1] == [1] else shape)


def _channel(key: str, data_key: Mapping[str, Any], dim: int) -> Info:
    channel: Info = {"display_name": key, "dim": dim}
    if isinstance(unit := data_key.get("units"), str) and unit:
        channel["unit"] = unit
    decimals = data_key.get("precision")
    if isinstance(decimals, int) and is_number(decimals) and decimals >= 0:
        channel["decimals"] = decimals
    return channel | _limits(data_key)


def _limits(data_key: Mapping[str, Any]) -> Info:
    """The least and the greatest value; where both are the same, EPICS says that there are none."""
    given = mapping_or_empty(data_key.get("limits"))
    old = {"low": data_key.get("lower_ctrl_limit"), "high": data_key.get("upper_ctrl_limit")}
    for limits in (mapping_or_empty(given.get("control")), old, mapping_or_empty(given.get("display"))):
        low, high = limits.get("low"), limits.get("high")
        found = {name: limit for name, limit in (("min", low), ("max", high)) if is_number(limit)}
        if found:
            return {} if low == high else found
    return {}


def shortened(info: Info) -> Info:
    """The info, never longer than blissdata takes.

    The start document is left out first, then what channels have beside `dim`, the plots, devices and channels, the
    layout of the file last; `info["bluesky"]["left_out"]` says so.
    """
    if fits(info):
        return info
    left_out = ["start"]
    bluesky = {name: value for name, value in info["bluesky"].items() if name != "start"} | {"left_out": left_out}
    info = {**info, "title": info["title"][:_LONGEST_TEXT], "bluesky": bluesky}
    if fits(info):
        return info
    left_out.append("channels")
    channels = {name: {"dim": channel["dim"]} for name, channel in info["channels"].items()}
    chains = {
        name: {**chain, "scalars": [], "spectra": [], "images": []} for name, chain in info["acquisition_chain"].items()
    }
    info |= {"channels": channels, "acquisition_chain": chains}
    if fits(info):
        return info
    if "plots" in info:
        left_out.append("plots")
        del info["plots"]
        if fits(info):
            return info
    left_out.append("devices")
    info |= {"channels": {}, "devices": {name: {"name": name} for name in chains}}
    if "h5maps" in info and not fits(info):
        left_out.append("h5maps")
        del info["h5maps"]
    return info


def room_in(info: Info) -> int:
    """Characters that the info may still grow by."""
    return MOST_CHARACTERS - len(json.dumps(info))


def fits(info: Info) -> bool:
    return len(json.dumps(info)) <= MOST_CHARACTERS
