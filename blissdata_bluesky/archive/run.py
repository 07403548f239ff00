"""One run on its way from its journal into its file."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ..errors import ArchiveError, ArchiveRefusedError, ExternalDataError, JournalError
from ..external import Roots
from ..journal import MARKS_SUFFIX, Damage, JournalReader, prepared_after
from ..mapping import AddDocument, AppendRows, CreateScan, DeclareStreams, Operation, RunMapper, located
from ..packing import unpack_document
from .faults import FILE_ERRORS
from .file import RunFile
from .kept_file import KeptFile
from .seal import Ending, seal
from .state import state_path

logger = logging.getLogger(__name__)

Document: TypeAlias = tuple[str, Mapping[str, Any]]

BATCH_BYTES, BATCH_DOCUMENTS = 16 * 2**20, 4000
# other runs wait meanwhile, and rows are to be in their file within 5 s
_LONGEST_STEP_SECONDS = 1.0
_LARGE_BYTES = 2**24
_ODD = ": what follows is not archived, and the journal is kept. Who wrote it? If its disk is sound, report this"


class ArchivedRun(NamedTuple):
    """A run that has a file, as it is to be registered."""

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None
    incomplete: str
    """Why the run is not whole; "" while it may be."""
    file: str
    """Its path below the root of the archive."""
    complete: bool
    """Whether nothing will follow."""
    journal_is_needed: bool = False
    """Whether documents stand nowhere else, as they are none that event-model knows."""


class RunArchiver:
    """Reads one journal on and writes its run's file, which grows meanwhile. Begun anew, it goes on where it was."""

    def __init__(self, journal: Path, root: Path, external_roots: Roots) -> None:
        """`root`: of the archive. `external_roots`: where detectors' files are, to which the run's file has links.

        Raises JournalError when the journal cannot be read, ArchiveRefusedError when its run has no place in this
        archive.
        """
        self.journal = journal
        self.announced = False
        """Whether whoever keeps the list of runs knows of it."""
        self._external_roots = external_roots
        self._reader = JournalReader(journal)
        try:
            self.header = self._reader.header
            self._kept = KeptFile(self.header, root, state_path(journal))
            _require_number(self.header.identity.get("number"), self.header.uid)
        except BaseException:
            self._reader.close()
            raise
        self._begin()

    def _begin(self) -> None:
        self._offset = self._reader.begin
        self._mapper: RunMapper | None = None
        self._file: RunFile | None = None
        self._start: Mapping[str, Any] = {}
        self._stop: Mapping[str, Any] | None = None
        self.ended = False
        """Whether all of the run has been read."""
        self.complete = False
        """Whether the file is sealed: verified, and safe on the disk."""
        self.damage: Damage | None = None
        """Why the journal must not go, though nothing more of it can be archived; known when the run has ended."""

    @property
    def path(self) -> Path:
        """The run's file, which may not be there yet."""
        return self._kept.path

    @property
    def lacks(self) -> str:
        """What the log is to tell of a run that is archived and not whole; "" of all others."""
        reason = self.damage.reason if self.damage else self._reader.failure or self._left_out
        if not reason:
            return ""
        there = f"its file {self.path} has what could be made of it" if self.path.exists() else "it has no file"
        return f"run {self.header.uid}: {reason}; {there}. What Redis has of it can be read as long as it is there"

    @property
    def _left_out(self) -> str:
        return self._mapper.complaints.left_out if self._mapper is not None else ""

    @property
    def result(self) -> ArchivedRun | None:
        """What is to be registered; None before the start document has come."""
        if self._mapper is None:
            return None
        return ArchivedRun(
            self.header.uid,
            self._start,
            self._stop,
            self._mapper.incomplete,
            self._kept.name,
            self.complete,
            bool(self._left_out),
        )

    @property
    def owned(self) -> bool:
        """Whether a process is publishing the run."""
        return self._reader.owned

    @property
    def is_large(self) -> bool:
        """Whether sealing takes longer than others should wait."""
        return self._reader.size > _LARGE_BYTES

    @property
    def behind(self) -> int:
        """Bytes of the journal that have not been read."""
        return self._reader.size - self._offset

    def step(self) -> bool:
        """Archive what is there, up to a bound; whether there was anything. What was archived is flushed.

        Raises JournalError, ArchiveError; what is in the file stays, and another `RunArchiver` goes on with it.
        """
        try:
            return self._step()
        except ArchiveError:
            raise
        except FILE_ERRORS as error:
            if isinstance(error, JournalError):
                raise
            self._retry(error)
            return True

    def seal(self) -> None:
        """Finish the file of a run that has ended; `complete` tells whether that is done.

        Raises ArchiveError when the disk does not let it; the file that grew stays as it was.
        """
        self.complete = self._file is None
        if self._file is None or self._mapper is None:
            return
        try:
            self._file.flush()
            mapper, file = self._mapper, self._file
            ending = Ending(
                self._linked(mapper.h5map), mapper.data_streams, file.columns, file.progress, mapper.incomplete
            )
            self._close_file()
            self._kept.require_own()
            if wrong := seal(self.path, ending, self._kept.root):
                raise ValueError("; ".join(wrong))
        except ArchiveError:
            raise
        except FILE_ERRORS as error:
            self._retry(error)
            return
        self.complete = True
        self._kept.remove_damaged()

    def _linked(self, layout: dict[str, Any]) -> dict[str, Any]:
        """The layout with links to those of the detectors' files that may be read here."""
        refused: list[ExternalDataError] = []

        def locate(uri: str) -> str | None:
            try:
                return str(self._external_roots.resolve(uri))
            except ExternalDataError as error:
                refused.append(error)
                return None

        layout = located(layout, locate)
        if refused:
            logger.warning(
                "run %s: %s has no links to the detectors' files, which stay where they are: %s",
                self.header.uid,
                self.path,
                refused[0],
            )
        return layout

    def close(self) -> None:
        """Close journal and file."""
        self._close_file()
        self._reader.close()

    def _close_file(self) -> None:
        """Close the file, also when HDF5 cannot write what it has in memory."""
        if self._file is not None:
            file, self._file = self._file, None
            try:
                file.close()
            except FILE_ERRORS as error:
                logger.debug("%s could not be closed: %s", self.path, error)

    def _step(self) -> bool:
        batches = self._take_all()
        if not batches and not self.ended and not self._reader.owned:
            # what its owner wrote last may have come after the first look
            batches = self._take_all()
            if not batches:
                self._end_incomplete()
                return True
        if batches and self._file is not None:
            self._kept.save(self._file, self._offset)
        return bool(batches)

    def _take_all(self) -> int:
        """Take what the journal has, up to a bound; how many batches it was."""
        count = 0
        until = time.monotonic() + _LONGEST_STEP_SECONDS
        for documents in self._read():
            self._take(documents)
            count += 1
            if time.monotonic() > until:
                break
        return count

    def _read(self) -> Iterator[list[Document]]:
        prepared = set(prepared_after(self.journal.with_suffix(MARKS_SUFFIX))) if self._waits else set()
        documents: list[Document] = []
        begin = last = self._offset
        for last, packed in self._reader.records(self._offset):
            try:
                documents.append(unpack_document(packed))
            except ValueError as error:
                raise JournalError(f"{self._about_journal} holds no document before byte {last}{_ODD}") from error
            if len(documents) >= BATCH_DOCUMENTS or last - begin > BATCH_BYTES or last in prepared:
                self._offset = begin = last
                yield documents
                documents = []
                if last in prepared and self._mapper is not None:
                    self._apply(self._mapper.prepare())
        if documents:
            self._offset = last
            yield documents

    @property
    def _about_journal(self) -> str:
        return f"run {self.header.uid}: its journal {self.journal}"

    @property
    def _waits(self) -> bool:
        return self._mapper is None or self._mapper.waits_to_prepare

    def _take(self, documents: list[Document]) -> None:
        if self.ended:
            return
        if self._mapper is None:
            (name, start), *documents = documents
            if name != "start":
                raise JournalError(f"{self._about_journal} does not begin with a start document{_ODD}")
            self._start, self._mapper = start, RunMapper(start, self.header.identity, ordered=self.header.ordered)
            # the publisher's log tells of documents that cannot be mapped
            self._mapper.complaints.quiet = True
            self._file = self._kept.open()
            self._apply(self._mapper.create())
        self._apply(self._mapper.take(documents))
        self._stop = next((document for name, document in reversed(documents) if name == "stop"), None)
        self.ended = self._stop is not None

    def _apply(self, operations: Iterable[Operation]) -> None:
        taken, declared = [], None
        for operation in operations:
            # of a file that is complete already, only what the run's documents say is wanted
            if self._file is not None and self._mapper is not None:
                taken.append(operation)
                if isinstance(operation, CreateScan | DeclareStreams):
                    declared = (self._mapper.h5map, self._mapper.data_streams)
        if self._file is not None and declared is not None:
            # once for all of them: it takes a copy of the file
            self._file.declare(*declared)
        for operation in taken:
            self._write(operation)

    def _write(self, operation: Operation) -> None:
        if self._file is None:
            return
        match operation:
            case AppendRows():
                self._file.append(operation)
            case AddDocument():
                self._file.add_document(operation)

    def _end_incomplete(self) -> None:
        """The journal has no stop document and nobody who could write one."""
        self.damage = self._reader.damage(self._offset)
        if self._mapper is not None:
            reasons = (self.damage.reason if self.damage else "", self._reader.failure)
            reason = "; ".join(filter(None, reasons)) or self.header.owner_died
            self._apply(self._mapper.end_incomplete(reason, self._reader.modified))
        self.ended = True

    def _retry(self, error: Exception) -> None:
        """Make the file again from the journal, unless the disk is at fault. Raises ArchiveError."""
        self._close_file()
        self._kept.set_aside(error)
        self._begin()


def _require_number(number: Any, uid: str) -> None:
    if number is not None and not isinstance(number, int):
        raise ArchiveRefusedError(f"run {uid}: its number {number!r} is none; its journal is kept. Who wrote it?")
