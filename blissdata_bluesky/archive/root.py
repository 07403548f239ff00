"""Whether the root of an archive is the one that it was: it may be a disk that is not mounted now."""

from __future__ import annotations

import os
import uuid
import zlib
from contextlib import suppress
from pathlib import Path

from ..errors import ArchiveError
from .durable import make_directory, new_file, replace_text, sync

MARK_NAME = ".archive-id"


def path_beside(journal: Path, root: Path, suffix: str) -> Path:
    """What the archiver keeps in a directory of journals for one of the archives that they belong into."""
    return journal / f"archiver-{zlib.crc32(str(root.resolve()).encode()):08x}{suffix}"


class ArchiveRoot:
    """The directory of an archive, known by a mark in it; which mark that is stands beside the journals."""

    def __init__(self, journal: Path, root: Path) -> None:
        """Make the directory and its mark when there never was one.

        Raises ArchiveError when they cannot be made, or the archive of these journals has been another one.
        """
        self.path = root.expanduser().absolute()
        self._mark = self.path / MARK_NAME
        self._known = path_beside(journal, self.path, ".root")
        try:
            self._id = self._known.read_text() if self._known.exists() else self._made()
        except OSError as error:
            raise ArchiveError(f"the archive {self.path} cannot be made: {error.strerror}") from error
        if not self.is_there:
            raise ArchiveError(self.away)

    @property
    def is_there(self) -> bool:
        """Whether it is there, and no other directory in its place."""
        try:
            return self._mark.read_text() == self._id
        except OSError:
            return False

    @property
    def away(self) -> str:
        """What is said when it is not."""
        return (
            f"the archive {self.path} is not there, or another directory stands in its place ({self._mark.name} in it "
            f"is not what {self._known} says): is its disk mounted? Journals are kept. If it is a new archive, remove "
            f"{self._known}"
        )

    def _made(self) -> str:
        """Make what is missing. Archivers that do so at once all find the mark of one of them."""
        make_directory(self.path)
        if not self._mark.exists():
            self._make_mark()
        identity = self._mark.read_text()
        replace_text(self._known, identity)
        return identity

    def _make_mark(self) -> None:
        # unlike a renamed one, a link never takes the place of another file
        with new_file(self._mark, uuid.uuid4().hex) as new, suppress(FileExistsError):
            os.link(new, self._mark)
        sync(self.path)
