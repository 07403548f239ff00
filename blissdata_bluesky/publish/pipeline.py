"""Many commands to Redis in one go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis

from ..protocol import SEAL_FUNCTION

_JOIN_BYTES = 2**20


def execute(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The replies, in order; a command that Redis refused has its redis.ResponseError as the reply.

    redis-py's own pipeline sends in pieces of 6 kB. Each piece gives the interpreter lock away, and beside a busy
    RunEngine it takes up to 5 ms to get it back.

    Raises redis.ConnectionError and redis.TimeoutError: then nobody knows which commands were executed.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        packed = connection.pack_commands(commands)
        small = sum(map(len, packed)) <= _JOIN_BYTES
        connection.send_packed_command([b"".join(packed)] if small else packed)
        return [_reply(connection) for _ in commands]
    except BaseException:
        # replies that are still on their way must not be taken for those of other commands
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


def execute_at_once(client: redis.Redis, commands: Sequence[Sequence[Any]]) -> list[Any]:
    """The same in one transaction: when Redis refuses a command beforehand, as a full one does, it takes none.

    Raises redis.ResponseError then. A command that fails while it is carried out has its error as the reply.
    """
    *queued, replies = execute(client, [("MULTI",), *commands, ("EXEC",)])
    if isinstance(replies, Exception):
        raise next((reply for reply in queued if isinstance(reply, Exception)), replies)
    return list(replies)


def seal(client: redis.Redis, keys: Sequence[str]) -> None:
    """Seal data streams; those that are sealed stay as they are. Raises what redis-py raises."""
    replies = execute(client, [("FCALL", SEAL_FUNCTION, 1, key) for key in keys])
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    if unexpected := [error for error in errors if "already sealed" not in str(error)]:
        raise unexpected[0]


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as error:
        return error
