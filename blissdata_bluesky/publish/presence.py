"""Whether Redis still has the scan of a run; if not, whether somebody deleted it or Redis has lost it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

import redis

from .. import protocol
from ..errors import BlissdataBlueskyError

# by which the clocks of two computers may differ
_CLOCKS_SECONDS = 60.0


class RunAbandonedError(BlissdataBlueskyError, RuntimeError):
    """Redis will not take this run any further; its journal has it."""


class RunLostError(BlissdataBlueskyError, ConnectionError):
    """Redis has lost what it had acknowledged of this run: it was emptied, or came back with older data."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Which run is written, and who may do so."""

    uid: str
    publisher: str
    """Only the publisher that began a run may continue it."""
    since: float
    """When the run began, in seconds since the epoch."""


def require_scan(client: redis.Redis, claim: Claim, remaining: Any, written: Iterable[str]) -> None:
    """Check the answer to PTTL of the scan; when it is gone, remove the keys that have just been written.

    Raises RunAbandonedError for a scan that was deleted, RunLostError for one that Redis has lost.
    """
    if isinstance(remaining, Exception):
        raise remaining
    if protocol.is_gone(remaining):
        gone(client, claim, written)


def gone(client: redis.Redis, claim: Claim, written: Iterable[str]) -> NoReturn:
    """Remove the keys that have just been written beside a scan that is gone, and raise as `require_scan` does."""
    _remove(client, claim, written)
    require_not_deleted(client, claim)
    raise RunLostError(f"Redis has lost run {claim.uid}: it was emptied, or came back without its data")


def _remove(client: redis.Redis, claim: Claim, written: Iterable[str]) -> None:
    # they would stay for ever, and blissdata knows nothing of the documents
    with client.pipeline(transaction=True) as pipe:
        pipe.watch(protocol.scan_key(claim.uid))
        if protocol.is_gone(pipe.pttl(protocol.scan_key(claim.uid))):
            pipe.multi()
            pipe.unlink(*written, protocol.documents_key(claim.uid))
            pipe.execute()


def require_not_deleted(client: redis.Redis, claim: Claim) -> None:
    """Raise RunAbandonedError when a scan that is gone has been deleted: an emptied Redis has no history of it."""
    history = client.xrange(protocol.HISTORY_KEY)
    key = protocol.scan_key(claim.uid)
    oldest = int(history[0][0].split(b"-")[0]) / 1000 if history else 0.0
    # what the history has let go of proves nothing: better not raise the dead
    cut = len(history) >= protocol.HISTORY_LENGTH and oldest > claim.since - _CLOCKS_SECONDS
    if cut or any(fields[b"key"] == key.encode() for _, fields in history):
        raise RunAbandonedError(
            f"its scan {key} has been deleted from Redis, or has expired there; `blissdata-bluesky journal replay` "
            "publishes it again"
        )


def _name(publishers: list[Any]) -> str:
    return f"another publisher, {publishers[0]}" if publishers else "somebody else"


def require_ours(client: redis.Redis, claim: Claim) -> None:
    """Raise RunAbandonedError when the run's scan was begun by another publisher."""
    publishers = client.json().get(protocol.scan_key(claim.uid), "$.info.bluesky.publisher") or []
    if publishers != [claim.publisher]:
        raise RunAbandonedError(
            f"a scan with this uid is in Redis already and belongs to {_name(publishers)}; nothing of this one is "
            "published. If it is the same run, taken by a second writer or by `listen`, end one of them: nothing is lost. "
            "If it is another run, give every run a uid of its own, or delete that scan first if it is the wrong one "
            f"(DataStore(url).delete_scan({protocol.scan_key(claim.uid)!r}, force=True))"
        )
