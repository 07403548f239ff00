"""`RunMapper`: the documents of one run in, operations on its scan out."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from ..errors import DocumentError
from ..protocol import MISSING, JsonEncoding, ScanState
from .blocks import EventBlock, block_of_events, block_of_page, check_event, rows_of
from .identity import identity_from_start
from .operations import AddDocument, AppendRows, ChangeState, ColumnRows, CreateScan, DeclareStreams, Operation
from .scan_info import end_info, scan_info
from .streams import IRREGULAR, MappedStream, check_descriptor

logger = logging.getLogger(__name__)

Document: TypeAlias = Mapping[str, Any]
Operations: TypeAlias = Iterator[Operation]


class RunMapper:
    """One run. It holds no more than what the next document needs: no rows, no clock, no connection."""

    def __init__(self, start: Document, identity: Document | None = None) -> None:
        """`identity`: of the scan; without it, the one that the default rule gives."""
        self._start = start
        self._uid: str = start["uid"]
        self._identity = dict(identity or identity_from_start(start))
        self._streams: dict[str, MappedStream] = {}
        self._by_descriptor: dict[str, MappedStream] = {}
        self._end: dict[str, Any] = {}
        self._documents = 0
        self._complained: set[str] = set()
        self.state: ScanState | None = None
        self.incomplete = ""
        """Set the reason when documents of the run are lost: it ends as FAILURE, whatever the stop document says."""
        self.quiet = False
        """Whether the log has told of these documents before."""

    @property
    def waits_to_prepare(self) -> bool:
        """Whether rows exist while the scan is still CREATED (DESIGN 8)."""
        return self.state == ScanState.CREATED and any(stream.rows for stream in self._streams.values())

    @property
    def rows(self) -> int:
        """Rows given so far, over all streams."""
        return sum(stream.rows for stream in self._streams.values())

    def create(self) -> Operations:
        """The first operations, from the start document."""
        self.state = ScanState.CREATED
        yield CreateScan(self._identity, self._info())
        yield self._add_document("start", self._start)

    def take(self, documents: Iterable[tuple[str, Document]]) -> Operations:
        """The operations for documents that follow the start. Events of one stream are taken together.

        A document that cannot be mapped is left out, with an error in the log that names run, stream and remedy.
        """
        waiting: dict[str, list[Document]] = {}
        for name, document in documents:
            if name == "event":
                self._collect(document, waiting)
                continue
            yield from self._rows_of(waiting)
            try:
                yield from self._take_one(name, document)
            except DocumentError as error:
                self._complain(name, document, error)
        yield from self._rows_of(waiting)

    def prepare(self) -> Operations:
        """Pass to STARTED with the streams known so far, because readers have waited long enough."""
        if self.state != ScanState.CREATED:
            return
        yield from self._declare([s for s in self._streams.values() if not s.declared and s.certain])
        yield self._change(ScanState.PREPARED)
        yield self._change(ScanState.STARTED)

    def _begin(self, stream: MappedStream | None) -> Operations:
        """The measurement has begun, unless the stream is one that surrounds it."""
        if stream is not None and not stream.auxiliary:
            yield from self.prepare()

    def _collect(self, event: Document, waiting: dict[str, list[Document]]) -> None:
        try:
            waiting.setdefault(self._stream_of(event).name, []).append(event)
        except DocumentError as error:
            self._complain("event", event if isinstance(event, Mapping) else {}, error)

    def _rows_of(self, waiting: dict[str, list[Document]]) -> Operations:
        for name, events in waiting.items():
            stream = self._streams[name]
            try:
                block = block_of_events(stream.keys, events)
            except DocumentError:
                block = block_of_events(stream.keys, self._good(events))
            yield from self._append(stream, block)
        waiting.clear()

    def _good(self, events: list[Document]) -> list[Document]:
        """The events that can be rows; of the others the log tells."""
        good = []
        for event in events:
            try:
                check_event(event)
                good.append(event)
            except DocumentError as error:
                self._complain("event", event, error)
        return good

    def _take_one(self, name: str, document: Document) -> Operations:
        match name:
            case "event_page":
                stream = self._stream_of(document)
                yield from self._append(stream, block_of_page(stream.keys, document))
            case "bulk_events":
                groups = [group for group in document.values() if isinstance(group, list)]
                yield from self.take(("event", event) for group in groups for event in group)
            case "descriptor":
                self._take_descriptor(document)
                yield self._add_document(name, document)
            case "stream_datum":
                yield from self._begin(self._by_descriptor.get(str(document.get("descriptor"))))
                yield self._add_document(name, document)
            case "stop":
                yield from self._take_stop(document)
            case _:
                yield self._add_document(name, document)

    def _take_descriptor(self, descriptor: Document) -> None:
        check_descriptor(descriptor)
        stream = self._streams.get(descriptor["name"])
        if stream is None:
            stream = self._streams[descriptor["name"]] = MappedStream.from_descriptor(descriptor)
        else:
            stream.descriptors.append(descriptor)
        self._by_descriptor[descriptor["uid"]] = stream

    def end_incomplete(self, reason: str, time: float) -> Operations:
        """End a run whose stop document never came; `time`: when it was heard of last. None is invented."""
        self.incomplete = reason
        yield from self._declare_all()
        self._end = end_info({"time": time})
        yield from self._close()

    def _declare_all(self) -> Operations:
        yield from self._declare([stream for stream in self._streams.values() if not stream.declared])
        yield from self.prepare()

    def _close(self) -> Operations:
        yield self._change(ScanState.STOPPED)
        yield self._change(ScanState.CLOSED)

    def _take_stop(self, stop: Document) -> Operations:
        yield from self._declare_all()
        self._end = end_info(stop) | ({"end_reason": "FAILURE"} if self.incomplete else {})
        yield self._add_document("stop", stop)
        yield from self._close()

    def _stream_of(self, event: Document) -> MappedStream:
        if not isinstance(event, Mapping):
            raise DocumentError("it is no mapping")
        stream = self._by_descriptor.get(str(event.get("descriptor")))
        if stream is None:
            raise DocumentError(f"its descriptor {event.get('descriptor')!r} is not one of this run's")
        return stream

    def _append(self, stream: MappedStream, block: EventBlock) -> Operations:
        if not block.length:
            return
        if not stream.declared:
            yield from self._declare([stream], {key: values[0] for key, values in block.data.items()})
        yield from self._begin(stream)
        columns, irregular = _columns(stream, block)
        if irregular:
            yield from self._irregular(stream, irregular)
        yield AppendRows(stream.name, columns)
        stream.rows += block.length

    def _irregular(self, stream: MappedStream, values: list[dict[str, Any]]) -> Operations:
        declaration = stream.declare_irregular()
        if not stream.irregular_rows:
            yield DeclareStreams((declaration,), self._info(), self._announced())
        yield AppendRows(stream.name, (ColumnRows(declaration.name, JsonEncoding(), stream.irregular_rows, values),))
        stream.irregular_rows += len(values)
        for value in values:
            self._warn_irregular(stream, value["key"], value["row"])

    def _warn_irregular(self, stream: MappedStream, key: str, row: int) -> None:
        if key in stream.warned:
            return
        stream.warned.add(key)
        if self.quiet:
            return
        logger.warning(
            "run %s, stream %r, key %r: the value of row %d does not fit the column (%s) and is kept in %r; "
            "correct dtype_numpy and shape in the device's describe(). Further rows are not reported.",
            self._uid,
            stream.name,
            key,
            row,
            stream.columns[key].encoding if key in stream.columns else "the descriptor lacks this key",
            f"{stream.name}:{IRREGULAR}",
        )

    def _declare(self, streams: list[MappedStream], first: Document | None = None) -> Operations:
        if streams:
            declarations = tuple(declaration for stream in streams for declaration in stream.declare(first))
            yield DeclareStreams(declarations, self._info(), self._announced())

    def _announced(self) -> ScanState | None:
        return None if self.state == ScanState.CREATED else self.state

    def _change(self, state: ScanState) -> ChangeState:
        self.state = state
        # only at its close may the info of a scan past PREPARED show the end (blissdata.redis_engine.scan)
        return ChangeState(state, self._info(self._end if state == ScanState.CLOSED else {}))

    def _info(self, end: Document | None = None) -> dict[str, Any]:
        return scan_info(self._start, self._identity, self._streams.values(), end or {}, self.incomplete)

    def _add_document(self, name: str, document: Document) -> AddDocument:
        rows = {stream.name: stream.rows for stream in self._streams.values()}
        self._documents += 1
        return AddDocument(self._documents - 1, name, document, rows)

    def _complain(self, name: str, document: Document, error: DocumentError) -> None:
        subject = str(document.get("descriptor") or document.get("uid"))
        if subject in self._complained:
            return
        self._complained.add(subject)
        if self.quiet:
            return
        stream = self._by_descriptor.get(subject)
        logger.error(
            "run %s, stream %r: a document of type %r (seq_num %r) is left out: %s. The run goes on without it; the "
            "journal keeps it. Check the plan or device that emitted it against event-model. What else is wrong with "
            "documents of this descriptor is not reported.",
            self._uid,
            stream.name if stream else document.get("name"),
            name,
            document.get("seq_num"),
            error,
        )


def _columns(stream: MappedStream, block: EventBlock) -> tuple[tuple[ColumnRows, ...], list[dict[str, Any]]]:
    """The block's rows, and the values that their columns cannot hold."""
    companions = {"time": block.time, "seq_num": block.seq_num, "timestamps": block.timestamps}
    columns = [
        ColumnRows(stream.companion_name(name), encoding, stream.rows, companions[name])
        for name, encoding in stream.companions.items()
    ]
    irregular: list[dict[str, Any]] = []
    for key, values in block.data.items():
        # a key that the descriptor lacks may be in some events only
        held = {} if key in stream.columns else {i: v for i, v in enumerate(values) if v is not MISSING}
        if key in stream.columns:
            column = stream.columns[key]
            rows, held = rows_of(column.encoding, values)
            columns.append(ColumnRows(stream.stream_name(key), column.encoding, stream.rows, rows))
        irregular += [{"row": stream.rows + row, "key": key, "value": value} for row, value in held.items()]
    # the same order however the rows are cut into blocks
    order = {key: position for position, key in enumerate(stream.keys)}
    irregular.sort(key=lambda value: (value["row"], order.get(value["key"], len(order)), value["key"]))
    return tuple(columns), irregular
