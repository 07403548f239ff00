"""A run's documents as a JSON text sequence (RFC 7464), exactly as the RunEngine emitted them."""

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
from ..protocol import MISSING
from ..runs import Document

_MEDIA_TYPE = "application/json-seq"
_SPEC = "BlueskyRun"
# so much goes out at once
_PORTION = 256 * 1024


def sequence(documents: Iterable[tuple[str, Document]]) -> Iterator[str]:
    """The documents as text, in portions.

    NaN and infinities are spelled as Python's json reads them. A datum becomes a datum_page of one, the only form
    that Tiled's clients know.
    """
    waiting: list[str] = []
    length = 0
    for name, document in documents:
        waiting.append(_record(name, document))
        length += len(waiting[-1])
        if length >= _PORTION:
            yield "".join(waiting)
            waiting, length = [], 0
    yield "".join(waiting)


def _record(name: str, document: Document) -> str:
    if name == "datum":
        return _record("datum_page", dict(event_model.pack_datum_page(cast("Datum", document))))
    return f"\x1e{json.dumps({'name': name, 'doc': document}, default=_plain)}\n"


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist") and getattr(value, "dtype", None) is not None and value.dtype.kind in "biufUS":
        # numpy has no Python type for floats of more than 64 bits
        plain = (value.astype(np.float64) if value.dtype.kind == "f" else value).tolist()
        return plain if not isinstance(plain, bytes) else clean(plain)
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
