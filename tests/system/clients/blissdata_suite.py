"""blissdata's publisher, as its own tests use it, made of Bluesky documents and our publisher.

So the tests of its readers run on scans of ours. A stream of theirs is a Bluesky stream with one data key of that name;
what is sent at once is one event page.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from blissdata import DataStore
from blissdata.exceptions import ScanNotFoundError
from blissdata.streams import StreamDefinition

from blissdata_bluesky.protocol import scan_key, stream_name
from blissdata_bluesky.writer import BlissdataWriter

from ..emitted import NUMBER, EmittedRun, give

_KINDS = {"i": "integer", "u": "integer", "f": "number"}


def identity_of(start: Mapping[str, Any]) -> Mapping[str, Any]:
    """The rule for the writer: what the test asked for."""
    return dict(start["identity"])


class OurStream:
    """What a test sends to. Whatever else it asks is answered by blissdata's reader of the stream."""

    def __init__(self, scan: OurScan, name: str, dtype: Any, shape: tuple[int, ...], *, waits: bool = False) -> None:
        """`waits`: whether each `send` returns when Redis has the rows, so that the next ones come later."""
        self._scan = scan
        self._waits = waits
        self.short_name = name
        self._dtype = np.dtype(dtype)
        self._shape = shape
        self._rows = 0

    @property
    def data_key(self) -> dict[str, Any]:
        """Of the descriptor."""
        kind = "array" if self._shape else _KINDS[self._dtype.kind]
        return {"dtype": kind, "dtype_numpy": self._dtype.str, "shape": [*self._shape]}

    @property
    def reader(self) -> Any:
        """blissdata's stream."""
        return self._scan.streams[stream_name(self.short_name, self.short_name)]

    def send(self, data: Any) -> None:
        """One row, or several at once."""
        rows = np.asarray(data, self._dtype)
        rows = rows[np.newaxis] if rows.ndim == len(self._shape) else rows
        self._scan.page(self.short_name, self._rows, rows)
        self._rows += len(rows)
        if self._waits:
            self.join()

    def join(self) -> None:
        """Wait until Redis has all rows."""
        self._scan.flush()

    def seal(self) -> int:
        """All streams of a run of ours are sealed together, when it stops."""
        self._scan.close()
        return self._rows

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def __getitem__(self, key: Any) -> Any:
        return self.reader[key]

    def __len__(self) -> int:
        return len(self.reader)


class OurScan:
    """A run that is published. What a test asks of a scan beside is answered by blissdata's reader."""

    def __init__(self, writer: BlissdataWriter, store: DataStore, identity: Mapping[str, Any]) -> None:
        self._writer = writer
        self._store = store
        self._streams: dict[str, OurStream] = {}
        self._descriptors: dict[str, str] = {}
        self._open = True
        self._run = EmittedRun(identity={"path": None, **identity})
        self.key = scan_key(self._run.uid)
        give(writer, self._run.documents)
        self._loaded = store.load_scan(self.key)

    def create_stream(self, definition: StreamDefinition) -> OurStream:
        """A stream that is there from `prepare` on."""
        encoder = definition.encoder
        stream = self._streams[definition.name] = OurStream(self, definition.name, encoder.dtype, encoder.shape)
        return stream

    def prepare(self) -> None:
        """Pass to STARTED with all streams: an event of another stream begins the measurement."""
        for name, stream in self._streams.items():
            [(_, descriptor)] = described = self._run.describe(name, {name: stream.data_key})
            self._descriptors[name] = descriptor["uid"]
            give(self._writer, described)
        give(self._writer, [*self._run.describe("begin", {"begin": NUMBER}), *self._run.event({"begin": 0.0}, "begin")])

    def start(self) -> None:
        """It has started."""

    def stop(self) -> None:
        """It is stopped and closed at once."""

    def page(self, name: str, index: int, rows: np.ndarray[Any, Any]) -> None:
        """Rows of one stream."""
        numbers, times = [*range(index + 1, index + len(rows) + 1)], [1.7e9] * len(rows)
        page = {
            "descriptor": self._descriptors[name],
            "uid": [f"{name}-{number}" for number in numbers],
            "seq_num": numbers,
            "time": times,
            "data": {name: rows},
            "timestamps": {name: times},
        }
        self._writer("event_page", page)

    def flush(self) -> None:
        """Wait until Redis has all."""
        assert self._writer.flush(90)

    def close(self) -> None:
        """The run stops, if it has not yet."""
        if self._open:
            self._open = False
            for name, document in self._run.stop():
                self._writer(name, document)
            # a scan that the test has deleted takes no more
            self._writer.flush(90)

    def __getattr__(self, name: str) -> Any:
        with suppress(ScanNotFoundError):
            self._loaded = self._store.load_scan(self.key)
        return getattr(self._loaded, name)


class OurScans:
    """Stands for the `DataStore` of a test where it writes."""

    def __init__(self, writer: BlissdataWriter, store: DataStore) -> None:
        self._writer = writer
        self._store = store
        self._scans: list[OurScan] = []

    def create_scan(self, identity: Mapping[str, Any], info: Mapping[str, Any] | None = None) -> OurScan:
        """A run with this identity of its scan. An info cannot be given: it follows from the documents."""
        assert not info
        self._scans.append(OurScan(self._writer, self._store, identity))
        return self._scans[-1]

    def stream(self, name: str, dtype: Any, shape: tuple[int, ...] = ()) -> OurStream:
        """The only stream of a run, which has begun."""
        scan = self.create_scan({"name": "suite", "number": 1, "data_policy": "none"})
        stream = OurStream(scan, name, dtype, shape, waits=True)
        scan._streams[name] = stream
        scan.prepare()
        return stream

    def close(self) -> None:
        """End what is open."""
        for scan in self._scans:
            scan.close()
