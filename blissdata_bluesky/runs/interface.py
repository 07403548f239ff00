"""What every source of runs offers: `RunSource` → `Run` → `RunStream` → columns as numpy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ..protocol import Array, Encoding, Rows

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One data key of a Bluesky stream."""

    key: str
    """The data key as the descriptor spells it."""
    name: str
    """The key as it may stand in paths, tables and Redis (`names.escape_keys`)."""
    encoding: Encoding
    """dtype and shape of a row; until the first event came, what the descriptor lets expect."""
    data_key: Mapping[str, Any]
    """The descriptor's entry: source, dtype, shape, units…"""


@dataclass(frozen=True, slots=True)
class Table:
    """Whole rows of a stream, read at once."""

    start: int
    """The first row."""
    seq_num: npt.NDArray[np.int64]
    time: npt.NDArray[np.float64]
    timestamps: npt.NDArray[np.float64]
    """Array (rows, keys), in the order of the stream's `columns`, whichever keys were asked for."""
    data: Mapping[str, Rows]
    """Key → rows, for the keys that were asked for."""
    irregular: Mapping[str, Mapping[int, Any]]
    """Key → row → exact value, of all keys, those that the descriptor lacks included; keys without any are left
    out. Rows are counted from the stream's first."""
    irregular_timestamps: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    """The same of timestamps: in `timestamps` stands the nearest float64, NaN for what is no number."""

    def __len__(self) -> int:
        return len(self.time)


class ExternalColumn(Protocol):
    """One data key whose values are in files that detectors write. A row refers to a value; `read` opens the files.

    What a row is, documents say: no file is opened for dtype, shape and number of rows.
    """

    @property
    def key(self) -> str:
        """The data key as the descriptor spells it."""

    @property
    def name(self) -> str:
        """As `Column.name`."""

    @property
    def data_key(self) -> Mapping[str, Any]:
        """The descriptor's entry."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of what is read. Raises ExternalFormatError when the documents do not say it."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row. Raises ExternalFormatError when the documents do not say it."""

    @property
    def joined(self) -> bool:
        """Whether rows go on where the last one ended, along their first axis (`join_method` "concat")."""

    def rows(self) -> int:
        """How many values there are now; they need not be as many as the stream has events."""

    def read(self, start: int = 0, stop: int | None = None) -> Array:
        """Rows `start` to `stop` in the order of arrival, as of `RunStream.read`: an array (rows, *shape).

        Where an event has no reference, NaN or 0 stands. Raises what `RunStream.read` raises, and the children of
        ExternalDataError: ExternalRefusedError, ExternalMissingError, ExternalNotReadyError, ExternalFormatError.
        """

    def seq_num(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        """Sequence numbers of the events that the rows belong to; they repeat after a rewind."""


class RunStream(Protocol):
    """One Bluesky stream of a run. Rows stand in the order of arrival, rewound ones included."""

    @property
    def name(self) -> str:
        """The stream's name as the descriptor spells it."""

    @property
    def descriptors(self) -> Sequence[Document]:
        """All descriptors of the stream, in order of arrival; at least one."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """The data keys that events have, in the descriptor's order."""

    @property
    def external(self) -> Mapping[str, ExternalColumn]:
        """The data keys whose values are in files of detectors, in the descriptor's order.

        Those that come by stream_datum are no columns. Those that come by datum are columns of datum ids as well.
        """

    def rows(self) -> int:
        """How many rows are whole now: those that every column has. Never less than an earlier answer.

        Rows of the events: `external` columns have rows of their own.
        """

    def read(self, key: str, start: int = 0, stop: int | None = None) -> Rows:
        """Rows `start` to `stop` (exclusive; None: all that are whole now) of one data key.

        Fixed shape: an array (rows, *shape). Ragged and JSON columns: a list. A value that the column could not hold
        stands in it as a fill; `irregular` has the true one. Rows beyond those that are whole are left out, as in a
        slice. Arrays may be views that cannot be written to; values must not be changed.

        Raises KeyError for an unknown key, ValueError for a negative row, RowsTrimmedError for rows that are gone,
        RunUnavailableError when the source does not answer, or for rows that only the archiver has yet.
        """

    def read_many(self, keys: Iterable[str], start: int = 0, stop: int | None = None) -> dict[str, Rows]:
        """The same of several keys, all of one length; faster than one by one."""

    def table(self, keys: Iterable[str] | None = None, start: int = 0, stop: int | None = None) -> Table:
        """The same with all that belongs to the rows; None: all keys."""

    def time(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
        """Event times, seconds since the epoch."""

    def seq_num(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.int64]:
        """Sequence numbers; they repeat after a rewind."""

    def timestamps(self, start: int = 0, stop: int | None = None) -> npt.NDArray[np.float64]:
        """Array (rows, keys), seconds since the epoch, in the order of `columns`."""

    def irregular(self, key: str, start: int = 0, stop: int | None = None) -> Mapping[int, Any]:
        """Row → exact value, for the rows of this key whose value the column could not hold."""


class Run(Protocol):
    """One Bluesky run. An object holds a view that `refresh` moves on; reading rows never needs a refresh."""

    @property
    def uid(self) -> str:
        """The run start's uid."""

    @property
    def start(self) -> Document:
        """The run start document."""

    @property
    def stop(self) -> Document | None:
        """The run stop document; None while the run goes on, and for ever when its owner died."""

    @property
    def closed(self) -> bool:
        """Whether nothing will follow."""

    @property
    def incomplete(self) -> str:
        """Why a closed run is not whole: its publisher died, or lost documents. "" for all others."""

    @property
    def streams(self) -> Mapping[str, RunStream]:
        """The Bluesky streams, in the order of their first descriptors."""

    def refresh(self) -> None:
        """Ask the source for documents that came since. Raises RunNotFoundError when the run is gone."""

    def documents(self) -> Iterator[tuple[str, Document]]:
        """All documents in order, events rebuilt from the rows, as far as the run has got."""


class RunSource(Protocol):
    """Where runs come from: Redis, files, or both."""

    def get(self, uid: str, file: str = "") -> Run:
        """The run with this full uid. `file`: where the archive may have it, relative to its root; "" if unknown.

        Raises RunNotFoundError, RunUnavailableError, DamagedRunError.
        """
