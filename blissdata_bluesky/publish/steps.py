"""Operations on a scan as steps that Redis can take one after the other, and again after a doubtful reply."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .. import protocol
from ..mapping import (
    AddDocument,
    AppendRows,
    ChangeState,
    CreateScan,
    DeclareStreams,
    Operation,
    StreamDeclaration,
)
from ..protocol import DocumentEntry, Encoding, Entry, ScanState


@dataclass(frozen=True, slots=True)
class RowsStep:
    """One entry of one data stream."""

    key: str
    encoding: Encoding
    entry: Entry

    @property
    def size(self) -> int:
        """Bytes to be sent, about."""
        return len(self.entry.payload)


@dataclass(frozen=True, slots=True)
class DocumentStep:
    """One entry of the documents stream."""

    entry: DocumentEntry

    @property
    def size(self) -> int:
        """Bytes to be sent: few, whatever they are."""
        return 0


@dataclass(frozen=True, slots=True)
class SaveStep:
    """The scan's JSON document saved, and a state given; with STOPPED, `seal` lists the streams to be sealed first."""

    model: str
    state: ScanState | None
    streams: frozenset[str] = frozenset()
    """The data streams that the document has."""
    new: Mapping[str, str] = field(default_factory=dict)
    """The streams that appear with it, and their keys: whatever Redis has there is not of this run."""
    seal: tuple[str, ...] = ()
    creates: bool = False


Step: TypeAlias = RowsStep | DocumentStep | SaveStep


class StepMaker:
    """Keeps the scan's JSON document of one run up to date while it turns operations into steps."""

    def __init__(self, uid: str, publisher: str) -> None:
        self._uid = uid
        self._publisher = publisher
        self._identity: Mapping[str, Any] = {}
        self._streams: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, str] = {}

    def steps(self, operations: Iterable[Operation]) -> Iterator[Step]:
        """The steps of these operations, in order."""
        for operation in operations:
            match operation:
                case AppendRows():
                    yield from self._rows(operation)
                case AddDocument():
                    yield self._document(operation)
                case CreateScan():
                    self._identity = operation.identity
                    yield SaveStep(self._model(operation.info), ScanState.CREATED, creates=True)
                case DeclareStreams():
                    yield from self._declare(operation)
                case ChangeState():
                    seal = tuple(map(self._key, self._streams)) if operation.state == ScanState.STOPPED else ()
                    yield SaveStep(self._model(operation.info), operation.state, frozenset(self._streams), seal=seal)

    def _declare(self, operation: DeclareStreams) -> Iterator[SaveStep]:
        self._streams |= {stream.name: _stream_model(stream) for stream in operation.streams}
        model = self._model(operation.info)
        names = frozenset(self._streams)
        yield SaveStep(model, None, names, {stream.name: self._key(stream.name) for stream in operation.streams})
        if operation.announce is not None:
            yield SaveStep(model, operation.announce, names)

    def _rows(self, operation: AppendRows) -> Iterator[RowsStep]:
        for column in operation.columns:
            key = self._key(column.name)
            for entry in protocol.encode(column.encoding, column.index, column.rows):
                yield RowsStep(key, column.encoding, entry)

    def _document(self, operation: AddDocument) -> DocumentStep:
        publisher = None if operation.index else self._publisher
        return DocumentStep(
            DocumentEntry(
                operation.index, operation.name, dict(operation.document), operation.rows, publisher=publisher
            )
        )

    def _key(self, name: str) -> str:
        if name not in self._keys:
            self._keys[name] = protocol.stream_key(protocol.stream_pk(self._uid, name))
        return self._keys[name]

    def _model(self, info: Mapping[str, Any]) -> str:
        ours = {**info.get("bluesky", {}), "publisher": self._publisher}
        model = protocol.scan_model(self._uid, self._identity, {**info, "bluesky": ours}, self._streams)
        return json.dumps(model)


def _stream_model(stream: StreamDeclaration) -> dict[str, Any]:
    return {"encoding": stream.encoding.to_json(), "info": dict(stream.info)}
