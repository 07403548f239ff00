"""What a RunEngine emitted, document by document, and one check of what every reader gives back of it."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import Any, cast

import dask
import numpy as np
from blissdata import ScanState
from event_model import (
    DocumentNames,
    bulk_datum_to_datum_page,
    bulk_events_to_event_pages,
    pack_datum_page,
    schema_validators,
    unpack_datum_page,
    unpack_event_page,
)
from ophyd_async.core import Table
from tiled.client import from_uri

from blissdata_bluesky.protocol import load_json
from blissdata_bluesky.runs import ArchivedRuns, RedisRuns
from blissdata_bluesky.server import RedisServer
from blissdata_bluesky.tiled import TiledServer

from .archive_site import Site, open_site
from .collected import load
from .emitted import Named, whole_run
from .tiled_runs import eventually


class Recorder:
    """Keeps a copy of every document, run by run."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Named]] = {}
        self._runs_of: dict[str, str] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> str:
        """Keep one; the uid of its run."""
        uid = self._run_of(name, document)
        if name != "stop" and "uid" in document and isinstance(document["uid"], str):
            self._runs_of[document["uid"]] = uid
        self.runs.setdefault(uid, []).append((name, copy.deepcopy(document)))
        return uid

    def _run_of(self, name: str, document: dict[str, Any]) -> str:
        if name == "start":
            return str(document["uid"])
        if name == "bulk_events":
            return self._runs_of[next(iter(document))]
        if "run_start" in document:
            return str(document["run_start"])
        return self._runs_of[document.get("descriptor") or document["resource"]]


class Station:
    """A Redis with a writer and an archive, and every reader of them."""

    def __init__(self, site: Site, runs: RedisRuns, client: Any) -> None:
        self.site = site
        self.runs = runs
        self.client = client

    def served(self, uid: str) -> Any:
        """The run as Tiled's client has it, when its stop document is listed."""
        # a run without streams is false
        eventually(lambda: "stop" in self.client[uid].metadata)
        return self.client[uid]

    def archived(self, uid: str) -> list[Named]:
        """The documents that the run's file has."""
        with ArchivedRuns(self.site.root) as runs:
            return list(runs.get(uid, self.site.hint(uid)).documents())


@contextmanager
def open_station(directory: Path) -> Iterator[Station]:
    with ExitStack() as stack:
        # dask, with which the client reads tables, would keep its threads for ever, and make text of lists
        stack.enter_context(dask.config.set({"scheduler": "synchronous", "dataframe.convert-string": False}))
        url = stack.enter_context(RedisServer()).url
        site = stack.enter_context(open_site(url, directory))
        runs = stack.enter_context(RedisRuns(url))
        client = from_uri(stack.enter_context(TiledServer(url)).url)
        stack.callback(client.context.http_client.close)
        station = Station(site, runs, client)
        # so that every thread of the writer and of the server is there before the first test
        first = whole_run(1)
        site.give(first.documents)
        list(station.served(first.uid).documents())
        yield station


class Followed:
    """A callback that keeps each document and gives it to the station's writer.

    Of each run it keeps what a reader had of it just before its stop document came.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self.recorder = Recorder()
        self.live: dict[str, list[Named]] = {}

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        uid = self.recorder(name, document)
        if name == "stop":
            assert self._station.site.writer.flush(90)
            self.live[uid] = list(self._station.runs.get(uid).documents())
        self._station.site.writer(name, document)

    @property
    def uids(self) -> list[str]:
        """Every run, in the order of their starts."""
        return list(self.recorder.runs)

    def emitted(self, uid: str) -> list[Named]:
        """What was emitted of the run, as `in_order` has it."""
        return in_order(self.recorder.runs[uid])

    def assert_faithful(self, uid: str) -> list[Named]:
        """Every reader gives back what was emitted; the documents as Tiled's client has them."""
        station, emitted = self._station, self.emitted(uid)
        assert station.site.writer.flush(90)
        station.site.archive()
        held = station.runs.get(uid)
        held.refresh()
        stored, archived = list(held.documents()), station.archived(uid)
        served = list(station.served(uid).documents())
        assert_documents(self.live[uid], emitted[:-1])
        assert_documents(stored, emitted)
        assert_documents(archived, emitted)
        assert_documents(served, over_http(emitted), exact=False)
        assert event_uids(self.live[uid]) == event_uids(stored) == event_uids(archived) == event_uids(served)
        assert len(set(event_uids(served))) == len(event_uids(served))
        for name, document in served:
            schema_validators[DocumentNames[name]].validate(document)
        return served

    def assert_rows(self, uid: str, reason: str = "SUCCESS") -> None:
        """The rows that the stock clients of blissdata and Tiled have are those of the events."""
        assert_published(self._station.site.url, uid, self.emitted(uid), reason)
        assert_shown(self._station.client[uid], self.emitted(uid))


def in_order(documents: Iterable[Named]) -> list[Named]:
    """Documents as `Run.documents` gives them: events one by one, those of several streams in the order of time."""
    found: list[Named] = []
    streams: dict[str, str] = {}
    for is_event, block in groupby(_one_by_one(documents), lambda named: named[0] == "event"):
        block = list(block)
        streams |= {document["uid"]: document["name"] for name, document in block if name == "descriptor"}
        if is_event and len({streams[document["descriptor"]] for _, document in block}) > 1:
            block.sort(key=lambda named: named[1]["time"])
        found += block
    return found


