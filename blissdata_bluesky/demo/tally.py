"""What one side knows of a run: rows and checksums of every column, the same sums for writer and readers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt


@dataclass
class Tally:
    """Rows and checksum by column of one stream, and how old the rows were when they were read."""

    counts: dict[str, int] = field(default_factory=dict)
    checksums: dict[str, int] = field(default_factory=dict)
    lag: float | None = None
    """Median, in seconds."""

    @property
    def rows(self) -> int:
        """Whole rows: those that every column has."""
        return min(self.counts.values(), default=0)

    def add(self, key: str, values: npt.ArrayLike) -> None:
        """Count more rows of one column, however many come at once."""
        column = np.asarray(values, dtype="<f8")
        self.counts[key] = self.counts.get(key, 0) + len(column)
        self.checksums[key] = zlib.crc32(column.tobytes(), self.checksums.get(key, 0))


@dataclass
class View:
    """What one side has seen of one run."""

    state: str = ""
    done: bool = False
    streams: dict[str, Tally] = field(default_factory=dict)

    def stream(self, name: str) -> Tally:
        """The tally of a stream; made when it is new."""
        return self.streams.setdefault(name, Tally())


@dataclass(frozen=True)
class Report:
    """What a reader tells of one run; one line of JSON between the processes."""

    reader: str
    uid: str
    view: View

    def to_json(self) -> str:
        """One line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """The report that `to_json` wrote."""
        record: Mapping[str, Any] = json.loads(line)
        view = record["view"]
        streams = {name: Tally(**tally) for name, tally in view["streams"].items()}
        return cls(record["reader"], record["uid"], View(view["state"], view["done"], streams))
