"""The file of one run at its place: made, found again, known to be the run's own, and begun anew when it is damaged."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import ArchiveError
from ..journal import Header
from .faults import FILE_ERRORS, fault_of, is_of_disk
from .file import RunFile, create_file
from .place import refusal, remove_damaged, require_own, safe_path, set_aside
from .state import ArchiveState, load_state, save_state

logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 3


class KeptFile:
    """Where the file is, and what is known of it for good."""

    def __init__(self, header: Header, root: Path, state_path: Path) -> None:
        """`root`: of the archive. `state_path`: where it is kept how far the run is archived.

        Raises ArchiveRefusedError when the run has no place in this archive.
        """
        self.path = safe_path(header, root)
        self.root = root.resolve()
        self._header = header
        self._state_path = state_path
        self._state = load_state(state_path)
        self._attempts = 0

    @property
    def name(self) -> str:
        """Its path below the root of the archive."""
        return self.path.relative_to(self.root).as_posix()

    def open(self) -> RunFile | None:
        """The run's file, made when it is missing; None when it is complete."""
        if not self.path.exists():
            # before it is made: what is known of an earlier one must not be taken for what this one has
            self._change_state(ArchiveState(begun=True))
            create_file(self.path, self._header)
        try:
            complete = require_own(self.path, self._header)
        except FILE_ERRORS as error:
            if isinstance(error, ArchiveError) or self._state.begun:
                raise
            raise refusal(self.path, self._header) from error
        return None if complete else RunFile(self.path, self._header, self._state.progress)

    def save(self, file: RunFile, offset: int) -> None:
        """Flush what has been written, up to this byte of the journal, and remember it."""
        file.flush()
        if file.replaced:
            self.require_own()
            raise FileNotFoundError("it was taken away while it was written")
        self._change_state(ArchiveState(offset, file.progress, begun=True))

    def require_own(self) -> None:
        """Raises ArchiveRefusedError when a stranger's file is at the path, FileNotFoundError when none is."""
        require_own(self.path, self._header)

    def remove_damaged(self) -> None:
        """Remove what was set aside of a run whose file is complete."""
        remove_damaged(self.path, self._header)

    def set_aside(self, error: Exception) -> None:
        """Have the file made again from the journal, unless the disk is at fault. Raises ArchiveError."""
        about = f"run {self._header.uid}: its file {self.path}"
        if is_of_disk(error):
            raise ArchiveError(
                f"{about} cannot be written ({fault_of(error)}); the journal is kept. See to it that there is room in "
                f"{self.root}, and that the archiver may write there"
            ) from error
        self._attempts += 1
        if self._attempts >= _MOST_ATTEMPTS:
            raise ArchiveError(
                f"{about} could not be made in {self._attempts} attempts ({fault_of(error)}); the journal is kept. If the "
                "disk is sound, report this"
            ) from error
        moved = self._moved()
        logger.warning("%s is damaged (%s) and is made again from the journal%s", about, fault_of(error), moved)

    def _moved(self) -> str:
        # what is no file is not ours, though it has taken the place of one that was
        safe_path(self._header, self.root)
        if not self.path.exists():
            return ""
        try:
            return f"; the damaged one is {set_aside(self.path)}"
        except OSError as error:
            raise ArchiveError(
                f"run {self._header.uid}: its damaged file {self.path} cannot be moved ({error.strerror}); the journal is "
                "kept. Move it away"
            ) from error

    def _change_state(self, state: ArchiveState) -> None:
        first = state.begun and not self._state.begun
        save_state(self._state_path, self._header.uid, state, durable=first)
        self._state = state
