"""A run's documents once more, from its journal, in the batches in which they were published before."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import JournalError
from ..journal import Mark, RunJournal
from ..packing import unpack_document
from .feed import BATCH_BYTES, BATCH_DOCUMENTS, Document


class Replay:
    """Reads a journal from its first document on. What has no mark is cut anew, and marked."""

    def __init__(self, journal: RunJournal) -> None:
        self._journal = journal
        self._batches = 0
        self.offset = journal.begin
        """How far the journal has been read, in bytes."""

    def batches(self, end: int) -> Iterator[tuple[list[Document], bool]]:
        """The next batches, up to byte `end`, about as many as are sent at once; with each, whether it was prepared.

        Raises JournalError where the journal is damaged.
        """
        begin = self.offset
        batch: list[Document] = []
        for count, (offset, document) in enumerate(self._documents(end), 1):
            batch.append(document)
            enough = offset - begin > BATCH_BYTES or count >= BATCH_DOCUMENTS
            mark = self._mark()
            if offset >= min(end, mark.offset if mark else offset if enough else end):
                yield batch, self._cut(offset)
                batch = []
                if enough:
                    return

    def _documents(self, end: int) -> Iterator[tuple[int, Document]]:
        if self.offset >= end:
            return
        for offset, packed in self._journal.records(self.offset):
            self.offset = offset
            try:
                yield offset, unpack_document(packed)
            except ValueError as error:
                raise JournalError(f"journal {self._journal.path} holds no document at byte {offset}") from error
            if offset >= end:
                return
        raise JournalError(f"journal {self._journal.path} is damaged at byte {self.offset}")

    def _mark(self) -> Mark | None:
        """The next mark that can be one."""
        marks = self._journal.marks
        if marks is None or self._batches >= len(marks):
            return None
        mark = marks[self._batches]
        return mark if mark.offset <= self._journal.size else None

    def _cut(self, offset: int) -> bool:
        if self._journal.marks is not None:
            self._journal.marks.add(offset)
        prepared = False
        while (mark := self._mark()) and mark.offset <= offset:
            self._batches += 1
            prepared = prepared or mark.prepared
        return prepared
