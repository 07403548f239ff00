"""Opening datasets of HDF5 files, with every link on the way followed by us, within the roots."""

from __future__ import annotations

import errno
import os
import re
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py

from ..errors import (
    ExternalDataError,
    ExternalFormatError,
    ExternalMissingError,
    ExternalNotReadyError,
)
from .files import not_permitted, require_file, shown
from .roots import Roots

_MOST_LINKS = 64
_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OPEN_OTHERWISE = re.compile("flag not the same for file that is already open|flag values don't match")
_ABSOLUTE = re.compile(r"/|\\\\|[A-Za-z]:[/\\]|file:")


class OpenFiles:
    """The HDF5 files that one reading needs, open until it ends.

    `locking`: as the resource says it, else None, which is what HDF5 does by itself.
    """

    def __init__(self, roots: Roots, locking: Any = None) -> None:
        self._roots = roots
        self._locking = locking if isinstance(locking, bool) or locking == "best-effort" else None
        self._stack = ExitStack()
        self._files: dict[Path, h5py.File] = {}
        self._sizes: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cut = None if error else next((path for path, size in self._sizes.items() if self._size(path) < size), None)
        self._stack.close()
        if cut is not None:
            # HDF5 gives zeros for what lies beyond the end
            raise ExternalNotReadyError(f"{cut} was truncated while it was read: try again later")

    def _size(self, path: Path) -> int:
        return os.fstat(self._files[path].id.get_vfd_handle()).st_size

    def dataset(self, path: Path, name: str, uri: str) -> h5py.Dataset:
        """A dataset of a file, wherever soft and external links lead; it is not looked into.

        Raises ExternalDataError, and whatever h5py does.
        """
        file = self._open(path, uri)
        group, steps, links = file["/"], _steps(name), 0
        while steps:
            step, *steps = steps
            match group.get(step, getlink=True) if isinstance(group, h5py.Group) else None:
                case h5py.HardLink():
                    group = group[step]
                    continue
                case h5py.SoftLink() as link:
                    group = file["/"] if link.path.startswith("/") else group
                case h5py.ExternalLink() as link:
                    path = self.linked(link.filename, path)
                    file = self._open(path, str(path))
                    group = file["/"]
                case _:
                    raise ExternalMissingError(f"{shown(path, uri)} has no dataset {name!r}: {step!r} is not there")
            steps, links = [*_steps(link.path), *steps], links + 1
            if links > _MOST_LINKS:
                raise ExternalFormatError(f"{shown(path, uri)}: the links of {name!r} lead in a circle")
        if not isinstance(group, h5py.Dataset):
            raise ExternalFormatError(f"{shown(path, uri)}: {name!r} is no dataset")
        return group

    def linked(self, name: str, path: Path) -> Path:
        """The file that another file names: where it says, or beside that file, as HDF5 looks for it.

        Raises ExternalRefusedError, ExternalMissingError.
        """
        try:
            if not _ABSOLUTE.match(name):
                return require_file(self._roots.inside(path.parent / name, name), name)
            target = self._roots.resolve(name)
            if not target.exists():
                target = self._roots.inside(path.parent / name.replace("\\", "/").rpartition("/")[2], name)
            return require_file(target, name)
        except ExternalDataError as error:
            raise type(error)(f"{path} leads to another file: {error}") from error

    def _open(self, path: Path, uri: str) -> h5py.File:
        if path not in self._files:
            require_file(path, uri)
            self._files[path] = self._stack.enter_context(_opened(path, uri, self._locking))
            self._sizes[path] = self._size(path)
        return self._files[path]


def _steps(name: str) -> list[str]:
    return [step for step in name.split("/") if step not in {"", "."}]


def _opened(path: Path, uri: str, locking: Any) -> h5py.File:
    # SWMR reads files of any kind, also while they grow, and lets go of the lock at once; what this process has open
    # already, in a notebook say, can only be opened in the same way again
    ways = [(swmr, lock) for lock in dict.fromkeys([locking, False, True, None]) for swmr in (True, False)]
    for swmr, lock in ways:
        try:
            return h5py.File(path, "r", swmr=swmr, locking=lock)
        except OSError as error:
            if _OPEN_OTHERWISE.search(str(error)) and (swmr, lock) != ways[-1]:
                continue
            raise _fault(error, path, uri) from error
    raise ValueError(ways)


def _fault(error: Exception, path: Path, uri: str) -> ExternalDataError:
    """Why a file cannot be opened."""
    number, text = getattr(error, "errno", None), str(error)
    if "unable to lock file" in text or number == errno.EAGAIN:
        return ExternalNotReadyError(
            f"{shown(path, uri)} is locked by the program that writes it: try again later, or let that program write with "
            "SWMR or without locks, or say 'locking': false in the resource's parameters"
        )
    if isinstance(error, PermissionError) or number == errno.EACCES:
        return not_permitted(shown(path, uri))
    if "signature not found" in text and _begins_otherwise(path):
        return ExternalFormatError(f"{shown(path, uri)} is no HDF5 file, as which the documents announce it")
    return ExternalNotReadyError(
        f"{shown(path, uri)} cannot be opened: it is truncated, or not yet flushed ({text}). Try again later; a finished "
        "file that cannot be opened is damaged"
    )


def _begins_otherwise(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            begin = file.read(len(_SIGNATURE))
    except OSError:
        return False
    return any(begin) and not _SIGNATURE.startswith(begin)
