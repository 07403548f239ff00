"""Keys in Redis and the states of a scan, as blissdata 2.4 spells them (protocol version 1)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from ..names import escape, run_uuid, ulid

PROTOCOL_KEY = "_PROTOCOL_VERSION_"
PROTOCOL_VERSION = 1
HISTORY_KEY = "_SCAN_HISTORY_"
HISTORY_LENGTH = 2048
SEAL_FUNCTION = "seal_stream"
SCAN_PREFIX = "esrf:scan:"
STREAM_PREFIX = "esrf:stream:"
DOCUMENTS_PREFIX = "bluesky:documents:"
# an expiry of 10 s or less is blissdata's way to say "deleted"
DELETED_TTL = 10


class ScanState(IntEnum):
    """States of a scan, in the order in which they are passed (blissdata.redis_engine.scan.ScanState)."""

    CREATED = 0
    PREPARED = 1
    STARTED = 2
    STOPPED = 3
    CLOSED = 4


def scan_pk(uid: str) -> str:
    """The 26 characters that name the run's scan."""
    return ulid(run_uuid(uid))


def scan_key(uid: str) -> str:
    """Key of the scan's JSON document."""
    return SCAN_PREFIX + scan_pk(uid)


def documents_key(uid: str) -> str:
    """Key of the Redis stream that holds the run's documents."""
    return DOCUMENTS_PREFIX + scan_pk(uid)


def documents_key_of_scan(key: str) -> str:
    """Key of the documents stream that belongs to a scan key."""
    return DOCUMENTS_PREFIX + key.removeprefix(SCAN_PREFIX)


def identity_pk(uid: str) -> str:
    """Primary key of the identity inside the scan's document."""
    return ulid(uuid.uuid5(run_uuid(uid), "identity"))


def state_pk(uid: str) -> str:
    """Primary key of the stream of states."""
    return ulid(uuid.uuid5(run_uuid(uid), "state"))


def stream_pk(uid: str, name: str) -> str:
    """Primary key of the data stream called `name` (`primary:det`)."""
    return ulid(uuid.uuid5(run_uuid(uid), "data:" + name))


def stream_key(pk: str) -> str:
    """Key of a Redis stream from its primary key."""
    return STREAM_PREFIX + pk


def stream_name(bluesky_stream: str, column: str) -> str:
    """Name of the blissdata stream of one column: `primary`, `det` → `primary:det`. `column` is escaped already."""
    return f"{escape(bluesky_stream)}:{column}"


def scan_model(
    uid: str, identity: Mapping[str, Any], info: Mapping[str, Any], streams: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """The scan's JSON document. `streams`: name → {"encoding": …, "info": …}."""
    return {
        "pk": scan_pk(uid),
        "id": {"pk": identity_pk(uid), **identity},
        "info": info,
        "state_stream": {"pk": state_pk(uid), "encoding": None, "info": None},
        "data_streams": {name: {"pk": stream_pk(uid, name), **stream} for name, stream in streams.items()},
    }


def is_gone(lifetime: int) -> bool:
    """Whether a key with this answer to PTTL (ms) is gone, or counts as deleted."""
    return lifetime == -2 or 0 <= lifetime <= DELETED_TTL * 1000
