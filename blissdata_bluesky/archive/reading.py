"""Reading an archived run's file, also while it is written, replaced by its sealed form, or taken away."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import h5py
import numpy as np

from ..errors import ArchiveFormatError, BlissdataBlueskyError, RunNotFoundError, RunUnavailableError
from ..mapping import is_array
from ..protocol import Array, DocumentEntry, Encoding, NumericEncoding, Rows, encoding_from_json, value_of
from .chunks import chunks_around, copy_chunk, copy_rows, is_ours
from .faults import FILE_ERRORS, fault_of
from .format import (
    COMPLETE_ATTRIBUTE,
    DOCUMENTS,
    FORMAT,
    FORMAT_ATTRIBUTE,
    GROUP_ATTRIBUTE,
    INCOMPLETE_ATTRIBUTE,
    SHAPES,
    STREAMS,
    UID_ATTRIBUTE,
    VALUES,
    is_text,
    text_attribute,
)

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# how long a growing file may keep its readers from what they want
_RETRY_SECONDS, _PAUSE_SECONDS = 2.0, 0.02
# less is read sooner than threads are made
_PARALLEL_BYTES = 2**21
_THREADS = max(2, min(4, os.cpu_count() or 2))

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class FileSpan:
    """Rows `start` to `stop` of a data stream."""

    name: str
    """blissdata's name, `primary:det`."""
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class FileView:
    """What a file holds of its run beside the rows."""

    uid: str
    entries: tuple[DocumentEntry, ...]
    """The documents that are no events, from the index that was asked for."""
    data_streams: Mapping[str, Mapping[str, Any]]
    """As in the scan's JSON document: name → `pk`, `encoding`, `info`; and `path`, where the rows are in the file."""
    complete: bool
    """Whether nothing will follow."""
    incomplete: str
    """Why a complete file does not hold a whole run; "" for all others."""


