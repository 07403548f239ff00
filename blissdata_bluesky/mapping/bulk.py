"""The events of a bulk_events document: stream → list of events, as flyers gave them before event_page (event-model)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from .streams import sequence_or_empty


def events_of_bulk(document: Mapping[str, Any]) -> Iterator[Any]:
    """All that stands where events should, in order, be it an event or not."""
    return chain.from_iterable(map(sequence_or_empty, document.values()))


def first_of_bulk(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first event; empty when there is none. The others are of the same run."""
    return next((event for event in events_of_bulk(document) if isinstance(event, Mapping)), {})
