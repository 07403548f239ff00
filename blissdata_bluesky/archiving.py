"""What a writer has to do with the archive: where each run's file is, and that somebody writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .errors import ArchiveError
from .mapping import PathTemplate

if TYPE_CHECKING:
    from .archive.child import ArchiverChild


class Archiving:
    """The archive of one writer, which may have none."""

    def __init__(self, archive: str | Path | None, path_template: str, file_writer: Literal["builtin"] | None) -> None:
        """Raises ValueError for a template or file writer that cannot be, ArchiveError for such a directory.

        ExternalRootsError for an entry of BLISSDATA_BLUESKY_ROOTS that is no root.
        """
        if file_writer not in {"builtin", None}:
            raise ValueError(f'file_writer={file_writer!r}: give "builtin" or None')
        if archive == "":
            raise ValueError('archive="": give the directory of the archive, or None')
        self._template = PathTemplate(path_template)
        self._root = None if archive is None else Path(archive).expanduser().absolute()
        self._builtin = file_writer == "builtin"
        self._child: ArchiverChild | None = None
        if self._root is not None:
            _require_writable(self._root)
        if self.builtin_root:
            _require_roots()

    @property
    def builtin_root(self) -> str:
        """The root of the files that our archiver writes; "" when it writes none."""
        return str(self._root) if self._root is not None and self._builtin else ""

    def path(self, start: Mapping[str, Any]) -> str | None:
        """Absolute path of the run's file; None when there is to be none."""
        return None if self._root is None else str(self._root / self._template.relative(start))

    def start(self, journal: Path) -> None:
        """See to it, from now on, that an archiver is at work."""
        if self.builtin_root:
            # h5py takes as long to import as all the rest
            from .archive.child import ArchiverChild

            self._child = ArchiverChild(journal, Path(self.builtin_root))

    def stop(self) -> None:
        """An archiver that was started ends when it has finished what can be finished."""
        if self._child is not None:
            self._child.stop()

    def forget(self) -> None:
        """In a forked child: the archiver is its parent's."""
        if self._child is not None:
            self._child.forget()


def _require_roots() -> None:
    """The archiver that is started takes them from the environment, and ends at once when they are wrong."""
    if os.environ.get("BLISSDATA_BLUESKY_ROOTS"):
        # h5py takes as long to import as all the rest
        from .external import Roots

        Roots.configured()


def _require_writable(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArchiveError(f"the archive {root} cannot be made: {error.strerror}") from error
    if not os.access(root, os.W_OK | os.X_OK):
        raise ArchiveError(f"the archive {root} cannot be written: give archive=DIR that can")
