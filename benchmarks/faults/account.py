"""A plain list of what a writer was given, to compare Redis with."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import redis
from blissdata import ScanState

from blissdata_bluesky.protocol import DocumentEntry, documents_key
from tests.system.collected import load

# what stands in a column of `tests.system.tiled_runs.ALL_KINDS` for a value that it cannot hold
FILLS: dict[str, Any] = {"number": float("nan"), "integer": 0, "short": [float("nan")] * 4}
# a key that the descriptor lacks
UNDESCRIBED = "undescribed"


@dataclass
class Account:
    """The plain list: all that one writer was given of one run."""

    uid: str
    documents: list[str] = field(default_factory=list)
    rows: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def descriptor(self) -> None:
        self.documents.append("descriptor")

    def event(self, stream: str, event: dict[str, Any], odd: str) -> None:
        index = len(self.rows[f"{stream}:time"])
        self.rows[f"{stream}:time"].append(event["time"])
        self.rows[f"{stream}:seq_num"].append(event["seq_num"])
        described = [key for key in event["data"] if key != UNDESCRIBED]
        self.rows[f"{stream}:timestamps"].append([event["timestamps"][key] for key in described])
        for key in described:
            self.rows[f"{stream}:{key}"].append(FILLS[key] if key == odd else event["data"][key])
        if odd:
            stamp = {"timestamp": event["timestamps"][odd]} if odd == UNDESCRIBED else {}
            self.rows[f"{stream}:irregular"].append({"row": index, "key": odd, "value": event["data"][odd], **stamp})

    def differences(self, url: str) -> list[str]:
        """What an unmodified blissdata finds otherwise than it was given."""
        scan = load(url, self.uid)
        with redis.Redis.from_url(url) as client:
            entries = client.xrange(documents_key(self.uid))
        found = [DocumentEntry.parse(entry) for entry in entries]
        stopped = self.documents[-1] == "stop"
        checks = {
            "state": (scan.state, ScanState.CLOSED),
            "end": (scan.info.get("end_reason"), "SUCCESS" if stopped else "FAILURE"),
            "documents": ([entry.name for entry in found], self.documents),
            "numbers of documents": ([entry.index for entry in found], list(range(len(self.documents)))),
            "columns": ({name for name in scan.streams if len(scan.streams[name])}, set(self.rows)),
            "open streams": ([name for name, stream in scan.streams.items() if not stream.is_sealed()], []),
        }
        checks |= {
            name: (_plain(scan.streams[name][:]) if name in scan.streams else None, _plain(rows))
            for name, rows in self.rows.items()
        }
        return [f"{what}: {one!r}, not {other!r}" for what, (one, other) in checks.items() if one != other]


def _plain(rows: Any) -> list[str]:
    """Rows as words: NaN equals NaN, and 1 differs from 1.0."""
    return [repr(np.asarray(value).tolist()) for value in rows]
