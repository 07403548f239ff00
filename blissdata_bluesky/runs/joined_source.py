"""Runs wherever they are: in Redis, in the archive, or partly in both."""

from __future__ import annotations

from typing import Self

from ..external import Roots
from .archived_source import ArchivedRuns
from .cache import CACHE_BYTES, ColumnCache
from .joined_store import JoinedStore
from .kept import KeptRuns
from .redis_source import RedisRuns
from .run import StoredRun


class JoinedRuns:
    """Live and archived runs as one (`RunSource`). Thread-safe.

    A run whose file is complete comes from the file alone: Redis is not even asked. Otherwise it comes from Redis, and
    from the file what Redis has let go of. Who holds a run while it ends, is trimmed and expires notices nothing. Rows
    that neither has at the moment are a RunUnavailableError until the archiver has caught up; `rows()` counts them.

    Parameters
    ----------
    redis, archive
        One of them may be None. They are closed by whoever made them.
    cache_bytes, roots
        As of `RedisRuns`, for runs that may be in both; without `roots`, they are those of `redis`.
    """

    def __init__(
        self,
        redis: RedisRuns | None,
        archive: ArchivedRuns | None,
        cache_bytes: int = CACHE_BYTES,
        roots: Roots | None = None,
    ) -> None:
        one = redis or archive
        if one is None:
            raise ValueError("there is neither a Redis nor an archive to read runs from")
        self._one = one
        self._both = (redis, archive.files) if redis and archive else None
        self._cache = ColumnCache(cache_bytes)
        self._roots = one.roots if roots is None else roots
        self._kept = KeptRuns()

    def get(self, uid: str, file: str = "") -> StoredRun:
        """The run with this full uid, as it is now; the same object as long as it is in use.

        `file`: where the archive has it, relative to its root; without it, the scan in Redis says it.

        Raises RunNotFoundError when neither has it, RunUnavailableError when Redis does not answer and the archive
        has no complete file, DamagedRunError.
        """
        if self._both is None:
            return self._one.get(uid, file)
        redis, files = self._both
        if file:
            files.hint(uid, file)
        return self._kept.get(
            uid, lambda: StoredRun(JoinedStore(redis.store(uid), files, uid), self._cache, uid, self._roots)
        )

    def close(self) -> None:
        """Forget what is cached."""
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
