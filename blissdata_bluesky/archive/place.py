"""Where a run's file is, which is never outside the archive, and whose file is there."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import h5py

from ..errors import ArchiveRefusedError
from ..journal import Header
from .faults import FILE_ERRORS, fault_of
from .format import COMPLETE_ATTRIBUTE, PUBLISHER_ATTRIBUTE, UID_ATTRIBUTE, text_attribute

logger = logging.getLogger(__name__)

NEW_SUFFIX, DAMAGED_SUFFIX = ".new", ".damaged"


def safe_path(header: Header, root: Path) -> Path:
    """The path of the run's file. Raises ArchiveRefusedError when it is not one below the archive's root."""
    path = header.identity.get("path")
    real = _real_path(path) if isinstance(path, str) else None
    if real is None or not real.is_relative_to(root.resolve()) or real == root.resolve():
        raise ArchiveRefusedError(
            f"run {header.uid}: its file {path!r} would not lie below the archive's root {root}; nothing is written, and "
            "the journal is kept. Who wrote that journal?"
        )
    # a pipe would keep its reader waiting for ever
    if real.is_symlink() or (real.exists() and not real.is_file()):
        raise ArchiveRefusedError(
            f"run {header.uid}: what is at the place of its file {path!r} is no file; it is left alone, and the journal is "
            "kept. Move it away"
        )
    return real


def new_path(path: Path) -> Path:
    """Where a file is made that will take the place of `path` as a whole."""
    return path.with_name(f".{path.name}{NEW_SUFFIX}")


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, in place of an earlier one; where it is now. Raises OSError."""
    damaged = _damaged_path(path)
    path.replace(damaged)
    return damaged


def remove_damaged(path: Path, header: Header) -> None:
    """Remove what was set aside, if it is surely the run's: the file that took its place has all of it."""
    damaged = _damaged_path(path)
    try:
        if damaged.exists():
            require_own(damaged, header)
            damaged.unlink()
    except FILE_ERRORS as error:
        logger.info("%s is kept, for it may be somebody else's: %s", damaged, fault_of(error))


def _damaged_path(path: Path) -> Path:
    return path.with_name(f".{path.name}{DAMAGED_SUFFIX}")


def require_own(path: Path, header: Header) -> bool:
    """Make sure that the file is this run's; whether it is complete.

    Raises ArchiveRefusedError when it is not, OSError or RuntimeError when it cannot be read.
    """
    with h5py.File(path, "r", locking=False) as file:
        owner = [text_attribute(file, name) for name in (UID_ATTRIBUTE, PUBLISHER_ATTRIBUTE)]
        if owner == [header.uid, header.publisher]:
            return COMPLETE_ATTRIBUTE in file.attrs
    raise refusal(path, header)


def is_same_file(path: Path, descriptor: int) -> bool:
    """Whether `path` still leads to the open file. False when nothing is there."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def refusal(path: Path, header: Header) -> ArchiveRefusedError:
    """What is said when another file stands in the place of a run's."""
    return ArchiveRefusedError(
        f"run {header.uid}: there is a file {path} which is not this run's; it is left alone, and the journal is kept. "
        "Move it away, or give a path_template that makes different paths"
    )


def _real_path(path: str) -> Path | None:
    """Where this really is, its last component aside; None when there cannot be such a file."""
    given = Path(path)
    if not given.is_absolute() or given.name in {"", ".."} or "\0" in path:
        return None
    try:
        real = given.parent.resolve() / given.name
        real.is_symlink()
    except (OSError, ValueError, RuntimeError):
        # too long, a lone surrogate, a loop of links
        return None
    return real
