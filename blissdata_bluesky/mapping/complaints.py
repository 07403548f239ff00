"""What the log is told of documents and values that do not fit, once for each descriptor and key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..errors import DocumentError
from .streams import IRREGULAR, MappedStream

logger = logging.getLogger(__name__)

# they stay among the run's documents, whatever they tell of
_KEPT = frozenset({"stream_resource", "stream_datum"})


class Complaints:
    """Of one run."""

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._told: set[str] = set()
        self.quiet = False
        """Whether the log has told of these documents before."""

    def document(
        self, name: str, document: Mapping[str, Any], stream: MappedStream | None, error: DocumentError
    ) -> None:
        """A document that cannot be mapped; `stream`: of its descriptor, if that is known."""
        subject = str(document.get("descriptor") or document.get("uid"))
        if self._is_told(subject):
            return
        logger.error(
            "run %s, stream %r: a document of type %r (seq_num %r) %s: %s. The run goes on without it; the "
            "journal keeps it. Check the plan or device that emitted it against event-model. What else is wrong with "
            "documents of this descriptor is not reported.",
            self._uid,
            stream.name if stream else document.get("name"),
            name,
            document.get("seq_num"),
            "tells of no frames that can be read" if name in _KEPT else "is left out",
            error,
        )

    def value(self, stream: MappedStream, key: str, row: int) -> None:
        """A value that its column cannot hold."""
        if self._is_told(f"{stream.name}:{key}"):
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

    def _is_told(self, subject: str) -> bool:
        told = subject in self._told
        self._told.add(subject)
        return told or self.quiet
