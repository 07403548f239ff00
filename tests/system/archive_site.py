"""A writer, its Redis and an archive, whose archiver works when it is told to: every phase of a run at will."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import redis

from blissdata_bluesky import protocol
from blissdata_bluesky.archive.lock import ArchiverLock
from blissdata_bluesky.archive.run import RunArchiver
from blissdata_bluesky.external import Roots
from blissdata_bluesky.journal import JournalDirectory
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.runs import ArchivedRuns, JoinedRuns, RedisRuns
from blissdata_bluesky.writer import BlissdataWriter

from .emitted import Named, give


class Site:
    """The runs of one writer."""

    def __init__(self, url: str, directory: Path, **writer_options: Any) -> None:
        self.url = url
        self.root = directory / "archive"
        self.journal = directory / "journal"
        self.client = redis.Redis.from_url(url, protocol=2)
        self.journal.mkdir()
        # so that the writer starts no archiver of its own, which would not wait
        self._lock = ArchiverLock(self.journal, self.root)
        self._lock.acquire()
        self.writer = BlissdataWriter(url, journal=self.journal, archive=self.root, **writer_options)

    def give(self, documents: Iterable[Named]) -> None:
        """Publish documents."""
        give(self.writer, documents)

    def archive(self, *, seal: bool = True) -> None:
        """Bring all that is in the journals into the files; `seal`: and finish those of runs that have ended."""
        archive(self.journal, self.root, seal=seal)

    def archive_elsewhere(self) -> None:
        """The same in another process: within one, HDF5 does not let a file be read and written at once."""
        subprocess.run([sys.executable, "-m", __name__, self.journal, self.root], check=True)

    def file(self, uid: str) -> Path:
        """The run's file."""
        (path,) = self.root.rglob(f"{uid}.h5")
        return path

    def hint(self, uid: str) -> str:
        """The same as the catalog names it."""
        return str(self.file(uid).relative_to(self.root))

    def columns(self, uid: str) -> dict[str, str]:
        """Name → key of the run's data streams in Redis."""
        streams = self.client.json().get(protocol.scan_key(uid), ".data_streams") or {}
        return {name: protocol.stream_key(model["pk"]) for name, model in streams.items()}

    def trim(self, key: str, first: int) -> None:
        """Remove the rows of a column before `first`, as the memory tracker does it: it leaves the last entry."""
        for entry, _ in self.client.xrevrange(key, count=1):
            last = int(entry.split(b"-")[0])
            self.client.xtrim(key, minid=f"{min(first, last)}-0", approximate=False)

    def expire(self, uid: str) -> None:
        """Remove all that Redis has of a run, as its expiry does it."""
        keys = [protocol.scan_key(uid), protocol.stream_key(protocol.state_pk(uid)), protocol.documents_key(uid)]
        self.client.delete(*keys, *self.columns(uid).values())

    def wipe(self) -> None:
        """FLUSHALL, and what is there of itself."""
        self.client.flushall()
        connect(self.url).close()

    def close(self) -> None:
        self.writer.close()
        join_archiver()
        self._lock.release()
        self.client.close()


def dataset_called(file: h5py.File, name: str) -> str:
    """Path of a dataset with `name` in its path."""
    found: list[str] = []
    file.visititems(lambda path, item: found.append(path) if isinstance(item, h5py.Dataset) and name in path else None)
    return found[0]


def join_archiver() -> None:
    """Wait until nobody looks any more whether the writer has an archiver, and until its child has ended."""
    for thread in threading.enumerate():
        if thread.name == "blissdata-bluesky-archiver":
            thread.join(90)


def archive(journal: Path, root: Path, *, seal: bool = True) -> None:
    directory = JournalDirectory(journal)
    for path in directory.to_archive():
        run = RunArchiver(path, root, Roots.configured())
        try:
            while run.step():
                pass
            if run.ended and seal:
                run.seal()
            if run.complete:
                if run.damage is not None:
                    directory.keep_damaged(path)
                directory.archived(path)
        finally:
            run.close()


@contextmanager
def open_site(url: str, directory: Path, **writer_options: Any) -> Iterator[Site]:
    site = Site(url, directory, **writer_options)
    try:
        yield site
    finally:
        site.close()


@contextmanager
def joined_runs(site: Site, url: str = "", **options: Any) -> Iterator[JoinedRuns]:
    """A `JoinedRuns` of the site's Redis, or of another one, and its archive."""
    with (
        RedisRuns(url or site.url) as redis_runs,
        ArchivedRuns(site.root) as archived,
        JoinedRuns(redis_runs, archived, **options) as runs,
    ):
        yield runs


if __name__ == "__main__":
    archive(*map(Path, sys.argv[1:]))
