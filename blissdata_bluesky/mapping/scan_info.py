"""`scan.info` as ESRF tools expect it (blissdata.schemas.scan_info.ScanInfoDict), from a run's documents."""

from __future__ import annotations

import datetime
import getpass
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import protocol
from .._version import __version__
from ..protocol import Encoding, JsonEncoding, NumericEncoding
from .streams import MappedStream

Info = dict[str, Any]

# blissdata refuses more than 2**20 characters; what the publisher adds must fit as well
MOST_CHARACTERS = 1_000_000

_LONGEST_TEXT = 200
# Redis takes 127 levels, of which the info has some itself
_DEEPEST = 50

_END_REASON = {"success": "SUCCESS", "abort": "USER_ABORT", "fail": "FAILURE"}


def scan_info(
    start: Mapping[str, Any],
    identity: Mapping[str, Any],
    streams: Iterable[MappedStream],
    end: Mapping[str, Any],
    incomplete: str = "",
) -> Info:
    """The info of a scan whose declared streams are `streams`; `end` is empty until the run stops (`end_info`).

    `incomplete`: why the run is not whole; stands in `info["bluesky"]["incomplete"]`.

    Never longer than blissdata takes: the start document is left out first, then what channels have beside `dim`;
    `info["bluesky"]["left_out"]` says so.
    """
    streams = [stream for stream in streams if stream.declared]
    info = {
        "acquisition_chain": {stream.name: _chain(stream) for stream in streams},
        "devices": {name: device for stream in streams for name, device in _devices(stream).items()},
        "channels": {name: channel for stream in streams for name, channel in _channels(stream).items()},
        "start_time": iso_time(start.get("time")),
        "scan_nb": identity["number"],
        "type": str(start.get("plan_name") or "run")[:_LONGEST_TEXT],
        "title": _title(start),
        "data_policy": identity["data_policy"],
        "data_writer": "null",
        "publisher": "blissdata-bluesky",
        "publisher_version": __version__,
        "save": False,
        "session_name": str(identity.get("session") or "bluesky")[:_LONGEST_TEXT],
        "user_name": str(start.get("operator") or start.get("user") or _login())[:_LONGEST_TEXT],
        "bluesky": {"uid": start["uid"], "left_out": [], "start": plain(start)},
        **end,
    }
    if incomplete:
        info["bluesky"]["incomplete"] = incomplete
    if isinstance(points := start.get("num_points"), int) and _is_number(points):
        info["npoints"] = points
    return _shortened(info)


def end_info(stop: Mapping[str, Any]) -> Info:
    """What the stop document adds to the info."""
    reason = _END_REASON.get(str(stop.get("exit_status")), "FAILURE")
    return {"end_time": iso_time(stop.get("time")), "end_reason": reason}


def iso_time(seconds: Any) -> str:
    """Seconds since the epoch as ISO 8601 with the local zone's offset; of something else its text."""
    try:
        return datetime.datetime.fromtimestamp(seconds).astimezone().isoformat()
    except (TypeError, ValueError, OverflowError, OSError):
        return str(seconds)


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
        case int() if not _is_number(value):
            return str(value)
    return value


def _is_number(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return isinstance(value, float) and math.isfinite(value)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # a container may run under a number that has no name
        return "unknown"


def _title(start: Mapping[str, Any]) -> str:
    name = str(start.get("plan_name") or "run")
    return " ".join([name, *(str(motor) for motor in _sequence(start.get("motors")))])


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _chain(stream: MappedStream) -> Info:
    devices = list(_devices(stream))
    by_dimension: dict[int, list[str]] = {0: [], 1: [], 2: []}
    for name, channel in _channels(stream).items():
        by_dimension[min(channel["dim"], 2)].append(name)
    return {
        "top_master": devices[0],
        "devices": devices,
        "scalars": by_dimension[0],
        "spectra": by_dimension[1],
        "images": by_dimension[2],
        "master": {"scalars": [], "spectra": [], "images": []},
    }


def _devices(stream: MappedStream) -> dict[str, Info]:
    """The stream itself as the master, which gives the companions, and the Bluesky devices that it triggers."""
    owner = {
        key: device
        for device, keys in _mapping(stream.descriptors[0].get("object_keys")).items()
        for key in _sequence(keys)
        if isinstance(key, str)
    }
    channels: dict[str, list[str]] = {}
    for key in stream.keys:
        channels.setdefault(owner.get(key, stream.name), []).append(stream.stream_name(key))
    own = [stream.companion_name(name) for name in stream.companions] + channels.pop(stream.name, [])
    triggered = {protocol.stream_name(stream.name, device): device for device in channels}
    master = {"name": stream.name, "channels": own, "triggered_devices": list(triggered)}
    return {
        stream.name: master,
        **{name: {"name": device, "channels": channels[device]} for name, device in triggered.items()},
    }


def _channels(stream: MappedStream) -> dict[str, Info]:
    channels = {stream.companion_name(name): _companion(name, encoding) for name, encoding in stream.companions.items()}
    data_keys = stream.descriptors[0]["data_keys"]
    return channels | {
        stream.stream_name(key): _channel(key, column.encoding, data_keys[key])
        for key, column in stream.columns.items()
    }


def _companion(name: str, encoding: NumericEncoding) -> Info:
    channel: Info = {"display_name": name, "dim": len(encoding.shape)}
    return channel if name == "seq_num" else channel | {"unit": "s"}


def _channel(key: str, encoding: Encoding, data_key: Mapping[str, Any]) -> Info:
    channel: Info = {"display_name": key, "dim": 0 if isinstance(encoding, JsonEncoding) else len(encoding.shape)}
    if isinstance(unit := data_key.get("units"), str) and unit:
        channel["unit"] = unit
    if isinstance(decimals := data_key.get("precision"), int) and _is_number(decimals) and decimals >= 0:
        channel["decimals"] = decimals
    for name, bound in (("min", "lower_ctrl_limit"), ("max", "upper_ctrl_limit")):
        if _is_number(limit := data_key.get(bound)):
            channel[name] = limit
    return channel


def _shortened(info: Info) -> Info:
    if _fits(info):
        return info
    left_out = ["start"]
    bluesky = {"uid": info["bluesky"]["uid"], "left_out": left_out}
    info = {**info, "title": info["title"][:_LONGEST_TEXT], "bluesky": bluesky}
    if _fits(info):
        return info
    left_out.append("channels")
    channels = {name: {"dim": channel["dim"]} for name, channel in info["channels"].items()}
    chains = {
        name: {**chain, "scalars": [], "spectra": [], "images": []} for name, chain in info["acquisition_chain"].items()
    }
    info |= {"channels": channels, "acquisition_chain": chains}
    if _fits(info):
        return info
    left_out.append("devices")
    return {**info, "channels": {}, "devices": {name: {"name": name} for name in chains}}


def _fits(info: Info) -> bool:
    return len(json.dumps(info)) <= MOST_CHARACTERS
