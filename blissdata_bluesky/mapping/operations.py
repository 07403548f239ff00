"""What a run does to its scan, whoever carries it out: the operations that `RunMapper` gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..protocol import Encoding, Rows, ScanState


@dataclass(frozen=True, slots=True)
class StreamDeclaration:
    """One data stream of the scan."""

    name: str
    """blissdata's name, `primary:det`."""
    encoding: Encoding
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CreateScan:
    """The scan appears, in state CREATED."""

    identity: Mapping[str, Any]
    info: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeclareStreams:
    """Streams appear. In a scan past CREATED they have to be announced, for readers look only when the state changes."""

    streams: tuple[StreamDeclaration, ...]
    info: Mapping[str, Any]
    announce: ScanState | None
    """The state to give again; None while the scan is still CREATED."""


@dataclass(frozen=True, slots=True)
class ColumnRows:
    """Consecutive rows of one data stream."""

    name: str
    encoding: Encoding
    index: int
    rows: Rows


@dataclass(frozen=True, slots=True)
class AppendRows:
    """Rows of one Bluesky stream, column by column. They have to be written in this order."""

    stream: str
    columns: tuple[ColumnRows, ...]


@dataclass(frozen=True, slots=True)
class AddDocument:
    """A document that is no event, with the rows that each Bluesky stream has before it."""

    index: int
    name: str
    document: Mapping[str, Any]
    rows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChangeState:
    """The scan passes to `state`; with STOPPED every stream is sealed."""

    state: ScanState
    info: Mapping[str, Any]


Operation: TypeAlias = CreateScan | DeclareStreams | AppendRows | AddDocument | ChangeState
