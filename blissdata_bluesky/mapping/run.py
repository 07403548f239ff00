"""`RunMapper`: the documents of one run in, operations on its scan out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..errors import DocumentError
from ..foreign import as_text, in_64_bits, safe_repr
from ..protocol import REFERENCES, JsonEncoding, ScanState
from .blocks import EventBlock, block_of_events, block_of_page, check_event
from .bulk import datums_of_bulk, events_of_bulk
from .complaints import Complaints
from .external import Resources
from .identity import identity_from_start
from .inline import Inline
from .layout import NexusLayout
from .links import local_path, located
from .operations import (
    AddDocument,
    AppendRows,
    ChangeState,
    ColumnRows,
    CreateScan,
    DeclareStreams,
    Operation,
    StreamDeclaration,
)
from .order import EventOrder
from .rows import columns_of
from .scan_info import end_info, fits, plain, scan_info, shortened
from .streams import MappedStream, check_descriptor, mapping_or_empty

Document: TypeAlias = Mapping[str, Any]
_NUMBERS = int | float | np.number
# it stands in the scan's info, where the room is limited
_LONGEST_REASON = 2000
Operations: TypeAlias = Iterator[Operation]


class RunMapper:
    """One run. It holds no more than what the next document needs: no rows, no clock, no connection."""

    def __init__(
        self, start: Document, identity: Document | None = None, *, inline: bool = False, ordered: bool = True
    ) -> None:
        """`identity`: of the scan; without it, the one that the default rule gives.

        `ordered`: whether equal times of several streams are told apart; False for a run that was begun without.
        `inline`: whether the layout in the info has to hold, at the close, what no writer can take from the streams.
        """
        self._start = start
        # what is made of it must not fail, whatever is in it
        self._plain_start = plain(start)
        self._shows_start = fits(self._plain_start)
        self._uid: str = start["uid"]
        self._identity = dict(identity or identity_from_start(start))
        self._layout = NexusLayout(self._plain_start, self._identity)
        self._inline = Inline(self._layout.first_entry) if inline and self._identity.get("path") else None
        self._streams: dict[str, MappedStream] = {}
        self._declarations: dict[str, StreamDeclaration] = {}
        self._by_descriptor: dict[str, MappedStream] = {}
        self._order = EventOrder() if ordered else None
        self._resources = Resources()
        self._end: dict[str, Any] = {}
        self._documents = 0
        self.complaints = Complaints(self._uid)
        self.state: ScanState | None = None
        self.lost = ""
        """Set the reason when documents of the run did not come: it ends as FAILURE, whatever the stop document says."""

    @property
    def waits_to_prepare(self) -> bool:
        """Whether rows exist while the scan is still CREATED (DESIGN 8)."""
        return self.state == ScanState.CREATED and any(stream.has_rows for stream in self._streams.values())

    @property
    def incomplete(self) -> str:
        """Why not all of the run can be found in the scan; "" as long as it can."""
        return "; ".join(filter(None, (self.lost, self.complaints.left_out)))

    @property
    def rows(self) -> int:
        """Rows given so far, over all streams."""
        return sum(stream.rows for stream in self._streams.values())

    @property
    def h5map(self) -> dict[str, Any]:
        """The layout of the run's file so far (`NexusLayout.h5map`), never shortened; empty when it has no file.

        Its links to detectors' files have yet to be `located`.
        """
        return self._layout.h5map(self._streams.values(), self._resources, self._shown_end)

    @property
    def data_streams(self) -> dict[str, dict[str, Any]]:
        """All streams declared so far, as in the scan's JSON document: name → `encoding`, `info`.

        `path`: of the stream's dataset in the run's file; empty when the layout has none for it.
        """
        return {
            name: {
                "encoding": declaration.encoding.to_json(),
                "info": dict(declaration.info),
                "path": declaration.info.get("data_path", ""),
            }
            for name, declaration in self._declarations.items()
        }

    @property
    def _shown_end(self) -> dict[str, Any]:
        # only at its close may the info of a scan past PREPARED show the end (blissdata.redis_engine.scan)
        return self._end if self.state == ScanState.CLOSED else {}

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
            try:
                if name == "event":
                    stream = self._stream_of(document)
                    if self._stands_apart(stream, document, _times_of(document)):
                        yield from self._rows_of(waiting)
                        yield self._describe_again(stream, document)
                    waiting.setdefault(stream.name, []).append(document)
                else:
                    yield from self._rows_of(waiting)
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

    def _stands_apart(self, stream: MappedStream, rows: Document, times: Sequence[float]) -> bool:
        """Whether an event, or a page of them, cannot just follow those before; `times`: of its rows.

        A RunEngine's monitor keeps the descriptor that it began with, however its device is configured meanwhile.
        """
        order = self._order if len(self._streams) > 1 else None
        parts = order is not None and order.parts(stream.position, times)
        return parts or stream.current != as_text(rows["descriptor"])

    def _describe_again(self, stream: MappedStream, rows: Document) -> AddDocument:
        """Give the rows' descriptor once more, be it an earlier one: they are found behind it."""
        stream.current = as_text(rows["descriptor"])
        # the file of another writer has no use for it: it tells nothing of rows there, and fills the room
        descriptor = next(d for d in stream.descriptors if d["uid"] == stream.current)
        if self._order is not None:
            # it may come with every event: its place is all that readers want of it
            descriptor = {"uid": descriptor["uid"], "name": descriptor["name"]}
        return self._add_document("descriptor", descriptor, again=True)

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
                block = block_of_page(stream.keys, document)
                if block.length and self._stands_apart(stream, document, block.time[~np.isnan(block.time)].tolist()):
                    yield self._describe_again(stream, document)
                yield from self._append(stream, block)
            case "bulk_events":
                yield from self.take(("event", event) for event in events_of_bulk(document))
            case "bulk_datum":
                for datum in datums_of_bulk(document):
                    yield self._add_document("datum", datum)
            case "descriptor":
                self._take_descriptor(document)
                yield self._add_document(name, document)
            case "stream_resource":
                yield self._add_document(name, document)
                self._resources.add(document)
            case "stream_datum":
                yield self._add_document(name, document)
                yield from self._refer(self._stream_of(document), document)
            case "stop":
                yield from self._take_stop(document)
            case "incomplete":
                # no document of the run: whoever took it says what did not get to him (`publish.INCOMPLETE`)
                self.lost = as_text(document["reason"])[:_LONGEST_REASON]
            case _:
                yield self._add_document(name, document)

    def _take_descriptor(self, descriptor: Document) -> None:
        check_descriptor(descriptor)
        stream = self._streams.get(descriptor["name"])
        if stream is None:
            place = self._layout.place(descriptor)
            stream = MappedStream.from_descriptor(descriptor, len(self._streams), place)
            self._streams[stream.name] = stream
        else:
            stream.descriptors.append(descriptor)
            stream.current = descriptor["uid"]
        self._by_descriptor[descriptor["uid"]] = stream

    def end_incomplete(self, reason: str, time: float) -> Operations:
        """End a run whose stop document never came; `time`: when it was heard of last. None is invented."""
        self.lost = "; ".join(filter(None, (self.lost, reason)))
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
        stream = self._by_descriptor.get(as_text(event.get("descriptor")))
        if stream is None:
            raise DocumentError(f"its descriptor {safe_repr(event.get('descriptor'))} is not one of this run's")
        return stream

    def _append(self, stream: MappedStream, block: EventBlock) -> Operations:
        if not block.length:
            return
        if not stream.rows:
            stream.first = {key: values[0] for key, values in block.data.items() if isinstance(values[0], _NUMBERS)}
        if not stream.declared:
            yield from self._declare([stream], {key: values[0] for key, values in block.data.items()})
        yield from self._begin(stream)
        columns, irregular = columns_of(stream, block)
        if irregular:
            yield from self._irregular(stream, irregular)
        yield self._rows(stream, columns)
        stream.rows += block.length

    def _rows(self, stream: MappedStream, columns: tuple[ColumnRows, ...]) -> AppendRows:
        if self._inline:
            self._inline.add_rows(stream, columns)
        return AppendRows(stream.name, columns)

    def _refer(self, stream: MappedStream, datum: Document) -> Operations:
        """Rows that refer to the frames of a stream_datum."""
        external = stream.external.get(self._resources.key_of(datum))
        if external is None:
            raise DocumentError("its stream_resource is of a data key that does not come by stream_datum")
        rows = self._resources.references(datum, stream.name)
        if stream.keys:
            # the columns of its events are declared with the first of these, and before the scan is PREPARED
            yield from self._declare_external(stream)
        else:
            yield from self._declare([] if stream.declared else [stream])
            yield from self._begin(stream)
        yield AppendRows(stream.name, (ColumnRows(stream.reference_name(external), REFERENCES, external.rows, rows),))
        external.rows += len(rows)

    def _declare_external(self, stream: MappedStream) -> Operations:
        if declarations := stream.declare_external():
            yield self._declared(declarations)

    def _irregular(self, stream: MappedStream, values: list[dict[str, Any]]) -> Operations:
        declaration = stream.declare_irregular()
        if not stream.irregular_rows:
            yield self._declared((declaration,))
        yield self._rows(stream, (ColumnRows(declaration.name, JsonEncoding(), stream.irregular_rows, values),))
        stream.irregular_rows += len(values)
        for value in values:
            if "value" in value:
                self.complaints.value(stream, value["key"], value["row"])
            elif value["key"] in stream.columns:
                self.complaints.timestamp(stream, value["key"], value["row"])

    def _declare(self, streams: list[MappedStream], first: Document | None = None) -> Operations:
        if streams:
            for stream in streams:
                stream.late = self.state != ScanState.CREATED
            declarations = tuple(declaration for stream in streams for declaration in stream.declare(first))
            yield self._declared(declarations)

    def _declared(self, declarations: tuple[StreamDeclaration, ...]) -> DeclareStreams:
        self._declarations |= {declaration.name: declaration for declaration in declarations}
        return DeclareStreams(declarations, self._info(), None if self.state == ScanState.CREATED else self.state)

    def _change(self, state: ScanState) -> ChangeState:
        self.state = state
        return ChangeState(state, self._info())

    def _info(self) -> dict[str, Any]:
        info = scan_info(self._plain_start, self._identity, self._streams.values(), self._shown_end, self.incomplete)
        info["bluesky"] |= {"start": self._plain_start} if self._shows_start else {"left_out": ["start"]}
        if h5map := self.h5map:
            info["h5maps"] = {self._identity["path"]: located(h5map, local_path)}
        info = shortened(info)
        if self._inline and self.state == ScanState.CLOSED and "h5maps" in info:
            self._inline.complete(info, self._identity["path"], self._streams.values())
        return info

    def _add_document(self, name: str, document: Document, *, again: bool = False) -> AddDocument:
        rows = {stream.name: stream.rows for stream in self._streams.values()}
        self._documents += 1
        if self._inline and not again:
            self._inline.add_document(name, document)
        return AddDocument(self._documents - 1, name, document, rows)

    def _complain(self, name: str, document: Document, error: DocumentError) -> None:
        document = mapping_or_empty(document)
        self.complaints.document(name, document, self._by_descriptor.get(as_text(document.get("descriptor"))), error)


def _times_of(event: Document) -> list[float]:
    """The time as it is stored; of an event that will be left out, because it has no such time, none."""
    time = event.get("time")
    if isinstance(time, float) or (isinstance(time, int) and in_64_bits(time)):
        return [float(time)]
    return []
