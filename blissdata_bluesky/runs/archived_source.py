"""Runs that are in the files of an archive."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from ..errors import RunNotFoundError
from ..external import Roots
from .cache import CACHE_BYTES, ColumnCache
from .file_store import FileStore
from .files import ArchiveFiles
from .kept import KeptRuns
from .run import StoredRun


class ArchivedRuns:
    """The runs in the files below one directory (`RunSource`), also while they are written. Thread-safe.

    Nothing outside the directory is opened, and no file is held open.

    Parameters
    ----------
    root
        The directory.
    cache_bytes
        Bound of the memory for decoded columns, which all runs share. A column that takes more than a quarter of it
        is not kept.
    roots
        Where files of detectors may be; None: what the environment says (`Roots.configured`).
    """

    def __init__(self, root: str | Path, cache_bytes: int = CACHE_BYTES, roots: Roots | None = None) -> None:
        self.files = ArchiveFiles(root)
        self._cache = ColumnCache(cache_bytes)
        self.roots = Roots.configured() if roots is None else roots
        self._kept = KeptRuns()

    def get(self, uid: str, file: str = "") -> StoredRun:
        """The run with this full uid, as it is now; the same object as long as it is in use.

        `file`: where it is, relative to the root. Without it, or where it is no longer there, the whole archive is
        searched for a file with the uid in its name.

        Raises RunNotFoundError, RunUnavailableError, DamagedRunError.
        """
        if file:
            self.files.hint(uid, file)
        path = self.files.find(uid)
        if path is None:
            raise RunNotFoundError(f"run {uid} is not archived: {self.files.missing(uid)}; was it moved or deleted?")
        # a file that was moved is another one
        return self._kept.get((uid, path), lambda: StoredRun(FileStore(path, uid), self._cache, uid, self.roots))

    def at(self, uid: str, path: str) -> tuple[str, StoredRun] | None:
        """The run in the file at `path`, absolute, and that relative to the root; None when no file of ours is there.

        It is not searched for elsewhere. Raises RunNotFoundError for another run's file, RunUnavailableError,
        DamagedRunError.
        """
        file = self.files.inside(path) if path else None
        if file is None or not file.is_file():
            return None
        run = StoredRun(FileStore(file, uid), self._cache, uid, self.roots)
        return file.relative_to(self.files.root).as_posix(), run

    def close(self) -> None:
        """Forget what is cached."""
        self._kept.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
