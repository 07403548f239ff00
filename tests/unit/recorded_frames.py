"""The documents of one data key as `Frames` gets them, with the references that a run's rows are made of."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from blissdata_bluesky.external import Frames, Roots
from tests.system.detectors import FileDetector

ABOUT = "run 1, stream 'primary', key 'cam'"
DESCRIPTOR = "descriptor-1"
Named = tuple[str, dict[str, Any]]


class Recorded:
    """Frames of a key, which are given every document in order."""

    def __init__(self, data_key: Mapping[str, Any], roots: Iterable[Any], key: str = "cam") -> None:
        self.descriptor = {"uid": DESCRIPTOR, "name": "primary", "data_keys": {key: dict(data_key)}}
        self.frames = Frames(ABOUT, key, self.descriptor, Roots.parse(map(str, roots)))
        self.documents: list[Named] = []
        self._key = key
        self._resources: list[tuple[str, str]] = []
        self._rows: list[tuple[int, int, int]] = []

    def take(self, documents: Iterable[Named]) -> None:
        """Documents of the run."""
        for name, document in documents:
            self.documents.append((name, copy.deepcopy(document)))
            if name == "stream_resource":
                self._resources.append((document["uid"], document.get("data_key", "")))
            if name == "stream_datum":
                self._add_rows(document)
            self.frames.take(name, document)

    @property
    def references(self) -> np.ndarray:
        """Of all rows so far: (rows, 3)."""
        return np.array(self._rows, np.int64).reshape(-1, 3)

    def read(self, *rows: int) -> np.ndarray:
        """The frames of these rows, else of all."""
        return self.frames.read(self.references[list(rows)] if rows else self.references)

    def _add_rows(self, document: dict[str, Any]) -> None:
        number = next(i for i, (uid, _) in enumerate(self._resources) if uid == document["stream_resource"])
        if self._resources[number][1] != self._key:
            return
        indices, seq_nums = document["indices"], document["seq_nums"]
        for i in range(indices["stop"] - indices["start"]):
            self._rows.append((number, indices["start"] + i, seq_nums["start"] + i))


def recorded(detector: FileDetector, *rows: int, roots: Iterable[Any] | None = None) -> Recorded:
    """A detector's files, each with so many rows, all closed."""
    record = Recorded(detector.data_key, [detector.directory] if roots is None else roots, detector.name)
    for count in rows:
        record.take(detector.begin())
        record.take(detector.expose(DESCRIPTOR, count))
    detector.end()
    return record