def _one_by_one(documents: Iterable[Named]) -> Iterator[Named]:
    for name, document in documents:
        match name:
            case "event_page":
                yield from (("event", dict(event)) for event in unpack_event_page(cast("Any", document)))
            case "bulk_events":
                for page in bulk_events_to_event_pages(document):
                    yield from _one_by_one([("event_page", dict(page))])
            case "bulk_datum":
                page = bulk_datum_to_datum_page(document)
                yield from (("datum", dict(datum)) for datum in unpack_datum_page(page))
            case _:
                yield name, document


def over_http(documents: Iterable[Named]) -> list[Named]:
    """The same in the forms that Tiled's client knows."""
    return [_known(name, document) for name, document in documents]


def _known(name: str, document: dict[str, Any]) -> Named:
    match name:
        case "datum":
            return "datum_page", dict(pack_datum_page(cast("Any", document)))
        case _:
            return name, document


def event_uids(documents: Iterable[Named]) -> list[str]:
    return [document["uid"] for name, document in documents if name == "event"]


def assert_documents(found: Iterable[Named], expected: Iterable[Named], *, exact: bool = True) -> None:
    """The same documents in the same order, but for the events' uids, which are not kept.

    `exact`: arrays with dtype and shape; else as JSON has them.
    """
    for (name, document), (expected_name, wanted) in zip(found, expected, strict=True):
        assert name == expected_name
        if name == "event":
            document, wanted = {**document, "uid": ""}, {**wanted, "uid": ""}
        assert_same(document, wanted, name, exact=exact)


def assert_same(found: Any, expected: Any, at: str = "", *, exact: bool = True) -> None:
    """Equal, member by member; NaN is itself. Enums are their values, tables mappings of their columns."""
    match expected:
        case np.ndarray():
            if exact and expected.dtype.kind in "biufc":
                assert isinstance(found, np.ndarray), at
                assert (found.dtype, found.shape) == (expected.dtype, expected.shape), at
            assert_same(found, expected.tolist(), at, exact=exact)
        case Table():
            assert_same(found, dict(expected), at, exact=exact)
        case Enum() | np.generic():
            assert_same(found, expected.value if isinstance(expected, Enum) else expected.item(), at, exact=exact)
        case Mapping():
            assert set(found) == set(map(str, expected)), at
            for key, value in expected.items():
                assert_same(found[str(key)], value, f"{at}[{key!r}]", exact=exact)
        case list() | tuple():
            found = found.tolist() if isinstance(found, np.ndarray) else found
            assert len(found) == len(expected), at
            for i, (one, other) in enumerate(zip(found, expected, strict=True)):
                assert_same(one, other, f"{at}[{i}]", exact=exact)
        case _:
            assert found == expected or (found != found and expected != expected), at


def events_of(documents: Iterable[Named]) -> dict[str, list[dict[str, Any]]]:
    """The events by the name of their stream; streams without any are left out."""
    streams: dict[str, str] = {}
    events: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, document in documents:
        if name == "descriptor":
            streams[document["uid"]] = document["name"]
        elif name == "event":
            events[streams[document["descriptor"]]].append(document)
    return dict(events)


def external_keys(documents: Iterable[Named]) -> set[tuple[str, str]]:
    """Streams and data keys whose data are in files of the detector."""
    descriptors = [document for name, document in documents if name == "descriptor"]
    return {(d["name"], key) for d in descriptors for key, data_key in d["data_keys"].items() if "external" in data_key}


def assert_published(url: str, uid: str, documents: list[Named], reason: str) -> None:
    """An unmodified blissdata has every row, in the order of arrival, and the run's end."""
    scan = load(url, uid)
    assert (scan.state, scan.info["end_reason"]) == (ScanState.CLOSED, reason)
    expected: dict[str, list[Any]] = {}
    for stream, events in events_of(documents).items():
        expected |= {f"{stream}:{name}": [event[name] for event in events] for name in ("time", "seq_num")}
        keys = [key for key in events[0]["data"] if (stream, key) not in external_keys(documents)]
        expected |= {f"{stream}:{key}": [event["data"][key] for event in events] for key in keys}
    external = {f"{stream}:{key}" for stream, key in external_keys(documents)}
    found = {name for name, stream in scan.streams.items() if len(stream)} - external
    assert {name for name in found if not name.endswith(":timestamps")} == set(expected)
    for name, rows in expected.items():
        assert_same(_values(scan.streams[name][:]), rows, name, exact=False)


def _values(rows: Any) -> Any:
    """Rows as blissdata gives them; those that JSON lacks are tagged (docs/reference/redis.md)."""
    return rows if isinstance(rows, np.ndarray) else load_json(json.dumps(list(rows)))


def assert_shown(run: Any, documents: list[Named]) -> None:
    """Tiled's client has the last row of each seq_num."""
    for stream, events in events_of(documents).items():
        last = {event["seq_num"]: event for event in events}
        shown = [last[seq_num] for seq_num in sorted(last)]
        keys = [key for key in events[0]["data"] if (stream, key) not in external_keys(documents)]
        data = run[stream].read([*keys, "time"])
        expected = {key: [event["data"][key] for event in shown] for key in keys}
        expected["time"] = [event["time"] for event in shown]
        assert set(data.variables) == set(expected)
        for key, rows in expected.items():
            assert_same([_shown(value) for value in data[key].values], [*map(_row, rows)], f"{stream}:{key}")


def _shown(value: Any) -> Any:
    """Tables are JSON text in Tiled."""
    return load_json(value) if isinstance(value, str) and value[:1] in {"[", "{"} else value


def _row(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
