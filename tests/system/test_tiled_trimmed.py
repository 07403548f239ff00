"""Rows that the memory tracker has removed, without an archive."""

from __future__ import annotations

from typing import Any

import httpx
import redis

from blissdata_bluesky.protocol import stream_key, stream_pk
from blissdata_bluesky.tiled import TiledServer
from blissdata_bluesky.writer import BlissdataWriter

from .tiled_runs import Run, publish, row, stopped


def test_an_array_says_that_its_first_rows_are_gone(
    writer: BlissdataWriter, redis_client: redis.Redis, server: TiledServer, client: Any
) -> None:
    run = Run()
    publish(writer, [run.start, run.describe(), run.event(row(0)), run.event(row(1))])
    # in entries of their own
    publish(writer, [run.event(row(2)), run.stop()])
    assert stopped(client, run.uid)["primary"]["image"].shape == (3, 6, 40)
    redis_client.xtrim(stream_key(stream_pk(run.uid, "primary:image")), minid="2-0", approximate=False)
    address, _, key = server.url.partition("?")
    for path in ("full/{}/primary/image?slice=0", "block/{}/primary/image?block=0,0,0"):
        answer = httpx.get(f"{address}/array/{path.format(run.uid)}&{key}", timeout=60)
        assert answer.status_code == 410
        assert "primary:image" in answer.json()["detail"]
