"""What the log is told of documents and values that do not fit, once for each descriptor and key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..errors import DocumentError
from ..foreign import as_text, safe_repr, safe_text
from ..protocol import Encoding, NumericEncoding
from .streams import IRREGULAR, MappedStream

logger = logging.getLogger(__name__)

# they stay among the run's documents, whatever they tell of
_KEPT = frozenset({"stream_resource", "stream_datum"})
# it stands in the scan's info, where the room is limited
_LONGEST_REASON = 500


class Complaints:
    """Of one run."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._told: set[str] = set()
        self._documents = 0
        self._first = ""
        self.quiet = False
        """Whether the log has told of these documents before."""

    @property
    def left_out(self) -> str:
        """What the run lacks of what was emitted; "" for nothing."""
        more = f" ({self._documents} such documents in all)" if self._documents > 1 else ""
        return self._first + more

    def document(
        self, name: str, document: Mapping[str, Any], stream: MappedStream | None, error: DocumentError
    ) -> None:
        """A document that cannot be mapped; `stream`: of its descriptor, if that is known."""
        self._documents += 1
        where = f"a document of type {name!r} (seq_num {safe_repr(document.get('seq_num'))})"
        fate = "tells of no frames that can be read" if name in _KEPT else "is left out"
        self._first = self._first or safe_text(f"{where} {fate}: {error}")[:_LONGEST_REASON]
        subject = as_text(document.get("descriptor") or document.get("uid"))
        if self._is_told(subject):
            return
        logger.error(
            "run %s, stream %r: %s %s: %s. The run goes on without it and ends as FAILURE; its journal is kept for a "
            "while, from which `blissdata-bluesky journal export` takes it. Check the plan or device that emitted it against "
            "event-model. Further documents of this descriptor that do not fit are counted, and not reported.",
            self._uid,
            stream.name if stream else document.get("name"),
            where,
            fate,
            error,
        )

    def value(self, stream: MappedStream, key: str, row: int) -> None:
        """A value that its column cannot hold."""
        if self._is_told(f"{stream.name}:{key}"):
            return
        logger.warning(
            "run %s, stream %r, key %r: the value of row %d does not fit: by the stream's first descriptor, %s. "
            "Stock clients of blissdata see a fill in its place; the value is kept in "
            "%r, from which Tiled's documents and our readers take it. Correct dtype_numpy and shape in the device's "
            "describe(), and give a stream in which they change another name. Further rows are not reported.",
            self._uid,
            stream.name,
            key,
            row,
            f"it is {_shown(stream.columns[key].encoding)}" if key in stream.columns else "there is no such key",
            f"{stream.name}:{IRREGULAR}",
        )

    def timestamp(self, stream: MappedStream, key: str, row: int) -> None:
        """A timestamp that its column cannot hold."""
        if self._is_told(f"{stream.name}:{key}:timestamp"):
            return
        logger.warning(
            "run %s, stream %r, key %r: the timestamp of row %d is no number that float64 can hold, and is "
            "kept in %r. Give seconds since the epoch. Further rows are not reported.",
            self._uid,
            stream.name,
            key,
            row,
            f"{stream.name}:{IRREGULAR}",
        )

    def _is_told(self, subject: str) -> bool:
        told = subject in self._told
        self._told.add(subject)
        return told or self.quiet


def _shown(encoding: Encoding) -> str:
    if not isinstance(encoding, NumericEncoding):
        return "JSON"
    return f"{encoding.dtype.name}{f' of shape {encoding.shape}' if encoding.shape else ''}"
