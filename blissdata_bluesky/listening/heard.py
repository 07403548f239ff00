"""What of one run was heard, and what must have been lost: seq_nums follow each other, and documents name others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from ..foreign import as_text, in_64_bits
from ..mapping.bulk import events_of_bulk
from ..mapping.columns import is_external_stream
from .numbers import SeqNums
from .references import References

Document = Mapping[str, Any]

_MOST_KINDS = 5
_OTHERS = ("any", "other reasons")
# the series of a stream that its events make; the others are named after data keys
_EVENTS = ""


@dataclass(slots=True)
class HeardRun:
    """One run, as far as it was heard."""

    uid: str
    name: str
    """`plan_name` of the start, or what stands for it."""
    joined: str = ""
    """Why its beginning is missing; "" for a run that was heard from its start on."""
    told: bool = False
    """Whether the log tells that something is missing."""
    lacks: str = ""
    """What is known to be missing, in words."""
    refused: dict[tuple[str, str], None] = field(default_factory=dict)
    """Documents that were heard and could not be read: type and reason."""
    events: int = 0
    """Events that were heard, repeated ones included."""
    names: list[str] = field(default_factory=list)
    """The uids by which its documents refer to it and to each other."""
    _streams: dict[str, str] = field(default_factory=dict)
    _seq_nums: dict[str, dict[str, SeqNums]] = field(default_factory=dict)
    # the keys of each stream whose values come by stream_datum
    _external: dict[str, dict[str, None]] = field(default_factory=dict)
    _references: References = field(default_factory=References)

    def take(self, name: str, document: Document) -> str:
        """Note one document; return what is missing before it, in words, "" when nothing is known to be."""
        match name:
            case "descriptor":
                self._describe(document)
            case "stream_resource":
                self._references.take_resource(document)
            case "datum" | "datum_page":
                self._references.take_datums(document.get("datum_id"))
            case "event":
                return self._add_events(document, [document.get("seq_num")])
            case "event_page":
                return self._add_events(document, document.get("seq_num"))
            case "stream_datum" if stream := self._streams.get(as_text(document.get("descriptor"))):
                if key := self._references.key_of(document, stream):
                    return self._add(document, key, _span(document.get("seq_nums")))
            case "bulk_events":
                found = [self.take("event", event) for event in events_of_bulk(document) if isinstance(event, Mapping)]
                return next(filter(None, found), "")
        return ""

    def refuse(self, name: str, reason: str) -> bool:
        """Note a document that could not be read; whether it is the first of its kind."""
        kind = (name, reason) if len(self.refused) < _MOST_KINDS else _OTHERS
        is_first = kind not in self.refused
        self.refused[kind] = None
        return is_first

    def told_of(self, missing: str = "") -> str:
        """All that is known to be missing, in words; `missing`: what of it 0MQ may have dropped."""
        refused = "; ".join(f"type {name!r}: {reason}" for name, reason in self.refused)
        reasons = [self.joined, f"documents were left out by the listener ({refused})" if refused else ""]
        told = "; ".join(filter(None, reasons))
        if told and missing:
            return f"{told}; heard: {missing}"
        return told or f"documents did not arrive: {missing}"

    def missing(self, stop: Document) -> str:
        """What was not heard of a run that has ended with this stop document, in words; "" when nothing is known."""
        counts = stop.get("num_events")
        counts = counts if isinstance(counts, Mapping) else {}
        streams = {**dict.fromkeys(self._seq_nums, 0), **counts}
        lacks = (lack for stream, count in streams.items() for lack in self._lacks(stream, count))
        return "; ".join((*lacks, *self._references.lacks()))

    def _describe(self, descriptor: Document) -> None:
        uid, stream, data_keys = (
            as_text(descriptor.get("uid")),
            as_text(descriptor.get("name")),
            descriptor.get("data_keys"),
        )
        self._streams[uid] = stream
        self._seq_nums.setdefault(stream, {})
        keys = self._external.setdefault(stream, {})
        for key, described in data_keys.items() if isinstance(data_keys, Mapping) else ():
            if isinstance(described, Mapping) and _is_streamed(described):
                keys[as_text(key)] = None
        self._references.describe(uid, data_keys)

    def _add_events(self, document: Document, numbers: Any) -> str:
        descriptor = as_text(document.get("descriptor"))
        if stream := self._streams.get(descriptor):
            self._references.use(descriptor, stream, document)
        return self._add(document, _EVENTS, numbers)

    def _add(self, document: Document, key: str, numbers: Any) -> str:
        stream = self._streams.get(as_text(document.get("descriptor")))
        if stream is None or not isinstance(numbers, list | tuple | range) or not numbers:
            return ""
        if not isinstance(numbers, range) and not all(map(_is_seq_num, numbers)):
            return ""
        self.events += len(numbers) if key == _EVENTS else 0
        seq_nums = self._seq_nums[stream].setdefault(key, SeqNums())
        end = seq_nums.end
        for low, high in _consecutive(numbers):
            seq_nums.add(low, high)
        if numbers[0] <= end:
            return ""
        return f"stream {stream!r}{_of(key)} goes from seq_num {end - 1} to {numbers[0]}"

    def _lacks(self, stream: str, count: Any) -> Iterator[str]:
        count = count if _is_seq_num(count) else 0
        if stream not in self._seq_nums:
            if count:
                yield f"stream {stream!r}: none of {count} events, for its descriptor was not heard"
            return
        heard = self._seq_nums[stream]
        known = max(count, *(seq_nums.end - 1 for seq_nums in heard.values()), 0)
        for key, seq_nums in (heard or {_EVENTS: SeqNums()}).items():
            wanted = max(count, seq_nums.end - 1)
            if seq_nums.count < wanted:
                yield f"stream {stream!r}{_of(key)}: {seq_nums.count} of {wanted} events"
        for key in self._external[stream]:
            if key not in heard and known:
                yield f"stream {stream!r}{_of(key)}: no stream_datum of {known} events"


def _of(key: str) -> str:
    return f", {key!r}" if key else ""


def _is_streamed(data_key: Document) -> bool:
    return isinstance(data_key.get("external"), str) and is_external_stream(data_key)


def _span(seq_nums: Any) -> range:
    """`{"start": …, "stop": …}` of a stream_datum."""
    if not isinstance(seq_nums, Mapping):
        return range(0)
    start, stop = seq_nums.get("start"), seq_nums.get("stop")
    return range(start, stop) if _is_seq_num(start) and _is_seq_num(stop) else range(0)


def _is_seq_num(value: Any) -> TypeGuard[int]:
    # others are no row, and might be too long to print
    return isinstance(value, int) and in_64_bits(value)


def _consecutive(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    if isinstance(numbers, range):
        yield numbers.start, numbers.stop
        return
    start = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield start, previous + 1
            start = number
        previous = number
    yield start, previous + 1
