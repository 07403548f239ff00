"""Closing the scans of runs that nobody publishes any more and whose journal is nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import redis

from .. import protocol
from ..mapping.scan_info import end_info
from ..mapping.streams import IRREGULAR
from ..protocol import ScanState, StreamEnd
from .database import named_errors
from .pipeline import execute, seal
from .report import OpenScan, list_open_scans

REASON = (
    "the process that published it ended before the run did, and its journal was not found; "
    "`blissdata-bluesky journal repair` closed it"
)


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run whose scan is not closed."""

    uid: str
    name: str
    number: int
    state: str
    rows: dict[str, int]
    """Rows of each Bluesky stream that every column of it has."""
    idle: int | None
    """Seconds since rows were written, or read by somebody, at least; None where Redis does not count them."""


def list_open_runs(client: redis.Redis, url: str) -> list[OpenRun]:
    """The runs of this package whose scans are open at `url`; scans of others are left out. Nothing is changed.

    Raises RedisUnreachableError, RedisTargetError.
    """
    with named_errors(url):
        return [run for scan in list_open_scans(url) for run in _open_run(client, scan)]


def close_run(client: redis.Redis, url: str, uid: str, heard_of: float | None = None) -> bool:
    """Seal every stream of a run and close its scan as FAILURE and incomplete; its rows stay as they are.

    `heard_of`: when it ended, in seconds since the epoch; now by default. May be repeated after any failure, and by
    several processes at once: only one of them closes it. False when it is closed already, and when its scan has been
    deleted, which is not raised again.

    Raises RedisUnreachableError, RedisTargetError.
    """
    end = end_info({"time": time.time() if heard_of is None else heard_of})
    sealed: list[str] = []
    with named_errors(url):
        while True:
            try:
                with client.pipeline(transaction=True) as pipe:
                    state = _pass_on(client, pipe, uid, end, sealed)
            except redis.WatchError:
                continue
            if state is None or state == ScanState.CLOSED:
                return state is not None


def _pass_on(
    client: redis.Redis, pipe: redis.client.Pipeline, uid: str, end: Mapping[str, Any], sealed: list[str]
) -> ScanState | None:
    """Give the next of the last two states; None when there is nothing to be closed."""
    scan, states = protocol.scan_key(uid), protocol.stream_key(protocol.state_pk(uid))
    pipe.watch(scan, states)
    remaining = pipe.pttl(scan)
    last = pipe.xrevrange(states, count=1)
    if not last or protocol.is_gone(remaining):
        if sealed:
            # sealing has made those anew that were gone already
            client.unlink(*sealed)
        return None
    state = ScanState(int(last[0][1][b"state"]))
    if state == ScanState.CLOSED:
        return None
    model = client.json().get(scan)
    if model is None:
        raise redis.WatchError
    # also after STOPPED: whoever gave it may have died before all were sealed
    sealed[:] = [protocol.stream_key(stream["pk"]) for stream in model["data_streams"].values()]
    if sealed:
        seal(client, sealed)
    following = ScanState.STOPPED if state < ScanState.STOPPED else ScanState.CLOSED
    pipe.multi()
    if following == ScanState.CLOSED:
        # only now: readers of blissdata take a scan whose info has an end for one that is closed
        info = model["info"] | end
        info["bluesky"] = info["bluesky"] | {"incomplete": REASON}
        pipe.execute_command("JSON.SET", scan, "$", json.dumps(model | {"info": info}), "XX")
        pipe.expire(protocol.documents_key(uid), protocol.DOCUMENTS_SECONDS)
    pipe.xadd(states, {"state": int(following)}, nomkstream=True)
    pipe.execute()
    return following


def _open_run(client: redis.Redis, scan: OpenScan) -> Iterator[OpenRun]:
    if not scan.run:
        return
    model = client.json().get(scan.key)
    if model is None:
        return
    streams = {name: protocol.stream_key(stream["pk"]) for name, stream in model["data_streams"].items()}
    keys = list(streams.values())
    looked_at = [*keys, protocol.documents_key(scan.run)]
    # idle times first, and looking must not end them
    commands: list[tuple[Any, ...]] = [("CLIENT", "NO-TOUCH", "ON")]
    commands += [("OBJECT", "IDLETIME", key) for key in looked_at]
    commands += [("XREVRANGE", key, "+", "-", "COUNT", 1) for key in keys]
    _, *replies, _ = execute(client, [*commands, ("CLIENT", "NO-TOUCH", "OFF")])
    idle = [reply for reply in replies[: len(looked_at)] if isinstance(reply, int)]
    ends = dict(zip(streams, replies[len(looked_at) :], strict=True))
    yield OpenRun(scan.run, scan.name, scan.number, scan.state, _rows(ends), min(idle, default=None))


def _rows(ends: Mapping[str, Any]) -> dict[str, int]:
    """Whole rows of each Bluesky stream, from the last entry of each column."""
    rows: dict[str, int] = {}
    for name, answer in ends.items():
        stream, _, column = name.rpartition(":")
        if isinstance(answer, Exception):
            raise answer
        if column != IRREGULAR:
            count = StreamEnd.from_last(protocol.raw_entries(answer)).rows
            rows[stream] = min(count, rows.get(stream, count))
    return rows
