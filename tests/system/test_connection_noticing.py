"""A connection that was lost between two commands is noticed, however silently redis-py connects again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from blissdata_bluesky.connection import NoticingPool, open_client
from blissdata_bluesky.server import RedisServer

from .tiled_runs import eventually


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with open_client(redis_url, NoticingPool) as client:
        yield client


def drop_connection(url: str, client: redis.Redis) -> None:
    """The server ends it."""
    dropped = client.client_id()
    with redis.Redis.from_url(url) as other:
        other.client_kill_filter(_id=dropped)
        eventually(lambda: str(dropped) not in {entry["id"] for entry in other.client_list()})


def test_the_first_connection_is_none_that_was_lost(client: redis.Redis) -> None:
    assert all(client.ping() for _ in range(3))


def test_a_connection_that_the_server_ends_is_noticed_once(redis_url: str, client: redis.Redis) -> None:
    client.ping()
    for _ in range(2):
        drop_connection(redis_url, client)
        with pytest.raises(redis.ConnectionError):
            client.ping()
        assert [client.ping() for _ in range(3)] == [True] * 3


def test_without_the_pool_it_goes_unnoticed(redis_url: str) -> None:
    with open_client(redis_url) as client:
        client.ping()
        drop_connection(redis_url, client)
        assert client.ping()


def test_a_restart_between_two_commands_is_noticed() -> None:
    with RedisServer() as server, open_client(server.url, NoticingPool) as client:
        client.set("key", "value")
        server.stop()
        server.start()
        with pytest.raises(redis.ConnectionError):
            client.get("key")
        assert client.get("key") is None


def test_who_disconnects_knows_already(redis_url: str, client: redis.Redis) -> None:
    client.ping()
    drop_connection(redis_url, client)
    client.connection_pool.disconnect()
    assert client.ping()


def test_nothing_is_sent_over_a_connection_that_was_made_anew(redis_url: str, client: redis.Redis) -> None:
    client.ping()
    drop_connection(redis_url, client)
    with pytest.raises(redis.ConnectionError):
        client.set("key", "value")
    assert client.get("key") is None
