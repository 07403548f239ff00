"""P4: whenever and however Redis loses a run, it gets it again, and readers in mid-stream go on."""

from __future__ import annotations

import pytest
import redis

from benchmarks.faults.emptied import MOMENTS, WAYS, Outcome, lose
from blissdata_bluesky.errors import RedisUnreachableError
from blissdata_bluesky.publish.database import connect
from blissdata_bluesky.server import RedisServer
from tests.proxy import Proxy


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS)
def test_redis_loses_a_run(moment: str, way: str) -> None:
    assert lose(moment, way) == Outcome(whole=True, same_entries=True, readers_went_on=True)


@pytest.mark.parametrize("step", [b"index:hash", b"seal_stream"])
def test_whoever_is_cut_off_while_he_initialises_an_emptied_database(step: bytes) -> None:
    with (
        RedisServer() as server,
        Proxy(server.port) as proxy,
        redis.Redis.from_url(server.url) as client,
    ):
        client.flushall()
        proxy.lose_reply(step)
        with pytest.raises(RedisUnreachableError):
            connect(proxy.url)
        assert proxy.faults == 1
        connect(proxy.url).close()
