"""A run's documents as a JSON text sequence (RFC 7464), as the RunEngine emitted them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import event_model
import numpy as np
from event_model import Datum
from tiled.media_type_registration import default_serialization_registry
from tiled.utils import ensure_awaitable

from ..catalog import clean
from ..foreign import integer_text
from ..protocol import MISSING
from ..runs import Document

_MEDIA_TYPE = "application/json-seq"
_SPEC = "BlueskyRun"
# so much goes out at once
_PORTION = 256 * 1024


def sequence(documents: Iterable[tuple[str, Document]]) -> Iterator[str]:
    """The documents as text, in portions.

    NaN and infinities are spelled as Python's json reads them, arrays are lists. A datum becomes a datum_page of one,
    the only form that Tiled's clients know; one that is broken is left out, so that the others can be read.
    """
    waiting: list[str] = []
    length = 0
    for name, document in documents:
        if (known := _known(name, document)) is None:
            continue
        waiting.append(_record(*known))
        length += len(waiting[-1])
        if length >= _PORTION:
            yield "".join(waiting)
            waiting, length = [], 0
    yield "".join(waiting)


def _known(name: str, document: Document) -> tuple[str, Any] | None:
    """The document in a form that the client knows."""
    if name != "datum":
        return name, document
    try:
        return "datum_page", event_model.pack_datum_page(cast("Datum", document))
    except (AttributeError, KeyError, TypeError):
        # it is not what event-model says
        return None


def _record(name: str, document: Any) -> str:
    try:
        text = json.dumps({"name": name, "doc": document}, default=_plain)
    except ValueError:
        text = json.dumps({"name": name, "doc": _printable(document)}, default=_plain)
    return f"\x1e{text}\n"


def _printable(value: Any) -> Any:
    """The value with texts for the integers that are too long for Python's json."""
    match value:
        case int():
            text = integer_text(value)
            return text if text.startswith(("0x", "-0x")) else value
        case dict():
            return {key: _printable(item) for key, item in value.items()}
        case list() | tuple():
            return [_printable(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufUSV":
        # numpy has no Python type for floats of more than 64 bits
        plain = (value.astype(np.float64) if value.dtype.kind == "f" else value).tolist()
        return clean(plain) if isinstance(plain, bytes | np.generic) else plain
    return None if value is MISSING else clean(value)


async def export_documents(mimetype: str, adapter: Any, metadata: Mapping[str, Any], filter_for_access: Any) -> Any:
    """Tiled's exporter of runs: ours answer themselves, runs of other trees go to bluesky-tiled-plugins."""
    if hasattr(adapter, "documents"):
        await filter_for_access(adapter)
        return sequence(adapter.documents())
    from bluesky_tiled_plugins.exporters import json_seq_exporter

    return await ensure_awaitable(json_seq_exporter, mimetype, adapter, metadata, filter_for_access)


def register_documents() -> None:
    """Let every Tiled server of this process export documents."""
    default_serialization_registry.register(_SPEC, _MEDIA_TYPE, export_documents)
