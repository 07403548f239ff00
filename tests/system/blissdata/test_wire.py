"""Keys, documents and entries of our scans beside those that blissdata's own publisher makes for the same scan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import redis
from blissdata import DataStore, ScanState
from blissdata.streams.default import Stream

from blissdata_bluesky.connection import open_client
from blissdata_bluesky.writer import BlissdataWriter

from ..tiled_runs import Document, Run, publish

# data key → what blissdata's make_definition is given for it, and the rows of two events and of a page of three
COLUMNS: dict[str, tuple[Any, Any, list[Any]]] = {
    "number": ("float64", (), [0.25, -1.0, 1e300, np.nan, 5e-324]),
    "small": ("float32", (), [0.25, -1.0, 2.0, 3.0, 4.0]),
    "integer": ("int64", (), [-1, 2**62, 0, 3, 4]),
    "boolean": ("bool", (), [True, False, True, True, False]),
    "complex": ("complex128", (), [1j, 2 + 1j, 3j, 0j, 1 + 0j]),
    "spectrum": ("uint32", (3,), [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 2**32 - 1]]),
    "image": ("uint16", (2, 2), [[[n, 1], [2, 65535]] for n in range(5)]),
    "ragged": ("float64", (-1,), [[0.5], [1.5, 2.5], [1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]),
    "text": ("json", None, ["", "é \N{SNOWMAN}", '"', "\\ \n", "plain"]),
}
COMPANIONS = {"time": ("float64", ()), "seq_num": ("int64", ()), "timestamps": ("float64", (len(COLUMNS),))}
METADATA = {"plan_name": "scan", "scan_id": 7, "beamline_id": "id00", "data_session": "hg-0050", "purpose": "a test"}


class Stage(NamedTuple):
    """All that Redis holds of a scan at one moment."""

    document: dict[str, Any]
    states: list[dict[bytes, bytes]]
    entries: dict[str, list[tuple[bytes, dict[bytes, bytes]]]]


@pytest.fixture
def client(any_redis_url: str) -> Iterator[redis.Redis]:
    with open_client(any_redis_url) as client:
        yield client


@pytest.fixture
def initial_keys(client: redis.Redis) -> set[bytes]:
    """What an initialised database holds without a scan."""
    return set(client.scan_iter())


@pytest.fixture
def ours(initial_keys: set[bytes], writer: BlissdataWriter, client: redis.Redis) -> dict[str, Stage]:
    """A run as this package publishes it, from CREATED to CLOSED."""
    run = Run(**METADATA)
    publish(writer, [run.start])
    stages = {"created": stage(client)}
    publish(writer, [run.describe(**{key: data_key(key) for key in COLUMNS})])
    rows = [{key: rows[n] for key, (*_, rows) in COLUMNS.items()} for n in range(5)]
    for row in rows[:2]:
        publish(writer, [run.event(row)])
    stages["started"] = stage(client)
    publish(writer, [page(run.event(row)[1] for row in rows[2:])])
    publish(writer, [run.stop()])
    return stages | {"closed": stage(client)}


@pytest.fixture
def theirs(ours: dict[str, Stage], any_redis_url: str, client: redis.Redis) -> dict[str, Stage]:
    """The same scan, published by blissdata."""
    model = ours["created"].document
    identity = {name: value for name, value in model["id"].items() if name != "pk"}
    companions = {name: decoded(ours["closed"], name) for name in COMPANIONS}
    scan = DataStore(any_redis_url).create_scan(identity, model["info"])
    stages = {"created": stage(client)}
    streams = {name: scan.create_stream(definition(name, *COMPANIONS[name])) for name in COMPANIONS}
    streams |= {key: scan.create_stream(definition(key, *COLUMNS[key][:2])) for key in COLUMNS}
    scan.info = ours["started"].document["info"]
    scan.prepare()
    scan.start()
    for first, last in ((0, 1), (1, 2), (2, 5)):
        for name, stream in streams.items():
            if name == "text":
                for value in COLUMNS[name][2][first:last]:
                    stream.send(value)
                continue
            rows = companions.get(name) or COLUMNS[name][2]
            batch = rows[first] if last - first == 1 else rows[first:last]
            stream.send(np.array(batch, stream.dtype))
        if last == 2:
            for stream in streams.values():
                stream.join()
            stages["started"] = stage(client)
    scan.stop()
    scan.info = ours["closed"].document["info"]
    scan.close()
    return stages | {"closed": stage(client)}


@pytest.mark.parametrize("name", ["created", "started", "closed"])
def test_the_scan_documents_are_equal(name: str, ours: dict[str, Stage], theirs: dict[str, Stage]) -> None:
    assert without_keys(ours[name].document) == without_keys(theirs[name].document)
    assert list(ours[name].document) == list(theirs[name].document)
    assert list(ours[name].document["data_streams"]) == list(theirs[name].document["data_streams"])


@pytest.mark.parametrize("name", ["created", "started", "closed"])
def test_the_states_are_equal(name: str, ours: dict[str, Stage], theirs: dict[str, Stage]) -> None:
    assert ours[name].states == theirs[name].states
    assert int(ours[name].states[-1][b"state"]) == ScanState[name.upper()]


@pytest.mark.parametrize("name", ["started", "closed"])
def test_the_entries_are_equal_byte_for_byte(name: str, ours: dict[str, Stage], theirs: dict[str, Stage]) -> None:
    assert ours[name].entries == theirs[name].entries
    assert set(ours[name].entries) == {f"primary:{column}" for column in (*COMPANIONS, *COLUMNS)}


def test_a_page_is_one_entry_and_the_last_entry_is_the_seal(ours: dict[str, Stage]) -> None:
    entries = ours["closed"].entries["primary:number"]
    assert [(key, fields.get(b"len")) for key, fields in entries[:-1]] == [
        (b"0-1", None),
        (b"1-1", None),
        (b"2-1", b"3"),
    ]
    assert entries[-1] == (f"{2**64 - 1}-{2**64 - 1}".encode(), {b"id": b"5"})


def test_the_keys_differ_by_the_documents_stream_only(
    initial_keys: set[bytes], ours: dict[str, Stage], theirs: dict[str, Stage], client: redis.Redis
) -> None:
    documents = f"bluesky:documents:{ours['closed'].document['pk']}".encode()
    scans = [kinds_of_keys(client, stages["closed"].document) for stages in (ours, theirs)]
    assert Counter(scans[0].values()) == Counter(scans[1].values())
    assert set(client.scan_iter()) == initial_keys | {b"_SCAN_HISTORY_", documents, *scans[0], *scans[1]}
    assert client.type(documents) == b"stream"
    assert 29 * 86400 < client.ttl(documents) <= 30 * 86400
    history = [fields for _, fields in client.xrange("_SCAN_HISTORY_")]
    assert history == [{b"key": f"esrf:scan:{stages['closed'].document['pk']}".encode()} for stages in (ours, theirs)]


def test_lists_in_json_are_written_without_spaces(
    writer: BlissdataWriter, client: redis.Redis, any_redis_url: str
) -> None:
    run = Run()
    words = {"dtype": "array", "dtype_numpy": "<U3", "shape": [2], "source": "s"}
    publish(writer, [run.start, run.describe(words=words), run.event({"words": ["a", "bc"]}), run.stop()])
    ((_, fields), _) = stage(client).entries["primary:words"]
    store = DataStore(any_redis_url)
    assert store.load_scan(store.get_last_scan()[1]).streams["primary:words"][0] == ["a", "bc"]
    assert fields == {b"payload": b'["a","bc"]'}


def test_keys_are_spelled_alike(ours: dict[str, Stage], theirs: dict[str, Stage]) -> None:
    ulid = set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    for stages in (ours, theirs):
        keys = keys_of(stages["closed"].document)
        assert all(len(key) == 26 and set(key) <= ulid for key in keys)
        assert len(set(keys)) == len(keys)


def test_the_index_finds_both(ours: dict[str, Stage], theirs: dict[str, Stage], any_redis_url: str) -> None:
    store = DataStore(any_redis_url)
    both = {f"esrf:scan:{stages['closed'].document['pk']}" for stages in (ours, theirs)}
    identity = ours["closed"].document["id"]
    queries = [{name: value} for name, value in identity.items() if name != "pk" and value is not None]
    assert len(queries) == 6
    for query in queries:
        assert set(store.search_existing_scans(**query)[1]) == both


def test_blissdata_republishes_our_document_unchanged(ours: dict[str, Stage], any_redis_url: str) -> None:
    document = ours["closed"].document
    scan = DataStore(any_redis_url).load_scan(f"esrf:scan:{document['pk']}")
    assert scan._model.model_dump(mode="json") == document


def definition(name: str, dtype: Any, shape: Any) -> Any:
    # ours on purpose: each stream says which Bluesky stream and data key it comes from
    origin = {"stream": "primary"} if name in COMPANIONS else {"stream": "primary", "key": name}
    return Stream.make_definition(f"primary:{name}", dtype, shape, {"bluesky": origin})


def data_key(key: str) -> dict[str, Any]:
    dtype, shape, _ = COLUMNS[key]
    if dtype == "json":
        return {"dtype": "string", "shape": [], "source": "s"}
    described = [None if length == -1 else length for length in shape]
    return {"dtype": "array", "dtype_numpy": np.dtype(dtype).str, "shape": described, "source": "s"}


def page(events: Iterator[dict[str, Any]]) -> Document:
    events = list(events)
    page = {name: [event[name] for event in events] for name in ("uid", "time", "seq_num")}
    columns = {
        part: {key: [event[part][key] for event in events] for key in COLUMNS} for part in ("data", "timestamps")
    }
    return "event_page", {"descriptor": events[0]["descriptor"], "filled": {}, **page, **columns}


def stage(client: redis.Redis) -> Stage:
    """What Redis holds of the last scan."""
    key = client.xrevrange("_SCAN_HISTORY_", count=1)[0][1][b"key"]
    document = client.json().get(key.decode())
    entries = {name: client.xrange(f"esrf:stream:{stream['pk']}") for name, stream in document["data_streams"].items()}
    states = [fields for _, fields in client.xrange(f"esrf:stream:{document['state_stream']['pk']}")]
    return Stage(document, states, entries)


def decoded(stage: Stage, name: str) -> list[Any]:
    dtype, shape = COMPANIONS[name]
    payload = b"".join(fields[b"payload"] for _, fields in stage.entries[f"primary:{name}"][:-1])
    return list(np.frombuffer(payload, dtype).reshape(-1, *shape))


def members(document: dict[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """The document with `change` applied to each member that is an object with a primary key."""
    streams = {name: change(stream) for name, stream in document["data_streams"].items()}
    parts = {"id": change(document["id"]), "state_stream": change(document["state_stream"]), "data_streams": streams}
    return change(document | parts)


def without_keys(document: dict[str, Any]) -> dict[str, Any]:
    return members(document, lambda member: {name: value for name, value in member.items() if name != "pk"})


def keys_of(document: dict[str, Any]) -> list[str]:
    keys: list[str] = []
    members(document, lambda member: keys.append(member["pk"]) or member)
    return keys


def kinds_of_keys(client: redis.Redis, document: dict[str, Any]) -> dict[bytes, tuple[str, bytes, int]]:
    """The keys that belong to a scan: prefix, type and time to live of each."""
    streams = [document["state_stream"], *document["data_streams"].values()]
    keys = [f"esrf:scan:{document['pk']}", *(f"esrf:stream:{stream['pk']}" for stream in streams)]
    return {key.encode(): (key.rsplit(":", 1)[0], client.type(key), client.ttl(key)) for key in keys}
