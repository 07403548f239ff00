"""What a Redis server is, how full it is, and which scans on it are not finished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import redis
from blissdata.exceptions import ScanNotFoundError, ScanValidationError
from blissdata.redis_engine.scan import ScanState as BlissdataState
from blissdata.redis_engine.store import DataStore

from ..protocol import PROTOCOL_KEY, PROTOCOL_VERSION, scan_key
from .database import data_store, named_errors

# how blissdata fails on a scan that was deleted or expired between two commands
GONE = (ScanNotFoundError, ScanValidationError, IndexError, TypeError)


@dataclass(frozen=True)
class OpenScan:
    """A scan that is not closed."""

    key: str
    uid: str
    """The identity's `dataset`: the run's uid, for scans of this package."""
    name: str
    number: int
    state: str
    run: str = ""
    """The run's uid, for scans of this package; empty for those of others."""


@dataclass(frozen=True)
class DatabaseReport:
    """A snapshot of one server and of the scans in its database."""

    server: str
    """"Valkey" or "Redis"."""
    version: str
    modules: tuple[str, ...]
    protocol: str | None
    """Version of blissdata's protocol; None when the database is not initialised."""
    keys: int
    """Number of keys in the database, scans or not."""
    used_memory: int
    """Bytes."""
    maxmemory: int
    """Bytes; 0: no bound."""
    maxmemory_policy: str
    scans: dict[str, int]
    """Number of scans in each state."""
    open_scans: tuple[OpenScan, ...]


def inspect(client: redis.Redis, url: str) -> DatabaseReport:
    """Look at the server behind `client`, which was opened with `url`; nothing is changed.

    Scans are read through blissdata. Of a database that is not initialised, none are listed.

    Raises RedisUnreachableError, RedisPermissionError (the command INFO is needed), RedisTargetError.
    """
    with named_errors(url):
        info = client.info()
        protocol = client.get(PROTOCOL_KEY)
        store = data_store(url) if protocol == str(PROTOCOL_VERSION).encode() else None
        states = {} if store is None else _scan_states(store)
        valkey = info.get("valkey_version")
        return DatabaseReport(
            server="Valkey" if valkey else "Redis",
            version=str(valkey or info["redis_version"]),
            modules=tuple(sorted(module["name"] for module in info.get("modules", ()))),
            protocol=None if protocol is None else protocol.decode(errors="replace"),
            keys=client.dbsize(),
            used_memory=info["used_memory"],
            maxmemory=info["maxmemory"],
            maxmemory_policy=info["maxmemory_policy"],
            scans=dict(Counter(state.name for state in sorted(states.values()))),
            open_scans=() if store is None else tuple(_open_scans(store, states)),
        )


def list_open_scans(url: str) -> list[OpenScan]:
    """The scans at `url` that are not closed, read through blissdata.

    Raises RedisDatabaseError when the database is not ready, and redis.RedisError.
    """
    store = data_store(url)
    return list(_open_scans(store, _scan_states(store)))


def _scan_states(store: DataStore) -> dict[str, BlissdataState]:
    _, keys = store.search_existing_scans()
    try:
        return dict(store.get_scans_state(keys))
    except GONE:
        return {key: state for key in keys for state in _state(store, key)}


def _state(store: DataStore, key: str) -> Iterator[BlissdataState]:
    with suppress(*GONE):
        yield from store.get_scans_state([key]).values()


def _open_scans(store: DataStore, states: Mapping[str, BlissdataState]) -> Iterator[OpenScan]:
    for key, state in states.items():
        if state < BlissdataState.CLOSED:
            with suppress(*GONE):
                scan = store.load_scan(key)
                yield OpenScan(key, scan.dataset, scan.name, scan.number, state.name, _run_uid(key, scan.info))


def _run_uid(key: str, info: Mapping[str, Any]) -> str:
    ours = info.get("bluesky")
    uid = ours.get("uid") if isinstance(ours, Mapping) else None
    return uid if isinstance(uid, str) and scan_key(uid) == key else ""
