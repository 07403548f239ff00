"""Journals of runs and an archiver beside them, without a writer and without Redis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from blissdata_bluesky.archive import ArchivedFile, FileSpan, FileView
from blissdata_bluesky.archive.registering import Register
from blissdata_bluesky.archive.root import MARK_NAME
from blissdata_bluesky.archive.run import ArchivedRun
from blissdata_bluesky.archive.service import Archiver
from blissdata_bluesky.journal import Header, JournalDirectory, RunJournal
from blissdata_bluesky.mapping import DEFAULT_PATH_TEMPLATE, PathTemplate, RunMapper, identity_from_start
from blissdata_bluesky.packing import pack_document, unpack_document
from blissdata_bluesky.protocol import Rows

from .emitted import EmittedRun, Named

TARGET = "127.0.0.1:1/0"


class Place:
    """A directory of journals and the root of an archive."""

    def __init__(self, directory: Path) -> None:
        self.journals = directory / "journal"
        self.root = directory / "archive"
        self.directory = JournalDirectory(self.journals)

    def path(self, start: dict[str, Any]) -> Path:
        """Where the run's file belongs."""
        return self.root / PathTemplate(DEFAULT_PATH_TEMPLATE).relative(start)

    def begin(self, documents: Sequence[Named], **identity: Any) -> RunJournal:
        """A journal with these documents, the first of which is the start; its owner lives."""
        start = documents[0][1]
        identity = {**identity_from_start(start), "path": str(self.path(start)), **identity}
        header = Header(start["uid"], "publisher", TARGET, identity, str(self.root))
        journal = self.directory.create(header)
        assert journal is not None
        add(journal, documents)
        return journal

    def whole(self, run: EmittedRun, **identity: Any) -> Path:
        """The journal of a run that Redis has whole; the path of the file that it is to have."""
        self.directory.finish(self.begin(run.documents, **identity))
        return self.path(run.documents[0][1])

    def archiver(self, register: Register | None = None) -> Archiver:
        """An archiver in this process."""
        return Archiver(self.journals, self.root, register)

    def archive(self, register: Register | None = None) -> None:
        """Archive all that can be archived."""
        self.archiver(register).run(lambda: False)

    def left(self) -> list[str]:
        """The suffixes of what is in the directory of journals, without what the archiver keeps there for itself."""
        own = {".catalog", ".lock", ".log", ".root"}
        return sorted(path.suffix for path in self.journals.iterdir() if path.suffix not in own)

    def files(self) -> set[Path]:
        """All files of the archive but the mark of its root, relative to it."""
        found = {path.relative_to(self.root) for path in self.root.rglob("*") if not path.is_dir()}
        return found - {Path(MARK_NAME)}


class Registered:
    """A `register` callable that remembers, and fails while it is told to."""

    def __init__(self) -> None:
        self.runs: list[ArchivedRun] = []
        self.calls = 0
        self.fails = False

    def __call__(self, runs: Sequence[ArchivedRun]) -> None:
        self.calls += 1
        if self.fails:
            raise ConnectionError("the list is away")
        self.runs += runs

    def complete(self, uid: str) -> list[ArchivedRun]:
        """Each time that the run was registered as complete."""
        return [run for run in self.runs if run.uid == uid and run.complete]


def add(journal: RunJournal, documents: Iterable[Named]) -> None:
    """Append documents to a journal."""
    for name, document in documents:
        assert journal.append(pack_document(name, document))


def journaled(documents: Iterable[Named]) -> list[Named]:
    """The documents as a journal gives them back: tuples are lists, and lone surrogates are escaped."""
    return [unpack_document(pack_document(name, document)) for name, document in documents]


def expected_columns(documents: Sequence[Named], path: Path | None = None) -> dict[str, list[Any]]:
    """Every column of a run, row by row, as the operations on its scan have it."""
    start = documents[0][1]
    mapper = RunMapper(start, {**identity_from_start(start), "path": None if path is None else str(path)})
    mapper.complaints.quiet = True
    found: dict[str, list[Any]] = {}
    for operation in [*mapper.create(), *mapper.take(documents[1:])]:
        for column in getattr(operation, "columns", ()):
            found.setdefault(column.name, []).extend(column.rows)
    return found


def stored_columns(path: Path) -> dict[str, Rows]:
    """Every column that a file has, by blissdata's name."""
    file = ArchivedFile(path)
    names = list(file.look().data_streams)
    return dict(zip(names, file.read([FileSpan(*span) for span in _spans(names, file.rows(names))]), strict=True))


def _spans(names: list[str], rows: list[int]) -> list[tuple[str, int, int]]:
    return [(name, 0, stop) for name, stop in zip(names, rows, strict=True)]


def assert_same_value(found: Any, expected: Any) -> None:
    """The same value, with its type; NaN is itself."""
    if isinstance(expected, np.ndarray | np.generic):
        found = np.asarray(found)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.tobytes() == np.ascontiguousarray(expected).tobytes()
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same_value(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same_value(one, other)
    else:
        assert found == expected or (found != found and expected != expected)
        assert type(found) is type(expected)


def assert_archived(path: Path, run: EmittedRun) -> FileView:
    """The file is complete, and has every row and every document of the run, once."""
    view = ArchivedFile(path).look()
    assert (view.uid, view.complete, view.incomplete) == (run.uid, True, "")
    documents = journaled(run.documents)
    found, expected = stored_columns(path), expected_columns(documents, path)
    assert {name for name, rows in found.items() if len(rows)} == {name for name, rows in expected.items() if rows}
    for name, rows in expected.items():
        assert_same_value(list(found[name]), rows)
    no_events = [named for named in documents if named[0] not in {"event", "event_page", "bulk_events"}]
    assert [entry.name for entry in view.entries] == [name for name, _ in no_events]
    assert_same_value([entry.document for entry in view.entries], [document for _, document in no_events])
    return view


def datasets(path: Path) -> dict[str, Any]:
    """All values in a file, by path, as plain h5py reads them."""
    found: dict[str, Any] = {}
    with h5py.File(path, "r", locking=False) as file:
        file.visititems(lambda name, item: found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    return found
