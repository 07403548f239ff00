"""What bulk_events (stream → list of events) and bulk_datum held before there were pages (event-model)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from ..errors import DocumentError
from .streams import sequence_or_empty


def events_of_bulk(document: Mapping[str, Any]) -> Iterator[Any]:
    """All that stands where events should, in order, be it an event or not."""
    return chain.from_iterable(map(sequence_or_empty, document.values()))


def first_of_bulk(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first event; empty when there is none. The others are of the same run."""
    return next((event for event in events_of_bulk(document) if isinstance(event, Mapping)), {})


def datums_of_bulk(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The datums that say the same, which need not have the same kwargs. Raises DocumentError."""
    ids, kwargs = document.get("datum_ids"), document.get("datum_kwarg_list")
    if not isinstance(ids, list | tuple) or not isinstance(kwargs, list | tuple) or len(ids) != len(kwargs):
        raise DocumentError("'datum_ids' and 'datum_kwarg_list' are no lists of one length")
    resource = document.get("resource")
    return [
        {"datum_id": datum_id, "resource": resource, "datum_kwargs": one}
        for datum_id, one in zip(ids, kwargs, strict=True)
    ]
