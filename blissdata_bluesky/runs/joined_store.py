"""One run in Redis and in its file, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from ..errors import DamagedRunError, RowsTrimmedError, RunNotFoundError, RunUnavailableError
from .file_store import FileStore
from .files import ArchiveFiles
from .layout import StoredColumn
from .redis_store import RedisStore, SeenInRedis
from .store import Extent, Piece, Seen, Span, furthest, joined

_UNUSABLE = (RunNotFoundError, RunUnavailableError, DamagedRunError)


class JoinedStore:
    """A run in Redis, in a file, or partly in both (`RunStore`).

    A file that is complete is read alone. Before that, Redis comes first, for it is ahead of the file; rows that it
    has let go of come from the file, as far as that has been written. So it stays with a file whose run has ended and
    that says it is not whole, as long as Redis has more: its journal was damaged, or could not be written.
    """

    def __init__(self, redis: RedisStore, files: ArchiveFiles, uid: str) -> None:
        self._redis = redis
        self._files = files
        self._uid = uid
        self._file: FileStore | None = None
        self._seen_in_redis: SeenInRedis | None = None
        # whether a file that is not whole has all that Redis has, and whether it is all that there is
        self._has_all = False
        self._is_alone = False
        self.origin = redis.origin

    @property
    def place(self) -> str:
        return self._redis.place if self._file is None else f"{self._redis.place} and {self._file.place}"

    def look(self, known: Seen | None) -> Seen:
        if file := self._complete():
            with suppress(RunNotFoundError):
                return file.look(known)
        before = self._seen_in_redis
        try:
            self._seen_in_redis = now = self._redis.look(before)
        except RunNotFoundError as gone:
            self._seen_in_redis = None
            return self._look_at_file(known, gone)
        except RunUnavailableError:
            if before is None:
                self._files.find(self._uid)
            file = self._surely_complete()
            if file and (before is None or not self._lacking()):
                return file.look(known)
            raise
        if before is None or before.path != now.path:
            self._files.expect(self._uid, now.path)
        self._is_alone = False
        return furthest(known, self._with_file(now))

    def declared(self, stream: str) -> Mapping[str, Any] | None:
        if file := self._complete():
            return file.declared(stream)
        try:
            found = self._redis.declared(stream)
            if found is not None or (not self._lacking() and self._redis.exists()):
                return found
        except RunUnavailableError:
            if file := self._surely_complete():
                return file.declared(stream)
            raise
        with suppress(*_UNUSABLE):
            if file := self._at_hand():
                return file.declared(stream)
        return None

    def extent(self, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str) -> Extent:
        if file := self._complete():
            return file.extent(columns, irregular, known, about)
        try:
            extent = self._redis.extent(columns, irregular, known, about)
        except RunUnavailableError:
            if file := self._surely_complete():
                there = self._extent_in(file, columns, irregular, known, about)
                if there.rows >= known.rows:
                    return there
            raise
        if extent.rows and extent.rows >= known.rows and not self._lacking():
            return extent
        # emptied, or expired: what was there will be there again when it has been archived or published again
        extents = [known, extent]
        with suppress(*_UNUSABLE):
            if file := self._at_hand():
                extents.append(self._extent_in(file, columns, irregular, known, about))
        return max(extents, key=lambda extent: (extent.rows, extent.sealed))

    def _extent_in(
        self, file: FileStore, columns: Sequence[StoredColumn], irregular: StoredColumn, known: Extent, about: str
    ) -> Extent:
        extent = file.extent(columns, irregular, known, about)
        # Redis may have more, now or when it answers again
        return Extent.of([replace(end, sealed=False) for end in extent.ends]) if self._lacking() else extent

    def fetch(self, spans: Sequence[Span], about: str) -> list[Piece]:
        if file := self._complete():
            try:
                return file.fetch(spans, about)
            except _UNUSABLE as broken:
                with suppress(RowsTrimmedError, RunUnavailableError):
                    return self._redis.fetch(spans, about)
                raise broken from None
        try:
            return self._redis.fetch(spans, about)
        except (RowsTrimmedError, RunUnavailableError):
            if (file := self._at_hand()) is None:
                raise
        return self._fetch_from_both(file, spans, about)

    def _fetch_from_both(self, file: FileStore, spans: Sequence[Span], about: str) -> list[Piece]:
        """What is on the disk from there, the rest from Redis."""
        cuts = [span.cut(rows) for span, rows in zip(spans, _rows_on_disk(file, spans), strict=True)]
        heads = iter(file.fetch([head for head, _ in cuts if head], about))
        tails = iter(self._fetch_tails(file, [tail for _, tail in cuts if tail], about))
        return [joined(next(heads) if head else None, next(tails) if tail else None) for head, tail in cuts]

    def _fetch_tails(self, file: FileStore, spans: Sequence[Span], about: str) -> list[Piece]:
        try:
            return self._redis.fetch(spans, about)
        except (RowsTrimmedError, RunUnavailableError) as error:
            missing = spans[0]
            rows = f"rows {missing.start} to {missing.stop} of {missing.column.name!r}"
            if self._lacking():
                raise RunUnavailableError(
                    f"{about}: {rows} are not in {file.path}, which is not whole: {file.lacks}. From Redis: {error}"
                ) from error
            raise RunUnavailableError(
                f"{about}: {rows} cannot be read now: the archiver has not written them yet to {file.path}; try again when it has caught up. From Redis: {error}"
            ) from error

    def _look_at_file(self, known: Seen | None, gone: RunNotFoundError) -> Seen:
        """The documents of a run that Redis does not have."""
        self._files.find(self._uid)
        try:
            if (file := self._at_hand()) is None:
                raise gone
            seen = file.look(None)
        except RunNotFoundError:
            raise RunNotFoundError(
                f"{gone} It is not archived either: {self._files.missing(self._uid)}. If it was not deleted, try again "
                "when it has been archived or published again"
            ) from gone
        if seen.incomplete and not self._is_alone:
            self._is_alone = True
            if known is not None and not self._has_all:
                # rows and documents that only Redis had are lost: what is held of the run begins anew
                return replace(seen, entries=tuple(map(replace, seen.entries)))
        now = furthest(known, seen)
        if known is None or seen.closed or not now.continues(known):
            return now
        # a file that is not complete does not say how the run has ended
        return replace(now, closed=known.closed, incomplete=known.incomplete)

    def _at_hand(self) -> FileStore | None:
        """The file where it is said to be; it need not be there."""
        path = self._files.known(self._uid)
        if path is not None and (self._file is None or self._file.path != path):
            self._file, self._has_all = FileStore(path, self._uid), False
        return self._file

    def _lacking(self) -> FileStore | None:
        """The file, if the run has ended in it and it is not whole, so that Redis may have more."""
        file = self._at_hand()
        return file if file is not None and file.is_complete() and file.lacks and not self._has_all else None

    def _with_file(self, now: SeenInRedis) -> Seen:
        """What Redis and a file that is not whole have together, and whether that is the whole run."""
        if (file := self._lacking()) is None:
            return now
        try:
            seen = file.look(None)
            spans = self._redis.spans()
            there = dict(zip(spans, file.rows_of(list(spans)), strict=True))
        except _UNUSABLE:
            return now
        both = furthest(seen, now)
        if both is now:
            # another run with this uid
            return now
        more = [name for name, (_, stop) in spans.items() if stop > there[name]]
        if not more and len(now.entries) <= len(seen.entries):
            self._has_all = now.closed
            return seen
        lost = any(spans[name][0] > there[name] for name in more)
        reason = now.incomplete or (file.lacks if lost else "")
        return Seen(both.entries, now.closed, reason if now.closed else "")

    def _complete(self) -> FileStore | None:
        """The file, if all there is of the run is in it as far as that can be told at little cost."""
        file = self._at_hand()
        complete = file is not None and file.is_complete() and (not file.lacks or self._has_all)
        return self._settle(file, complete=complete)

    def _surely_complete(self) -> FileStore | None:
        """The file, if nothing will follow in it: for when there is nothing else."""
        file, complete = self._at_hand(), False
        with suppress(*_UNUSABLE):
            complete = file is not None and file.look(None).closed
        return self._settle(file, complete=complete)

    def _settle(self, file: FileStore | None, *, complete: bool) -> FileStore | None:
        self.origin = FileStore.origin if complete else RedisStore.origin
        return file if complete else None


def _rows_on_disk(file: FileStore, spans: Sequence[Span]) -> list[int]:
    try:
        return file.rows([span.column for span in spans])
    except RunNotFoundError:
        return [0] * len(spans)
