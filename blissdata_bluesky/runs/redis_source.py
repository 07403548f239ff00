"""Runs that are in Redis."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

import redis

from ..errors import RunNotFoundError
from ..external import Roots
from ..protocol import (
    HISTORY_KEY,
    DocumentEntry,
    ScanState,
    documents_key_of_scan,
    is_gone,
    raw_entries,
    scan_key,
    state_pk,
    stream_key,
)
from .cache import CACHE_BYTES, ColumnCache
from .kept import KeptRuns
from .link import Command, RedisLink
from .redis_store import RedisStore, last_state
from .run import StoredRun

_FIRST_TIMETAG = "0-0"


class RedisRuns:
    """The runs in one Redis (`RunSource`). Thread-safe; it connects when it is asked for something.

    Parameters
    ----------
    target
        A URL, or a client, whose connection settings are taken over.
    cache_bytes
        Bound of the memory for decoded columns, which all runs share. A column that takes more than a quarter of it
        is not kept.
    roots
        Where files of detectors may be; None: what the environment says (`Roots.configured`).
    """

    def __init__(self, target: redis.Redis | str, cache_bytes: int = CACHE_BYTES, roots: Roots | None = None) -> None:
        self._link = RedisLink(target)
        self._cache = ColumnCache(cache_bytes)
        self.roots = Roots.configured() if roots is None else roots
        self._kept = KeptRuns()

    def get(self, uid: str, file: str = "") -> StoredRun:  # noqa: ARG002 - files are no business of Redis
        """The run with this full uid, as it is now; the same object as long as it is in use.

        Raises RunNotFoundError, also for a scan that was not published by us, RunUnavailableError, DamagedRunError.
        """
        return self._kept.get(uid, lambda: StoredRun(self.store(uid), self._cache, uid, self.roots))

    def store(self, uid: str) -> RedisStore:
        """Where the run with this uid is, or would be."""
        return RedisStore(self._link, uid)

    def get_by_key(self, key: str) -> StoredRun:
        """The run whose scan has this key in Redis (`esrf:scan:…`). Raises what `get` raises."""
        first: Command = ("XRANGE", documents_key_of_scan(key), "-", "+", "COUNT", 1)
        (answer,) = self._link.ask([first], f"scan {key}")
        start = DocumentEntry.parse(raw_entries(answer)[0]).document if answer else {}
        uid = str(start.get("uid"))
        if scan_key(uid) != key:
            raise RunNotFoundError(f"scan {key} was deleted, or was not published from Bluesky: read it with blissdata")
        return self.get(uid)

    def states(self, uids: Iterable[str]) -> dict[str, ScanState | None]:
        """The state of each run's scan, None where it is gone; one question for all. Raises RunUnavailableError."""
        uids = list(uids)
        questions: list[Command] = [("PTTL", scan_key(uid)) for uid in uids]
        questions += [("XREVRANGE", stream_key(state_pk(uid)), "+", "-", "COUNT", 1) for uid in uids]
        answers = self._link.ask(questions, "the states of runs")
        lifetimes, states = answers[: len(uids)], answers[len(uids) :]
        return {
            uid: None if is_gone(lifetime) else last_state(answer)
            for uid, lifetime, answer in zip(uids, lifetimes, states, strict=True)
        }

    def history(
        self, since: str | None = None, block_ms: int | None = None, watched: Iterable[str] = ()
    ) -> tuple[str, list[str]]:
        """Keys of the scans that were created after the timetag `since`, and the timetag to go on with.

        None: from the oldest that Redis remembers (it keeps 2048). With `block_ms` it waits that long, but not longer
        than half of the socket's time-out (5 s by default), for one to come, or for the state of one of the `watched`
        runs to change meanwhile. Scans that are gone or are not ours are among them: `get_by_key` tells.

        Raises RunUnavailableError.
        """
        since = since or _FIRST_TIMETAG
        states = [stream_key(state_pk(uid)) for uid in watched]
        question: Command = ("XREAD", "STREAMS", HISTORY_KEY, *states, since, *["$"] * len(states))
        if block_ms is not None:
            wait = min(max(1, block_ms), int(1000 * self._link.longest_block))
            question = ("XREAD", "BLOCK", wait, *question[1:])
        (answer,) = self._link.ask([question], "the history of scans")
        found = dict(answer or ())
        entries: list[Any] = raw_entries(found.get(HISTORY_KEY.encode(), ()))
        timetag = entries[-1][0].decode() if entries else since
        return timetag, [fields[b"key"].decode() for _, fields in entries]

    def close(self) -> None:
        """Close the connections and forget what is cached."""
        self._kept.clear()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
