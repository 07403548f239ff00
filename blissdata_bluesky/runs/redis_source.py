"""Runs that are in Redis."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

import redis

from ..errors import RunNotFoundError
from ..protocol import (
    HISTORY_KEY,
    DocumentEntry,
    ScanState,
    documents_key_of_scan,
    raw_entries,
    scan_key,
    state_pk,
    stream_key,
)
from .cache import ColumnCache
from .link import Command, RedisLink
from .redis_run import RedisRun, is_gone, last_state

CACHE_BYTES = 256 * 2**20
_RUNS_KEPT = 128
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
    """

    def __init__(self, target: redis.Redis | str, cache_bytes: int = CACHE_BYTES) -> None:
        self._link = RedisLink(target)
        self._cache = ColumnCache(cache_bytes)
        self._runs: OrderedDict[str, RedisRun] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, uid: str) -> RedisRun:
        """The run with this full uid, as it is now; the same object as long as it is in use.

        Raises RunNotFoundError, also for a scan that was not published by us, RunUnavailableError, DamagedRunError.
        """
        with self._lock:
            run = self._runs.get(uid)
        try:
            if run is None:
                return self._keep(RedisRun(self._link, self._cache, uid))
            run.refresh()
        except RunNotFoundError:
            with self._lock:
                self._runs.pop(uid, None)
            raise
        return self._keep(run)

    def get_by_key(self, key: str) -> RedisRun:
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
        questions: list[Command] = [("TTL", scan_key(uid)) for uid in uids]
        questions += [("XREVRANGE", stream_key(state_pk(uid)), "+", "-", "COUNT", 1) for uid in uids]
        answers = self._link.ask(questions, "the states of runs")
        lifetimes, states = answers[: len(uids)], answers[len(uids) :]
        return {
            uid: None if is_gone(ttl) else last_state(answer)
            for uid, ttl, answer in zip(uids, lifetimes, states, strict=True)
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
        with self._lock:
            runs, self._runs = list(self._runs.values()), OrderedDict()
        for run in runs:
            run.forget()
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, run: RedisRun) -> RedisRun:
        with self._lock:
            # another thread may have been faster
            run = self._runs.setdefault(run.uid, run)
            self._runs.move_to_end(run.uid)
            while len(self._runs) > _RUNS_KEPT:
                self._runs.popitem(last=False)[1].forget()
            return run
