"""Runs that are in Redis."""

from __future__ import annotations

import threading
from collections import OrderedDict
from types import TracebackType
from typing import Any, Self

import redis

from ..errors import RunNotFoundError
from ..protocol import HISTORY_KEY, DocumentEntry, documents_key_of_scan, scan_key
from .cache import ColumnCache
from .link import LONGEST_BLOCK_MS, Command, RedisLink, raw_entries
from .redis_run import RedisRun

CACHE_BYTES = 256 * 2**20
_RUNS_KEPT = 128
_FIRST_TIMETAG = "0-0"


class RedisRuns:
    """The runs in one Redis (`RunSource`). Thread-safe; it connects when it is asked for something.

    Parameters
    ----------
    redis
        A URL, or a client, whose connection settings are taken over.
    cache_bytes
        Bound of the memory for decoded columns, which all runs share. A column that takes more than a quarter of it
        is not kept.
    """

    def __init__(self, redis: redis.Redis | str, cache_bytes: int = CACHE_BYTES) -> None:
        self._link = RedisLink(redis)
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

    def history(self, since: str | None = None, block_ms: int | None = None) -> tuple[str, list[str]]:
        """Keys of the scans that were created after the timetag `since`, and the timetag to go on with.

        None: from the oldest that Redis remembers (it keeps 2048). With `block_ms` it waits that long, 5 s at most, for
        one to come. Scans that are gone or are not ours are among them: `get_by_key` tells.

        Raises RunUnavailableError.
        """
        since = since or _FIRST_TIMETAG
        question: Command = ("XREAD", "STREAMS", HISTORY_KEY, since)
        if block_ms is not None:
            question = ("XREAD", "BLOCK", max(1, min(block_ms, LONGEST_BLOCK_MS)), *question[1:])
        (answer,) = self._link.ask([question], "the history of scans")
        entries: list[Any] = raw_entries(answer[0][1]) if answer else []
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
