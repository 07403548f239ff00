"""Where the files of an archive are: below its root, and nowhere else."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from ..archive import ArchivedFile
from ..errors import DamagedRunError, RunNotFoundError, RunUnavailableError
from ..mapping import FILE_SUFFIXES, PathTemplate

_PATHS_KEPT = 10_000
# what is in the path of a run's file, whatever the template of the archive
_UID = PathTemplate("{uid}.h5")


class ArchiveFiles:
    """Finds the file of a run. Thread-safe."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).resolve()
        self._paths: OrderedDict[str, Path] = OrderedDict()
        self._lock = threading.Lock()

    def hint(self, uid: str, file: str) -> None:
        """Remember that the run may be in `file`, relative to the root or absolute.

        Raises RunNotFoundError when that is outside the root.
        """
        path = self.inside(file)
        if path is None:
            raise RunNotFoundError(
                f"run {uid}: its file is said to be {file!r}, which is outside the archive {self.root} and therefore "
                "not opened; register the archive again"
            )
        self._learn(uid, path)

    def expect(self, uid: str, file: str) -> None:
        """The same, but only if nobody knows better, and a path outside the root is one of another archive."""
        known, path = self.known(uid), self.inside(file)
        if path is not None and not (known is not None and known.is_file()):
            self._learn(uid, path)

    def known(self, uid: str) -> Path | None:
        """Where the run is as far as anybody has said or found; the file need not be there."""
        with self._lock:
            return self._paths.get(uid)

    def find(self, uid: str) -> Path | None:
        """Where the run is; unless it is where it was said, the whole archive is searched for a path with its uid."""
        known = self.known(uid)
        if known is not None and known.is_file():
            return known
        unreadable = None
        for path in self._named_after(uid):
            try:
                if ArchivedFile(path).look().uid == uid:
                    self._learn(uid, path)
                    return path
            except RunNotFoundError:
                continue
            except (RunUnavailableError, DamagedRunError):
                unreadable = path
        # who reads it is told what is wrong with it
        return unreadable

    def missing(self, uid: str) -> str:
        """What to say when `find` finds nothing."""
        path = self.known(uid)
        return f"its file {path} is not there" if path else f"no file in the archive {self.root} is named after it"

    def _named_after(self, uid: str) -> Iterator[Path]:
        name = _UID.relative({"uid": uid}).removesuffix(".h5")
        for directory, _, files in os.walk(self.root):
            place = Path(directory)
            is_named = name in str(place.relative_to(self.root))
            for file in sorted(files):
                if (is_named or name in file) and file.endswith(FILE_SUFFIXES):
                    path = self.inside(place / file)
                    if path is not None and path.is_file():
                        yield path

    def inside(self, file: str | Path) -> Path | None:
        """Where a file is, relative to the root or absolute; None when that is outside the root."""
        try:
            path = (self.root / file).resolve()
        except (OSError, ValueError, RuntimeError):
            # a loop of links, or a NUL in the name
            return None
        return path if path.is_relative_to(self.root) and path != self.root else None

    def _learn(self, uid: str, path: Path) -> None:
        with self._lock:
            self._paths[uid] = path
            self._paths.move_to_end(uid)
            while len(self._paths) > _PATHS_KEPT:
                self._paths.popitem(last=False)
