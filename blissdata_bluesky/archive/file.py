"""The file of one run while it grows."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import h5py

from ..journal import Header
from ..mapping import AddDocument, AppendRows
from ..protocol import Rows, encoding_from_json, stream_pk
from .columns import ColumnWriter, Progress, TextColumn, Written, column_writer
from .format import (
    DOCUMENTS,
    FORMAT,
    FORMAT_ATTRIBUTE,
    GROUP_ATTRIBUTE,
    PUBLISHER_ATTRIBUTE,
    STREAMS,
    UID_ATTRIBUTE,
    group_path,
    own_path,
    text_attribute,
)
from .nexus import Layout, stored, write_layout
from .place import is_same_file, new_path, refusal
from .room import ROOM_BYTES, copy_sparsely, make_room, take_room

Streams = Mapping[str, Mapping[str, Any]]
"""`RunMapper.data_streams`."""

# with what one batch adds to it, far less than the room at the end of the file
_MOST_UNFLUSHED = ROOM_BYTES // 4
# larger files are not copied for the sake of a stream that comes late
_MOST_COPIED = 2**26
# of `st_blocks`, on every file system
_BLOCK_BYTES = 512


class RunFile:
    """Takes the operations of one run. What it has already is left out, so that they may be given again.

    It is written in HDF5's default mode and without a lock: whoever reads it meanwhile finds the rows that were
    flushed, and so does whoever finds it after its writer was killed (docs/adr/0020).
    """

    def __init__(self, path: Path, header: Header, progress: Progress) -> None:
        """Open a file that `create_file` has made, as far as `progress` says. Raises OSError, ValueError, KeyError."""
        self.path = path
        self.columns: dict[str, str] = {}
        """Where each data stream is, by blissdata's name."""
        self._header = header
        self._streams: Streams = {}
        self._open(progress)

    def _open(self, progress: Progress) -> None:
        self._file = h5py.File(self.path, "r+", locking=False)
        try:
            self._descriptor: int = self._file.id.get_vfd_handle()
            self._group = text_attribute(self._file, GROUP_ATTRIBUTE)
            self._progress = progress
            self._writers: dict[str, ColumnWriter] = {}
            self._unflushed = 0
            self._documents = TextColumn(self._file, f"{self._group}/{DOCUMENTS}", progress)
            self._models = TextColumn(self._file, f"{self._group}/{STREAMS}", progress)
            self._require_chunks()
            self._make_columns(self._streams)
            make_room(self._descriptor, self._file.id.get_filesize())
        except BaseException:
            self._file.close()
            raise

    def _require_chunks(self) -> None:
        """Raises ValueError when rows that were flushed are not there, as after a kill in the wrong moment."""
        for path, written in self._progress.items():
            dataset = self._file[path]
            if dataset.id.get_num_chunks() < math.ceil(written.rows / dataset.chunks[0]):
                raise ValueError(f"{path} lacks some of its {written.rows} rows")

    @property
    def progress(self) -> dict[str, Written]:
        """How far each dataset is written; to be kept after a `flush`."""
        writers = [self._documents, self._models, *self._writers.values()]
        # of a file that is gone on with, columns may be there that nobody has declared again yet
        return {**self._progress, **{path: written for writer in writers for path, written in writer.progress.items()}}

    @property
    def replaced(self) -> bool:
        """Whether somebody has taken the file away, or put another one in its place."""
        return not is_same_file(self.path, self._descriptor)

    def declare(self, layout: Layout, streams: Streams) -> None:
        """Make columns for `streams`, and what else the layout has.

        It happens in a copy that takes the file's place at once: a file in which HDF5 is making groups and datasets
        cannot be read. Of a large file, which is not copied, the next flush makes them readable.
        """
        # what HDF5 says includes the room that a writer which was killed had left
        if os.fstat(self._descriptor).st_blocks * _BLOCK_BYTES > _MOST_COPIED:
            self._declare(layout, streams)
            return
        try:
            progress = self._copied()
            with RunFile(new_path(self.path), self._header, progress) as copy:
                copy._declare(layout, streams)
                copy.flush()
                progress = copy.progress
            if self.path.exists() and self.replaced:
                raise refusal(self.path, self._header)
            self._file.close()
            new_path(self.path).replace(self.path)
        finally:
            # half of a copy would fill a disk that is almost full
            new_path(self.path).unlink(missing_ok=True)
        self._streams = streams
        self._open(progress)

    def _copied(self) -> dict[str, Written]:
        """Copy the file to its `new_path`; how far the copy is written."""
        self._file.flush()
        copy_sparsely(self._descriptor, new_path(self.path), self._file.id.get_filesize())
        return self.progress

    def _declare(self, layout: Layout, streams: Streams) -> None:
        self._make_columns(streams)
        write_layout(self._file, layout)
        # the last row counts
        self._models.append([self._stored_models(streams)])
        self._streams = streams

    def _make_columns(self, streams: Streams) -> None:
        for name, model in streams.items():
            if name not in self._writers:
                path = self.columns[name] = model["path"] or own_path(self._group, name)
                self._writers[name] = column_writer(
                    self._file, path, encoding_from_json(model["encoding"]), self._progress
                )

    def _stored_models(self, streams: Streams) -> dict[str, dict[str, Any]]:
        uid = self._header.uid
        return {
            name: {"pk": stream_pk(uid, name), **model, "path": self.columns[name]} for name, model in streams.items()
        }

    def append(self, operation: AppendRows) -> None:
        """Write those rows that are not there yet."""
        for column in operation.columns:
            writer = self._writers[column.name]
            self._unflushed += writer.append(_lacking(column.rows, column.index, writer.rows))
            if self._unflushed > _MOST_UNFLUSHED:
                self.flush()

    def add_document(self, operation: AddDocument) -> None:
        """Write a document that is no event, unless it is there."""
        entry = [operation.name, operation.document, operation.rows]
        self._documents.append(_lacking([entry], operation.index, self._documents.rows))

    def flush(self) -> None:
        """Hand everything to the operating system: it outlives the death of this process."""
        self._file.flush()
        self._unflushed = 0
        make_room(self._descriptor, self._file.id.get_filesize())

    def close(self) -> None:
        """Close the file, which then ends where HDF5 says. May be repeated."""
        if not self._file:
            return
        size, descriptor = self._file.id.get_filesize(), os.dup(self._descriptor)
        try:
            self._file.close()
        finally:
            take_room(descriptor, size)
            os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def create_file(path: Path, header: Header) -> None:
    """Make the file of a run, which appears at `path` as a whole.

    Raises ArchiveRefusedError when there is one already, OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = new_path(path)
    group = group_path(int(header.identity.get("number") or 0))
    with h5py.File(new, "w", locking=False) as file:
        attributes = {
            FORMAT_ATTRIBUTE: FORMAT,
            UID_ATTRIBUTE: header.uid,
            PUBLISHER_ATTRIBUTE: header.publisher,
            GROUP_ATTRIBUTE: group,
            "file_time": datetime.datetime.now().astimezone().isoformat(),
            "HDF5_Version": h5py.version.hdf5_version,
            "h5py_version": h5py.version.version,
        }
        file.attrs.update({name: stored(value) for name, value in attributes.items()})
        file.require_group(group).attrs["NX_class"] = stored("NXcollection")
    try:
        # unlike a renamed one, a link never takes the place of another file
        os.link(new, path)
    except FileExistsError as error:
        raise refusal(path, header) from error
    finally:
        new.unlink()


def _lacking(rows: Rows, index: int, there: int) -> Rows:
    if index > there:
        raise ValueError(f"rows from {index} on cannot follow {there} rows")
    return rows[there - index :]
