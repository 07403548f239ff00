"""What a descriptor lets expect of its columns, until the first event settles them."""

from __future__ import annotations

from ..mapping.columns import expected_encoding, is_external_stream
from ..names import escape_keys
from .interface import Column, Document


def expected_columns(descriptor: Document) -> dict[str, Column]:
    """The data keys that will have a column; stream_datums bring the others (event-model, `external`)."""
    data_keys = {key: data_key for key, data_key in descriptor["data_keys"].items() if not is_external_stream(data_key)}
    names = escape_keys(data_keys)
    return {key: Column(key, names[key], expected_encoding(data_key), data_key) for key, data_key in data_keys.items()}
