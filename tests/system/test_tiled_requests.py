"""Requests that nobody should make: each gets 4xx and a sentence, never 5xx."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, stopped

HUGE = "9" * 40

BAD = [
    "metadata/nothing",
    "metadata/%00",
    "metadata/..%2f..%2fetc",
    "metadata/{uid}/nothing",
    "metadata/{uid}/primary/nothing",
    "metadata/{uid}/primary/internal/nothing",
    "metadata/{uid}/primary/internal/integer/deeper",
    "metadata/{uid}/primary/internal/events/nothing",
    "metadata/{uid}/primary/image/0",
    "metadata/{uid}?fields=nonsense",
    "metadata/{uid}?select_metadata=[[[",
    "search/nothing",
    "search/{uid}/primary/internal",
    "search/?page[offset]=-1",
    f"search/?page[offset]={HUGE}",
    f"search/?page[cursor]={HUGE}",
    f"search/?page[limit]={HUGE}",
    "search/?page[cursor]=1&page[offset]=1",
    "search/?sort=start.time&page[cursor]=1",
    "search/?sort=a..b",
    "search/?sort=.",
    "search/?filter[nonsense][condition][key]=a",
    "search/?filter[eq][condition][key]=start.scan_id",
    "search/?filter[eq][condition][key]=start.scan_id&filter[eq][condition][value]=not json",
    "search/?filter[eq][condition][key]=start.x&filter[eq][condition][value]=null",
    "search/?filter[eq][condition][key]=start.x&filter[eq][condition][value]=[1]",
    f"search/?filter[eq][condition][key]=start.x&filter[eq][condition][value]={HUGE}",
    'search/?filter[eq][condition][key]=a"b&filter[eq][condition][value]=1',
    "search/?filter[eq][condition][key]=&filter[eq][condition][value]=1",
    "search/?filter[comparison][condition][key]=a&filter[comparison][condition][operator]=xx&filter[comparison][condition][value]=1",
    "search/?filter[regex][condition][key]=start.x&filter[regex][condition][pattern]=(",
    "search/?filter[regex][condition][key]=start.x",
    "search/?filter[fulltext][condition][text]=",
    "search/?filter[in][condition][key]=start.x&filter[in][condition][value]=1",
    "search/?filter[in][condition][key]=start.x&filter[in][condition][value]=[[1]]",
    "search/?filter[keys_filter][condition][keys]=5",
    "search/?filter[specs][condition][include]=1&filter[specs][condition][exclude]=[]",
    "search/?filter[structure_family][condition][value]=spaceship",
    "search/?filter[like][condition][key]=start.x&filter[like][condition][pattern]=5",
    "search/?filter[contains][condition][key]=start.x&filter[contains][condition][value]={{}}",
    "search/{uid}?filter[eq][condition][key]=a&filter[eq][condition][value]=1",
    "distinct/{uid}?metadata=a",
    "array/full/{uid}/primary/image?slice=::0",
    "array/full/{uid}/primary/image?slice=0,::0",
    "array/full/{uid}/primary/image?slice=99",
    "array/full/{uid}/primary/image?slice=-99",
    f"array/full/{{uid}}/primary/image?slice={HUGE}",
    "array/full/{uid}/primary/image?slice=3:3",
    "array/full/{uid}/primary/image?slice=0,0,0,0",
    "array/full/{uid}/primary/image?slice=,,",
    "array/full/{uid}/primary/image?slice=a",
    "array/full/{uid}/primary/image?expected_shape=1,2,3",
    "array/full/{uid}/primary/image?expected_shape=99,6,40",
    "array/full/{uid}/primary/image?expected_shape=a",
    "array/full/{uid}/primary/image?format=nonsense",
    "array/full/{uid}/primary/image?format=image/png",
    "array/full/{uid}/primary/internal/text?format=image/png",
    "array/full/{uid}/primary/internal",
    "array/full/{uid}/empty/number",
    "array/block/{uid}/primary/image",
    "array/block/{uid}/primary/image?block=0",
    "array/block/{uid}/primary/image?block=9,0,0",
    "array/block/{uid}/primary/image?block=-1,0,0",
    f"array/block/{{uid}}/primary/image?block={HUGE},0,0",
    "array/block/{uid}/primary/image?block=0,0,0&slice=::0",
    "array/block/{uid}/primary/image?block=0,0,0&slice=99",
    "array/block/{uid}/primary/image?block=0,0,0&expected_shape=1,1,1",
    "array/block/{uid}/primary/image?block=0,0,0&slice=5:2",
    "array/block/{uid}/primary/image?block=0,0,0&slice=0:0",
    "array/block/{uid}/primary/image?block=0,0,0&slice=-99999999999999999999:",
    "array/full/{uid}/primary/image?slice=-99999999999999999999:",
    "array/full/{uid}/primary/image?expected_shape=scalar",
    "search/{uid}?filter[keys_filter][condition][keys]=null",
    "search/{uid}/primary?filter[keys_filter][condition][keys]=1",
    "search/{uid}?filter[keys_filter][condition][keys]=NaN",
    "distinct/?metadata=a%00b",
    "table/full/{uid}/primary/internal?column=nothing",
    "table/full/{uid}/primary/internal?format=nonsense",
    "table/full/{uid}/primary/internal?format=application/x-hdf5",
    "table/full/{uid}/primary/image",
    "table/partition/{uid}/primary/internal",
    "table/partition/{uid}/primary/internal?partition=-1",
    "table/partition/{uid}/primary/internal?partition=1",
    f"table/partition/{{uid}}/primary/internal?partition={HUGE}",
    "table/partition/{uid}/primary/internal?partition=a",
    "table/partition/{uid}/primary/internal?partition=0&column=nothing",
    "table/partition/{uid}/primary/internal?partition=0&column=integer&field=integer",
    "container/full/{uid}?format=nonsense",
    "container/full/{uid}?field=nothing",
    "container/full/{uid}/primary?field=nothing",
    "container/full/{uid}?format=application/x-hdf5",
    "awkward/full/{uid}/primary/image",
    "ragged/full/{uid}/primary/image",
    "revisions/{uid}/primary",
    "asset/bytes/{uid}?id=1",
    "asset/manifest/{uid}?id=1",
    "nonsense/{uid}",
]

GOOD = [
    "metadata/{uid}",
    "metadata/{uid}/primary/internal/events",
    "metadata/{uid}?include_data_sources=true",
    "search/",
    "search/{uid}",
    "search/{uid}/primary?sort=-",
    "search/{uid}?page[limit]=0",
    "search/?page[offset]=50",
    "search/?sort=start.nothing&sort=-",
    "search/?sort=-",
    "search/?filter[fulltext][condition][text]=%22 AND * (",
    "search/?filter[lookup][condition][key]={uid}",
    "search-deep/",
    "distinct/?metadata=start.plan_name&counts=true&structure_families=true&specs=true",
    "array/full/{uid}/primary/image",
    "array/full/{uid}/primary/image?slice=::-1,0&format=application/json",
    "array/full/{uid}/primary/image?slice=0&format=image/png",
    "array/full/{uid}/primary/internal/text?format=text/csv",
    "array/block/{uid}/primary/image?block=0,0,0",
    "table/full/{uid}/primary/internal",
    "table/full/{uid}/primary/internal?column=integer&column=integer",
    "table/full/{uid}/primary/internal?format=text/csv",
    "table/full/{uid}/primary/internal?format=application/json",
    "table/full/{uid}/primary/internal?format=application/json-seq",
    "table/full/{uid}/primary/internal?format=text/html",
    "table/full/{uid}/primary/internal?format=application/x-parquet",
    "table/full/{uid}/primary/internal?format=xlsx",
    "table/full/{uid}/empty/internal",
    "table/partition/{uid}/empty/internal?partition=0",
    "container/full/{uid}?format=application/json-seq",
    "container/full/{uid}/primary?field=internal&format=application/json",
    "container/full/{uid}/primary?field=image&field=internal&format=application/json",
]


@pytest.fixture
def uid(writer: BlissdataWriter, client: Any) -> str:
    """A finished run with two streams, one of them without events."""
    run = Run(plan_name="scan", scan_id=1)
    *documents, stop = run.whole(5)
    publish(writer, [*documents, run.describe("empty", ["number"]), stop])
    stopped(client, run.uid)
    return run.uid


@pytest.fixture
def http(server: TiledServer) -> Any:
    base = f"http://127.0.0.1:{server.port}/api/v1/"
    with httpx.Client(base_url=base, headers={"Authorization": f"Apikey {server.api_key}"}, timeout=60) as http:
        yield http


def test_impossible_requests(http: httpx.Client, uid: str) -> None:
    for url in BAD:
        answer = http.get(url.format(uid=uid))
        assert 400 <= answer.status_code < 500, (url, answer.status_code, answer.text)
        assert answer.json()["detail"], url


def test_unusual_requests(http: httpx.Client, uid: str) -> None:
    for url in GOOD:
        answer = http.get(url.format(uid=uid))
        assert answer.status_code == 200, (url, answer.status_code, answer.text[:300])


WRITING = [
    ("POST", "metadata/"),
    ("POST", "register/"),
    ("POST", "metadata/{uid}"),
    ("PUT", "metadata/{uid}"),
    ("PATCH", "metadata/{uid}"),
    ("DELETE", "metadata/{uid}"),
    ("DELETE", "stream/close/{uid}"),
    ("PUT", "data_source/{uid}"),
    ("PUT", "array/full/{uid}/primary/image"),
    ("PATCH", "array/full/{uid}/primary/image?offset=0&shape=1"),
    ("PUT", "table/full/{uid}/primary/internal"),
    ("PUT", "table/partition/{uid}/primary/internal?partition=0"),
    ("DELETE", "revisions/{uid}?number=1"),
]


def test_writing_is_refused(http: httpx.Client, uid: str) -> None:
    body = {"structure_family": "container", "metadata": {}, "data_sources": [], "specs": []}
    for method, path in WRITING:
        answer = http.request(method, path.format(uid=uid), json=body)
        # 422: Tiled looks at the body first
        assert answer.status_code in (405, 422), (method, path, answer.status_code, answer.text)
    assert http.get(f"metadata/{uid}").json()["data"]["attributes"]["metadata"]["start"]["uid"] == uid


def test_columns_by_post(http: httpx.Client, uid: str) -> None:
    answer = http.post(f"table/full/{uid}/primary/internal?format=text/csv", json=["integer", "time"])
    assert answer.text.splitlines()[0] == "integer,time"


def test_bodies_that_are_not_json(http: httpx.Client, uid: str) -> None:
    for path in ("table/full/{uid}/primary/internal", "table/partition/{uid}/primary/internal", "container/full/{uid}"):
        for kind in ("application/octet-stream", "application/json", "nonsense"):
            answer = http.post(path.format(uid=uid), content=b"\xff\x00x", headers={"Content-Type": kind})
            assert 400 <= answer.status_code < 500, (path, kind, answer.text)


def test_subscriptions_are_refused(http: httpx.Client, uid: str) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    for path in ("", "{uid}", "{uid}/primary", "{uid}/primary/internal", "{uid}/primary/image", "nothing"):
        answer = http.get(f"stream/single/{path.format(uid=uid)}", headers=upgrade)
        assert answer.status_code == 403, (path, answer.status_code)


def test_too_large_answers_are_refused_before_they_are_read(uid: str, server: TiledServer, http: httpx.Client) -> None:
    settings = server._server.config.app.dependency_overrides
    from tiled.server.settings import get_settings

    settings[get_settings]().response_bytesize_limit = 1000
    for url in (f"array/full/{uid}/primary/image", f"table/full/{uid}/primary/internal"):
        answer = http.get(url)
        assert answer.status_code == 400
        assert "exceed" in answer.json()["detail"]


def test_a_key_is_needed(server: TiledServer, uid: str) -> None:
    base = f"http://127.0.0.1:{server.port}/api/v1/"
    assert httpx.get(base + f"metadata/{uid}", timeout=60).status_code == 401
    wrong = {"Authorization": "Apikey wrong"}
    assert httpx.get(base + f"metadata/{uid}", headers=wrong, timeout=60).status_code == 401
