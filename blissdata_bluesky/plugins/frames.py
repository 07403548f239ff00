"""The frames of one data key, found by what the run's documents in Redis say of files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import redis

from ..errors import RunNotFoundError
from ..external import Frames, Roots
from ..protocol import Array, DocumentEntry, documents_key


class RunFrames:
    """Reads what it needs of the documents, and frames, when it is asked for them. Thread-safe."""

    def __init__(self, client: redis.Redis, uid: str, stream: str, key: str) -> None:
        self._client = client
        self._uid = uid
        self._stream = stream
        self._key = key
        self._known: Frames | None = None
        self._next = 0
        self._lock = threading.Lock()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of a frame."""
        return self._frames().dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what one reference stands for."""
        return self._frames().shape

    def read(self, references: Array | Sequence[Any]) -> Array:
        """The frames, (references, *shape).

        Raises ExternalDataError, and RunNotFoundError when Redis has the run's documents no longer.
        """
        if isinstance(references, np.ndarray) or all(isinstance(row, np.ndarray) for row in references):
            references = np.asarray(references, np.int64).reshape(-1, 3)
        return self._frames().read(references)

    def _frames(self) -> Frames:
        # whoever is refused in a notebook mends the variable and asks again
        roots = Roots.configured()
        with self._lock:
            raw = self._client.xrange(documents_key(self._uid), min=f"{self._next}-0")
            entries = [DocumentEntry.parse(entry) for entry in raw]
            known = self._known or self._begun(entries)
            known.allow(roots)
            for entry in entries:
                known.take(entry.name, entry.document)
            self._known = known
            self._next += len(entries)
            return known

    def _begun(self, entries: Sequence[DocumentEntry]) -> Frames:
        about = f"run {self._uid}, stream {self._stream!r}, key {self._key!r}"
        for entry in entries:
            if entry.name == "descriptor" and entry.document["name"] == self._stream:
                return Frames(about, self._key, entry.document, Roots())
        raise RunNotFoundError(f"{about}: Redis no longer has the run's documents; read the run from the archive")
