"""What is on the disk, and not only in the memory of the operating system, when the power fails."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Bring a file, or a directory's list of files, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory, and those above it, unless they are there. Raises OSError."""
    made = [directory for directory in (path, *path.parents) if not directory.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for directory in made:
        sync(directory.parent)


def write_text(path: Path, text: str) -> None:
    """Write a file, which is on the disk then; its directory's list of files may not be. Raises OSError."""
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def new_file(path: Path, text: str) -> Iterator[Path]:
    """A file with this text, which is to take the place of `path` as a whole, and is gone afterwards."""
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        write_text(new, text)
        yield new
    finally:
        new.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Have a file with this text at `path`, on the disk; whoever looks sees all of it or what was there before.

    Raises OSError.
    """
    with new_file(path, text) as new:
        new.replace(path)
    sync(path.parent)
