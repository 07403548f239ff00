"""What a RunEngine emitted, by a callback that keeps all of it, and what an unmodified blissdata reads of it."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import numpy as np
import redis
from blissdata import DataStore, Scan
from event_model import unpack_event_page

from blissdata_bluesky.protocol import documents_key, scan_key


class Collector:
    """Subscribe it beside the writer."""

    def __init__(self) -> None:
        self.uids: list[str] = []
        self._events: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
        self._descriptors: dict[str, tuple[str, str]] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        document = copy.deepcopy(document)
        match name:
            case "start":
                self.uids.append(document["uid"])
            case "descriptor":
                self._descriptors[document["uid"]] = (document["run_start"], document["name"])
            case "event":
                run, stream = self._descriptors[document["descriptor"]]
                self._events[run][stream].append(document)
            case "event_page":
                for event in unpack_event_page(document):
                    self("event", dict(event))

    def streams(self, uid: str) -> dict[str, list[Any]]:
        """Every column of a run by blissdata's name, without the timestamps."""
        found: dict[str, list[Any]] = {}
        for stream, events in self._events[uid].items():
            for member in ("time", "seq_num"):
                found[f"{stream}:{member}"] = [event[member] for event in events]
            for key in events[0]["data"]:
                found[f"{stream}:{key}"] = [event["data"][key] for event in events]
        return found


def load(url: str, uid: str) -> Scan:
    """The scan of a run."""
    return DataStore(url).load_scan(scan_key(uid))


def columns(scan: Scan) -> dict[str, Any]:
    """Every column that has rows, without the timestamps."""
    names = [name for name in scan.streams if not name.endswith(":timestamps")]
    return {name: scan.streams[name][:] for name in names if len(scan.streams[name])}


def assert_equal(found: dict[str, Any], expected: dict[str, list[Any]]) -> None:
    """Same columns, same values, row for row."""
    assert set(found) == set(expected)
    for name, rows in expected.items():
        assert len(found[name]) == len(rows), name
        for one, other in zip(found[name], rows, strict=True):
            assert np.array_equal(one, other), name


def keys_left(url: str, uid: str) -> list[bytes]:
    """Keys of data, state and documents that nobody would ever remove, in a database of one run at most."""
    with redis.Redis.from_url(url) as client:
        kinds = ("esrf:stream:*", scan_key(uid), documents_key(uid))
        return [key for kind in kinds for key in client.scan_iter(kind) if client.ttl(key) == -1]