class ArchivedFile:
    """The file of one run. Thread-safe; it is opened for each access, and no longer than that.

    Every method but `is_run` raises RunNotFoundError when there is no such file, ArchiveFormatError when it is no
    archived run or one of a newer format, and RunUnavailableError when it cannot be read, which is tried for two
    seconds.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._streams: dict[str, tuple[str, Encoding]] = {}

    @property
    def is_run(self) -> bool:
        """Whether it is a file of this package, of any version. Raises OSError when it is no readable HDF5 file."""
        with h5py.File(self.path, "r", locking=False) as file:
            return FORMAT_ATTRIBUTE in file.attrs

    def look(self, known: int = 0) -> FileView:
        """The file as it is now, with its documents from index `known` on."""
        return self._ask(lambda file: _view(file, known))

    def rows(self, names: Sequence[str]) -> list[int]:
        """How many rows the file has of each data stream; 0 of one that it does not have yet."""
        return self._ask(lambda file: [self._rows(file, name) for name in names])

    def read(self, spans: Sequence[FileSpan]) -> list[Rows]:
        """The rows of each span: an array (rows, *shape), or a list for ragged and JSON columns.

        Raises also RunUnavailableError when the file does not have all of them.
        """
        return self._ask(lambda file: self._read(file, spans))

    def _read(self, file: h5py.File, spans: Sequence[FileSpan]) -> list[Rows]:
        with _Chunks() as chunks:
            return [self._read_span(file, span, chunks) for span in spans]

    def _read_span(self, file: h5py.File, span: FileSpan, chunks: _Chunks) -> Rows:
        path, encoding = self._stream(file, span.name)
        if is_text(encoding):
            return [value_of(text) for text in _texts(file, path, span.start, span.stop, chunks)]
        if is_array(encoding):
            return chunks.read(_item(file, path), span.start, span.stop)
        rows = _ragged(file, path, span.start, span.stop, chunks)
        if isinstance(encoding, NumericEncoding) and not encoding.ragged:
            return np.array(rows, encoding.dtype).reshape(len(rows), *encoding.shape)
        return rows

    def _rows(self, file: h5py.File, name: str) -> int:
        try:
            path, encoding = self._stream(file, name)
        except KeyError:
            return 0
        return len(_item(file, path if is_array(encoding) else f"{path}/{SHAPES}"))

    def _stream(self, file: h5py.File, name: str) -> tuple[str, Encoding]:
        # they are never taken back, nor changed
        if name not in self._streams:
            models = _streams(file)
            self._streams = {
                one: (model["path"], encoding_from_json(model["encoding"])) for one, model in models.items()
            }
        return self._streams[name]

    def _ask(self, question: Callable[[h5py.File], _Answer]) -> _Answer:
        deadline = time.monotonic() + _RETRY_SECONDS
        while True:
            try:
                with self._opened() as file:
                    return question(file)
            except BlissdataBlueskyError:
                raise
            except FileNotFoundError as error:
                raise RunNotFoundError(f"there is no archived run {self.path}: was it moved or deleted?") from error
            except (AttributeError, TypeError, RecursionError, MemoryError, OverflowError) as error:
                raise ArchiveFormatError(
                    f"{self.path} is damaged, or is not what it says of itself ({error!r}): read it with h5py"
                ) from error
            except FILE_ERRORS as error:
                if time.monotonic() > deadline:
                    raise RunUnavailableError(
                        f"archived run {self.path} cannot be read ({fault_of(error)}): if nobody writes it, it is damaged, and "
                        "`blissdata-bluesky archive` makes it again from its journal while there is one"
                    ) from error
            time.sleep(_PAUSE_SECONDS)

    @contextmanager
    def _opened(self) -> Iterator[h5py.File]:
        # HDF5's own messages for a file that is not there, and for one of another kind, cannot be told from others
        _require_hdf5(self.path)
        with h5py.File(self.path, "r", locking=False) as file:
            found = file.attrs.get(FORMAT_ATTRIBUTE)
            if not isinstance(found, int | np.integer):
                raise ArchiveFormatError(f"{self.path} is no archived run: read it with h5py")
            if found > FORMAT:
                raise ArchiveFormatError(
                    f"archived run {self.path} has format {found}, this version reads up to {FORMAT}: open it with the "
                    "version of blissdata-bluesky that wrote it, or a newer one"
                )
            yield file


def _item(file: h5py.File, path: str) -> h5py.Dataset | h5py.Group:
    """What is at a path of this file. Raises ArchiveFormatError for what leads out of it, which is not followed."""
    names = path.strip("/").split("/")
    for count in range(1, len(names) + 1):
        # unlike `in` and `get`, this does not look where the link leads
        if file.id.links.get_info("/".join(names[:count]).encode()).type != h5py.h5l.TYPE_HARD:
            raise _foreign(file, "/".join(names[:count]), "a link")
    item = file[path]
    if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
        raise _foreign(file, path, "made of other datasets or files")
    return item


def _foreign(file: h5py.File, path: str, what: str) -> ArchiveFormatError:
    return ArchiveFormatError(
        f"{path} of {file.filename} is {what}, which no run of ours has there: it is not followed. Read it with h5py"
    )


def _require_hdf5(path: Path) -> None:
    """Raises ArchiveFormatError for a file that is no HDF5 at all, as none of ours is at any moment; OSError."""
    # a pipe would keep its reader waiting for ever
    if not stat.S_ISREG(path.stat().st_mode) or _first_bytes(path) != _SIGNATURE:
        raise ArchiveFormatError(
            f"{path} is no archived run, and no HDF5 file: if it was one it is damaged, and `blissdata-bluesky archive` "
            "makes it again from its journal while there is one"
        )


def _first_bytes(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        return file.read(len(_SIGNATURE))


class _Chunks:
    """Reads arrays chunk by chunk, large ones on several threads. A context manager, which waits for the last one."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: list[Any] = []

    def read(self, dataset: h5py.Dataset, start: int, stop: int) -> Array:
        """An array (rows, *shape), which is filled when the context ends."""
        if stop > len(dataset):
            raise ValueError(f"{dataset.name} has {len(dataset)} rows, not {stop}")
        if not is_ours(dataset):
            # copied by another program, for instance
            return np.asarray(dataset[start:stop])
        rows = np.empty((stop - start, *dataset.shape[1:]), dataset.dtype)
        first = chunks_around(dataset, start, stop)
        if rows.nbytes < _PARALLEL_BYTES or len(first) <= 1:
            return copy_rows(dataset, start, rows)
        self._pool = self._pool or ThreadPoolExecutor(_THREADS)
        self._waiting += [self._pool.submit(copy_chunk, dataset, row, start, rows) for row in first]
        return rows

    def finish(self) -> None:
        """Wait until every array is filled. Raises what reading raises."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)


def _texts(file: h5py.File, path: str, start: int, stop: int, chunks: _Chunks) -> list[str]:
    return [row.tobytes().decode() for row in _ragged(file, path, start, stop, chunks)]


def _ragged(file: h5py.File, path: str, start: int, stop: int, chunks: _Chunks) -> list[Array]:
    shapes = chunks.read(_item(file, f"{path}/{SHAPES}"), 0, stop)
    chunks.finish()
    ends = np.cumsum(shapes.prod(axis=1))
    first = int(ends[start - 1]) if start else 0
    values = chunks.read(_item(file, f"{path}/{VALUES}"), first, int(ends[stop - 1]) if stop else 0)
    chunks.finish()
    values.flags.writeable = False
    pieces = np.split(values, ends[start : stop - 1] - first) if start < stop else []
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes[start:].tolist(), strict=True)]


def _view(file: h5py.File, known: int) -> FileView:
    documents = _all_texts(file, DOCUMENTS, known)
    return FileView(
        text_attribute(file, UID_ATTRIBUTE),
        tuple(_entry(known + index, text) for index, text in enumerate(documents)),
        _streams(file),
        bool(file.attrs.get(COMPLETE_ATTRIBUTE, False)),
        text_attribute(file, INCOMPLETE_ATTRIBUTE),
    )


def _all_texts(file: h5py.File, name: str, start: int) -> list[str]:
    """The rows of a text column of ours from `start` on; of a file that was just made, none."""
    group = _item(file, text_attribute(file, GROUP_ATTRIBUTE)).name
    if not file.id.links.exists(f"{group}/{name}".encode()):
        return []
    with _Chunks() as chunks:
        stop = len(_item(file, f"{group}/{name}/{SHAPES}"))
        return _texts(file, f"{group}/{name}", min(start, stop), stop, chunks)


def _entry(index: int, text: str) -> DocumentEntry:
    name, document, rows = value_of(text)
    return DocumentEntry(index, name, document, rows)


def _streams(file: h5py.File) -> dict[str, dict[str, Any]]:
    texts = _all_texts(file, STREAMS, 0)
    return dict(value_of(texts[-1])) if texts else {}
