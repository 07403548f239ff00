"""Runs of detectors that write files, document by document, and what every reader must give of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blissdata_bluesky.external import Roots
from blissdata_bluesky.runs import ExternalColumn

from .detectors import FileDetector
from .emitted import NUMBER, EmittedRun, Named


class FilesRun(EmittedRun):
    """A run with one stream, `primary`. With `events`, each of these has a `number` beside the frames."""

    def __init__(self, *detectors: FileDetector, events: bool = True) -> None:
        super().__init__()
        self.detectors = detectors
        self.rows = 0
        self._events = events
        keys = {key: data_key for detector in detectors for key, data_key in detector.data_keys.items()}
        self.describe(data_keys={**({"number": NUMBER} if events else {}), **keys})
        for detector in detectors:
            self.next_file(detector)

    @property
    def descriptor(self) -> str:
        """Its uid."""
        return str(self._streams["primary"].descriptor_doc["uid"])

    def next_file(self, detector: FileDetector) -> list[Named]:
        """The detector goes on in another file."""
        return [
            named
            for name, document in detector.begin()
            for named in self.other(name, document | {"run_start": self.uid})
        ]

    def expose(self, rows: int = 1) -> list[Named]:
        """Frames alone."""
        documents = [named for detector in self.detectors for named in detector.expose(self.descriptor, rows)]
        self.rows += rows
        return [named for document in documents for named in self.other(*document)]

    def points(self, count: int) -> list[Named]:
        """Frames, and their event if there are any, again and again."""
        found = []
        for _ in range(count):
            found += self.expose()
            if self._events:
                found += self.event({"number": self.rows / 4})
        return found

    def stop(self) -> list[Named]:
        for detector in self.detectors:
            detector.end()
        return super().stop()


def allowing(*directories: Path) -> Roots:
    """Roots of these directories."""
    return Roots.parse(map(str, directories))


def assert_frames(column: ExternalColumn, expected: np.ndarray, seq_nums: Sequence[int] | None = None) -> None:
    """All rows and some slices of them are as they were written."""
    rows = len(expected)
    assert column.rows() == rows
    assert (column.dtype, column.shape) == (expected.dtype, expected.shape[1:])
    for start, stop in ((0, None), (0, rows), (rows - 1, rows), (1, rows + 5), (1, 1), (rows, None)):
        found = column.read(start, stop)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected[start:stop])
    assert column.seq_num().tolist() == list(seq_nums or range(1, rows + 1))
