"""Keys and streams whose names are escaped, through the unmodified client."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, stopped

ARRAY = {"dtype": "array", "dtype_numpy": "<f8", "shape": [40], "source": "s"}
NUMBER = {"dtype": "number", "dtype_numpy": "<f8", "shape": [], "source": "s"}
ARRAYS = {
    "a:b": "a%3Ab",
    "_x": "%5Fx",
    "a/b": "a%2Fb",
    "c/d/e": "c%2Fd%2Fe",
    "50%": "50%25",
    "é": "é",
    "plain": "plain",
}
STREAMS = {"cam:dark": "cam%3Adark", "up/down": "up%2Fdown"}


@pytest.fixture
def uid(writer: BlissdataWriter, client: Any) -> str:
    """A finished run with two streams of two rows."""
    run = Run(scan_id=1)
    documents = [run.start]
    for stream in STREAMS:
        name, descriptor = run.describe(stream, plain=ARRAY)
        # event-model would refuse to compose some of these names
        descriptor = {**descriptor, "data_keys": {**dict.fromkeys(ARRAYS, ARRAY), "m/n": NUMBER}, "object_keys": {}}
        documents.append((name, descriptor))
        for i in range(2):
            _, event = run.event({"plain": 0}, stream)
            data = {**dict.fromkeys(ARRAYS, np.full(40, float(i))), "m/n": float(i)}
            documents.append(("event", {**event, "data": data, "timestamps": dict.fromkeys(data, 1.0)}))
    publish(writer, [*documents, run.stop()])
    stopped(client, run.uid)
    return run.uid


def test_they_are_read_as_they_are_listed(uid: str, client: Any) -> None:
    run = client[uid]
    assert list(run) == list(STREAMS.values())
    for listed in STREAMS.values():
        stream = run[listed]
        assert {*ARRAYS.values()} <= {*stream}
        for key in ARRAYS.values():
            assert stream[key].read()[:, 0].tolist() == [0.0, 1.0], key
        data = stream.read()
        assert {*ARRAYS.values(), "m%2Fn"} <= {*data}
        assert data["m%2Fn"].values.tolist() == [0.0, 1.0]


def test_urls_with_the_plain_spelling(uid: str, server: TiledServer) -> None:
    headers = {"Authorization": f"Apikey {server.api_key}"}
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}/api/v1/", headers=headers, timeout=60) as http:
        for path in ("cam:dark/a:b", "cam%253Adark/a%253Ab", "up/down/c/d/e", "up/down/internal/m/n", "up%2fdown/a/b"):
            answer = http.get(f"array/full/{uid}/{path}?format=application/json")
            assert (answer.status_code, len(answer.json())) == (200, 2), path
        for path in ("up", "up/down/a", "up/down/c/d", "up/down/internal/m", "up/nothing", "down", "up/down/b"):
            for route in ("metadata", "search", "array/full", "table/full", "container/full", "distinct"):
                answer = http.get(f"{route}/{uid}/{path}")
                assert answer.status_code == 404, (route, path, answer.text)
