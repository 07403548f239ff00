"""All runs below the root of an archive, by their files, in bounded memory."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from ..archive import ArchivedFile
from ..catalog import Registration
from ..errors import BlissdataBlueskyError
from ..mapping import FILE_SUFFIXES


class ArchivedFiles:
    """Looks into the HDF5 files below a directory.

    Hidden files are not whole yet, and symbolic links are not followed: what they lead to in the archive is found
    anyway. `other` is called with the path of each HDF5 file that is no archived run, `complain` with what is wrong
    with a file that cannot be listed.
    """

    def __init__(self, root: Path, other: Callable[[Path], None], complain: Callable[[str], None]) -> None:
        self._root = root
        self._other = other
        self._complain = complain

    def count(self) -> int:
        """How many files there are to look into."""
        return sum(1 for _ in _files(self._root, lambda _: None))

    def is_lost(self, file: str) -> bool:
        """Whether the file of a run that is listed is gone; one that cannot be looked at is not."""
        try:
            (self._root / file).lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except (OSError, ValueError):
            return False
        return False

    def runs(self) -> Iterator[Registration | None]:
        """One answer for each file, in no order: None where there is nothing to be listed."""
        files: dict[str, str] = {}
        for path in _files(self._root, self._complain_of):
            run = self._look(path)
            if run is not None and files.setdefault(run.uid, run.file) != run.file:
                self._complain(f"run {run.uid} is in {files[run.uid]} and again in {run.file}, which is left out")
                run = None
            yield run

    def _look(self, path: Path) -> Registration | None:
        try:
            # no database takes another encoding
            file = path.relative_to(self._root).as_posix().encode().decode()
            archived = ArchivedFile(path)
            if not archived.is_run:
                self._other(path)
                return None
            view = archived.look()
        except UnicodeEncodeError:
            self._complain(f"the path {path!a} is not UTF-8: rename it")
        except BlissdataBlueskyError as error:
            self._complain(str(error))
        except Exception as error:  # noqa: BLE001 - whatever is in one file, the others are to be listed
            self._complain(f"{path} cannot be read: {error}")
        else:
            documents = {entry.name: entry.document for entry in view.entries if isinstance(entry.document, dict)}
            if "start" in documents:
                return Registration(view.uid, documents["start"], documents.get("stop"), view.incomplete, file)
            self._complain(f"{path} has no start document yet")
        return None

    def _complain_of(self, error: OSError) -> None:
        self._complain(f"{error.filename} cannot be read: {error.strerror}")


class Spool:
    """Runs on disk, taken out in the order of their start times; a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `__exit__`
        self._places: list[tuple[float, int]] = []

    def put(self, run: Registration) -> None:
        """Keep one run."""
        self._places.append((run.time, self._file.tell()))
        told = run.metadata
        line = [run.uid, told["start"], told.get("stop"), run.incomplete, run.file]
        self._file.write(json.dumps(line).encode() + b"\n")

    def in_order(self) -> Iterator[Registration]:
        """All runs that are kept."""
        for _, place in sorted(self._places):
            self._file.seek(place)
            yield Registration(*json.loads(self._file.readline()))

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def hold_any(root: Path) -> bool:
    """Whether there is any HDF5 file below a directory."""
    return next(_files(root, lambda _: None), None) is not None


def _files(root: Path, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    for directory, below, names in os.walk(root, onerror=unreadable):
        below.sort()
        paths = [Path(directory, name) for name in sorted(names)]
        yield from (
            path
            for path in paths
            # a pipe would keep us waiting for ever
            if path.suffix in FILE_SUFFIXES
            and not path.name.startswith(".")
            and not path.is_symlink()
            and path.is_file()
        )
